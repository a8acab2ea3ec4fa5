"""Compare two stored results: baselines of regression tests, or ``results.json`` of runs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scipy import special

from echolith.errors import BadInputError
from echolith.validation.paired_test import LEAST_SEEDS, PValues
from echolith.validation.regression import (
    FALSE_ALARM,
    MARGIN,
    Comparison,
    Share,
    check_rates,
    compare_failures,
    judge,
)
from echolith.validation.regression import compare as compare_performances
from echolith.validation.stored_result import Stored, read_result
from echolith.validation.tables import PRINTED
from echolith.validation.verdict import Change, Measure, Verdict, printed_p, printed_percent, spoken

NOT_PAIRED = (
    "there are no values seed by seed (the folder 'cases' beside results.json, or a baseline): "
    "means of quantities are compared as if their noise were different, which finds less"
)


def compare(
    baseline: Path | str,
    current: Path | str,
    *,
    margin: float = MARGIN,
    false_alarm: float = FALSE_ALARM,
) -> dict[str, Any]:
    """Compare two results on the same data.

    With values seed by seed the comparison is that of the regression test
    (`echolith.validation.regression`). From summaries alone, the mean square errors of the
    quantities are compared by Fisher's F, as if the noise were independent.

    Parameters
    ----------
    baseline, current : path
        A baseline of a regression test, a ``results.json``, or the folder that holds one.
    margin : float
        Larger rms or spread, as a fraction, that is not called worse.
    false_alarm : float
        Chance that an unchanged solver is called worse.

    Returns
    -------
    dict
        ``scenario``, ``baseline``, ``current``, ``outcome``, ``worse`` (true or false), ``words``,
        ``changes`` and what was asked for, ready for JSON.

    Raises
    ------
    BadInputError
        If a file cannot be read, or the two are of different data.
    """
    check_rates(margin=margin, false_alarm=false_alarm)
    old, new = read_result(Path(baseline)), read_result(Path(current))
    notes = [*_check_same_data(old, new)]
    common = tuple(seed for seed in old.seeds if seed in new.seeds)
    before, after = old.on(common), new.on(common)
    if before is not None and after is not None and len(common) >= LEAST_SEEDS:
        if not len(old.seeds) == len(new.seeds) == len(common):
            notes.append(f"compared on the {len(common)} seeds that both have")
        verdict = compare_performances(before, after, margin=margin, false_alarm=false_alarm)
    else:
        notes.append(NOT_PAIRED)
        verdict = _compare_summaries(old, new, margin=margin, false_alarm=false_alarm)
    content = verdict.as_dict()
    return {
        "scenario": new.scenario,
        "baseline": str(old.path),
        "current": str(new.path),
        **content,
        "words": [*content["words"], *notes],
    }


def _check_same_data(old: Stored, new: Stored) -> Iterator[str]:
    """Refuse results of different data; say which settings of the solver differ."""
    if old.scenario != new.scenario:
        raise BadInputError(
            f"the baseline is of the scenario '{old.scenario}', the current result of "
            f"'{new.scenario}'; compare results of one scenario"
        )
    pairs = {
        name: (old.settings.get(name, "default"), new.settings.get(name, "default"))
        for name in sorted({*old.settings, *new.settings})
    } | {name: (old.circumstances[name], new.circumstances[name]) for name in old.circumstances}
    different = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    data = {n: pair for n, pair in different.items() if not n.startswith("solver.")}
    if data:
        told = ", ".join(f"{n} = {b} and {a}" for n, (b, a) in data.items())
        raise BadInputError(
            f"the results are of different data ({told}); run both with the same settings"
        )
    for name, (before, after) in different.items():
        yield f"setting of the solver: {name} = {before} → {after}"


def _compare_summaries(old: Stored, new: Stored, *, margin: float, false_alarm: float) -> Verdict:
    if old.statistics is None or new.statistics is None:
        raise BadInputError(
            f"the results have no {LEAST_SEEDS} seeds in common (baseline {list(old.seeds)}, "
            f"current {list(new.seeds)}), or nothing seed by seed; run both on the same seeds"
        )
    made = [
        _compare_rmse(name, old, new, margin)
        for name, before in old.statistics.items()
        if before["rmse"] is not None
    ]
    failures = compare_failures(old.failures, new.failures, of=len(new.seeds))
    return judge(
        [*made, *([failures] if set(old.seeds) == set(new.seeds) else [])],
        seeds=len(new.seeds),
        margin=margin,
        false_alarm=false_alarm,
    )


def _compare_rmse(name: str, old: Stored, new: Stored, margin: float) -> Comparison:
    """Compare root mean square errors of a quantity by F, with one degree of freedom a case."""
    assert old.statistics is not None
    assert new.statistics is not None
    before, after = old.statistics[name], new.statistics.get(name, {"rmse": None})
    cases = [len(result.seeds) - len(result.failures) for result in (old, new)]
    if after["rmse"] is None:
        change = Change(
            group=name,
            measure=Measure.MISSING,
            before=0.0,
            after=1.0,
            of=1,
            detail="no longer estimated" if cases[1] else "no case has an estimate",
        )
        return Comparison(share=Share.COUNTS, change=change, p=PValues(worse=0.0))
    change = Change(
        group=name,
        measure=Measure.RMS,
        before=before["rmse"],
        after=after["rmse"],
        unit=after["unit"],
    )
    p = PValues()
    if before["rmse"] and after["rmse"] and min(cases) >= LEAST_SEEDS:
        ratio, allowed = (after["rmse"] / before["rmse"]) ** 2, (1 + margin) ** 2
        p = PValues(
            float(special.fdtrc(cases[1], cases[0], ratio / allowed)),
            float(special.fdtrc(cases[0], cases[1], 1 / (ratio * allowed))),
        )
    return Comparison(share=Share.GROUPS, change=change, p=p)


def comparison_table(content: Mapping[str, Any]) -> str:
    """Return what `compare` found as text.

    Parameters
    ----------
    content : mapping
        As `compare` returns it.
    """
    rows = [("compared", "baseline", "current", "change", "p", "")]
    rows += [_row(change) for change in content["changes"]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [f"{content['scenario']}: {content['baseline']} → {content['current']}", ""]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:5], widths[1:5], strict=True)]
        lines.append("  ".join([*cells, row[5]]).rstrip())
    return "\n".join([*lines, "", *content["words"]])


def _row(change: Mapping[str, Any]) -> tuple[str, str, str, str, str, str]:
    measured = change["measure"] in (Measure.RMS.value, Measure.SPREAD.value)
    unit, factor = PRINTED.get(change["unit"], (change["unit"], 1.0))
    before, after = (
        "–" if value is None else f"{value * (factor if measured else 1):.3g}"
        for value in (change["baseline"], change["current"])
    )
    what = f"{change['measure']}, {spoken(change['group'])}"
    if measured and unit != "1":
        what += f" ({unit})"
    increase = change["increase"]
    return (
        what,
        before,
        after,
        printed_percent(increase, sign="+") if measured and increase is not None else "",
        printed_p(change["p_value"]).removeprefix("p ").removeprefix("= "),
        "" if change["outcome"] == "not told apart" else change["outcome"],
    )
