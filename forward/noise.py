"""Counting noise on top of any mean, and thinning of counts to a lower dose.

Draws belong to global positions (see `echolith.forward.streams`): the same seed gives the same
bits whatever the chunking.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from numba import njit

from echolith.errors import BadInputError
from echolith.forward.acquisition import acquisition_of
from echolith.forward.streams import BadPixelError, draw_units

Array = npt.NDArray[Any]

ARRIVALS_UP_TO = 6.0
"""Mean per pixel up to which drawing arrivals is faster than drawing pixel by pixel (measured)."""
MARKS_AT_ONCE = 1 << 20
ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class PoissonCounting:
    """Independent Poisson counts in every pixel of every float variable (`Noise` protocol).

    Examples
    --------
    >>> mean = xr.Dataset({"haadf": (("scan_y", "scan_x"), np.full((2, 3), 4.0))})
    >>> PoissonCounting().sample(mean, seed=7)["haadf"].shape
    (2, 3)
    """

    scales_with_dose: ClassVar[bool] = True
    """Thinned counts are counts at a lower dose, and the information is proportional to it."""

    def sample(self, mean: xr.Dataset, *, seed: int) -> xr.Dataset:
        """Draw one measurement.

        Parameters
        ----------
        mean : xarray.Dataset
            Expected counts, every float variable; others are passed on. Dask arrays stay lazy.
        seed : int
            The one seed of the run; each variable has its own stream.

        Returns
        -------
        xarray.Dataset
            Counts, uint16 where the electrons per position of the acquisition allow it, uint32
            otherwise. Attributes and coordinates as in `mean`.

        Raises
        ------
        BadInputError
            If there is nothing to draw, or (when computed) a mean is NaN, infinite, negative, or
            beyond the electrons per position that the acquisition states.
        """
        names = [name for name, v in mean.data_vars.items() if np.issubdtype(v.dtype, np.floating)]
        if not names:
            held = ", ".join(f"{name} ({v.dtype})" for name, v in mean.data_vars.items())
            raise BadInputError(
                f"no variable of expected counts to draw from (it holds: {held or 'nothing'}); "
                "means are floating-point, and counts cannot be counted a second time"
            )
        stated = "acquisition" in mean.attrs
        dtype = counts_dtype(acquisition_of(mean).electrons_per_position if stated else None)
        counts = {
            name: draw_units(mean[name], _poisson, dtype=dtype, seed=seed, purpose="counts")
            for name in names
        }
        return mean.assign(counts)

    def information(
        self, mean: npt.NDArray[np.floating], jacobian: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float64]:
        """Return the Fisher information ``F_ab = sum_i (d mu_i/d a) (d mu_i/d b) / mu_i``.

        Pixels of zero mean and zero derivative never count and add nothing.

        Parameters
        ----------
        mean : array, (data,)
            Expected counts.
        jacobian : array, (data, parameters)
            Derivative of the mean.

        Returns
        -------
        array, (parameters, parameters)
            Symmetric, positive semidefinite.

        Raises
        ------
        BadInputError
            If shapes differ, a value is NaN, infinite or a mean negative, or a pixel of zero mean
            has a derivative: its information is infinite, the parameter lies on its boundary.

        References
        ----------
        Kay, *Fundamentals of Statistical Signal Processing: Estimation Theory* (1993), eq. 3.22.

        Examples
        --------
        >>> PoissonCounting().information(np.array([4.0]), np.array([[2.0]]))
        array([[1.]])
        """
        return pixelwise_information(mean, jacobian, np.sqrt)


def thin(measurement: xr.Dataset, *, fraction: float, seed: int) -> xr.Dataset:
    """Keep every counted electron with probability `fraction`: the same data at a lower dose.

    A thinned Poisson draw is a Poisson draw of the mean times `fraction`, so a dose series needs
    one simulation only. From one measurement and one seed the series is nested: a lower fraction
    keeps a subset of the electrons of a higher one. Counts without acquisition that are thinned
    twice need two seeds; with it the dose tells the streams apart.

    Parameters
    ----------
    measurement : xarray.Dataset
        Counts, every integer variable. Dask arrays stay lazy.
    fraction : float
        Probability to keep an electron, above 0 and up to 1.
    seed : int
        The one seed of the run.

    Returns
    -------
    xarray.Dataset
        Of the same types; the dose in the attribute ``acquisition`` is multiplied by `fraction`.

    Raises
    ------
    BadInputError
        If the fraction is outside (0, 1], there are no counts (a mean is scaled, not thinned), or
        (when computed) a count is negative.

    References
    ----------
    Kingman, *Poisson Processes* (1993), section 5.1 (colouring theorem).
    """
    if not 0 < fraction <= 1:
        raise BadInputError(f"fraction = {fraction:g} is outside (0, 1]; thinning lowers the dose")
    names = [
        name for name, v in measurement.data_vars.items() if np.issubdtype(v.dtype, np.integer)
    ]
    if not names:
        raise BadInputError(
            "no variable of counts to thin; a mean is not thinned: multiply it by the fraction"
        )
    attrs, purpose = dict(measurement.attrs), "thin"
    if "acquisition" in attrs:
        acquisition = acquisition_of(measurement)
        # The dose names the stream: thinning twice with one seed must not meet the same marks.
        purpose = f"thin from {acquisition.dose!r}"
        lower = acquisition.model_copy(update={"dose": acquisition.dose * fraction})
        attrs["acquisition"] = lower.model_dump_json()
    thinned = {
        name: draw_units(
            measurement[name],
            partial(_binomial, fraction),
            dtype=measurement[name].dtype,
            seed=seed,
            purpose=purpose,
        )
        for name in names
    }
    return measurement.assign(thinned).assign_attrs(attrs)


def counts_dtype(electrons: float | None) -> np.dtype[Any]:
    """Return uint16 where a pixel that caught every electron still fits, else uint32.

    Parameters
    ----------
    electrons : float, optional
        Electrons per scan position; unknown if None.

    Examples
    --------
    >>> counts_dtype(3240), counts_dtype(1e5)
    (dtype('uint16'), dtype('uint32'))
    """
    if electrons is None:
        return np.dtype(np.uint32)
    # Twelve standard deviations: a chance of 1e-32 per pixel.
    fits = electrons + 12 * np.sqrt(electrons) + 12 <= np.iinfo(np.uint16).max
    return np.dtype(np.uint16 if fits else np.uint32)


def _poisson(mean: Array, counts: Array, random: np.random.Generator) -> None:
    """Draw one unit, by the arrivals of a Poisson process or pixel by pixel."""
    if not mean.size:
        return
    lowest, highest, total = mean.min(), float(mean.max()), float(mean.sum())
    if not (lowest >= 0 and highest < np.inf):
        bad = int(np.flatnonzero(~((mean >= 0) & (mean < np.inf)))[0])
        raise BadPixelError(
            bad, f"has an expected count of {mean[bad]}; expected finite counts of 0 or more"
        )
    room = np.iinfo(counts.dtype).max
    if highest + 12 * np.sqrt(highest) > room:
        raise BadPixelError(
            int(mean.argmax()),
            f"has an expected count of {highest:g}, too many for {counts.dtype} (up to {room}); "
            "the mean must not exceed the electrons per position of the acquisition",
        )
    if total > ARRIVALS_UP_TO * mean.size:
        counts[:] = random.poisson(mean)
        return
    # Pixels are laid end to end on a line, each as long as its mean; unit-rate arrivals fall on it.
    batch = int(total + 6 * np.sqrt(total)) + 8
    left, pixel = float(random.standard_exponential()), 0
    while pixel < mean.size:
        gaps = random.standard_exponential(batch)
        pixel, left = _count_arrivals(mean, gaps, left, pixel, counts)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _count_arrivals(
    mean: Array, gaps: Array, left: float, start: int, counts: Array
) -> tuple[int, float]:
    """Count arrivals from pixel `start` on, the next one `left` away, until the gaps run out."""
    j = 0
    for i in range(start, mean.size):
        while left < mean[i]:
            if j == gaps.size:
                return i, left
            counts[i] += 1
            left += gaps[j]
            j += 1
        left -= mean[i]
    return mean.size, left


def _binomial(fraction: float, counts: Array, kept: Array, random: np.random.Generator) -> None:
    """Keep the electrons whose uniform mark is below the fraction."""
    if counts.size and counts.min() < 0:
        index = int(counts.argmin())
        raise BadPixelError(index, f"has a count of {counts[index]}; expected 0 or more")
    total = int(counts.sum(dtype=np.int64))
    pixel, taken = 0, 0
    for start in range(0, total, MARKS_AT_ONCE):
        marks = random.random(min(MARKS_AT_ONCE, total - start))
        pixel, taken = _keep_marked(counts, marks, fraction, pixel, taken, kept)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _keep_marked(
    counts: Array, marks: Array, fraction: float, pixel: int, taken: int, kept: Array
) -> tuple[int, int]:
    """Go on from a pixel of which `taken` electrons had their mark, until the marks run out."""
    for mark in marks:
        while taken == counts[pixel]:
            pixel += 1
            taken = 0
        kept[pixel] += mark < fraction
        taken += 1
    return pixel, taken


def pixelwise_information(
    mean: Array, jacobian: Array, deviation: Callable[[Array], Array]
) -> npt.NDArray[np.float64]:
    """Add up the Fisher information of independent pixels, block by block.

    Parameters
    ----------
    mean : array, (data,)
        Expected counts.
    jacobian : array, (data, parameters)
        Derivative of the mean.
    deviation : callable
        From the means of some pixels to ``1/sqrt(J)``, J the information of one pixel about its
        own mean: 0 where that is infinite, infinite where there is none.

    Raises
    ------
    BadInputError
        As `PoissonCounting.information`.
    """
    mean, jacobian = np.asarray(mean), np.asarray(jacobian)
    if mean.ndim != 1 or jacobian.ndim != 2 or len(jacobian) != len(mean):
        raise BadInputError(
            f"mean of shape {mean.shape} and jacobian of shape {jacobian.shape} do not belong "
            "together; expected (data,) and (data, parameters)"
        )
    information = np.zeros((jacobian.shape[1],) * 2)
    for start in range(0, len(mean), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        scaled = _standardised(
            mean[rows].astype(float), jacobian[rows].astype(float), start, deviation
        )
        information += scaled.T @ scaled
    return information


def _standardised(
    mean: Array, jacobian: Array, start: int, deviation: Callable[[Array], Array]
) -> Array:
    """Jacobian in units of each pixel's standard deviation."""
    bad = ~np.isfinite(mean) | (mean < 0) | ~np.isfinite(jacobian).all(axis=1)
    if bad.any():
        index = int(np.flatnonzero(bad)[0])
        raise BadInputError(
            f"data point {start + index} has mean {mean[index]} and derivatives {jacobian[index]}; "
            "expected finite numbers and a mean of 0 or more"
        )
    own = deviation(mean)
    endless = own == 0
    boundary = endless & jacobian.any(axis=1)
    if boundary.any():
        raise BadInputError(
            f"{boundary.sum()} data points, the first at {start + int(boundary.argmax())}, have "
            "mean 0 but a derivative, so infinite Fisher information; leave them out or add the "
            "detector's background to the mean"
        )
    return np.asarray(jacobian / np.where(endless, 1, own)[:, None])
