"""Whether plans keep their promise: measurements simulated anew at the settings they recommend.

A plan is made and tried on some seeds; on others the target is counted at the recommended settings
and at 70 % of their dose. ``python -m benchmarks.plan_truth --family li-hrtem --cases 50 --store
truth.jsonl`` adds a row to the file; a run broken off goes on where it was.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scipy.stats import binom

import echolith as el
from echolith.validation.catalogue import entry
from echolith.validation.dose_ladder import DoseLadder, run_ladder
from echolith.validation.plan import Budget, Plan, plan
from echolith.validation.plan_axes import Range
from echolith.validation.plan_trial import case_excess, planned_and_tried
from echolith.validation.scenario import Scenario
from echolith.validation.settings import resolve, setting_value, with_values

LESS = 0.7
"""Part of the recommended dose at which the target is to be missed."""
HELD_OUT = 1000
"""First seed of the cases that are counted; plans are tried on those from 0 on."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A measurement to plan: the setting that stands for its dose, and a target within reach."""

    setting: str
    range: Range
    target: Mapping[str, float]
    settings: Mapping[str, Any] = field(default_factory=dict)


FAMILIES = {
    "li-hrtem": Family(
        setting="acquisition.dose_rate",
        range=Range(100, 1e6),
        target={"spacing": 0.005},
        settings={"particle": {"size": 30.0}, "acquisition": {"shape": (128, 128)}},
    ),
    "lfp-powder": Family(
        setting="dwell",
        range=Range(0.01, 1e4),
        target={"weight_LiFePO4": 0.01},
        settings={"acquisition": {"start": 15.0, "stop": 60.0, "step": 0.04}},
    ),
    "nmc622-sxdm": Family(
        setting="curve.counts",
        range=Range(20, 1e6),
        target={"strain": 40.0},
        settings={"curve": {"scan": (10, 10), "background": 0.0}},
    ),
    "li-saed": Family(
        setting="acquisition.electrons",
        range=Range(1e4, 1e12),
        target={"centre_x": 0.02},
        settings={
            "phases": ("Li2O",),
            "crystal": "none",
            "acquisition": {"shape": (256, 256), "dark": 0.0, "saturation": None},
        },
    ),
    "lfp-tomography": Family(
        setting="incident",
        range=Range(100, 1e7),
        target={"composition": 0.2},
        settings={"pixels": 40, "plates": 3, "tilts": {"angles": list(range(-60, 61, 5))}},
    ),
    "lfp-xas": Family(
        setting="incident",
        range=Range(100, 1e5),
        target={"state_of_charge": 0.01},
        settings={"pixels": 48, "plates": 3},
    ),
    "li-rich-oxide": Family(
        setting="dose",
        range=Range(1e3, 1e7),
        target={"m_m_single": 0.1},
        settings={"thickness": 8.6, "scan": {"shape": (60, 60), "step": 0.2}, "haadf": None},
    ),
}


def measure(family: str, *, cases: int, trial: int, share: float, store: Path) -> dict[str, Any]:
    """Return the row of a family: its plan, and what was kept on seeds the plan has not seen."""
    one = FAMILIES[family]
    scenario = el.scenario(family, **one.settings)

    def make(factor: float) -> Plan:
        return plan(
            scenario,
            over={one.setting: one.range},
            target=one.target,
            share=share,
            factor=factor,
            budget=Budget(dose=1e15),
            store=store / "bounds",
        )

    found, tried = planned_and_tried(make, seeds=range(trial), store=store)
    row = {"family": family, "target": dict(one.target), "share": share}
    if found.recommended is None or tried is None:
        return {**row, "recommended": None}
    value = float(found.recommended.bound.point[one.setting])
    seeds = range(HELD_OUT, HELD_OUT + cases)
    kept = {part: _kept(found, one, scenario, part * value, seeds, store) for part in (1.0, LESS)}
    exposure = found.recommended.bound.exposure
    return {
        **row,
        one.setting: value,
        "dose": None if exposure is None else f"{exposure.dose:.4g} {exposure.dose_unit}",
        "factor": tried.factor,
        "tried": [tried.kept, tried.cases],
        "curve": [[d.dose, d.kept, d.excess] for d in tried.doses],
        "cases": cases,
        "kept": kept[1.0],
        "p_kept": float(binom.cdf(kept[1.0], cases, share)),
        "kept_at_less": kept[LESS],
        "p_kept_at_less": float(binom.cdf(kept[LESS], cases, share)),
    }


def _kept(
    found: Plan, one: Family, scenario: Scenario, value: float, seeds: range, store: Path
) -> int:
    """Return how many of the cases with a value of the setting keep to the target."""
    own = setting_value(scenario.settings.model_dump(), one.setting)
    chosen = round(value) if isinstance(own, int) else value
    settings = with_values(scenario.settings.model_dump(), {one.setting: chosen})
    at = entry(scenario.name).make(resolve(type(scenario.settings), settings))
    ladder = DoseLadder(
        setting=one.setting, base=(value, at), rungs={value: at}, top=value, store=store
    )
    cases = run_ladder(ladder, seeds)[value].values()
    return sum(case_excess(case, found.target) <= 1 for case in cases)


def main() -> None:
    """Measure a family and add its row to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=FAMILIES, required=True)
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--trial", type=int, default=50)
    parser.add_argument("--share", type=float, default=0.9)
    parser.add_argument("--store", type=Path, required=True, help="File of rows, one a line.")
    asked = parser.parse_args()
    row = measure(
        asked.family,
        cases=asked.cases,
        trial=asked.trial,
        share=asked.share,
        store=asked.store.with_suffix(""),
    )
    with asked.store.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    main()
