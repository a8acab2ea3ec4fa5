"""Resolution by correlation in rings or shells of frequency.

Two independent halves of the data are reconstructed apart; where their spectra stop to correlate,
noise has taken over. A correlation with the truth says where the reconstruction itself stops.
"""

from enum import Enum
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.units import Degree

Array = npt.NDArray[np.float64]


class Threshold(Enum):
    """Where a correlation is no more counted as resolved."""

    HALF_BIT = "half-bit"
    ONE_BIT = "one-bit"


class ShellCorrelation(Settings):
    """How two images or volumes are correlated."""

    threshold: Threshold = Threshold.HALF_BIT
    taper: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Share of each side that falls off to zero, against the jump at the border."""
    object_size: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of each side that the object fills; fewer frequencies are independent below 1."""
    cone: Annotated[Degree, Field(gt=0, le=90)] = 90.0
    """Half opening of the cone of directions used; 90 for all."""
    axis: Annotated[int, Field(ge=-3, le=2)] = 0
    """Array axis that the cone is around."""


def shell_correlation(
    first: xr.DataArray, second: xr.DataArray, *, options: ShellCorrelation | None = None
) -> xr.Dataset:
    """Correlate two images (Fourier ring) or two volumes (Fourier shell).

    C(q) = Re sum F1 F2* / sqrt(sum |F1|² sum |F2|²) over rings one frequency step wide. The bit
    thresholds are those of van Heel & Schatz with n independent frequencies in a ring: half of
    its frequencies (Friedel pairs), times the share of the field that the object fills.

    Parameters
    ----------
    first, second : xarray.DataArray
        Two or three dims with coordinates in Å, the same shape and pixel size.
    options : ShellCorrelation, optional

    Returns
    -------
    xarray.Dataset
        Over ``frequency`` (1/Å): ``correlation``, ``threshold``, ``independent``; and
        ``full_period``, ``half_period`` in Å where the correlation first stays below the
        threshold for two rings (linear between rings), NaN where it never does and infinite where
        no ring is above it;
        ``full_period_std`` from the scatter of a correlation of n frequencies;
        ``beyond_two_thirds``: whether that is beyond 2/3 of Nyquist, where interpolation and
        aliasing make a figure doubtful.

    Raises
    ------
    BadInputError
        If the arrays do not match, are too small, not finite, or hold nothing.

    References
    ----------
    van Heel & Schatz, J. Struct. Biol. 151, 250 (2005).
    """
    options = options or ShellCorrelation()
    step = _common_pixel(first, second)
    spectra = [_spectrum(array.values, options.taper) for array in (first, second)]
    ring, inside = _rings(first.shape, step, options)
    rings = int(ring.max()) + 1
    sums = [
        np.bincount(ring[inside], weights=product[inside], minlength=rings)
        for product in (
            (spectra[0] * spectra[1].conj()).real,
            np.abs(spectra[0]) ** 2,
            np.abs(spectra[1]) ** 2,
            np.ones(first.shape),
        )
    ]
    width = 1 / (min(n * s for n, s in zip(first.shape, step, strict=True)))
    last = int(0.5 / max(step) / width)
    cross, one, two, count = (part[: last + 1] for part in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.where(one * two > 0, cross / np.sqrt(one * two), 0.0)
    independent = np.maximum(count / 2 * options.object_size ** len(step), 1.0)
    limit = bit_threshold(independent, options.threshold)
    frequency = width * np.arange(last + 1, dtype=np.float64)
    return _summary(frequency, correlation, limit, independent, max(step))


def bit_threshold(independent: Array, threshold: Threshold) -> Array:
    """Return the correlation at which a ring of n independent frequencies holds half or one bit.

    Parameters
    ----------
    independent : array
        Number of independent frequencies n.
    threshold : Threshold

    References
    ----------
    van Heel & Schatz, J. Struct. Biol. 151, 250 (2005), equation 17: with a signal-to-noise ratio
    s of the halves, (s + 2 sqrt(s/n) + 1/sqrt(n)) / (1 + s + 2 sqrt(s/n)).

    Examples
    --------
    >>> float(bit_threshold(np.array([1e12]), Threshold.HALF_BIT)[0].round(3))
    0.172
    """
    bits = {Threshold.HALF_BIT: 0.5, Threshold.ONE_BIT: 1.0}[threshold]
    ratio = (2**bits - 1) / 2  # of each half; together they hold twice that
    root = np.sqrt(independent)
    signal = 2 * np.sqrt(ratio) / root
    return np.asarray((ratio + signal + 1 / root) / (1 + ratio + signal))


def _common_pixel(first: xr.DataArray, second: xr.DataArray) -> tuple[float, ...]:
    if first.shape != second.shape or first.dims != second.dims or first.ndim not in (2, 3):
        raise BadInputError(
            f"arrays of {first.dims} {first.shape} and {second.dims} {second.shape}; expected two "
            "images or two volumes alike"
        )
    if min(first.shape) < 8:
        raise BadInputError(f"arrays of {first.shape}; expected 8 or more along each side")
    steps = []
    for dim in first.dims:
        if dim not in first.coords or dim not in second.coords:
            raise BadInputError(f"no coordinates of {dim}; expected positions in Å")
        ours, theirs = (float(np.diff(a[dim].values[:2])[0]) for a in (first, second))
        if not np.isclose(ours, theirs, rtol=1e-6) or ours <= 0:
            raise BadInputError(
                f"pixels of {ours:g} and {theirs:g} Å along {dim}; expected the same, above 0; "
                "resample one of them"
            )
        steps.append(ours)
    for array in (first, second):
        if not np.isfinite(array.values).all():
            raise BadInputError("values that are not finite; fill or cut them before")
        if not np.ptp(array.values) > 0:
            raise BadInputError("an array of one value only; there is nothing to correlate")
    return tuple(steps)


def _spectrum(values: Array, taper: float) -> npt.NDArray[np.complex128]:
    tapered = values - values.mean()
    for axis, n in enumerate(values.shape):
        edge = np.clip((np.arange(n) + 0.5) / max(taper * n, 1e-9), 0, 1)
        window = 0.5 - 0.5 * np.cos(np.pi * np.minimum(edge, edge[::-1]))
        shape = [1] * values.ndim
        shape[axis] = n
        tapered = tapered * window.reshape(shape)
    return np.asarray(np.fft.fftn(tapered))


def _rings(
    shape: tuple[int, ...], step: tuple[float, ...], options: ShellCorrelation
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the ring of every frequency, and which frequencies count."""
    grids = np.meshgrid(
        *(np.fft.fftfreq(n, d) for n, d in zip(shape, step, strict=True)), indexing="ij"
    )
    length = np.sqrt(sum(g**2 for g in grids))
    width = 1 / min(n * d for n, d in zip(shape, step, strict=True))
    along = np.abs(grids[options.axis])
    inside = along >= length * np.cos(np.deg2rad(options.cone)) - 1e-12
    return np.rint(length / width).astype(np.int64), np.asarray(inside)


def _summary(
    frequency: Array, correlation: Array, limit: Array, independent: Array, step: float
) -> xr.Dataset:
    crossing, slope, here = _crossing(frequency, correlation - limit)
    full = 1 / crossing if crossing else np.inf
    level = correlation[here]
    scatter = (1 - level**2) / np.sqrt(2 * independent[here])
    std = scatter / abs(slope) * full**2 if np.isfinite(full) and slope else np.nan
    values = {
        "full_period": (full, "Å"),
        "full_period_std": (std, "Å"),
        "half_period": (full / 2, "Å"),
        "half_period_std": (std / 2, "Å"),
    }
    curves = {"correlation": correlation, "threshold": limit, "independent": independent}
    return xr.Dataset(
        {
            **{name: ("frequency", curve, {"units": "1"}) for name, curve in curves.items()},
            **{name: ((), value, {"units": unit}) for name, (value, unit) in values.items()},
            "beyond_two_thirds": ((), bool(not crossing <= 2 / 3 * 0.5 / step)),
        },
        coords={"frequency": ("frequency", frequency, {"units": "1/Å"})},
    )


def _crossing(frequency: Array, excess: Array) -> tuple[float, float, int]:
    """Return where the excess first goes below zero for two rings, the slope there, that ring."""
    above = np.flatnonzero(excess > 0)
    if not len(above):
        return 0.0, 0.0, 0
    below = excess < 0
    found = np.flatnonzero(below[1:-1] & below[2:]) + 1
    found = found[found > above[0]]
    if not len(found):
        return np.nan, np.nan, len(excess) - 1
    k = int(found[0])
    slope = float((excess[k] - excess[k - 1]) / (frequency[k] - frequency[k - 1]))
    return float(frequency[k - 1] - excess[k - 1] / slope), slope, k
