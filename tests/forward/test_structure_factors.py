"""Structure factors: symmetry, an independent sum, another's program, published intensities."""

import json
import subprocess

import gemmi
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.crystal_phase import CrystalPhase, PhaseSite, orbit, symmetry_operations
from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.powder_pattern import PowderAcquisition, angle_factor
from echolith.forward.structure_factors import (
    Array,
    allowed_reflections,
    spacing,
    structure_factors,
)
from echolith.structures.crystals import crystal_names
from tests.peers import environment_with

WAVELENGTH = 1.54056
phases = st.sampled_from(crystal_names()).map(crystal_phase)


def sphere(phase: CrystalPhase, d_min: float) -> np.ndarray:
    most = np.ceil(np.array(phase.cell[:3]) / d_min).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij"), -1)
    hkl = grid.reshape(-1, 3)
    hkl = hkl[hkl.any(axis=1)]
    return np.asarray(hkl[spacing(phase.cell, hkl) >= d_min])


@given(phase=phases)
def test_families_hold_all_that_scatters_and_nothing_twice(phase: CrystalPhase) -> None:
    d_min = 0.45 * min(phase.cell[:3])
    listed = allowed_reflections(phase, d_min=d_min)
    every = sphere(phase, d_min)
    intensity = np.abs(structure_factors(phase, every, wavelength=WAVELENGTH)) ** 2
    of_families = np.abs(structure_factors(phase, listed.hkl, wavelength=WAVELENGTH)) ** 2
    assert np.isclose(intensity.sum(), listed.multiplicity @ of_families, rtol=1e-9)
    assert (np.diff(spacing(phase.cell, listed.hkl)) < 1e-6).all()


@given(phase=phases, data=st.data())
def test_equivalent_reflections_are_equally_strong(
    phase: CrystalPhase, data: st.DataObject
) -> None:
    hkl = np.array([data.draw(st.tuples(*[st.integers(-4, 4)] * 3).filter(any))])
    rotations, _ = symmetry_operations(phase.spacegroup)
    images = np.round(np.einsum("hi,oij->oj", hkl, rotations)).astype(int)
    strength = np.abs(structure_factors(phase, images, wavelength=WAVELENGTH))
    assert np.allclose(strength, strength[0], rtol=1e-7, atol=1e-7 * phase.mass)


@given(phase=phases)
def test_the_sum_is_that_of_gemmi(phase: CrystalPhase) -> None:
    small = gemmi.SmallStructure()
    small.cell = phase.unit_cell
    small.spacegroup_hm = phase.spacegroup
    for site in phase.sites:
        atom = gemmi.SmallStructure.Site()
        atom.label, atom.element = site.label, gemmi.Element(site.element)
        atom.fract = gemmi.Fractional(*site.position)
        atom.occ, atom.u_iso = site.occupancy, site.b_iso / (8 * np.pi**2)
        small.add_site(atom)
    small.determine_and_set_spacegroup("H1")
    small.change_occupancies_to_crystallographic()
    calculator = gemmi.StructureFactorCalculatorX(small.cell)
    for element in {site.element for site in phase.sites}:
        number = gemmi.Element(element).atomic_number
        calculator.addends.set(
            gemmi.Element(element), gemmi.cromer_liberman(number, 12398.41984 / WAVELENGTH)[0]
        )
    hkl = allowed_reflections(phase, d_min=0.4 * min(phase.cell[:3])).hkl
    theirs = np.array(
        [calculator.calculate_sf_from_small_structure(small, h.tolist()) for h in hkl]
    )
    # Theirs is without f''; with a centre of symmetry at the origin, as in all of these, that is
    # the imaginary part of ours.
    ours = structure_factors(phase, hkl, wavelength=WAVELENGTH)
    assert np.allclose(ours.real, theirs, atol=1e-4 * phase.mass)


@pytest.mark.parametrize(("with_dispersion", "published"), [(True, 1.314), (False, 1.388)])
def test_dispersion_changes_the_ratio_that_tells_of_exchange(
    with_dispersion: bool, published: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not with_dispersion:
        monkeypatch.setattr(
            "echolith.forward.structure_factors.dispersion", lambda _element, _wavelength: 0j
        )
    phase = crystal_phase("LiNiO2")
    still = phase.model_copy(
        update={"sites": tuple(s.model_copy(update={"b_iso": 0.0}) for s in phase.sites)}
    )
    hkl = np.array([[0, 0, 3], [1, 0, 4]])
    factors = structure_factors(still, hkl, wavelength=WAVELENGTH)
    two_theta = np.degrees(2 * np.arcsin(WAVELENGTH / 2 / spacing(still.cell, hkl)))
    strength = [2, 6] * np.abs(factors) ** 2 * angle_factor(two_theta, PowderAcquisition())
    assert strength[0] / strength[1] == pytest.approx(published, abs=2e-3)


THEIRS = """
import json, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import xrayutilities as xu
found = []
for cell, atoms, hkl, energy in json.load(sys.stdin):
    lattice = xu.materials.SGLattice(
        1, *cell, atoms=[a[0] for a in atoms], pos=[("1a", tuple(a[1])) for a in atoms],
        occ=[a[2] for a in atoms], b=[a[3] for a in atoms])
    crystal = xu.materials.Crystal("", lattice)
    q = [crystal.Q(*h) for h in hkl]
    found.append([[float(np.linalg.norm(x)), float(abs(crystal.StructureFactor(x, en=energy)))]
                  for x in q])
json.dump(found, sys.stdout)
"""


def their_factors(phases: list[CrystalPhase], hkl: list[np.ndarray]) -> list[Array]:
    python = environment_with("xrayutilities")
    cases = [
        (
            phase.cell,
            [
                (site.element, image.tolist(), site.occupancy, site.b_iso)
                for site in phase.sites
                for image in orbit(phase.spacegroup, site.position)
            ],
            indices.tolist(),
            12398.41984 / WAVELENGTH,
        )
        for phase, indices in zip(phases, hkl, strict=True)
    ]
    done = subprocess.run(
        [str(python), "-c", THEIRS], input=json.dumps(cases), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [np.array(case) for case in json.loads(done.stdout)]


def test_xrayutilities_says_the_same() -> None:
    # One percent of the strongest: their tables of f' and f'' are others.
    chosen = [crystal_phase(name) for name in crystal_names()]
    # The garnet has as many reflections above 2 Å as others above 1 Å, and 216 atoms.
    hkl = [
        allowed_reflections(phase, d_min=2.0 if phase.volume > 2000 else 1.0).hkl
        for phase in chosen
    ]
    for phase, indices, found in zip(chosen, hkl, their_factors(chosen, hkl), strict=True):
        ours = np.abs(structure_factors(phase, indices, wavelength=WAVELENGTH)) ** 2
        theirs = found[:, 1] ** 2
        assert np.abs(ours - theirs).max() < 0.01 * theirs.max(), phase.name
        assert np.allclose(2 * np.pi / spacing(phase.cell, indices), found[:, 0], rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spacegroup": "R -3 q"}, "spacegroup"),
        ({"cell": (0.28, 0.28, 1.4, 90, 90, 120)}, "nm"),
        ({"cell": (2.8, 2.8, 14, 90, 90, 0)}, "angles"),
        ({"sites": ({"label": "A", "element": "Xx", "position": (0, 0, 0)},)}, "symbol"),
    ],
)
def test_what_is_no_phase_is_named(change: dict[str, object], said: str) -> None:
    good = crystal_phase("LiNiO2").model_dump()
    with pytest.raises(ValueError, match=said):
        CrystalPhase.model_validate({**good, **change})


def test_a_range_that_asks_for_too_much_is_refused() -> None:
    with pytest.raises(BadInputError, match="more than 0"):
        allowed_reflections(crystal_phase("Li"), d_min=0)
    with pytest.raises(BadInputError, match="longer wavelength"):
        allowed_reflections(crystal_phase("Li7La3Zr2O12"), d_min=0.01)


def test_sites_that_share_a_place_add_up() -> None:
    phase = crystal_phase("LiNiO2")
    halves = tuple(
        PhaseSite(**{**site.model_dump(), "occupancy": 0.5, "label": site.label + half})
        for site in phase.sites
        for half in "ab"
    )
    hkl = allowed_reflections(phase, d_min=1.0).hkl
    split = phase.model_copy(update={"sites": halves})
    assert split.mass == pytest.approx(phase.mass)
    assert np.allclose(
        structure_factors(split, hkl, wavelength=WAVELENGTH),
        structure_factors(phase, hkl, wavelength=WAVELENGTH),
    )
