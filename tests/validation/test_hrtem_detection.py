"""Probability of detection by dose: beside counted detections; the picture of what was found."""

from typing import Any

import numpy as np
import pytest

import echolith as el
from echolith.inverse.lattice import recover_lattice
from echolith.validation import hrtem_figures
from echolith.validation.hrtem_detection import detection_probability
from echolith.validation.report import ReportContent

SMALL: dict[str, Any] = {
    "particle": {"size": 36.0, "zone_axis": (1, 1, 1)},
    "acquisition": {"shape": (160, 160)},
    "slice_thickness": 4.0,
}
FRAMES = 16


def test_detections_are_as_many_as_foretold() -> None:
    scenario = el.scenario("li-hrtem", **SMALL)
    mean = scenario.forward(scenario.build(1)).compute()
    doses = np.array([2.0, 8.0, 30.0])
    foretold = detection_probability(mean, doses)
    assert foretold[0] < 0.1
    assert foretold[2] > 0.9
    assert (np.diff(foretold) > 0).all()
    for dose, probability in zip(doses, foretold, strict=True):
        thin = mean.assign(counts=mean["counts"] * dose / 40)
        found = [
            float(recover_lattice(scenario.noise.sample(thin, seed=s))["noise_probability"])
            for s in range(FRAMES)
        ]
        share = np.mean(np.array(found) <= 0.01)
        # Four standard deviations of a share of 16, at least those of a single one.
        spread = np.sqrt(max(probability * (1 - probability), 1 / FRAMES) / FRAMES)
        assert share == pytest.approx(probability, abs=4 * spread), dose


def test_the_picture_shows_frame_columns_and_reflections() -> None:
    scenario = el.scenario("li-hrtem", **SMALL)
    sample = scenario.simulate(seed=1)
    estimate = scenario.solver(sample.measurement)
    content = ReportContent(
        title="", scenario="li-hrtem", settings={}, summary={}, measurement=sample.measurement,
        estimate=estimate, truth=sample.truth,
    )  # fmt: skip
    figure = hrtem_figures.lattice(content)
    assert figure is not None
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert titles == [
        "First frame", "Bragg filter of it, and columns", "Power spectrum, and reflections"
    ]  # fmt: skip
    (marks,) = figure.axes[2].lines
    places = np.stack(marks.get_data(), axis=1)
    assert np.hypot(*places.T).min() == pytest.approx(1 / float(estimate["spacing"]))
