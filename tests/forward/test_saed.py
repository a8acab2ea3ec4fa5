"""Electron diffraction patterns: factors, rings, spots, ellipse, what the beam stop leaves."""

import json
import subprocess
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.spatial.transform import Rotation

from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.electron_factors import electron_form_factor
from echolith.forward.saed import Polycrystal, SaedAcquisition, SaedSpecimen, saed_mean
from echolith.forward.saed_lattice import ring_lines, ring_radius, spacing_at
from echolith.forward.saed_spots import SingleCrystal, Theory, crystal_spots, spot_intensity
from echolith.forward.structure_factors import form_factor
from tests.peers import environment_with

BARE = partial(SaedAcquisition, shape=(128, 144), camera_length=170.0, beam_stop=None, dark=0.0)


@pytest.mark.parametrize("element", ["Li", "O", "F", "Na", "Zr"])
def test_form_factors_follow_mott_and_bethe(element: str) -> None:
    import gemmi

    squares = np.linspace(0.03, 0.4, 20)
    number = gemmi.Element(element).atomic_number
    bethe = 0.0239337 * (number - form_factor(element, squares)) / squares
    # Two independent fits to calculated atoms; each is told to be good to some 1 %.
    assert electron_form_factor(element, squares) == pytest.approx(bethe, rel=0.03)


@pytest.mark.parametrize("element", ["Li", "O", "F", "Na"])
def test_form_factors_are_those_of_abtem(element: str) -> None:
    from abtem.parametrizations import LobatoParametrization

    k = np.linspace(0.3, 1.2, 12)
    lobato = LobatoParametrization().scattering_factor(element)(k**2)
    assert electron_form_factor(element, k**2 / 4) == pytest.approx(np.asarray(lobato), rel=0.03)


PYMATGEN = """
import json, sys
from pymatgen.core import Lattice, Structure
from pymatgen.analysis.diffraction.xrd import XRDCalculator
found = {}
for name, group, cell, species, sites in json.load(sys.stdin):
    crystal = Structure.from_spacegroup(group, Lattice.cubic(cell), species, sites)
    peaks = XRDCalculator(wavelength=0.5).get_pattern(crystal, two_theta_range=(1, 28))
    found[name] = [float(d) for d in peaks.d_hkls]
print(json.dumps(found))
"""


def test_rings_lie_where_pymatgen_has_its_lines() -> None:
    python = environment_with("pymatgen")
    asked = [
        ["Li", "Im-3m", 3.5092, ["Li"], [[0, 0, 0]]],
        ["Li2O", "Fm-3m", 4.619, ["O", "Li"], [[0, 0, 0], [0.25, 0.25, 0.25]]],
        ["LiF", "Fm-3m", 4.0263, ["Li", "F"], [[0, 0, 0], [0.5, 0.5, 0.5]]],
    ]
    told = subprocess.run(
        [python, "-c", PYMATGEN],
        input=json.dumps(asked),
        capture_output=True,
        check=True,
        text=True,
    )
    for name, spacings in json.loads(told.stdout).items():
        ours, _ = ring_lines(crystal_phase(name), energy=200e3, d_min=1.1)
        theirs = np.array([d for d in spacings if d > 1.1])
        # Lines too faint for one of the tables are left out of either.
        for d in theirs:
            assert np.abs(ours / d - 1).min() < 1e-5 or d == pytest.approx(2.3095, abs=1e-3), name


@given(d=st.floats(0.5, 10), energy=st.floats(6e4, 4e5), distance=st.floats(500, 50000))
def test_radius_and_spacing_are_inverse(d: float, energy: float, distance: float) -> None:
    radius = ring_radius(np.array([d]), energy=energy, distance=distance)
    assert spacing_at(radius, energy=energy, distance=distance)[0] == pytest.approx(d, rel=1e-9)


@given(turn=st.floats(-180, 180), x=st.floats(-60, 60), y=st.floats(-60, 60))
def test_turning_the_crystal_about_the_beam_turns_its_spots(
    turn: float, x: float, y: float
) -> None:
    lithium = crystal_phase("Li")
    first = Rotation.from_rotvec([x, y, 0], degrees=True)
    about = Rotation.from_rotvec([0, 0, turn], degrees=True)
    spots = [
        crystal_spots(
            SingleCrystal(phase=lithium, orientation=tuple(r.as_rotvec(degrees=True).tolist())),
            energy=200e3,
            reach=0.025,
        )
        for r in (first, about * first)
    ]
    strong = spots[0].share > 1e-7  # off the threshold at which spots are left out
    for hkl, place, share in zip(
        spots[0].hkl[strong], spots[0].tangent[strong], spots[0].share[strong], strict=True
    ):
        same = (spots[1].hkl == hkl).all(axis=1)
        assert same.sum() == 1
        turned = about.as_matrix()[:2, :2] @ place
        assert spots[1].tangent[same][0] == pytest.approx(turned, abs=1e-12)
        assert spots[1].share[same][0] == pytest.approx(share, rel=1e-6)


@given(s=st.floats(-0.05, 0.05), coupling=st.floats(1e-5, 5e-3), t=st.floats(20, 600))
def test_two_beams_are_kinematic_where_weak_and_never_more_than_the_beam(
    s: float, coupling: float, t: float
) -> None:
    at = np.array([s])
    two = float(spot_intensity(at, np.array([coupling]), t, Theory.TWO_BEAM)[0])
    assert 0 <= two <= 1
    weak = np.array([1e-3 / t])
    kinematic = float(spot_intensity(at, weak, t, Theory.KINEMATIC)[0])
    again = float(spot_intensity(at, weak, t, Theory.TWO_BEAM)[0])
    assert again == pytest.approx(kinematic, rel=1e-4, abs=1e-12)


def test_rings_hold_the_electrons_that_are_scattered_into_them() -> None:
    part = Polycrystal(phase=crystal_phase("LiF"), thickness=100.0, size=5000.0)
    acquisition = BARE(shape=(400, 400), camera_length=200.0, background=())
    counts = saed_mean(SaedSpecimen(polycrystals=(part,)), acquisition=acquisition)["counts"]
    d, strength = ring_lines(part.phase, energy=200e3, d_min=0.5)
    radius = ring_radius(d, energy=200e3, distance=acquisition.distance)
    inside = radius < 190
    expected = acquisition.electrons * part.thickness * strength[inside].sum()
    y, x = np.indices(counts.shape) - 199.5
    # Tails of lines (Lorentzians of 0.1 pixel) reach over the border of the disc.
    assert float(counts.values[np.hypot(x, y) < 195].sum()) == pytest.approx(expected, rel=0.03)


def test_longer_cameras_and_shifts_scale_and_move_the_pattern() -> None:
    sample = SaedSpecimen(polycrystals=(Polycrystal(phase=crystal_phase("Li2O"), thickness=100),))
    at = BARE(centre=(70.0, 60.0), background=())
    moved = at.model_copy(update={"centre": (73.0, 65.0)})
    here, there = (saed_mean(sample, acquisition=a)["counts"].values for a in (at, moved))
    assert here[20:100, 20:100] == pytest.approx(there[25:105, 23:103], rel=1e-3)
    longer = at.model_copy(update={"camera_error": 0.02})
    d, _ = ring_lines(sample.polycrystals[0].phase, energy=200e3, d_min=2.5)
    for acquisition in (at, longer):
        row = saed_mean(sample, acquisition=acquisition)["counts"].values[60, 70:]
        radius = ring_radius(d[:1], energy=200e3, distance=acquisition.distance)[0]
        assert abs(int(row[15:40].argmax()) + 15 - radius) < 1


def test_what_is_no_camera_is_refused() -> None:
    with pytest.raises(ValidationError, match="200e3"):
        SaedAcquisition(energy=200)
    with pytest.raises(ValidationError, match="expected a place on the detector"):
        SaedAcquisition(centre=(900.0, 10.0))
