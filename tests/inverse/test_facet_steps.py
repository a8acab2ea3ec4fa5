"""Rows that come whole: the chain's posterior against all paths, and its errors."""

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.inverse.facet_outline import FINE
from echolith.inverse.facet_steps import AT_REST, LEARNT, stepped

Array = npt.NDArray[np.float64]

ROWS = 3
PLACES = np.arange((ROWS - 1) * FINE + 1) / FINE


def transitions(rests: float) -> Array:
    away = np.abs(np.subtract.outer(np.arange(ROWS), np.arange(ROWS)))
    return np.where(away == 0, rests, (1 - rests) / 2 * 0.5**away)


def by_paths(logs: Array, gaps: npt.NDArray[np.int64], rests: float) -> tuple[Array, Array, float]:
    """Return means, standard deviations and the rests expected, from every path there is."""
    prior = transitions(rests)
    total, rested = 0.0, 0.0
    moments = np.zeros((2, len(logs)))
    # Rows before and after every frame.
    for path in product(range(ROWS), repeat=2 * len(logs)):
        pairs = list(zip(path[::2], path[1::2], strict=True))
        weight, means = 1.0, []
        for f, (n, m) in enumerate(pairs):
            if f:
                weight *= np.linalg.matrix_power(prior, gaps[f] - 1)[pairs[f - 1][1], n]
            part = slice(FINE * min(n, m), FINE * max(n, m) + 1)
            likelihood, x = np.exp(logs[f, part]), PLACES[part]
            weight *= prior[n, m] * likelihood.mean()
            step = (n != m) / 12 / FINE**2
            means.append(likelihood @ np.stack([x, x**2 + step], axis=1) / likelihood.sum())
        total += weight
        rested += weight * sum(n == m for n, m in pairs)
        moments += weight * np.transpose(means)
    mean, square = moments / total
    return mean, np.sqrt(square - mean**2), rested / total


@given(seed=st.integers(0, 1000), gap=st.integers(1, 3))
def test_the_posterior_is_that_of_all_paths(seed: int, gap: int) -> None:
    logs = np.random.default_rng(seed).normal(0, 3, (3, len(PLACES)))
    gaps = np.array([1, 1, gap])
    rests = AT_REST
    for _ in range(LEARNT - 1):
        rests = (1 + by_paths(logs, gaps, rests)[2]) / (2 + len(logs))
    mean, std, _ = by_paths(logs, gaps, rests)
    found = stepped(logs, np.zeros(3, dtype=np.int64), np.full(3, 1e3), gaps)
    np.testing.assert_allclose(found, (mean, std), atol=1e-6)


def test_errors_of_edges_that_rest_and_jump_fit_their_uncertainty() -> None:
    draw = np.random.default_rng(7)
    errors, stds = [], []
    for _ in range(40):
        frames = 40
        jumps = np.where(draw.random(frames) < 0.15, draw.integers(1, 3, frames), 0)
        after = 5 + np.cumsum(jumps)
        true = after - jumps * draw.random(frames)
        seen = true + draw.normal(0, 0.4, frames)
        low = int(after.min()) - 5
        places = low + np.arange((int(np.ptp(after)) + 10) * FINE + 1) / FINE
        logs = -0.5 * ((places - seen[:, None]) / 0.4) ** 2
        mean, std = stepped(
            logs, np.full(frames, low), np.full(frames, 1e3), np.ones(frames, dtype=np.int64)
        )
        errors.append(mean - true)
        stds.append(std)
    error, std = np.concatenate(errors), np.concatenate(stds)
    # Far better than one frame (0.4 rows), and as well as it says.
    assert np.sqrt(np.mean(error**2)) < 0.25
    assert np.mean(error**2) / np.mean(std**2) == pytest.approx(1, abs=0.2)


def test_beyond_the_corner_there_is_no_edge() -> None:
    logs = np.zeros((4, 8 * FINE + 1))
    logs[:, : 3 * FINE] = -1e3
    mean, std = stepped(
        logs, np.zeros(4, dtype=np.int64), np.full(4, 4.5), np.ones(4, dtype=np.int64)
    )
    assert (mean <= 4.5).all()
    assert (mean > 3).all()
    assert (std < 1).all()
