"""Maps of strain, lattice spacing, tilt and peak widths from rocking curves of a raster."""

import warnings
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.acquisition import Settings
from echolith.forward.goniometer import Goniometer, lean, scattering_vectors, voxel_volumes
from echolith.inverse.diffraction_peaks import PeakFit, Peaks, fit_peaks
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]
COARSE = 2.0
"""Standard deviations of a peak that a step of eta may be wide."""
DIMS = ("scan_y", "scan_x", "eta", "detector_y", "detector_x")
HOT = 12.0
"""Times the median of its neighbours from which a pixel is hot, on average over all frames."""


class DiffractionMap(Settings):
    """How maps are made."""

    reference: Annotated[Angstrom, Field(gt=0)] | None = None
    """Lattice spacing without strain; by default the median of the map."""
    peaks: PeakFit = PeakFit()
    drift: tuple[float, float] = (0.0, 0.0)
    """Steps (rows, columns) of the scan by which the specimen moves from one eta to the next, as
    known: whole frames are given to the point they are nearest to, none is interpolated."""
    inside: Annotated[float, Field(gt=0, lt=1)] = 0.995
    """Part of a peak that the frames must hold; one that is cut off leans inwards, and is left
    out."""
    several: Annotated[float, Field(gt=0)] = 6.0
    """Standard deviations of the kurtosis from which a point is said to have several peaks."""


def recover_map(measurement: xr.Dataset, *, options: DiffractionMap | None = None) -> xr.Dataset:
    """Fit every point of a raster and return its maps.

    Strain is (d - d0) / d0 = |Q0| / |Q| - 1, so that expansion is positive; the tilt of Q against
    the normal n = z is its magnitude atan2(|Q x n|, Q n) with the azimuth atan2(Qy, Qx).

    Parameters
    ----------
    measurement : xarray.Dataset
        As from `echolith.forward.rocking_curve.rocking_curve_mean`, drawn.
    options : DiffractionMap, optional

    Returns
    -------
    xarray.Dataset
        Over (scan_y, scan_x): ``spacing`` (Å), ``strain``, ``tilt_x``, ``tilt_y`` (°, lean of the
        normal towards x and y), ``tilt`` (°, magnitude), ``azimuth`` (°), ``width_x``, ``width_y``,
        ``width_z`` and their mean ``width`` (1/Å), ``peak_counts``, the first four with ``_std``;
        ``several_peaks`` (0 or 1). NaN: no data. ``hot``: how many pixels were left out as hot.

    Raises
    ------
    BadInputError
        If counts, angles or the goniometer are missing or wrong.
    """
    options = options or DiffractionMap()
    counts, goniometer = _checked(measurement)
    eta = measurement["eta"].values.astype(float)
    rows, columns = np.meshgrid(*(np.arange(n) for n in counts.shape[3:]), indexing="ij")
    vectors = scattering_vectors(goniometer, eta=eta, rows=rows, columns=columns)
    volumes = voxel_volumes(vectors)
    usable, hot = _usable(measurement, counts)
    monitor = (
        measurement["monitor"].values if "monitor" in measurement.coords else np.ones(len(eta))
    )
    gathered = _gathered(counts, np.array(options.drift))
    sensitivity = monitor[:, None, None] * usable
    found = fit_peaks(
        gathered.reshape(-1, *counts.shape[2:]),
        vectors,
        volumes,
        sensitivity,
        options=options.peaks,
    )
    maps = _maps(found, counts.shape[:2], options)
    _warn_of_steps(maps, eta)
    maps = maps.assign(hot=((), hot, {"units": "1"})).assign(_mean_strain(maps))
    return maps.assign_coords({name: measurement[name] for name in DIMS[:2]})


def _warn_of_steps(maps: xr.Dataset, eta: Array) -> None:
    """Say what it costs when the steps of eta are wider than the peak."""
    known = np.isfinite(maps["spacing"].values)
    if not known.any():
        return
    length = 2 * np.pi / float(maps["spacing"].values[known].mean())
    step = float(np.radians(np.diff(eta).max())) * length
    width = float(np.median(maps["width_x"].values[known]))
    if step > COARSE * width:
        warnings.warn(
            f"steps of eta are {np.degrees(step / length):.3g}°, the peak's standard deviation "
            f"is {np.degrees(width / length):.3g}°; expected steps below {COARSE:g} of them: the "
            f"tilt along the beam is only known to {np.degrees(step / length) / 12**0.5:.2g}°, "
            "whatever its uncertainty says; take finer steps",
            BadInputWarning,
            stacklevel=3,
        )


def _mean_strain(maps: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the mean strain of the map and its uncertainty; nothing without any point."""
    known = np.isfinite(maps["strain"].values)
    if not known.any():
        return {}
    std = float(np.sqrt((maps["strain_std"].values[known] ** 2).sum()) / known.sum())
    mean = float(maps["strain"].values[known].mean())
    return {
        "mean_strain": xr.DataArray(1e6 * mean, attrs={"units": "ppm"}),
        "mean_strain_std": xr.DataArray(1e6 * std, attrs={"units": "ppm"}),
    }


def _checked(measurement: xr.Dataset) -> tuple[npt.NDArray[np.integer], Goniometer]:
    if "counts" not in measurement or measurement["counts"].dims != DIMS:
        held = measurement["counts"].dims if "counts" in measurement else "none"
        raise BadInputError(f"counts over {held}; expected {DIMS}")
    if "goniometer" not in measurement.attrs or "eta" not in measurement.coords:
        raise BadInputError(
            "the angles of the goniometer are missing; expected the coordinate eta and the "
            "attribute goniometer (see echolith.forward.goniometer.Goniometer)"
        )
    values = measurement["counts"].values
    if not np.issubdtype(values.dtype, np.integer):
        if not np.isfinite(values).all() or (values < 0).any():
            raise BadInputError("counts are negative or not finite; expected photons")
        values = np.rint(values).astype(np.uint32)
    eta = measurement["eta"].values
    if len(eta) < 5 or (np.diff(eta) <= 0).any():
        raise BadInputError(f"{len(eta)} angles eta; expected 5 or more that increase, in degrees")
    return values, Goniometer.model_validate_json(measurement.attrs["goniometer"])


def _usable(
    measurement: xr.Dataset, counts: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.bool_], int]:
    """Return which pixels of the detector are used, and how many were found to be hot."""
    valid = np.ones(counts.shape[3:], dtype=bool)
    if "valid" in measurement.coords:
        valid = measurement["valid"].values.astype(bool).copy()
    mean = counts.mean(axis=(0, 1, 2), dtype=np.float64)
    padded = np.pad(np.where(valid, mean, np.nan), 1, constant_values=np.nan)
    around = np.stack(
        [
            padded[1 + a : 1 + a + mean.shape[0], 1 + b : 1 + b + mean.shape[1]]
            for a in (-1, 0, 1)
            for b in (-1, 0, 1)
            if (a, b) != (0, 0)
        ]
    )
    known = np.isfinite(around).any(axis=0)
    typical = np.zeros(mean.shape)
    typical[known] = np.nanmedian(around[:, known], axis=0)
    hot = valid & (mean > HOT * np.maximum(typical, mean.mean()))
    return valid & ~hot, int(hot.sum())


def _gathered(counts: npt.NDArray[np.integer], drift: Array) -> npt.NDArray[np.integer]:
    """Return counts with every frame at the point of the specimen it is nearest to.

    Whole frames move, no count is shared out; what a point lacks at the rim is 0.
    """
    etas = counts.shape[2]
    turn = np.arange(etas) - (etas - 1) / 2
    whole = np.rint(turn[:, None] * drift).astype(int)
    if not whole.any():
        return counts
    moved = np.zeros_like(counts)
    height, width = counts.shape[:2]
    for e, (dy, dx) in enumerate(whole):
        to_y, from_y = _overlap(height, dy)
        to_x, from_x = _overlap(width, dx)
        moved[to_y, to_x, e] = counts[from_y, from_x, e]
    return moved


def _overlap(count: int, shift: int) -> tuple[slice, slice]:
    """Return where entries go to and come from when those at n show what is at n + shift."""
    to = slice(max(shift, 0), count + min(shift, 0))
    return to, slice(to.start - shift, to.stop - shift)


def _maps(found: Peaks, shape: tuple[int, ...], options: DiffractionMap) -> xr.Dataset:
    length = np.linalg.norm(found.centre, axis=1)
    known = np.isfinite(length) & (found.inside > options.inside)
    direction = found.centre / length[:, None]
    spacing = 2 * np.pi / length
    reference = options.reference or (float(np.median(spacing[known])) if known.any() else np.nan)
    along = np.sqrt(np.einsum("ni,nij,nj->n", direction, found.covariance, direction))
    tilt = lean(found.centre)
    across = np.sqrt(np.stack([found.covariance[:, k, k] for k in (0, 1)])) / length
    values = {
        "spacing": (spacing, "Å"),
        "spacing_std": (along / length * spacing, "Å"),
        "strain": (spacing / reference - 1, "1"),
        "strain_std": (along / length * spacing / reference, "1"),
        "tilt_x": (tilt[:, 0], "°"),
        "tilt_x_std": (np.degrees(across[0]), "°"),
        "tilt_y": (tilt[:, 1], "°"),
        "tilt_y_std": (np.degrees(across[1]), "°"),
        "tilt": (np.hypot(*tilt.T), "°"),
        "azimuth": (np.degrees(np.arctan2(tilt[:, 1], tilt[:, 0])), "°"),
        "width_x": (found.width[:, 0], "1/Å"),
        "width_y": (found.width[:, 1], "1/Å"),
        "width_z": (found.width[:, 2], "1/Å"),
        "width": (found.width.mean(axis=1), "1/Å"),
        "peak_counts": (found.counts, "photons"),
    }
    maps = xr.Dataset(
        {
            name: (DIMS[:2], np.where(known, value, _unknown(name)).reshape(shape), {"units": unit})
            for name, (value, unit) in values.items()
        }
    )
    several = (known & (found.misfit > options.several)).reshape(shape)
    return maps.assign(several_peaks=(DIMS[:2], several.astype(np.int8), {"units": "1"}))


def _unknown(name: str) -> float:
    return np.inf if name.endswith("_std") else np.nan
