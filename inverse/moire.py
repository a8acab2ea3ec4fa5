"""Moiré fringes of two overlapping crystals: which planes make them, from the power spectrum.

Planes of spacings d1, d2 at the angle alpha beat with the spacing

    D = d1 d2 / sqrt((d1 - d2)² + d1 d2 (2 sin(alpha / 2))²),

one over the distance of their spots. Spots are peaks of the power that noise would hardly show.
Every two near each other are compared with pairs of planes that are known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft
from scipy.optimize import minimize

from echolith.errors import BadInputError
from echolith.inverse.lattice_detection import noise_power

Array = npt.NDArray[np.float64]

UNKNOWN = "unknown"
CANNOT_TELL = "cannot tell"
SWEEPS = 2
"""Over spots, each fitted to what the others leave."""
FINER = 2
"""Of the transform than that of the image."""
LEAST, LARGEST = 0.2, 1.0
"""1/Å, between which spots are looked for, and unknown planes lie anywhere."""


@dataclass(frozen=True, kw_only=True)
class Planes:
    """Lattice planes of a crystal: a name such as "Li 110" and the spacing, Å."""

    name: str
    spacing: float


LITHIUM = (Planes(name="Li 110", spacing=2.4814), Planes(name="Li 200", spacing=1.7546))
LITHIUM_OXIDE = (
    Planes(name="Li2O 111", spacing=2.6668),
    Planes(name="Li2O 200", spacing=2.3095),
    Planes(name="Li2O 220", spacing=1.6331),
)


@dataclass(frozen=True, kw_only=True)
class MoireOptions:
    """What is looked for.

    Attributes
    ----------
    inner, outer : sequence of Planes
        Candidates of the two crystals.
    tolerance : float
        Standard deviation of relative deviations of spacings, of strain and scale.
    false_alarm : float
        Largest probability that noise alone shows a spot anywhere.
    longest : float
        Of fringes, Å.
    shortest : float
        Of fringes, Å.
    most : int
        Spots.
    certain : float
        Probability from which a pair of planes is named.
    """

    inner: Sequence[Planes] = LITHIUM
    outer: Sequence[Planes] = LITHIUM_OXIDE
    tolerance: float = 0.005
    false_alarm: float = 0.01
    longest: float = 80.0
    shortest: float = 15.0
    most: int = 40
    certain: float = 0.95


def moire_spacing(first: float, second: float, *, angle: float = 0.0) -> float:
    """Return the spacing of the fringes of two sets of planes, Å; inf where they are alike.

    Parameters
    ----------
    first, second : float
        Spacings, Å.
    angle : float
        Degree.

    Examples
    --------
    >>> round(moire_spacing(2.4814, 2.6668), 1), round(moire_spacing(2.4814, 2.3095), 1)
    (35.7, 33.3)
    """
    turn = 2 * np.sin(np.radians(angle) / 2)
    rate = np.sqrt((first - second) ** 2 + first * second * turn**2)
    return float(first * second / rate) if rate else np.inf


def find_spots(
    image: npt.ArrayLike, *, pixel: float, options: MoireOptions | None = None
) -> xr.Dataset:
    """Find peaks of the power spectrum that noise would not show.

    Parameters
    ----------
    image : array, (ny, nx)
    pixel : float
        Å.
    options : MoireOptions, optional

    Returns
    -------
    xarray.Dataset
        Over ``spot``, the strongest first: ``g`` (spot, axis: x, y; 1/Å), ``g_std``, ``power`` (by
        that of the noise). One of each Friedel pair.
    """
    options = options or MoireOptions()
    values = np.asarray(image, dtype=float)
    if values.ndim != 2 or min(values.shape) < 32 or not np.isfinite(values).all():
        raise BadInputError(
            f"an image of shape {values.shape}; expected two axes of 32 finite pixels or more"
        )
    taper = np.hanning(values.shape[0])[:, None] * np.hanning(values.shape[1])
    taper /= np.sqrt((taper**2).sum())
    part = (values - values.mean()) * taper
    y, x = (pixel * (np.arange(n) - (n - 1) / 2) for n in values.shape)
    spectrum = _Spectrum(shape=values.shape, pixel=pixel, level=noise_power(values, pixel))
    g, rest, height = np.empty((0, 2)), part, np.empty(0)
    # One after the other: weak spots are told from what strong ones leave beside them.
    while len(g) < options.most:
        place, ratio = spectrum.highest(rest)
        if ratio < np.log(spectrum.count / options.false_alarm):
            break
        g = _refined_all(part, taper, np.vstack([g, place]), y, x)
        rest, height = part - sum(_shown(part, taper, g, y, x)), np.append(height, ratio)
    order = np.argsort(-height)
    g, height = g[order], height[order]
    scale = [_error_scale(places, np.hanning(len(places))) for places in (x, y)]
    std = scale / np.sqrt(height)[:, None]
    return xr.Dataset(
        {
            "g": (("spot", "axis"), g, {"units": "1/Å"}),
            "g_std": (("spot", "axis"), std, {"units": "1/Å"}),
            "power": ("spot", height, {"units": "1"}),
        },
        coords={"axis": ["x", "y"]},
    )


@dataclass(frozen=True, kw_only=True)
class _Spectrum:
    """The power of an image by that of the noise, between `LEAST` and `LARGEST`."""

    shape: tuple[int, ...]
    pixel: float
    level: tuple[Array, Array]

    @property
    def count(self) -> int:
        """Places of the transform that are looked at."""
        return int((self._gain() > 0).sum())

    def highest(self, part: Array) -> tuple[Array, float]:
        """Return the place (xy, 1/Å) of the highest power, and that power."""
        size = [FINER * n for n in self.shape]
        ratio = np.abs(fft.rfft2(part, s=size)) ** 2 * self._gain()
        row, column = np.unravel_index(int(ratio.argmax()), ratio.shape)
        ky, kx = fft.fftfreq(size[0], self.pixel), fft.rfftfreq(size[1], self.pixel)
        return np.array([kx[column], ky[row]]), float(ratio[row, column])

    def _gain(self) -> Array:
        ky, kx = (
            transform(FINER * n, self.pixel)
            for transform, n in zip((fft.fftfreq, fft.rfftfreq), self.shape, strict=True)
        )
        k = np.hypot(ky[:, None], kx)
        inside = (k > LEAST) & (k < min(LARGEST, 0.5 / self.pixel))
        return np.asarray(np.where(inside, 1 / np.interp(k, *self.level), 0))


def _shown(part: Array, taper: Array, places: Array, y: Array, x: Array) -> list[Array]:
    """Return the tapered waves of spots, their amplitudes fitted all together."""
    waves = [
        taper * np.exp(2j * np.pi * gy * y)[:, None] * np.exp(2j * np.pi * gx * x)
        for gx, gy in places
    ]
    gram = np.array([[np.vdot(one, other) for other in waves] for one in waves])
    amplitudes = np.linalg.solve(gram, [np.vdot(one, part) for one in waves])
    return [2 * (a * one).real for a, one in zip(amplitudes, waves, strict=True)]


def _refined_all(part: Array, taper: Array, places: Array, y: Array, x: Array) -> Array:
    """Return places of spots, each from what the others leave: near ones overlap."""
    for _ in range(SWEEPS):
        shown = _shown(part, taper, places, y, x)
        rest = part - sum(shown)
        places = np.array(
            [_refined(rest + own, one, y, x) for own, one in zip(shown, places, strict=True)]
        )
    return places


def _refined(part: Array, start: Array, y: Array, x: Array) -> Array:
    """Return where the power about a place is largest."""
    step = 1 / (8 * max(float(np.ptp(y)), float(np.ptp(x))))

    def loss(steps: Array) -> float:
        gx, gy = start + step * steps
        total = np.exp(-2j * np.pi * gy * y) @ part @ np.exp(-2j * np.pi * gx * x)
        return -float(abs(total) ** 2)

    found = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-2})
    return np.asarray(start + step * found.x)


def _error_scale(places: Array, window: Array) -> float:
    """Return the standard deviation of a spot's place, 1/Å, times the root of its power.

    sqrt(<x²>_w²) / (2 pi sqrt(2) <x²>_w), means under the window and its square.
    """
    wide, narrow = (float(weight @ places**2 / weight.sum()) for weight in (window, window**2))
    return float(np.sqrt(narrow) / (2 * np.pi * np.sqrt(2) * wide))


def identify_moire(spots: xr.Dataset, *, options: MoireOptions | None = None) -> xr.Dataset:
    """Name the planes behind every two spots that beat visibly.

    Parameters
    ----------
    spots : xarray.Dataset
        As from `find_spots`.
    options : MoireOptions, optional

    Returns
    -------
    xarray.Dataset
        Over ``fringes``: ``spacing`` (Å) and ``angle`` (°, 0 to 90) with ``_std``; ``probability``
        (fringes, candidate) of every pair of planes and of unknown ones, alike beforehand;
        ``verdict``: the pair that is named, or "cannot tell".
    """
    options = options or MoireOptions()
    g, std = spots["g"].values, spots["g_std"].values
    names = [f"{a.name} / {b.name}" for a in options.inner for b in options.outer] + [UNKNOWN]
    rows = []
    for i in range(len(g)):
        for j in range(i + 1, len(g)):
            # Friedel's law: of the other spot the nearer one of its pair.
            other = min((g[j], -g[j]), key=lambda one: float(np.hypot(*(one - g[i]))))
            apart = other - g[i]
            length = float(np.hypot(*apart))
            if 1 / options.longest < length < 1 / options.shortest:
                noise = np.hypot(std[i], std[j])
                error = float(np.hypot(*(apart * noise))) / length
                rows.append(
                    (
                        1 / length,
                        error / length**2,
                        *_angle(g[i], other, std[i], std[j]),
                        _probabilities(g[[i, j]], std[[i, j]], options),
                    )
                )
    table = np.array([row[:4] for row in rows]).reshape(-1, 4)
    share = np.array([row[4] for row in rows]).reshape(-1, len(names))
    best = share.argmax(axis=1)
    sure = share.max(axis=1, initial=0) > options.certain
    verdict = [
        names[n] if yes and names[n] != UNKNOWN else CANNOT_TELL
        for n, yes in zip(best, sure, strict=True)
    ]
    columns = zip(("spacing", "spacing_std", "angle", "angle_std"), table.T, "ÅÅ°°", strict=True)
    return xr.Dataset(
        {name: ("fringes", values, {"units": unit}) for name, values, unit in columns}
        | {
            "probability": (("fringes", "candidate"), share, {"units": "1"}),
            "verdict": ("fringes", np.array(verdict, dtype=str)),
        },
        coords={"candidate": names},
    )


def _angle(first: Array, second: Array, first_std: Array, second_std: Array) -> tuple[float, float]:
    """Return the angle between two spots and its standard deviation, degree."""
    cross = float(first[0] * second[1] - first[1] * second[0])
    angle = np.degrees(np.arctan2(abs(cross), float(first @ second)))
    parts = [
        np.hypot(one[1] * std[0], one[0] * std[1]) / (one @ one)
        for one, std in ((first, first_std), (second, second_std))
    ]
    return float(angle), float(np.degrees(np.hypot(*parts)))


def _probabilities(g: Array, std: Array, options: MoireOptions) -> Array:
    """Return the probability of every pair of planes, and last of unknown ones."""
    lengths = np.hypot(*g.T)
    errors = np.hypot(*(g * std).T) / lengths

    def density(spot: int, planes: Planes) -> float:
        width = np.hypot(errors[spot], options.tolerance / planes.spacing)
        away = (lengths[spot] - 1 / planes.spacing) / width
        return float(np.exp(-0.5 * away**2) / (np.sqrt(2 * np.pi) * width))

    # Either spot may be of either crystal.
    likelihoods = [
        0.5 * (density(0, a) * density(1, b) + density(1, a) * density(0, b))
        for a in options.inner
        for b in options.outer
    ]
    likelihoods.append((LARGEST - LEAST) ** -2)
    return np.array(likelihoods) / sum(likelihoods)
