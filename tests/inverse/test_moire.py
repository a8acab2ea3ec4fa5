"""Moiré fringes: spacings as published, spots found to their uncertainty, planes or no verdict."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.inverse.moire import (
    CANNOT_TELL,
    LITHIUM_OXIDE,
    MoireOptions,
    Planes,
    find_spots,
    identify_moire,
    moire_spacing,
)

PIXEL = 0.4
PAIRS = {"Li 110 / Li2O 111": (2.4814, 2.6668), "Li 110 / Li2O 200": (2.4814, 2.3095)}


def waves(*spots: tuple[float, float], seed: int, contrast: float = 0.15) -> np.ndarray:
    """Return counts of 40 electrons on a pixel with fringes of (spacing, direction in degree)."""
    y, x = (PIXEL * np.arange(n) for n in (256, 240))
    mean = 40.0 * np.ones((256, 240))
    for spacing, angle in spots:
        along = x * np.cos(np.radians(angle)) + y[:, None] * np.sin(np.radians(angle))
        mean += 40 * contrast * np.cos(2 * np.pi * along / spacing + 1)
    return np.random.default_rng(seed).poisson(mean).astype(float)


def test_spacings_are_the_published_ones() -> None:
    assert moire_spacing(*PAIRS["Li 110 / Li2O 111"]) == pytest.approx(35.7, abs=0.05)
    assert moire_spacing(*PAIRS["Li 110 / Li2O 200"]) == pytest.approx(33.3, abs=0.05)


@given(
    first=st.floats(1, 5), second=st.floats(1, 5), angle=st.floats(0.1, 30), turn=st.floats(0, 360)
)
def test_the_spacing_is_one_over_the_distance_of_the_spots(
    first: float, second: float, angle: float, turn: float
) -> None:
    ends = np.exp(1j * np.radians([turn, turn + angle])) / [first, second]
    assert moire_spacing(first, second, angle=angle) == pytest.approx(1 / abs(ends[0] - ends[1]))
    # The formula of small angles, to its own order.
    small = first * second / np.hypot(first - second, np.sqrt(first * second) * np.radians(angle))
    assert moire_spacing(first, second, angle=angle) == pytest.approx(small, rel=0.012)


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=12)
@given(turn=st.floats(0, 360), angle=st.floats(-2, 2), seed=st.integers(0, 99))
def test_planes_are_named(name: str, turn: float, angle: float, seed: int) -> None:
    first, second = PAIRS[name]
    found = identify_moire(
        find_spots(waves((first, turn), (second, turn + angle), seed=seed), pixel=PIXEL)
    )
    assert found["verdict"].values.tolist() == [name]
    true = moire_spacing(first, second, angle=angle)
    assert abs(float(found["spacing"][0]) - true) < 5 * float(found["spacing_std"][0])
    assert abs(float(found["angle"][0]) - abs(angle)) < 5 * float(found["angle_std"][0]) + 0.02


def test_places_of_spots_are_as_sure_as_told() -> None:
    pulls = []
    for seed in range(60):
        spots = find_spots(waves((2.4814, 33.0), seed=seed, contrast=0.05), pixel=PIXEL)
        true = np.array([np.cos(np.radians(33.0)), np.sin(np.radians(33.0))]) / 2.4814
        g = spots["g"].values[0] * np.sign(spots["g"].values[0] @ true)
        pulls.append((g - true) / spots["g_std"].values[0])
    rms = np.sqrt(np.mean(np.square(pulls)))
    # Of 120 pulls the rms is known to 1 / sqrt(240).
    assert abs(rms - 1) < 4 / np.sqrt(240)


def test_planes_as_wide_as_others_are_not_named() -> None:
    # LiF 111 and Li2O 200 differ by 0.65 %, as much as strain may do.
    outer = (*LITHIUM_OXIDE, Planes(name="LiF 111", spacing=2.3246))
    spots = find_spots(waves((2.4814, 10.0), (2.317, 10.5), seed=1), pixel=PIXEL)
    found = identify_moire(spots, options=MoireOptions(outer=outer))
    assert found["verdict"].values.tolist() == [CANNOT_TELL]
    assert float(found["probability"].sum()) == pytest.approx(1)
    strange = identify_moire(find_spots(waves((2.10, 10.0), (2.25, 10.5), seed=1), pixel=PIXEL))
    assert strange["verdict"].values.tolist() == [CANNOT_TELL]
    assert float(strange["probability"].sel(candidate="unknown")[0]) > 0.95


def test_noise_shows_no_spots() -> None:
    seen = sum(find_spots(waves(seed=seed), pixel=PIXEL).sizes["spot"] > 0 for seed in range(60))
    # At most one frame in a hundred; five of sixty have a probability of 0.03 %.
    assert seen < 5
    with pytest.raises(BadInputError, match="two axes"):
        find_spots(np.zeros(40), pixel=PIXEL)
