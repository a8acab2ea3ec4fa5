"""Statistics of an ensemble of particles: how many are active, and what activity goes with."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import stats

from echolith.errors import BadInputError
from echolith.inverse.logistic_trend import logistic_slope
from echolith.seeds import stream

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

COVARIATES = ("facet_area", "volume", "thickness")
FEWEST = 4
"""Particles for a trend."""
SIGNIFICANCE = 0.05
POWER = 0.8


class Verdict(Enum):
    """What a test of a trend says."""

    RISES = "rises"
    FALLS = "falls"
    NOT_REJECTED = "not rejected"
    """Independence; that is no proof of it: see the slope that would have been seen."""
    UNDETERMINED = "undetermined"
    """All or none are active, all values are equal, or there are fewer than four particles."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Whether activity goes with the logarithm of a quantity.

    Attributes
    ----------
    slope, slope_std : float
        Change of the log odds of activity with one standard deviation of the logarithm.
    p_value : float
        Chance of a correlation as large, of either sign, where there is none; by permutation.
    likelihood_ratio_p : float
        The same from the penalised likelihood ratio, by its limit for many particles.
    power : float
        Chance to reject independence if the true slope were 1.
    detectable : float
        Slope that would be seen with a chance of 80 %.
    verdict : Verdict
    """

    slope: float
    slope_std: float
    p_value: float
    likelihood_ratio_p: float
    power: float
    detectable: float
    verdict: Verdict

    def __str__(self) -> str:
        if self.verdict is Verdict.UNDETERMINED:
            return "undetermined"
        if self.verdict is not Verdict.NOT_REJECTED:
            return f"{self.verdict.value} (p = {self.p_value:.2g})"
        return (
            f"independence not rejected (p = {self.p_value:.2g}); a slope of {self.detectable:.2g} "
            f"in log odds for each standard deviation would be seen in {POWER:.0%} of cases"
        )


def active_fraction(
    composition: npt.ArrayLike,
    *,
    threshold: float | Sequence[float] = 0.15,
    std: npt.ArrayLike | None = None,
    common_error: float = 0.0,
) -> xr.Dataset:
    """Return the fraction of particles that hold at least so much FePO4.

    With k of n active, p = k / n, the variance is p (1 - p) / (n - 1) of drawing n particles, and
    sum P_i (1 - P_i) / n² of taking some for what they are not, P_i the chance that particle i lies
    above the threshold, and the square of what a common error of all compositions changes.

    Parameters
    ----------
    composition : array (particles,)
        Those that are not finite are left out.
    threshold : float or sequence of float
    std : array (particles,), optional
        Standard deviations of the compositions.
    common_error : float
        Standard deviation of an error that all compositions share.

    Returns
    -------
    xarray.Dataset
        ``active`` (number), ``active_fraction``, its ``_std``, and of that the part from drawing
        particles, ``binomial_std``; along ``threshold`` if it is a sequence. With none or all
        active, half a particle is added to each side in the variance, so that it is not 0.

    Raises
    ------
    BadInputError
        If no composition is finite, or a threshold is outside 0 to 1.

    References
    ----------
    Yu et al., Nat. Commun. 9, 921 (2018): 25 of 83, 30.1 ± 5.1 %.
    """
    values, spread = _finite(composition, std)
    levels = np.atleast_1d(np.asarray(threshold, dtype=np.float64))
    for level in levels:
        if not 0 < level < 1:
            raise BadInputError(f"threshold = {level:g}; expected above 0 and below 1")
    rows = [_fraction(values, spread, float(level), common_error) for level in levels]
    names = ("active", "active_fraction", "active_fraction_std", "binomial_std")
    found = xr.Dataset(
        {
            name: ("threshold", np.array(column), {"units": "1"})
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        },
        coords={"threshold": ("threshold", levels, {"units": "1"})},
    )
    return found if np.ndim(threshold) else found.isel(threshold=0)


def _finite(composition: npt.ArrayLike, std: npt.ArrayLike | None) -> tuple[Floats, Floats]:
    values = np.asarray(composition, dtype=np.float64).ravel()
    spread = np.zeros(len(values)) if std is None else np.asarray(std, dtype=np.float64).ravel()
    known = np.isfinite(values)
    if not known.any():
        raise BadInputError(
            f"none of {len(values)} particles has a composition; an active fraction needs one"
        )
    return values[known], spread[known]


def _fraction(
    values: Floats, spread: Floats, level: float, common_error: float
) -> tuple[int, float, float, float]:
    number, count = len(values), int((values >= level).sum())
    fraction = count / number
    if 0 < count < number:
        binomial = np.sqrt(fraction * (1 - fraction) / (number - 1))
    else:
        shrunk = (count + 0.5) / (number + 1)
        binomial = np.sqrt(shrunk * (1 - shrunk) / number)
    sure = np.where(values >= level, np.inf, -np.inf)
    above = stats.norm.cdf(np.divide(values - level, spread, out=sure, where=spread > 0))
    mistaken = np.sqrt((above * (1 - above)).sum()) / number
    shifted = [(values + shift >= level).mean() for shift in (common_error, -common_error)]
    parts = (binomial, mistaken, (shifted[0] - shifted[1]) / 2)
    return count, fraction, float(np.linalg.norm(parts)), float(binomial)


def activity_trend(
    active: npt.ArrayLike, values: npt.ArrayLike, *, permutations: int = 4999, seed: int = 0
) -> Trend:
    """Test whether activity goes with a quantity.

    Parameters
    ----------
    active : array of bool, (particles,)
    values : array (particles,)
        Above 0; their logarithm is taken.
    permutations : int
        Of the activity among the particles: the p-value is exact for any number of them.
    seed : int
        Of the permutations.

    Returns
    -------
    Trend

    Raises
    ------
    BadInputError
        If a value is not above 0, or the two differ in length.
    """
    on, size = np.asarray(active, dtype=bool), np.asarray(values, dtype=np.float64)
    if on.shape != size.shape or on.ndim != 1:
        raise BadInputError(
            f"activity of shape {on.shape}, values of shape {size.shape}; expected one of each for "
            "every particle"
        )
    if not (size > 0).all():
        raise BadInputError(f"value = {size[~(size > 0)][0]:g}; expected sizes above 0")
    logs = np.log(size)
    if len(on) < FEWEST or on.all() or not on.any() or not np.ptp(logs) > 1e-9:
        nan = float("nan")
        return Trend(
            slope=nan,
            slope_std=nan,
            p_value=nan,
            likelihood_ratio_p=nan,
            power=nan,
            detectable=nan,
            verdict=Verdict.UNDETERMINED,
        )
    standard = (logs - logs.mean()) / logs.std()
    return _tested(on, standard, permutations, seed)


def _tested(on: Mask, standard: Floats, permutations: int, seed: int) -> Trend:
    slope, slope_std, ratio = logistic_slope(standard, on)
    p_value = _permuted(on, standard, permutations, stream(seed, "activity permutation"))
    information = len(on) * on.mean() * (1 - on.mean())
    reject = stats.norm.ppf(1 - SIGNIFICANCE / 2)
    verdict = Verdict.NOT_REJECTED
    if p_value < SIGNIFICANCE:
        verdict = Verdict.RISES if slope > 0 else Verdict.FALLS
    shift = np.sqrt(information)
    return Trend(
        slope=slope,
        slope_std=slope_std,
        p_value=p_value,
        likelihood_ratio_p=float(stats.chi2.sf(ratio, 1)),
        power=float(stats.norm.sf(reject - shift) + stats.norm.cdf(-reject - shift)),
        detectable=float((reject + stats.norm.ppf(POWER)) / shift),
        verdict=verdict,
    )


def _permuted(on: Mask, standard: Floats, permutations: int, draw: np.random.Generator) -> float:
    """Return the p-value of the score, the sum over the active, which is 0 on average."""
    score = abs(standard[on].sum())
    many = draw.permuted(np.broadcast_to(on, (permutations, len(on))), axis=1)
    # Sums of equal terms in another order differ by rounding.
    beyond = np.abs(many @ standard) >= score - 1e-9
    return float((1 + beyond.sum()) / (1 + permutations))


def activity_trends(
    table: xr.Dataset, *, threshold: float = 0.15, permutations: int = 4999, seed: int = 0
) -> dict[str, Trend]:
    """Test activity against facet area, volume and thickness.

    Parameters
    ----------
    table : xarray.Dataset
        Of `particle_table`, or with the same variables.
    threshold : float
        Composition from which a particle is active.
    permutations, seed : int
        See `activity_trend`.
    """
    known = np.isfinite(table["composition"].values)
    active = table["composition"].values[known] >= threshold
    return {
        name: activity_trend(
            active, table[name].values[known], permutations=permutations, seed=seed
        )
        for name in COVARIATES
        if name in table
    }
