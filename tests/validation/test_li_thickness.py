"""Scenario li-thickness: conformance, bound, calibrated errors, what noise and slit do."""

from typing import Any

import numpy as np
import pytest

import echolith as el
from echolith.validation.bounds import cramer_rao
from echolith.validation.conformance import check_scenario
from echolith.validation.report import ReportContent
from echolith.validation.thickness_figures import thickness_maps

SMALL: dict[str, Any] = {"acquisition": {"shape": (40, 44), "pixel": 60.0}}
STEADY: dict[str, Any] = {
    **SMALL,
    "drift": 0.0,
    "shell": 0.0,
    "solver": {"path_error": 0, "slit_error": 0, "spectrum_error": 0, "oxide": 0, "oxide_std": 0},
}


def test_the_scenario_keeps_the_rules() -> None:
    check_scenario(el.scenario("li-thickness", **SMALL))


def test_known_spectra_and_slit_leave_the_bound() -> None:
    """12 draws: a spread is known to 1 / sqrt(24), five of that; lithium inside stands for all."""
    scenario = el.scenario("li-thickness", **STEADY)
    specimen = scenario.build(3)
    truth, mean = scenario.truth(specimen), scenario.forward(specimen)
    found = [scenario.solver(scenario.noise.sample(mean, seed=s)) for s in range(12)]
    bound = cramer_rao(scenario, seed=3)
    support = np.array([float(one["support"]) for one in found])
    assert support.std() == pytest.approx(float(bound["support"]), rel=5 / np.sqrt(24))
    volume = np.array([float(one["volume"]) for one in found])
    told = np.mean([float(one["volume_std"]) for one in found])
    # What pixels at the outline lack is noisy: 0.13 %, three times the bound.
    assert volume.std() > (1 - 5 / np.sqrt(24)) * float(bound["volume"])
    assert volume.std() < (1 + 5 / np.sqrt(24)) * told
    inside = np.isfinite(found[0]["areal_density"].values) & (truth["thickness"].values > 300)
    for name in ("t_over_lambda", "thickness", "areal_density"):
        maps = np.stack([one[name].values for one in found])[:, inside]
        spread = np.sqrt(np.nanvar(maps, axis=0, ddof=1).mean())
        # Images moved by parts of a pixel are a little smoother.
        assert 0.75 * float(bound[name]) < spread < 1.15 * float(bound[name]), name


@pytest.mark.parametrize(("body", "size"), [("particle", 1000.0), ("whisker", 450.0)])
def test_errors_of_specimens_fit_their_uncertainty(body: str, size: float) -> None:
    scenario = el.scenario("li-thickness", body=body, size=size, **SMALL)
    pulls: dict[str, list[float]] = {"volume": [], "lithium": []}
    relative = []
    for seed in range(40, 44):
        sample = scenario.simulate(seed=seed)
        found = scenario.solver(sample.measurement)
        relative.append(scenario.score(found, sample.truth)["t_over_lambda_relative"].value)
        for name, kept in pulls.items():
            error = float(found[name]) - float(sample.truth[name])
            kept.append(error / float(found[f"{name}_std"]))
    # The mean square of four pulls is beyond 4.62 once in 1000, were all errors normal.
    for name, kept in pulls.items():
        assert np.mean(np.square(kept)) < 4.62, name
    assert max(relative) < 3


def test_a_picture_is_drawn_of_the_maps() -> None:
    scenario = el.scenario("li-thickness", **SMALL)
    sample = scenario.simulate(seed=1)
    found = scenario.solver(sample.measurement)

    def content(estimate: Any) -> ReportContent:
        return ReportContent(
            title="t",
            scenario="li-thickness",
            settings={},
            summary={},
            measurement=sample.measurement,
            estimate=estimate,
            truth=sample.truth,
        )

    figure = thickness_maps(content(found))
    assert figure is not None
    assert len(figure.axes) >= 8
    assert thickness_maps(content(found.drop_vars("areal_density"))) is None
