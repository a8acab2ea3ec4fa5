"""Bright-field movies of whiskers: projections, electrons kept or lost, symmetry, drift."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.forward.acquisition import Aberrations
from echolith.forward.bright_field import BrightFieldContrast, whisker_movie
from echolith.forward.bright_field_projection import mean_chord, mean_presence
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.structures.whiskers import Whisker, WhiskerGrowth, hexagon_corners

TAKEN = HrtemAcquisition(
    aberrations=Aberrations(C10=0.0),
    semiangle=5.0,
    focal_spread=0.0,
    image_spread=0.0,
    shape=(60, 60),
    pixel=10.0,
    dose_rate=1000.0,
    frames=1,
)
REST = Whisker(growth=WhiskerGrowth.STEADY, velocity=0.0, start_length=1000.0, width=200.0)
CLEAR = BrightFieldContrast(points=1)


def movie(
    whisker: Whisker = REST, contrast: BrightFieldContrast = CLEAR, **more: Any
) -> xr.DataArray:
    more = {"acquisition": TAKEN, **more}
    return whisker_movie(whisker, contrast=contrast, **more)["counts"].compute()


@given(roll=st.floats(-180, 180), size=st.floats(0.5, 30), start=st.floats(0, 1))
def test_chords_add_up_to_the_area_of_the_cross_section(
    roll: float, size: float, start: float
) -> None:
    across = size * (np.arange(-200 / size, 200 / size) + start)
    chords = mean_chord(across, hexagon_corners(100.0, roll), size)
    assert chords.sum() * size == pytest.approx(np.sqrt(3) / 2 * 100**2, rel=1e-6)


def test_the_hexagon_s_projections_are_those_known() -> None:
    # Two sides across the beam: as thick as wide between them, thinner beyond.
    across = np.array([0.0, 20.0, 40.0, 60.0])
    flat = hexagon_corners(100.0, 0.0)
    half, side = 50 * 2 / np.sqrt(3), 50 / np.sqrt(3)
    slopes = np.clip((half - across) / (half - side), 0, 1)
    np.testing.assert_allclose(mean_chord(across, flat, 1e-3), 100 * slopes, atol=1e-2)
    # Two sides along the beam: from twice the side down to it, and nothing at once.
    edge_on = hexagon_corners(100.0, 30.0)
    expected = np.where(across < 50, 2 * half - across * 2 * (half - side) / 50, 0)
    np.testing.assert_allclose(mean_chord(across, edge_on, 1e-3), expected, atol=1e-2)


@given(start=st.floats(-50, 50), length=st.floats(0, 80), size=st.floats(0.5, 20))
def test_presences_add_up_to_the_length(start: float, length: float, size: float) -> None:
    along = size * np.arange(-200 / size, 200 / size)
    there = mean_presence(along, start, start + length, size)
    assert (there >= -1e-12).all()
    assert there.sum() * size == pytest.approx(length, abs=1e-6)


def test_without_loss_all_electrons_arrive() -> None:
    # Nothing is taken away, and with a whisker across the whole field nothing leaves it.
    kept = BrightFieldContrast(points=1, metal_absorption=1e12, oxide_absorption=1e12, base=0.0)
    seen = movie(contrast=kept, place=(0.0, -500.0))
    expected = TAKEN.dose * TAKEN.pixel**2
    assert float(seen.mean()) == pytest.approx(expected, rel=0.01)


def test_in_focus_the_middle_loses_what_its_thickness_takes() -> None:
    sharp = movie(place=(0.0, -500.0))
    middle = float(sharp[0, 28:32, 20:40].mean()) / (TAKEN.dose * TAKEN.pixel**2)
    assert middle == pytest.approx(np.exp(-200 / CLEAR.metal_absorption), rel=0.01)


def test_images_of_mirrored_whiskers_are_mirrored_and_a_shift_is_a_shift() -> None:
    defocused = TAKEN.model_copy(update={"aberrations": Aberrations(C10=-1e4)})
    seen = movie(REST.model_copy(update={"direction": 20.0}), acquisition=defocused)
    mirrored = movie(REST.model_copy(update={"direction": -20.0}), acquisition=defocused)
    # Fringes that come in from the opposite side differ; the whisker takes a third away.
    np.testing.assert_allclose(seen[0], mirrored[0, ::-1], rtol=5e-3)
    moved = movie(
        REST.model_copy(update={"direction": 20.0}), acquisition=defocused, place=(30.0, -20.0)
    )
    np.testing.assert_allclose(moved[0, 8:-8, 8:-8], seen[0, 5:-11, 10:-6], rtol=5e-3)
