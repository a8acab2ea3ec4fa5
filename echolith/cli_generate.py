"""The command ``generate``: labelled samples by the thousand."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echolith.cli_compare import resolve
from echolith.cli_options import Config, Json, ScenarioName, Seed, Set, Workers
from echolith.cli_session import print_json, session
from echolith.errors import BadInputError

if TYPE_CHECKING:
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
            "normal(mean, std) or [value, value]; repeatable."
        ),
    ] = None,
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
    from echolith.validation.priors import parse_priors

    place = Place(folder=out, blind=blind)
    if check:
        _check(place, as_json)
        return
    if n is None:
        raise BadInputError("how many samples? Give -n, e.g. -n 1000")
    wanted = Generation(
        scenario=resolve(scenario, settings, config, None),
        make=entry(scenario).make,
        vary=parse_priors(vary or []),
        n=n,
        seed=seed,
        shares=(validation, test),
        ladder=tuple(ladder or ()),
    )
    with session(strict=False, workers=workers) as progress:
        progress.announce("two samples, to tell what all will take")
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
