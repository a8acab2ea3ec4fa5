"""What no tilt series tells: descriptions of the same images are told to be the same."""

import numpy as np
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.forward.phosphate_paths import View
from echolith.forward.tilt_placement import TiltJitter, tilt_placement, view_of
from echolith.forward.tilts import Tilts
from echolith.validation.tilt_gauge import specimen_motion, standard_gauge, tilt_gauge

TILTS = Tilts(angles=tuple(np.arange(-75.0, 76.0, 15.0)))
JITTER = TiltJitter(shift=250, rotation=2, scale=0.01, axis_offset=90, axis_tilt=1)
NAMES = ("shift_x", "shift_y", "rotation", "scale", "axis_offset", "axis_tilt")
lengths = st.floats(-300, 300)


def drawn(seed: int) -> xr.Dataset:
    return tilt_placement(TILTS, JITTER, energies=(708.2, 710.2), seed=seed)


def renamed(
    truth: xr.Dataset, moved: tuple[float, float, float], scale: float, offset: float, lean: float
) -> xr.Dataset:
    """Describe the same images of a specimen that lies at ``scale X + moved``, image by image.

    The offset and the tilt of the axis are changed too, and what they change is put elsewhere.
    """
    other = truth.copy(deep=True)
    other["axis_offset"] = truth["axis_offset"] + offset
    other["axis_tilt"] = truth["axis_tilt"] + lean
    other["rotation"] = truth["rotation"] - lean
    other["scale"] = truth["scale"] / scale
    for e, t in np.ndindex(truth["shift_x"].shape):
        view, angle = view_of(truth, e, t), np.deg2rad(TILTS.angles[t])
        x, y, z = moved
        place = np.array([x * np.cos(angle) + z * np.sin(angle), y])
        still = view_of(other.assign(shift_x=0 * other.shift_x, shift_y=0 * other.shift_y), e, t)
        shift = view.matrix()[:, 2] - (still.matrix()[:, :2] @ place + still.matrix()[:, 2])
        other["shift_x"][e, t], other["shift_y"][e, t] = shift
    return other


def places(view: View, points: np.ndarray) -> np.ndarray:
    turned = points @ view.axes()[:2].T
    return np.asarray(turned @ view.matrix()[:, :2].T + view.matrix()[:, 2])


@given(
    st.integers(0, 99),
    st.tuples(lengths, lengths, lengths),
    st.floats(0.97, 1.03),
    lengths,
    st.floats(-1, 1),
)
def test_the_same_images_have_no_error(
    seed: int, moved: tuple[float, float, float], scale: float, offset: float, lean: float
) -> None:
    truth = drawn(seed)
    other = renamed(truth, moved, scale, offset, lean)
    points = np.random.default_rng(seed).uniform(-1000, 1000, (5, 3))
    seen = places(view_of(truth, 1, 4), points)
    assert np.allclose(places(view_of(other, 1, 4), scale * points + np.array(moved)), seen)
    same = tilt_gauge(other, truth)
    for name in NAMES:
        assert np.allclose(same[name], truth[name], atol=1e-6), name
    found = specimen_motion(other, truth)
    assert np.allclose(found, (*moved, scale), atol=1e-6)


@given(st.integers(0, 99))
def test_errors_remain(seed: int) -> None:
    truth = drawn(seed)
    wrong = truth.copy(deep=True)
    wrong["shift_x"][1, 3] += 50
    wrong["rotation"][0, 5] += 0.7
    left = tilt_gauge(wrong, truth)
    # One image of 22 among four free directions keeps most of its error.
    assert 30 < float(abs((left - truth)["shift_x"]).max()) <= 50
    assert 0.6 < float(abs((left - truth)["rotation"]).max()) <= 0.7


@given(st.integers(0, 99))
def test_the_standard_gauge_describes_the_same_images(seed: int) -> None:
    truth = drawn(seed)
    fixed = standard_gauge(truth)
    again = standard_gauge(fixed)
    for name in NAMES:
        assert np.allclose(fixed[name], again[name], atol=1e-6)
    found = specimen_motion(fixed, truth)
    points = np.random.default_rng(seed).uniform(-1000, 1000, (5, 3))
    ours = places(view_of(fixed, 0, 2), found.scale * points + np.array(found[:3]))
    assert np.allclose(ours, places(view_of(truth, 0, 2), points), atol=1e-6)


def test_one_energy_needs_no_dim() -> None:
    one = drawn(3).isel(energy=0)
    assert standard_gauge(one)["shift_x"].dims == ("tilt",)
    assert np.allclose(tilt_gauge(one, one)["scale"], one["scale"])
