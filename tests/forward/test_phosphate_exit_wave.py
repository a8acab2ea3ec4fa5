"""Exit waves of plates: against path lengths, the flux of free space, and a Gaussian beam."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.optical_density import PixelMean, projected_counts
from echolith.forward.phosphate_exit_wave import (
    depth_of_focus,
    exit_wave,
    exit_waves,
    propagate,
)
from echolith.forward.phosphate_paths import View, ray_paths, slab_paths
from echolith.forward.tilts import Tilts
from echolith.forward.xray_absorption import ENERGIES, optical_constants
from echolith.forward.xray_probe import photon_wavelength
from echolith.structures.body_rays import packed_bodies
from echolith.structures.phosphate_ensemble import PlateEnsemble, phosphate_ensemble
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.structures.plate_packing import PackingRegion
from echolith.validation.phosphate_strategies import phosphate_specimens, views

FIELD: dict[str, Any] = {"shape": (68, 72), "pixel_size": 100.0}


def plates(depth: float = 3000.0, *, seed: int = 1) -> PhosphateSpecimen:
    region = PackingRegion(height=4800.0, width=4800.0, depth=depth)
    flat = PlateEnsemble(
        count=5, region=region, binder=1, binder_radius=150.0, orientation_spread=0.0
    )
    return phosphate_ensemble(flat, seed=seed)


@settings(max_examples=15)
@given(
    specimen=phosphate_specimens(),
    view=views(shift_x=0.0, shift_y=0.0, axis_offset=0.0, scale=1.0),
    inner=st.lists(st.floats(-4000, 4000), max_size=6),
)
def test_slabs_add_up_to_the_whole_path(
    specimen: PhosphateSpecimen, view: View, inner: list[float]
) -> None:
    """Wherever the planes lie. Composition is summed in cells that end at planes: 0.1 Å."""
    bodies = packed_bodies(specimen)
    edges = np.array(sorted({-2e4, *inner, 2e4}))
    slabs = slab_paths(bodies, view, edges=edges, shape=(40, 44), pixel_size=180.0, rays=1)
    whole = ray_paths(bodies, view, shape=(40, 44), pixel_size=180.0, rays=1)
    assert slabs.sum(axis=(0, 1)) == pytest.approx(whole.sum(axis=0), abs=0.01)
    assert slabs.sum(axis=0) == pytest.approx(whole, abs=0.5)


def test_projection_is_the_transmission_of_the_fast_mode() -> None:
    """Squared it is ``exp(-mu L)``; one ray a pixel, so that nothing is averaged."""
    tilts = Tilts(angles=(-35.0, 20.0), voxel_size=100.0)
    counts = projected_counts(
        plates(),
        tilts=tilts,
        shape=(68, 72),
        incident=1000,
        rays=1,
        pixel_mean=PixelMean.TRANSMISSION,
    )
    for n, tilt in enumerate(tilts.angles):
        waves = exit_waves(plates(), View(tilt=tilt), energies=ENERGIES, rays=1, **FIELD)
        expected = counts["counts"].isel(tilt=n).values / 1000
        assert np.abs(waves.values) ** 2 == pytest.approx(expected, rel=1e-4)


def test_phase_lags_behind_by_the_refraction() -> None:
    """exp(ikz) with n = 1 - delta runs behind vacuum's wave: negative phase where delta > 0."""
    wave = exit_wave(plates(), View(tilt=0.0), energy=708.2, rays=1, **FIELD)
    paths = ray_paths(packed_bodies(plates()), View(tilt=0.0), **FIELD, rays=1)
    delta = optical_constants((708.2,))["delta"].values[:, 0]
    expected = -2 * np.pi / photon_wavelength(708.2) * np.tensordot(delta, paths, axes=1)
    assert np.angle(wave.values) == pytest.approx(expected, abs=1e-3)


@given(distance=st.floats(-1e4, 1e4), wavelength=st.floats(5, 30), seed=st.integers(0, 100))
def test_free_space_keeps_the_flux_and_is_undone_backwards(
    distance: float, wavelength: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    wave = rng.normal(size=(24, 30)) + 1j * rng.normal(size=(24, 30))
    there = propagate(wave, distance, wavelength=wavelength, pixel_size=50.0)
    assert np.linalg.norm(there) == pytest.approx(np.linalg.norm(wave))
    back = propagate(there, -distance, wavelength=wavelength, pixel_size=50.0)
    assert back == pytest.approx(wave)


def test_gaussian_beam_spreads_as_in_print() -> None:
    """Waist w0 after one Rayleigh length: sqrt(2) w0 (Goodman, section 3)."""
    waist, length, pixel = 400.0, 20.0, 40.0
    axis = (np.arange(256) - 128) * pixel
    beam = np.exp(-(axis[:, None] ** 2 + axis**2) / waist**2).astype(complex)
    far = np.pi * waist**2 / length
    intensity = np.abs(propagate(beam, far, wavelength=length, pixel_size=pixel)) ** 2
    width = 2 * np.sqrt((intensity.sum(axis=0) * axis**2).sum() / intensity.sum())
    assert width == pytest.approx(np.sqrt(2) * waist, rel=1e-3)


def test_multislice_of_a_thin_specimen_is_its_projection_and_differs_for_a_thick_one() -> None:
    """Slabs converge; the difference to the projection grows with the depth of the specimen."""

    def difference(depth: float, slab: float) -> float:
        thing = plates(depth)
        size, view = (120, 120), View(tilt=0.0)
        flat = exit_wave(thing, view, energy=708.2, shape=size, pixel_size=50.0)
        thick = exit_wave(thing, view, energy=708.2, shape=size, pixel_size=50.0, slab=slab)
        return float(np.linalg.norm(thick - flat) / np.linalg.norm(flat - 1))

    thin, thick = difference(600.0, 150.0), difference(4500.0, 150.0)
    assert thin < 0.15
    assert thick > 2 * thin
    assert difference(4500.0, 75.0) == pytest.approx(thick, rel=0.02)


def test_depth_of_focus_is_the_published_one() -> None:
    """374 nm at 11 nm (Yu et al. 2018 worked at 708.2 and 710.2 eV)."""
    assert depth_of_focus(110.0, wavelength=photon_wavelength(708.2)) == pytest.approx(
        3740, rel=5e-3
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (30, 72)}, r"reaches to y = \d+ Å, the field to 1500 Å"),
        ({"pixel_size": 1e7}, "pixel_size"),
        ({"rays": 0}, "rays = 0"),
        ({"slab": 0.0}, "slab = 0"),
        ({"shape": (30,)}, "two numbers"),
        ({"energy": 7082.0}, "energy = 7082"),
    ],
)
def test_what_makes_no_wave_is_refused(change: dict[str, object], message: str) -> None:
    given_settings: dict[str, Any] = {"energy": 708.2, **FIELD, **change}
    with pytest.raises(BadInputError, match=message):
        exit_wave(plates(), View(tilt=0.0), **given_settings)
