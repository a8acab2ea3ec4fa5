"""What is to be generated, and one sample of it: settings from their priors, simulated, with truth.

Sample ``i`` of a seed is the same whatever else is generated, on whatever machine.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import xarray as xr
from pydantic import BaseModel

from echolith.errors import BadInputError
from echolith.forward.noise import thin
from echolith.sample_options import WIDTH, Target
from echolith.seeds import sequence, stream
from echolith.validation.mismatch import MISMATCH, as_told, blurred, deviating
from echolith.validation.priors import Pair, Prior, drawn_together, joint_law
from echolith.validation.scenario import Sample, Scenario
from echolith.validation.settings import resolve, setting_value, with_values
from echolith.validation.targets import check_targets, check_width, with_targets

SETTING = "setting."
"""Begins the name of a drawn setting in the truth."""
IN_MEMORY = 1 << 28
"""Bytes of a measurement up to which it is held in memory; a larger one stays lazy."""
TRIED = 64
"""Samples whose settings are drawn before anything is simulated."""


class Split(StrEnum):
    """What a sample is for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What is to be generated.

    Attributes
    ----------
    scenario : Scenario
        Its settings hold where no prior does.
    make : callable
        ``make(settings) -> Scenario``.
    vary : mapping of str to Prior
        Priors of settings, by dotted name.
    n : int
        Samples.
    seed : int
    correlated : callable, optional
        ``correlated(generator) -> {dotted name: value}``: settings that are drawn together.
    shares : (float, float)
        Of samples for validation and for the test; the rest is for training.
    correlations : mapping of (str, str) to float
        Rank correlations of settings that have priors.
    untold : mapping of str to Prior
        Priors of how far settings deviate from what the measurement tells, by dotted name.
    targets : tuple of Target
        Drawn into the truth where it does not hold them.
    width : float
        Standard deviation of spots in heat maps, Å.
    ladder : tuple of float
        Shares of the dose, e.g. ``(1.0, 0.3, 0.1)``: every sample holds the same counts thinned to
        each of them, along the dimension ``dose_share``. Empty: none.
    """

    scenario: Scenario
    make: Callable[[Any], Scenario]
    vary: Mapping[str, Prior]
    n: int
    seed: int = 0
    correlated: Callable[[np.random.Generator], Mapping[str, Any]] | None = None
    correlations: Mapping[Pair, float] = field(default_factory=dict)
    untold: Mapping[str, Prior] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    width: float = WIDTH
    shares: tuple[float, float] = (0.1, 0.1)
    ladder: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be generated."""
        if self.n < 1:
            raise BadInputError(f"n = {self.n}; expected at least one sample")
        if min(self.shares) < 0 or sum(self.shares) >= 1:
            raise BadInputError(
                f"shares {self.shares} of validation and test; expected 0 or more, and less than 1 "
                "in all, so that samples are left to train on"
            )
        if self.ladder and not all(0 < share <= 1 for share in self.ladder):
            raise BadInputError(f"dose ladder {self.ladder}; expected shares above 0, at most 1")
        if self.ladder and not getattr(self.scenario.noise, "scales_with_dose", False):
            raise BadInputError(
                f"the noise of '{self.scenario.name}' does not scale with the dose: its counts "
                "cannot be thinned; give the dose a prior instead of a ladder"
            )
        check_width(self.width)
        plain = self.scenario.settings.model_dump()
        for name in self.vary:
            setting_value(plain, name)
        deviating(plain, dict.fromkeys(self.untold, 0.0))
        joint_law(self.vary, self.correlations)

    def samples(self, split: Split) -> range:
        """Return the samples of a split; all are independent, so their order decides."""
        tested, validated = (round(self.n * share) for share in reversed(self.shares))
        ends = (0, self.n - tested - validated, self.n - tested, self.n)
        at = list(Split).index(split)
        return range(ends[at], ends[at + 1])

    def drawn(self, index: int) -> dict[str, Any]:
        """Return the settings of a sample that have a prior."""
        together = {name for pair in self.correlations for name in pair}
        found = {
            name: prior.draw(stream(self.seed, "prior", name, index))
            for name, prior in self.vary.items()
            if name not in together
        }
        if together:
            rng = stream(self.seed, "correlated settings", index)
            found |= drawn_together(self.vary, self.correlations, rng)
        if self.correlated is not None:
            found |= self._together(stream(self.seed, "correlated priors", index))
        return found

    def _together(self, generator: np.random.Generator) -> dict[str, Any]:
        """Return what the function of others draws; its faults are told as its."""
        assert self.correlated is not None
        try:
            return dict(self.correlated(generator))
        except Exception as error:
            raise BadInputError(
                f"the function that draws settings together failed: {type(error).__name__}: "
                f"{error}; expected a mapping of dotted names to values"
            ) from error

    def deviations(self, index: int) -> dict[str, Any]:
        """Return how far the settings of a sample are from what its measurement tells."""
        return {
            name: prior.draw(stream(self.seed, "untold", name, index))
            for name, prior in self.untold.items()
        }

    def scenario_of(self, drawn: Mapping[str, Any]) -> Scenario:
        """Return the scenario with some settings drawn.

        Raises
        ------
        BadInputError
            If they are implausible or do not fit together.
        """
        plain = with_values(self.scenario.settings.model_dump(), drawn)
        return self.make(resolve(type(self.scenario.settings), plain))

    def cases(self, index: int) -> tuple[Scenario, Scenario]:
        """Return the scenario that a sample tells, and the one that is simulated.

        Raises
        ------
        BadInputError
            As `scenario_of`.
        """
        drawn = self.drawn(index)
        told = self.scenario_of(drawn)
        if not self.untold:
            return told, told
        off = deviating(told.settings.model_dump(), self.deviations(index))
        return told, self.scenario_of(drawn | off)

    def check_priors(self) -> None:
        """Refuse what the scenario does not take or give, before samples are simulated.

        Raises
        ------
        BadInputError
            With the prior, and the value it must not draw; or the targets that there are.
        """
        plain = self.scenario.settings.model_dump()
        extremes = [
            (name, prior, value, {name: value})
            for name, prior in self.vary.items()
            for value in prior.extremes
        ] + [
            (name, prior, value, deviating(plain, {name: value}))
            for name, prior in self.untold.items()
            for value in prior.extremes
        ]
        for name, prior, value, settings in extremes:
            try:
                resolve(type(self.scenario.settings), with_values(plain, settings))
            except BadInputError as error:
                raise BadInputError(f"the prior {name} = {prior} draws {value}: {error}") from error
        refused = 0
        tried = range(min(self.n, TRIED))
        for index in tried:
            try:
                self.cases(index)
            except BadInputError as error:
                refused, last = refused + 1, error
        if refused == len(tried):
            raise BadInputError(f"the priors draw nothing that can be measured, e.g. {last}")
        check_targets(self.scenario, self.targets, width=self.width)


@dataclass(frozen=True, kw_only=True)
class Made:
    """One sample.

    Attributes
    ----------
    index, seed : int
    measurement, truth : xarray.Dataset
        In memory, but for a measurement beyond `IN_MEMORY`; the truth holds the drawn settings too
        (``setting.<name>``), how far others are off (``mismatch.<name>``), and what is drawn for
        training (``target.<name>``).
    """

    index: int
    seed: int
    measurement: xr.Dataset
    truth: xr.Dataset


def sample(generation: Generation, index: int) -> Made:
    """Simulate one sample.

    Raises
    ------
    BadInputError
        If its settings do not fit together, or it cannot be simulated.
    """
    seed = int(sequence(generation.seed, "sample", index).generate_state(1)[0])
    told, simulated = generation.cases(index)
    deviations = generation.deviations(index)
    case, measured = _simulated(told, simulated, deviations, seed)
    truth = with_targets(simulated, case, generation.targets, width=generation.width).compute()
    drawn = _plain(told.settings, generation.drawn(index))
    if generation.ladder:
        measured = _ladder(measured, generation.ladder, seed)
    return Made(
        index=index,
        seed=seed,
        measurement=measured,
        truth=truth.assign(
            {SETTING + name: value for name, value in drawn.items()}
            | {MISMATCH + name: value for name, value in deviations.items()}
        ),
    )


def _simulated(
    told: Scenario, simulated: Scenario, deviations: Mapping[str, float], seed: int
) -> tuple[Sample, xr.Dataset]:
    """Return a case as it is simulated, and its measurement, that tells nothing of deviations."""
    specimen = simulated.build(seed)
    mean = simulated.forward(specimen)
    if deviations:
        mean = blurred(mean, deviations)
    counts = simulated.noise.sample(mean, seed=seed)
    if counts.nbytes <= IN_MEMORY:
        counts = counts.compute()
    case = Sample(specimen, counts, simulated.truth(specimen))
    return case, as_told(counts, told.forward(told.build(seed))) if deviations else counts


def _ladder(measured: xr.Dataset, shares: tuple[float, ...], seed: int) -> xr.Dataset:
    if measured.chunks:
        raise BadInputError(
            f"a measurement of {measured.nbytes / 1e9:.3g} GB is written block by block, which a "
            "dose ladder does not allow; give the dose a prior instead of a ladder"
        )
    rungs = [thin(measured, fraction=share, seed=seed) for share in shares]
    counted = [name for name, v in measured.data_vars.items() if v.dtype.kind in "iu"]
    stacked = xr.concat([rung[counted] for rung in rungs], xr.Variable("dose_share", list(shares)))
    return measured.assign({name: stacked[name] for name in counted})


def _plain(settings: BaseModel, names: Iterable[str]) -> dict[str, int | float | str]:
    """Return the values of settings as a file holds them."""
    plain = settings.model_dump(mode="json")
    values = {name: setting_value(plain, name) for name in names}
    return {n: v if isinstance(v, int | float | str) else json.dumps(v) for n, v in values.items()}
