"""What the solver believes of the phases against their structures; closure; invariance."""

import numpy as np
import pytest
import xarray as xr
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.inverse.surface_kinds import CONTENTS, Surface
from echolith.inverse.surface_phase import classify_surface
from echolith.inverse.surface_segmentation import find_edge, surely_bulk
from echolith.structures.column_composition import true_composition
from echolith.structures.spinel_sites import PHASES, VARIANTS, SurfacePhase, Wyckoff, wyckoff_sites
from echolith.validation.li_rich_strategies import surface_specimens
from echolith.validation.surface_bound import Layer, depth_information, mean_content
from tests.inverse.surface_table import CELLS, table
from tests.inverse.test_surface_recovery import composed

CHANGED = [phase for phase in SurfacePhase if phase is not SurfacePhase.LAYERED]


def structure_contents(
    phase: SurfacePhase, kind: str, sign: int, i: int, j: int, variant: int
) -> tuple[float, float]:
    """Mean metals and lithium of a column over the period of the spinel along the beam."""
    layers = np.arange(8)
    one = np.ones(8, dtype=np.intp)
    sites = wyckoff_sites(np.full(8, kind), sign * one, i * one, j * one, layers, variant=variant)
    content = PHASES[phase]
    return (
        float(np.mean([content.metal.get(s, 0.0) for s in sites])),
        float(np.mean([content.lithium.get(s, 0.0) for s in sites])),
    )


@pytest.mark.parametrize("phase", CHANGED)
@pytest.mark.parametrize("variant", range(VARIANTS))
def test_the_solver_expects_what_the_structures_hold(phase: SurfacePhase, variant: int) -> None:
    held = CONTENTS[Surface(phase.value)]
    for kind, signs in (("M", (0,)), ("Li", (0,)), ("T", (-1, 1))):
        for sign in signs:
            found = np.array(
                [
                    [structure_contents(phase, kind, sign, i, j, variant) for i in range(4)]
                    for j in range(3)
                ]
            )
            # By the parity of i alone, in one of two registers.
            registers = [np.array([held[kind][(i + p) % 2] for i in range(4)]) for p in (0, 1)]
            assert any(np.allclose(found, register[None]) for register in registers)


@pytest.mark.parametrize("phase", CHANGED)
@pytest.mark.parametrize("variant", range(VARIANTS))
def test_all_kinds_of_columns_are_in_one_register(phase: SurfacePhase, variant: int) -> None:
    held = CONTENTS[Surface(phase.value)]
    found = {
        kind: np.array([structure_contents(phase, kind, sign, i, 0, variant) for i in (0, 1)])
        for kind, sign in (("M", 0), ("Li", 0), ("T", 1))
    }
    assert any(
        all(np.allclose(found[k], [held[k][p], held[k][1 - p]]) for k in found) for p in (0, 1)
    )


@pytest.mark.parametrize("phase", CHANGED)
def test_a_layer_keeps_its_metals_per_oxygen(phase: SurfacePhase) -> None:
    held = CONTENTS[Surface(phase.value)]
    metals = {kind: np.mean([pair[0] for pair in held[kind]]) for kind in ("M", "Li", "T")}
    # Two oxygens for each M and Li; two tetrahedral columns beside each Li.
    per_oxygen = (metals["M"] + metals["Li"] + 2 * metals["T"]) / 2
    formula = {"lt-licoo2": 2 / 4, "limn2o4": 2 / 4, "mn3o4": 3 / 4, "rock-salt-disordered": 1 / 2}
    assert per_oxygen == pytest.approx(formula[phase.value])


def test_spinels_use_no_other_site_than_named() -> None:
    for content in PHASES.values():
        assert not {*content.metal, *content.lithium} & {Wyckoff.NONE}


@settings(max_examples=10, deadline=None)
@given(surface_specimens())
def test_sites_hold_one_atom_at_most(atoms: Atoms) -> None:
    found = true_composition(atoms, tetrahedral=True)
    parts = np.stack([found[n].values for n in ("tm_fraction", "li_fraction", "vacancy")])
    assert parts.min() >= 0
    assert np.allclose(parts.sum(axis=0), 1)


def classified(sites: xr.Dataset) -> xr.Dataset:
    composition, std = composed(sites)
    return classify_surface(composition, edge_std=std)


@settings(max_examples=6, deadline=None)
@given(
    phase=st.sampled_from(sorted(CELLS)),
    seed=st.integers(0, 99),
    shift=st.integers(-3, 3),
    gain=st.sampled_from([0.5, 2.0]),
)
def test_neither_units_nor_names_of_columns_matter(
    phase: str, seed: int, shift: int, gain: float
) -> None:
    sites = table(phase, depth=12.0, seed=seed)
    order = np.random.default_rng(seed).permutation(sites.sizes["column"])
    other = sites.isel(column=order, column_=order)
    other = other.assign(
        lattice_i=other["lattice_i"] + shift,
        brightness=gain * other["brightness"] + 7.0,
        brightness_covariance=gain**2 * other["brightness_covariance"],
    )
    first, second = classified(sites), classified(other)
    assert str(first["surface_phase"].values) == str(second["surface_phase"].values)
    assert np.allclose(first["probability"], second["probability"], atol=1e-6)
    for name in ("surface_depth", "tetrahedral_occupancy"):
        assert (name in first) == (name in second)
        if name in first:
            assert float(first[name]) == pytest.approx(float(second[name]), abs=1e-6)


def held_columns(phase: str) -> xr.Dataset:
    sites = table(phase, depth=15.0, seed=0)
    edge = find_edge(sites)
    depth = edge.depth(sites["x"], sites["y"])
    assert surely_bulk(depth).any()
    keep = np.flatnonzero((sites["site"].values != "O") & (depth > 0))
    found = sites.isel(column=keep).rename(site="species", true_tm="tm_fraction")
    return found.assign(depth=("column", depth[keep]), n_sites=("column", np.full(len(keep), 7)))


@pytest.mark.parametrize("phase", [p.value for p in CHANGED])
def test_depth_is_known_better_with_less_noise_but_not_beyond_the_drawing(phase: str) -> None:
    columns = held_columns(phase)
    layer = Layer(phase=Surface(phase), depth=15.0, width=2.0)
    stds = [
        np.sqrt(
            np.linalg.inv(depth_information(columns, layer, np.full(columns.sizes["column"], v)))[
                0, 0
            ]
        )
        for v in (1e-2, 1e-3, 1e-9)
    ]
    assert stds[0] > stds[1] > stds[2] > 0.05
    mean, scatter = mean_content(columns, layer, 0)
    assert mean.min() >= 0
    assert mean.max() <= 1
    assert scatter.min() >= 0


def test_a_layered_surface_has_no_depth() -> None:
    columns = held_columns("layered")
    layer = Layer(phase=Surface.LAYERED, depth=15.0, width=2.0)
    assert not depth_information(columns, layer, np.ones(columns.sizes["column"])).any()
