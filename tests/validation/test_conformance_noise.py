"""Conformance of noise models: honest ones pass, each kind of fault is caught."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.forward.noise import PoissonCounting
from echolith.protocols import Noise
from echolith.seeds import stream
from echolith.validation import sampled_information as sampled_information_module
from echolith.validation.conformance import ConformanceError, check_noise
from echolith.validation.sampled_information import sampled_information

READ_OUT = 2.0
Sample = Callable[[xr.Dataset, int], xr.Dataset]


def mean() -> xr.Dataset:
    values = stream(0, "mean").gamma(1.0, 4.0, (6, 7, 8, 5))
    axes = ("scan_y", "scan_x", "detector_y", "detector_x")
    coords = {
        name: (name, np.arange(float(n)), {"units": "Å"})
        for name, n in zip(axes, values.shape, strict=True)
    }
    return xr.Dataset(
        {"counts": (axes, values, {"units": "electrons"})}, coords=coords
    ).assign_attrs(exposure=1.0)


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """A noise of given draws; the information of counting unless given."""

    draw: Sample
    fisher: Callable[[Any, Any], Any] = field(default=lambda mu, j: j.T @ (j / mu[:, None]))

    def sample(self, mean: xr.Dataset, *, seed: int) -> xr.Dataset:
        return self.draw(mean, seed)

    def information(self, mean: Any, jacobian: Any) -> Any:
        return self.fisher(mean, jacobian)


def poisson(mean: xr.Dataset, seed: int) -> xr.Dataset:
    return PoissonCounting().sample(mean, seed=seed)


def drawn(
    mean: xr.Dataset, change: Callable[[Any, np.random.Generator], Any], seed: int
) -> xr.Dataset:
    """Draw the whole data set at once, whatever its chunks."""
    mean = mean.compute()
    random = stream(seed, "counts")
    return mean.assign(
        {n: v.copy(data=change(v.values.astype(float), random)) for n, v in mean.items()}
    )


def read_out(mean: xr.Dataset, seed: int) -> xr.Dataset:
    return drawn(mean, lambda v, r: v + READ_OUT * r.standard_normal(v.shape), seed)


def binomial(mean: xr.Dataset, seed: int) -> xr.Dataset:
    """Each pixel holds at most 1000: variance mu (1 - mu / 1000)."""
    return drawn(mean, lambda v, r: r.binomial(1000, v / 1000), seed)


HONEST: dict[str, tuple[Noise, Callable[[Any], Any]]] = {
    "Poisson": (PoissonCounting(), lambda mu: mu),
    "read-out": (
        Sampler(draw=read_out, fisher=lambda mu, j: j.T @ j / READ_OUT**2),
        lambda mu: np.full_like(mu, READ_OUT**2),
    ),
    "binomial": (
        Sampler(draw=binomial, fisher=lambda mu, j: j.T @ (j / (mu * (1 - mu / 1000))[:, None])),
        lambda mu: mu * (1 - mu / 1000),
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_noise_passes_with_and_without_its_variance(name: str) -> None:
    noise, variance = HONEST[name]
    check_noise(noise, mean=mean(), variance=variance)
    check_noise(noise, mean=mean(), information_at=())


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_no_false_alarm_from_any_seed(seed: int) -> None:
    check_noise(
        PoissonCounting(), mean=mean(), seed=seed, variance=lambda mu: mu, information_at=()
    )


def test_sparse_counts_pass() -> None:
    check_noise(PoissonCounting(), mean=mean() * 1e-3 + 1e-9, information_at=())
    check_noise(PoissonCounting(), mean=mean() * 0.0 + 1e-3, information_at=())


def global_draws(mean: xr.Dataset, seed: int) -> xr.Dataset:
    np.random.seed(seed)  # noqa: NPY002 - the mistake itself
    return drawn(mean, lambda v, _: np.random.poisson(v), seed)  # noqa: NPY002


def per_chunk(mean: xr.Dataset, seed: int) -> xr.Dataset:
    def draw(block: Any) -> Any:
        return np.asarray(stream(seed, "counts").poisson(block), "u4")

    counts = mean["counts"]
    drawn = draw(counts.values) if counts.chunks is None else counts.data.map_blocks(draw)
    return mean.assign(counts=counts.copy(data=drawn))


def spoils_the_mean(mean: xr.Dataset, seed: int) -> xr.Dataset:
    counts = poisson(mean, seed)
    if mean["counts"].chunks is None:
        mean["counts"].values[0] += 1e-6
    return counts


def changing(change: Callable[[xr.Dataset], xr.Dataset]) -> Sampler:
    return Sampler(draw=lambda mean, seed: change(poisson(mean, seed)))


def before(change: Callable[[Any], Any]) -> Sampler:
    """Draw from a changed mean."""
    return Sampler(draw=lambda m, seed: poisson(m.map(change, keep_attrs=True), seed))


def told(information: Callable[[Any, Any], Any]) -> Sampler:
    return Sampler(draw=poisson, fisher=information)


@pytest.mark.parametrize(
    ("noise", "check", "words"),
    [
        (Sampler(draw=global_draws), "global random state", "numpy.random"),
        (Sampler(draw=spoils_the_mean), "input left alone", "changed"),
        (Sampler(draw=lambda m, _: poisson(m, 3)), "seeds differ", "the same draw"),
        (Sampler(draw=per_chunk), "chunks", "values differ"),
        (changing(lambda c: c.drop_attrs()), "labels", "attributes"),
        (changing(lambda c: c.drop_vars("scan_x")), "labels", "'scan_x' lost"),
        (changing(lambda c: c.transpose("scan_x", ...)), "labels", "other dims"),
        (changing(lambda c: c.where(c > 0)), "labels", "not finite"),
        (before(lambda v: 1.05 * v), "mean", "off their total"),
        (before(lambda v: v.copy(data=v.values[..., ::-1])), "mean", "off their total"),
        (before(lambda v: np.maximum(v, 1.0)), "mean", "pixels of mean"),
        (changing(lambda c: 2 * (c // 2)), "mean", "off their total"),
        (told(lambda mu, j: j.T @ (j / mu[:, None] ** 2)), "variance|information", "mean"),
        (told(lambda mu, j: j.T @ (j / (mu + READ_OUT**2)[:, None])), "variance", "inverse"),
        (told(lambda mu, j: 2 * j.T @ (j / mu[:, None])), "information", "as its draws tell"),
        (told(lambda mu, j: j.T @ j), "variance|information", "mean"),
        (told(lambda mu, j: -j.T @ (j / mu[:, None])), "information", "smallest eigenvalue"),
        (told(lambda mu, j: np.triu(j.T @ (j / mu[:, None]))), "information", "asymmetry"),
        (told(lambda mu, j: np.diag(np.abs(j / mu[:, None]).sum(0))), "information", "twice"),
        (told(lambda mu, j: j.T @ (j / mu[:, None]) * np.nan), "information", "not finite"),
        (told(lambda mu, j: np.ones(1)), "information", "shape (1,)"),
    ],
)
def test_a_broken_noise_is_caught(noise: Sampler, check: str, words: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_noise(noise, mean=mean())
    assert caught.value.check in check.split("|")
    assert words in str(caught.value)


@pytest.mark.parametrize("excess", [0.9, 1.1])
def test_a_wrong_variance_is_caught_at_the_right_mean(excess: float) -> None:
    wide = Sampler(
        draw=lambda m, seed: drawn(
            m, lambda v, r: v + np.sqrt(excess * v) * r.standard_normal(v.shape), seed
        )
    )
    with pytest.raises(ConformanceError, match="variance"):
        check_noise(wide, mean=mean(), variance=lambda mu: mu, draws=64)


def test_less_variance_than_the_information_allows_is_caught() -> None:
    with pytest.raises(ConformanceError, match=r"variance: .* or more, the inverse info"):
        check_noise(
            Sampler(draw=lambda m, seed: drawn(m, lambda v, r: v + 0.1 * r.random(), seed)),
            mean=mean(),
        )


def test_information_from_few_draws_is_right_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    # Chance would add about 12 % here; one value spreads by about 20 %.
    monkeypatch.setattr(sampled_information_module, "PIXELS", 4900)
    found = [
        sampled_information(PoissonCounting(), template=mean(), value=4.0, seed=3 * n).value
        for n in range(100)
    ]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - 0.25) < 4 * error + 0.01 * 0.25


@pytest.mark.parametrize(
    ("noise", "value", "expected"),
    [
        # Closed forms: counting 1/mu, read-out 1/sigma², a Bernoulli pixel 1/(p (1 - p)).
        (PoissonCounting(), 0.5, 2.0),
        (PoissonCounting(), 30.0, 1 / 30),
        (HONEST["read-out"][0], 5.0, 1 / READ_OUT**2),
        (
            Sampler(draw=lambda m, seed: drawn(m, lambda v, r: r.random(v.shape) < v, seed)),
            0.2,
            1 / 0.16,
        ),
    ],
)
def test_information_from_draws_is_that_of_closed_forms(
    noise: Any, value: float, expected: float
) -> None:
    found = sampled_information(noise, template=mean(), value=value)
    assert abs(found.value - expected) < found.uncertainty
    assert found.uncertainty < 0.1 * expected
