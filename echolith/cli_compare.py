"""The commands that set results side by side: ``compare`` and ``leaderboard``."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echolith.cli_options import (
    Config,
    Json,
    MemoryLimit,
    Out,
    Python,
    Seed,
    Set,
    TimeLimit,
    Workers,
)
from echolith.cli_session import print_json, session
from echolith.errors import BadInputError

if TYPE_CHECKING:
    from echolith.protocols import Solver
    from echolith.validation.scenario import Scenario
    from echolith.validation.solver_process import SolverProcess

OURS = "ours"


def solver_process(
    target: str, python: Path | None, time_limit: float, memory_limit: float | None
) -> "SolverProcess":
    """Return a solver of anyone's, loaded once in its environment to see that it is there."""
    from echolith.validation.solver_process import GIGABYTE, SolverProcess

    process = SolverProcess(
        target=target,
        python=python or Path(sys.executable),
        time_limit=time_limit,
        memory_limit=None if memory_limit is None else memory_limit * GIGABYTE,
    )
    process.check()
    return process


def resolve(
    name: str,
    settings: list[str] | None,
    config: Path | None,
    structure: Path | None,
    *,
    base: Mapping[str, Any] | None = None,
) -> "Scenario":
    """Return a scenario with what was asked to be set, on top of the settings of a base."""
    from echolith.validation.catalogue import scenario
    from echolith.validation.settings import merge, parse_assignments, read_settings_file

    overrides = dict(base or {})
    if config:
        overrides = merge(overrides, read_settings_file(config))
    overrides = merge(overrides, parse_assignments(settings or []))
    if structure is not None:
        overrides["structure"] = structure
    return scenario(name, **overrides)


def compare(
    baseline: Annotated[Path, typer.Argument(help="Baseline or results.json.")],
    current: Annotated[Path, typer.Argument(help="What to compare with it.")],
    as_json: Json = False,
) -> None:
    """Say whether a solver got significantly worse; exit code 1 if it did."""
    from echolith.validation.comparison import compare as compared
    from echolith.validation.comparison import comparison_table

    content = compared(baseline, current)
    if as_json:
        print_json(content)
    else:
        typer.echo(comparison_table(content))
    if content["worse"]:
        raise typer.Exit(1)


def leaderboard(
    scenarios: Annotated[list[str], typer.Argument(help="Names of scenarios.")],
    solver: Annotated[
        list[str] | None,
        typer.Option(
            "--solver",
            help="name=package.module:function or name=file.py:function; repeatable. "
            "Ours always runs too.",
        ),
    ] = None,
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option(min=2, help="Seeds for every solver.")] = 8,
    python: Python = None,
    time_limit: TimeLimit = 600.0,
    memory_limit: MemoryLimit = None,
    settings: Set = None,
    config: Config = None,
    out: Out = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Run several solvers on several scenarios, on the same measurements, best first."""
    from echolith.validation.leaderboard import leaderboard as run_all
    from echolith.validation.leaderboard_page import leaderboard_table, write_leaderboard

    chosen = [resolve(name, settings, config, None) for name in scenarios]
    tried: dict[str, Solver | None] = {OURS: None}
    for entry in solver or []:
        name, target = _named(entry)
        tried[name] = solver_process(target, python, time_limit, memory_limit)
    with session(strict=False, workers=workers) as progress:
        content = run_all(
            tried,
            chosen,
            seeds=range(seed, seed + seeds),
            announce=progress.announce,
        )
        written = write_leaderboard(content, out) if out is not None else None
    if as_json:
        print_json(content)
    else:
        typer.echo(leaderboard_table(content))
    if written is not None:
        typer.echo(f"leaderboard: {written}", err=True)
    if any(row["failed"] for row in content["standings"]):
        raise typer.Exit(1)


def _named(entry: str) -> tuple[str, str]:
    name, _, target = entry.partition("=")
    if not name or not target:
        raise BadInputError(f"--solver {entry!r} is not of the form name=package.module:function")
    if name == OURS:
        raise BadInputError(f"the name {OURS!r} is taken by the reference solver; choose another")
    return name, target
