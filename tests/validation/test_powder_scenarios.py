"""Powder scenarios: round trip, bound, what settings mean."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import echolith as el
from echolith.errors import BadInputError
from echolith.forward.cation_exchange import exchanged, without_exchange
from echolith.forward.crystal_phases import crystal_phase
from echolith.validation.bounds import cramer_rao
from echolith.validation.run import run_once

SHORT = {"acquisition": {"start": 15.0, "stop": 70.0, "step": 0.04}}
crystals = st.sampled_from(["LiNiO2", "NMC622", "Li-rich-R-3m"]).map(crystal_phase)


@given(phase=crystals, amount=st.floats(0, 0.1))
def test_exchange_keeps_atoms_and_sites(phase: object, amount: float) -> None:
    ideal, slopes = without_exchange(phase)  # type: ignore[arg-type]
    mixed = exchanged(ideal, slopes, amount)
    assert mixed.mass == pytest.approx(phase.mass, rel=1e-9)  # type: ignore[attr-defined]
    for position in ((0, 0, 0), (0, 0, 0.5)):
        held = sum(s.occupancy for s in mixed.sites if s.position == position)
        assert held == pytest.approx(1, abs=1e-9)
    nickel = sum(s.occupancy for s in mixed.sites if s.label == "Ni1")
    assert nickel == pytest.approx(amount, abs=1e-9)


def test_a_phase_without_layers_has_no_exchange() -> None:
    with pytest.raises(BadInputError, match="layered oxide"):
        without_exchange(crystal_phase("LiFePO4"))


@pytest.mark.parametrize("name", ["linio2-powder", "nmc622-powder"])
def test_layered_powders_come_back(name: str) -> None:
    scenario = el.scenario(name, exchange=0.05, **SHORT)
    summary = run_once(scenario, seed=2).summary
    for quantity in summary["quantities"].values():
        if quantity["truth"] is not None and np.isfinite(quantity["std"] or np.inf):
            assert abs(quantity["estimate"] - quantity["truth"]) < 4 * quantity["std"]
    assert summary["quantities"]["exchange"]["std"] < 0.01
    assert summary["scores"]["chi_squared"]["value"] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("calibrated", [False, True])
def test_the_bound_is_below_what_a_refinement_says(calibrated: bool) -> None:
    scenario = el.scenario("linio2-powder", cell_spread=0.0, calibrated=calibrated, **SHORT)
    bound = cramer_rao(scenario, seed=1)
    found = run_once(scenario, seed=1).summary["quantities"]
    for name in ("exchange", "a_LiNiO2", "c_LiNiO2"):
        ratio = found[name]["std"] / float(bound[name])
        assert 0.9 < ratio < 2.5, name


def test_a_pure_phase_leaves_the_other_undetermined() -> None:
    taken = {"acquisition": {"start": 15.0, "stop": 45.0, "step": 0.04}}
    scenario = el.scenario("lfp-powder", fraction=1.0, **taken)
    quantities = run_once(scenario, seed=1).summary["quantities"]
    assert quantities["weight_LiFePO4"]["estimate"] == pytest.approx(1, abs=0.02)
    assert quantities["a_FePO4"]["estimate"] is None
    assert quantities["a_LiFePO4"]["estimate"] == pytest.approx(
        quantities["a_LiFePO4"]["truth"], rel=1e-3
    )
