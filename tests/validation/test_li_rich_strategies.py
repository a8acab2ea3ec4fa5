"""Strategies of Li-rich oxide: what they draw can be simulated and has a truth."""

import doctest

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings

from echolith.errors import BadInputError
from echolith.forward.projected_potential import check_specimen
from echolith.structures.column_composition import true_composition
from echolith.structures.columns import true_columns
from echolith.structures.spinel_sites import SurfacePhase
from echolith.structures.surface_layers import true_surface
from echolith.validation import li_rich_strategies
from echolith.validation.li_rich_strategies import (
    migrated_specimens,
    redox_specimens,
    surface_phases,
    surface_specimens,
)


def check_truth(atoms: Atoms) -> None:
    check_specimen(atoms, 1.0)
    composition = true_composition(atoms)
    parts = sum(composition[name] for name in ("tm_fraction", "li_fraction", "vacancy"))
    assert np.allclose(parts, 1)
    assert {"M", "O"} <= set(true_columns(atoms)["species"].values.tolist())


def test_the_examples_run() -> None:
    found = doctest.testmod(li_rich_strategies)
    assert found.attempted > 6
    assert found.failed == 0


@settings(max_examples=10, deadline=None)
@given(migrated_specimens(), redox_specimens())
def test_specimens_have_a_truth(migrated: Atoms, redox: Atoms) -> None:
    check_truth(migrated)
    check_truth(redox)
    share = true_composition(migrated)["tm_in_alkali_layer"].item()
    # A tenth of the metals of one layer, on the sites of another; a small field's layers may
    # hold half as many of these again.
    assert 0 <= share <= 0.16


@settings(max_examples=10, deadline=None)
@given(surface_specimens(phases=surface_phases().filter(lambda p: p is not SurfacePhase.LAYERED)))
def test_surfaces_have_a_truth(atoms: Atoms) -> None:
    check_truth(atoms)
    truth = true_surface(atoms)
    assert set(truth["phase"].values.tolist()) <= {phase.value for phase in SurfacePhase}
    assert atoms.info["surface_phase"] != "layered"


def test_bad_arguments_are_refused_when_the_strategy_is_made() -> None:
    with pytest.raises(BadInputError, match="largest = 5 Å"):
        redox_specimens(largest=5)
    with pytest.raises(BadInputError, match="largest = nan Å"):
        surface_specimens(largest=float("nan"))
    with pytest.raises(BadInputError, match="most = 5;"):
        migrated_specimens(most=5)
