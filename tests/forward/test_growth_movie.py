"""Movies of a growing particle: frames of single states, mixtures, laziness."""

import numpy as np
import pytest

from echolith.errors import BadInputError
from echolith.forward.growth_movie import GrowthMovie, growth_mean, state_counts
from echolith.forward.hrtem import frame_times, hrtem_mean
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.forward.hrtem_exit_wave import exit_wave
from echolith.structures.metal_growth import (
    GrowthStage,
    MetalGrowth,
    frame_states,
    particle_state,
)

GROWTH = MetalGrowth(
    size=26.0,
    thickness=10.0,
    stages=(GrowthStage(duration=0.2), GrowthStage(duration=0.2, second=40.0)),
    corner=(8.0, 5.0),
)
TAKEN = GrowthMovie(
    acquisition=HrtemAcquisition(shape=(88, 92), pixel=0.6, frames=12),
    drift=(2.0, -1.0),
    slice_thickness=5.0,
)


def test_a_particle_at_rest_is_seen_as_any_other() -> None:
    taken = TAKEN.acquisition
    (state,) = frame_states(GROWTH, frame_times(taken)[:1], frame_time=taken.frame_time)[0]
    wave = exit_wave(
        particle_state(GROWTH, state, field=taken.field),
        gpts=(176, 184),
        energy=taken.energy,
        slice_thickness=5.0,
        displacements={"Li": 0.25},
    )
    # Nothing moves in the first five frames.
    rest = hrtem_mean(wave, acquisition=taken, drift=TAKEN.drift)["counts"][:5].values
    assert growth_mean(GROWTH, taken=TAKEN)["counts"][:5].values == pytest.approx(rest, rel=1e-5)


def test_a_frame_is_the_mean_of_what_it_sees() -> None:
    still = TAKEN.model_copy(update={"drift": (0.0, 0.0)})
    times = frame_times(still.acquisition)
    movie = growth_mean(GROWTH, taken=still)["counts"]
    states = frame_states(GROWTH, times, frame_time=still.acquisition.frame_time)
    mixed = int(np.argmax([len(frame) for frame in states]))
    assert len(states[mixed]) > 1
    mean = sum(
        part * state_counts(GROWTH, state, taken=still) for state, part in states[mixed].items()
    )
    assert movie[mixed].values == pytest.approx(np.asarray(mean), rel=1e-4)


def test_movies_are_lazy_and_frames_do_not_depend_on_which_are_asked_for() -> None:
    movie = growth_mean(GROWTH, taken=TAKEN)["counts"]
    assert movie.chunks is not None
    assert max(movie.chunks[0]) < len(movie)
    assert (movie[9].values == movie.values[9]).all()


def test_growth_out_of_the_field_is_told_before_anything_is_simulated() -> None:
    far = GROWTH.model_copy(update={"centre": (0.0, 12.0)})
    with pytest.raises(BadInputError, match="grown out of a field"):
        growth_mean(far, taken=TAKEN)
