"""Conformance of noise models with their protocol.

Statistical tests have a stated chance of a false alarm; information is compared with the Fisher
information estimated from draws alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import stats

from echolith.protocols import Noise
from echolith.seeds import stream
from echolith.validation.conformance_basics import called_purely, difference, fingerprint, require
from echolith.validation.sampled_information import sampled_information

Array = npt.NDArray[np.float64]
Variance = Callable[[Array], Array]

GROUPS = 16
LEAST_TOTAL = 30.0
"""Expected counts of a group and draw: the mean over 16 draws is normal enough for a t-test."""
PARAMETERS = 3


def check_noise(
    noise: Noise,
    *,
    mean: xr.Dataset,
    seed: int = 0,
    draws: int = 16,
    level: float = 1e-6,
    variance: Variance | None = None,
    information_at: tuple[float, ...] = (2.0, 20.0),
) -> None:
    """Check a noise model on one mean.

    Pixels are sorted by their mean into groups of equal expected counts. The mean over `draws`
    seeds of a group's total is compared with the expected one by a t-test, and so is that of the
    squared deviations with the variance.

    Parameters
    ----------
    noise : Noise
    mean : xarray.Dataset
        Expected counts; a part of a scan is enough.
    seed : int
        Of the first draw.
    draws : int
        Seeds drawn for the statistics, at least 4.
    level : float
        Chance that an honest noise model fails the tests of mean and variance together.
    variance : callable, optional
        Variance of a pixel as a function of its mean. Without it the variance must not be below
        the inverse of the information, which no unbiased draw can be.
    information_at : tuple of float
        Means at which the information of one pixel is compared with that estimated from a
        million draws; empty for a noise that is not independent from pixel to pixel.

    Raises
    ------
    ConformanceError
        At the first check failed: kind of result, input left alone, global random state, purity
        (seeds), labels, seeds differ, chunks, information, mean, variance.
    """
    whole = mean.compute()
    first = called_purely(
        "the noise", lambda: noise.sample(whole, seed=seed), lambda: fingerprint(whole)
    )
    _labels(first, whole)
    require(
        difference(first, noise.sample(whole, seed=seed + 1).compute()) is not None,
        "seeds differ",
        seen=f"the same draw from seeds {seed} and {seed + 1}",
        expected="draws that follow the seed",
    )
    _chunks(noise, whole, first, seed)
    _information(noise, whole)
    names = [n for n, v in whole.data_vars.items() if np.issubdtype(v.dtype, np.floating)]
    tests = _Tests(level=level, count=2 * (GROUPS + 1) * len(names))
    samples = [noise.sample(whole, seed=seed + n).compute() for n in range(max(draws, 4))]
    for name in names:
        expected = whole[name].values.astype(float).ravel()
        drawn = np.stack([s[name].values.astype(float).ravel() for s in samples])
        _moments(noise, str(name), expected, drawn, variance, tests)
    for value in information_at:
        _information_of_draws(noise, whole, value, seed)


@dataclass(frozen=True, kw_only=True)
class _Tests:
    """How improbable a deviation must be to count, the number of tests allowed for."""

    level: float
    count: int

    def low(self, deviations: Array) -> bool:
        """Tell whether draws of a number that should be 0 on average are too low."""
        return bool(
            self._t(deviations) < stats.t.ppf(self.level / self.count / 2, len(deviations) - 1)
        )

    def high(self, deviations: Array) -> bool:
        """Tell whether they are too high."""
        return self.low(-deviations)

    @staticmethod
    def _t(deviations: Array) -> float:
        error = float(deviations.std(ddof=1)) / np.sqrt(len(deviations))
        value = float(deviations.mean())
        if error == 0:
            return 0.0 if value == 0 else float(np.copysign(np.inf, value))
        return float(value / error)


def _labels(drawn: xr.Dataset, mean: xr.Dataset) -> None:
    for name, variable in mean.variables.items():
        same = name in drawn.variables and drawn.variables[name].dims == variable.dims
        require(
            same and drawn.variables[name].attrs == variable.attrs,
            "labels",
            seen=f"'{name}' lost, or with other dims or attributes than the mean",
            expected="variables, dims, coordinates and attributes of the mean",
        )
        require(
            bool(np.isfinite(np.asarray(drawn[name].values, dtype=float)).all())
            if variable.dtype.kind in "biuf"
            else True,
            "labels",
            seen=f"values of '{name}' that are not finite",
            expected="finite numbers",
        )
    require(
        {**mean.attrs} == {**drawn.attrs},
        "labels",
        seen="other attributes of the data set than those of the mean",
        expected="the metadata handed on",
    )


def _chunks(noise: Noise, whole: xr.Dataset, first: xr.Dataset, seed: int) -> None:
    dims = list(whole.sizes)
    for parts in (2, 3):
        chunks = {dim: -(-size // parts) if dim in dims[:2] else size
                  for dim, size in whole.sizes.items()}  # fmt: skip
        told = difference(first, noise.sample(whole.chunk(chunks), seed=seed).compute())
        require(
            told is None,
            "chunks",
            seen=f"{told} between draws from whole and from chunked means",
            expected="identical bits whatever the chunks (streams indexed by global position)",
        )


def _moments(
    noise: Noise,
    name: str,
    expected: Array,
    drawn: Array,
    variance: Variance | None,
    tests: _Tests,
) -> None:
    lowest, least = _variances(noise, expected, variance)
    for group in _groups(expected):
        deviation = drawn[:, group] - expected[group]
        totals, squares = deviation.sum(axis=1), (deviation**2).sum(axis=1)
        what = (
            f"'{name}', pixels of mean {expected[group].min():.3g} to {expected[group].max():.3g}"
        )
        require(
            not (tests.low(totals) or tests.high(totals)),
            "mean",
            seen=f"{what}: {totals.mean():+.3g} off their total of {expected[group].sum():.6g}",
            expected=f"the mean, within what {len(drawn)} draws tell at a level of {tests.level:g}",
        )
        excess = squares - lowest[group].sum()
        require(
            not (tests.low(excess) or (not least and tests.high(excess))),
            "variance",
            seen=f"{what}: {squares.mean():.6g} in all",
            expected=f"{lowest[group].sum():.6g}{' or more, the inverse information' * least}",
        )


def _variances(noise: Noise, expected: Array, variance: Variance | None) -> tuple[Array, bool]:
    """Return the variance of each pixel, and whether it is only a lower bound."""
    if variance is not None:
        return np.asarray(variance(expected), dtype=float), False
    positive = expected[expected > 0]
    if not len(positive):
        return np.zeros_like(expected), True
    at = np.unique(np.quantile(positive, np.linspace(0, 1, 33)))
    own = np.array([float(_matrix(noise, at[k : k + 1], np.ones((1, 1)))[0, 0])
                    for k in range(len(at))])  # fmt: skip
    inverse = np.divide(1.0, own, out=np.zeros_like(own), where=own > 0)
    return np.where(expected > 0, np.interp(expected, at, inverse), 0.0), True


def _groups(expected: Array) -> list[npt.NDArray[np.intp]]:
    """Return all pixels, then groups of about the same expected total, from dark to bright."""
    order = np.argsort(expected, kind="stable")
    total = np.cumsum(expected[order])
    groups = max(1, min(GROUPS, int(total[-1] / LEAST_TOTAL)))
    edges = np.searchsorted(total, total[-1] * np.arange(1, groups) / groups)
    return [order, *(part for part in np.split(order, edges) if len(part))]


def _information(noise: Noise, mean: xr.Dataset) -> None:
    values = np.concatenate(
        [v.values.astype(float).ravel() for v in mean.data_vars.values() if v.dtype.kind == "f"]
    )
    values = values[values > 0][:4096]
    random = stream(0, "jacobian")
    jacobian = values[:, None] * random.standard_normal((len(values), PARAMETERS))
    matrix = _matrix(noise, values, jacobian)
    asymmetry = float(np.abs(matrix - matrix.T).max())
    largest = float(np.abs(matrix).max())
    smallest = float(np.linalg.eigvalsh((matrix + matrix.T) / 2).min())
    require(
        asymmetry <= 1e-10 * largest and smallest >= -1e-10 * largest,
        "information",
        seen=f"asymmetry {asymmetry:.2g}, smallest eigenvalue {smallest:.2g} of {largest:.2g}",
        expected="a symmetric, positive semidefinite matrix",
    )
    scaled = _matrix(noise, values, 2 * jacobian)
    require(
        bool(np.allclose(scaled, 4 * matrix, rtol=1e-9, atol=1e-9 * largest)),
        "information",
        seen=f"{scaled[0, 0]:.6g} for twice the derivative, {matrix[0, 0]:.6g} for once",
        expected="a quadratic form of the derivative",
    )


def _matrix(noise: Noise, mean: Array, jacobian: Array) -> Array:
    before = fingerprint([mean, jacobian])
    matrix = np.asarray(noise.information(mean, jacobian), dtype=float)
    n = jacobian.shape[1]
    require(
        matrix.shape == (n, n) and bool(np.isfinite(matrix).all()),
        "information",
        seen=f"shape {matrix.shape}, {int((~np.isfinite(matrix)).sum())} values not finite",
        expected=f"a finite matrix ({n}, {n}) for {n} parameters",
    )
    require(
        fingerprint([mean, jacobian]) == before,
        "information",
        seen="a changed mean or derivative",
        expected="inputs left alone",
    )
    return matrix


def _information_of_draws(noise: Noise, mean: xr.Dataset, value: float, seed: int) -> None:
    stated = float(_matrix(noise, np.array([value]), np.ones((1, 1)))[0, 0])
    sampled = sampled_information(noise, template=mean, value=value, seed=seed)
    require(
        abs(stated - sampled.value) <= sampled.uncertainty,
        "information",
        seen=f"{stated:.5g} for one pixel of mean {value:g}",
        expected=f"{sampled.value:.5g} ± {sampled.uncertainty:.2g}, as its draws tell",
    )
