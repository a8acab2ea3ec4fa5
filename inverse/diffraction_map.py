"""Maps of strain, lattice spacing, tilt and peak widths from rocking curves of a raster.

The frames are read twice, in blocks of rows of the scan: once to find bad pixels, missing frames
and the region where the photons are, once to fit the points. Blocks are fitted by themselves, so
that what is found does not depend on them, and a run broken off goes on with the next block.
"""

from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.forward.goniometer import scattering_vectors, voxel_volumes
from echolith.inverse.diffraction_frames import DIMS, Frames, checked_frames
from echolith.inverse.diffraction_overview import Region, Usable, overview, usable
from echolith.inverse.diffraction_peaks import PeakFit, PeakMethod, Peaks, fit_peaks
from echolith.inverse.diffraction_result import (
    finished_maps,
    warn_of_region,
    warn_of_saturation,
    warn_of_steps,
    warn_of_wavelength,
)
from echolith.inverse.diffraction_voxels import BEYOND, FITTED, Voxels, slices_of
from echolith.inverse.drifted_peaks import at_places
from echolith.inverse.place_peaks import whole_moves
from echolith.inverse.scan_drift import find_drift, known_drift
from echolith.inverse.staged_solver import Keep, kept_nowhere
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]


class DiffractionMap(Settings):
    """How maps are made."""

    method: PeakMethod = PeakMethod.LIKELIHOOD
    reference: Annotated[Angstrom, Field(gt=0)] | None = None
    """Lattice spacing without strain; by default the median of the map."""
    peaks: PeakFit = PeakFit()
    region: Region | None = None
    """First and one past the last eta, row and column of the frames to fit; by default where the
    photons are."""
    drift: tuple[float, float] | None = None
    """Steps (rows, columns) of the scan by which the specimen moves from one eta to the next, as
    known; by default it is found (`echolith.inverse.scan_drift`). Whole frames are given to the
    point they are nearest to, none is interpolated."""
    inside: Annotated[float, Field(gt=0, lt=1)] = 0.995
    """Part of a peak that the frames must hold; one that is cut off leans inwards, and is left
    out."""
    several: Annotated[float, Field(gt=0)] = 6.0
    """Standard deviations of the kurtosis from which a point is said to have several peaks."""


def recover_map(
    measurement: xr.Dataset, *, options: DiffractionMap | None = None, keep: Keep = kept_nowhere
) -> xr.Dataset:
    """Fit every point of a raster and return its maps.

    Strain is (d - d0) / d0 = |Q0| / |Q| - 1, so that expansion is positive; the tilt of Q against
    the direction n of the reflection is its magnitude atan2(|Q x n|, Q n) with the azimuth
    atan2(Q e2, Q e1); for the specular reflection n, e1, e2 are z, x, y
    (`echolith.forward.goniometer.Reflection`).

    Parameters
    ----------
    measurement : xarray.Dataset
        As from `echolith.forward.rocking_curve.rocking_curve_mean`, drawn; lazy counts are read in
        blocks of rows.
    options : DiffractionMap, optional
    keep : callable
        Keeps pieces, see `echolith.inverse.staged_solver.PiecewiseSolver`.

    Returns
    -------
    xarray.Dataset
        Over (scan_y, scan_x), each with ``_std``: ``spacing`` (Å), ``strain``, ``tilt_x``,
        ``tilt_y`` (°, lean of the normal towards e1 and e2), ``tilt`` (°, magnitude), ``azimuth``
        (°), ``width_x``, ``width_y``, ``width_z`` (1/Å), ``peak_counts`` and ``chi_square`` (1
        expected; its ``_std`` is the spread that chance gives it); without: the mean ``width``
        (1/Å) and ``several_peaks`` (0 or 1). NaN with infinite ``_std``: no data. ``hot``,
        ``dead``: pixels that were found to be so and left out; ``saturated`` voxels of points;
        ``drift_y``, ``drift_x`` with ``_std`` in steps of the scan per step of eta. Attribute
        ``undetermined``: says why where the drift is not, and is taken as none.

    Raises
    ------
    BadInputError
        If counts, angles, monitor or the goniometer are missing or wrong.
    """
    options = options or DiffractionMap()
    frames = checked_frames(measurement)
    seen = keep("overview", partial(overview, frames))
    used = usable(frames, seen["voxels"].values, options.region)
    voxels = _voxels(frames, used)
    drift = (
        find_drift(frames, used, voxels.vectors, keep=keep)
        if options.drift is None
        else known_drift(options.drift)
    )
    moves = whole_moves(drift.applied, len(frames.eta))
    halo = int(np.abs(moves[:, 0]).max())
    found = xr.concat(
        [
            keep(
                f"rows {rows.start}-{rows.stop - 1}",
                partial(_block, frames, voxels, rows, halo, moves, options),
            )
            for rows in frames.blocks(halo + 1)
        ],
        dim="point",
    )
    shape = (frames.counts.shape[0], frames.counts.shape[1])
    peaks = at_places(Peaks.of(found["peaks"].values), shape, voxels.vectors, drift)
    saturated = int(seen["saturated"])
    maps = finished_maps(
        peaks,
        shape,
        reference=options.reference,
        inside=options.inside,
        several=options.several,
    )
    warn_of_saturation(saturated, frames.saturation)
    warn_of_region(peaks, used.region, options.inside)
    warn_of_steps(maps, frames.step)
    warn_of_wavelength(maps, frames, options.reference)
    found_bad = {"hot": used.hot, "dead": used.dead, "saturated": saturated}
    maps = maps.assign({name: ((), n, {"units": "1"}) for name, n in found_bad.items()})
    maps = maps.assign(drift.variables()).assign_attrs(undetermined=drift.reasons)
    return maps.assign_coords({name: measurement[name] for name in DIMS[:2]})


def _block(
    frames: Frames,
    voxels: Voxels,
    rows: range,
    halo: int,
    moves: npt.NDArray[np.int64],
    options: DiffractionMap,
) -> xr.Dataset:
    """Fit the points of some rows; the rows beside them hold frames that have moved."""
    around = range(max(rows.start - halo, 0), min(rows.stop + halo, frames.counts.shape[0]))
    inner = range(rows.start - around.start, rows.stop - around.start)
    table = fit_peaks(
        frames.read(around), voxels, rows=inner, moves=moves, method=options.method,
        options=options.peaks,
    )  # fmt: skip
    return xr.Dataset({"peaks": (("point", "value"), table)})


def _voxels(frames: Frames, used: Usable) -> Voxels:
    """Return the voxels in the axes of the reflection; bad pixels and missing frames are dark."""
    etas = np.sort(np.concatenate([frames.eta, frames.missing]))
    taken = np.isin(etas, frames.eta)
    rows, columns = np.meshgrid(*(np.arange(n) for n in frames.valid.shape), indexing="ij")
    vectors = scattering_vectors(frames.goniometer, eta=etas, rows=rows, columns=columns)
    vectors = vectors @ frames.reflection.axes
    volumes = voxel_volumes(vectors)
    good = used.pixels & used.frames[:, None, None]
    (first, last), high, wide = used.region
    inside = np.zeros(good.shape, dtype=bool)
    inside[first:last, slice(*high), slice(*wide)] = True
    dark = np.zeros(volumes.shape, dtype=bool)
    dark[taken] = inside & ~good
    between = ~taken & (etas > frames.eta[first]) & (etas < frames.eta[last - 1])
    dark[between, slice(*high), slice(*wide)] = True
    return Voxels(
        vectors=vectors[taken],
        volumes=volumes[taken],
        sensitivity=np.broadcast_to(frames.monitor[:, None, None], good.shape).copy(),
        mark=np.where(good, np.where(inside, FITTED, BEYOND), 0).astype(np.uint8),
        dark_vectors=vectors[dark],
        dark_volumes=volumes[dark],
        saturation=frames.saturation,
        slices=slices_of(vectors),
    )
