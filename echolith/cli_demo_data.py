"""The command ``demo-data``: small ready sets for teaching."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echolith.cli_options import Json
from echolith.cli_session import print_json, session

if TYPE_CHECKING:
    from echolith.validation.demo_data import Kept


def demo_data(
    name: Annotated[str | None, typer.Argument(help="Which set; without it, list them.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to keep it in; your cache by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a small ready set for teaching, or say where it lies; without a name, list the sets."""
    from echolith.validation.demo_data import keep_demo

    if name is None:
        _list(as_json)
        return
    start = time.monotonic()
    with session(strict=False, workers=None) as progress:
        kept = keep_demo(name, folder=out, progress=progress.update, announce=progress.announce)
    if as_json:
        print_json(_summary(name, kept))
        return
    how = f"made in {time.monotonic() - start:.1f} s" if kept.made else "there already"
    typer.echo(f"{kept.folder}: {how}\n\n{_snippet(name, kept, out)}")


def _list(as_json: bool) -> None:
    from echolith.validation.demo_sets import DEMO_SETS

    if as_json:
        sets = {
            name: {"shows": one.shows, "megabytes": one.megabytes, "seconds": one.seconds}
            for name, one in DEMO_SETS.items()
        }
        print_json({"sets": sets})
        return
    width = max(map(len, DEMO_SETS))
    for name, one in DEMO_SETS.items():
        typer.echo(f"{name:{width}}  {one.megabytes:4g} MB  {one.seconds:2g} s  {one.shows}")


def _summary(name: str, kept: "Kept") -> dict[str, Any]:
    return {
        "name": name,
        "folder": str(kept.folder),
        "measurement": str(kept.measurement),
        "truth": str(kept.truth),
        "made": kept.made,
    }


def _snippet(name: str, kept: "Kept", out: Path | None) -> str:
    where = f'"{name}"' if out is None else f'"{name}", folder={str(out)!r}'
    return (
        "import echolith as el\n"
        f"measurement, truth = el.demo_data({where})\n\n"
        f"echolith run {name} --measurement {kept.measurement}"
    )
