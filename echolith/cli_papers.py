"""The command ``papers``: what the settings of published measurements could have given."""

from typing import Annotated

import typer

from echolith.cli_options import Json, Out, Seed, Workers
from echolith.cli_session import print_json, session


def papers(
    name: Annotated[
        str | None, typer.Argument(help="Of one paper, e.g. song-2022; all of them by default.")
    ] = None,
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option(min=2, help="Cases for every condition.")] = 20,
    out: Out = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Set published errors beside the bound and the errors of simulated round trips."""
    from echolith.validation.paper_trial import papers_tried, seconds_needed
    from echolith.validation.papers import PAPERS, paper
    from echolith.validation.papers_page import papers_table, write_papers

    chosen = PAPERS if name is None else {name: paper(name)}
    with session(strict=False, workers=workers) as progress:
        minutes = seconds_needed(chosen, seeds) / 60
        progress.announce(f"about {minutes:.0f} min of one core where nothing is kept yet")
        content = papers_tried(
            chosen,
            seeds=range(seed, seed + seeds),
            store=None if out is None else out / "cases",
            announce=progress.announce,
        )
        written = None if out is None else write_papers(content, out)
    if as_json:
        print_json(content)
    else:
        typer.echo(papers_table(content))
    if written is not None:
        typer.echo(f"papers: {written}", err=True)
    failed = [c for p in content["papers"].values() for c in p["conditions"] if c["failures"]]
    if failed:
        raise typer.Exit(1)
