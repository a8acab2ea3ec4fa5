"""Spacing and rotation of a detected lattice by maximum likelihood, all reflections together.

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
from scipy.optimize import minimize

from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.inverse.lattice_detection import FALL, LARGEST, Detection
from echolith.inverse.lattice_transfer import relative_transfer
from echolith.zone_axes import projected_reflections

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

HALF_WIDTH = 0.15
"""1/Å. Cut out to each side of a reflection; less than half of the least distance of two."""
SMALLEST_OUTLINE = 8.0
"""Å."""
REACH = 5.0
"""Standard deviations to each side over which the distribution is summed ..."""
POINTS = 31
"""... at as many points ..."""
ROUNDS = 2
"""... and once more with the width found."""


@dataclass(frozen=True, kw_only=True)
class LatticeFit:
    """A lattice with standard deviations.

    Attributes
    ----------
    spacing, spacing_std : float
        Of the shortest reflection, Å.
    rotation, rotation_std : float
        Degree from x towards y.
    reflections : array, (n, 2)
        xy, 1/Å, one of each Friedel pair.
    width : float
        1/Å; farther from a reflection there is less of it than of noise.
    """

    spacing: float
    spacing_std: float
    rotation: float
    rotation_std: float
    reflections: Array
    width: float


@dataclass(frozen=True, kw_only=True)
class _Maps:
    """Coarse maps of reflections, the places they are at, and the variance of their noise."""

    values: Complex
    variance: Array
    carrier: Array
    """(reflections, 2) xy, 1/Å, already taken out of the values."""
    y: Array
    x: Array

    def outline(self, cy: float, cx: float, radius: float) -> Array:
        """Return W."""
        r2 = (self.y[:, None] - cy) ** 2 + (self.x - cx) ** 2
        return np.asarray(np.maximum(1 - r2 / radius**2, 0))

    def likelihood(self, places: Array, outline: Array) -> Array:
        """Return Q_g, (trials, reflections), of reflections at places (trials, reflections, 2)."""
        energy = max(float((outline**2).sum()), 1.0)
        away = places - self.carrier
        found = np.empty(places.shape[:2])
        for n, values in enumerate(self.values):
            along_y = np.exp(-2j * np.pi * np.outer(away[:, n, 1], self.y))
            along_x = np.exp(-2j * np.pi * np.outer(away[:, n, 0], self.x))
            sums = ((along_y @ (values * outline)) * along_x).sum(axis=1)
            found[:, n] = (sums.real**2 + sums.imag**2) / (self.variance[n] * energy)
        return found


def fit_lattice(
    image: Array, *, acquisition: HrtemAcquisition, level: tuple[Array, Array], start: Detection
) -> LatticeFit:
    """Refine a detected lattice.

    Spacing and rotation are the mean, and their uncertainty the standard deviation, of the
    distribution ``exp(sum_g w_g Q_g)`` about its peak: with few electrons it is wider than the
    curvature at the peak tells. w = r / (1 + r) weighs a reflection by its expected power r over
    noise, which falls with g as in `echolith.inverse.lattice_detection`.

    Parameters
    ----------
    image : array, (ny, nx)
    acquisition : HrtemAcquisition
    level : (array, array)
        From `echolith.inverse.lattice_detection.noise_power`.
    start : Detection
    """
    kept = _kept(start, acquisition.pixel)
    maps = _cut_out(image, kept.at(0, 0), acquisition, level)
    width = 0.5 * start.window.radius
    # Steps that are felt alike: part of the width of a peak, part of the outline.
    scale = np.array([0.2 / width, 0.2 / width, 0.3 * width, 0.3 * width, 0.3])

    def radius(p: Array) -> float:
        return max(1.2 * width * float(np.exp(p[4])), SMALLEST_OUTLINE)

    def outline(p: Array) -> Array:
        cy, cx = np.array(start.window.centre) + p[2:4]
        return maps.outline(cy, cx, radius(p))

    def loss(steps: Array) -> float:
        p = steps * scale
        return -float(maps.likelihood(kept.at(p[0], p[1])[None], outline(p)).sum())

    options = {
        "initial_simplex": np.vstack([np.zeros(5), np.eye(5)]),
        "xatol": 1e-2,
        "fatol": 1e-3,
        "maxfev": 600,
    }
    found = scale * np.asarray(minimize(loss, np.zeros(5), method="Nelder-Mead", options=options).x)
    mean, std = _posterior(maps, kept, outline(found), found[:2])
    spacing = start.spacing * (1 + float(mean[0]))
    turn, turn_std = np.degrees([mean[1], std[1]]).tolist()
    return LatticeFit(
        spacing=spacing,
        spacing_std=spacing * float(std[0]),
        rotation=start.rotation + turn,
        rotation_std=turn_std,
        reflections=kept.at(*mean),
        # Peaks of an outline that ends with a bend fall off as (pi R q)^-5.
        width=2 / (np.pi * radius(found)) * max(1.0, -loss(found / scale)) ** 0.2,
    )


def _posterior(maps: "_Maps", kept: "_Kept", outline: Array, peak: Array) -> tuple[Array, Array]:
    """Return means and standard deviations of strain and turn (rad)."""
    heights = maps.likelihood(kept.at(*peak)[None], outline)[0]
    expected = np.exp(-FALL * (kept.g**2).sum(axis=1))
    strength = max(float((heights - 1).sum() / expected.sum()), 1.0) * expected
    weight = strength / (1 + strength)
    mean, std = peak, _peak_std(maps, kept.at(*peak), outline, heights)
    for _ in range(ROUNDS):
        axes = [m + REACH * s * np.linspace(-1, 1, POINTS) for m, s in zip(mean, std, strict=True)]
        strain, turn = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
        places = np.stack([kept.at(a, b) for a, b in zip(strain, turn, strict=True)])
        logs = maps.likelihood(places, outline) @ weight
        share = np.exp(logs - logs.max())
        share /= share.sum()
        points = np.stack([strain, turn])
        mean = points @ share
        std = np.sqrt((points - mean[:, None]) ** 2 @ share)
    return mean, std


def _peak_std(maps: "_Maps", g: Array, outline: Array, heights: Array) -> Array:
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


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """Reflections of a lattice, as many whatever its strain."""

    g: Array
    """(reflections, 2) xy, 1/Å, without strain and turn."""

    def at(self, strain: float, turn: float) -> Array:
        """Return the reflections at a strain and a turn (rad)."""
        c, s = np.cos(turn), np.sin(turn)
        return np.asarray(self.g @ np.array([[c, s], [-s, c]]) / (1 + strain))


def _kept(start: Detection, pixel: float) -> _Kept:
    g = projected_reflections(start.zone_axis, spacing=start.spacing, rotation=start.rotation)
    return _Kept(g=g[np.hypot(*g.T) < min(LARGEST, 0.5 / pixel - HALF_WIDTH)])


def _cut_out(
    image: Array, g: Array, acquisition: HrtemAcquisition, level: tuple[Array, Array]
) -> _Maps:
    """Return the coarse maps of reflections."""
    pixel = acquisition.pixel
    spectrum = fft.fft2(image - image.mean())
    steps = [1 / (n * pixel) for n in image.shape]
    half = [max(int(HALF_WIDTH / step), 1) for step in steps]
    middle = np.rint(g[:, ::-1] / np.array(steps)).astype(int)
    size = [2 * n + 1 for n in half]
    values = np.empty((len(g), *size), dtype=np.complex128)
    for one, place, (row, column) in zip(values, g, middle, strict=True):
        rows = row + np.arange(-half[0], half[0] + 1)
        columns = column + np.arange(-half[1], half[1] + 1)
        passed = relative_transfer(
            acquisition, reflection=place, ky=rows * steps[0], kx=columns * steps[1]
        )
        cut = spectrum[rows[:, None] % image.shape[0], columns % image.shape[1]] / passed
        # Noise of unit variance in a pixel stays so in a place of the coarse map.
        one[...] = fft.ifft2(fft.ifftshift(cut)) * np.sqrt(np.prod(size) / image.size)
    y, x = (np.arange(m) * n * pixel / m for m, n in zip(size, image.shape, strict=True))
    return _Maps(
        values=values,
        variance=np.asarray(np.interp(np.hypot(*g.T), *level)),
        carrier=middle[:, ::-1] * np.array(steps)[::-1],
        y=y,
        x=x,
    )
