"""How many seeds a regression test needs, and what a given number of them finds.

Worst case throughout: the errors of baseline and current solver are independent. With the same
noise they are mostly alike, and smaller changes are found.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from echolith.errors import BadInputError
from echolith.validation.paired_test import LEAST_SEEDS, block_size
from echolith.validation.performance import Group, Performance
from echolith.validation.regression import (
    FALSE_ALARM,
    MARGIN,
    Share,
    check_rates,
    size,
    together,
    weights,
)
from echolith.validation.verdict import ALL, printed_percent, spoken

MOST_SEEDS = 10_000
LARGEST = 9.0
"""Relative growth beyond which nobody needs a test."""
CONFIDENCE = 0.7
"""With which the scatter from seed to seed, known from few of them, is not underestimated."""
QUANTILES = (np.arange(400) + 0.5) / 400


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What is to be found, how surely, and at what price.

    Attributes
    ----------
    increase : float
        Relative growth of the spread.
    power : float
        Chance to find it.
    margin : float
        Relative growth that is allowed.
    false_alarm : float
        Chance that an unchanged solver is called worse.

    Raises
    ------
    BadInputError
        If one of them cannot be, or the increase is within the margin.
    """

    increase: float = 0.1
    power: float = 0.9
    margin: float = MARGIN
    false_alarm: float = FALSE_ALARM

    def __post_init__(self) -> None:
        check_rates(margin=self.margin, false_alarm=self.false_alarm)
        if not 0 < self.power < 1:
            raise BadInputError(f"power = {self.power:g}; expected above 0 and below 1, e.g. 0.9")
        if not self.margin < self.increase:
            raise BadInputError(
                f"an increase of {100 * self.increase:g} % is within the margin of "
                f"{100 * self.margin:g} %; ask for a larger one or lower the margin"
            )


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The errors that one test pools in each seed.

    Attributes
    ----------
    name : str
    errors : float
        How many.
    effective : float
        How many independent normal errors would scatter as they do; see `effective_errors`.
    part : float
        Of the false-alarm rate, this test's.
    """

    name: str
    errors: float
    effective: float
    part: float = 1.0


def power(seeds: int, *, pool: Pool, aim: Aim) -> float:
    """Return the chance that a larger spread is found.

    Parameters
    ----------
    seeds : int
    pool : Pool
    aim : Aim

    Returns
    -------
    float
        0 to 1.

    Examples
    --------
    >>> round(power(8, pool=Pool(name="voxels", errors=400, effective=400), aim=Aim()), 2)
    0.97
    """
    if seeds < LEAST_SEEDS:
        return 0.0
    block = block_size(seeds, pool.errors)
    blocks = seeds // block
    # The logarithm of a chi-square of ν degrees of freedom has variance ψ'(ν/2); two of them.
    freedom = block * pool.effective / _median_loss(seeds)
    error = np.sqrt(2 * special.polygamma(1, freedom / 2) / blocks)
    shift = 2 * np.log((1 + aim.increase) / (1 + aim.margin)) / error
    critical = stats.t.isf(aim.false_alarm * pool.part, blocks - 1)
    # Noncentral t, as the mean over the distribution of the estimated scatter.
    estimated = np.sqrt(stats.chi2.ppf(QUANTILES, blocks - 1) / (blocks - 1))
    return float(stats.norm.cdf(shift - critical * estimated).mean())


def _median_loss(seeds: int) -> float:
    """Return how much more squares about medians scatter from seed to seed than about the mean.

    Simulated for normal errors: 1.58, 1.32, 1.12, 1.07 for 4, 8, 16 and 30 seeds.
    """
    return 1 + 2.5 / seeds


def plan_seeds(*, pool: Pool, aim: Aim) -> int:
    """Return the smallest number of seeds that reaches the power aimed at.

    Parameters
    ----------
    pool : Pool
    aim : Aim

    Raises
    ------
    BadInputError
        If `MOST_SEEDS` are not enough.

    Examples
    --------
    >>> plan_seeds(pool=Pool(name="voxels", errors=400, effective=400), aim=Aim())
    7
    """
    low, high = LEAST_SEEDS, LEAST_SEEDS + 1
    while power(high, pool=pool, aim=aim) < aim.power:
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
            raise BadInputError(
                f"{MOST_SEEDS} seeds do not find a {100 * aim.increase:g} % larger spread with a "
                f"power of {aim.power:g} from {pool.errors:.3g} errors a seed; use a larger field, "
                "more voxels or a larger increase"
            )
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(middle, pool=pool, aim=aim) >= aim.power
        low, high = (low, middle) if enough else (middle, high)
    return high


def smallest_increase(seeds: int, *, pool: Pool, aim: Aim) -> float | None:
    """Return the smallest growth found with the power aimed at; None above `LARGEST`."""
    low, high = aim.margin, LARGEST

    def found(increase: float) -> bool:
        return power(seeds, pool=pool, aim=replace(aim, increase=increase)) >= aim.power

    if not found(high):
        return None
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def effective_errors(mean_square: npt.NDArray[np.float64], errors: float) -> float:
    """Return how many independent normal errors scatter as much as pooled ones do.

    A mean square of ν independent normal errors has the relative variance 2/ν. Errors that
    correlate or have heavy tails scatter more and are worth fewer. The scatter is known from few
    seeds: its upper `CONFIDENCE` limit is taken.

    Parameters
    ----------
    mean_square : array, (seeds,)
        NaN where unknown.
    errors : float
        Pooled in each; never more is returned.
    """
    values = mean_square[np.isfinite(mean_square)]
    freedom = len(values) - 1
    if freedom < LEAST_SEEDS - 1:
        return errors
    relative = float(values.var(ddof=1) / values.mean() ** 2)
    highest = relative * freedom / float(stats.chi2.ppf(1 - CONFIDENCE, freedom))
    return min(errors, 2 / highest * _median_loss(len(values))) if highest > 0 else errors


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a number of seeds finds.

    Attributes
    ----------
    seeds : int
        As asked for, or as proposed.
    power : float
        Chance to find what is aimed at, if it befalls all errors.
    proposed : int, optional
        Seeds that reach the power aimed at; None where it takes more than `MOST_SEEDS`.
    smallest : dict
        By group, the smallest increase found with that power; None above `LARGEST`.
    aim : Aim
    """

    seeds: int
    power: float
    proposed: int | None
    smallest: dict[str, float | None]
    aim: Aim

    @property
    def lines(self) -> list[str]:
        """The statement in words."""
        aim = self.aim
        stated = (
            f"{self.seeds} seeds find a {100 * aim.increase:g} % larger spread of all errors with "
            f"a power of {printed_percent(self.power)} or more; false-alarm rate "
            f"{100 * aim.false_alarm:g} %"
        )
        if self.power < aim.power:
            needed = f"more than {MOST_SEEDS}" if self.proposed is None else f"{self.proposed}"
            stated += f"; {needed} seeds are needed for {printed_percent(aim.power)}"
        single = ", ".join(
            f"{spoken(name)} "
            + (f"> {printed_percent(LARGEST)}" if x is None else printed_percent(x))
            for name, x in self.smallest.items()
        )
        return [stated, f"smallest increase found with {printed_percent(aim.power)}: {single}"]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return {
            "seeds": self.seeds,
            "power": self.power,
            "increase": self.aim.increase,
            "false_alarm": self.aim.false_alarm,
            "margin": self.aim.margin,
            "proposed_seeds": self.proposed,
            "smallest_increase": self.smallest,
        }


def plan(known: Performance, *, seeds: int | None = None, aim: Aim | None = None) -> Plan:
    """Say what a number of seeds finds, or propose one, from a performance measured before.

    Parameters
    ----------
    known : Performance
        A baseline, or a few cases run for the purpose.
    seeds : int, optional
        As proposed by default, and never more than `MOST_SEEDS`.
    aim : Aim, optional

    Returns
    -------
    Plan

    Raises
    ------
    BadInputError
        If no case of the performance has an estimate.
    """
    aim = aim or Aim()
    found = pools(known)
    if not found:
        raise BadInputError("no case has an estimate; nothing can be planned from it")
    proposed = _fewest(found, aim)
    chosen = seeds or proposed or MOST_SEEDS
    return Plan(
        seeds=chosen,
        power=max(power(chosen, pool=pool, aim=aim) for pool in found),
        proposed=proposed,
        smallest={p.name: smallest_increase(chosen, pool=p, aim=aim) for p in found},
        aim=aim,
    )


def pools(known: Performance) -> list[Pool]:
    """Return what each test of the spread rests on: all errors together first, then each group."""
    groups = known.groups
    found = [(name, Share.GROUPS, group) for name, group in groups.items()]
    shares = [Share.GROUPS] * (2 * len(groups))
    shares += [Share.COUNTS] * (len(groups) + 1 + (known.false_columns is not None))
    if len(groups) > 1:
        shares += [Share.TOGETHER] * 2
        every = together([*groups.values()], [size(group) for group in groups.values()])
        found.insert(0, (ALL, Share.TOGETHER, every))
    part = dict(zip(shares, weights(shares).tolist(), strict=True))
    return [_pool(name, group, part[share]) for name, share, group in found]


def _pool(name: str, group: Group, part: float) -> Pool:
    errors = float(group.count[group.count > 0].mean())
    squares = group.variance if np.isfinite(group.variance).any() else group.mean_square
    return Pool(name=name, errors=errors, effective=effective_errors(squares, errors), part=part)


def _fewest(found: list[Pool], aim: Aim) -> int | None:
    """Return the seeds that the first test to reach the power needs, None if there is none."""
    needed = []
    for pool in found:
        try:
            needed.append(plan_seeds(pool=pool, aim=aim))
        except BadInputError:
            continue
    return min(needed, default=None)
