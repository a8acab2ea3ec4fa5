"""Defocus tuned per region: optical sectioning after the acquisition.

A tilted, bent or stepped specimen is in focus at another C10 in every region. SSB is repeated at a
series of C10. The spectrum of each image, divided by its noise, is an image of unit white noise
whose power is the gain in log-likelihood that the image explains; so in a region with window W

    L(C10) = sum_R W(R) |phi_white(R; C10)|² / 2,

up to a constant, is the likelihood of that C10. Its maximum is the region's, its curvature the
uncertainty. A contrast measure would weigh the noise too.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy import fft
from scipy.ndimage import gaussian_filter

from echolith.errors import BadInputError
from echolith.forward.acquisition import Aberrations, Settings, StemAcquisition, acquisition_of
from echolith.inverse.scan_transform import Streaming
from echolith.inverse.ssb import ssb
from echolith.units import Angstrom

FloatArray = npt.NDArray[np.float64]

WINDOW_STD = np.sqrt(0.5)
"""Standard deviation under a Gaussian window W of unit height in units of 1/sqrt(-L''): curvature
goes with sum W, the variance of the slope with sum W², which is half of it."""
LEAST_GAIN = 5.0
"""Standard deviations of noise by which a region's image must exceed it."""
LARGEST_SHARE = 0.25
"""Of the series' span: a region's C10 known worse is not determined by the series."""


class SectioningOptions(Settings):
    """Options of the optical sectioning."""

    span: Annotated[Angstrom, Field(gt=0)] = 60.0
    """The series reaches this far to either side of the metadata's C10."""
    steps: Annotated[int, Field(ge=5, le=201)] = 13
    """Members of the series."""
    patch: Annotated[Angstrom, Field(gt=0)] = 4.0
    """Standard deviation of the Gaussian window of a region."""


def tune_defocus(
    measurement: xr.Dataset,
    *,
    options: SectioningOptions | None = None,
    streaming: Streaming | None = None,
) -> xr.Dataset:
    """Find the C10 of every region and compose the phase image of all regions in focus.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `echolith.inverse.ssb.ssb`; best after `correct_aberrations`.
    options : SectioningOptions, optional
    streaming : Streaming, optional
        Memory and threads.

    Returns
    -------
    xarray.Dataset
        ``phase`` (scan_y, scan_x), rad: at every position the member of the series in focus there,
        interpolated between the nearest two; ``C10`` and ``C10_std`` (scan_y, scan_x), Å: of the
        region around the position, NaN where it is not determined: nothing beyond noise, no maximum
        inside the series, or one too flat; ``C10_overall`` and its ``_std``: of the whole field,
        which the composite uses there; ``defocus_series`` (member), Å; ``log_likelihood``
        (member), of the whole field.
        Neighbouring positions share their region: values differ less than their ``_std``.

    Raises
    ------
    BadInputError
        If the patch is larger than the field, the whole field has no maximum inside the series, or
        the measurement cannot be inverted.

    Notes
    -----
    C10 refers to the middle of the region's thickness.
    """
    options = options or SectioningOptions()
    acquisition = acquisition_of(measurement)
    _check(options, acquisition)
    series = np.linspace(-options.span, options.span, options.steps)
    series = series + acquisition.beam.aberrations.C10
    images, gains, freedom = _series(measurement, series, acquisition.beam.aberrations, streaming)
    overall, overall_std = _maximum(series, gains.sum(axis=(1, 2)))
    if np.isnan(overall):
        raise BadInputError(
            f"no C10 from {series[0]:g} to {series[-1]:g} Å brings the field into focus; determine "
            "the aberrations first (correct_aberrations), or take a larger span"
        )
    sigma = [options.patch / step for step in acquisition.scan.step]
    # A window of unit height, so that its sum is a number of positions.
    area = 2 * np.pi * sigma[0] * sigma[1]
    local = area * gaussian_filter(gains, (0, *sigma), mode="wrap")
    found, std = _maximum(series, local)
    std = std * WINDOW_STD
    # Noise alone: |W|² of an independent Q has variance 1, and the window weighs it with W².
    noise = np.sqrt(freedom / 2 / gains[0].size * area / 2)
    unknown = ~(std < LARGEST_SHARE * 2 * options.span)
    unknown |= local.max(axis=0) < LEAST_GAIN * noise
    found, std = np.where(unknown, np.nan, found), np.where(unknown, np.nan, std)
    phase = _composite(series, images, np.where(unknown, overall, found))
    return _dataset(
        acquisition,
        phase=phase,
        found=found,
        std=std,
        overall=(float(overall), float(overall_std)),
        series=series,
        gain=gains.sum(axis=(1, 2)),
    )


def _check(options: SectioningOptions, acquisition: StemAcquisition) -> None:
    extent = min(acquisition.scan.extent)
    if 4 * options.patch > extent:
        raise BadInputError(
            f"patch = {options.patch:g} Å; expected up to a quarter of the field's shorter side, "
            f"{extent / 4:.4g} Å; use a smaller patch, or one C10 for the field (fit_aberrations)"
        )


def _series(
    measurement: xr.Dataset,
    series: FloatArray,
    aberrations: Aberrations,
    streaming: Streaming | None,
) -> tuple[FloatArray, FloatArray, int]:
    """Return phase and gain in log-likelihood per position at every C10, and the most Q in one."""
    images, gains, freedom = [], [], 0
    for value in series:
        chosen = aberrations.model_copy(update={"C10": float(value)})
        image = ssb(measurement, aberrations=chosen, streaming=streaming)
        images.append(image["phase"].values)
        gains.append(_gain(image))
        freedom = max(freedom, int(np.count_nonzero(image["weight"].values)))
    return np.stack(images), np.stack(gains), freedom


def _gain(image: xr.Dataset) -> FloatArray:
    """Return per position what the image gains in log-likelihood, less what noise alone gains.

    With W(Q) = phi(Q) sqrt(weight) of unit noise the gain is ``sum_Q |W|² / 2``: Q and -Q
    are one.
    """
    phase, weight = image["phase"].values, image["weight"].values
    white = fft.ifft2(fft.fft2(phase) * np.sqrt(weight)).real
    return np.asarray((white**2 - np.count_nonzero(weight)) / (2 * phase.size))


def _maximum(series: FloatArray, gain: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the abscissa of the maximum over the first axis by a parabola, and 1/sqrt(-L'').

    NaN where the maximum is at an end.
    """
    best = gain.argmax(axis=0)
    middle = np.clip(best, 1, len(series) - 2)
    left, at, right = (np.take_along_axis(gain, (middle + i)[None], axis=0)[0] for i in (-1, 0, 1))
    step = series[1] - series[0]
    bend = left - 2 * at + right
    inside = (best == middle) & (bend < 0)
    safe = np.where(inside, bend, -1.0)
    place = series[middle] + step * (left - right) / (2 * safe)
    std = step / np.sqrt(-safe)
    return np.where(inside, place, np.nan), np.where(inside, std, np.nan)


def _composite(series: FloatArray, images: FloatArray, focus: FloatArray) -> FloatArray:
    """Interpolate between the two members of the series that are nearest in focus."""
    place = np.clip((focus - series[0]) / (series[1] - series[0]), 0, len(series) - 1)
    lower = np.minimum(place.astype(np.int64), len(series) - 2)
    below, above = (np.take_along_axis(images, (lower + i)[None], axis=0)[0] for i in (0, 1))
    return np.asarray(below + (place - lower) * (above - below))


def _dataset(
    acquisition: StemAcquisition,
    *,
    phase: FloatArray,
    found: FloatArray,
    std: FloatArray,
    overall: tuple[float, float],
    series: FloatArray,
    gain: FloatArray,
) -> xr.Dataset:
    dims, angstrom = ("scan_y", "scan_x"), {"units": "Å"}
    (ny, nx), (step_y, step_x) = acquisition.scan.shape, acquisition.scan.step
    return xr.Dataset(
        {
            "phase": (dims, phase, {"units": "rad", "long_name": "phase"}),
            "C10": (dims, found, angstrom),
            "C10_std": (dims, std, angstrom),
            "C10_overall": ((), overall[0], angstrom),
            "C10_overall_std": ((), overall[1], angstrom),
            "defocus_series": ("member", series, angstrom),
            "log_likelihood": ("member", gain, {"units": "1"}),
        },
        coords={
            "scan_y": ("scan_y", np.arange(ny) * step_y, angstrom),
            "scan_x": ("scan_x", np.arange(nx) * step_x, angstrom),
        },
        attrs={"acquisition": acquisition.model_dump_json(), "method": "ssb"},
    )
