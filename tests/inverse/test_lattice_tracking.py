"""A lattice followed through a movie: calibrated, dropped frames, gaps, leaving, nothing there."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from echolith.errors import BadInputError
from echolith.inverse.frame_sum import FrameSum
from echolith.inverse.lattice import LatticeSearch
from echolith.inverse.lattice_tracking import Reason, track_lattice
from tests.inverse.dome_lattice import CENTRE, LI110, PIXEL, RADIUS, SHAPE, lattice, movie

ZONE = (1, 1, 1)
FRAMES = 40


def path(frames: int = FRAMES) -> Any:
    """A slow walk that turns back, (frames, 2) yx, Å."""
    t = np.arange(frames)
    return np.stack([0.08 * t, 1.5 * np.sin(t / 12)], axis=1)


def drifting(seed: int, *, electrons: float = 6.4, frames: int = FRAMES) -> xr.Dataset:
    shifts = path(frames).tolist()
    return movie(
        *(0.9 * lattice(ZONE, LI110, 12.0, shift=(y, x)) for y, x in shifts),
        seed=seed,
        electrons=electrons,
    )


def test_spacing_rotation_and_shift_of_every_frame_have_the_uncertainty_told() -> None:
    table = track_lattice(drifting(1)).table
    assert (table["reason"] == "").all()
    truth = {
        "frame_spacing": np.full(FRAMES, LI110),
        "frame_rotation": np.full(FRAMES, 12.0),
        "shift_y": path()[:, 0] - path()[:, 0].mean(),
        "shift_x": path()[:, 1] - path()[:, 1].mean(),
    }
    for name, true in truth.items():
        pulls = (table[name].values - true) / table[f"{name}_std"].values
        # The standard deviation of 40 pulls is 1 within 1 / sqrt(80); 4 of these.
        assert abs(np.sqrt(np.mean(pulls**2)) - 1) < 4 / np.sqrt(2 * FRAMES), name
        assert abs(pulls.mean()) < 4 / np.sqrt(FRAMES), name


def test_frames_that_are_dropped_are_told_and_the_others_found() -> None:
    whole = drifting(2, frames=14)
    broken = whole["counts"].values.astype(float)
    broken[4] = 0
    broken[7, 3, 5] = np.nan
    broken[9] = np.minimum(broken[9], 7)
    found = track_lattice(whole.assign(counts=(("frame", "y", "x"), broken))).table
    reasons = dict(enumerate(found["reason"].values.tolist()))
    told = {4: Reason.BLANK, 7: Reason.NOT_FINITE, 9: Reason.SATURATED}
    assert {n: reason for n, reason in reasons.items() if reason} == {
        n: reason.value for n, reason in told.items()
    }
    assert np.isnan(found["shift_y"].values[list(told)]).all()
    rest = np.setdiff1d(np.arange(14), list(told))
    error = found["shift_y"].values[rest] - path(14)[rest, 0]
    assert np.abs(error - error.mean()).max() < 5 * float(found["shift_y_std"].max())


def test_after_a_long_gap_the_shift_is_not_determined_and_the_spacing_is() -> None:
    whole = drifting(3, frames=24)
    broken = whole["counts"].values.copy()
    broken[4:21] = 0
    found = track_lattice(whole.assign(counts=(("frame", "y", "x"), broken))).table
    assert "whole columns" in str(found["reason"].values[-1])
    assert np.isnan(found["shift_x"].values[-1])
    assert abs(float(found["frame_spacing"][-1]) - LI110) < 5 * float(
        found["frame_spacing_std"][-1]
    )


def test_a_particle_that_leaves_the_field_is_told() -> None:
    frames, speed = 50, 1.0
    shifts = [(0.0, speed * n) for n in range(frames)]
    leaving = movie(*(0.9 * lattice(ZONE, LI110, 12.0, shift=s) for s in shifts), seed=4)
    found = track_lattice(leaving).table
    # Half of a disc is out where its middle passes the border.
    out = int((PIXEL * SHAPE[1] - CENTRE[1]) / speed)
    assert RADIUS < out < frames
    assert (found["reason"].values[: out - 3] == "").all()
    late = found.isel(frame=slice(out + 2, None))
    assert (late["reason"] == Reason.LEFT.value).all()
    assert np.isnan(late["frame_spacing"]).all()


def test_where_the_lattice_goes_frames_say_so_and_where_none_is_all_do() -> None:
    none = 0 * lattice(ZONE, LI110, 0.0)
    frames = [0.9 * lattice(ZONE, LI110, 12.0)] * 6 + [none] * 6
    found = track_lattice(movie(*frames, seed=5)).table
    assert (found["reason"].values[:6] == "").all()
    assert (found["reason"].values[6:] == Reason.LOST.value).all()
    nothing = track_lattice(movie(*[none] * 6, seed=6))
    assert nothing.counts is None
    assert (nothing.table["reason"] == "not detected").all()
    assert np.isnan(nothing.table["frame_spacing"]).all()
    with pytest.raises(BadInputError, match="counted from 0"):
        track_lattice(movie(none, seed=7), options=LatticeSearch(frame=1))


def test_few_electrons_are_added_up_until_the_lattice_is_found() -> None:
    thin = drifting(8, electrons=0.5, frames=16)
    found = track_lattice(thin)
    assert found.counts is not None
    assert (found.table["reason"] == "").mean() > 0.7


def test_frames_added_up_keep_their_counts_where_they_belong() -> None:
    draw = np.random.default_rng(0)
    scene = draw.poisson(3.0, (60, 70)).astype(np.float32)
    total = FrameSum((40, 50), 0.5)
    for y, x in ((0, 0), (3, -2), (-4, 5)):
        total.add(scene[10 - y : 50 - y, 10 - x : 60 - x], np.array([0.5 * y, 0.5 * x]))
    inner = np.s_[5:35, 6:44]
    assert np.array_equal(total.counts[inner], 3 * scene[10:50, 10:60][inner])
    assert total.exposure.max() == 3
    assert np.allclose(
        total.even()[total.exposure > 0], 3 * scene[10:50, 10:60][total.exposure > 0]
    )
    assert np.allclose(total.offset, 0.5 * np.array([-1, 3]) / 3)
