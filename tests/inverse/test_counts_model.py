"""The model of columns: its derivatives, and the frames it makes against the simulator's."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.inverse.counts_columns import ColumnState, Content, FieldGrid, Profiles
from echolith.inverse.counts_options import CountsOptions
from echolith.inverse.counts_phase import phase_gradient, phase_image
from echolith.inverse.counts_problem import CountsProblem, Part
from echolith.inverse.scan_transform import checked_counts
from tests.inverse.counts_sets import LAYERS, THICKNESS, acquisition, mean, true_columns

CONTENT = Content(
    species={"M": {"Mn": 1.0}, "O": {"O": 1.0}, "Li": {"Li": 1.0}}, filling={"M": {"Li": 1.0}}
)
OPTIONS = CountsOptions(content=CONTENT, thickness=THICKNESS, slice_thickness=2.8, least_box=12.0)
GRID = FieldGrid(origin=(-1.0, 0.5), shape=(40, 48), sampling=(0.2, 0.18))
Array = npt.NDArray[np.float64]


@lru_cache
def problem(rotation: float = 0.0) -> CountsProblem:
    from echolith.forward.acquisition import Scan

    scan = Scan(shape=(14, 15), step=(0.26, 0.25), rotation=rotation)
    counts, settings = checked_counts(mean(scan=scan))
    return CountsProblem.of(counts, settings, true_columns(), OPTIONS)


def some_state(random: np.random.Generator) -> ColumnState:
    """Three columns of two species with every parameter off its usual value."""
    return ColumnState(
        x=random.uniform(1.5, 8, 3),
        y=random.uniform(0, 6, 3),
        strength=random.uniform(1, 5, 3),
        group=np.array([1, 0, 0]),
        parity=np.array([0, 1, -1]),
        shape=random.normal(size=(2, 7)) * ([4e-3] * 3 + [3e-4] * 4),
        common=np.array([0.1, 9.0, 3.0, 6.0]),
    )


@given(seed=st.integers(0, 2**31))
def test_the_gradient_of_the_phase_is_its_slope(seed: int) -> None:
    random = np.random.default_rng(seed)
    profiles = Profiles(grid=GRID, names=("O", "M"), content=CONTENT, energy=200e3)
    state, slope = some_state(random), random.normal(size=GRID.shape)
    columns, sites = phase_gradient(state, slope, profiles)
    ours = np.concatenate([columns, np.zeros(3), [sites]])
    direction = random.normal(size=state.size) * np.abs(state.vector) * 1e-4

    def value(share: float) -> float:
        moved = state.with_vector(state.vector + share * direction)
        return float((slope * phase_image(moved, profiles)).sum())

    # Simpson's extrapolation of central differences leaves the fourth power of the step.
    measured = (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / 12
    scale = np.linalg.norm(ours * direction)
    assert abs(measured - ours @ direction) < 1e-6 * scale


def test_the_gradient_of_the_likelihood_is_its_slope() -> None:
    ours = problem()
    state = ours.start.with_vector(ours.start.vector + 0.01 * np.sign(ours.start.vector))
    some = ours.probes(Part.QUARTER)
    gradient = ours.model.likelihood(state, some).gradient
    for index in [0, 1, 2, 7, 15, 17, len(gradient) - 4, *range(len(gradient) - 3, len(gradient))]:
        step = 0.02 if index >= len(gradient) - 3 else 2e-3
        sides = []
        for sign in (1, -1):
            vector = state.vector
            vector[index] += sign * step
            sides.append(ours.model.likelihood(state.with_vector(vector), some).value)
        # Waves are in single precision: log L, about 2e5, jitters by a part in a million.
        jitter = 2e-6 * abs(sides[0]) / step
        slope = (sides[0] - sides[1]) / (2 * step)
        assert abs(slope - gradient[index]) < 0.01 * abs(gradient[index]) + jitter, index


def test_the_information_is_that_of_finite_differences() -> None:
    few = problem().probes(Part.QUARTER)
    whole = problem().model
    model = replace(whole, reach=20.0, positions=whole.positions[few], counts=whole.counts[few])
    ours = replace(problem(), model=model)
    state = ours.start
    information = model.information(state, np.arange(len(few)))
    chosen = [0, 1, 2, 6, 8, *range(state.size - 4, state.size)]
    slopes = np.stack([_slope(ours, index) for index in chosen])
    expected = slopes @ slopes.T
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    got = information[np.ix_(chosen, chosen)]
    # Patches of 2.8 Å, and the aperture taken before the phase is exponentiated.
    assert np.abs((got - expected) / scale).max() < 0.04


def _slope(ours: CountsProblem, index: int) -> Array:
    step = 0.05 if index >= ours.start.size - 3 else 4e-3
    sides = []
    for sign in (1, -1):
        vector = ours.start.vector
        vector[index] += sign * step
        sides.append(_frames(ours, ours.start.with_vector(vector)))
    root = np.sqrt(_frames(ours, ours.start) + float(ours.model.floor))
    return ((sides[0] - sides[1]) / (2 * step) / root).ravel()


def _frames(ours: CountsProblem, state: ColumnState) -> Array:
    model = ours.model
    transmission, _ = model.transmission(state)
    passage = model.propagation.forward(
        model.positions, state=state, transmission=transmission, field=model.grid
    )
    return model.propagation.frames(passage, float(state.common[0])).astype(np.float64)


@pytest.mark.parametrize("rotation", [0.0, 30.0])
def test_frames_are_those_of_the_simulator(rotation: float) -> None:
    ours = problem(rotation)
    shape = np.zeros_like(ours.start.shape)
    # The simulator puts atoms at the entrance of their slice, the model in its middle.
    defocus = -THICKNESS / LAYERS / 2
    common = np.array([0.0, THICKNESS, defocus, LAYERS])
    frames = _frames(ours, replace(ours.start, shape=shape, common=common))
    expected = np.asarray(ours.model.counts, dtype=float)
    change = expected - expected.mean(axis=0)
    assert change.std() > 0.05 * expected.std()
    # Scattering factors differ by up to 2 %.
    assert np.sqrt(((frames - expected) ** 2).mean()) < 0.03 * change.std()


def test_transposed_and_binned_detectors_are_read() -> None:
    from echolith.forward.acquisition import PixelDetector

    plain = PixelDetector(shape=(24, 25), pixel_size=2.0)
    for detector in (
        plain.model_copy(update={"transpose": True}),
        PixelDetector(shape=(24, 25), pixel_size=2.0, subpixels=(2, 1)),
    ):
        counts, settings = checked_counts(mean(detector=detector))
        ours = CountsProblem.of(counts, settings, true_columns(), OPTIONS)
        common = np.array([0.0, THICKNESS, -THICKNESS / LAYERS / 2, LAYERS])
        state = replace(ours.start, shape=np.zeros_like(ours.start.shape), common=common)
        frames, expected = _frames(ours, state), np.asarray(ours.model.counts, dtype=float)
        change = expected - expected.mean(axis=0)
        assert np.sqrt(((frames - expected) ** 2).mean()) < 0.03 * change.std()
        assert acquisition().scan.shape[0] * acquisition().scan.shape[1] == len(frames)
