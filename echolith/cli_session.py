"""What a command does around its work: progress, warnings, output, exit codes."""

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from echolith.errors import BadInputWarning
from echolith.progress import Progress, show_progress


@contextmanager
def session(*, strict: bool, workers: int | None) -> Iterator[Progress]:
    """Progress on standard error, warnings as one line each (errors when strict), threads."""
    import dask

    from echolith.validation.solver_failure import SolverFailure

    def one_line(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, BadInputWarning):
            print(f"warning: {message}", file=sys.stderr)

    with warnings.catch_warnings(), dask.config.set(num_workers=workers):
        warnings.simplefilter("error" if strict else "always", BadInputWarning)
        warnings.showwarning = one_line
        try:
            with show_progress(sys.stderr) as progress:
                yield progress
        except SolverFailure as failure:
            print(f"the solver failed: {failure}", file=sys.stderr)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            print("interrupted; what was stored is kept", file=sys.stderr)
            raise typer.Exit(130) from None


def show(summary: dict[str, Any], *, as_json: bool) -> None:
    """Print a run for people, or for machines."""
    if as_json:
        print_json(summary)
        return
    from echolith.validation.tables import summary_table

    typer.echo(summary_table(summary))


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON object on standard output."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


def fail(message: str) -> NoReturn:
    """Print what is wrong with the input and leave with exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
