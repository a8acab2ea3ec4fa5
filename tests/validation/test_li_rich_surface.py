import numpy as np
import pytest
import xarray as xr

import echolith as el
from echolith.errors import BadInputError
from echolith.structures.surface_layers import SurfacePhase
from echolith.validation.scenarios.li_rich_surface import composition_residuals


@pytest.mark.parametrize("phase", list(SurfacePhase))
def test_truth_is_that_of_the_columns_in_the_scan(phase: SurfacePhase) -> None:
    scenario = el.scenario("li-rich-surface", phase=phase.value, depth=12.0)
    truth = scenario.truth(scenario.build(2))
    height, width = scenario.settings.model_dump()["scan"]["shape"]
    assert 0 < float(truth["y"].min()) < float(truth["y"].max()) < 0.27 * height
    # The scan holds the vacuum asked for, and bulk on the other side.
    assert 0.27 * width - 4.0 - 3.0 < float(truth["x"].max()) < 0.27 * width - 4.0 + 0.1
    assert float(truth["depth"].max()) > 20
    assert str(truth["surface_phase"].values) == phase.value
    assert ("surface_depth" in truth) == (phase is not SurfacePhase.LAYERED)
    if phase in (SurfacePhase.LIMN2O4, SurfacePhase.MN3O4):
        assert float(truth["tetrahedral_occupancy"]) == pytest.approx(0.25, abs=0.08)


def test_scores() -> None:
    scenario = el.scenario("li-rich-surface")
    truth = scenario.truth(scenario.build(0))
    wrong = truth.assign(surface_phase=((), "mn3o4"), surface_depth=truth["surface_depth"] + 2.0)
    unsure = truth.assign(surface_phase=((), "cannot tell")).drop_vars("surface_depth")
    rows = [scenario.score(one, truth) for one in (truth, wrong, unsure)]
    assert [row["phase_found"].value for row in rows] == [1, 0, 0]
    assert [row["phase_wrong"].value for row in rows] == [0, 1, 0]
    assert [row["surface_depth_error"].value for row in rows[:2]] == pytest.approx([0, 0.2])
    assert np.isnan(rows[2]["surface_depth_error"].value)
    assert rows[0]["surface_depth_error"].unit == "nm"


def test_residuals_pair_columns_of_one_kind() -> None:
    scenario = el.scenario("li-rich-surface")
    truth = scenario.truth(scenario.build(0))
    std = xr.full_like(truth["tm_fraction"], 0.05)
    estimate = truth.assign(tm_fraction=truth["tm_fraction"] + 0.1, tm_fraction_std=std)
    order = np.random.default_rng(0).permutation(truth.sizes["column"])
    found = composition_residuals(estimate.isel(column=order), truth)
    assert set(found) == {"tm_fraction_m", "tm_fraction_li", "tm_fraction_t"}
    for one in found.values():
        assert np.allclose(one.error, 0.1)
        assert np.allclose(one.std, 0.05)


def test_a_detector_that_cuts_the_disc_is_refused() -> None:
    with pytest.raises(BadInputError, match="disc"):
        el.scenario("li-rich-surface", detector={"shape": (10, 10), "pixel_size": (1.2, 1.2)})
