"""Intensities of spots and rings against programs that others wrote, and against closed forms."""

import json
import subprocess

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.electron_factors import electron_structure_factors, mass_ratio
from echolith.forward.many_beam import couplings, many_beam_intensities
from echolith.forward.saed_spots import SingleCrystal, Theory, crystal_spots, spot_intensity
from tests.peers import environment_with


@pytest.mark.parametrize(
    ("name", "angles", "thickness"),
    [("Li", (1.2, -0.7, 10.0), 200.0), ("Li", (44.0, 1.5, 60.0), 350.0), ("Na", (2, 3, 5), 150.0)],
)
def test_intensities_of_spots_are_those_of_the_bloch_waves_of_abtem(
    name: str, angles: tuple[float, float, float], thickness: float
) -> None:
    from abtem.bloch import BlochWaves, StructureFactor

    phase = crystal_phase(name)
    atoms = bulk(name, "bcc", a=phase.cell[0], cubic=True)
    deviation = float(np.sqrt(phase.sites[0].b_iso / (8 * np.pi**2)))
    rotation = Rotation.from_euler("xyz", angles, degrees=True)
    waves = BlochWaves(
        StructureFactor(atoms, g_max=3.2, thermal_sigma=deviation),
        energy=200e3,
        sg_max=0.12,
        g_max=1.5,
        orientation_matrix=rotation.as_matrix(),
    )
    pattern = waves.calculate_diffraction_patterns([thickness], lazy=False)
    theirs = dict(
        zip(map(tuple, pattern.miller_indices), np.ravel(np.asarray(pattern.array)), strict=True)
    )
    crystal = SingleCrystal(
        phase=phase,
        orientation=tuple(rotation.as_rotvec(degrees=True).tolist()),
        thickness=thickness,
    )
    ours = crystal_spots(crystal, energy=200e3, reach=0.037)
    strongest = np.argsort(-ours.share)[:12]
    expected = [theirs[tuple(hkl)] for hkl in ours.hkl[strongest]]
    # Form factors of two tables, each good to a percent or two: intensities to twice that.
    assert ours.share[strongest] == pytest.approx(expected, rel=0.06, abs=2e-3 * max(expected))


@given(s=st.floats(-0.03, 0.03), thickness=st.floats(20, 600))
def test_one_beam_beside_the_incident_one_is_two_beams(s: float, thickness: float) -> None:
    lithium, hkl = crystal_phase("Li"), np.array([[1, 1, 0]])
    many = many_beam_intensities(lithium, hkl, np.array([s]), thickness=thickness, energy=200e3)
    coupling = np.abs(couplings(lithium, hkl, energy=200e3))
    two = spot_intensity(np.array([s]), coupling, thickness, Theory.TWO_BEAM)
    assert many == pytest.approx(two, rel=1e-6, abs=1e-12)


@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    thickness=st.floats(20, 1000),
    name=st.sampled_from(["Li", "LiF"]),
)
def test_all_beams_together_hold_no_more_than_the_incident_one(
    angles: tuple[float, float, float], thickness: float, name: str
) -> None:
    rotation = Rotation.from_euler("xyz", angles, degrees=True).as_rotvec(degrees=True)
    crystal = SingleCrystal(
        phase=crystal_phase(name), orientation=tuple(rotation.tolist()), thickness=thickness
    )
    spots = crystal_spots(crystal, energy=200e3, reach=0.03)
    assert spots.share.sum() <= 1 + 1e-3  # spots beyond the beams are as strong as two beams say


PYMATGEN = """
import json, sys
from pymatgen.core import Lattice, Structure
from pymatgen.analysis.diffraction.tem import TEMCalculator
found = {}
for name, group, cell, species, sites in json.load(sys.stdin):
    crystal = Structure.from_spacegroup(group, Lattice.cubic(cell), species, sites)
    program = TEMCalculator(voltage=200, debye_waller_factors={one: 0.0 for one in species})
    points = [(1, 1, 1), (2, 2, 0), (3, 1, 1), (4, 0, 0), (1, 1, 0), (2, 1, 1), (3, 1, 0)]
    angles = program.bragg_angles(program.get_interplanar_spacings(crystal, points))
    strengths = program.cell_intensity(crystal, angles)
    found[name] = [[list(map(int, hkl)), float(value)] for hkl, value in strengths.items()]
print(json.dumps(found))
"""


def test_structure_factors_are_those_of_pymatgen() -> None:
    asked = [
        ["Li", "Im-3m", 3.5092, ["Li"], [[0, 0, 0]]],
        ["Li2O", "Fm-3m", 4.619, ["O", "Li"], [[0, 0, 0], [0.25, 0.25, 0.25]]],
        ["LiF", "Fm-3m", 4.0263, ["Li", "F"], [[0, 0, 0], [0.5, 0.5, 0.5]]],
    ]
    told = subprocess.run(
        [environment_with("pymatgen"), "-c", PYMATGEN],
        input=json.dumps(asked),
        capture_output=True,
        check=True,
        text=True,
    )
    for name, strengths in json.loads(told.stdout).items():
        phase = crystal_phase(name)
        still = phase.model_copy(
            update={"sites": tuple(s.model_copy(update={"b_iso": 0.0}) for s in phase.sites)}
        )
        hkl, theirs = np.array([h for h, _ in strengths]), np.array([f for _, f in strengths])
        ours = np.abs(electron_structure_factors(still, hkl, energy=200e3)) / mass_ratio(200e3)
        # Sums of different fits to the same atoms; theirs has no relativistic mass.
        assert ours == pytest.approx(np.sqrt(theirs), rel=0.04, abs=0.01), name
