"""Measure how fast and how large echolith is: our time, the floor and the peers, in one run.

    python benchmarks/run.py --list
    python benchmarks/run.py NAME [--json] [--quick]

With ``--json`` one object goes to standard output and nothing else does. ``--quick`` takes small
sizes and few repeats: it shows that the subject runs, its figures mean little. Exit codes: 0 done,
2 unknown name.
"""

import argparse
import ast
import difflib
import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.measuring import Figure, Result

ROOT = Path(__file__).resolve().parents[1]
SUBJECTS = (
    "ssb",
    "wdd",
    "iterative",
    "aberrations",
    "simulation",
    "paper_size",
    "registration",
    "tomography",
    "tilt_alignment",
    "far_field",
    "powder",
    "diffraction_maps",
    "saed",
    "growth",
    "hrtem",
    "false_lattices",
    "plan",
    "generation",
    "large_frames",
)


def summary(name: str) -> str:
    """Return the first line of a subject's documentation, without importing it."""
    tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text("utf-8"))
    return (ast.get_docstring(tree) or "").split("\n")[0]


def table(results: Mapping[str, "Result"]) -> str:
    """Return the results as text."""
    lines = []
    for name, result in results.items():
        size = ", ".join(f"{what} {' x '.join(map(str, n))}" for what, n in result.size.items())
        lines += [
            f"{name}: {size}",
            f"  ours   {result.ours_s:9.4g} s",
            f"  floor  {result.floor_s:9.4g} s   ours / floor = {result.ratio_to_floor:.2f}",
            *(f"  {peer:6s} {s:9.4g} s   {peer} / ours = {s / result.ours_s:.1f}"
              for peer, s in result.peers_s.items()),
            f"  memory {result.peak_memory_bytes / 1e6:9.4g} MB beyond the input",
            *(f"  {what}: {_shown(figure)}" for what, figure in result.figures.items()),
        ]  # fmt: skip
    return "\n".join(lines)


def _shown(figure: "Figure") -> str:
    text = f"{figure.value:.4g} {figure.unit}"
    for words, limit in (("at most", figure.at_most), ("at least", figure.at_least)):
        if limit is not None:
            text += f" ({words} {limit:g}: {'met' if figure.met else 'NOT MET'})"
    return text


def unknown(name: str) -> str:
    """Say that there is no such subject, and which one is near."""
    near = difflib.get_close_matches(name, SUBJECTS, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "see --list"
    return f"there is no benchmark '{name}' (there are: {', '.join(SUBJECTS)}); {hint}"


def main(arguments: list[str]) -> int:
    """Measure one subject or list them; return the exit code."""
    parser = argparse.ArgumentParser(description="Time and memory beside a floor and the peers.")
    parser.add_argument("name", nargs="?", help="subject to measure; see --list")
    parser.add_argument("--list", action="store_true", help="list the subjects")
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats")
    asked = parser.parse_args(arguments)
    if asked.list:
        print("\n".join(f"{name:12s} {summary(name)}" for name in SUBJECTS))
        return 0
    if asked.name is None:
        parser.error("name a subject, or give --list")
    if asked.name not in SUBJECTS:
        print(f"error: {unknown(asked.name)}", file=sys.stderr)
        return 2
    # So that a clone without an install works, and subprocesses find the subjects too.
    sys.path.insert(0, str(ROOT))
    subject = importlib.import_module(f"benchmarks.{asked.name}")
    results: dict[str, Result] = subject.measure(quick=asked.quick)
    if asked.json:
        print(json.dumps({name: r.as_json() for name, r in results.items()}, allow_nan=False))
    else:
        print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
