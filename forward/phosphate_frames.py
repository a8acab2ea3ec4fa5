"""Far-field frames of every view of a tilt series at several energies: what a beam line records."""

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import delayed

from echolith.errors import BadInputError
from echolith.forward.far_field import (
    FarField,
    far_field_mean,
    frame_attributes,
    scan_positions,
)
from echolith.forward.far_field_detector import detector_transmission
from echolith.forward.far_field_views import field_needed, scan_seed
from echolith.forward.phosphate_exit_wave import exit_waves
from echolith.forward.phosphate_paths import View
from echolith.forward.tilt_placement import TiltJitter, tilt_placement, view_of
from echolith.forward.tilts import Tilts
from echolith.forward.xray_absorption import ENERGIES, IronEdge
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.units import Angstrom

FRAME_DIMS = ("energy", "tilt", "scan", "position", "detector_y", "detector_x")
SEEDS_PER_TILT = 1009
"""Between the seeds of two tilts; no two scans of a series share their positions."""


def tilt_series_frames(
    specimen: PhosphateSpecimen,
    *,
    tilts: Tilts = Tilts(),  # noqa: B008
    energies: tuple[float, ...] = ENERGIES,
    frames: FarField = FarField(),  # noqa: B008
    edge: IronEdge = IronEdge(),  # noqa: B008
    placement: xr.Dataset | None = None,
    slab: Angstrom | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Return the mean counts of all frames, one scan of every view and energy.

    Parameters
    ----------
    specimen : PhosphateSpecimen
    tilts : Tilts
        Their angles; the pixels are those of ``frames``.
    energies : tuple of float
        eV; the one in ``frames`` is not used.
    frames : FarField
    edge : IronEdge
    placement : xarray.Dataset, optional
        Where projections lie, as from `tilt_placement`.
    slab : float, optional
        Å; multislice where given, see `exit_waves`.
    seed : int
        Of the positions; each view has its own.

    Returns
    -------
    xarray.Dataset
        ``counts`` over (energy, tilt, scan, position, detector_y, detector_x), lazy, one chunk a
        tilt; recorded ``position_y``, ``position_x`` (energy, tilt, scan, position) in Å; the rest
        as from `far_field_mean`.

    Raises
    ------
    BadInputError
        If the placement is of another series, or (when computed) a view cannot be simulated.
    """
    if placement is None:
        placement = tilt_placement(tilts, TiltJitter(), energies=energies)
    if placement.sizes.get("tilt") != len(tilts.angles):
        raise BadInputError(
            f"the placement has {placement.sizes.get('tilt', 0)} tilts, the series "
            f"{len(tilts.angles)}; draw it for this series"
        )
    settings = [frames.model_copy(update={"energy": energy}) for energy in energies]
    seeds = [
        [scan_seed(seed, e, SEEDS_PER_TILT * (t + 1)) for e in range(len(energies))]
        for t in range(len(tilts.angles))
    ]
    task = delayed(_tilt_frames, pure=False)
    held = delayed(specimen, traverse=False, pure=False)
    block = (len(energies), 1, frames.shape[0] * frames.shape[1], frames.pixels, frames.pixels)
    series = [
        da.from_delayed(
            task(
                held,
                [view_of(placement, e, t) for e in range(len(energies))],
                settings,
                edge,
                slab,
                seeds[t],
            ),
            block,
            dtype=np.float32,
        )
        for t in range(len(tilts.angles))
    ]
    counts = xr.Dataset(
        {"counts": (FRAME_DIMS, da.stack(series, axis=1), {"units": "photons"})},
        coords={
            "energy": ("energy", np.array(energies, dtype=float), {"units": "eV"}),
            "tilt": ("tilt", np.array(tilts.angles, dtype=float), {"units": "°"}),
        },
    )
    recorded = np.array(
        [[scan_positions(frames, seed=s)[0] for s in of_tilt] for of_tilt in seeds]
    )[:, :, None]
    for axis, name in enumerate(("position_y", "position_x")):
        places = recorded[..., axis].swapaxes(0, 1)
        counts[name] = (FRAME_DIMS[:4], places, {"units": "Å"})
    if frames.attenuator is not None:
        behind = detector_transmission(frames.attenuator, frames.pixels)
        counts["detector_transmission"] = (FRAME_DIMS[4:], behind, {"units": "1"})
        counts = counts.set_coords("detector_transmission")
    # The energy is a coordinate here.
    told = {name: value for name, value in frame_attributes(frames).items() if name != "energy"}
    return counts.set_coords(["position_y", "position_x"]).assign_attrs(told)


def _tilt_frames(
    specimen: PhosphateSpecimen,
    views: list[View],
    settings: list[FarField],
    edge: IronEdge,
    slab: float | None,
    seeds: list[int],
) -> npt.NDArray[np.float32]:
    """Return the frames of one tilt, (energy, 1, position, pixels, pixels)."""
    return np.stack(
        [
            _view_frames(specimen, *of_view, edge=edge, slab=slab)
            for of_view in zip(views, settings, seeds, strict=True)
        ]
    )[:, None]


def _view_frames(
    specimen: PhosphateSpecimen,
    view: View,
    settings: FarField,
    seed: int,
    *,
    edge: IronEdge,
    slab: float | None,
) -> npt.NDArray[np.float32]:
    fine = settings.pixel_size / settings.oversampling
    side = 2 * int(np.ceil(field_needed(settings) / fine)) + 2
    wave = exit_waves(
        specimen,
        view,
        energies=(settings.energy,),
        shape=(side, side),
        pixel_size=fine,
        edge=edge,
        slab=slab,
    )
    frames = far_field_mean(wave.isel(energy=0, drop=True), settings=settings, seed=seed)
    return np.asarray(frames["counts"].values, dtype=np.float32)
