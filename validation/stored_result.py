"""Read what a run over seeds or a regression test left behind."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echolith.errors import BadInputError
from echolith.validation.baseline_file import FORMAT, read_baseline
from echolith.validation.baselines import changed_settings, flat
from echolith.validation.catalogue import entry
from echolith.validation.performance import Performance, performance


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A result as read from a file.

    Attributes
    ----------
    path : Path
    scenario : str
    settings : dict
        Those that differ from the defaults, by dotted name; all, where the defaults are unknown.
    circumstances : dict
        What else must be the same: how cases vary, and whether there is noise.
    seeds : tuple of int
    failures : dict
    cases : dict, optional
        Of a run, by seed.
    baseline : Performance, optional
        Of a baseline.
    statistics : dict
        Of a run, by quantity.
    """

    path: Path
    scenario: str
    settings: dict[str, Any]
    circumstances: dict[str, Any]
    seeds: tuple[int, ...]
    failures: dict[int, str]
    cases: dict[int, dict[str, Any]] | None = None
    baseline: Performance | None = None
    statistics: dict[str, dict[str, Any]] | None = None

    def on(self, seeds: Sequence[int]) -> Performance | None:
        """Return the performance on some of the seeds, None where it is not known."""
        if self.baseline is not None:
            return self.baseline if tuple(seeds) == self.seeds else None
        if self.cases is None:
            return None
        return performance(
            {seed: self.cases[seed] for seed in seeds if seed in self.cases},
            seeds=seeds,
            failures={seed: self.failures[seed] for seed in seeds if seed in self.failures},
            same_specimen=self.circumstances["vary"] == "noise",
        )


def read_result(path: Path) -> Stored:
    """Read a baseline, a ``results.json``, or the folder that holds one.

    Raises
    ------
    BadInputError
        If it is neither, or damaged.
    """
    path = path / "results.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInputError(f"there is no result '{path}'; check the path") from error
    except (ValueError, OSError) as error:
        raise BadInputError(f"'{path}' cannot be read as JSON: {error}") from error
    if isinstance(content, dict) and content.get("format") == FORMAT:
        return _stored_baseline(path)
    if (
        not isinstance(content, dict)
        or not {"scenario", "settings", "statistics"} <= content.keys()
    ):
        raise BadInputError(
            f"'{path}' is neither a baseline nor the results.json of a run over seeds; make one "
            "with 'echolith run SCENARIO --seeds N --out FOLDER' or 'pytest --echolith-update'"
        )
    return _stored_run(path, content)


def _stored_baseline(path: Path) -> Stored:
    baseline = read_baseline(path)
    return Stored(
        path=path,
        scenario=baseline.scenario,
        settings=baseline.settings,
        circumstances={"vary": "noise", "noise_free": False},
        seeds=baseline.performance.seeds,
        failures=baseline.performance.failures,
        baseline=baseline.performance,
    )


def _stored_run(path: Path, content: Mapping[str, Any]) -> Stored:
    try:
        known = entry(content["scenario"]).settings
        settings = changed_settings(known.model_validate(content["settings"]))
    except (BadInputError, ValueError):  # another package's scenario, or another version's
        settings = flat(content["settings"])
    return Stored(
        path=path,
        scenario=content["scenario"],
        settings=settings,
        circumstances={name: content.get(name) for name in ("vary", "noise_free")},
        seeds=tuple(content["seeds"]),
        failures={int(seed): why for seed, why in content["failures"].items()},
        cases=_cases(path.parent / "cases", content),
        statistics=content["statistics"],
    )


def _cases(folder: Path, content: Mapping[str, Any]) -> dict[int, dict[str, Any]] | None:
    """Return the finished cases that belong to a summary, None unless all are there.

    The folder may hold those of other runs; ours begin with the quantities of the summary, the
    latest if several do.
    """
    finished = [seed for seed in content["seeds"] if str(seed) not in content["failures"]]
    if not finished:
        return {}
    candidates = folder.glob(f"case-*-{finished[0]}.json")
    for first in sorted(candidates, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        stem = first.name.removesuffix(f"{finished[0]}.json")
        try:
            found = {
                seed: json.loads((folder / f"{stem}{seed}.json").read_text(encoding="utf-8"))
                for seed in finished
            }
        except (OSError, ValueError):
            continue
        if found[finished[0]].get("quantities") == content["quantities"]:
            return found
    return None
