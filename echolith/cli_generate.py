"""The command ``generate``: labelled samples by the thousand."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echolith.cli_compare import resolve
from echolith.cli_options import Config, Json, ScenarioName, Seed, Set, Workers
from echolith.cli_session import print_json, session
from echolith.errors import BadInputError
from echolith.sample_options import WIDTH, Mismatch, Target

if TYPE_CHECKING:
    import numpy as np

    from echolith.validation.generation_estimate import Estimate
    from echolith.validation.generation_files import Place


def generate(
    scenario: ScenarioName,
    out: Annotated[Path, typer.Option(help="Folder for the samples; empty, or one to go on in.")],
    n: Annotated[int | None, typer.Option("-n", "--samples", help="How many samples.")] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="Prior of a setting: name=uniform(low, high), log_uniform(low, high), "
            "integers(low, high), normal(mean, std) or [value, value]; repeatable."
        ),
    ] = None,
    correlation: Annotated[
        list[str] | None,
        typer.Option(help="Rank correlation of two priors, name,name=0.7; repeatable."),
    ] = None,
    correlated: Annotated[
        str | None,
        typer.Option(
            help="Function that draws settings together, package.module:function or "
            "file.py:function: random generator in, values by dotted name out."
        ),
    ] = None,
    mismatch: Annotated[
        Mismatch | None,
        typer.Option(help="Simulate other settings than the measurement tells, by so much."),
    ] = None,
    untold: Annotated[
        list[str] | None,
        typer.Option(
            help="Prior of how far a setting is from what the measurement tells, as --vary; goes "
            "before --mismatch; repeatable."
        ),
    ] = None,
    target: Annotated[
        list[Target] | None,
        typer.Option(help="To be drawn into the truth for training; repeatable."),
    ] = None,
    heat_map_width: Annotated[
        float, typer.Option(help="Standard deviation of spots in heat maps, Å.")
    ] = WIDTH,
    validation: Annotated[float, typer.Option(help="Share of samples for validation.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of samples for the test.")] = 0.1,
    ladder: Annotated[
        list[float] | None,
        typer.Option(help="A share of the dose that every sample is thinned to; repeatable."),
    ] = None,
    blind: Annotated[
        Path | None, typer.Option(help="Folder for the truth of the test, the seed and the priors.")
    ] = None,
    scheduler: Annotated[
        str, typer.Option(help="processes, threads, or the address of a Dask scheduler: tcp://…")
    ] = "processes",
    check: Annotated[
        bool, typer.Option("--check", help="Only verify the samples that are there.")
    ] = False,
    estimate_only: Annotated[
        bool, typer.Option("--estimate", help="Only tell what it would take.")
    ] = False,
    seed: Seed = 0,
    settings: Set = None,
    config: Config = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Generate labelled samples of a scenario: measurements, and apart from them their truth."""
    from echolith.processors import processors
    from echolith.validation.catalogue import entry
    from echolith.validation.generation import Generation
    from echolith.validation.generation_engine import generate as generated
    from echolith.validation.generation_estimate import estimate
    from echolith.validation.generation_files import Place
    from echolith.validation.mismatch import mismatch as tier
    from echolith.validation.priors import parse_correlations, parse_priors

    place = Place(folder=out, blind=blind)
    if check:
        _check(place, as_json)
        return
    if n is None:
        raise BadInputError("how many samples? Give -n, e.g. -n 1000")
    chosen = resolve(scenario, settings, config, None)
    usual = tier(chosen, mismatch) if mismatch is not None else {}
    wanted = Generation(
        scenario=chosen,
        make=entry(scenario).make,
        vary=parse_priors(vary or []),
        correlations=parse_correlations(correlation or []),
        correlated=None if correlated is None else _function(correlated),
        untold=usual | parse_priors(untold or []),
        targets=tuple(target or ()),
        width=heat_map_width,
        n=n,
        seed=seed,
        shares=(validation, test),
        ladder=tuple(ladder or ()),
    )
    with session(strict=False, workers=workers) as progress:
        progress.announce("some samples, to tell what all will take")
        if estimate_only:
            wanted.check_priors()
            found = estimate(wanted, workers=workers or processors())
        else:

            def tell(found: "Estimate") -> None:
                typer.echo(found.told(), err=True)
                progress.announce("samples")

            manifest = generated(
                wanted,
                place,
                scheduler=scheduler,
                workers=workers,
                tell=tell,
                progress=progress.update,
            )
    if estimate_only:
        if as_json:
            print_json(found.summary())
        else:
            typer.echo(found.told())
        return
    if as_json:
        print_json(manifest)
    else:
        typer.echo(f"{len(manifest['rows'])} samples in {out}")
        for index, why in manifest["failures"].items():
            typer.echo(f"left out: sample {index}: {why}", err=True)
    if manifest["failures"]:
        raise typer.Exit(1)


def _function(name: str) -> Callable[["np.random.Generator"], Mapping[str, Any]]:
    from echolith.validation.solver_target import TargetError, load_target

    if ":" not in name:
        raise BadInputError(
            f"--correlated {name}; expected package.module:function or file.py:function"
        )
    try:
        return load_target(name)
    except TargetError as error:
        raise BadInputError(f"--correlated {name}: {error}") from error


def _check(place: "Place", as_json: bool) -> None:
    from echolith.validation.generation_files import check_shards

    with session(strict=False, workers=None) as progress:
        progress.announce("check")
        wrong = check_shards(place, progress=progress.update)
    if as_json:
        print_json({"folder": str(place.folder), "damaged": wrong})
    else:
        typer.echo("\n".join(wrong) if wrong else f"{place.folder}: every shard is undamaged")
    if wrong:
        raise typer.Exit(1)
