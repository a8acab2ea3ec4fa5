"""Shells of oxide: no atoms overlap, grains are as turned as told, maps are of what is there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from echolith.errors import BadInputError
from echolith.structures.crystal_table import CRYSTALS
from echolith.structures.lithium_particles import AlkaliMetal, MetalParticle
from echolith.structures.oxide_neighbours import Neighbour, with_neighbours
from echolith.structures.oxide_shells import (
    CONTACT,
    OxideShell,
    Thickening,
    ThickeningLaw,
    drawn_grains,
    shell_atoms,
    shell_body,
)
from echolith.structures.oxide_truth import excited_reflections, shell_truth

FIELD = (60.0, 56.0)
SHAPE = (150, 140)
PIXEL = 0.4

shells = st.builds(
    OxideShell,
    grains=st.integers(1, 5),
    columnar=st.booleans(),
    zone_axis=st.sampled_from([(1, 1, 0), (1, 1, 1), None]),
)
particles = st.builds(
    MetalParticle,
    metal=st.sampled_from(AlkaliMetal),
    size=st.floats(14, 20),
    zone_axis=st.sampled_from([(1, 1, 1), (0, 0, 1)]),
    rotation=st.floats(-90, 90),
)


@settings(max_examples=8)
@given(particle=particles, shell=shells, thickness=st.floats(8, 12), seed=st.integers(0, 9))
def test_atoms_and_maps_are_of_the_grains(
    particle: MetalParticle, shell: OxideShell, thickness: float, seed: int
) -> None:
    grains = drawn_grains(particle, shell, field=FIELD, seed=seed)
    atoms = shell_atoms(grains, thickness)
    nearest = cKDTree(atoms.positions).query(atoms.positions, k=2)[0][:, 1]
    assert nearest.min() >= CONTACT - 1e-9
    assert (atoms.positions >= 0).all()
    assert (atoms.positions <= np.diag(atoms.cell)).all()
    # As many as fill the volume, but for what is left out at boundaries.
    inner, outer = (shell_body(particle, t).volume for t in (0.0, thickness))
    expected = 12 * (outer - inner) / CRYSTALS[grains.oxide].cell[0] ** 3
    oxide = atoms.arrays["grain"] > 0
    assert 0.6 * expected < oxide.sum() < 1.05 * expected
    truth = shell_truth(grains, thickness, shape=SHAPE, pixel=PIXEL)
    label = truth["grain"].values
    assert truth["grain_area"].values == pytest.approx(
        [PIXEL**2 * (label == n + 1).sum() for n in range(shell.grains)]
    )
    # Atoms lie on pixels of oxide, and those of columns on pixels of their own grain.
    y, x = np.rint(atoms.positions[oxide, 1::-1] / PIXEL).astype(int).T
    here = label[y, x]
    assert (here > 0).mean() > 0.85
    if shell.columnar:
        assert (here == atoms.arrays["grain"][oxide])[here > 0].mean() > 0.95


@settings(max_examples=10)
@given(particle=particles, seed=st.integers(0, 9))
def test_grains_scatter_where_their_rotation_says(particle: MetalParticle, seed: int) -> None:
    grains = drawn_grains(particle, OxideShell(grains=2), field=FIELD, seed=seed)
    atoms = shell_atoms(grains, 10.0)
    for number in range(2):
        oxygen = (atoms.arrays["grain"] == number + 1) & (atoms.symbols == "O")
        g = excited_reflections(grains, number, thickness=30.0)
        assert len(g) == 3  # two {111} and a {220} across [110]
        phases = np.exp(2j * np.pi * atoms.positions[oxygen, :2] @ g.T).mean(axis=0)
        assert np.abs(phases) == pytest.approx(np.ones(3), abs=1e-6)
        longest = g[np.hypot(*g.T).argmax()]
        # x of the frame of the zone axis runs along the {220}.
        angle = np.degrees(np.arctan2(longest[1], longest[0]))
        told = shell_truth(grains, 10.0, shape=SHAPE, pixel=PIXEL)["grain_rotation"][number]
        away = (angle - float(told) + 90) % 180 - 90
        assert away == pytest.approx(0, abs=1e-6)


@given(
    law=st.sampled_from(ThickeningLaw),
    initial=st.floats(0, 50),
    rate=st.floats(0, 10),
    time=st.floats(0, 100),
)
def test_shells_thicken_by_their_law(
    law: ThickeningLaw, initial: float, rate: float, time: float
) -> None:
    thickening = Thickening(initial=initial, law=law, rate=rate)
    power = 1 if law is ThickeningLaw.LINEAR else 2
    gone = thickening.thickness(time) ** power - initial**power
    assert gone == pytest.approx(rate * time, abs=1e-6)


@pytest.mark.parametrize("name", ["LiF", "Li2CO3", "Li7La3Zr2O12"])
def test_neighbours_give_way(name: str) -> None:
    grains = drawn_grains(MetalParticle(size=18), OxideShell(grains=2), field=FIELD, seed=1)
    atoms = shell_atoms(grains, 6.0)
    # Into the rim of the shell.
    beside = with_neighbours(atoms, [Neighbour(crystal=name, edge=14, centre=(17.0, 0.0))], seed=2)
    new = beside.positions[len(atoms) :]
    assert len(new) > 40
    assert cKDTree(atoms.positions).query(new)[0].min() > CONTACT
    assert cKDTree(new).query(new, k=2)[0][:, 1].min() > 1.2


def test_what_has_no_room_is_refused() -> None:
    grains = drawn_grains(MetalParticle(size=30), OxideShell(), field=FIELD, seed=0)
    with pytest.raises(BadInputError, match="do not fit"):
        shell_atoms(grains, 25.0)
    with pytest.raises(BadInputError, match="does not fit"):
        with_neighbours(shell_atoms(grains, 2.0), [Neighbour(centre=(25.0, 0.0))])
