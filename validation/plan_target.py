"""What a plan has to reach: errors allowed, and the share of measurements that keep to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import beta, norm

from echolith.errors import BadInputError
from echolith.validation.residuals import from_json

SINGLE = "_single"


@dataclass(frozen=True, kw_only=True)
class Target:
    """The errors that are allowed.

    Attributes
    ----------
    errors : mapping of str to float
        Largest error of each quantity, in its unit. Of a quantity that a measurement holds many
        values of it is their root mean square.
    share : float
        Of measurements that are to keep to each of them.
    many : frozenset of str
        Quantities that a measurement holds many values of.
    """

    errors: Mapping[str, float]
    share: float = 0.9
    many: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what nothing can be planned for."""
        if not self.errors:
            raise BadInputError(
                "target is empty; name a quantity and its error, e.g. spacing=0.002"
            )
        for name, error in self.errors.items():
            if not 0 < error < np.inf:
                raise BadInputError(
                    f"target {name} = {error:g}; expected an error above 0, in the quantity's unit"
                )
        if not 0.5 <= self.share < 1:
            raise BadInputError(
                f"share = {self.share:g}; expected 0.5 to below 1, e.g. 0.9: nine of ten "
                "measurements keep to the target"
            )

    def spread(self, name: str) -> float:
        """Return the standard deviation that a quantity may have.

        One value keeps to an error E in a share p of measurements if its standard deviation is
        ``E / z`` with ``p = P(|z'| < z)`` of the normal distribution; the root mean square of many
        values hardly differs from their standard deviation.
        """
        if name in self.many:
            return self.errors[name]
        return float(self.errors[name] / norm.ppf((1 + self.share) / 2))

    def excess(self, bounds: Mapping[str, float]) -> float:
        """Return how many times the worst bound exceeds what it may be; at most 1: all is met.

        Infinite where a quantity has no bound.
        """
        return max(bounds.get(name, np.inf) / self.spread(name) for name in self.errors)

    def kept(self, case: Mapping[str, Any]) -> bool:
        """Return whether a finished case keeps to every error; what it did not find it does not."""
        return all(case_error(case, name) <= error for name, error in self.errors.items())


def case_error(case: Mapping[str, Any], name: str) -> float:
    """Return the error of a quantity in a finished case, infinite where it was not found.

    ``<name>_single``, or a quantity of which a case holds many values: their root mean square.
    """
    row = case["quantities"].get(name)
    if row is not None:
        known = row["truth"] is not None and row["estimate"] is not None
        return abs(row["estimate"] - row["truth"]) if known else np.inf
    residuals = from_json(case["residuals"]).get(name.removesuffix(SINGLE))
    if residuals is None or not len(residuals.error):
        return float(np.inf)
    return float(np.sqrt(np.mean(residuals.error**2)))


def share_interval(kept: int, cases: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of a share of which ``kept`` of ``cases`` were seen.

    References
    ----------
    Clopper and Pearson, Biometrika 26 (1934) 404.

    Examples
    --------
    >>> [round(limit, 3) for limit in share_interval(18, 20)]
    [0.683, 0.988]
    """
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, kept, cases - kept + 1) if kept else 0.0
    high = beta.ppf(1 - tail, kept + 1, cases - kept) if kept < cases else 1.0
    return float(low), float(high)
