"""Which law does a growing length follow, how fast, and when did it change, or can nobody tell.

Laws are weighed by their evidence. Beforehand laws without a change are equally likely, those with
one less so; the length at the start, at every change and at the end is Gaussian about the middle
of the measured ones with their range (or 20 of their errors) as standard deviation; a start or
change is as likely at any time as at any other. Errors are the
stated ones times a common factor (log-normal), of which an unknown share remembers the frame
before (first-order autoregression). What is unknown of errors and times is integrated out.

References
----------
Kass and Raftery, J. Am. Stat. Assoc. 90 (1995) 773: evidence.
Fearnhead, Stat. Comput. 16 (2006) 203: the same for changes.
"""

from enum import Enum
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.special import logsumexp, ndtr, softmax

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.growth_law_evidence import AT_ONCE, Posterior, Series, law_posterior
from echolith.inverse.growth_law_shapes import GrowthLaw, GrowthShape
from echolith.inverse.growth_law_trends import trend_correlations

Array = npt.NDArray[np.float64]

FEWEST = 8
"""Lengths; fewer tell nothing about their errors."""
SPREAD = 20.0
"""Standard deviations of a length, up to which lengths differ beforehand though the measured ones
do not: else a constant could hardly be told from a growth that errors hide."""


class Verdict(Enum):
    """What a series of lengths says about the law."""

    FOUND = "found"
    CANNOT_TELL = "cannot tell"


class GrowthLawOptions(Settings):
    """What is known beforehand, and how sure a verdict must be."""

    laws: Annotated[tuple[GrowthLaw, ...], Field(min_length=1)] = tuple(GrowthLaw)
    """The candidates; with one alone its parameters are given in any case."""
    change_odds: Annotated[float, Field(gt=0, le=1)] = 0.1
    """How likely a law with a change is beforehand, by one without: a change takes evidence."""
    changes: Annotated[int, Field(ge=1, le=3)] = 1
    """Most changes of a piecewise linear law; each number up to it is as likely."""
    probability: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """A law must have at least this much of the posterior probability."""
    scale_std: Annotated[float, Field(ge=0, le=3)] = 0.5
    """Standard deviation of the logarithm of the factor on stated errors; 0: they are right."""
    largest_correlation: Annotated[float, Field(ge=0, lt=1)] = 0.98
    """Of errors one frame apart; 0: errors are white."""
    smoothing: Annotated[int, Field(ge=1)] = 9
    """Frames of the moving average of the smoothed correlation coefficients."""

    def odds(self, law: GrowthLaw) -> float:
        """Return how likely a law is beforehand, by one without a change."""
        changing = (GrowthLaw.PIECEWISE_LINEAR, GrowthLaw.LINEAR_ACCELERATED)
        return self.change_odds if law in changing else 1.0


def growth_law(
    time: npt.ArrayLike,
    length: npt.ArrayLike,
    *,
    length_std: npt.ArrayLike,
    options: GrowthLawOptions | None = None,
) -> xr.Dataset:
    """Weigh laws of growth against each other, and give the rates of the one that is found.

    Parameters
    ----------
    time : array (n,)
        Of every frame, increasing, s.
    length : array (n,)
        Å; NaN where a frame was dropped or the length not determined: such are left out.
    length_std : array (n,) or float
        Standard deviation of each length, Å.
    options : GrowthLawOptions, optional

    Returns
    -------
    xarray.Dataset
        Over ``law``, the likeliest first: ``probability``, ``log_evidence``. ``verdict``
        (`Verdict`) and ``supported``: the law found, empty where there is none.
        ``trend_correlation`` (series, power): Pearson's coefficient of the length, raw and
        smoothed, with t and with t². For the law found, each with ``_std`` and ``_interval``
        (limit; 95 %): ``velocity`` (piece; Å/s), ``acceleration`` (Å/s²), ``start_time`` of an
        accelerated law, ``change_time`` (change; s), ``error_scale``, ``error_share`` (that
        remembers), ``error_correlation`` (per frame); and ``fitted`` (time; Å) with ``_std``.
        Attributes ``reason``, and ``undetermined`` where no law is found.

    Raises
    ------
    BadInputError
        If shapes differ, times do not increase or a standard deviation is not positive.

    Examples
    --------
    >>> time = np.arange(100) / 25
    >>> error = np.random.default_rng(1).normal(0, 5, 100)
    >>> found = growth_law(time, 850 * time + error, length_std=5.0)
    >>> str(found["supported"].values), round(float(found["velocity"][0]))
    ('linear', 850)
    """
    options = options or GrowthLawOptions()
    t, y, std = _checked(time, length, length_std)
    if len(t) < FEWEST or np.ptp(y) == 0:
        reason = f"{len(t)} lengths that differ; expected at least {FEWEST}"
        if len(t) >= FEWEST:
            reason = f"all {len(t)} lengths are {y[0]:g} Å: such have no errors to judge by"
        return _nothing_known(options, reason)
    frame = float(np.median(np.diff(t)))
    middle = (y.max() + y.min()) / 2
    series = Series(
        places=(t - t[0]) / (t[-1] - t[0]),
        lengths=y - middle,
        std=std,
        gaps=np.diff(t, prepend=t[0]) / frame,
        span=float(t[-1] - t[0]),
        spread=max(float(np.ptp(y)), SPREAD * float(np.median(std))),
        scale_std=options.scale_std,
        largest_correlation=options.largest_correlation,
    )
    fits = [_fit(law, series, options) for law in dict.fromkeys(options.laws)]
    evidence = np.array([fit.log_evidence for fit in fits])
    believed = np.array([np.log(options.odds(fit.shape.law)) for fit in fits])
    order = np.argsort(-evidence - believed, kind="stable")
    names = [fits[n].shape.law.value for n in order]
    result = xr.Dataset(
        {
            "probability": ("law", softmax(evidence + believed)[order], {"units": "1"}),
            "log_evidence": ("law", evidence[order], {"units": "1"}),
            "trend_correlation": trend_correlations(t, y, smoothing=options.smoothing),
        },
        coords={"law": names},
    )
    best = fits[order[0]]
    result = _judged(result, options)
    if result["verdict"] == Verdict.FOUND.value:
        result = result.assign(_parameters(best, series, t[0]) | _band(best, series, t, middle))
    return result


class _Fit(NamedTuple):
    shape: GrowthShape
    posterior: Posterior
    log_evidence: float


def _checked(
    time: npt.ArrayLike, length: npt.ArrayLike, length_std: npt.ArrayLike
) -> tuple[Array, Array, Array]:
    """Return times, lengths and their errors where all are finite."""
    t, y = np.asarray(time, dtype=float), np.asarray(length, dtype=float)
    if t.ndim != 1 or t.shape != y.shape:
        raise BadInputError(f"time {t.shape} and length {y.shape}; expected two equal rows")
    std = np.asarray(length_std, dtype=float)
    if std.shape not in ((), t.shape):
        raise BadInputError(f"length_std {std.shape}; expected one number or {t.shape}")
    std = np.broadcast_to(std, t.shape)
    known = np.isfinite(t) & np.isfinite(y) & np.isfinite(std)
    t, y, std = t[known], y[known], std[known].copy()
    if (std <= 0).any():
        raise BadInputError(
            f"length_std = {std.min():g} Å; expected above 0 Å: without errors no law is weighed"
        )
    if (np.diff(t) <= 0).any():
        raise BadInputError("time does not increase from frame to frame; sort it")
    return t, y, std


def _fit(law: GrowthLaw, series: Series, options: GrowthLawOptions) -> _Fit:
    """Return a law with its most probable number of changes."""
    counts = [1]
    if law in (GrowthLaw.CONSTANT, GrowthLaw.LINEAR):
        counts = [0]
    if law is GrowthLaw.PIECEWISE_LINEAR:
        counts = list(range(1, options.changes + 1))
    shapes = [GrowthShape(law=law, times=count) for count in counts]
    found = [law_posterior(shape, series) for shape in shapes]
    each = np.array([one.log_evidence for one in found])
    best = int(np.argmax(each))
    return _Fit(shapes[best], found[best], float(logsumexp(each) - np.log(len(each))))


def _judged(result: xr.Dataset, options: GrowthLawOptions) -> xr.Dataset:
    name, share = str(result["law"].values[0]), float(result["probability"][0])
    if share >= options.probability:
        said = {"reason": f"{name} with a probability of {share:.4f}"}
        verdict, supported = Verdict.FOUND, name
    else:
        rival = str(result["law"].values[1])
        reason = f"{name} has a probability of {share:.2f} only; {rival} is too near"
        said = {"reason": reason, "undetermined": f"law and rates: {reason}"}
        verdict, supported = Verdict.CANNOT_TELL, ""
    return result.assign(verdict=((), verdict.value), supported=((), supported)).assign_attrs(said)


def _nothing_known(options: GrowthLawOptions, reason: str) -> xr.Dataset:
    """Return what was believed beforehand."""
    laws = list(dict.fromkeys(options.laws))
    odds = np.array([options.odds(law) for law in laws])
    trend = xr.DataArray(
        np.full((2, 2), np.nan),
        coords={"series": ["raw", "smoothed"], "power": [1, 2]},
        dims=("series", "power"),
        attrs={"units": "1"},
    )
    return xr.Dataset(
        {
            "probability": ("law", odds / odds.sum(), {"units": "1"}),
            "log_evidence": ("law", np.full(len(laws), np.nan), {"units": "1"}),
            "trend_correlation": trend,
            "verdict": ((), Verdict.CANNOT_TELL.value),
            "supported": ((), ""),
        },
        coords={"law": [law.value for law in laws]},
        attrs={"reason": reason, "undetermined": f"law and rates: {reason}"},
    )


def _parameters(fit: _Fit, series: Series, first: float) -> dict[str, xr.Variable]:
    """Return rates, times and errors of a law, each with its uncertainty."""
    found = fit.posterior
    turn = fit.shape.rates(found.times, series.span)
    mean = np.einsum("mqp,mp->mq", turn, found.factors)
    variance = np.einsum("mqp,mpr,mqr->mq", turn, found.covariance, turn)
    std = np.sqrt(variance + _within_cells(found, mean))
    result: dict[str, xr.Variable] = {}
    accelerated = fit.shape.law in (GrowthLaw.ACCELERATED, GrowthLaw.LINEAR_ACCELERATED)
    pieces = mean.shape[1] - accelerated
    if pieces:
        result |= _stated("velocity", "Å/s", found, mean[:, :pieces], std[:, :pieces], "piece")
    if accelerated:
        result |= _stated("acceleration", "Å/s²", found, mean[:, -1:], std[:, -1:])
    if fit.shape.times:
        times = first + series.span * found.times
        # A cell is as likely all over.
        width = series.span * found.width / 3**0.5
        if fit.shape.law is GrowthLaw.ACCELERATED:
            result |= _stated("start_time", "s", found, times, width)
        else:
            result |= _stated("change_time", "s", found, times, width, "change")
    for name in ("scale", "share", "correlation"):
        value = getattr(found, name)[:, None]
        result |= _stated(f"error_{name}", "1", found, value, np.zeros_like(value))
    return result


def _within_cells(found: Posterior, rates: Array) -> Array:
    """Return the variance (points, rates) of rates that change with the times within a cell."""
    if not found.times.shape[1]:
        return np.zeros_like(rates)
    times = found.times - found.weight @ found.times
    weighted = times * found.weight[:, None]
    slopes = np.linalg.lstsq(weighted.T @ times, weighted.T @ rates, rcond=None)[0]
    return np.asarray(found.width**2 / 3 @ slopes**2)


def _stated(
    name: str, unit: str, found: Posterior, mean: Array, std: Array, dim: str | None = None
) -> dict[str, xr.Variable]:
    """Return mean, standard deviation and 95 % interval of a mixture of Gaussians (points, q)."""
    centre = found.weight @ mean
    spread = np.sqrt(found.weight @ (std**2 + (mean - centre) ** 2))
    limits = np.stack([_quantile(part, found.weight, mean, std) for part in (0.025, 0.975)], axis=1)
    dims, at = ((dim,), slice(None)) if dim else ((), 0)
    units = {"units": unit}
    return {
        name: xr.Variable(dims, centre[at], units),
        f"{name}_std": xr.Variable(dims, spread[at], units),
        f"{name}_interval": xr.Variable((*dims, "limit"), limits[at], units),
    }


def _quantile(part: float, weight: Array, mean: Array, std: Array) -> Array:
    """Return where a mixture of Gaussians holds a part below, by bisection, (q,)."""
    wide = np.maximum(std, 1e-12 * (1 + np.abs(mean)))
    low, high = (mean - 9 * wide).min(axis=0), (mean + 9 * wide).max(axis=0)
    for _ in range(60):
        half = (low + high) / 2
        below = weight @ ndtr((half - mean) / wide) < part
        low, high = np.where(below, half, low), np.where(below, high, half)
    return np.asarray((low + high) / 2)


def _band(fit: _Fit, series: Series, times: Array, middle: float) -> dict[str, xr.Variable]:
    """Return the law at the times of the lengths that were used, with its uncertainty."""
    found = fit.posterior
    seen = np.flatnonzero(found.weight > 1e-4 * found.weight.max())
    pieces = np.array_split(seen, 1 + len(seen) * len(times) * 4 // AT_ONCE)
    moments = np.sum([_moments(fit, series, piece) for piece in pieces], axis=0)
    first, second = moments[1:] / moments[0]
    units = {"units": "Å"}
    return {
        "time": xr.Variable("time", times, {"units": "s"}),
        "fitted": xr.Variable("time", first + middle, units),
        "fitted_std": xr.Variable("time", np.sqrt(np.maximum(second - first**2, 0)), units),
    }


def _moments(fit: _Fit, series: Series, points: npt.NDArray[np.int64]) -> Array:
    """Return the weight of some points and the law's first two moments by it, (3, n)."""
    found = fit.posterior
    columns = fit.shape.columns(series.places, found.times[points])
    value = np.einsum("mip,mp->mi", columns, found.factors[points])
    own = np.einsum("mip,mpq,miq->mi", columns, found.covariance[points], columns, optimize=True)
    rows = np.stack([np.ones_like(value), value, value**2 + own])
    return np.asarray(np.einsum("m,kmi->ki", found.weight[points], rows))
