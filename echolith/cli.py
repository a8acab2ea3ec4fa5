"""The command line: what a user types.

Exit codes: 0 done, 1 the run finished but a case failed, 2 bad input, 130 interrupted. With
``--json`` one object goes to standard output and nothing else does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echolith import __version__
from echolith.cli_compare import compare, leaderboard, resolve, solver_process
from echolith.cli_demo_data import demo_data
from echolith.cli_generate import generate
from echolith.cli_options import (
    Config,
    FileFormat,
    Given,
    Json,
    MemoryLimit,
    NoiseFree,
    Out,
    Python,
    ScenarioName,
    Seed,
    Set,
    SolverTarget,
    Strict,
    Structure,
    TimeLimit,
    VaryOption,
    Workers,
)
from echolith.cli_papers import papers
from echolith.cli_plan import plan
from echolith.cli_planner import planner
from echolith.cli_session import fail, print_json, session, show
from echolith.errors import BadInputError, BadInputWarning
from echolith.progress import Progress

if TYPE_CHECKING:
    from echolith.protocols import Solver
    from echolith.validation.report import ReportContent
    from echolith.validation.round_trip import RoundTrip
    from echolith.validation.run import Run
    from echolith.validation.scenario import Scenario
    from echolith.validation.statistics import Residuals

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Known truth in, measurement out, truth back, and the distance between the two.",
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"echolith {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command("list")
def list_scenarios(as_json: Json = False) -> None:
    """List the scenarios."""
    from echolith.validation.catalogue import scenarios

    with session(strict=False, workers=None):
        summaries = {name: entry.summary for name, entry in scenarios().items()}
    if as_json:
        print_json({"scenarios": summaries})
        return
    width = max(map(len, summaries))
    for name, summary in summaries.items():
        typer.echo(f"{name:{width}}  {summary}")


@app.command()
def describe(
    scenario: ScenarioName,
    as_json: Json = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema.")] = False,
) -> None:
    """Show the settings of a scenario: names, units, defaults."""
    from echolith.validation.catalogue import entry
    from echolith.validation.describe import describe_settings

    chosen = entry(scenario)
    if schema:
        print_json(chosen.settings.model_json_schema())
        return
    rows = describe_settings(chosen.settings)
    if as_json:
        print_json({"scenario": scenario, "summary": chosen.summary, "settings": rows})
        return
    typer.echo(chosen.summary)
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        choices = f"  one of {', '.join(row['choices'])}" if row["choices"] else ""
        typer.echo(f"  {row['name']:<{width}}  {row['default']} {row['unit'] or ''}{choices}")


@app.command()
def run(
    scenario: Annotated[
        str | None, typer.Argument(help="Name of a scenario; li-rich-oxide, or that of the plan.")
    ] = None,
    seed: Seed = 0,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Run this many seeds and print statistics.")
    ] = None,
    vary: Annotated[
        VaryOption, typer.Option(help="What changes with the seed.")
    ] = VaryOption.NOISE,
    settings: Set = None,
    config: Config = None,
    structure: Structure = None,
    plan: Annotated[
        Path | None, typer.Option(help="Take the settings that this plan.json recommends.")
    ] = None,
    measurement: Annotated[
        Path | None, typer.Option(help="Invert this recorded measurement instead of simulating.")
    ] = None,
    given: Given = None,
    solver: SolverTarget = None,
    python: Python = None,
    time_limit: TimeLimit = 600.0,
    memory_limit: MemoryLimit = None,
    noise_free: NoiseFree = False,
    out: Out = None,
    workers: Workers = None,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Simulate, invert and score; or invert a recorded measurement."""
    chosen = _asked_for(scenario, plan, settings, config, structure)
    foreign = _solver(solver, python, time_limit, memory_limit)
    result: Run | None
    residuals = None
    keep = out / "stages" if out is not None else None
    with session(strict=strict, workers=workers) as progress:
        if measurement is not None:
            result = _invert(chosen, measurement, given, foreign, progress, keep=keep)
            summary, failed = result.summary, False
        elif seeds is not None:
            outcome = _run_seeds(
                chosen, range(seed, seed + seeds), foreign, vary, noise_free, out, progress
            )
            summary, result, failed = outcome.summary, outcome.first, bool(outcome.failures)
            residuals = outcome.residuals()
        else:
            from echolith.validation.run import run_once

            result = run_once(
                chosen,
                seed=seed,
                solver=foreign,
                noise_free=noise_free,
                keep=keep,
                announce=progress.announce,
            )
            summary, failed = result.summary, False
        written = None
        if out is not None and result is not None:
            from echolith.validation.report import write_report

            progress.announce("report")
            written = write_report(_content(chosen, result, summary, residuals), out)
    show(summary, as_json=as_json)
    if written is not None:
        typer.echo(f"report: {written}", err=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def bound(
    scenario: ScenarioName,
    seed: Seed = 0,
    unknown: Annotated[
        list[str] | None,
        typer.Option(help="Unknown parameters, e.g. '*.x'; all by default; repeatable."),
    ] = None,
    settings: Set = None,
    config: Config = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Print the Cramér-Rao bound: the smallest spread any unbiased solver can reach."""
    from echolith.validation.bounds import bound_summary
    from echolith.validation.tables import bound_table

    chosen = resolve(scenario, settings, config, None)
    with session(strict=False, workers=workers) as progress:
        progress.announce("bound")
        content = bound_summary(chosen, parameters=unknown, seed=seed)
    if as_json:
        print_json(content)
    else:
        typer.echo(bound_table(content))


@app.command()
def export(
    scenario: ScenarioName,
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    seed: Seed = 0,
    settings: Set = None,
    config: Config = None,
    structure: Structure = None,
    noise_free: NoiseFree = False,
    file_format: FileFormat = None,
    workers: Workers = None,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Write one simulated case: measurement.h5, truth.h5 (linked by hash), specimen, settings."""
    from echolith.validation.export import export_case

    chosen = resolve(scenario, settings, config, structure)
    with session(strict=strict, workers=workers) as progress:
        files = export_case(
            chosen,
            out,
            seed=seed,
            noise_free=noise_free,
            other=out / f"measurement.{file_format.value}" if file_format else None,
            progress=progress.update,
            announce=progress.announce,
        )
    names = {kind: str(path) for kind, path in files.items()}
    if as_json:
        print_json({"scenario": scenario, "seed": seed, "files": names})
        return
    for kind, name in names.items():
        typer.echo(f"{kind}: {name}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("out/demo"),
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Run the main job end to end and write a report to look at."""
    from echolith.validation.figures import hero_figure
    from echolith.validation.report import save_png, write_report
    from echolith.validation.run import run_once

    chosen = resolve("li-rich-oxide", None, None, None)
    with session(strict=False, workers=workers) as progress:
        result = run_once(chosen, seed=7, announce=progress.announce)
        progress.announce("report")
        content = _content(chosen, result, result.summary)
        written = write_report(content, out)
        picture = hero_figure(content)
        if picture is not None:
            save_png(picture, out / "demo.png")
    show(result.summary, as_json=as_json)
    typer.echo(f"report: {written}", err=True)


app.command()(compare)
app.command()(leaderboard)
app.command()(plan)
app.command()(papers)
app.command()(planner)
app.command()(generate)
app.command()(demo_data)


def _asked_for(
    name: str | None,
    plan: Path | None,
    settings: list[str] | None,
    config: Path | None,
    structure: Path | None,
) -> "Scenario":
    if plan is None:
        return resolve(name or "li-rich-oxide", settings, config, structure)
    from echolith.validation.plan_summary import planned_settings

    planned, base = planned_settings(plan)
    if name not in (None, planned):
        raise BadInputError(f"{plan} is a plan for '{planned}', not for '{name}'")
    return resolve(planned, settings, config, structure, base=base)


def _solver(
    target: str | None, python: Path | None, time_limit: float, memory_limit: float | None
) -> "Solver | None":
    if target is None:
        if python is not None:
            raise BadInputError("--python without --solver: name the solver to run there")
        return None
    return solver_process(target, python, time_limit, memory_limit)


def _invert(
    chosen: "Scenario",
    path: Path,
    given: list[str] | None,
    solver: "Solver | None",
    progress: Progress,
    *,
    keep: Path | None,
) -> "Run":
    from echolith.forward.importers import read_measurement
    from echolith.validation.recorded_images import with_kind
    from echolith.validation.run import invert
    from echolith.validation.settings import parse_assignments

    overrides = with_kind(parse_assignments(given or []), scenario=chosen.name, path=path)
    recorded = read_measurement(path, dose=overrides.pop("dose", None), overrides=overrides)
    return invert(chosen, recorded, solver=solver, keep=keep, announce=progress.announce)


def _run_seeds(
    chosen: "Scenario",
    seeds: range,
    solver: "Solver | None",
    vary: VaryOption,
    noise_free: bool,
    out: Path | None,
    progress: Progress,
) -> "RoundTrip":
    from echolith.validation.round_trip import Vary, round_trip

    return round_trip(
        chosen,
        seeds=seeds,
        solver=solver,
        vary=Vary(vary.value),
        noise_free=noise_free,
        store=out / "cases" if out is not None else None,
        announce=progress.announce,
    )


def _content(
    chosen: "Scenario",
    result: "Run",
    summary: dict[str, Any],
    residuals: "Mapping[str, Residuals] | None" = None,
) -> "ReportContent":
    from echolith.validation.report import ReportContent

    if residuals is None and result.truth is not None:
        aligned = chosen.gauge(result.estimate, result.truth)
        residuals = chosen.residuals(aligned, result.truth)
    return ReportContent(
        title=f"{chosen.name}: round trip",
        scenario=chosen.name,
        settings=summary["settings"],
        summary=summary,
        measurement=result.measurement,
        estimate=result.estimate,
        truth=result.truth,
        notes=list(chosen.notes),
        residuals=residuals,
    )


def main() -> None:
    """Run the command line; every expected failure is one message and an exit code."""
    try:
        app()
    except (BadInputError, BadInputWarning) as error:
        fail(str(error))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        fail(f"{error.strerror or error}{where}; check the path, the rights and the space left")
