"""The mean 4D-STEM measurement of a specimen: expected counts and simultaneous HAADF.

The engines are exact and agree; they differ in cost (`echolith.forward.cost`):

* multislice and tiled: each probe on a box of its own (`echolith.forward.multislice`);
* PRISM without interpolation (`echolith.forward.prism`);
* plane waves on the periodic cell with Bloch phases (`echolith.forward.bloch`).

What they share, sampling and box, is stated as ``engine_error`` (`echolith.forward.engine_error`).

Every probe is computed by itself from its global position in one thread, so the bits of the mean
depend neither on the chunks nor on the number of workers.
"""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr

import echolith
from echolith.forward.aberration_sum import added
from echolith.forward.acquisition import Aberrations, StemAcquisition
from echolith.forward.cost import CostEstimate, Plan, estimate_cost, make_plan
from echolith.forward.displaced_scan import displacements_of
from echolith.forward.displacement_field import Distortion
from echolith.forward.engine_error import box_error, haadf_error, stated_error
from echolith.forward.phonons import Phonons
from echolith.forward.simulation import Engine, ProjectedPotential, Simulation
from echolith.forward.stem_tasks import measured_blocks

if TYPE_CHECKING:
    import dask.array as da
    from ase import Atoms

__all__ = [
    "CostEstimate",
    "Engine",
    "Phonons",
    "ProjectedPotential",
    "Simulation",
    "box_error",
    "estimate_cost",
    "stem_mean",
]

FRAMES = ("scan_y", "scan_x", "detector_y", "detector_x")

_DEFAULT = Simulation()


def stem_mean(
    atoms: "Atoms",
    *,
    acquisition: StemAcquisition,
    simulation: Simulation = _DEFAULT,
    distortion: Distortion | None = None,
    residual: Aberrations | None = None,
) -> xr.Dataset:
    """Simulate the expected counts of a 4D-STEM measurement, lazily.

    A pixel's expected count is the electrons per position times the probability density at its
    sample points times its solid angle: a frame that holds everything sums to the electrons per
    position.

    Parameters
    ----------
    atoms : ase.Atoms
        Beam along +z; the scan is centred on the cell. With ``pbc`` True along x and y the cell
        repeats, else vacuum surrounds it.
    acquisition : StemAcquisition
        As meant, and as recorded.
    simulation : Simulation, optional
    distortion : Distortion, optional
        Moves the probe; nothing of it is recorded. Not with `Engine.TILED`.
    residual : Aberrations, optional
        Added to those of the beam; nothing of them is recorded.

    Returns
    -------
    xarray.Dataset
        ``counts`` (scan_y, scan_x, detector_y, detector_x) and, with an annular detector,
        ``haadf`` (scan_y, scan_x), float32, chunked along scan rows; a task computes both.
        Attributes: ``acquisition`` (JSON), ``simulation`` (JSON), ``engine``, ``engine_error``
        (upper estimate of the root mean square over the pixels of a frame, relative to its peak;
        `echolith.forward.engine_error`), ``engine_error_basis`` (how it is known) and
        ``source_spread_error`` (largest deviation of the source's transfer function). ``haadf``
        has its own ``engine_error``, relative to the largest of the scan.

    Raises
    ------
    BadInputError
        If the specimen is empty, without cell, thinner than a slice, or has atoms outside, if
        the sampling given would alias, or if the distortion carries the probe further than the
        field, or off a specimen that does not repeat.
    """
    acquisition.warn_if_undersampled()
    displacements = displacements_of(distortion, acquisition.scan)
    plan = make_plan(atoms, with_residual(acquisition, residual), simulation, displacements)
    blocks = measured_blocks(atoms, plan)
    nx = acquisition.scan.shape[1]
    frame = acquisition.detector.stored_shape
    counts = _joined([(block[0], (rows, nx, *frame)) for rows, block in blocks])
    variables = {"counts": xr.Variable(FRAMES, counts)}
    if acquisition.haadf is not None:
        haadf = _joined([(block[1], (rows, nx)) for rows, block in blocks])
        variables["haadf"] = xr.Variable(FRAMES[:2], haadf)
    attributes = {"acquisition": acquisition.model_dump_json()} | _attributes(plan, atoms)
    dataset = xr.Dataset(variables, coords=_coordinates(acquisition), attrs=attributes)
    for variable in dataset.data_vars.values():
        variable.attrs["units"] = "electrons"
    if "haadf" in dataset:
        dataset["haadf"].attrs["engine_error"] = haadf_error(plan, atoms)
    return dataset


def with_residual(acquisition: StemAcquisition, residual: Aberrations | None) -> StemAcquisition:
    """Return an acquisition by a beam with residual aberrations added."""
    if residual is None or not any(coefficient for _, _, coefficient, _ in residual.terms()):
        return acquisition
    total = added(acquisition.beam.aberrations, residual)
    beam = acquisition.beam.model_copy(update={"aberrations": total})
    return acquisition.model_copy(update={"beam": beam})


def _source_error(plan: Plan) -> float:
    if plan.resampled is not None and plan.cost.engine is not Engine.BLOCH:
        return plan.resampled.interpolation.error
    return max(filter_.error for filter_ in plan.filters)


def _joined(blocks: "list[tuple[Any, tuple[int, ...]]]") -> "da.Array":
    import dask.array as da

    arrays = [da.from_delayed(task, shape, dtype=np.float32) for task, shape in blocks]
    return cast("da.Array", da.concatenate(arrays, axis=0))


def _coordinates(acquisition: StemAcquisition) -> dict[str, xr.Variable]:
    scan, detector = acquisition.scan, acquisition.detector
    rows, columns = detector.angles()
    if detector.transpose:
        rows, columns = columns, rows
    return {
        "scan_y": xr.Variable("scan_y", np.arange(scan.shape[0]) * scan.step[0], {"units": "Å"}),
        "scan_x": xr.Variable("scan_x", np.arange(scan.shape[1]) * scan.step[1], {"units": "Å"}),
        "detector_y": xr.Variable("detector_y", rows, {"units": "mrad"}),
        "detector_x": xr.Variable("detector_x", columns, {"units": "mrad"}),
    }


def _attributes(plan: Plan, atoms: "Atoms") -> dict[str, str | float]:
    error, basis = stated_error(plan, atoms)
    return {
        "simulation": plan.simulation.model_dump_json(),
        "engine": plan.cost.engine.value,
        "engine_error": error,
        "engine_error_basis": basis,
        "source_spread_error": _source_error(plan),
        "echolith_version": echolith.__version__,
    }
