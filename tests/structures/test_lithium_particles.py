"""Metal particles: Wulff faces, zone axes, columns, what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from echolith.errors import BadInputError
from echolith.structures.lithium_particles import (
    AlkaliMetal,
    MetalParticle,
    metal_particle,
    particle_truth,
    wulff_body,
)
from echolith.zone_axes import projected_reflections, rotation_period, zone_frame, zone_reflections

ZONES = ((0, 0, 1), (1, 1, 0), (1, 1, 1), (1, 1, 3), (0, -1, 1))
FIELD = (70.0, 76.0)

particles = st.builds(
    MetalParticle,
    metal=st.sampled_from(AlkaliMetal),
    size=st.floats(18, 30),
    corner_energy=st.none() | st.floats(0.9, 1.3),
    cube_energy=st.none() | st.floats(0.8, 1.6),
    zone_axis=st.sampled_from(ZONES),
    rotation=st.floats(-360, 360),
)


@given(corner=st.floats(0.9, 1.4), cube=st.floats(0.8, 1.6))
def test_faces_show_where_their_energy_is_low_enough(corner: float, cube: float) -> None:
    # The edges and corners of a rhombic dodecahedron lie 2/sqrt(3) and sqrt(2) times further out.
    dodecahedron = wulff_body(MetalParticle())
    assert np.count_nonzero(dodecahedron.face_areas > 0) == 12
    cut = wulff_body(MetalParticle(corner_energy=corner)).volume / dodecahedron.volume
    assert cut == pytest.approx(1, abs=1e-9) if corner > 1.1548 else cut < 1
    cut = wulff_body(MetalParticle(cube_energy=cube)).volume / dodecahedron.volume
    assert cut == pytest.approx(1, abs=1e-9) if cube > 1.41422 else cut < 1


def test_a_particle_has_the_faces_of_ases_construction() -> None:
    from ase.cluster import wulff_construction

    energies = {(1, 1, 0): 1.0, (1, 0, 0): 1.1}
    made = wulff_construction(
        "Li", list(energies), list(energies.values()), 2000, "bcc", latticeconstant=3.5092
    )
    theirs = made.positions - made.positions.mean(axis=0)
    extents = [np.abs(theirs @ np.array(n) / np.linalg.norm(n)).max() for n in energies]
    body = wulff_body(MetalParticle(size=2 * extents[0], cube_energy=1.1))
    reach = np.array([(body.normals @ point / body.offsets).max() for point in theirs])
    # ASE takes whole layers; a layer is 2.5 Å of 20 Å.
    assert reach.max() < 1.1
    volume = 3.5092**3 / 2 * len(theirs)
    assert body.volume == pytest.approx(volume, rel=0.25)


@given(particle=particles, seed=st.integers(0, 3))
def test_atoms_are_the_lattice_inside_the_faces(particle: MetalParticle, seed: int) -> None:
    atoms = metal_particle(particle, field=FIELD, seed=seed)
    body = wulff_body(particle)
    expected = 2 * body.volume / particle.edge**3
    # The number of lattice points in a convex body differs from its volume by a part of its skin.
    assert abs(len(atoms) - expected) < 0.5 * body.face_areas.sum() / particle.edge**2
    middle = atoms.positions - np.array([FIELD[1] / 2, FIELD[0] / 2, atoms.cell[2, 2] / 2])
    c, s = np.cos(np.radians(particle.rotation)), np.sin(np.radians(particle.rotation))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ zone_frame(particle.zone_axis)
    assert ((middle @ turn) @ body.normals.T < body.offsets + 1e-6).all()
    bond = np.sort(cdist(atoms.positions, atoms.positions), axis=1)[:, 1].min()
    assert bond == pytest.approx(np.sqrt(0.75) * particle.edge)


@given(particle=particles)
def test_the_truth_is_where_the_atoms_are(particle: MetalParticle) -> None:
    atoms = metal_particle(particle, field=FIELD)
    truth = particle_truth(atoms)
    assert int(truth["column_atoms"].sum()) == len(atoms)
    columns = np.stack([truth["x"], truth["y"]], axis=1)
    assert cdist(atoms.positions[:, :2], columns).min(axis=1).max() < 1e-6
    g = projected_reflections(
        particle.zone_axis, spacing=float(truth["spacing"]), rotation=float(truth["rotation"])
    )[:6]
    # Every atom scatters in phase into a reflection of the lattice.
    phases = np.exp(2j * np.pi * (atoms.positions[:, :2] @ g.T)).mean(axis=0)
    assert np.abs(phases) == pytest.approx(np.ones(len(g)), abs=1e-6)


def test_zones_have_the_symmetry_of_the_crystal() -> None:
    assert [rotation_period(zone) for zone in ZONES] == [90, 180, 60, 180, 180]
    for zone in ZONES:
        assert zone_frame(zone)[2] @ zone < 0
        assert np.linalg.det(zone_frame(zone)) == pytest.approx(1)
        assert (zone_reflections(zone).sum(axis=1) % 2 == 0).all()


def test_what_is_no_particle_is_refused() -> None:
    with pytest.raises(BadInputError, match="does not fit"):
        metal_particle(MetalParticle(size=80), field=FIELD)
    with pytest.raises(BadInputError, match="zone_axis"):
        zone_reflections((0, 0, 0))
    bare = metal_particle(MetalParticle(size=20), field=FIELD)
    bare.info.clear()
    with pytest.raises(BadInputError, match="metal_particle"):
        particle_truth(bare)
