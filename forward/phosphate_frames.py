"""Far-field frames of every view of a tilt series at several energies: what a beam line records."""

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import delayed

from echolith.errors import BadInputError
from echolith.forward.far_field import FarField, far_field_mean, scan_positions
from echolith.forward.phosphate_exit_wave import exit_waves
from echolith.forward.phosphate_paths import View
from echolith.forward.tilt_placement import TiltJitter, tilt_placement, view_of
from echolith.forward.tilts import Tilts
from echolith.forward.xray_absorption import ENERGIES, IronEdge
from echolith.seeds import sequence
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.units import Angstrom

MARGIN = 6.0
"""Standard deviations of the positions by which the simulated wave reaches beyond the raster."""


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
    """Return the mean counts of all frames.

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
        ``counts`` over (energy, tilt, position, detector_y, detector_x), lazy, one chunk a tilt;
        recorded ``position_y``, ``position_x`` (energy, tilt, position) in Å; attributes as from
        `far_field_mean`, with the defocus and energy of every view as coordinates.

    Raises
    ------
    BadInputError
        If a view cannot be simulated (when computed), or the placement is of another series.
    """
    if placement is None:
        placement = tilt_placement(tilts, TiltJitter(), energies=energies)
    if placement.sizes.get("tilt") != len(tilts.angles):
        raise BadInputError(
            f"the placement has {placement.sizes.get('tilt', 0)} tilts, the series "
            f"{len(tilts.angles)}; draw it for this series"
        )
    settings = [frames.model_copy(update={"energy": energy}) for energy in energies]
    seeds = np.array(
        [[_seed(seed, e, t) for t in range(len(tilts.angles))] for e in range(len(energies))]
    )
    task = delayed(_tilt_frames, pure=False)
    held = delayed(specimen, traverse=False, pure=False)
    block = (len(energies), frames.shape[0] * frames.shape[1], frames.pixels, frames.pixels)
    series = [
        da.from_delayed(
            task(
                held,
                [view_of(placement, e, t) for e in range(len(energies))],
                settings,
                edge,
                slab,
                seeds[:, t].tolist(),
            ),
            block,
            dtype=np.float32,
        )
        for t in range(len(tilts.angles))
    ]
    recorded = np.array(
        [[scan_positions(frames, seed=int(s))[0] for s in of_energy] for of_energy in seeds]
    )
    by_view = ("energy", "tilt", "position")
    return xr.Dataset(
        {
            "counts": (
                ("energy", "tilt", "position", "detector_y", "detector_x"),
                da.stack(series, axis=1),
                {"units": "photons"},
            )
        },
        coords={
            "energy": ("energy", np.array(energies, dtype=float), {"units": "eV"}),
            "tilt": ("tilt", np.array(tilts.angles, dtype=float), {"units": "°"}),
            "position_y": (by_view, recorded[..., 0], {"units": "Å"}),
            "position_x": (by_view, recorded[..., 1], {"units": "Å"}),
        },
        attrs={"far_field": frames.model_dump_json()},
    )


def _seed(seed: int, energy: int, tilt: int) -> int:
    return int(sequence(seed, "views", energy, tilt).generate_state(1)[0])


def _tilt_frames(
    specimen: PhosphateSpecimen,
    views: list[View],
    settings: list[FarField],
    edge: IronEdge,
    slab: float | None,
    seeds: list[int],
) -> npt.NDArray[np.float32]:
    """Return the frames of one tilt, (energy, position, pixels, pixels)."""
    return np.stack(
        [
            _view_frames(specimen, *of_view, edge=edge, slab=slab)
            for of_view in zip(views, settings, seeds, strict=True)
        ]
    )


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
    wave = exit_waves(
        specimen,
        view,
        energies=(settings.energy,),
        shape=_field(settings, fine),
        pixel_size=fine,
        edge=edge,
        slab=slab,
    )
    frames = far_field_mean(wave.isel(energy=0, drop=True), settings=settings, seed=seed)
    return np.asarray(frames["counts"].values, dtype=np.float32)


def _field(settings: FarField, fine: float) -> tuple[int, int]:
    """Return how many fine pixels hold every frame's window, (y, x)."""
    loose = MARGIN * np.hypot(settings.jitter, settings.position_error)
    window = settings.pixels * settings.oversampling
    spans = ((n - 1) * settings.step + 2 * loose for n in settings.shape)
    rows, columns = (int(np.ceil(span / fine)) + window + 2 for span in spans)
    return rows, columns
