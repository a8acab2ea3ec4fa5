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
from scipy import fft, ndimage
from scipy.optimize import minimize

from echolith.errors import BadInputError
from echolith.inverse.lattice_detection import noise_power

Array = npt.NDArray[np.float64]

UNKNOWN = "unknown"
CANNOT_TELL = "cannot tell"
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
        Of fringes, Å: spots nearer than one over it are one.
    shortest : float
        Of fringes, Å.
    certain : float
        Probability from which a pair of planes is named.
    """

    inner: Sequence[Planes] = LITHIUM
    outer: Sequence[Planes] = LITHIUM_OXIDE
    tolerance: float = 0.005
    false_alarm: float = 0.01
    longest: float = 80.0
    shortest: float = 15.0
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
    level = noise_power(values, pixel)
    taper = np.hanning(values.shape[0])[:, None] * np.hanning(values.shape[1])
    part = (values - values.mean()) * taper / np.sqrt((taper**2).sum())
    size = [FINER * n for n in values.shape]
    power = np.abs(fft.rfft2(part, s=size)) ** 2
    ky, kx = fft.fftfreq(size[0], pixel)[:, None], fft.rfftfreq(size[1], pixel)[None]
    k = np.hypot(ky, kx)
    ratio = np.where((k > LEAST) & (k < min(LARGEST, 0.5 / pixel)), power, 0) / np.interp(k, *level)
    # Twice the places of the transform's own grid, of which noise has as many independent ones.
    highest = np.log(np.count_nonzero(ratio) / options.false_alarm)
    reach = 2 * max(int(values.shape[0] * pixel / options.longest * FINER / 2), 1) + 1
    peaks = (ratio == ndimage.maximum_filter(ratio, reach)) & (ratio > highest)
    rows, columns = np.nonzero(peaks)
    order = np.argsort(-ratio[rows, columns])
    starts = np.stack([kx[0, columns], ky[rows, 0]], axis=1)[order]
    y, x = (pixel * (np.arange(n) - (n - 1) / 2) for n in values.shape)
    g = np.array([_refined(part, one, y, x) for one in starts]).reshape(-1, 2)
    height = ratio[rows, columns][order]
    spread = np.sqrt([_variance(x, taper.sum(axis=0)), _variance(y, taper.sum(axis=1))])
    std = 1 / (2 * np.pi * spread * np.sqrt(2 * height)[:, None])
    return xr.Dataset(
        {
            "g": (("spot", "axis"), g, {"units": "1/Å"}),
            "g_std": (("spot", "axis"), std, {"units": "1/Å"}),
            "power": ("spot", height, {"units": "1"}),
        },
        coords={"axis": ["x", "y"]},
    )


def _refined(part: Array, start: Array, y: Array, x: Array) -> Array:
    """Return where the power about a place is largest."""
    step = 1 / (8 * max(float(np.ptp(y)), float(np.ptp(x))))

    def loss(steps: Array) -> float:
        gx, gy = start + step * steps
        total = np.exp(-2j * np.pi * gy * y) @ part @ np.exp(-2j * np.pi * gx * x)
        return -float(abs(total) ** 2)

    found = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-2})
    return np.asarray(start + step * found.x)


def _variance(places: Array, weight: Array) -> float:
    share = weight**2 / (weight**2).sum()
    return float(share @ places**2 - (share @ places) ** 2)


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
