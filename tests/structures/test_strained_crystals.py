"""Strained particles: sizes as asked for, apart from one another, gradients where they belong."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from echolith.errors import BadInputError
from echolith.structures import strained_particles
from echolith.structures.strained_crystals import MapSize, crystal_cluster, single_crystal
from echolith.structures.strained_fields import SpacingGradient
from echolith.structures.strained_particles import particle_diameters, particle_field

SIZE = MapSize(shape=(90, 120), pixel=100.0)
FEW = settings(max_examples=15)


def test_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(strained_particles).failed == 0


@given(mean=st.floats(10, 1e5), part=st.floats(0.01, 2), seed=st.integers(0, 99))
def test_diameters_follow_the_distribution_asked_for(mean: float, part: float, seed: int) -> None:
    drawn = particle_diameters(400, mean=mean, spread=part * mean, seed=seed)
    shape = float(np.std(np.log(drawn)))
    asked_shape = np.log1p(part**2) ** 0.5
    asked = stats.lognorm(s=asked_shape, scale=mean / np.sqrt(1 + part**2))
    assert asked.mean() == pytest.approx(mean)
    assert asked.std() == pytest.approx(part * mean)
    # Kolmogorov: 2.3 / sqrt(n) is passed by one seed in 20000.
    assert stats.kstest(drawn, asked.cdf).statistic < 2.3 / 20
    assert shape == pytest.approx(asked_shape, rel=0.2)


@FEW
@given(seed=st.integers(0, 10_000), spread=st.floats(0, 500))
def test_particles_have_their_size_and_touch_none(seed: int, spread: float) -> None:
    diameters = np.minimum(particle_diameters(5, mean=2000.0, spread=spread, seed=seed), 2600)
    found = particle_field(SIZE, reference=4.7, diameters=diameters, margin=300.0, seed=seed)
    points = np.bincount(found.domain.ravel(), minlength=6)[1:]
    area = np.pi / 4 * (diameters / SIZE.pixel) ** 2
    # Counting pixels of a shape errs by about 0.7 sqrt(radius) (Kendall 1948).
    assert (np.abs(points - area) < 5 * 0.7 * np.sqrt(diameters / 2 / SIZE.pixel)).all()
    assert ndimage.label(found.domain > 0, np.ones((3, 3)))[1] == 5
    assert not found.domain[:3].any()
    assert not found.domain[:, -3:].any()
    assert (found.intensity > 0)[found.domain > 0].all()


@FEW
@given(
    radial=st.floats(-0.01, 0.01),
    linear=st.floats(-0.01, 0.01),
    direction=st.floats(-180, 180),
    seed=st.integers(0, 1000),
)
def test_gradients_are_added_to_what_there_is(
    radial: float, linear: float, direction: float, seed: int
) -> None:
    gradient = SpacingGradient(radial=radial, linear=linear, direction=direction)
    turn = np.radians(direction)
    diameters = np.array([3000.0])
    plain, changed = (
        particle_field(SIZE, reference=4.7, diameters=diameters, gradient=chosen, seed=seed)
        for chosen in (None, gradient)
    )
    inside = changed.domain > 0
    added = (changed.strain - plain.strain)[inside]
    y, x = (axis[inside] - axis[inside].mean() for axis in np.indices(SIZE.shape) * 100.0)
    along = (x * np.cos(turn) + y * np.sin(turn)) / 3000
    # Off by where the polygon's centre of mass is not its core.
    rest = added - linear * along
    away = np.hypot(x, y)
    assert rest[away < 200] == pytest.approx(0, abs=0.15 * (abs(radial) + abs(linear)) + 1e-12)
    rim = inside & ndimage.binary_dilation(~inside)
    # A pixel of the rim lies up to one in 15 inside; a corner of two faces is 2 ** (1 / 6) as far.
    slack = 0.2 * abs(linear) + 1e-12
    low, high = sorted((0.75 * radial, 1.35 * radial))
    reached = rest[rim[inside]]
    assert low - slack <= reached.min()
    assert reached.max() <= high + slack
    # Nothing else changes.
    assert (plain.tilt == changed.tilt).all()
    assert (plain.width == changed.width).all()


def test_a_crystal_and_a_cluster_carry_gradients() -> None:
    gradient = SpacingGradient(radial=5e-3)
    for make in (single_crystal, crystal_cluster):
        plain, changed = (make(SIZE, reference=4.7, gradient=g, seed=3) for g in (None, gradient))
        added = (changed.strain - plain.strain)[changed.domain > 0]
        assert 0 <= added.min() < 1e-4
        assert 5e-3 < added.max() < 1.35 * 5e-3


@FEW
@given(orientation=st.floats(0.1, 15), seed=st.integers(0, 1000))
def test_grains_of_a_cluster_are_crystals_of_their_own(orientation: float, seed: int) -> None:
    found = crystal_cluster(
        SIZE, reference=4.7, grains=40, orientation=orientation, strain=2e-3, tilt=0.01, seed=seed
    )
    grains = [found.domain == n for n in range(1, 41) if (found.domain == n).sum() > 20]
    means = [found.strain[grain].mean() for grain in grains]
    inside = [found.strain[grain].std() for grain in grains]
    # The standard deviation of n values is known to 1 / sqrt(2 n).
    slack = 5 / np.sqrt(2 * len(grains))
    assert np.std(means) > 2e-3 * (1 - slack)
    assert np.median(inside) < 0.5 * np.std(means)
    lean = np.degrees([found.tilt[grain].mean(axis=0) for grain in grains])
    assert lean.std(axis=0) == pytest.approx(orientation, rel=slack)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: particle_diameters(3, mean=0, spread=1), "above 0 Å"),
        (lambda: particle_field(SIZE, reference=4.7, diameters=np.array([6e3, 5e3])), "1 of 2 p"),
        (lambda: particle_field(SIZE, reference=4.7, diameters=np.array([300.0])), "least 300 Å"),
        (lambda: single_crystal(SIZE, reference=4.7, domains=0), "domains = 0"),
        (lambda: crystal_cluster(SIZE, reference=4.7, grains=1), "grains = 1"),
        (lambda: crystal_cluster(SIZE, reference=4.7, strain=-1e-3), "strain = -0.001"),
        (lambda: SpacingGradient(radial=0.5), "radial = 0.5"),
        (lambda: MapSize(shape=(4, 20)), "8 or more"),
    ],
)
def test_what_cannot_be_is_refused(make: object, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        make()  # type: ignore[operator]
