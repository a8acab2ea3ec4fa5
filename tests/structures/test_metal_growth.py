"""Growing particles: outlines against a hull, whole layers, the corner facet as published."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.outlines import facet_lengths
from echolith.structures.metal_growth import (
    ANGLES,
    CORNER,
    FIRST,
    FLAT,
    MOMENTS,
    NOWHERE,
    PUBLISHED,
    SECOND,
    GrowthStage,
    MetalGrowth,
    frame_states,
    growth_truth,
    law,
    layers,
    particle_state,
    state_body,
)

FRAME = 0.04


def growths() -> st.SearchStrategy[MetalGrowth]:
    """Particles whose two fronts advance by up to a few layers."""
    return st.builds(
        lambda size, rotation, first, second, corner: MetalGrowth(
            size=size,
            thickness=15.0,
            rotation=rotation,
            stages=(
                GrowthStage(duration=0.2, first=first),
                GrowthStage(duration=0.1),
                GrowthStage(duration=0.1, second=second),
            ),
            corner=corner,
        ),
        st.floats(30, 60),
        st.floats(-180, 180),
        st.floats(1, 40),
        st.floats(10, 100),
        st.tuples(st.floats(12, 20), st.floats(6, 12)),
    )


@given(growth=growths(), time=st.floats(0, 0.5))
def test_facets_are_as_long_as_the_faces_of_the_body_are_wide(
    growth: MetalGrowth, time: float
) -> None:
    state = layers(growth, [time])[:, 0]
    there = state >= 0
    edges = np.where(there, (state + 0.5) * growth.spacings, NOWHERE)
    areas = state_body(growth, tuple(state.tolist())).face_areas[: there.sum()]
    lengths = facet_lengths(ANGLES, edges)
    assert lengths[there] == pytest.approx(areas / growth.thickness, abs=1e-5)
    assert not lengths[~there].any()


@given(growth=growths())
def test_layers_are_whole_and_stay(growth: MetalGrowth) -> None:
    field = (130.0, 130.0)
    states = layers(growth, [0.0, 0.5]).T
    before, after = (particle_state(growth, tuple(s.tolist()), field=field) for s in states)
    old = {tuple(p) for p in before.positions.round(6)}
    known = [tuple(p) in old for p in after.positions.round(6)]
    new = after.positions[~np.array(known)]
    assert old <= {tuple(p) for p in after.positions.round(6)}
    angles = np.radians(ANGLES + growth.rotation)
    normals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    first = ((states[0] + 0.5) * growth.spacings)[states[0] >= 0]
    beyond = (new[:, :2] - 65.0) @ normals[states[0] >= 0].T - first
    # Every new atom is half a layer or more beyond a facet that was there.
    half = 0.5 * growth.spacings[states[0] >= 0]
    assert (beyond > half - 1e-4).any(axis=1).all()


@given(growth=growths(), start=st.floats(0, 0.4))
def test_edges_are_the_law_but_for_less_than_a_layer(growth: MetalGrowth, start: float) -> None:
    times = start + FRAME * (np.arange(4) + 0.5)
    truth = growth_truth(growth, times, frame_time=FRAME)
    moments = times[:, None] + FRAME * ((np.arange(MOMENTS) + 0.5) / MOMENTS - 0.5)
    mean = law(growth, moments.ravel()).reshape(len(ANGLES), *moments.shape).mean(axis=2)
    away = np.abs(truth["edge"].values - mean)
    told = np.isfinite(away)
    assert (away <= 0.5 * growth.spacings[:, None] + 1e-9)[told].all()
    for frame in frame_states(growth, times, frame_time=FRAME):
        assert sum(frame.values()) == pytest.approx(1)


def test_the_corner_facet_is_transient_as_published() -> None:
    times = FRAME * (np.arange(130) + 0.5)
    truth = growth_truth(PUBLISHED, times, frame_time=FRAME)
    corner = truth["facet_length"].values[CORNER]
    switch = int(np.searchsorted(times, PUBLISHED.switch_time))
    layer = 2 * np.sqrt(3) * PUBLISHED.spacings[CORNER]
    assert switch == 100  # 15 frames, 3 s, and a pause
    shrinks = np.interp(times[switch - 1 :], PUBLISHED.switch_time + np.array([0, 0.4]), [140, 60])
    assert corner[switch - 1 :] == pytest.approx(shrinks, abs=layer)
    assert truth["second_speed"] / truth["first_speed"] == pytest.approx(8)
    moved = np.ptp(truth["edge"].values, axis=1) > 0
    assert set(np.flatnonzero(moved)) == {FIRST, CORNER, SECOND}
    assert np.isfinite(truth["edge"].values[FLAT]).all()


def test_a_particle_that_grows_out_of_the_field_is_refused() -> None:
    state = tuple(layers(MetalGrowth(), [0.0])[:, 0].tolist())
    with pytest.raises(BadInputError, match="grown out of a field of 80"):
        particle_state(MetalGrowth(), state, field=(80.0, 80.0))
