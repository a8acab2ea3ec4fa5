"""Plain-text tables for people at a terminal."""

import math
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any, NamedTuple

PRINTED = {"Å": ("pm", 100.0)}
"""Unit of the data to the unit people read small numbers in, and the factor."""
VOLUMES = {"Å³": ("nm³", 1e-3)}
"""The same of large numbers."""
LARGE = 1e6
"""From which five digits of a number are printed."""


class Reading(NamedTuple):
    """The unit people read, and the factor from that of the data."""

    name: str
    factor: float


def readable(unit: str, sizes: Iterable[float | None] = ()) -> Reading:
    """Return the unit to print numbers in whose errors are of the given sizes.

    Examples
    --------
    >>> readable("Å", [0.002, 0.003]).name, readable("Å", [25.0]).name, readable("rad").name
    ('pm', 'Å', 'rad')
    """
    known = [abs(size) for size in sizes if size]
    if unit in VOLUMES and known and median(known) >= 1e3:
        return Reading(*VOLUMES[unit])
    if unit not in PRINTED or (known and median(known) >= 1):
        return Reading(unit, 1.0)
    return Reading(*PRINTED[unit])


def readings(summary: Mapping[str, Any]) -> dict[str, Reading]:
    """Return the unit to print each unit of a summary in, by the size of its errors."""
    sizes: dict[str, list[float | None]] = {}
    for q in summary.get("quantities", {}).values():
        both = q["truth"] is not None and q["estimate"] is not None
        error = q["estimate"] - q["truth"] if both else None
        sizes.setdefault(q["unit"], []).append(q.get("std") or error)
    for entry in summary.get("statistics", {}).values():
        sizes.setdefault(entry["unit"], []).append(entry.get("spread"))
    return {unit: readable(unit, found) for unit, found in sizes.items()}


def summary_table(summary: dict[str, Any]) -> str:
    """Return the outcome of a run as text.

    Parameters
    ----------
    summary : dict
        The object ``echolith run --json`` prints.
    """
    lines = [f"{summary['scenario']}, seed {summary['seed']}", ""]
    units = readings(summary)
    lines += _quantities(summary["quantities"], units)
    if summary.get("statistics"):
        lines += ["", *_statistics(summary["statistics"], units)]
    scores = summary.get("score_means") or summary["scores"]
    if scores:
        lines += ["", "score" + " " * 23 + "value"]
        lines += [
            f"{name:<24} {_number(s['value'], '8.3f')} {s['unit']}" for name, s in scores.items()
        ]
    if summary.get("conclusion"):
        lines += ["", f"conclusion: {summary['conclusion']}"]
    if summary.get("diagnosis"):
        lines += ["", "what it looks like"]
        lines += [f"* {finding['words']}" for finding in summary["diagnosis"]]
    if summary.get("calibration"):
        lines += ["", *_calibration(summary["calibration"], units)]
    for seed, why in summary.get("failures", {}).items():
        lines.append(f"seed {seed} failed: {why}")
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in summary["timings"].items())
    lines += ["", f"time: {times}; peak memory {summary['peak_memory_bytes'] / 1e9:.2f} GB"]
    return "\n".join(lines)


def decimals(unit: Reading, sizes: Iterable[float | None], *, least: int = 2) -> int:
    """Return how many decimals show two digits of the smallest of some standard deviations."""
    known = [abs(size) * unit.factor for size in sizes if size]
    if not known:
        return least
    return min(max(1 - math.floor(math.log10(min(known))), least), 9)


def _quantities(quantities: dict[str, dict[str, Any]], units: Mapping[str, Reading]) -> list[str]:
    lines = [f"{'quantity':<12} {'truth':>9} {'estimate':>9} {'std':>8} {'error':>8}  unit"]
    for name, q in quantities.items():
        unit, factor = units.get(q["unit"]) or readable(q["unit"])
        both = q["truth"] is not None and q["estimate"] is not None
        error = q["estimate"] - q["truth"] if both else None
        digits = decimals(Reading(unit, factor), [q["std"] or error])
        cells = [
            _number(_scaled(q["truth"], factor), f"9.{digits}f"),
            _number(_scaled(q["estimate"], factor), f"9.{digits}f"),
            _number(_scaled(q["std"], factor), f"8.{digits}f"),
            _number(_scaled(error, factor), f"+8.{digits}f"),
        ]
        lines.append(f"{name:<12} {' '.join(cells)}  {unit}")
    return lines


def _statistics(statistics: dict[str, dict[str, Any]], units: Mapping[str, Reading]) -> list[str]:
    names = ("bias", "spread", "bound", "rmse", "single_bias", "single_spread", "single_bound")
    heads = " ".join(f"{n.replace('_', ' '):>13}" for n in names)
    lines = [f"{'statistics':<12} {heads}  unit  efficiency (single)  coverage95"]
    for name, entry in statistics.items():
        unit, factor = units.get(entry["unit"]) or readable(entry["unit"])
        cells = " ".join(_number(_scaled(entry.get(n), factor), "13.3f") for n in names)
        shares = [entry.get(n) for n in ("efficiency", "single_efficiency", "coverage95")]
        mean, single, coverage = (_number(share, "5.2f").strip() for share in shares)
        lines.append(f"{name:<12} {cells}  {unit:<4}  {mean:>10} ({single:>6})  {coverage:>10}")
    return lines


def _calibration(calibration: dict[str, dict[str, Any]], units: Mapping[str, Reading]) -> list[str]:
    lines = [
        f"{'error bars':<12} {'values':>7} {'rms error':>10} {'pull variance':>14} "
        f"{'within 68 %':>12} {'within 95 %':>12}"
    ]
    for name, entry in calibration.items():
        unit, factor = units.get(entry["unit"]) or readable(entry["unit"])
        lines.append(
            f"{name:<12} {entry['count']:>7} {entry['rms_error'] * factor:>7.3f} {unit:<2} "
            f"{entry['pull_variance']:>14.2f} {entry['coverage68']:>12.3f} "
            f"{entry['coverage95']:>12.3f}"
        )
    return lines


def bound_table(content: dict[str, Any]) -> str:
    """Return the bounds of a scenario as text.

    Parameters
    ----------
    content : dict
        The object ``echolith bound --json`` prints.
    """
    lines = [f"{content['scenario']}: least standard deviation of an unbiased estimate", ""]
    lines += [f"{'quantity':<18} {'bound':>9} {'of one':>9}  unit"]
    bounds = content["bounds"]
    for name, entry in bounds.items():
        if name.endswith("_single"):
            continue
        unit, factor = readable(entry["unit"], [entry["value"]])
        single = bounds.get(f"{name}_single", {}).get("value")
        cells = [_number(_scaled(value, factor), "9.4f") for value in (entry["value"], single)]
        lines.append(f"{name:<18} {' '.join(cells)}  {unit}")
    if content["undetermined"]:
        lines += ["", f"not determined by the data: {', '.join(content['undetermined'])}"]
    return "\n".join([*lines, "", *(f"* {note}" for note in content["notes"])])


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _number(value: float | None, form: str) -> str:
    width = int("".join(c for c in form.split(".")[0] if c.isdigit()))
    if value is not None and abs(value) >= LARGE:
        return format(value, f"{'+' if form.startswith('+') else ''}{width}.5g")
    return f"{'-':>{width}}" if value is None else format(value, form)
