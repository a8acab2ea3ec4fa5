"""Parts of an image's transform about the reflections of a lattice, and how likely a lattice is.

About each reflection the image's transform is cut out and shifted to the origin: a coarse complex
map z_g(r) with noise of variance s_g², the slope of the transfer taken out. The model is
``A_g W(r) exp(2 pi i (g - g0) r)`` with one outline W = max(0, 1 - |r - c|² / R²), near the
thickness of a faceted particle, and a free A_g for every reflection. Profiled over A_g the log
likelihood is

    Q = sum_g |sum_r W exp(-2 pi i (g - g0) r) z_g|² / (s_g² sum_r W²),

a matched filter for peaks as broad as the particle makes them, with g tied to the lattice by
spacing and rotation.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.inverse.lattice_detection import FALL, LARGEST
from echolith.inverse.lattice_transfer import relative_transfer
from echolith.zone_axes import Zone, projected_reflections

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Level = tuple[Array, Array]

HALF_WIDTH = 0.15
"""1/Å. Cut out to each side of a reflection; less than half of the least distance of two."""
REACH = 5.0
"""Standard deviations to each side over which a distribution is summed ..."""
POINTS = 13
"""... at as many points: of a smooth peak, sums at 0.8 standard deviations are exact."""


@dataclass(frozen=True, kw_only=True)
class Reflections:
    """Reflections of a lattice, as many whatever its strain."""

    g: Array
    """(reflections, 2) xy, 1/Å, without strain and turn."""

    @classmethod
    def of(cls, zone: Zone, *, spacing: float, rotation: float, pixel: float) -> "Reflections":
        """Take those of a zone axis that an image shows."""
        g = projected_reflections(zone, spacing=spacing, rotation=rotation)
        return cls(g=g[np.hypot(*g.T) < min(LARGEST, 0.5 / pixel - HALF_WIDTH)])

    def at(self, strain: npt.ArrayLike, turn: npt.ArrayLike) -> Array:
        """Return the reflections at strains and turns (rad), (..., reflections, 2)."""
        wave = np.multiply.outer(
            np.exp(1j * np.asarray(turn)) / (1 + np.asarray(strain)),
            self.g[:, 0] + 1j * self.g[:, 1],
        )
        return np.stack([wave.real, wave.imag], axis=-1)


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Coarse maps of reflections, the places they are at, and the variance of their noise."""

    values: Complex
    variance: Array
    carrier: Array
    """(reflections, 2) xy, 1/Å, already taken out of the values."""
    y: Array
    x: Array

    def outline(self, centre: npt.ArrayLike, radius: float) -> Array:
        """Return W about a centre (y, x)."""
        cy, cx = np.asarray(centre, dtype=float)
        r2 = (self.y[:, None] - cy) ** 2 + (self.x - cx) ** 2
        return np.asarray(np.maximum(1 - r2 / radius**2, 0))

    def likelihood(self, places: Array, outline: Array) -> Array:
        """Return Q_g, (trials, reflections), of reflections at places (trials, reflections, 2)."""
        sums, energy = self._sums(places, outline)
        return np.asarray((sums.real**2 + sums.imag**2) / (self.variance * energy))

    def amplitudes(
        self, places: Array, outline: Array, centre: npt.ArrayLike
    ) -> tuple[Complex, Array]:
        """Return A_g (complex), their phases those at the centre (y, x), and their variances.

        Parameters
        ----------
        places : array, (reflections, 2)
        outline : array
        centre : (float, float)
        """
        sums, energy = self._sums(places[None], outline)
        there = np.exp(2j * np.pi * places @ np.asarray(centre, dtype=float)[::-1])
        return sums[0] * there / energy, self.variance / energy

    def _sums(self, places: Array, outline: Array) -> tuple[Complex, float]:
        rows, columns = (np.flatnonzero(outline.any(axis=n)) for n in (1, 0))
        if not len(rows):
            return np.zeros(places.shape[:2], dtype=complex), 1.0
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        y, x, inner = self.y[part[0]], self.x[part[1]], outline[part]
        away = places - self.carrier
        found: Complex = np.empty(places.shape[:2], dtype=complex)
        for n, values in enumerate(self.values):
            along_y = np.exp(-2j * np.pi * np.outer(away[:, n, 1], y))
            along_x = np.exp(-2j * np.pi * np.outer(away[:, n, 0], x))
            found[:, n] = ((along_y @ (values[part] * inner)) * along_x).sum(axis=1)
        return found, max(float((inner**2).sum()), 1.0)


class Cutter:
    """Cuts maps of reflections out of the transforms of images of one kind."""

    def __init__(
        self, reflections: Array, *, acquisition: HrtemAcquisition, shape: tuple[int, ...]
    ) -> None:
        """Prepare the places.

        Parameters
        ----------
        reflections : array, (n, 2)
            xy, 1/Å.
        acquisition : HrtemAcquisition
        shape : (int, int)
            Of the images.
        """
        pixel = acquisition.pixel
        steps = np.array([1 / (n * pixel) for n in shape])
        half = [max(int(HALF_WIDTH / step), 1) for step in steps]
        middle = np.rint(reflections[:, ::-1] / steps).astype(int)
        rows, columns = (middle[:, n, None] + np.arange(-half[n], half[n] + 1) for n in range(2))
        self.shape, self.g = shape, reflections
        self.carrier = middle[:, ::-1] * steps[::-1]
        size = [2 * n + 1 for n in half]
        self.y, self.x = (np.arange(m) * n * pixel / m for m, n in zip(size, shape, strict=True))
        passed = [
            relative_transfer(acquisition, reflection=g, ky=row * steps[0], kx=column * steps[1])
            for g, row, column in zip(reflections, rows, columns, strict=True)
        ]
        # Noise of unit variance in a pixel stays so in a place of the coarse map.
        self.gain = np.sqrt(np.prod(size) / np.prod(shape)) / np.array(passed)
        # Half of the transform of a real image is stored; the other half is its conjugate.
        self.conjugated = (columns % shape[1] > shape[1] // 2)[:, None, :]
        sign = np.where(self.conjugated, -1, 1)
        self.index = (sign * rows[:, :, None]) % shape[0], (sign * columns[:, None]) % shape[1]

    def __call__(self, image: npt.NDArray[np.floating], level: Level) -> Maps:
        """Return the maps of an image.

        Parameters
        ----------
        image : array, (ny, nx)
        level : (array, array)
            Radii (1/Å) and power of the noise, from `lattice_detection.noise_power`.
        """
        spectrum = fft.rfft2(image - image.mean(dtype=np.float64).astype(image.dtype))
        cut = spectrum[self.index]
        cut = np.where(self.conjugated, cut.conj(), cut) * self.gain
        return Maps(
            values=np.asarray(fft.ifft2(fft.ifftshift(cut, axes=(1, 2))), dtype=complex),
            variance=np.asarray(np.interp(np.hypot(*self.g.T), *level)),
            carrier=self.carrier,
            y=self.y,
            x=self.x,
        )


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """Distribution of strain and turn (rad) over a square grid about a place."""

    mean: Array
    std: Array
    log_ratio: float
    """Logarithm of the mean over the grid of the likelihood ratio of lattice and noise."""


def posterior(
    maps: Maps, kept: Reflections, outline: Array, *, strength: Array, mean: Array, std: Array
) -> Posterior:
    """Sum ``exp(sum_g w_g Q_g)`` over a grid of `REACH` standard deviations about a mean.

    w = r / (1 + r) weighs a reflection by its expected power r over noise.

    Parameters
    ----------
    maps : Maps
    kept : Reflections
    outline : array
        W.
    strength : array, (reflections,)
        r.
    mean, std : array, (2,)
        Of strain and turn (rad): where the grid lies.
    """
    axes = [m + REACH * s * np.linspace(-1, 1, POINTS) for m, s in zip(mean, std, strict=True)]
    points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])
    heights = maps.likelihood(kept.at(*points), outline)
    logs = heights @ (strength / (1 + strength))
    share = np.exp(logs - logs.max())
    ratio = float(logs.max() + np.log(share.mean()) - np.log1p(strength).sum())
    share /= share.sum()
    middle = points @ share
    spread = np.sqrt((points - middle[:, None]) ** 2 @ share)
    return Posterior(mean=middle, std=spread, log_ratio=ratio)


def peak_std(maps: Maps, g: Array, outline: Array, heights: Array) -> Array:
    """Return standard deviations of strain and turn (rad) from the curvature of the peak.

    ``F_jk = sum_g 2 Q_g [<p_j p_k> - <p_j> <p_k>]``, ``p_j = 2 pi (dg/dj) r``, means weighed by W².
    """
    weight = outline**2 / (outline**2).sum()
    slopes = np.stack([-g, np.stack([-g[:, 1], g[:, 0]], axis=1)])
    phase = (
        2
        * np.pi
        * (slopes[..., 0, None, None] * maps.x + slopes[..., 1, None, None] * maps.y[:, None])
    )
    phase = phase - (phase * weight).sum(axis=(2, 3), keepdims=True)
    spread = np.einsum("jgyx,jgyx,yx->jg", phase, phase, weight)
    return np.asarray(1 / np.sqrt(spread @ (2 * np.maximum(heights - 1, 0.1))))


def expected_strengths(heights: Array, g: Array) -> Array:
    """Return the expected power over noise of reflections from the Q_g of a lattice found.

    One strength for all, which falls with g as in `echolith.inverse.lattice_detection`.
    """
    expected = np.exp(-FALL * (g**2).sum(axis=1))
    return np.asarray(max(float((heights - 1).sum() / expected.sum()), 1.0) * expected)
