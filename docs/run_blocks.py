"""Run every fenced command and Python block of the documentation, as a reader would.

    python docs/run_blocks.py [page.md notebook.ipynb ...]

Without pages: ``README.md``, every ``docs/**/*.md`` and every ``docs/notebooks/*.ipynb``. Each page
has a temporary folder of its own, in which its ``bash``, ``console`` and ``python`` blocks run in
order; the Python blocks of a page share their names. Cells of code are Python blocks. Figures are
drawn without a screen, and all pages share an empty cache. Commands find this interpreter and its
scripts first. A block after the
comment ``<!-- not run: reason -->`` is skipped; so are lines that call ``make``, which sets up an
environment of its own. Ends with 'N passed, N failed'; the exit code is 1 where a block failed.
"""

import contextlib
import io
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = ("bash", "console", "python")
MAKE = "make sets up an environment of its own"
NOTEBOOK = ".ipynb"
SHOWN = 3000
"""Characters of the output shown of a block that failed."""

FENCE = re.compile(r"^(?P<indent> *)(?P<mark>`{3,}|~{3,}) *(?P<language>[\w+-]*)(?P<rest>.*)$")
NOT_RUN = re.compile(r"<!--\s*not run:\s*(?P<reason>.*?)\s*-->", re.DOTALL)


class Outcome(Enum):
    """How a block ended."""

    PASSED = "passed"
    FAILED = "FAILED"
    SKIPPED = "not run"


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: where it begins, its language, its text, and why it is not run, if so."""

    line: int
    language: str
    text: str
    not_run: str | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one block of a page ended."""

    page: str
    line: int
    language: str
    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0


def blocks(text: str) -> list[Block]:
    """List the runnable blocks of a page of Markdown.

    Parameters
    ----------
    text : str
        The page.

    Returns
    -------
    list of Block
        In order of appearance. Fences in other languages are left out.

    Raises
    ------
    ValueError
        If a fence is not closed.
    """
    found: list[Block] = []
    lines = text.splitlines()
    before: list[str] = []
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if fence is None:
            before.append(lines[at])
            at += 1
            continue
        end = _closing(lines, at, fence["mark"])
        if fence["language"] in LANGUAGES:
            indent = len(fence["indent"])
            body = [
                line[min(indent, len(line) - len(line.lstrip())) :] for line in lines[at + 1 : end]
            ]
            found.append(
                Block(
                    line=at + 1,
                    language=fence["language"],
                    text="\n".join(body) + "\n",
                    not_run=_reason("\n".join(before)),
                )
            )
        before = []
        at = end + 1
    return found


def cells(text: str) -> list[Block]:
    """List the cells of code of a Jupyter notebook; the line of a block is the cell's number."""
    return [
        Block(line=number, language="python", text="".join(cell["source"]))
        for number, cell in enumerate(json.loads(text)["cells"], start=1)
        if cell["cell_type"] == "code"
    ]


def _closing(lines: list[str], start: int, mark: str) -> int:
    for at in range(start + 1, len(lines)):
        line = lines[at].strip()
        if line.startswith(mark) and set(line) == {mark[0]}:
            return at
    raise ValueError(f"line {start + 1}: the fence {mark} is not closed")


def _reason(before: str) -> str | None:
    """Return the reason of a comment that ends what stands before a block."""
    comments = list(NOT_RUN.finditer(before))
    if not comments or before[comments[-1].end() :].strip():
        return None
    return comments[-1]["reason"] or "no reason given"


def commands(block: Block) -> str:
    """Return the commands of a bash or console block.

    In a console block those follow ``$``, lines that go on follow ``>``, and the rest is output.
    """
    if block.language == "bash":
        return block.text
    kept = [line[2:] for line in block.text.splitlines() if line.startswith(("$ ", "> "))]
    return "\n".join(kept) + "\n"


def without_make(script: str) -> tuple[str, list[str]]:
    """Return a script without its lines that call make, and those lines."""
    lines = script.splitlines()
    made = [line for line in lines if re.match(r"\s*make(\s|$)", line)]
    return "".join(f"{line}\n" for line in lines if line not in made), made


def run_page(text: str, name: str) -> list[Result]:
    """Run the blocks of one page in a temporary folder; changes the process's own folder.

    Parameters
    ----------
    text : str
        The page.
    name : str
        What to call it; one that ends in ``.ipynb`` is a notebook.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    results = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for block in cells(text) if name.endswith(NOTEBOOK) else blocks(text):
            start = time.perf_counter()
            outcome, detail = _run(block, names, f"{name}:{block.line}")
            results.append(
                Result(
                    page=name,
                    line=block.line,
                    language=block.language,
                    outcome=outcome,
                    detail=detail,
                    seconds=time.perf_counter() - start,
                )
            )
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    return results


def _run(block: Block, names: dict[str, Any], where: str) -> tuple[Outcome, str]:
    if block.not_run is not None:
        return Outcome.SKIPPED, block.not_run
    if block.language == "python":
        return _run_python(block.text, names, where)
    return _run_commands(commands(block))


def _run_python(text: str, names: dict[str, Any], where: str) -> tuple[Outcome, str]:
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            exec(compile(text, where, "exec"), names)
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit) and not error.code:
                return Outcome.PASSED, ""
            traceback.print_exc()
            return Outcome.FAILED, output.getvalue()[-SHOWN:]
    return Outcome.PASSED, ""


def _run_commands(script: str) -> tuple[Outcome, str]:
    script, made = without_make(script)
    left = "\n".join(line for line in script.splitlines() if not line.lstrip().startswith("#"))
    if not left.strip():
        return (Outcome.SKIPPED, MAKE) if made else (Outcome.FAILED, "the block has no command")
    own = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": own + os.pathsep + os.environ.get("PATH", "")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        return Outcome.FAILED, f"{done.stdout[-SHOWN:]}\nexit code {done.returncode}"
    return Outcome.PASSED, f"left out: {', '.join(x.strip() for x in made)}; {MAKE}" if made else ""


def run_pages(pages: list[Path]) -> Iterator[Result]:
    """Run pages, each in a process of its own, as many at a time as there are processors.

    Notebooks share one process, since most of their time would go into loading the same packages.
    """
    apart = [[page] for page in pages if page.suffix != NOTEBOOK]
    notebooks = [page for page in pages if page.suffix == NOTEBOOK]
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        for results in threads.map(_run_apart, [notebooks, *apart] if notebooks else apart):
            yield from results


def _run_apart(pages: list[Path]) -> list[Result]:
    results = []
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        for page in pages:
            name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else str(page)
            try:
                results += process.submit(run_page, page.read_text("utf-8"), name).result()
            except Exception as error:  # the page cannot be read, or its process died
                why = f"{type(error).__name__}: {error}"
                failed = Result(
                    page=name, line=1, language="page", outcome=Outcome.FAILED, detail=why
                )
                results.append(failed)
    return results


def main(arguments: list[str]) -> int:
    """Run the pages named, or all; print how each block ended; return the exit code."""
    named = [Path(argument).resolve() for argument in arguments]
    written = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    pages = named or [*written, *sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))]
    with tempfile.TemporaryDirectory() as cache:
        os.environ.setdefault("ECHOLITH_CACHE", cache)
        os.environ.setdefault("MPLBACKEND", "agg")
        return _report(run_pages(pages))


def _report(results: Iterator[Result]) -> int:
    count = dict.fromkeys(Outcome, 0)
    for result in results:
        count[result.outcome] += 1
        where = f"{result.page}:{result.line} {result.language}"
        print(f"{where}: {result.outcome.value} ({result.seconds:.1f} s)", flush=True)
        if result.detail:
            print("\n".join(f"    {line}" for line in result.detail.splitlines()), flush=True)
    if count[Outcome.SKIPPED]:
        print(f"{count[Outcome.SKIPPED]} not run, for the reasons above")
    print(f"{count[Outcome.PASSED]} passed, {count[Outcome.FAILED]} failed")
    return 1 if count[Outcome.FAILED] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
