"""The options that commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

ScenarioName = Annotated[str, typer.Argument(help="Name of a scenario; see 'echolith list'.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, nothing else.")]
Seed = Annotated[int, typer.Option(min=0, help="The one seed of the run.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a setting: name=value, e.g. beam.energy=80e3; repeatable."),
]
Config = Annotated[Path | None, typer.Option(help="YAML or JSON file of settings.")]
Structure = Annotated[
    Path | None, typer.Option(help="Crystal to use instead: CIF, POSCAR or extended XYZ.")
]
NoiseFree = Annotated[bool, typer.Option("--noise-free", help="Switch counting noise off.")]
Given = Annotated[
    list[str] | None,
    typer.Option(
        help="What the file of a recorded measurement lacks: name=value, e.g. delta=31.2 or "
        "step_time=12.5; repeatable."
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse what would only be warned of.")]
Out = Annotated[Path | None, typer.Option(help="Folder for results.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads; all processors by default.")]


class VaryOption(StrEnum):
    """What changes from seed to seed."""

    NOISE = "noise"
    SPECIMEN = "specimen"


class FormatOption(StrEnum):
    """Other kinds of file: powder patterns, frames and projections in NeXus, images, spectra."""

    XY = "xy"
    XYE = "xye"
    DAT = "dat"
    UXD = "uxd"
    NEXUS = "nxs"
    CXI = "cxi"
    TIFF = "tif"
    MRC = "mrc"
    XDI = "xdi"


FileFormat = Annotated[
    FormatOption | None,
    typer.Option("--format", help="Write the measurement in this format as well."),
]
SolverTarget = Annotated[
    str | None,
    typer.Option(
        "--solver",
        help="Solver to run instead of ours: package.module:function, file.py:function, or the "
        "name of an installed one. It runs in a process of its own.",
    ),
]
Python = Annotated[
    Path | None, typer.Option(help="Interpreter, or environment, that the solver runs in.")
]
TimeLimit = Annotated[float, typer.Option(help="Seconds the solver may take for one case.")]
MemoryLimit = Annotated[float | None, typer.Option(help="Gigabytes the solver may use.")]
