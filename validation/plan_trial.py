"""Whether a solver keeps what a plan promises: round trips at and around what it recommends.

A solver stays behind the bound by a factor nobody knows beforehand. It is read from the errors of
the same simulated measurements at several doses, the plan is made again with it, and the share of
cases that keep to the target is counted where the plan then stands.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from echolith.errors import BadInputError
from echolith.protocols import Solver
from echolith.validation.dose_ladder import Case, DoseLadder, run_ladder
from echolith.validation.plan import Plan, PlanPoint
from echolith.validation.plan_target import Target, case_error, share_interval
from echolith.validation.scenario import Scenario
from echolith.validation.settings import setting_value

Array = npt.NDArray[np.float64]

ROUNDS = 4
AROUND = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Doses of a trial, as parts of the recommended one."""
CONFIDENCE = 0.8
"""With which the share of measurements that is promised is kept or exceeded."""
REACH = 4.0
"""A dose needed is not sought beyond so many times the doses tried."""
SETTLED = 0.02
"""Change of the factor that is none: a twentieth of the dose."""


@dataclass(frozen=True, kw_only=True)
class DoseTried:
    """Cases at one dose."""

    dose: float
    kept: int
    """That keep to the target."""
    excess: float
    """Error by the target that the promised share keeps to; infinite: too few found anything."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Cases run at the settings of a point.

    Attributes
    ----------
    kept, cases : int
        Cases that keep to the target, of how many; a case whose solver failed does not.
    share : (float, float)
        95 % interval of their share.
    confidence : float
        That the share is the promised one or more: ``P(k < kept)`` of a binomial distribution.
    factor : float
        By how much the errors exceed the bound where they just meet the target.
    doses : tuple of DoseTried
        Rising, of the same simulated measurements; one where counts are not proportional to a dose.
    """

    kept: int
    cases: int
    share: tuple[float, float]
    confidence: float
    factor: float
    doses: tuple[DoseTried, ...]


@dataclass(frozen=True, kw_only=True)
class _Around:
    """What is tried around a point, its cases by the value of a setting; more are added to them."""

    setting: str
    """To which counts are proportional; empty: there is none, the point stands for itself."""
    base: tuple[float, Scenario]
    top: float
    cases: dict[float, dict[int, Case | str]] = field(default_factory=dict)

    def holds(self, value: float) -> bool:
        """Whether the cases of a value are known, or counts can be thinned to it."""
        return value in self.cases or (bool(self.setting) and value <= self.top)


def planned_and_tried(
    make_plan: Callable[[float], Plan],
    *,
    seeds: range,
    factor: float = 1.0,
    solver: Solver | None = None,
    store: Path | None = None,
    announce: Callable[[str], None] = lambda _name: None,
) -> tuple[Plan, Trial | None]:
    """Plan, try, and plan again with the factor that was found, until it stays.

    Parameters
    ----------
    make_plan : callable
        ``make_plan(factor) -> Plan``.
    seeds : range
        Each a specimen and counts of its own, the same at every dose.
    factor : float
        To begin with.
    solver : callable, optional
        The scenario's own by default.
    store : Path, optional
        Folder for means and finished cases, so that a trial broken off goes on where it was.
    announce : callable

    Returns
    -------
    (Plan, Trial or None)
        The last plan, and the cases run at its recommendation; None where it recommends nothing.

    Raises
    ------
    BadInputError
        If every case fails.
    """
    known: dict[str, _Around] = {}
    for turn in range(ROUNDS):
        found = make_plan(factor)
        if found.recommended is None:
            return found, None
        announce(f"trial {turn + 1}")
        tried = _trial(
            found,
            found.recommended,
            known,
            seeds=seeds,
            solver=solver,
            store=store,
            announce=announce,
        )
        if abs(tried.factor / factor - 1) <= SETTLED:
            break
        factor = tried.factor
    return found, tried


def _trial(
    found: Plan,
    point: PlanPoint,
    known: dict[str, _Around],
    *,
    seeds: range,
    solver: Solver | None,
    store: Path | None,
    announce: Callable[[str], None],
) -> Trial:
    """Run cases at a point and, where counts can be thinned, around it."""
    setting, value = _dose_setting(found, point), 1.0
    if setting:  # what is simulated knows no damage: fewer counts of a fresh specimen stand for it
        value = point.bound.useful * _own_value(found.scenario_at(point), setting)
    key = repr([(name, v) for name, v in point.bound.point.items() if name != setting])
    around, rungs = known.get(key), [value]
    if around is None or not around.holds(value):
        around, rungs = _begun(found, point, setting, value, seeds[0])
        known[key] = around
    ladder = DoseLadder(
        setting=around.setting,
        base=around.base,
        rungs={v: _at(found, point, setting, v) for v in rungs if v not in around.cases},
        top=around.top,
        solver=solver,
        store=store,
    )
    around.cases.update(run_ladder(ladder, seeds, announce=announce))
    return _summed_up(around.cases, value, point, found.target)


def _dose_setting(found: Plan, point: PlanPoint) -> str:
    """Return the setting that stands for the dose: the one solved for, else the first there is."""
    exposure = point.bound.exposure
    proportional = () if exposure is None else exposure.proportional
    return next((name for name in (*found.axes.free, *proportional)), "")


def _own_value(scenario: Scenario, setting: str) -> float:
    value = setting_value(scenario.settings.model_dump(), setting)
    assert isinstance(value, int | float)
    return value


def _at(found: Plan, point: PlanPoint, setting: str, value: float) -> Scenario:
    changed = {**point.bound.point, setting: value} if setting else point.bound.point
    return found.scenario_at(replace(point, bound=replace(point.bound, point=changed)))


def _begun(
    found: Plan, point: PlanPoint, setting: str, value: float, seed: int
) -> tuple[_Around, list[float]]:
    """Return what to try around a point first; without thinning there is nothing but itself."""
    here = (value, _at(found, point, setting, value))
    alone = _Around(setting="", base=here, top=value), [value]
    if not setting:
        return alone
    own = _own_value(found.scenario, setting)
    rungs = {}
    for part in AROUND:
        v = float(np.ceil(part * value)) if isinstance(own, int) else part * value
        with contextlib.suppress(BadInputError):  # beyond what the setting may be
            rungs[v] = _at(found, point, setting, v)
    base, top = (float(own), _at(found, point, setting, own)), max(rungs)
    if not DoseLadder(setting=setting, base=base, rungs=rungs, top=top).thins(seed):
        return alone
    return _Around(setting=setting, base=base, top=top), sorted(rungs)


def _summed_up(
    cases: Mapping[float, Mapping[int, Case | str]],
    value: float,
    point: PlanPoint,
    target: Target,
) -> Trial:
    failures = [case for case in cases[value].values() if isinstance(case, str)]
    n = len(cases[value])
    if len(failures) == n:
        raise BadInputError(f"every case failed, e.g. {failures[0]}")
    excesses = {
        v: np.array([case_excess(case, target) for case in cases[v].values()])
        for v in sorted(cases)
    }
    sizes = [share_kept_to(found, target.share) for found in excesses.values()]
    needed = value_needed(list(excesses), sizes)
    kept = int((excesses[value] <= 1).sum())
    exposure = point.bound.exposure
    dose = 1.0 if exposure is None else point.bound.useful * exposure.dose
    return Trial(
        kept=kept,
        cases=n,
        share=share_interval(kept, n),
        confidence=float(binom.cdf(kept - 1, n, target.share)),
        factor=float(np.sqrt(needed / value) / target.excess(point.bound.bounds)),
        doses=tuple(
            DoseTried(dose=dose * v / value, kept=int((found <= 1).sum()), excess=size)
            for (v, found), size in zip(excesses.items(), sizes, strict=True)
        ),
    )


def case_excess(case: Case | str, target: Target) -> float:
    """Return the worst error of a case by what it may be; infinite where nothing was found."""
    if isinstance(case, str):
        return float(np.inf)
    return max(case_error(case, name) / error for name, error in target.errors.items())


def share_kept_to(errors: Array, share: float, *, confidence: float = CONFIDENCE) -> float:
    """Return the error that a share of cases keeps to, with some confidence, whatever their law.

    The k-th smallest of n, k the least for which ``P(binomial(n, share) < k)`` is the confidence;
    the largest where n are too few for any.

    References
    ----------
    Wilks, Ann. Math. Stat. 12 (1941) 91.

    Examples
    --------
    >>> share_kept_to(np.arange(1.0, 101.0), 0.9)
    94.0
    """
    n = len(errors)
    rank = min(int(binom.ppf(confidence, n, share)) + 1, n)
    return float(np.sort(errors)[rank - 1])


def value_needed(values: Sequence[float], excesses: Sequence[float]) -> float:
    """Return the value, e.g. dose, from which on the excess is 1 at most.

    Between two values the excess is taken as a power of them, beyond them as that of the counting
    noise, -1/2, and not farther than `REACH` times.

    Examples
    --------
    >>> round(value_needed([1.0, 4.0, 16.0], [4.0, 2.0, 0.5]), 6)
    8.0
    """
    finite = [excess for excess in excesses if np.isfinite(excess)]
    x, y = np.log(values), np.log(np.minimum(excesses, max([REACH, *finite])))
    above = np.flatnonzero(y > 0)
    if not len(above):
        return float(values[0] * max(excesses[0] ** 2, 1 / REACH))
    last = above[-1]
    if last == len(y) - 1:
        return float(values[-1] * min(excesses[-1] ** 2, REACH))
    between = slice(last, last + 2)
    return float(np.exp(np.interp(0, -y[between], x[between])))
