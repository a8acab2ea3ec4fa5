"""The mean of a series of fast annular dark-field frames, from one simulation.

The signal as a function of the probe's position is simulated once: of a crystal its Fourier
series (`echolith.forward.annular_series`), of anything else a regular raster over the field
(`echolith.forward.resampled_scan`). Every displaced position of every frame is interpolated.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import delayed

import echolith
from echolith.forward.acquisition import (
    Aberrations,
    Beam,
    PixelDetector,
    StemAcquisition,
)
from echolith.forward.annular_series import TOLERANCE, AnnularSeries, annular_series
from echolith.forward.cost import Plan, make_plan
from echolith.forward.displaced_scan import check_covered, displaced_positions
from echolith.forward.displacement_field import Distortion
from echolith.forward.engine_error import haadf_error
from echolith.forward.fast_frames import FastFrames, frame_displacements
from echolith.forward.phonons import displaced
from echolith.forward.resampled_scan import ResampledScan, on_raster, resampled_scan
from echolith.forward.scan_distortion import ScanDistortion
from echolith.forward.simulation import Engine, Simulation
from echolith.forward.stem import with_residual
from echolith.forward.stem_tasks import measured_blocks

if TYPE_CHECKING:
    import dask.array as da
    from ase import Atoms

FloatArray = npt.NDArray[np.float64]
Frame = npt.NDArray[np.float32]

WIDEST_PIXEL = 20.0
"""mrad, of the pixelated detector that is simulated beside and thrown away."""
SIDE = 4
"""Its pixels along one axis."""
HOLDS = 1.45
"""Its reach beyond the middle, in pixels, and a little less: the disc must lie inside."""

_DEFAULT = Simulation()


def haadf_frames_mean(
    atoms: "Atoms",
    *,
    beam: Beam,
    frames: FastFrames,
    distortion: ScanDistortion | Sequence[Distortion] | None = None,
    residual: Aberrations | None = None,
    simulation: Simulation = _DEFAULT,
) -> xr.Dataset:
    """Simulate the expected counts of a series of fast annular dark-field frames, lazily.

    Parameters
    ----------
    atoms : ase.Atoms
        As for `echolith.forward.stem.stem_mean`.
    beam : Beam
        As meant, and as recorded.
    frames : FastFrames
    distortion : ScanDistortion or sequence of distortions, optional
        One whose time runs through the frames, or one for each. Nothing of it is recorded.
    residual : Aberrations, optional
        Added to those of the beam; nothing of them is recorded.
    simulation : Simulation, optional

    Returns
    -------
    xarray.Dataset
        ``haadf`` (frame, scan_y, scan_x), electrons, float32, a chunk for each frame. Coordinate
        ``time`` (frame): when it began, s. Attributes: ``fast_frames`` and ``beam`` (JSON, enough
        to invert it), ``simulation``, ``engine``, ``interpolation_error`` (bound on the error of
        each Fourier component of an image, relative to it). ``haadf`` has ``engine_error``,
        relative to the largest of the field.

    Raises
    ------
    BadInputError
        As `stem_mean`, among them drift larger than the field or the specimen.
    """
    scan, moved = frames.scan, frame_displacements(frames, distortion)
    check_covered(atoms, scan, moved)
    meant = _acquisition(beam, frames, simulation)
    taken = with_residual(meant, residual)
    resampled = resampled_scan(taken.beam, scan, moved)
    sharp = taken.model_copy(update={"beam": taken.beam.model_copy(update={"source_spread": 0.0})})
    plan = make_plan(atoms, on_raster(sharp, resampled.raster), simulation)
    if plan.cost.engine is Engine.BLOCH:
        signal, error = _of_a_crystal(atoms.copy(), taken, plan, moved)
    else:
        signal, error = _of_a_raster(atoms, plan, resampled)
    haadf = _joined([signal(n) for n in range(frames.frames)], scan.shape)
    attributes = {"units": "electrons", "engine_error": haadf_error(plan, atoms)}
    return xr.Dataset(
        {"haadf": (("frame", "scan_y", "scan_x"), haadf, attributes)},
        coords=_coordinates(frames),
        attrs={
            "fast_frames": frames.model_dump_json(),
            "beam": beam.model_dump_json(),
            "simulation": simulation.model_dump_json(),
            "engine": plan.cost.engine.value,
            "interpolation_error": error,
            "echolith_version": echolith.__version__,
        },
    )


def _acquisition(beam: Beam, frames: FastFrames, simulation: Simulation) -> StemAcquisition:
    """Return a 4D-STEM acquisition with this annular detector, its samples as fine as the box."""
    pixel = min(WIDEST_PIXEL, beam.semiangle / HOLDS)
    side = max(SIDE, 2 * int(np.ceil(beam.semiangle / pixel - 0.5)) + 2)
    fine = int(np.ceil(simulation.minimum_box * pixel * 1e-3 / beam.wavelength))
    return StemAcquisition(
        beam=beam,
        scan=frames.scan,
        detector=PixelDetector(shape=(side, side), pixel_size=pixel, subpixels=(fine, fine)),
        haadf=frames.detector,
        dose=frames.dose,
    )


Signal = Callable[[int], Any]
"""From the number of a frame to its task, a dask.delayed.Delayed of a `Frame`."""


def _of_a_crystal(
    atoms: "Atoms", taken: StemAcquisition, plan: Plan, moved: FloatArray
) -> tuple[Signal, float]:
    phonons, cell = plan.simulation.phonons, np.asarray(atoms.cell)
    series = delayed(_series)(
        [displaced(atoms, phonons, n) for n in range(max(1, phonons.configurations))], taken, plan
    )
    at = delayed(AnnularSeries.at)

    def signal(number: int) -> Any:
        return at(series, displaced_positions(taken.scan, cell, moved[number]))

    return signal, 2 * TOLERANCE


def _series(configurations: "Sequence[Atoms]", taken: StemAcquisition, plan: Plan) -> AnnularSeries:
    return annular_series(
        configurations,
        acquisition=taken,
        sampling=plan.sampling,
        slice_thickness=plan.simulation.slice_thickness,
    )


def _of_a_raster(atoms: "Atoms", plan: Plan, resampled: ResampledScan) -> tuple[Signal, float]:
    rings = [block[1] for _, block in measured_blocks(atoms, plan)]
    raster = delayed(np.concatenate)(rings)
    draw = delayed(_draw)

    def signal(number: int) -> Any:
        return draw(raster, resampled.pixels[number], resampled)

    return signal, resampled.interpolation.error


def _draw(raster: Frame, pixels: FloatArray, resampled: ResampledScan) -> Frame:
    values = resampled.interpolation.image(raster.astype(np.float64), pixels)
    return np.maximum(values, np.float32(0))


def _joined(tasks: list[Any], shape: tuple[int, int]) -> "da.Array":
    import dask.array as da

    return cast(
        "da.Array", da.stack([da.from_delayed(task, shape, dtype=np.float32) for task in tasks])
    )


def _coordinates(frames: FastFrames) -> dict[str, xr.Variable]:
    scan = frames.scan
    return {
        "frame": xr.Variable("frame", np.arange(frames.frames)),
        "time": xr.Variable("frame", frames.starts(), {"units": "s"}),
        "scan_y": xr.Variable("scan_y", np.arange(scan.shape[0]) * scan.step[0], {"units": "Å"}),
        "scan_x": xr.Variable("scan_x", np.arange(scan.shape[1]) * scan.step[1], {"units": "Å"}),
    }
