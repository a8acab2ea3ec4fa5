"""Fisher information of one pixel estimated from draws, with nothing known of the noise."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.protocols import Noise

PIXELS = 1_000_000
STEP = 0.1
"""Change of the mean in standard deviations of a pixel."""
TRUNCATION = 0.02
"""Relative error left by that step (0.7 % for a normal distribution) and by the bins."""
BINS = 64


class Sampled(NamedTuple):
    """An information and how far off it may be (five standard errors and the truncation)."""

    value: float
    uncertainty: float


def sampled_information(
    noise: Noise, *, template: xr.Dataset, value: float, seed: int = 0
) -> Sampled:
    """Estimate the Fisher information of a pixel about its own mean.

    ``F = sum_k (dp_k / dmu)² / p_k`` over bins k of the drawn values; the derivative is the
    difference of draws at ``mu ± h``. Chance adds one per bin to ``2 N h² F``, which is taken off.

    Parameters
    ----------
    noise : Noise
    template : xarray.Dataset
        Its first variable of floats and its attributes are used, with every pixel of one mean.
    value : float
        The mean.
    seed : int
        The three draws are those of this seed and the next two.

    Returns
    -------
    Sampled

    References
    ----------
    Kay, *Fundamentals of Statistical Signal Processing: Estimation Theory* (1993), eq. 3.6.
    """
    centre = _drawn(noise, template, value, seed)
    step = STEP * float(centre.std())
    up, down = (
        _drawn(noise, template, value + sign * step, seed + 1 + (sign < 0)) for sign in (1, -1)
    )
    edges = _edges(centre)
    above, below = (np.histogram(side, edges)[0] / len(side) for side in (up, down))
    usual = (above + below) / 2
    seen = usual > 0
    n = len(centre)
    information = float(np.sum((above - below)[seen] ** 2 / usual[seen])) / (2 * step) ** 2
    scale = 1 / (2 * n * step**2)
    freedom = int(seen.sum()) - 1
    value_ = information - freedom * scale
    noncentral = max(value_, 0.0) / scale
    error = scale * float(np.sqrt(2 * freedom + 4 * noncentral))
    return Sampled(value_, 5 * error + TRUNCATION * max(value_, 0.0))


def _drawn(noise: Noise, template: xr.Dataset, value: float, seed: int) -> npt.NDArray[Any]:
    name, variable = next(
        (n, v) for n, v in template.data_vars.items() if np.issubdtype(v.dtype, np.floating)
    )
    # One axis of many repeats: noise models draw row by row or frame by frame.
    dims = variable.dims if variable.ndim > 1 else (*variable.dims, "repeat")[:2]
    side = int(np.sqrt(PIXELS))
    shape = (side, *[1] * (len(dims) - 2), side) if len(dims) > 1 else (PIXELS,)
    mean = xr.Dataset(
        {name: (dims, np.full(shape, value, dtype=variable.dtype), variable.attrs)},
        attrs=template.attrs,
    )
    return np.asarray(noise.sample(mean, seed=seed)[name].values, dtype=float).ravel()


def _edges(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Bins at the values themselves where these are few, else of equal numbers; open ends."""
    known = np.unique(values)
    if len(known) > 4 * BINS:
        known = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
        return np.concatenate([[-np.inf], known, [np.inf]])
    middle = (known[1:] + known[:-1]) / 2
    return np.concatenate([[-np.inf], middle, [np.inf]])
