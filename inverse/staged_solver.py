"""Solvers that work in stages or in pieces, so that a long run can resume."""

from collections.abc import Callable
from dataclasses import dataclass

import xarray as xr

from echolith.forward.acquisition import Settings


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a chain.

    Attributes
    ----------
    name : str
        Told when it begins, and part of the name of its file.
    run : callable
        ``run(dataset) -> dataset``: what the next stage gets, so it passes on what is needed later.
    settings : tuple of Settings
        All that decides the result besides the data.
    """

    name: str
    run: Callable[[xr.Dataset], xr.Dataset]
    settings: tuple[Settings, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StagedSolver:
    """A `Solver` that is a chain of stages; `echolith.validation.stage_store` resumes it.

    Examples
    --------
    >>> double = Stage(name="double", run=lambda data: 2 * data)
    >>> int(StagedSolver(stages=(double, double))(xr.Dataset({"a": 3})).a)
    12
    """

    stages: tuple[Stage, ...]

    def __call__(self, measurement: xr.Dataset) -> xr.Dataset:
        """Return the outcome of the last stage."""
        for stage in self.stages:
            measurement = stage.run(measurement)
        return measurement


Keep = Callable[[str, Callable[[], xr.Dataset]], xr.Dataset]
"""``keep(name, make)``: what ``make`` returns, or what it returned in a run broken off."""


def kept_nowhere(_name: str, make: Callable[[], xr.Dataset]) -> xr.Dataset:
    """Make a piece."""
    return make()


@dataclass(frozen=True, kw_only=True)
class PiecewiseSolver:
    """A `Solver` that makes its result in pieces, each from the whole measurement.

    Unlike stages the pieces need not pass the measurement on, so that it may be larger than memory;
    `echolith.validation.stage_store` keeps them.

    Attributes
    ----------
    run : callable
        ``run(measurement, keep) -> estimate``; every piece of it goes through `Keep` by a name of
        its own.
    settings : tuple of Settings
        All that decides the result besides the data.

    Examples
    --------
    >>> def run(data, keep):
    ...     return keep("double", lambda: 2 * data)
    >>> int(PiecewiseSolver(run=run)(xr.Dataset({"a": 3})).a)
    6
    """

    run: Callable[[xr.Dataset, Keep], xr.Dataset]
    settings: tuple[Settings, ...] = ()

    def __call__(self, measurement: xr.Dataset) -> xr.Dataset:
        """Return the estimate, keeping nothing."""
        return self.run(measurement, kept_nowhere)
