"""The command ``plan``: which settings reach a precision, before anything is measured."""

from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from echolith.cli_compare import resolve, solver_process
from echolith.cli_options import (
    Config,
    Json,
    Out,
    Python,
    ScenarioName,
    Seed,
    Set,
    SolverTarget,
    Workers,
)
from echolith.cli_session import print_json, session
from echolith.errors import BadInputError


class LeastOption(StrEnum):
    """What a plan spends as little of as it can."""

    DOSE = "dose"
    TIME = "time"


def plan(
    scenario: ScenarioName,
    over: Annotated[
        list[str],
        typer.Option(
            help="A setting and what to try: name=[value, value] or name=low..high; repeatable."
        ),
    ],
    target: Annotated[
        list[str],
        typer.Option(help="Largest error of a quantity, in its unit: name=value; repeatable."),
    ],
    share: Annotated[
        float, typer.Option(help="Of measurements that are to keep to the target.")
    ] = 0.9,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="A limit of the measurement (dose, dose_rate, seconds, values), the specimen's "
            "critical_dose, or a limit of the computation (compute_seconds, memory and disk in "
            "bytes): name=number; repeatable."
        ),
    ] = None,
    least: Annotated[
        LeastOption, typer.Option(help="What to spend as little of as can be.")
    ] = LeastOption.DOSE,
    factor: Annotated[
        float, typer.Option(help="How many times the bound the solver's errors are, if known.")
    ] = 1.0,
    trial: Annotated[
        int | None,
        typer.Option(min=5, help="Simulate this many measurements at the result, and mend it."),
    ] = None,
    seed: Seed = 0,
    settings: Set = None,
    config: Config = None,
    solver: SolverTarget = None,
    python: Python = None,
    out: Out = None,
    workers: Workers = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Dask scheduler whose workers run a trial, e.g. tcp://10.0.0.5:8786."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the settings that reach a precision at the least dose or time."""
    from echolith.validation.dask_cases import scheduler_at
    from echolith.validation.plan import Budget, Least, Plan
    from echolith.validation.plan import plan as planned
    from echolith.validation.plan_axes import parse_axes
    from echolith.validation.plan_limits import limits
    from echolith.validation.plan_page import write_plan
    from echolith.validation.plan_summary import plan_summary
    from echolith.validation.plan_text import plan_table
    from echolith.validation.plan_trial import planned_and_tried
    from echolith.validation.plan_work import TrialClock, trial_line, work_line

    chosen = resolve(scenario, settings, config, None)
    ranges, errors = parse_axes(over), numbers(target)
    allowed = Budget(**known_budget(budget or []))
    with (
        session(strict=False, workers=workers) as progress,
        TemporaryDirectory() as scratch,
        scheduler_at(scheduler),
    ):
        progress.announce("bounds")

        def say(line: str) -> None:
            typer.echo(line, err=True)

        def make(times: float) -> Plan:
            found = planned(
                chosen,
                over=ranges,
                target=errors,
                share=share,
                budget=allowed,
                least=Least(least.value),
                factor=times,
                seed=seed,
                store=(out or Path(scratch)) / "bounds",  # every round of a trial plans again
                announce=progress.update,
                tell=lambda work: say(work_line(work)),
            )
            if trial is not None and found.recommended is not None:
                there = found.scenario_at(found.recommended)
                kept = out is not None
                say(trial_line(there, cases=trial, budget=allowed, kept=kept, seed=seed))
            return found

        clock = TrialClock(announce=progress.announce, cases=trial or 0, budget=allowed, tell=say)
        if trial is None:
            found, tried = make(factor), None
        else:
            found, tried = planned_and_tried(
                make,
                factor=factor,
                seeds=range(seed, seed + trial),
                solver=None if solver is None else solver_process(solver, python, 600.0, None),
                store=out,
                announce=clock,
            )
        progress.announce("limits")
        summary = plan_summary(
            found, tried=tried, limits=limits(found), case_seconds=clock.case_seconds
        )
        written = None if out is None else write_plan(summary, out)
    if as_json:
        print_json(summary)
    else:
        typer.echo(plan_table(summary))
    if written is not None:
        say(f"plan: {written}")
    if found.recommended is None:
        raise typer.Exit(1)


def numbers(texts: list[str]) -> dict[str, float]:
    """Read ``name=value`` texts whose values are numbers.

    Raises
    ------
    BadInputError
        If a text is of another form.
    """
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise BadInputError(f"'{text}' is not name=number, e.g. spacing=0.002") from None
    return found


def known_budget(texts: list[str]) -> dict[str, float]:
    """Read the limits of a budget.

    Raises
    ------
    BadInputError
        If one has no name of ours.
    """
    from echolith.errors import near_match
    from echolith.validation.plan_budget import names

    found = numbers(texts)
    for name in found:
        if name not in names():
            raise BadInputError(f"unknown budget '{name}'; {near_match(name, names())}")
    return found
