"""Maps of oxide grains and of thickness on lithium, over seeds on which nothing was set.

    python -m benchmarks.lithium_maps oxide | thickness [--case NAME] [--seeds 20] [--first 5000]
        [--store runs.jsonl]

``oxide``: overlap, rotation and false grains of the scenario li-oxide; cases ``columnar`` (its
default) and ``overlapping`` (grains as long along the beam as across). ``thickness``: errors of
t/lambda and totals of li-thickness; cases ``default``, ``small``, ``large`` and ``whisker``. Each
seed is a specimen of its own; with --store it is kept, and seeds in that file are not run again.
"""

import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy.ndimage import binary_dilation, binary_erosion

import echolith as el
from benchmarks.kept_rows import kept_rows, seeds_parser
from echolith.validation.grain_matching import named_grains

CASES: dict[str, dict[str, dict[str, Any]]] = {
    "oxide": {"columnar": {}, "overlapping": {"shell": {"columnar": False}}},
    "thickness": {
        "default": {},
        "small": {"size": 300.0, "acquisition": {"pixel": 10.0}},
        "large": {"size": 3000.0, "acquisition": {"pixel": 100.0}},
        "whisker": {"body": "whisker", "size": 500.0},
    },
}
BANDS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Of t/lambda."""
RIM = 2
"""Pixels on either side of an outline."""


def run(seed: int, scenario_name: str, case: str) -> dict[str, Any]:
    """Return errors and standard deviations of one specimen."""
    scenario = el.scenario(scenario_name, **CASES[scenario_name.removeprefix("li-")][case])
    sample = scenario.simulate(seed=seed)
    start = time.process_time()
    found = scenario.solver(sample.measurement)
    seconds = time.process_time() - start
    of = oxide_row if scenario_name == "li-oxide" else thickness_row
    return {"seed": seed, "seconds": seconds} | of(found, sample.truth)


def oxide_row(found: xr.Dataset, truth: xr.Dataset) -> dict[str, Any]:
    named = named_grains(found, truth)
    count = truth.sizes["true_grain"]
    seen = np.unique(truth["grain"].values)
    seen = seen[seen > 0] - 1
    row: dict[str, Any] = {"grains": len(seen), "false": 0, "iou": [0.0] * len(seen)}
    if "grain_iou" in named:
        row["false"] = int((np.unique(named["grain"].values) > count).sum())
        row["iou"] = named["grain_iou"].values[seen].tolist()
        error = (named["grain_rotation"] - truth["grain_rotation"]).values
        known = np.isfinite(error)
        row["rotation"] = error[known].tolist()
        row["rotation_std"] = named["grain_rotation_std"].values[known].tolist()
    return row | _totals(found, truth, ("mean_thickness",))


def thickness_row(found: xr.Dataset, truth: xr.Dataset) -> dict[str, Any]:
    error = (found["t_over_lambda"] - truth["t_over_lambda"].values).values
    pull, true = error / found["t_over_lambda_std"].values, truth["t_over_lambda"].values
    body = truth["thickness"].values > 0
    square = np.ones((2 * RIM + 1, 2 * RIM + 1))
    inside, about = binary_erosion(body, square), binary_dilation(body, square)
    parts = {"all": np.ones_like(body), "outline": about & ~inside}
    parts |= {
        f"{low:g} to {high:g}": inside & (true >= low) & (true < high)
        for low, high in itertools.pairwise(BANDS)
    }
    row: dict[str, Any] = {}
    for name, part in parts.items():
        known = part & np.isfinite(pull)
        if known.any():
            relative = error[known] / true[known]
            row[name] = [
                int(known.sum()),
                float(relative.mean()),
                float((relative**2).mean()),
                float((pull[known] ** 2).mean()),
                float((np.abs(pull[known]) < 1.96).mean()),
            ]
    return row | _totals(found, truth, ("support", "volume", "lithium"))


def _totals(found: xr.Dataset, truth: xr.Dataset, names: Sequence[str]) -> dict[str, Any]:
    """Return the truth, error and standard deviation of each number that was determined."""
    return {
        name: [
            float(truth[name]),
            float(found[name]) - float(truth[name]),
            float(found[f"{name}_std"]),
        ]
        for name in names
        if name in found
    }


def report(rows: Sequence[dict[str, Any]]) -> str:
    """Return what the rows say, a line for each quantity."""
    lines = [f"{len(rows)} specimens, {np.median([r['seconds'] for r in rows]):.2f} s to solve"]
    if "iou" in rows[0]:
        lines += _grains(rows)
    bands = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(BANDS)]
    for name in ("all", "outline", *bands):
        kept = np.array([row[name] for row in rows if name in row])
        if len(kept):
            lines.append(_pixels(name, kept))
    for name in ("support", "volume", "lithium", "mean_thickness"):
        kept = np.array([row[name] for row in rows if name in row])
        if len(kept):
            true, error, std = kept.T
            lines.append(
                f"{name}: rms {_rms(error / true):.2%} ({_rms(error):.3g}), "
                f"bias {np.mean(error / true):+.2%}, pulls {_rms(error / std):.2f}"
            )
    return "\n".join(lines)


def _grains(rows: Sequence[dict[str, Any]]) -> list[str]:
    iou = np.concatenate([row["iou"] for row in rows])
    error = np.concatenate([row.get("rotation", []) for row in rows])
    pulls = error / np.concatenate([row.get("rotation_std", []) for row in rows])
    return [
        f"grains: {int((iou > 0).sum())} of {len(iou)} found, {sum(r['false'] for r in rows)} "
        f"false; IoU mean {iou.mean():.3f}, least {iou.min():.2f}, "
        f"0.9 or more {np.mean(iou >= 0.9):.1%}",
        f"rotation: rms {_rms(error):.3f}°, median {np.median(np.abs(error)):.3f}°, largest "
        f"{np.abs(error).max():.2f}°; pulls {_rms(pulls):.2f}, median of |pull| "
        f"{np.median(np.abs(pulls)):.2f} (0.67), within 95 %: {np.mean(np.abs(pulls) < 1.96):.1%}",
    ]


def _pixels(name: str, kept: np.ndarray) -> str:
    share = kept[:, 0] / kept[:, 0].sum()
    bias = float(share @ kept[:, 1])
    doubt = float(np.sqrt(share**2 @ (kept[:, 1] - bias) ** 2))
    relative = (
        ""
        if name in ("all", "outline")
        else (f"rms {np.sqrt(share @ kept[:, 2]):.2%}, bias {bias:+.2%} ± {doubt:.2%}, ")
    )
    return (
        f"t/lambda {name}: {int(kept[:, 0].sum())} pixels, {relative}"
        f"pulls {np.sqrt(share @ kept[:, 3]):.2f}, within 95 %: {share @ kept[:, 4]:.1%}"
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else float("nan")


def main() -> None:
    parser = seeds_parser(__doc__, seeds=20)
    parser.add_argument("subject", choices=tuple(CASES))
    parser.add_argument("--case", help="the first of the subject by default")
    asked = parser.parse_args()
    case = asked.case or next(iter(CASES[asked.subject]))
    if case not in CASES[asked.subject]:
        parser.error(f"no case {case!r} of {asked.subject}: {', '.join(CASES[asked.subject])}")
    rows = kept_rows(
        asked, [asked.subject, case], lambda seed: run(seed, f"li-{asked.subject}", case)
    )
    print(report(rows))


if __name__ == "__main__":
    main()
