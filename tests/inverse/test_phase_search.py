"""Search for phases: what is there, what cannot be told, what is left over, and a measured one."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.crystal_phases import crystal_phase, table_phases
from echolith.forward.noise import PoissonCounting
from echolith.forward.powder_pattern import PowderAcquisition, PowderPhase, powder_mean
from echolith.forward.powder_profile import AxialDivergence
from echolith.inverse.le_bail import le_bail
from echolith.inverse.phase_search import search_phases
from echolith.inverse.powder_parameters import Refined
from echolith.inverse.rietveld import RietveldOptions, refine
from echolith.structures.crystal_table import CrystalData, Site

REAL = Path(__file__).resolve().parents[3] / "shared" / "real" / "LiCoO2_CuKa.dat"
TAKEN = PowderAcquisition(
    start=14,
    stop=80,
    step=0.03,
    displacement=3e-4,
    divergence=AxialDivergence(sample=0.02, slit=0.015),
    background=(150, -60, 30),
)
TUBE = PowderAcquisition()


def stretched(phase: CrystalPhase, part: float) -> CrystalPhase:
    lengths = (np.array(phase.cell[:3]) * (1 + part)).tolist()
    return phase.model_copy(update={"cell": (*lengths, *phase.cell[3:])})


def measured(weights: dict[str, float], seed: int, *, taken: PowderAcquisition) -> xr.Dataset:
    sample = tuple(
        PowderPhase(
            phase=stretched(crystal_phase(name), 0.007 * (-1) ** k), weight=weight, size=700
        )
        for k, (name, weight) in enumerate(weights.items())
    )
    return PoissonCounting().sample(powder_mean(sample, acquisition=taken), seed=seed).compute()


def test_three_of_the_table_are_found_and_no_other() -> None:
    weights = {"LiNiO2": 0.6, "Li2CO3": 0.25, "LiMn2O4": 0.15}
    candidates = table_phases()
    found = search_phases(measured(weights, 3, taken=TAKEN), candidates=candidates, instrument=TUBE)
    present = set(found.candidate.values[found.present.values].tolist())
    rivals = found.cannot_tell.values
    named = found.candidate.values[rivals.any(axis=0)].tolist()
    assert present - set(named) | {"LiNiO2"} == {"LiNiO2", "Li2CO3", "LiMn2O4"}
    assert "LiNiO2" in present or "LiNiO2" in named
    assert float(found.explained) > 0.95
    assert not found.sizes["unexplained"]
    for name in ("Li2CO3", "LiMn2O4"):
        own = found.sel(candidate=name)
        assert float(own.significance) > 8
        assert abs(float(own.weight_fraction) - weights[name]) < 5 * float(own.weight_fraction_std)
    absent = ~found.present.values
    assert np.isnan(found.weight_fraction.values[absent]).all()


def test_lines_of_a_phase_that_is_no_candidate_are_told() -> None:
    pattern = measured({"LiNiO2": 0.7, "Li2O": 0.3}, 4, taken=TAKEN)
    candidates = [crystal_phase(name) for name in ("LiNiO2", "LiFePO4", "Na")]
    found = search_phases(pattern, candidates=candidates, instrument=TUBE)
    assert found.candidate.values[found.present.values].tolist() == ["LiNiO2"]
    edge = crystal_phase("Li2O").cell[0] * 0.993
    d = found.unexplained_d.values[np.argsort(-found.unexplained_photons.values)[:2]]
    # 111 and 220 of Li2O; displacement moves them by 3e-4 / tan(theta)
    assert sorted(edge / d) == pytest.approx([3**0.5, 8**0.5], rel=2e-3)
    assert "unknown phase: lines at" in found.attrs["verdict"]


def test_candidates_of_one_kind_cannot_be_told() -> None:
    pattern = measured({"LiNiO2": 1.0}, 5, taken=TAKEN)
    same = crystal_phase("LiNiO2")
    candidates = [same, stretched(same, 0.004).model_copy(update={"name": "other"})]
    found = search_phases(pattern, candidates=candidates, instrument=TUBE)
    assert found.present.values.sum() == 1
    assert found.cannot_tell.values.tolist() == [[False, True], [True, False]]
    assert "cannot tell" in found.attrs["verdict"]


def test_a_pattern_of_another_anode_is_named() -> None:
    cobalt = TAKEN.model_copy(update={"lines": ((1.78897, 1.0), (1.79285, 0.5))})
    pattern = measured({"LiMn2O4": 1.0}, 6, taken=cobalt)
    candidates = [crystal_phase(name) for name in ("LiMn2O4", "LiNiO2", "Li2O")]
    with pytest.raises(BadInputError, match=r"LiMn2O4 explains \d+% with K alpha of Co"):
        search_phases(pattern, candidates=candidates, instrument=TUBE)


def test_what_cannot_be_searched_is_refused() -> None:
    candidates = (crystal_phase("Li2O"),)
    good = measured({"Li2O": 1.0}, 7, taken=TAKEN)
    flat = good.assign(counts=("two_theta", np.random.default_rng(1).poisson(500, 2201)))
    for bad, message in (
        (flat, "no line stands out"),
        (good.assign(counts=0 * good.counts), "all counts are 0"),
        (good.isel(two_theta=slice(None, None, -1)), "does not increase"),
        (good.isel(two_theta=slice(0, 0)), "0 points"),
    ):
        with pytest.raises(BadInputError, match=message):
            search_phases(bad, candidates=candidates, instrument=TUBE)
    with pytest.raises(BadInputError, match="name of its own"):
        search_phases(good, candidates=candidates * 2, instrument=TUBE)
    with pytest.raises(BadInputError, match="no candidate has a line"):
        search_phases(
            measured({"LiNiO2": 1.0}, 1, taken=TAKEN.model_copy(update={"stop": 25.0})),
            candidates=candidates,
            instrument=TUBE,
        )


@pytest.mark.skipif(not REAL.exists(), reason="needs the measured pattern of LiCoO2")
def test_a_measured_pattern_is_named_extracted_and_refined() -> None:
    first, step, _, *counts = (float(value) for value in REAL.read_text().split())
    pattern = xr.Dataset(
        {"counts": ("two_theta", np.array(counts))},
        coords={"two_theta": first + step * np.arange(len(counts))},
    )
    data = CrystalData(
        spacegroup=166,
        cell=(2.83, 2.83, 14.12, 90, 90, 120),
        sites=(
            Site(wyckoff="3a", position=(0, 0, 0), content={"Li": 1.0}),
            Site(wyckoff="3b", position=(0, 0, 0.5), content={"Co": 1.0}),
            Site(wyckoff="6c", position=(0, 0, 0.2405), content={"O": 1.0}),
        ),
    )
    cobaltate = crystal_phase("LiCoO2", data)
    tube = PowderAcquisition(lines=((1.5406, 1.0), (1.54443, 0.514)))
    named = search_phases(pattern, candidates=(*table_phases(), cobaltate), instrument=tube)
    assert named.candidate.values[named.present.values].tolist() == ["LiCoO2"]
    lines = le_bail(pattern, phases=(PowderPhase(phase=cobaltate),), instrument=tube)
    cell = (*lines.cell_length.values[0].tolist(), *cobaltate.cell[3:])
    refined = refine(
        pattern,
        phases=(PowderPhase(phase=cobaltate.model_copy(update={"cell": cell})),),
        instrument=tube,
        options=RietveldOptions(
            refined=Refined(displacement_parameter=True, orientation=True), search=False
        ),
    )
    # A single-crystal refinement gives 2.8150(3) and 14.0516(6) Å.
    for found in (named.sel(candidate=["LiCoO2"]), lines, refined):
        assert found.cell_length.values[0, [0, 2]] == pytest.approx([2.8150, 14.0516], rel=2e-4)
    assert float(lines.r_weighted) < 0.07 < float(refined.r_weighted) < 0.1
