"""Is a solver worse than it was? A test on the same seeds, with a stated false-alarm rate.

Baseline and current solver get the same measurements, noise included. For each seed s the errors
of a group (columns of a species, voxels of a quantity) are pooled into two mean squares: about the
truth (``rms``) and about each value's own median over the seeds (``spread``). A one-sided t-test
asks whether the mean of

    d_s = log(mean square of the current) - log(mean square of the baseline)

exceeds 2 log(1 + margin). If nothing changed, the two of a seed may be swapped, so d_s is symmetric
about zero whatever the errors' distribution and correlation, and the t-test of a symmetric variable
keeps its level under heavy tails (Efron 1969). The false-alarm rate is shared over all tests by
Holm's method, with weights: 45 % to all errors taken together, which sees a general decline
first, 45 % to the groups, 10 % to counts (missing values, false columns, failures).

The rate is that over baselines and runs together. A solver that draws random numbers of its own
should be seeded: if it was lucky when the baseline was made, later runs alarm more often.

References
----------
Efron, J. Am. Stat. Assoc. 64, 1278 (1969).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError
from echolith.validation.paired_test import (
    PValues,
    count_test,
    holm,
    mean_square_test,
    sign_test,
)
from echolith.validation.performance import Group, Performance
from echolith.validation.verdict import ALL, Change, Measure, Verdict

Array = npt.NDArray[np.float64]

MARGIN = 0.01
"""Larger rms or spread, as a fraction, that never alarms."""
FALSE_ALARM = 0.005
"""Chance that an unchanged solver is called worse, over all tests together."""


class Share(Enum):
    """Which tests share a part of the false-alarm rate."""

    TOGETHER = "all errors together"
    GROUPS = "single groups"
    COUNTS = "counts"


PARTS = {Share.TOGETHER: 0.45, Share.GROUPS: 0.45, Share.COUNTS: 0.1}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One thing compared, before its p-values are adjusted."""

    share: Share
    change: Change
    p: PValues


def compare(
    baseline: Performance,
    current: Performance,
    *,
    margin: float = MARGIN,
    false_alarm: float = FALSE_ALARM,
) -> Verdict:
    """Test whether a solver got worse than its baseline.

    A seed that fails now though none failed in the baseline is worse without a test; where some
    failed before, the seeds that changed are tested as a proportion (exact sign test).

    Parameters
    ----------
    baseline, current : Performance
        On the same seeds.
    margin : float
        Larger rms or spread, as a fraction, that is not called worse.
    false_alarm : float
        Chance that an unchanged solver is called worse.

    Returns
    -------
    Verdict

    Raises
    ------
    BadInputError
        If the seeds differ, or margin or false-alarm rate cannot be.
    """
    check_rates(margin=margin, false_alarm=false_alarm)
    if baseline.seeds != current.seeds:
        raise BadInputError(
            f"the baseline has seeds {list(baseline.seeds)}, the current result "
            f"{list(current.seeds)}; compare the same seeds, they make the same noise"
        )
    made = [*_compare_errors(baseline, current, margin), *_compare_counts(baseline, current)]
    new = [name for name in current.groups if name not in baseline.groups]
    return judge(
        made,
        seeds=len(current.seeds),
        margin=margin,
        false_alarm=false_alarm,
        notes=tuple(f"{name}: not in the baseline, not compared" for name in new),
    )


def judge(
    made: Sequence[Comparison],
    *,
    seeds: int,
    margin: float,
    false_alarm: float,
    notes: tuple[str, ...] = (),
) -> Verdict:
    """Return the verdict of several comparisons that share one false-alarm rate."""
    weight = weights([c.share for c in made])
    worse, better = (holm(p, weight) for p in zip(*(c.p for c in made), strict=True))
    return Verdict(
        changes=tuple(
            c.change.judged(worse=float(p), better=float(q), false_alarm=false_alarm)
            for c, p, q in zip(made, worse, better, strict=True)
        ),
        seeds=seeds,
        margin=margin,
        false_alarm=false_alarm,
        notes=notes,
    )


def check_rates(*, margin: float, false_alarm: float) -> None:
    """Refuse a margin or false-alarm rate that cannot be."""
    if not 0 <= margin < 1:
        raise BadInputError(f"margin = {margin:g}; expected 0 to 1, e.g. 0.01 for 1 %")
    if not 0 < false_alarm < 0.5:
        raise BadInputError(f"false_alarm = {false_alarm:g}; expected above 0 and below 0.5")


def weights(shares: Sequence[Share]) -> Array:
    """Return the part of the false-alarm rate that each test has; the sum is 1."""
    each = np.array([PARTS[share] / shares.count(share) for share in shares], dtype=float)
    return np.asarray(each / each.sum())


def _compare_errors(
    baseline: Performance, current: Performance, margin: float
) -> Iterator[Comparison]:
    names = [name for name in baseline.groups if name in current.groups]
    before, after = ([p.groups[name] for name in names] for p in (baseline, current))
    if len(names) > 1:
        sizes = [size(b, a) for b, a in zip(before, after, strict=True)]
        pair = together(before, sizes), together(after, sizes)
        yield from _compare_group(ALL, Share.TOGETHER, *pair, margin)
    for name, b, a in zip(names, before, after, strict=True):
        yield from _compare_group(name, Share.GROUPS, b, a, margin)


def _compare_group(
    name: str, share: Share, before: Group, after: Group, margin: float
) -> Iterator[Comparison]:
    count = np.minimum(before.count, after.count).astype(float)
    for measure, b, a in (
        (Measure.RMS, before.mean_square, after.mean_square),
        (Measure.SPREAD, before.variance, after.variance),
    ):
        known = np.isfinite(b) & np.isfinite(a) & (count > 0)
        if not known.any():
            continue
        p = mean_square_test(b, a, count=count, margin=margin)
        old, new = (float(np.sqrt(np.average(x[known], weights=count[known]))) for x in (b, a))
        change = Change(group=name, measure=measure, before=old, after=new, unit=before.unit)
        yield Comparison(share=share, change=change, p=p)


def size(*groups: Group) -> tuple[float, float]:
    """Return the mean, over seeds and groups, of mean square and variance."""
    return _mean_known([g.mean_square for g in groups]), _mean_known([g.variance for g in groups])


def _mean_known(values: list[Array]) -> float:
    every = np.concatenate(values)
    known = every[np.isfinite(every)]
    return float(known.mean()) if len(known) else 1.0


def together(groups: Sequence[Group], sizes: Sequence[tuple[float, float]]) -> Group:
    """Pool groups of different size and unit, each mean square divided by its size.

    Parameters
    ----------
    groups : sequence of Group
    sizes : sequence of (mean square, variance)
        See `size`; the same for baseline and current.
    """
    return Group(
        unit="1",
        elements=sum(g.elements for g in groups),
        count=np.sum([g.count for g in groups], axis=0),
        mean_square=_pool(
            [g.mean_square / s for g, (s, _) in zip(groups, sizes, strict=True)], groups
        ),
        variance=_pool([g.variance / s for g, (_, s) in zip(groups, sizes, strict=True)], groups),
    )


def _pool(values: list[Array], groups: Sequence[Group]) -> Array:
    value, count = np.stack(values), np.stack([g.count for g in groups])
    count = np.where(np.isfinite(value), count, 0)
    total = count.sum(axis=0)
    pooled = (np.where(count > 0, value, 0.0) * count).sum(axis=0) / np.maximum(total, 1)
    return np.where(total > 0, pooled, np.nan)


def _compare_counts(baseline: Performance, current: Performance) -> Iterator[Comparison]:
    worked = np.array(
        [seed not in baseline.failures and seed not in current.failures for seed in current.seeds]
    )
    for name, before in baseline.groups.items():
        after = current.groups.get(name)
        of = max(before.elements, after.elements if after else 0)
        found = [
            np.where(worked, of - (group.count if group else 0), np.nan)
            for group in (before, after)
        ]
        yield _compare_count(name, Measure.MISSING, *found, of=of)
    if baseline.false_columns is not None and current.false_columns is not None:
        yield _compare_count(
            "false columns", Measure.FALSE, baseline.false_columns, current.false_columns
        )
    yield compare_failures(baseline.failures, current.failures, of=len(current.seeds))


def _compare_count(
    name: str, measure: Measure, before: Array, after: Array, *, of: int | None = None
) -> Comparison:
    known = np.isfinite(before) & np.isfinite(after)
    old, new = (float(x[known].mean()) if known.any() else None for x in (before, after))
    change = Change(group=name, measure=measure, before=old, after=new, of=of)
    return Comparison(share=Share.COUNTS, change=change, p=count_test(before, after))


def compare_failures(before: Mapping[int, str], after: Mapping[int, str], *, of: int) -> Comparison:
    """Compare which seeds failed, and why.

    Parameters
    ----------
    before, after : mapping
        Why, by seed.
    of : int
        Seeds in all.
    """
    new, gone = sorted(after.keys() - before.keys()), before.keys() - after.keys()
    worse = sign_test(len(new), len(gone)) if before else float(not new)
    better = sign_test(len(gone), len(new)) if after else float(not gone)
    change = Change(
        group="cases",
        measure=Measure.FAILED,
        before=float(len(before)),
        after=float(len(after)),
        of=of,
        detail=f"seed {new[0]}: {after[new[0]]}" if new else "",
    )
    return Comparison(share=Share.COUNTS, change=change, p=PValues(worse, better))
