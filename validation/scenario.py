"""A scenario ties the nouns: specimen, truth, forward, noise, solver, gauge and metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import xarray as xr

from echolith.forward.acquisition import Settings
from echolith.protocols import Forward, Metric, Noise, Solver
from echolith.validation.diagnosis import Finding
from echolith.validation.exposure import Exposure
from echolith.validation.information import Information
from echolith.validation.residuals import array_residuals
from echolith.validation.statistics import Residuals


class Sample(NamedTuple):
    """One simulated case."""

    specimen: Any
    measurement: xr.Dataset
    truth: xr.Dataset


class Score(NamedTuple):
    """The value of one metric and its unit."""

    value: float
    unit: str


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Known truth in, measurement out, truth back.

    Attributes
    ----------
    name : str
        As typed on the command line.
    settings : Settings
        Fully resolved; goes into every output.
    build : callable
        ``build(seed) -> specimen``.
    truth : callable
        ``truth(specimen) -> Dataset``, the same variable names as the estimate.
    forward : Forward
        ``forward(specimen) -> Dataset``: expected counts, deterministic.
    noise : Noise
        Counting statistics on top of the mean.
    solver : Solver
        The reference solver: measurement to estimate.
    gauge : callable
        ``gauge(estimate, truth) -> estimate``: what the physics leaves free, taken out.
    metrics : tuple of Metric
    quantities : tuple of str
        The scalar variables reported with truth, estimate and uncertainty.
    notes : tuple of str
        Said in every report: how the solver's model differs from the generating one.
    information : callable, optional
        ``information(specimen) -> Information``: what the measurement tells about the specimen's
        parameters, for `cramer_rao`.
    diagnose : callable, optional
        ``diagnose(estimate, truth) -> findings``: what is wrong as a whole, in words.
    residuals : callable
        ``residuals(estimate, truth) -> {kind: Residuals}``: errors value by value with their
        reported standard deviations, for pulls and single values; by default every array that
        estimate and truth share.
    exposure : Exposure, optional
        What the measurement takes, for plans by dose and time.
    """

    name: str
    settings: Settings
    build: Callable[[int], Any]
    truth: Callable[[Any], xr.Dataset]
    forward: Forward
    noise: Noise
    solver: Solver
    gauge: Callable[[xr.Dataset, xr.Dataset], xr.Dataset]
    metrics: tuple[Metric, ...]
    quantities: tuple[str, ...]
    notes: tuple[str, ...] = ()
    information: Callable[[Any], Information] | None = None
    diagnose: Callable[[xr.Dataset, xr.Dataset], list[Finding]] | None = None
    residuals: Callable[[xr.Dataset, xr.Dataset], dict[str, Residuals]] = array_residuals
    exposure: Exposure | None = None

    def simulate(self, *, seed: int, noise_free: bool = False) -> Sample:
        """Simulate one case in memory.

        Parameters
        ----------
        seed : int
            The one seed; specimen and counts draw from its named streams.
        noise_free : bool
            Return the expected counts instead of a draw.

        Returns
        -------
        Sample
            ``(specimen, measurement, truth)``.
        """
        specimen = self.build(seed)
        mean = self.forward(specimen)
        measurement = mean if noise_free else self.noise.sample(mean, seed=seed)
        return Sample(specimen, measurement.compute(), self.truth(specimen))

    def score(self, estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Score]:
        """Return every metric of an estimate after the gauge is taken out."""
        aligned = self.gauge(estimate, truth)
        return {m.name: Score(m.score(aligned, truth), m.unit) for m in self.metrics}
