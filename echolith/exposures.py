"""Several exposures of one kind in one measurement, e.g. a particle in each of its states.

Every exposure is a 4D-STEM set and, where recorded, a series of fast annular dark-field frames
beside it. All were taken alike: one acquisition, one series.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from echolith.errors import BadInputError, near_match

DIM = "exposure"
_FRAMES = {"haadf": "fast_haadf", "scan_y": "frame_y", "scan_x": "frame_x"}


def join_exposures(
    sets: Mapping[str, xr.Dataset], *, frames: Mapping[str, xr.Dataset] | None = None
) -> xr.Dataset:
    """Put exposures into one dataset.

    Parameters
    ----------
    sets : mapping
        For each name ``counts`` (scan_y, scan_x, detector_y, detector_x) and, where recorded,
        ``haadf`` (scan_y, scan_x); lazy ones stay lazy.
    frames : mapping, optional
        For each name ``haadf`` (frame, scan_y, scan_x).

    Returns
    -------
    xarray.Dataset
        The same with a leading dim ``exposure``; the frames as ``fast_haadf`` (exposure, frame,
        frame_y, frame_x). Attributes that all agree on.

    Raises
    ------
    BadInputError
        If there is no exposure, they were taken differently, or the frames are not of the same
        exposures.
    """
    if not sets:
        raise BadInputError("no exposure to join; give one or more")
    joined = _joined(sets, "acquisition")
    if not frames:
        return joined
    if set(frames) != set(sets):
        raise BadInputError(
            f"frames of {', '.join(frames)} for exposures {', '.join(sets)}; give both of each"
        )
    series = _joined({name: frames[name] for name in sets}, "fast_frames")
    series = series.rename({old: new for old, new in _FRAMES.items() if old in series.variables})
    return joined.merge(series[["fast_haadf"]], combine_attrs="drop_conflicts").assign_attrs(
        joined.attrs | {"fast_frames": series.attrs["fast_frames"]}
    )


def _joined(parts: Mapping[str, xr.Dataset], attribute: str) -> xr.Dataset:
    taken = {name: part.attrs.get(attribute) for name, part in parts.items()}
    if None in taken.values() or len(set(taken.values())) != 1:
        odd = next((n for n, t in taken.items() if t is None), list(taken)[-1])
        raise BadInputError(
            f"the exposures differ in '{attribute}' (see {odd}); join only what was taken alike"
        )
    both = xr.concat(
        list(parts.values()), dim=DIM, combine_attrs="drop_conflicts", join="exact", compat="equals"
    )
    return both.assign_coords({DIM: np.array(list(parts))})


def take_exposure(measurement: xr.Dataset, name: str) -> xr.Dataset:
    """Return the 4D-STEM set of one exposure, as if it had been taken alone."""
    return _one(measurement, name).drop_vars(["fast_haadf", "frame_y", "frame_x"], errors="ignore")


def take_frames(measurement: xr.Dataset, name: str) -> xr.Dataset:
    """Return the fast frames of one exposure, as if they had been taken alone.

    Raises
    ------
    BadInputError
        If there is no such exposure, or no frames were recorded.
    """
    if "fast_haadf" not in measurement:
        raise BadInputError(
            "the measurement holds no fast annular dark-field frames (fast_haadf), without which "
            "there is no reference free of drift; record them"
        )
    one = _one(measurement, name)[["fast_haadf"]]
    one = one.drop_vars(["scan_y", "scan_x"], errors="ignore")
    return one.rename({new: old for old, new in _FRAMES.items() if new in one.variables})


def _one(measurement: xr.Dataset, name: str) -> xr.Dataset:
    names = [str(n) for n in measurement[DIM].values] if DIM in measurement.coords else []
    if name not in names:
        raise BadInputError(
            f"the measurement holds no exposure '{name}'; {near_match(name, dict.fromkeys(names))}"
        )
    return measurement.isel({DIM: names.index(name)}, drop=True)
