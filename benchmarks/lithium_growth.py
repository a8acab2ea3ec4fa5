"""Growth of lithium over many movies: laws, rates, switches, edges and lengths against the truth.

    python -m benchmarks.lithium_growth [--subject growth | published | whisker | steady | switched
        | series] [--seeds 100] [--first 5000] [--store runs.jsonl]

Movies of li-growth (default, and a particle of the published size: ten frames of the first front
and of rest, edges alone), of li-whisker (type I, type II, one that switches), or series of lengths
without a movie. Each seed is a draw of its own; particles of the published size, slow to simulate,
are shared by `SHARED` seeds. With --store each row is kept as it comes, and seeds in that file are
not run again.
"""

import time
from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

import echolith as el
from benchmarks.kept_rows import kept_rows, seeds_parser
from echolith.inverse.growth_law_shapes import GrowthLaw
from echolith.inverse.growth_laws import growth_law
from echolith.seeds import stream
from echolith.structures.metal_growth import CORNER, FIRST, PUBLISHED, SECOND
from echolith.validation.scenario import Sample, Scenario

Array = npt.NDArray[np.float64]
Row = dict[str, Any]


class Subject(Enum):
    """What is looked at."""

    GROWTH = "growth"
    PUBLISHED = "published"
    WHISKER = "whisker"
    STEADY = "steady"
    SWITCHED = "switched"
    SERIES = "series"


SHARED = 10
"""Draws of each particle of the published size."""
FRAME = 0.04
"""s."""
SETTINGS: dict[Subject, dict[str, Any]] = {
    Subject.GROWTH: {},
    Subject.PUBLISHED: {
        "growth": {
            "size": PUBLISHED.size,
            "thickness": PUBLISHED.thickness,
            "rotation": 20.0,
            "stages": [{"duration": 0.16, "first": 40.0}],
            "corner": PUBLISHED.corner,
        },
        "movie": {
            "acquisition": {"shape": (640, 640), "pixel": 0.6, "frames": 10},
            "drift": (0.5, 0.8),
            "slice_thickness": 5.0,
        },
    },
    Subject.WHISKER: {},
    Subject.STEADY: {
        "whisker": {"growth": "linear", "start_length": 50.0, "width": 300.0},
        "acquisition": {"shape": (64, 280), "pixel": 10.0, "frames": 60, "dose_rate": 20.0},
        "foot": -0.4,
    },
    Subject.SWITCHED: {
        "whisker": {
            "growth": "piecewise linear",
            "start_length": 50.0,
            "first_velocity": 20.0,
            "velocity": 150.0,
        },
    },
}
SERIES: dict[str, tuple[GrowthLaw, Callable[[Array, float], Array]]] = {
    "rest": (GrowthLaw.CONSTANT, lambda t, _: 100 + 0 * t),
    "steady": (GrowthLaw.LINEAR, lambda t, _: 850 * t),
    "slow": (GrowthLaw.LINEAR, lambda t, _: 20 * t),
    "type I": (GrowthLaw.ACCELERATED, lambda t, _: 12.8 * (t + 0.6) ** 2),
    "switch": (GrowthLaw.PIECEWISE_LINEAR, lambda t, s: np.where(t < s, 6.0, 60.0) * (t - s)),
}
"""Lengths (Å) against time and the time of a switch, s."""
ERROR = 5.0
"""Å, of lengths in a series."""
MEMORIES = {"white": 0.0, "remembering": 0.6}
"""Correlations of errors in neighbouring frames."""


@lru_cache(maxsize=1)
def scene(subject: Subject) -> Scenario:
    """Return the scenario of a subject."""
    name = "li-growth" if subject in (Subject.GROWTH, Subject.PUBLISHED) else "li-whisker"
    return el.scenario(name, **SETTINGS[subject])


@lru_cache(maxsize=1)
def shared(subject: Subject, seed: int) -> tuple[xr.Dataset, xr.Dataset]:
    """Return expected counts and truth of a particle that several seeds share."""
    scenario = scene(subject)
    specimen = scenario.build(seed)
    return scenario.forward(specimen).compute(), scenario.truth(specimen)


def run(seed: int, subject: Subject) -> Row:
    """Return what one draw tells: laws, numbers, and sums over edges or lengths."""
    if subject is Subject.SERIES:
        return series_row(seed)
    scenario = scene(subject)
    if subject is Subject.PUBLISHED:
        mean, truth = shared(subject, seed - seed % SHARED)
        sample = Sample(None, scenario.noise.sample(mean, seed=seed), truth)
    else:
        sample = scenario.simulate(seed=seed)
    counts = sample.measurement.compute()
    start = time.process_time()
    found = scenario.solver(counts)
    seconds = time.process_time() - start
    growing = subject in (Subject.GROWTH, Subject.PUBLISHED)
    judge = growth_row if growing else whisker_row
    row = judge(scenario.gauge(found, sample.truth), sample.truth)
    if subject is Subject.PUBLISHED:
        row |= {"laws": {}, "numbers": {}}
    return {"seed": seed, "seconds": seconds, **row}


def growth_row(found: xr.Dataset, truth: xr.Dataset) -> Row:
    """Return what a movie of a particle tells."""
    if "edge" not in found:
        return {"laws": {}, "numbers": {}, "sums": {}}
    true = GrowthLaw.PIECEWISE_LINEAR.value
    moved = np.ptp(truth["edge"].values, axis=1) > 0
    parts = {"edges at rest": ~moved, "edges that move": moved & (np.arange(len(moved)) != CORNER)}
    parts["corner"] = np.arange(len(moved)) == CORNER
    sums = {name: _sums(found, truth, "edge", part) for name, part in parts.items()}
    sums["edges, all"] = _sums(found, truth, "edge", np.ones(len(moved), dtype=bool))
    sums["lengths of facets"] = _sums(found, truth, "facet_length", np.ones(len(moved), dtype=bool))
    laws = found["law"].values[[FIRST, SECOND]] if "law" in found else ["", ""]
    names = ("first_speed", "second_speed", "switch_time")
    return {
        "laws": {"first front": [str(laws[0]), true], "second front": [str(laws[1]), true]},
        "numbers": {name: _number(found, truth, name) for name in names if name in found},
        "sums": sums,
    }


def whisker_row(found: xr.Dataset, truth: xr.Dataset) -> Row:
    """Return what a movie of a whisker tells."""
    laws = {"law": [str(found["supported"].values), str(truth["supported"].values)]}
    right = laws["law"][0] == laws["law"][1]
    names = ("rate", "switch_time") if right else ()
    numbers = {name: _number(found, truth, name) for name in names if name in truth}
    for name, source in (
        ("rate", "velocity"),
        ("rate", "acceleration"),
        ("switch_time", "change_time"),
    ):
        if name in numbers and f"{source}_interval" in found:
            low, high = np.atleast_2d(found[f"{source}_interval"].values)[-1]
            numbers[name][2] = bool(low <= float(truth[name]) <= high)
    return {"laws": laws, "numbers": numbers, "sums": {"lengths": _sums(found, truth, "length")}}


def series_row(seed: int) -> Row:
    """Return what series of lengths tell, one of every law and kind of errors."""
    laws, numbers = {}, {}
    times = np.arange(125) * FRAME
    for errors, correlation in MEMORIES.items():
        for name, (law, lengths) in SERIES.items():
            draw = stream(seed, f"growth series {errors} {name}")
            switch = float(draw.uniform(1.6, 3.4))
            noise = draw.normal(size=len(times))
            for n in range(1, len(times)):
                noise[n] = correlation * noise[n - 1] + np.sqrt(1 - correlation**2) * noise[n]
            found = growth_law(times, lengths(times, switch) + ERROR * noise, length_std=ERROR)
            told = str(found["supported"].values)
            laws[f"{name}, {errors}"] = [told, law.value]
            if law is GrowthLaw.PIECEWISE_LINEAR and told == law.value:
                low, high = found["change_time_interval"].values[0]
                numbers[f"switch_time, {errors}"] = [
                    float(found["change_time"][0]) - switch,
                    float(found["change_time_std"][0]),
                    bool(low <= switch <= high),
                ]
    return {"seed": seed, "seconds": np.nan, "laws": laws, "numbers": numbers, "sums": {}}


def _number(found: xr.Dataset, truth: xr.Dataset, name: str) -> list[Any]:
    """Return the error of a number, its standard deviation, and whether 95 % hold the truth."""
    error, std = float(found[name] - truth[name]), float(found[f"{name}_std"])
    return [error, std, abs(error) < 1.96 * std]


def _sums(
    found: xr.Dataset, truth: xr.Dataset, name: str, part: npt.NDArray[np.bool_] | None = None
) -> list[float]:
    """Return count, sums of squared errors and pulls, and how many 95 % hold the truth."""
    error = (found[name] - truth[name]).values
    pull = error / found[f"{name}_std"].values
    known = np.isfinite(error) & np.isfinite(pull)
    if part is not None:
        known &= part[:, None]
    error, pull = error[known], pull[known]
    inside = float((np.abs(pull) < 1.96).sum())
    return [float(known.sum()), float((error**2).sum()), float((pull**2).sum()), inside]


def report(rows: Sequence[Row]) -> str:
    """Return tables of laws, numbers and what there is in every frame, Markdown."""
    lines = ["| law of | right | cannot tell | wrong |", "|---|---|---|---|"]
    for name in _names(rows, "laws"):
        pairs = [row["laws"][name] for row in rows if name in row["laws"]]
        counts = (
            sum(told == true for told, true in pairs),
            sum(not told for told, _ in pairs),
            sum(told not in ("", true) for told, true in pairs),
        )
        lines.append(f"| {name} | " + " | ".join(map(str, counts)) + " |")
    lines += [
        "",
        "| number | told | rms | largest | rms pull | in 95 % |",
        "|---|---|---|---|---|---|",
    ]
    for name in _names(rows, "numbers"):
        told = [row["numbers"][name] for row in rows if name in row["numbers"]]
        error, std, inside = (np.array(column) for column in zip(*told, strict=True))
        rms, pull = (np.sqrt(np.mean(values**2)) for values in (error, error / std))
        figures = (f"{rms:.4g}", f"{np.abs(error).max():.4g}", f"{pull:.2f}", f"{inside.sum()}")
        lines.append(f"| {name} | {len(told)} | " + " | ".join(figures) + " |")
        if name.startswith("switch_time"):
            within = int((np.abs(error) < FRAME).sum())
            lines.append(f"| {name}, within a frame | {within} | | | | |")
    lines += [
        "",
        "| in every frame | number | rms (Å) | rms pull | in 95 % |",
        "|---|---|---|---|---|",
    ]
    for name in _names(rows, "sums"):
        many, error, pull, inside = np.sum([r["sums"].get(name, 4 * [0]) for r in rows], axis=0)
        rms, pulls = np.sqrt(error / many), np.sqrt(pull / many)
        lines.append(
            f"| {name} | {many:.0f} | {rms:.3f} | {pulls:.2f} | {100 * inside / many:.1f} % |"
        )
    seconds = [row["seconds"] for row in rows]
    return "\n".join(
        [*lines, "", f"{len(rows)} seeds; CPU: median {np.median(seconds):.1f} s to solve"]
    )


def _names(rows: Sequence[Row], kind: str) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row[kind]))


def main() -> None:
    parser = seeds_parser(__doc__, seeds=100)
    parser.add_argument("--subject", type=Subject, default=Subject.GROWTH)
    asked = parser.parse_args()
    print(report(kept_rows(asked, [asked.subject.value], lambda seed: run(seed, asked.subject))))


if __name__ == "__main__":
    main()
