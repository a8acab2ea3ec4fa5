"""Where and how strong powder lines are, by other people's programs."""

import json
import subprocess

import numpy as np

from echolith.forward.crystal_phase import CrystalPhase, orbit
from echolith.forward.crystal_phases import table_phases
from echolith.forward.powder_pattern import PowderAcquisition, angle_factor
from echolith.forward.structure_factors import allowed_reflections, spacing, structure_factors
from tests.peers import environment_with

WAVELENGTH = 1.54056
LAST = 90.0
WEAK = 5e-3
"""Of the strongest line; pymatgen leaves out what is below 1e-3 of its own strongest."""

THEIRS = """
import json, sys, warnings
warnings.simplefilter("ignore")
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure
found = []
for cell, species, positions, wavelength, last in json.load(sys.stdin):
    structure = Structure(Lattice.from_parameters(*cell), species, positions)
    pattern = XRDCalculator(wavelength=wavelength).get_pattern(structure, two_theta_range=(5, last))
    found.append([pattern.x.tolist(), pattern.y.tolist()])
json.dump(found, sys.stdout)
"""


def their_lines(phases: tuple[CrystalPhase, ...]) -> list[np.ndarray]:
    python = environment_with("pymatgen")
    cases = []
    for phase in phases:
        sites: dict[tuple[float, ...], dict[str, float]] = {}
        for site in phase.sites:
            for image in orbit(phase.spacegroup, site.position):
                sites.setdefault(tuple(image.round(9)), {})[site.element] = site.occupancy
        cases.append((phase.cell, [*sites.values()], [*sites], WAVELENGTH, LAST))
    done = subprocess.run(
        [str(python), "-c", THEIRS], input=json.dumps(cases), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [np.array(case) for case in json.loads(done.stdout)]


def our_lines(phase: CrystalPhase) -> np.ndarray:
    """Return angles and intensities without dispersion and thermal motion, as theirs are."""
    still = phase.model_copy(
        update={"sites": tuple(s.model_copy(update={"b_iso": 0.0}) for s in phase.sites)}
    )
    families = allowed_reflections(still, d_min=WAVELENGTH / 2 / np.sin(np.radians(LAST / 2)))
    angle = np.degrees(2 * np.arcsin(WAVELENGTH / 2 / spacing(still.cell, families.hkl)))
    factors = structure_factors(still, families.hkl, wavelength=WAVELENGTH, dispersive=False)
    strength = families.multiplicity * np.abs(factors) ** 2
    strength *= angle_factor(angle, PowderAcquisition())
    return np.stack([angle, 100 * strength / strength.max()])


def test_pymatgen_has_the_same_lines_for_every_crystal() -> None:
    phases = table_phases()
    for phase, theirs in zip(phases, their_lines(phases), strict=True):
        ours = our_lines(phase)
        for one, other in ((ours, theirs), (theirs, ours)):
            strong = one[0][one[1] > 100 * WEAK]
            away = np.abs(strong[:, None] - other[0]).min(axis=1)
            assert away.max() < 1e-4, phase.name
        # Their f0 is from another table, of which lithium's differs most; lines nearer than they
        # tell apart are one.
        sums = np.array([ours[1][np.abs(ours[0] - place) < 1e-4].sum() for place in theirs[0]])
        sums *= 100 / sums.max()
        assert np.abs(sums - theirs[1]).max() < 2, phase.name
