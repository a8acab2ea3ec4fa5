"""A plan as text for people, from the plain values of `plan_summary`."""

from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = 12
"""Best points that a table shows."""
VALUES = 5
"""Values of one setting that a line shows."""
SLIGHT = 0.005
"""Relative change of the spread that is not worth its numbers."""
BYTES = {"GB": 1e9, "MB": 1e6, "kB": 1e3}


def plan_table(summary: Mapping[str, Any]) -> str:
    """Return the object of `plan_summary` as text."""
    lines = [summary["scenario"], "", summary["verdict"], ""]
    lines += [summary["confidence"], *_reconstruction(summary["trial"]), ""]
    lines += [line for effect in summary["effects"] if (line := effect_line(effect))]
    lines += ["", "what limits it"] if summary["limits"] else []
    lines += [f"{limit['cause']}: {limit['text']}" for limit in summary["limits"]]
    names = summary["over"]
    rows = [_cells(summary["points"][n], names) for n in summary["best"][:SHOWN]]
    head = (*names, "dose", "time", "file", "spread / allowed", "")
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines += ["", "the best of them"] if rows else []
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in ([head, *rows] if rows else [])
    ]
    return "\n".join([*lines, *left_out(summary)])


def _reconstruction(trial: Mapping[str, Any] | None) -> list[str]:
    if trial is None or trial["case_seconds"] is None:
        return ["time and memory of a reconstruction: not known"]
    return [f"one case, simulated and solved: {trial['case_seconds']:.3g} s"]


def left_out(summary: Mapping[str, Any]) -> list[str]:
    """Return in words why points could not be computed, each reason once."""
    reasons = dict.fromkeys(
        reason for p in summary["points"] if p["excess"] is None for reason in p["reasons"]
    )
    return [f"left out: {reason}" for reason in reasons]


def effect_line(effect: Mapping[str, Any]) -> str:
    """Return in words what a setting does; nothing is said of one with a single value."""
    if len(effect["spreads"]) < 2:
        return ""
    if not effect["felt"]:
        return f"{effect['name']} has no effect"
    known = [row for row in effect["spreads"] if row["spread"] is not None]
    if all(abs(row["spread"] - 1) < SLIGHT for row in known):
        return f"{effect['name']} changes the spread by less than {SLIGHT:.1%}"
    told = ", ".join(
        f"{_short(row['value'])}: {100 * (row['spread'] - 1):+.1f} %" for row in _some(known)
    )
    return f"{effect['name']}{_gain(effect['power'])}; spread at {told}"


def _gain(power: float | None) -> str:
    """Return what the better one of half and double the value would gain."""
    if power is None:
        return ""
    way = "halving" if power > 0 else "doubling"
    return f": {way} it would narrow the spread by {1 - 2 ** -abs(power):.0%}"


def _some(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return both ends and what is nearest to the recommended value, in order."""
    try:
        rows = sorted(rows, key=lambda row: row["value"])
    except TypeError:  # values that have no order
        return list(rows[:VALUES])
    here = min(range(len(rows)), key=lambda n: abs(rows[n]["spread"] - 1))
    ranked = sorted(range(len(rows)), key=lambda n: (n not in (0, len(rows) - 1), abs(n - here)))
    return [rows[n] for n in sorted(ranked[:VALUES])]


def _cells(row: Mapping[str, Any], names: list[str]) -> tuple[str, ...]:
    dose = "" if row["dose"] is None else f"{row['dose']:.3g} {row['dose_unit']}"
    seconds = "" if row["seconds"] is None else f"{row['seconds']:.3g} s"
    excess = "–" if row["excess"] is None else f"{row['excess']:.3g}"
    values = (_short(row["settings"][name]) for name in names)
    size = "" if row["bytes"] is None else size_text(row["bytes"])
    return (*values, dose, seconds, size, excess, "; ".join(row["reasons"]))


def size_text(count: float) -> str:
    """Return bytes as people write them.

    Examples
    --------
    >>> size_text(4 * 256**4)
    '17.2 GB'
    """
    unit = next((u for u in ("GB", "MB", "kB") if count >= BYTES[u]), "kB")
    return f"{count / BYTES[unit]:.3g} {unit}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
