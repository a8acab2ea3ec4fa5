"""Whether an oxide thickens linearly or as the root of time, and how fast.

``t = t0 + r time`` where the reaction at the surface limits, ``t² = t0² + r time`` where diffusion
through the oxide does (Wagner, Z. Phys. Chem. B 21 (1933) 25). Both have two parameters, so the
likelihoods of their best fits are compared as they are.
"""

from enum import Enum

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError

Array = npt.NDArray[np.float64]

FEWEST = 3
CERTAIN = 0.95


class ThickeningVerdict(Enum):
    """Which law a thickness follows."""

    LINEAR = "linear"
    PARABOLIC = "parabolic"
    CANNOT_TELL = "cannot tell"


def thickening_law(
    time: npt.ArrayLike, thickness: npt.ArrayLike, *, thickness_std: npt.ArrayLike
) -> xr.Dataset:
    """Weigh the two laws against each other.

    Parameters
    ----------
    time : array (n,)
        s.
    thickness : array (n,)
        Å.
    thickness_std : array (n,)
        Of the errors that are independent between times, Å (``thickness_noise`` of
        `echolith.inverse.orientation_map.recover_oxide`).

    Returns
    -------
    xarray.Dataset
        Over ``law`` (linear, parabolic): ``probability`` and ``rate`` (Å/s, Å²/s) with ``_std``.
        Attribute ``verdict``: a `ThickeningVerdict`, named from a probability of 0.95.

    Raises
    ------
    BadInputError
        If there are fewer than three thicknesses, or a standard deviation is not above 0.

    Examples
    --------
    >>> time = np.arange(0, 400, 20.0)
    >>> found = thickening_law(time, np.sqrt(100 + 4 * time), thickness_std=0.3 * np.ones(20))
    >>> found.attrs["verdict"], round(float(found.rate[1]), 6)
    ('parabolic', 4.0)
    """
    t, values, std = (np.asarray(one, dtype=float) for one in (time, thickness, thickness_std))
    if len(t) < FEWEST or not (std > 0).all() or not np.isfinite([t, values, std]).all():
        raise BadInputError(
            f"{len(t)} thicknesses with standard deviations from "
            f"{np.min(std, initial=np.inf):g} Å; expected three or more finite ones, "
            "with errors above 0 Å"
        )
    fits = (
        _line(t, values, std),
        # The error of a square is twice the value times its error.
        _line(t, values**2, 2 * np.maximum(np.abs(values), std) * std),
    )
    logs = -0.5 * np.array([misfit for _, _, misfit in fits])
    probability = np.exp(logs - logs.max())
    probability /= probability.sum()
    laws = list(ThickeningVerdict)[:2]
    best = int(probability.argmax())
    verdict = laws[best] if probability[best] > CERTAIN else ThickeningVerdict.CANNOT_TELL
    return xr.Dataset(
        {
            "probability": ("law", probability, {"units": "1"}),
            "rate": ("law", np.array([rate for rate, _, _ in fits]), {"units": "Å/s, Å²/s"}),
            "rate_std": ("law", np.array([s for _, s, _ in fits]), {"units": "Å/s, Å²/s"}),
        },
        coords={"law": [law.value for law in laws]},
        attrs={"verdict": verdict.value},
    )


def _line(t: Array, values: Array, std: Array) -> tuple[float, float, float]:
    """Return slope, its standard deviation and the sum of squares of a weighted line."""
    design = np.stack([np.ones_like(t), t], axis=1) / std[:, None]
    covariance = np.linalg.inv(design.T @ design)
    found = covariance @ design.T @ (values / std)
    misfit = float(((values / std - design @ found) ** 2).sum())
    return float(found[1]), float(np.sqrt(covariance[1, 1])), misfit
