"""The tables of a report: rows of printed text."""

from typing import TYPE_CHECKING, Any

from echolith.validation.distance_figures import Z95, error_unit, known_errors, long_name
from echolith.validation.statistics_figures import kind_name
from echolith.validation.tables import LARGE, Reading, decimals, readable, readings

if TYPE_CHECKING:
    from echolith.validation.report import ReportContent

Rows = list[dict[str, Any]]

MINUS = "−"


NUMBER = Reading("", 1.0)
"""A plain number: no unit."""


def printed(
    value: float | None, unit: Reading = NUMBER, digits: int = 2, *, sign: bool = False
) -> str:
    """Print a number in the unit people read; a dash where there is none."""
    if value is None:
        return "–"
    read = value * unit.factor
    form = f".{digits}f" if abs(read) < LARGE else ".5g"
    return f"{read:{'+' if sign else ''}{form}}".replace("-", MINUS)


def _interval(
    ends: list[float] | None, unit: Reading = NUMBER, digits: int = 2, *, sign: bool = False
) -> str:
    if not ends:
        return "–"
    return " to ".join(printed(end, unit, digits, sign=sign) for end in ends)


def _unit(unit: str, content: "ReportContent") -> Reading:
    """Return the unit to print a unit of the data in; no name for a plain number."""
    return NUMBER if unit == "1" else readings(content.summary).get(unit) or readable(unit)


def quantity_rows(content: "ReportContent") -> Rows:
    """Return truth, estimate, std and error of each quantity of one case."""
    rows = []
    for name, q in content.summary.get("quantities", {}).items():
        both = q["truth"] is not None and q["estimate"] is not None
        error = q["estimate"] - q["truth"] if both else None
        ratio = error / q["std"] if error is not None and q["std"] else None
        unit = _unit(q["unit"], content)
        digits = decimals(unit, [q["std"] or error])
        rows.append(
            {
                "name": name,
                "printed": long_name(name, content.truth, content.estimate),
                "truth": printed(q["truth"], unit, digits),
                "estimate": printed(q["estimate"], unit, digits),
                "std": printed(q["std"], unit, digits),
                "error": printed(error, unit, digits, sign=True),
                "ratio": printed(ratio, digits=1, sign=True),
                "unit": unit.name,
            }
        )
    return rows


def statistics_rows(content: "ReportContent", *, single: bool = False) -> Rows:
    """Return bias, spread and bound of each quantity over the seeds, or of one single value.

    Rows of single values only where there are several of a kind.
    """
    statistics = content.summary.get("statistics", {})
    part = "single_" if single else ""
    rows = []
    for name, s in statistics.items():
        if single and s.get("single_spread") is None:
            continue
        unit = _unit(s["unit"], content)
        sizes = [
            other.get(f"{part}{size}")
            for other in statistics.values()
            if other["unit"] == s["unit"]
            for size in ("spread", "bound")
        ]
        digits = decimals(unit, sizes, least=3)
        lengths = {
            key: printed(s.get(f"{part}{key}"), unit, digits, sign=key == "bias")
            for key in ("bias", "spread", "bound", "rmse")
        }
        rows.append(
            {
                **lengths,
                "printed": long_name(name, content.truth, content.estimate),
                "interval": _interval(s.get("bias_ci95"), unit, digits, sign=True),
                "efficiency": printed(s.get(f"{part}efficiency")),
                "efficiency_interval": _interval(s.get(f"{part}efficiency_ci95")),
                "coverage": printed(s.get("coverage95")),
                "count": s.get("singles"),
                "unit": unit.name,
            }
        )
    return rows


def calibration_rows(content: "ReportContent") -> Rows:
    """Return how true the reported standard deviations of each kind of value are."""
    rows = []
    for name, entry in content.summary.get("calibration", {}).items():
        low, high = entry["coverage95_ci95"]
        unit, rms = _unit(entry["unit"], content), entry["rms_error"]
        rows.append(
            {
                "printed": kind_name(name, content),
                "count": entry["count"],
                "rms": printed(rms, unit, decimals(unit, [rms], least=3)),
                "unit": unit.name,
                "variance": printed(entry["pull_variance"]),
                "within68": printed(entry["coverage68"], digits=3),
                "within95": printed(entry["coverage95"], digits=3),
                "interval": _interval([low, high], digits=3),
                "off": not low <= 0.95 <= high,
            }
        )
    return rows


def _scores(content: "ReportContent") -> dict[str, dict[str, Any]]:
    scores = content.summary.get("score_means") or content.summary.get("scores", {})
    return dict(scores)


def score_rows(content: "ReportContent") -> Rows:
    """Return every score, over seeds the mean."""
    return [
        {
            "name": name,
            "value": printed(s["value"], digits=3),
            "unit": "" if s["unit"] == "1" else s["unit"],
        }
        for name, s in _scores(content).items()
    ]


def memory(summary: dict[str, Any]) -> str | None:
    """Return the peak memory as text."""
    peak = summary.get("peak_memory_bytes")
    return None if peak is None else f"{peak / 1e9:.2f} GB"


def tiles(content: "ReportContent") -> Rows:
    """Sum the outcome up in a few numbers, each a value and what it is."""
    shown = []
    errors = known_errors(content)
    if errors:
        worst = max(errors, key=lambda name: abs(errors[name][0]))
        name = long_name(worst, content.truth, content.estimate)
        value = f"{abs(errors[worst][0]):.2f} {error_unit(content).name}"
        shown.append({"value": value, "what": f"largest error, {name}"})
        known = [(error, std) for error, std in errors.values() if std > 0]
        inside = sum(abs(error) <= Z95 * std for error, std in known)
        if known:
            shown.append(
                {"value": f"{inside} of {len(known)}", "what": "truth in the 95 % interval"}
            )
    scores = _scores(content)
    found = {
        name.removeprefix("found_").title(): s["value"]
        for name, s in scores.items()
        if name.startswith("found_") and s["value"] is not None
    }
    if found:
        particles = found.pop("Particles", None)
        if particles is not None:
            shown.append({"value": f"{particles:.0%}", "what": "particles found"})
    if found:
        value = " · ".join(
            f"{species}\N{NO-BREAK SPACE}{share:.0%}" for species, share in found.items()
        )
        shown.append({"value": value, "what": "columns found"})
    false = scores.get("false_columns", {}).get("value")
    if false is not None:
        shown.append({"value": f"{false:g}", "what": "false columns"})
    timings = content.summary.get("timings", {})
    if timings:
        peak = memory(content.summary)
        what = f"in all, {peak} at most" if peak else "in all"
        shown.append({"value": f"{sum(timings.values()):.1f} s", "what": what})
    return shown
