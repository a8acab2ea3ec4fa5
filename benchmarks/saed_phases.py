"""Phases told by the rings of random mixtures: true and false alarms, beside an ideal solver.

    python -m benchmarks.saed_phases [--seeds 500] [--first 5000] [--store runs.jsonl]
        [--subject mixtures | look-alikes] [--electrons 2e7]

Patterns of the scenario li-saed: spots of lithium, which tell the camera constant, on rings of one
to three phases; in one of six one of them is no candidate. The look-alikes are one or two of Li2O,
LiF and Li without spots. The ideal solver sees the same counts and knows centre, ellipse, camera
constant, crystallite sizes, strengths of rings, the background's form and the foreign phase; only
the amounts are unknown to it.
Each seed is a draw of its own; with --store it is kept, and seeds in that file are not run again.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import logsumexp

from benchmarks.kept_rows import kept_rows, seeds_parser
from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.optics import wavelength
from echolith.forward.saed import SCHERRER, SaedAcquisition, background
from echolith.forward.saed_lattice import told_distance
from echolith.inverse.saed import SaedSolver, rings_and_camera
from echolith.inverse.saed_centre import FittedGeometry, fit_geometry
from echolith.inverse.saed_geometry import Geometry
from echolith.inverse.saed_ring_model import RingProblem, RingSearch
from echolith.inverse.saed_ring_sets import gaussian_evidence, subsets
from echolith.inverse.saed_rings import ring_profile
from echolith.inverse.saed_spots import find_spots
from echolith.inverse.saed_templates import LineShape, candidate_rings, template
from echolith.seeds import stream
from echolith.validation.saed_bound import SaedCase
from echolith.validation.scenarios.li_saed import (
    CANDIDATES,
    CERTAIN,
    LiSaedSettings,
    SpotCrystal,
    li_saed,
)

Array = npt.NDArray[np.float64]

FOREIGN = ("LiMn2O4", "LiFePO4", "FePO4", "rock-salt", "NMC622", "Co3O4", "Mn3O4", "Li2MnO3")
LOOK_ALIKES = (("Li2O",), ("LiF",), ("Li2O", "LiF"), ("Li",), ("Li", "LiF"), ("Li", "Li2O"))
NAMES = (*CANDIDATES, "unknown")
NOMINAL_SIZE = 300.0
"""Å, of crystallites that are not there."""
NUISANCE = 12


def settings_of(seed: int, subject: str, electrons: float) -> LiSaedSettings:
    """Return what is in the beam, drawn."""
    rng = stream(seed, "saed-phases")
    acquisition = SaedAcquisition(electrons=electrons)
    if subject == "look-alikes":
        chosen = LOOK_ALIKES[int(rng.integers(len(LOOK_ALIKES)))]
        return LiSaedSettings(acquisition=acquisition, phases=chosen, crystal=SpotCrystal.NONE)
    count = int(rng.integers(1, 4))
    names = [str(name) for name in rng.choice(CANDIDATES, count, replace=False)]
    if rng.random() < 1 / 6:
        names[0] = str(rng.choice(FOREIGN))
    return LiSaedSettings(acquisition=acquisition, phases=tuple(names))


def run(seed: int, subject: str, electrons: float) -> dict[str, Any]:
    """Return what the rings of one pattern say, and what they say to who knows nearly all."""
    scenario = li_saed(settings_of(seed, subject, electrons))
    case, sample = scenario.build(seed), scenario.simulate(seed=seed)
    start = time.process_time()
    counts = sample.measurement["counts"].values.astype(float)
    fitted = fit_geometry(counts, saturation=sample.measurement.attrs.get("saturation"))
    profile = ring_profile(counts, fitted)
    distance = told_distance(case.acquisition.camera_length, case.acquisition.pixel_size)
    phases = [crystal_phase(name) for name in CANDIDATES]
    found = rings_and_camera(
        profile,
        find_spots(counts, fitted),
        phases,
        energy=case.acquisition.energy,
        distance=distance,
        options=SaedSolver(),
    )
    seconds = time.process_time() - start
    true = [*case.acquisition.middle, *case.acquisition.stretch]
    stds = np.sqrt(np.diag(fitted.covariance))
    return {
        "seed": seed,
        "phases": [part.phase.name for part in case.specimen.polycrystals],
        "probability": [*found.probability.tolist(), found.unknown],
        "ideal": ideal(case, counts, fitted).tolist(),
        "centre_error": float(np.hypot(*(fitted.geometry.values - true)[:2])),
        "ellipse_error": float(np.hypot(*(fitted.geometry.values - true)[2:])),
        "pulls": [
            *((fitted.geometry.values - true) / stds).tolist(),
            (found.scale - 1 - case.acquisition.camera_error) / found.scale_std,
        ],
        "seconds": seconds,
    }


def ideal(case: SaedCase, counts: Array, fitted: FittedGeometry) -> Array:
    """Return the probabilities of who knows all but the amounts, (candidates + unknown,)."""
    acquisition = case.acquisition
    known = Geometry(values=np.array([*acquisition.middle, *acquisition.stretch]))
    profile = ring_profile(counts, replace(fitted, geometry=known))
    there = {part.phase.name: part for part in case.specimen.polycrystals}
    names = [*CANDIDATES, *(name for name in there if name not in CANDIDATES)]
    rings = candidate_rings(
        [crystal_phase(name) for name in names],
        energy=acquisition.energy,
        distance=acquisition.distance,
        reach=float(profile.radius[-1]),
    )
    sizes = [there[name].size if name in there else NOMINAL_SIZE for name in names]
    half = SCHERRER * wavelength(acquisition.energy) * acquisition.distance / 2
    # A bin of one pixel widens lines by its own standard deviation.
    gaussian = float(np.hypot(acquisition.width, np.sqrt(1 / 12)))
    shapes = [LineShape(gaussian=gaussian, lorentzian=half / size) for size in sizes]
    columns = np.array(
        [
            template(one, shape, 1.0, profile.radius)[0]
            for one, shape in zip(rings, shapes, strict=True)
        ]
    ).T
    problem = RingProblem(
        profile=replace(profile, background=_level(profile.radius, acquisition)),
        candidates=rings,
        options=RingSearch(),
    )
    return _amounts_alone(problem, columns)


def _level(radius: Array, acquisition: SaedAcquisition) -> Array:
    return background(radius, acquisition) + acquisition.dark


def _amounts_alone(problem: RingProblem, columns: Array) -> Array:
    deviation = np.sqrt(problem.profile.variance)
    shared = np.linalg.qr(problem.basis / deviation[:, None])[0]
    whitened = columns / deviation[:, None]
    rest = problem.profile.mean / deviation
    whitened, rest = (values - shared @ (shared.T @ values) for values in (whitened, rest))
    sets = subsets(columns.shape[1])
    evidence, _ = gaussian_evidence(whitened.T @ whitened, whitened.T @ rest, sets, problem)
    probability = np.exp(evidence - logsumexp(evidence)) @ sets
    candidates = len(CANDIDATES)
    return np.append(probability[:candidates], probability[candidates:].sum())


def judged(rows: Sequence[dict[str, Any]], which: str) -> xr.Dataset:
    """Return what is there (pattern, phase) and what is told: 1, 0, or 0.5 for "cannot tell"."""
    there = [[name in _there(row) for name in NAMES] for row in rows]
    probability = np.array([row[which] for row in rows])
    told = np.select([probability > CERTAIN, probability < 1 - CERTAIN], [1.0, 0.0], 0.5)
    dims = ("pattern", "phase")
    return xr.Dataset(
        {"there": (dims, np.array(there)), "told": (dims, told)}, coords={"phase": list(NAMES)}
    )


def _there(row: dict[str, Any]) -> set[str]:
    names = set(row["phases"])
    return names | ({"unknown"} if names - set(CANDIDATES) else set())


def report(rows: Sequence[dict[str, Any]]) -> str:
    """Return tables of alarms and of whole sets, Markdown."""
    lines = [
        "| phase | there | told | cannot tell | missed | not there | false alarm | cannot tell |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ours, best = judged(rows, "probability"), judged(rows, "ideal")
    for name in NAMES:
        told, there = (ours[key].sel(phase=name).values for key in ("told", "there"))
        figures = [there.sum(), *((told[there] == k).sum() for k in (1, 0.5, 0))]
        figures += [(~there).sum(), *((told[~there] == k).sum() for k in (1, 0.5))]
        lines.append(f"| {name} | " + " | ".join(str(int(n)) for n in figures) + " |")
    for label, chosen in (
        ("candidates only", False),
        ("with a foreign phase", True),
        ("all", None),
    ):
        kept = [chosen is None or ("unknown" in _there(row)) == chosen for row in rows]
        lines += [
            f"{label}: {sum(kept)} patterns",
            *_sets(ours, kept, "rings"),
            *_sets(best, kept, "ideal"),
        ]
    lines += _figures(rows)
    return "\n".join(lines)


def _sets(told: xr.Dataset, kept: list[bool], label: str) -> list[str]:
    part = told.isel(pattern=np.flatnonzero(kept))
    if not part.sizes["pattern"]:
        return []
    right = (part["told"] == part["there"]).all("phase").values
    fair = (abs(part["told"] - part["there"]) < 1).all("phase").values
    return [
        f"  {label}: whole set {100 * right.mean():.1f} %, nothing wrong {100 * fair.mean():.1f} %"
    ]


def _figures(rows: Sequence[dict[str, Any]]) -> list[str]:
    pulls = np.array([row["pulls"] for row in rows])
    names = ("centre_x", "centre_y", "stretch_p", "stretch_q", "camera_scale")
    lines = [
        f"{name}: pulls {pulls[:, k].std():.2f}, within 95 %: "
        f"{100 * (abs(pulls[:, k]) < 1.96).mean():.1f} %"
        for k, name in enumerate(names)
    ]
    for name, factor, unit in (("centre_error", 1, "pixel"), ("ellipse_error", 100, "%")):
        values = factor * np.array([row[name] for row in rows])
        lines.append(f"{name}: median {np.median(values):.4f}, most {values.max():.4f} {unit}")
    seconds = [row["seconds"] for row in rows]
    lines.append(f"CPU: median {np.median(seconds):.2f}, most {max(seconds):.2f} s a pattern")
    return lines


def main() -> None:
    parser = seeds_parser(__doc__, seeds=500)
    parser.add_argument("--subject", choices=("mixtures", "look-alikes"), default="mixtures")
    parser.add_argument("--electrons", type=float, default=2e7)
    asked = parser.parse_args()
    key = [asked.subject, asked.electrons]
    print(report(kept_rows(asked, key, lambda seed: run(seed, asked.subject, asked.electrons))))


if __name__ == "__main__":
    main()
