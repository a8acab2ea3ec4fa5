"""Orientation map of a polycrystalline oxide, and its thickness, from a movie of HRTEM."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.hrtem_acquisition import hrtem_acquisition_of
from echolith.inverse.grain_extraction import OrientationSearch, Parts, take_apart
from echolith.inverse.grain_regions import Grain
from echolith.inverse.grain_search import Search
from echolith.inverse.grain_templates import Structure, Template
from echolith.inverse.oxide_thickness import shell_thickness

Array = npt.NDArray[np.float64]

ONE_REFLECTION = (
    "orientation where one reflection alone is seen: it tells one direction, and any turn of the "
    "crystal about it would show the same"
)


def recover_oxide(
    measurement: xr.Dataset, *, options: OrientationSearch | None = None
) -> xr.Dataset:
    """Map the grains of an oxide, and measure its thickness in every frame.

    Parameters
    ----------
    measurement : xarray.Dataset
        As from `echolith.forward.oxide_movie.oxide_mean` or `echolith.forward.hrtem.hrtem_mean`,
        drawn; frames in register.
    options : OrientationSearch, optional

    Returns
    -------
    xarray.Dataset
        Of the sum of frames: ``grain`` (y, x), 0 where there is no oxide for sure, else from 1;
        ``noise_probability`` (y, x) of as much at a place; ``metal`` (y, x), 0 or 1;
        ``one_reflection`` (y, x): 1 where a {111} alone is seen. Of every grain, the largest
        first: ``found_rotation`` (°) with ``_std``, ``found_zone`` (number of the candidate),
        ``found_area`` (Å²). ``thickness`` (frame; Å) with ``_std``, and ``mean_thickness``,
        unless not determined. Attribute ``undetermined``: what is not, and why.

    Raises
    ------
    BadInputError
        If the measurement is no movie, or holds what is no count.
    """
    options = options or OrientationSearch()
    pixel = hrtem_acquisition_of(measurement).pixel
    frames = _frames(measurement)
    parts = take_apart(frames.sum(axis=0), pixel=pixel, options=options)
    grains = sorted(parts.grains, key=lambda one: -one.weight.sum())
    sure = parts.log_probability <= np.log(options.false_alarm)
    label = sum((n * one.weight for n, one in enumerate(grains, 1)), np.zeros(sure.shape))
    metal = np.zeros(sure.shape) if parts.metal is None else parts.metal.weight
    single = _one_reflection(parts, pixel, options) & (label == 0) & (metal == 0)
    axes = {name: measurement["counts"].coords[name] for name in ("frame", "y", "x")}
    maps = {
        "grain": (label * sure).astype(np.int32),
        "metal": metal.astype(np.int32),
        "one_reflection": single.astype(np.int32),
        "noise_probability": np.exp(parts.log_probability),
    }
    found = xr.Dataset(
        {name: (("y", "x"), values, {"units": "1"}) for name, values in maps.items()}
        | _table(grains, options, pixel),
        coords=axes,
    )
    thickness = shell_thickness(frames, parts)
    reasons = [ONE_REFLECTION] if single.any() else []
    if "undetermined" in thickness.attrs:
        reasons.append(thickness.attrs["undetermined"])
    found = found.assign(thickness.data_vars)
    return found.assign_attrs(undetermined="; ".join(reasons)) if reasons else found


def _frames(measurement: xr.Dataset) -> Array:
    if "counts" not in measurement or "frame" not in measurement["counts"].dims:
        raise BadInputError("the measurement has no counts (frame, y, x); expected a movie")
    frames = np.asarray(measurement["counts"].transpose("frame", "y", "x").values, dtype=float)
    bad = ~np.isfinite(frames)
    if bad.any() or (frames < 0).any():
        raise BadInputError(
            f"{int(bad.sum())} pixels are not finite and {int((frames < 0).sum())} negative; "
            "expected counts; drop such frames, or replace pixels by the mean of their neighbours"
        )
    if not np.ptp(frames):
        raise BadInputError(f"every pixel holds {frames.flat[0]:g}; is the beam on?")
    return frames


def _table(
    grains: Sequence[Grain], options: OrientationSearch, pixel: float
) -> dict[str, tuple[str, Array, dict[str, str]]]:
    fits = [one.fit for one in grains]
    columns = {
        "found_rotation": ([fit.rotation % fit.template.period for fit in fits], "°"),
        "found_rotation_std": ([fit.rotation_std for fit in fits], "°"),
        "found_zone": ([options.zone_axes.index(fit.template.zone_axis) for fit in fits], "1"),
        "found_area": ([float(one.weight.sum()) * pixel**2 for one in grains], "Å²"),
    }
    return {
        name: ("found_grain", np.array(values, dtype=float), {"units": unit})
        for name, (values, unit) in columns.items()
    }


def _one_reflection(
    parts: Parts, pixel: float, options: OrientationSearch
) -> npt.NDArray[np.bool_]:
    """Tell where a {111} is seen that noise would not show."""
    line = Template(
        structure=Structure.ANTIFLUORITE,
        zone_axis=(1, 1, 0),
        g=np.array([[np.sqrt(3) / options.oxide, 0.0]]),
    )
    search = Search(templates=(line,), windows=options.windows, pixel=pixel)
    logs, _ = search.log_probabilities(parts.rest, parts.options.level)
    return np.asarray(logs <= np.log(options.false_alarm))
