"""Columns of displaced, incomplete specimens: raw counts and phase images against the bound.

    python benchmarks/columns_from_counts.py [--seeds 8] [--dose 8.1e4] [--json]

Li-rich oxide, 2 nm, random transition metals, a tenth of the atoms of Li columns missing, every
column displaced by 5 pm rms; 44 x 44 positions 0.25 Å apart, 32 x 32 pixels of 2 mrad. The
simulation has twice the box, finer pixels and more slices than the fit, another table of
scattering factors, and draws every site. Each seed is a specimen and a draw of its own. The bound
is that of the average crystal: position and strength of all columns unknown, beam and thickness
known.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr
from ase import Atoms

from echolith.errors import BadInputWarning
from echolith.forward.acquisition import PixelDetector, Scan, StemAcquisition
from echolith.forward.column_information import column_information
from echolith.forward.noise import PoissonCounting
from echolith.forward.placement import to_scan_frame
from echolith.forward.simulation import Engine, Simulation
from echolith.forward.stem import stem_mean
from echolith.inverse.counts_recovery import recover_columns_from_counts
from echolith.inverse.projected_columns import ColumnSolver, Method, recover_columns
from echolith.structures.column_displacements import displace_columns, remove_atoms
from echolith.structures.columns import true_columns
from echolith.structures.li_rich_oxide import PRISTINE, Occupation, field_specimen
from echolith.validation.column_bound import average_crystal
from echolith.validation.matching import match_columns

THICKNESS, EDGE, VACUUM = 20.0, 2.0, 26.0
SPECIES = ("M", "O", "Li")
SIMULATION = Simulation(engine=Engine.MULTISLICE, sampling=0.12)
Solvers = dict[str, Callable[[xr.Dataset], xr.Dataset]]
SOLVERS: Solvers = {
    "ssb": partial(recover_columns, options=ColumnSolver(method=Method.SSB)),
    "wdd": partial(recover_columns, options=ColumnSolver(method=Method.WDD)),
    "counts": recover_columns_from_counts,
}


def acquisition(dose: float) -> StemAcquisition:
    detector = PixelDetector(shape=(32, 32), pixel_size=2.0)
    scan = Scan(shape=(44, 44), step=(0.25, 0.25))
    return StemAcquisition(scan=scan, detector=detector, haadf=None, dose=dose)


def specimen(settings: StemAcquisition, seed: int) -> Atoms:
    height, width = settings.scan.extent
    field = (height + VACUUM, width + VACUUM)
    atoms = field_specimen(
        field=field, thickness=THICKNESS, occupation=Occupation.RANDOM, seed=seed
    )
    return displace_columns(
        remove_atoms(atoms, kind="Li", fraction=0.1, seed=seed), rms=0.05, seed=seed
    )


def truth(atoms: Atoms, settings: StemAcquisition) -> xr.Dataset:
    columns, scan = true_columns(atoms), settings.scan
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    xy = to_scan_frame(xy, scan, np.asarray(atoms.cell))
    inset = np.minimum(xy, np.array(scan.extent)[::-1] - xy).min(axis=1)
    return columns.assign(
        x=("column", xy[:, 0]), y=("column", xy[:, 1]), edge=("column", inset < EDGE)
    )


def bound(settings: StemAcquisition) -> dict[str, float]:
    """Return the root mean square of the bound of each species' columns along an axis, pm."""
    cell = average_crystal(PRISTINE, thickness=THICKNESS, occupation=Occupation.RANDOM)
    names = ("column_kind", "sign", "lattice_i", "lattice_j")
    labels = list(zip(*(cell.arrays[name].tolist() for name in names), strict=True))
    kinds = sorted(set(labels))
    known = column_information(
        cell,
        np.array([kinds.index(label) for label in labels]),
        acquisition=settings,
        simulation=SIMULATION,
        noise=PoissonCounting(),
    )
    variance = np.diag(np.linalg.inv(known.matrix))[: 3 * known.columns].reshape(-1, 3)[:, :2]
    species = np.array([kind[0] for kind in kinds])
    return {name: 100 * float(np.sqrt(variance[species == name].mean())) for name in SPECIES}


def errors(estimate: xr.Dataset, true: xr.Dataset, species: str) -> np.ndarray:
    """Return error and reported standard deviation of every coordinate, (n, 2) in pm."""
    match = match_columns(estimate, true, species=species)
    off = [estimate[a].values[match.estimate] - true[a].values[match.truth] for a in "xy"]
    std = [estimate[f"{a}_std"].values[match.estimate] for a in "xy"]
    return 100 * np.stack([np.concatenate(off), np.concatenate(std)], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--dose", type=float, default=8.1e4)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", BadInputWarning)
    settings = acquisition(arguments.dose)
    found: dict[str, dict[str, list[np.ndarray]]] = {
        name: {species: [] for species in SPECIES} for name in SOLVERS
    }
    seconds = dict.fromkeys(SOLVERS, 0.0)
    for seed in range(1, arguments.seeds + 1):
        atoms = specimen(settings, seed)
        mean = stem_mean(atoms, acquisition=settings, simulation=SIMULATION).compute()
        measurement, true = PoissonCounting().sample(mean, seed=seed), truth(atoms, settings)
        for name, solver in SOLVERS.items():
            start = time.perf_counter()
            estimate = solver(measurement)
            seconds[name] += time.perf_counter() - start
            for species in SPECIES:
                found[name][species].append(errors(estimate, true, species))
    limit, result = bound(settings), {}
    for name, kinds in found.items():
        for species, parts in kinds.items():
            error, std = np.concatenate(parts).T
            rms = float(np.sqrt(np.mean(error**2)))
            result[f"{name}.{species}"] = {
                "values": len(error),
                "rms_pm": rms,
                "rms_over_bound": rms / limit[species],
                "bias_over_std": float(np.mean(error) / np.sqrt(np.mean(std**2))),
                "pull_variance": float(np.mean((error / std) ** 2)),
                "ms_per_probe": 1e3 * seconds[name] / arguments.seeds / 44**2,
            }
    if arguments.json:
        print(json.dumps({"bound_pm": limit, "results": result}))
        return
    print("bound, pm: " + ", ".join(f"{s} {v:.3f}" for s, v in limit.items()))
    for key, row in result.items():
        print(f"{key:10s} " + "  ".join(f"{k} {v:.3g}" for k, v in row.items()))


if __name__ == "__main__":
    main()
