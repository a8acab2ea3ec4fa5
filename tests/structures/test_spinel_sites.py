"""The oracle is ASE's Fd-3m and Fm-3m, turned with <111> along y and <110> along the beam."""

import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import crystal
from scipy.spatial import cKDTree

from echolith.structures.cation_sites import TRANSITION_METALS
from echolith.structures.columns import true_columns
from echolith.structures.projected_cell import ProjectedParameters
from echolith.structures.spinel_sites import VARIANTS, Wyckoff, cubic_sites, wyckoff_sites
from echolith.structures.surface_layers import SurfacePhase, surface_specimen

EDGE = 8.2
"""Cubic edge of the spinel, Å, with ideal oxygen, u = 1/4."""
STEP = EDGE * np.sqrt(2) / 4
IDEAL = ProjectedParameters(
    A=EDGE * np.sqrt(6) / 8,
    Cx=-EDGE * np.sqrt(6) / 12,
    Cy=EDGE / np.sqrt(3),
    Ox=EDGE * np.sqrt(6) / 24,
    Oy=EDGE / np.sqrt(48),
)
"""The projected cell of an ideal close packing: |A| = |(1, 1, -2)| a/8, layers a/sqrt(12) apart."""
SITES = {"16c": (0, 0, 0), "16d": (0.5, 0.5, 0.5), "8a": (0.125, 0.125, 0.125)}
CONTENT = {
    SurfacePhase.LT_LICOO2: {"16d": "Mn", "16c": "Li"},
    SurfacePhase.LIMN2O4: {"16d": "Mn", "8a": "Li"},
    SurfacePhase.MN3O4: {"16d": "Mn", "8a": "Mn"},
}
TURN = np.array([[1, 1, -2], [1, 1, 1], [1, -1, 0]]) / np.sqrt([[6], [3], [2]])
"""Rows x, y and the beam in cubic axes: right-handed."""


def surface(phase: SurfacePhase, seed: int = 0) -> Atoms:
    """A field turned into the phase through and through."""
    return surface_specimen(
        IDEAL,
        surface_parameters=IDEAL,
        phase=phase,
        depth=60,
        interface_width=0.01,
        field=(16, 18),
        thickness=6 * STEP,
        b=3 * STEP,
        seed=seed,
    )


def oracle(phase: SurfacePhase) -> Atoms:
    symbols, places = zip(
        *[(element, SITES[site]) for site, element in CONTENT[phase].items()], strict=True
    )
    return crystal(
        [*symbols, "O"],
        [*places, (0.25, 0.25, 0.25)],
        spacegroup=227,
        setting=2,
        cellpar=[EDGE] * 3 + [90] * 3,
    )


def as_kind(numbers: np.ndarray) -> np.ndarray:
    return np.where(np.isin(numbers, TRANSITION_METALS), 25, numbers)


def shifts_that_match(atoms: Atoms, reference: Atoms) -> int:
    """How many translations of the reference make the two the same, site by site."""
    cell = reference.repeat((6, 6, 6))
    turned = (cell.positions - cell.positions.mean(axis=0)) @ TURN.T
    kinds, ours = as_kind(np.asarray(cell.numbers)), as_kind(np.asarray(atoms.numbers))
    centred = atoms.positions - np.diag(np.asarray(atoms.cell)) / 2
    metal = centred[atoms.arrays["column_kind"] == "M"]
    anchor = metal[np.argmin(np.linalg.norm(metal, axis=1))]
    # Every metal of a primitive cell is among these.
    near = np.flatnonzero((kinds == 25) & (np.linalg.norm(turned, axis=1) < EDGE * 0.71))
    return sum(
        _same(turned - turned[candidate] + anchor, kinds, centred, ours) for candidate in near
    )


# The layered crystal's oxygen is up to (1/3 - 0.3214) b = 0.104 Å off quarter layers.
NEAR = 0.11


def _same(
    theirs: np.ndarray, their_kinds: np.ndarray, ours: np.ndarray, our_kinds: np.ndarray
) -> bool:
    distance, index = cKDTree(theirs).query(ours)
    if distance.max() > NEAR or (their_kinds[index] != our_kinds).any():
        return False
    # And nothing of the crystal is missing inside.
    inside = (np.abs(theirs) < np.ptp(ours, axis=0) / 2 - 1.5).all(axis=1)
    return bool(cKDTree(ours).query(theirs[inside])[0].max() < NEAR)


@pytest.mark.parametrize("phase", CONTENT)
@pytest.mark.parametrize("seed", [0, 3])
def test_phases_are_fd3m_site_by_site(phase: SurfacePhase, seed: int) -> None:
    assert shifts_that_match(surface(phase, seed), oracle(phase)) > 0


def test_phases_are_not_each_other() -> None:
    """The comparison above can fail."""
    assert shifts_that_match(surface(SurfacePhase.LIMN2O4), oracle(SurfacePhase.MN3O4)) == 0
    layered = surface(SurfacePhase.LAYERED)
    assert shifts_that_match(layered, oracle(SurfacePhase.LT_LICOO2)) == 0


@pytest.mark.parametrize("phase", CONTENT)
def test_projected_columns_are_those_of_the_crystal(phase: SurfacePhase) -> None:
    """Content of each column along <110>, counted by grouping both crystals by projection."""
    turned = oracle(phase).repeat((5, 5, 5))
    turned.positions[:] = (turned.positions - turned.positions.mean(axis=0)) @ TURN.T
    # A whole period of two layers, and again as many, of which columns of the border are cut.
    turned = turned[(np.abs(turned.positions) < [8, 8, 2 * STEP]).all(axis=1)]
    assert contents(surface(phase), 6) == contents(turned, 4)


def contents(atoms: Atoms, layers: int) -> set[tuple[float, float]]:
    """Metals and lithium a layer of each cation column, found by where atoms project to."""
    columns = true_columns(Atoms(atoms.symbols, positions=atoms.positions), tolerance=0.3)
    places = np.column_stack([columns["x"], columns["y"]])[columns["species"].values != "O"]
    kinds = as_kind(np.asarray(atoms.numbers))
    near = cKDTree(places).query_ball_point(atoms.positions[:, :2], 0.3)
    column = np.array([found[0] if found else -1 for found in near])
    return {
        tuple((kinds[column == n] == kind).sum().item() / layers for kind in (25, 3))
        for n in range(len(places))
    }


def test_rich_layers_are_those_of_the_metals() -> None:
    """3/4 of 16d where the transition metals were, 1/4 in the alkali layer, 1 + 1/2, 1/2 + 0."""
    n = np.arange(8)
    i, j, layer = (a.ravel() for a in np.meshgrid(n, n, n))
    for variant in range(VARIANTS):
        shares = {}
        for kind in ("M", "Li"):
            kinds = np.full(len(i), kind)
            site = wyckoff_sites(kinds, 0 * i, i, j, layer, variant=variant)
            is_metal = (site == Wyckoff.D16).astype(float)
            shares[kind] = {
                float(is_metal[(i == a) & (j == b)].mean()) for a in range(8) for b in range(8)
            }
            assert is_metal.mean() == (0.75 if kind == "M" else 0.25)
        assert shares == {"M": {0.5, 1.0}, "Li": {0.0, 0.5}}
        for sign in (-1, 1):
            site = wyckoff_sites(np.full(len(i), "T"), 0 * i + sign, i, j, layer, variant=variant)
            assert (site == Wyckoff.A8).mean() == 0.25


def test_oxygen_takes_the_odd_points_of_the_lattice() -> None:
    n = np.arange(-3, 4)
    i, j, layer, sign = (a.ravel() for a in np.meshgrid(n, n, n, [-1, 1]))
    places = cubic_sites(np.full(len(i), "O"), sign, i, j, layer)
    # In eighths: even coordinates whose sum is 2 more than a multiple of 4.
    assert (places % 2 == 0).all()
    assert (places.sum(axis=1) % 4 == 2).all()
    assert len(np.unique(places, axis=0)) == len(places)


def test_disordered_rock_salt_is_half_metal_everywhere() -> None:
    atoms = surface(SurfacePhase.ROCK_SALT_DISORDERED)
    cations = np.asarray(atoms.numbers)[atoms.numbers != 8]
    share = np.isin(cations, TRANSITION_METALS).mean()
    # Binomial, 4.5 standard errors.
    assert abs(share - 0.5) < 4.5 * 0.5 / np.sqrt(len(cations))
    # Sites are those of Fm-3m with half the edge.
    salt = crystal(
        ["Li", "O"], [(0, 0, 0), (0.5, 0.5, 0.5)], spacegroup=225, cellpar=[EDGE / 2] * 3 + [90] * 3
    ).repeat((16, 16, 16))
    turned = salt.positions @ TURN.T
    lithium = np.flatnonzero(np.asarray(salt.numbers) == 3)
    middle = lithium[np.argmin(np.linalg.norm(turned[lithium] - turned.mean(axis=0), axis=1))]
    ours = np.flatnonzero(np.asarray(atoms.numbers) != 8)
    box = np.diag(np.asarray(atoms.cell))
    centre = ours[np.argmin(np.linalg.norm(atoms.positions[ours] - box / 2, axis=1))]
    moved = turned - turned[middle] + atoms.positions[centre]
    distance, index = cKDTree(moved).query(atoms.positions)
    assert distance.max() < 0.13
    assert ((np.asarray(salt.numbers)[index] == 8) == (atoms.numbers == 8)).all()
