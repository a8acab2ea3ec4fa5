"""Length of a growing whisker in every frame of a bright-field movie, and the law it follows.

The length runs from the edge of the base to the tip along the axis, both read in the same frame:
drift of the specimen does not enter. Where it cannot be read a frame has NaN and a reason.
"""

from dataclasses import replace
from enum import Enum
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.ndimage import median_filter, uniform_filter1d

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.hrtem_acquisition import HrtemAcquisition, hrtem_acquisition_of
from echolith.inverse.growth_laws import GrowthLawOptions, growth_law
from echolith.inverse.whisker_axis import NoGrowthError, WhiskerAxis, whisker_axis
from echolith.inverse.whisker_edges import COMMON, EdgeOptics
from echolith.inverse.whisker_fit import EdgeFit, Watched, first_common, fit_common, fit_own
from echolith.inverse.whisker_profile import Profiles, axis_profiles, dropped_frames

Array = npt.NDArray[np.float64]

FEWEST = 16
"""Frames."""
SHARED = 48
"""Frames that the common parameters are fitted to."""
FIRST = 10
"""Frames that tell which start is the best."""
TOGETHER = 5
"""Frames whose counts are added for a first look."""
SMOOTHED = 9
"""Frames over which the tip's speed is taken."""
MOST_MOMENTS = 8
FRINGE = 6
"""Pixels about an edge that are left out of a mean level."""


class LengthState(Enum):
    """What there is to a length."""

    MEASURED = "measured"
    DROPPED = "frame dropped"
    LEFT_FIELD = "tip left the field"
    TOO_SHORT = "too short"
    NOT_SEEN = "tip not seen"


class WhiskerOptions(Settings):
    """How lengths are read and laws weighed."""

    rim: Annotated[float, Field(ge=1, le=100)] = 4.0
    """Pixels from the border of the field at which the tip counts as having left."""
    shortest: Annotated[float, Field(ge=0, le=100)] = 2.0
    """Pixels; in a shorter whisker base and tip are one."""
    largest_std: Annotated[float, Field(gt=0, le=100)] = 3.0
    """Pixels; a tip less well known was not seen."""
    law: GrowthLawOptions = GrowthLawOptions()


def recover_whisker(
    measurement: xr.Dataset, *, options: WhiskerOptions | None = None
) -> xr.Dataset:
    """Read the length of a whisker in every frame and find the law of its growth.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (frame, y, x) with times of the frames, attribute ``hrtem``, as from
        `echolith.forward.bright_field.whisker_movie`.
    options : WhiskerOptions, optional

    Returns
    -------
    xarray.Dataset
        ``length`` with ``length_std`` (frame; Å; NaN and infinite where not determined) and
        ``state`` (frame; a `LengthState`); ``direction`` (°, from x towards y) of the axis;
        ``kymograph`` (frame, place; electrons per pixel by that of the vacuum); and all that
        `echolith.inverse.growth_laws.growth_law` says of the lengths. Attribute ``undetermined``
        where something is not determined: what, and why.

    Raises
    ------
    BadInputError
        If there is no movie, or it has too few frames.
    """
    options = options or WhiskerOptions()
    acquisition = hrtem_acquisition_of(measurement)
    counts = _movie(measurement)
    dropped = dropped_frames(counts)
    kept = np.flatnonzero(~dropped)
    if len(kept) < FEWEST:
        raise BadInputError(
            f"{len(kept)} of {len(dropped)} frames hold an image; expected at least {FEWEST}"
        )
    try:
        axis = whisker_axis(counts, kept)
    except NoGrowthError:
        state = np.full(len(dropped), LengthState.NOT_SEEN, dtype=object)
        state[dropped] = LengthState.DROPPED
        nothing = np.full(len(dropped), np.nan)
        found = _lengths(nothing, nothing + np.inf, state)
        return found.assign_attrs(undetermined="length and law: nothing grows in this movie")
    profiles = axis_profiles(counts, axis)
    found = _measured(profiles, axis, acquisition, kept, options)
    found["direction"] = ((), np.degrees(axis.direction) % 360, {"units": "°"})
    found = found.assign(_kymograph(profiles, acquisition))
    law = growth_law(
        counts["frame"].values,
        found["length"].values,
        length_std=found["length_std"].values,
        options=options.law,
    )
    return found.assign(law.variables).assign_attrs(law.attrs)


def _movie(measurement: xr.Dataset) -> xr.DataArray:
    if "counts" not in measurement or set(measurement["counts"].dims) != {"frame", "y", "x"}:
        raise BadInputError("the measurement has no counts (frame, y, x); expected a movie")
    counts = measurement["counts"].transpose("frame", "y", "x")
    if "frame" not in counts.coords:
        raise BadInputError("the frames have no times; set the coordinate 'frame' (s)")
    return counts


def _lengths(length: Array, std: Array, state: npt.NDArray[np.object_]) -> xr.Dataset:
    units = {"units": "Å"}
    return xr.Dataset(
        {
            "length": ("frame", length, units),
            "length_std": ("frame", std, units),
            "state": ("frame", np.array([one.value for one in state])),
        }
    )


def _kymograph(profiles: Profiles, acquisition: HrtemAcquisition) -> dict[str, xr.Variable]:
    mean = profiles.counts / profiles.pixels
    shown = xr.Variable(("frame", "place"), mean / np.nanpercentile(mean, 90), {"units": "1"})
    place = xr.Variable("place", profiles.place * acquisition.pixel, {"units": "Å"})
    return {"kymograph": shown, "place": place}


def _measured(
    profiles: Profiles,
    axis: WhiskerAxis,
    acquisition: HrtemAcquisition,
    kept: npt.NDArray[np.int64],
    options: WhiskerOptions,
) -> xr.Dataset:
    """Return lengths, their errors and states."""
    fit, inside = _fitted(profiles, axis, acquisition, kept, options)
    frames = len(profiles.counts)
    length, std = np.full(frames, np.nan), np.full(frames, np.inf)
    state = np.full(frames, LengthState.DROPPED, dtype=object)
    state[kept] = LengthState.LEFT_FIELD
    if fit is None:
        return _lengths(length, std, state)
    towards = np.array([-1.0, 1.0, 0.0])
    scale = max(1.0, float(np.median(fit.misfit)))
    own_std = np.sqrt(scale * np.einsum("i,fij,j->f", towards, fit.covariance, towards))
    own_length = fit.own[:, 1] - fit.own[:, 0]
    state[inside] = LengthState.MEASURED
    state[inside[own_std > options.largest_std]] = LengthState.NOT_SEEN
    state[inside[own_length < options.shortest]] = LengthState.TOO_SHORT
    state[inside[fit.own[:, 1] > profiles.place[-1] - options.rim]] = LengthState.LEFT_FIELD
    known = state[inside] == LengthState.MEASURED
    length[inside[known]] = acquisition.pixel * own_length[known]
    std[inside[known]] = acquisition.pixel * own_std[known]
    return _lengths(length, std, state)


def _fitted(
    profiles: Profiles,
    axis: WhiskerAxis,
    acquisition: HrtemAcquisition,
    kept: npt.NDArray[np.int64],
    options: WhiskerOptions,
) -> tuple[EdgeFit | None, npt.NDArray[np.int64]]:
    """Return the fit of the frames with the tip in the field, and which they are."""
    base, levels = _levels(profiles.chosen(kept), axis)
    tips = _first_tips(profiles, kept, base, levels)
    within = tips < profiles.place[-1] - options.rim
    if within.sum() < FEWEST:
        return None, kept[:0]
    inside, tips = kept[within], tips[within]
    watched = Watched(
        profiles=profiles.chosen(inside),
        optics=EdgeOptics.of(acquisition, profiles.place, blur=profiles.blur),
        when=inside / (len(profiles.counts) - 1) - 0.5,
        ways=_ways(tips, inside),
    )
    # The base was found in the last frames; until then it has drifted.
    bases = base + axis.speed * (inside - kept[-1])
    own = np.stack([bases, tips, np.full(len(tips), levels[2])], axis=1)
    loss = -np.log(levels[:2] / levels[2])
    common = np.zeros(len(COMMON))
    common[2], common[5] = loss[1], loss[0]
    some = np.unique(np.linspace(0, len(inside) - 1, SHARED).astype(int))
    few = some[:: max(1, len(some) // FIRST)]
    common = first_common(watched.chosen(few), own[few], common)
    part = watched.chosen(some)
    _, common = fit_common(part, fit_own(part, own[some], common).own, common)
    fit = fit_own(watched, own, common)
    # How far a tip goes in a frame is known better now.
    watched = replace(watched, ways=_ways(fit.own[:, 1], inside))
    return fit_own(watched, fit.own, common), inside


def _ways(tips: Array, frames: npt.NDArray[np.int64]) -> Array:
    """Return where the tip is at moments of each frame, pixels from its middle place."""
    speed = np.gradient(uniform_filter1d(tips, min(SMOOTHED, len(tips)), mode="nearest"), frames)
    # The smoothing flattens both ends.
    rim = min(SMOOTHED // 2 + 1, len(speed) // 2)
    speed[:rim], speed[-rim:] = speed[rim], speed[-rim - 1]
    moments = int(np.clip(np.ceil(np.percentile(np.abs(speed), 90)), 1, MOST_MOMENTS))
    return np.asarray(speed[:, None] * ((np.arange(moments) + 0.5) / moments - 0.5))


def _levels(profiles: Profiles, axis: WhiskerAxis) -> tuple[float, Array]:
    """Return where the base ends, and electrons per pixel in base, whisker and vacuum.

    Of the last frames: what has grown is whisker, what lies beyond it vacuum; before it the base
    ends where that is likeliest.
    """
    last = slice(-max(TOGETHER, len(profiles.counts) // 16), None)
    counts, pixels = profiles.counts[last].sum(axis=0), profiles.pixels[last].sum(axis=0)
    place = profiles.place
    end = axis.length / 2
    grown = np.abs(place) < max(end - FRINGE, end / 3)
    beyond = place > min(end + FRINGE, place[-1] - 1)
    whisker, vacuum = (counts[part].sum() / pixels[part].sum() for part in (grown, beyond))
    start = int(np.searchsorted(place, end / 3 - end))
    level = np.cumsum(counts) / np.cumsum(pixels)
    # Likelihood of the best level up to each bin, and of the whisker's level from there on.
    before = np.cumsum(counts) * (np.log(np.maximum(level, 1e-9)) - 1)
    after = counts * np.log(whisker) - pixels * whisker
    value = before[:start] - np.cumsum(after)[:start]
    cut = int(np.argmax(value[FRINGE:])) + FRINGE if start > 2 * FRINGE else 0
    base = level[max(cut - FRINGE // 2, 0)]
    return float(place[cut]) + 0.5, np.maximum(np.array([base, whisker, vacuum]), 1e-6)


def _first_tips(
    profiles: Profiles, kept: npt.NDArray[np.int64], base: float, levels: Array
) -> Array:
    """Return where the whisker ends most likely, of its loss alone, pixels."""
    counts = uniform_filter1d(profiles.counts[kept], TOGETHER, axis=0)
    gain = counts * np.log(levels[1] / levels[2]) - profiles.pixels[kept] * (levels[1] - levels[2])
    gain = gain[:, profiles.place > base]
    last = np.argmax(np.cumsum(gain, axis=1), axis=1)
    tips = base + 1 + median_filter(last.astype(float), TOGETHER, mode="nearest")
    return np.asarray(tips)
