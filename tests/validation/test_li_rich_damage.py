"""The scenario ``li-rich-damage``: specimens and truth of a field that is scanned again."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.special import ndtr

import echolith as el
from echolith.errors import BadInputError
from echolith.inverse.surface_kinds import CONTENTS, Surface
from echolith.validation.damage_bound import common_columns, drawn_covariance, growth_information
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios.li_rich_damage import LiRichDamageSettings
from echolith.validation.surface_bound import Layer, depth_information


@cache
def case(seed: int = 2, **settings: Any) -> tuple[Scenario, xr.Dataset]:
    scenario = el.scenario("li-rich-damage", **settings)
    return scenario, scenario.truth(scenario.build(seed))


def test_the_layer_follows_the_law_of_its_growth() -> None:
    _, truth = case(law="linear", exposures=3, depth=4.0, rate=5e-5)
    # 8.1e4 e/Å² add 4.05 Å; half of that until the middle of the first exposure.
    assert truth["surface_depth"].values == pytest.approx([6.025, 10.075, 14.125])
    assert float(truth["growth"]) == pytest.approx(8.1)
    assert truth["exposure"].values.tolist() == ["1", "2", "3"]


@pytest.mark.parametrize("phase", ["limn2o4", "rock-salt-disordered", "lt-licoo2"])
def test_metals_enter_the_alkali_layer_and_stay(phase: str) -> None:
    scenario, truth = case(phase=phase)
    specimens = scenario.build(2)
    assert (np.diff(truth["alkali_scattering"].values) > 0).all()
    assert float(truth["alkali_contrast"]) > 1.05
    assert set(specimens) == {"1", "2"}
    # One crystal: where the layer has not yet come nothing has changed.
    counts = [np.sort(atoms.positions[:, 0].round(2)) for atoms in specimens.values()]
    deep = [x[x < 8.0] for x in counts]
    np.testing.assert_allclose(deep[0], deep[1], atol=0.02)


def test_a_field_without_dose_to_grow_by_stays_as_it_is() -> None:
    _, truth = case(rate=0.0)
    assert float(truth["growth"]) == 0
    assert float(truth["alkali_contrast"]) == 1


def test_scores_know_what_was_not_determined() -> None:
    scenario, truth = case()
    exact = scenario.score(truth, truth)
    assert exact["growth_error"].value == exact["surface_depth_rms"].value == 0
    assert exact["phases_found"].value == 1
    depths = truth["surface_depth"] + [1.0, 3.0]
    wrong = truth.assign(surface_depth=depths, surface_phase=("exposure", ["limn2o4", "mn3o4"]))
    scores = scenario.score(wrong, truth)
    assert scores["surface_depth_rms"].value == pytest.approx(0.1 * np.sqrt(5))
    assert scores["surface_depth_rms"].unit == "nm"
    assert scores["phases_found"].value == 0.5
    assert np.isnan(scenario.score(truth.drop_vars("growth"), truth)["growth_error"].value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"phase": "layered"}, "expected a phase that differs from the bulk"),
        ({"law": "linear", "rate": 1e-3}, "expected at most 60 Å; lower rate, dose or exposures"),
        ({"final": 5.0}, "a layer under the beam grows"),
        ({"exposures": 1}, "exposures"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        el.scenario("li-rich-damage", **settings)


def test_one_exposure_differs_from_the_next_in_depth_alone() -> None:
    first, second = LiRichDamageSettings().alone().values()
    left, right = (dict(one.settings) for one in (first, second))
    assert left.pop("depth") < right.pop("depth")
    assert left == right


# --- the bound of the growth ---------------------------------------------------------------------


def layers(depths: tuple[float, ...], phase: str = "limn2o4") -> list[Layer]:
    return [Layer(phase=Surface(phase), depth=depth, width=2.0) for depth in depths]


@pytest.mark.parametrize("phase", ["limn2o4", "mn3o4", "rock-salt-disordered"])
def test_contents_scatter_together_as_they_are_drawn(phase: str) -> None:
    """Against specimens of the scenario drawn anew, one column of a kind and depth at a time."""
    rng = np.random.default_rng(0)
    n, draws = 7, 20_000
    columns = xr.Dataset(
        {
            "species": ("column", ["M", "Li", "Li"]),
            "lattice_i": ("column", [0, 0, 1]),
            "depth": ("column", [9.0, 10.0, 12.0]),
            "n_sites": ("column", [n, n, n]),
        }
    )
    two = layers((8.0, 11.0), phase)
    found = drawn_covariance([columns, columns], two, 0)
    for k in range(3):
        share = [ndtr((one.depth - columns["depth"].values[k]) / 2.0) for one in two]
        full = CONTENTS[two[0].phase][str(columns["species"].values[k])]
        metal = full[int(columns["lattice_i"].values[k]) % 2][0]
        bulk = 0.8 if columns["species"].values[k] == "M" else 0.0
        when, first = rng.random((draws, n)), rng.random((draws, n)) < bulk
        new = np.full((draws, n), metal)
        if phase == "rock-salt-disordered":
            new = (rng.random((draws, n)) < metal).astype(float)
        held = [np.where(when < s, new, first).mean(axis=1) for s in share]
        # Covariances of 20 000 draws are known to 1/sqrt(draws) of the variances: 5 sigma.
        largest = max(np.var(held[0]), np.var(held[1]))
        assert found[k] == pytest.approx(np.cov(held), abs=5 * 1.5 * largest / np.sqrt(draws))


def test_growth_is_known_better_than_depths_one_by_one_and_never_from_nothing() -> None:
    _, truth = case()
    scenario, _ = case()
    specimens = scenario.build(2)
    alone = scenario.settings.alone()  # type: ignore[attr-defined]
    columns = common_columns([one.truth(specimens[name]) for name, one in alone.items()])
    two = layers(tuple(truth["surface_depth"].values.tolist()))
    variance = np.full(columns[0].sizes["column"], 0.003**2)
    covariance = np.linalg.inv(growth_information(columns, two, variance))
    growth = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    apart = [
        np.linalg.inv(depth_information(c, s, variance))[0, 0]
        for c, s in zip(columns, two, strict=True)
    ]
    assert 0.1 < np.sqrt(growth) < np.sqrt(sum(apart))
    worse = np.linalg.inv(growth_information(columns, two, 100 * variance))
    assert worse[0, 0] + worse[1, 1] - 2 * worse[0, 1] > growth
