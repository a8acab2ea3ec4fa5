"""Columns of displaced, incomplete specimens: raw counts and phase images against the bound.

    python benchmarks/columns_from_counts.py [--seeds 8] [--first 11] [--dose 8.1e4]
        [--thickness-guess 20] [--store runs.jsonl] [--json]

Li-rich oxide, 2 nm, random transition metals, a tenth of the atoms of Li columns missing, every
column displaced by 5 pm rms; 44 x 44 positions 0.25 Å apart, 32 x 32 pixels of 2 mrad. The
simulation has another table of scattering factors than the fit, and draws every site. Each seed is
a specimen and a draw of its own; options were set on seeds below 11. The bound is that of the
average crystal: position and strength of all columns unknown, beam and thickness known. A line is
printed as each seed is done; with --store it is kept, and seeds in that file are not run again.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from ase import Atoms

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.acquisition import PixelDetector, Scan, StemAcquisition
from echolith.forward.noise import PoissonCounting
from echolith.forward.placement import to_scan_frame
from echolith.forward.simulation import Engine, Simulation
from echolith.forward.stem import stem_mean
from echolith.inverse.counts_options import CountsOptions
from echolith.inverse.counts_recovery import CountsSolver, recover_columns_from_counts
from echolith.inverse.projected_columns import ColumnSolver, Method, recover_columns
from echolith.structures.column_displacements import displace_columns, remove_atoms
from echolith.structures.columns import true_columns, true_pairs
from echolith.structures.li_rich_oxide import PRISTINE, Occupation, field_specimen
from echolith.validation.column_bound import (
    crystal_columns,
    crystal_information,
    field_information,
)
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


def limits(settings: StemAcquisition, true: xr.Dataset) -> dict[str, float]:
    """Return the bound of each species' columns along an axis, and of single distances, pm."""
    height, width = settings.scan.extent
    x, y = true["x"].values, true["y"].values
    seen = true.isel(column=np.min([x, width - x, y, height - y], axis=0) > 0)
    columns = crystal_columns(
        parameters=PRISTINE,
        occupation=Occupation.RANDOM,
        thickness=THICKNESS,
        acquisition=settings,
        simulation=SIMULATION,
    )
    crystal = crystal_information(columns, acquisition=settings, noise=PoissonCounting())
    known = field_information(seen, crystal)
    covariance = np.linalg.inv(known.matrix)
    variance = np.diag(covariance).reshape(-1, 3)[:, :2]
    inner = ~seen["edge"].values
    result = {
        name: 100 * float(np.sqrt(variance[inner & (seen["species"].values == name)].mean()))
        for name in SPECIES
    }
    for name in LONG_NAMES:
        rows = known.gradients.get(f"{name}_single")
        if rows is not None:
            single = np.einsum("ni,ij,nj->n", rows, covariance, rows)
            result[name] = 100 * float(np.sqrt(single.mean()))
    return result


def errors(estimate: xr.Dataset, true: xr.Dataset, species: str) -> np.ndarray:
    """Return error and reported standard deviation of every coordinate, (n, 2) in pm."""
    match = match_columns(estimate, true, species=species)
    off = [estimate[a].values[match.estimate] - true[a].values[match.truth] for a in "xy"]
    std = [estimate[f"{a}_std"].values[match.estimate] for a in "xy"]
    return 100 * np.stack([np.concatenate(off), np.concatenate(std)], axis=1)


def distance_errors(estimate: xr.Dataset, true: xr.Dataset) -> dict[str, np.ndarray]:
    """Return for each distance error and reported standard deviation of single pairs, pm."""
    ours = np.full(true.sizes["column"], -1)
    for species in SPECIES:
        match = match_columns(estimate, true, species=species)
        ours[match.truth] = match.estimate
    pairs = true_pairs(true)
    found: dict[str, list[list[float]]] = {}
    covariance = estimate["xy_covariance"].values
    theirs, mine = (np.stack([d["x"].values, d["y"].values], axis=-1) for d in (true, estimate))
    ends = zip(*(pairs[n].values for n in ("pair_name", "pair_first", "pair_second")), strict=True)
    for name, first, second in ends:
        a, b = ours[first], ours[second]
        if min(a, b) < 0:
            continue
        vector = theirs[second] - theirs[first]
        length = np.linalg.norm(vector)
        off = np.linalg.norm(mine[b] - mine[a]) - length
        std = np.sqrt(vector @ (covariance[a] + covariance[b]) @ vector) / length
        found.setdefault(str(name), []).append([100 * float(off), 100 * float(std)])
    return {name: np.array(rows) for name, rows in found.items()}


def run(seed: int, settings: StemAcquisition, solvers: Solvers) -> dict[str, Any]:
    """Return what every solver makes of one specimen, as lists."""
    atoms = specimen(settings, seed)
    mean = stem_mean(atoms, acquisition=settings, simulation=SIMULATION).compute()
    measurement, true = PoissonCounting().sample(mean, seed=seed), truth(atoms, settings)
    row: dict[str, Any] = {"seed": seed}
    for name, solver in solvers.items():
        start = time.perf_counter()
        try:
            estimate = solver(measurement)
        except BadInputError as error:
            row[name] = {"failed": str(error)}
            continue
        seconds = time.perf_counter() - start
        parts = {s: errors(estimate, true, s).tolist() for s in SPECIES}
        parts |= {n: v.tolist() for n, v in distance_errors(estimate, true).items()}
        row[name] = {"seconds": seconds, "errors": parts}
    return row


def summary(rows: list[dict[str, Any]], limit: dict[str, float]) -> dict[str, dict[str, float]]:
    """Return the figures of every solver and quantity, over all specimens."""
    result = {}
    for name in SOLVERS:
        done = [row[name]["errors"] for row in rows if "errors" in row[name]]
        for what, least in limit.items():
            parts = [np.array(one[what]) for one in done if one.get(what)]
            if not parts:
                continue
            error, std = np.concatenate(parts).T
            rms, spread = _with_error(parts)
            result[f"{name}.{what}"] = {
                "values": len(error),
                "rms_pm": rms,
                "rms_over_bound": rms / least,
                "standard_error": spread / least,
                "bias_over_std": float(np.mean(error) / np.sqrt(np.mean(std**2))),
                "pull_variance": float(np.mean((error / std) ** 2)),
            }
    return result


def _with_error(parts: list[np.ndarray]) -> tuple[float, float]:
    """Return the rms of errors and its standard error by the jackknife over specimens, pm."""
    squares = np.array([np.sum(part[:, 0] ** 2) for part in parts])
    counts = np.array([len(part) for part in parts])
    whole = float(np.sqrt(squares.sum() / counts.sum()))
    if len(parts) < 2:
        return whole, float("nan")
    left = np.sqrt((squares.sum() - squares) / (counts.sum() - counts))
    return whole, float(np.sqrt((len(parts) - 1) * left.var()))


def line(row: dict[str, Any]) -> str:
    """Return a seed's result in one line."""
    words = [f"seed {row['seed']}:"]
    for name in SOLVERS:
        if "failed" in row[name]:
            words.append(f"{name} failed ({row[name]['failed']})")
            continue
        rms = np.sqrt(np.mean(np.array(row[name]["errors"]["O"])[:, 0] ** 2))
        words.append(f"{name} O {rms:.3f} pm in {row[name]['seconds']:.0f} s")
    return "  ".join(words)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first", type=int, default=11)
    parser.add_argument("--dose", type=float, default=8.1e4)
    parser.add_argument("--thickness-guess", type=float, default=THICKNESS)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    warnings.simplefilter("ignore", BadInputWarning)
    settings = acquisition(asked.dose)
    key = {"dose": asked.dose, "thickness_guess": asked.thickness_guess}
    fit = CountsOptions(thickness=asked.thickness_guess)
    solvers = SOLVERS | {
        "counts": partial(recover_columns_from_counts, options=CountsSolver(fit=fit))
    }
    kept = []
    if asked.store and asked.store.exists():
        kept = [json.loads(text) for text in asked.store.read_text().splitlines()]
    rows = []
    for seed in range(asked.first, asked.first + asked.seeds):
        old = [row for row in kept if row["seed"] == seed and row["key"] == key]
        row = old[0] if old else run(seed, settings, solvers) | {"key": key}
        if asked.store and not old:
            with asked.store.open("a") as file:
                file.write(json.dumps(row) + "\n")
        rows.append(row)
        if not asked.json:
            print(line(row), flush=True)
    limit = limits(settings, truth(specimen(settings, asked.first), settings))
    result = summary(rows, limit)
    if asked.json:
        print(json.dumps({"bound_pm": limit, "results": result}))
        return
    print("bound, pm: " + ", ".join(f"{s} {v:.3f}" for s, v in limit.items()))
    for name, figures in result.items():
        print(f"{name:16s} " + "  ".join(f"{k} {v:.3g}" for k, v in figures.items()))


if __name__ == "__main__":
    main()
