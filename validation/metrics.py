"""Scores of an estimate against the truth; the argument order is always (estimate, truth)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.protocols import Better
from echolith.validation.matching import match_columns

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class NamedMetric:
    """A metric from a plain function of (estimate, truth)."""

    name: str
    unit: str
    function: Callable[[xr.Dataset, xr.Dataset], float]
    better: Better = Better.LOWER

    def score(self, estimate: xr.Dataset, truth: xr.Dataset, /) -> float:
        """Return the score; NaN where the estimate lacks what is scored."""
        return float(self.function(estimate, truth))


def absolute_error(quantity: str, *, unit: str = "pm", scale: float = 100.0) -> NamedMetric:
    """|estimate - truth| of one scalar quantity, by default Å printed as pm.

    Parameters
    ----------
    quantity : str
        Variable name in both datasets.
    unit : str
        Unit of the score.
    scale : float
        Score units per dataset unit.
    """

    def error(estimate: xr.Dataset, truth: xr.Dataset) -> float:
        if quantity not in estimate:
            return float("nan")
        return scale * abs(float(estimate[quantity]) - float(truth[quantity]))

    return NamedMetric(name=f"{quantity}_error", unit=unit, function=error)


def root_mean_square(variable: str, *, unit: str = "1", scale: float = 1.0) -> NamedMetric:
    """Root-mean-square error over the values of an array that both know.

    Parameters
    ----------
    variable : str
        Name in both datasets.
    unit : str
        Unit of the score.
    scale : float
        Score units per dataset unit.
    """

    def error(estimate: xr.Dataset, truth: xr.Dataset) -> float:
        found = _errors(estimate, truth, variable)
        return scale * float(np.sqrt(np.mean(found**2))) if len(found) else float("nan")

    return NamedMetric(name=f"{variable}_rms", unit=unit, function=error)


def mean_error(variable: str) -> NamedMetric:
    """Size of the mean error over the values of an array that both know."""

    def error(estimate: xr.Dataset, truth: xr.Dataset) -> float:
        found = _errors(estimate, truth, variable)
        return float(abs(np.mean(found))) if len(found) else float("nan")

    return NamedMetric(name=f"{variable}_bias", unit="1", function=error)


def _errors(estimate: xr.Dataset, truth: xr.Dataset, variable: str) -> Floats:
    """Return the finite errors of an array, at the coordinates that both have."""
    if variable not in estimate:
        return np.empty(0)
    error = (estimate[variable] - truth[variable]).values
    return np.asarray(error[np.isfinite(error)], dtype=np.float64)


def column_rms(species: str) -> NamedMetric:
    """Root-mean-square position error per axis of the matched columns of one species, pm."""

    def rms(estimate: xr.Dataset, truth: xr.Dataset) -> float:
        match = match_columns(estimate, truth, species=species)
        if not len(match.estimate):
            return float("nan")
        dx = estimate["x"].values[match.estimate] - truth["x"].values[match.truth]
        dy = estimate["y"].values[match.estimate] - truth["y"].values[match.truth]
        return 100 * float(np.sqrt(np.mean((dx**2 + dy**2) / 2)))

    return NamedMetric(name=f"column_rms_{species.lower()}", unit="pm", function=rms)


def found_fraction(species: str) -> NamedMetric:
    """Share of the true columns of one species found with the right species, 0 to 1."""

    def found(estimate: xr.Dataset, truth: xr.Dataset) -> float:
        match = match_columns(estimate, truth, species=species)
        return len(match.truth) / match.expected if match.expected else float("nan")

    return NamedMetric(
        name=f"found_{species.lower()}", unit="1", function=found, better=Better.HIGHER
    )


def false_columns() -> NamedMetric:
    """Count columns of the estimate that no true column of any species explains."""

    def count(estimate: xr.Dataset, truth: xr.Dataset) -> float:
        return float(match_columns(estimate, truth).unmatched)

    return NamedMetric(name="false_columns", unit="1", function=count)
