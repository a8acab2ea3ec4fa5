"""How many seeds a regression test needs, and what a given number of them finds.

Worst case throughout: the errors of baseline and current solver are independent. With the same
noise they are mostly alike, and smaller changes are found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from echolith.errors import BadInputError
from echolith.validation.paired_test import LEAST_SEEDS, block_size, widening
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
from echolith.validation.verdict import ALL, spoken

POWER = 0.9
INCREASE = 0.1
"""Relative growth of the spread that is to be found."""
MOST_SEEDS = 10_000
CONFIDENCE = 0.8
"""With which the scatter from seed to seed, known from few of them, is not underestimated."""
QUANTILES = (np.arange(400) + 0.5) / 400


def power(
    seeds: int,
    *,
    errors: float,
    effective: float | None = None,
    increase: float = INCREASE,
    margin: float = MARGIN,
    false_alarm: float = FALSE_ALARM,
) -> float:
    """Return the chance that a larger spread is found.

    Parameters
    ----------
    seeds : int
    errors : float
        Errors pooled in each seed.
    effective : float, optional
        How many independent normal errors scatter as these do (see `effective_errors`); all of
        them by default.
    increase : float
        Relative growth of the spread.
    margin : float
        Growth that is allowed.
    false_alarm : float
        Of this one test.

    Returns
    -------
    float
        0 to 1.

    Examples
    --------
    >>> round(power(8, errors=400), 2)
    0.97
    """
    if seeds < LEAST_SEEDS:
        return 0.0
    block = block_size(seeds, errors)
    blocks = seeds // block
    # log of a chi-square of ν degrees of freedom has variance ψ'(ν/2); two of them.
    scatter = np.sqrt(2 * special.polygamma(1, block * (effective or errors) / 2))
    error = scatter / np.sqrt(blocks) * widening(seeds)
    shift = 2 * np.log((1 + increase) / (1 + margin)) / error
    critical = stats.t.isf(false_alarm, blocks - 1)
    # Noncentral t: the mean over the distribution of the estimated scatter.
    estimated = np.sqrt(stats.chi2.ppf(QUANTILES, blocks - 1) / (blocks - 1))
    return float(stats.norm.cdf(shift - critical * estimated).mean())


def plan_seeds(
    *,
    errors: float,
    effective: float | None = None,
    increase: float = INCREASE,
    margin: float = MARGIN,
    false_alarm: float = FALSE_ALARM,
    at_least: float = POWER,
) -> int:
    """Return the smallest number of seeds that reaches a power (parameters as for `power`).

    Parameters
    ----------
    at_least : float
        Power to reach.

    Raises
    ------
    BadInputError
        If the increase is not above the margin, or `MOST_SEEDS` do not reach the power.
    """
    check_rates(margin=margin, false_alarm=false_alarm)
    if increase <= margin:
        raise BadInputError(
            f"an increase of {100 * increase:g} % is within the margin of {100 * margin:g} %; "
            "ask for a larger one or lower the margin"
        )

    def enough(seeds: int) -> bool:
        reached = power(
            seeds,
            errors=errors,
            effective=effective,
            increase=increase,
            margin=margin,
            false_alarm=false_alarm,
        )
        return reached >= at_least

    low, high = LEAST_SEEDS, LEAST_SEEDS + 1
    while not enough(high):
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
            raise BadInputError(
                f"{MOST_SEEDS} seeds do not find a {100 * increase:g} % larger spread with a power "
                f"of {at_least:g} from {errors:g} errors a seed; use a larger field, more voxels "
                "or a larger increase"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def smallest_increase(
    seeds: int,
    *,
    errors: float,
    effective: float | None = None,
    margin: float = MARGIN,
    false_alarm: float = FALSE_ALARM,
    at_least: float = POWER,
) -> float | None:
    """Return the smallest growth of the spread that is found with a power, None above 900 %."""

    def found(increase: float) -> bool:
        reached = power(
            seeds,
            errors=errors,
            effective=effective,
            increase=increase,
            margin=margin,
            false_alarm=false_alarm,
        )
        return reached >= at_least

    low, high = margin, 9.0
    if not found(high):
        return None
    while high - low > 1e-3 * high:
        middle = np.sqrt(max(low, 1e-4) * high)
        low, high = (low, middle) if found(middle) else (middle, high)
    return float(high)


def effective_errors(mean_square: Sequence[float] | np.ndarray[Any, Any], errors: float) -> float:
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
    values = np.asarray(mean_square, dtype=float)
    values = values[np.isfinite(values)]
    freedom = len(values) - 1
    if freedom < LEAST_SEEDS - 1:
        return float(errors)
    relative = float(values.var(ddof=1) / values.mean() ** 2)
    highest = relative * freedom / float(stats.chi2.ppf(1 - CONFIDENCE, freedom))
    return float(min(errors, 2 / highest)) if highest > 0 else float(errors)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The errors one test of the spread rests on, per seed, and its part of the false alarms."""

    name: str
    errors: float
    effective: float
    false_alarm: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a number of seeds finds.

    Attributes
    ----------
    seeds : int
        As asked for, or as proposed.
    power : float
        Chance to find that the spread of all errors grew by ``increase``.
    proposed : int, optional
        Seeds for a power of ``at_least``; None where more than `MOST_SEEDS` are needed.
    smallest : dict
        By group, the smallest increase found with the power ``at_least``, None above 900 %.
    increase, at_least, margin, false_alarm : float
        As asked for.
    """

    seeds: int
    power: float
    proposed: int | None
    smallest: dict[str, float | None]
    increase: float
    at_least: float
    margin: float
    false_alarm: float

    @property
    def lines(self) -> list[str]:
        """The statement in words."""
        first = (
            f"{self.seeds} seeds find a {100 * self.increase:g} % larger spread of all errors with "
            f"a power of {_percent(self.power)} or more (false-alarm rate "
            f"{100 * self.false_alarm:g} %)"
        )
        if self.power < self.at_least:
            first += (
                f"; for {_percent(self.at_least)}, more than {MOST_SEEDS} are needed"
                if self.proposed is None
                else f"; {self.proposed} seeds reach {_percent(self.at_least)}"
            )
        single = ", ".join(
            f"{spoken(name)} " + ("more than +900 %" if x is None else f"+{100 * x:.2g} %")
            for name, x in self.smallest.items()
        )
        return [first, f"smallest increase found with {_percent(self.at_least)}: {single}"]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return {
            "seeds": self.seeds,
            "power": self.power,
            "proposed": self.proposed,
            "smallest_increase": self.smallest,
            "increase": self.increase,
            "margin": self.margin,
            "false_alarm": self.false_alarm,
        }


def plan(
    known: Performance,
    *,
    seeds: int | None = None,
    increase: float = INCREASE,
    at_least: float = POWER,
    margin: float = MARGIN,
    false_alarm: float = FALSE_ALARM,
) -> Plan:
    """Say what a number of seeds finds, or propose one, from a performance measured before.

    Parameters
    ----------
    known : Performance
        A baseline, or a few cases run for the purpose.
    seeds : int, optional
        As proposed by default, the `MOST_SEEDS` at most.
    increase : float
        Relative growth of the spread of all errors that is to be found.
    at_least : float
        The power wanted.
    margin, false_alarm : float
        As for `echolith.validation.regression.compare`.

    Returns
    -------
    Plan

    Raises
    ------
    BadInputError
        If no case of the performance has an estimate, or the increase is not above the margin.
    """
    check_rates(margin=margin, false_alarm=false_alarm)
    found = pools(known, false_alarm=false_alarm)
    if not found:
        raise BadInputError("no case has an estimate; nothing can be planned from it")
    proposed = min((s for s in (_seeds_for(p, increase, margin, at_least) for p in found) if s), default=None)
    chosen = seeds or proposed or MOST_SEEDS
    return Plan(
        seeds=chosen,
        power=max(
            power(
                chosen,
                errors=p.errors,
                effective=p.effective,
                increase=increase,
                margin=margin,
                false_alarm=p.false_alarm,
            )
            for p in found
        ),
        proposed=proposed,
        smallest={
            p.name: smallest_increase(
                chosen,
                errors=p.errors,
                effective=p.effective,
                margin=margin,
                false_alarm=p.false_alarm,
                at_least=at_least,
            )
            for p in found
        },
        increase=increase,
        at_least=at_least,
        margin=margin,
        false_alarm=false_alarm,
    )


def pools(known: Performance, *, false_alarm: float = FALSE_ALARM) -> list[Pool]:
    """Return what the tests of the spread rest on: all errors together first, then each group."""
    groups = {n: g for n, g in known.groups.items() if np.isfinite(g.variance).any()}
    shares = [Share.GROUPS] * (2 * len(groups))
    shares += [Share.COUNTS] * (len(groups) + 1 + (known.false_columns is not None))
    found = [(name, Share.GROUPS, group) for name, group in groups.items()]
    if len(groups) > 1:
        shares += [Share.TOGETHER] * 2
        every = together([*groups.values()], [size(g) for g in groups.values()])
        found.insert(0, (ALL, Share.TOGETHER, every))
    part = dict(zip(shares, weights(shares).tolist(), strict=True))
    return [
        Pool(
            name=name,
            errors=_errors(group),
            effective=effective_errors(group.variance, _errors(group)),
            false_alarm=false_alarm * part[share],
        )
        for name, share, group in found
    ]


def _errors(group: Group) -> float:
    return float(group.count[group.count > 0].mean())


def _seeds_for(pool: Pool, increase: float, margin: float, at_least: float) -> int | None:
    try:
        return plan_seeds(...)
    except BadInputError:
        return None


def _percent(share: float) -> str:
    return f"{100 * min(share, 0.999):.3g} %"
