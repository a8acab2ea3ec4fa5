"""The nouns as protocols: any callable or object of this shape will do, nothing to inherit."""

from enum import Enum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr


class Forward(Protocol):
    """A deterministic simulator: specimen to the mean measurement (expected counts)."""

    def __call__(self, specimen: Any, /) -> xr.Dataset:
        """Return the expected counts, lazy where large."""
        ...


class Noise(Protocol):
    """A noise model on top of any mean."""

    def sample(self, mean: xr.Dataset, /, *, seed: int) -> xr.Dataset:
        """Draw one measurement; the same seed gives the same bits for one mean."""
        ...

    def information(
        self, mean: npt.NDArray[np.floating], jacobian: npt.NDArray[np.floating], /
    ) -> npt.NDArray[np.float64]:
        """Fisher information, shape (parameters, parameters).

        ``mean`` has shape (data,), ``jacobian`` (data, parameters) = d mean / d parameter.
        """
        ...


class Solver(Protocol):
    """An inverse: measurement to estimate. It never sees the specimen or the truth."""

    def __call__(self, measurement: xr.Dataset, /) -> xr.Dataset:
        """Return one variable per quantity, optionally ``<name>_std`` beside it."""
        ...


class Better(Enum):
    """Which way a metric improves."""

    LOWER = "lower"
    HIGHER = "higher"


class Metric(Protocol):
    """A score of an estimate against the truth."""

    @property
    def name(self) -> str:
        """Name as it appears in reports."""
        ...

    @property
    def unit(self) -> str:
        """Unit of the score; ``"1"`` where it has none."""
        ...

    @property
    def better(self) -> Better:
        """Which way is better."""
        ...

    def score(self, estimate: xr.Dataset, truth: xr.Dataset, /) -> float:
        """Return the score; argument order is always (estimate, truth)."""
        ...
