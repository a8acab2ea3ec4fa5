"""A solver of several stages, each from one dataset to the next, so that a long run can resume."""

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
