"""The picture of a diffraction pattern: rings have their indices, spots their circles."""

import numpy as np
import xarray as xr

from echolith.validation.report import ReportContent
from echolith.validation.saed_figures import rings


def content() -> ReportContent:
    counts = np.random.default_rng(1).poisson(5.0, (90, 100))
    measurement = xr.Dataset(
        {"counts": (("detector_y", "detector_x"), counts)},
        attrs={"energy": 200e3, "camera_length": 150.0, "pixel_size": 60.0},
    )
    radius = np.arange(1.0, 60.0)
    curves = {n: ("radius", np.ones(59)) for n in ("profile", "calculated", "background")}
    estimate = xr.Dataset(
        {
            **curves,
            "probability": ("candidate", [1.0, 0.0, 1.0]),
            "ring_electrons": ("candidate", [5.0, 5.0, np.nan]),
            "unknown_radius": ("ring", [33.0]),
            "spot_x": ("spot", [10.0]),
            "spot_y": ("spot", [20.0]),
            "centre_x": 48.0,
            "centre_y": 44.0,
            "stretch_p": 0.01,
            "stretch_q": 0.0,
        },
        coords={"radius": radius, "candidate": ["LiF", "Li2O", "unknown"]},
    )
    return ReportContent(
        title="t",
        scenario="s",
        settings={},
        summary={},
        measurement=measurement,
        estimate=estimate,
        truth=None,
    )


def test_rings_of_phases_found_have_their_indices_and_those_of_none_are_unknown() -> None:
    figure = rings(content())
    assert figure is not None
    pattern, profile = figure.axes
    assert {text.get_text() for text in pattern.texts} == {
        "LiF 200", "LiF 220", "LiF 111", "LiF 420",
    }  # fmt: skip
    legend = profile.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == [
        "observed",
        "calculated",
        "LiF",
        "unknown",
    ]


def test_what_is_no_diffraction_pattern_has_no_such_picture() -> None:
    other = content()
    bare = ReportContent(
        title="t",
        scenario="s",
        settings={},
        summary={},
        measurement=other.measurement.drop_vars("counts"),
        estimate=other.estimate,
        truth=None,
    )
    assert rings(bare) is None
