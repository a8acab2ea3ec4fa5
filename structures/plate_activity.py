"""How far each plate of an ensemble has reacted: which are active, and the exact total."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import lognorm

from echolith.errors import BadInputError
from echolith.structures.delithiation_fields import DELITHIATED, LITHIATED

Floats = npt.NDArray[np.float64]

MARGIN = 0.01
"""No plate is nearer to the threshold of activity."""
SPREAD_OF_EXCESS = 1.1
"""Standard deviation of the logarithm of how far active plates exceed the threshold. With 25 of
83 active and 16.2 % in all, 7.8 exceed 25 % and 0.3 exceed 70 % on average of 12 ensembles; Yu et
al. (2018) found 10 and 1."""


def activity_scores(
    facet_areas: Floats, *, correlation: float, draw: np.random.Generator
) -> Floats:
    """Return by which plates are ranked: those of highest score are active.

    ``score = rho z + sqrt(1 - rho²) e``, z the standardised logarithm of the facet area and e
    normal, so that the thickness has no say.

    Parameters
    ----------
    facet_areas : array (plates,)
        Å².
    correlation : float
        rho, -1 to 1.
    draw : numpy.random.Generator

    Returns
    -------
    array (plates,)

    Raises
    ------
    BadInputError
        If the correlation is outside -1 to 1.
    """
    if not -1 <= correlation <= 1:
        raise BadInputError(f"facet correlation = {correlation:g}; expected -1 to 1")
    logs = np.log(facet_areas)
    spread = float(logs.std())
    standard = (logs - logs.mean()) / spread if spread > 1e-9 else np.zeros(len(logs))
    noise = draw.normal(size=len(logs))
    return np.asarray(correlation * standard + np.sqrt(1 - correlation**2) * noise)


def plate_compositions(
    scores: Floats,
    volumes: Floats,
    *,
    state_of_charge: float,
    active_fraction: float,
    draw: np.random.Generator,
    threshold: float = 0.15,
    low: float = LITHIATED,
    high: float = DELITHIATED,
) -> Floats:
    """Return the mean fraction of FePO4 of every plate.

    The plates of highest score, the active fraction of them rounded to whole ones, lie above the
    threshold, by quantiles of a log-normal distribution dealt out at random; the others between the
    lithiated end member and the threshold. One factor on all excesses makes the total exact.

    Parameters
    ----------
    scores : array (plates,)
    volumes : array (plates,)
        Å³, weights of the total.
    state_of_charge : float
        Fraction of FePO4 of all plates.
    active_fraction : float
        Of the plates, by number.
    draw : numpy.random.Generator
        Of how far each plate is above its least.
    threshold : float
        Fraction of FePO4 from which a plate is active.
    low, high : float
        Fraction of FePO4 in the end members.

    Returns
    -------
    array (plates,)

    Raises
    ------
    BadInputError
        If no plates with this active fraction have this state of charge; it says what they can.
    """
    floor, ceiling, active = _limits(scores, active_fraction, threshold, low, high)
    count = len(scores)
    excess = (ceiling - floor) * draw.beta(1.0, 3.0, count)
    quantiles = 1 - (np.arange(len(active)) + 0.5) / max(len(active), 1)
    excess[active] = draw.permutation(0.1 * lognorm(SPREAD_OF_EXCESS).ppf(quantiles))

    def total(factor: Floats) -> float:
        return float(volumes @ np.minimum(floor + factor * excess, ceiling) / volumes.sum())

    everyone, least, most = (
        np.ones(count),
        *(float(volumes @ limit / volumes.sum()) for limit in (floor, ceiling)),
    )
    if not least <= state_of_charge <= most:
        raise BadInputError(
            f"state of charge = {state_of_charge:g}; with {len(active)} of {count} plates active "
            f"(>= {threshold:g} FePO4) it is {least:.3f} to {most:.3f}; change the active fraction"
        )
    # Active plates carry the total as long as they can; then the others follow.
    for scaled in _steps(count, active):
        fixed = everyone - scaled

        def missing(log: float, scaled: Floats = scaled, fixed: Floats = fixed) -> float:
            return total(fixed + scaled * np.exp(log)) - state_of_charge

        if missing(-40.0) <= 0 <= missing(40.0):
            factor = everyone + scaled * (np.exp(brentq(missing, -40.0, 40.0, xtol=1e-12)) - 1)
            return np.asarray(np.minimum(floor + factor * excess, ceiling))
    return np.asarray(floor if state_of_charge <= (least + most) / 2 else ceiling)


def reachable_state_of_charge(
    scores: Floats,
    volumes: Floats,
    *,
    active_fraction: float,
    threshold: float = 0.15,
    low: float = LITHIATED,
    high: float = DELITHIATED,
) -> tuple[float, float]:
    """Return the least and the most FePO4 that plates with an active fraction can hold.

    Parameters and errors as for `plate_compositions`.
    """
    floor, ceiling, _ = _limits(scores, active_fraction, threshold, low, high)
    return float(volumes @ floor / volumes.sum()), float(volumes @ ceiling / volumes.sum())


def _limits(
    scores: Floats, active_fraction: float, threshold: float, low: float, high: float
) -> tuple[Floats, Floats, npt.NDArray[np.intp]]:
    """Return the least and the most FePO4 of each plate, and which are active."""
    if not 0 <= active_fraction <= 1:
        raise BadInputError(f"active fraction = {active_fraction:g}; expected 0 to 1")
    if not low + MARGIN < threshold < high - MARGIN:
        raise BadInputError(
            f"threshold = {threshold:g}; expected between {low + MARGIN:g} and {high - MARGIN:g}"
        )
    count = len(scores)
    active = np.argsort(-scores, kind="stable")[: round(active_fraction * count)]
    floor, ceiling = np.full(count, low), np.full(count, threshold - MARGIN)
    floor[active], ceiling[active] = threshold + MARGIN, high
    return floor, ceiling, active


def _steps(count: int, active: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
    only = np.zeros(count)
    only[active] = 1.0
    return only, np.ones(count)
