"""Pictures of diffraction maps: panels say what they show, colours mean what they say."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from skimage.color import rgb2lab

from echolith.inverse.diffraction_particles import recover_map_particles
from echolith.validation import strain_figures
from echolith.validation.report import ReportContent, render_report

DIMS = ("scan_y", "scan_x")
UNITS = {"strain": "1", "tilt_x": "°", "tilt_y": "°", "spacing": "Å", "width_z": "1/Å"}


def report(**changes: Any) -> ReportContent:
    """Return a report of two crystals, one leaning towards x, one against it."""
    rng = np.random.default_rng(1)
    right = np.arange(18) >= 10
    tilt = np.where(right, 0.1, -0.1) + 0.01 * rng.standard_normal((14, 18))
    values = {
        "strain": np.where(right, 1e-3, 0) + 1e-4 * rng.standard_normal((14, 18)),
        "tilt_x": tilt,
        "tilt_y": 0.01 * rng.standard_normal((14, 18)),
        "width_z": np.full((14, 18), 1.5e-3),
    }
    values["spacing"] = 4.743 * (1 + values["strain"])
    truth = xr.Dataset({n: (DIMS, v, {"units": UNITS[n]}) for n, v in values.items()})
    label = (np.arange(18) >= 10).astype(np.int32) + np.ones((14, 18), dtype=np.int32)
    truth["label"] = (DIMS, label, {"units": "1"})
    truth["c"] = 3 * truth["spacing"]
    truth["particle_c"] = ("particle", np.array([14.229, 14.243]))
    truth = truth.assign_coords(particle=[1, 2]).assign(drift_x=0.05, drift_y=-0.1)
    maps = truth[list(UNITS)].assign(
        {
            f"{n}_std": (DIMS, np.full((14, 18), s))
            for n, s in {"strain": 1e-4, "tilt_x": 0.01, "tilt_y": 0.01, "spacing": 5e-4}.items()
        }
    )
    maps = maps.assign_coords(
        {d: np.arange(n) * 300.0 for d, n in zip(DIMS, (14, 18), strict=True)}
    )
    estimate = recover_map_particles(maps).assign(
        drift_x=0.04, drift_x_std=0.01, drift_y=-0.1, drift_y_std=0.01
    )
    measurement = xr.Dataset(coords={"eta": np.linspace(8, 9, 11)})
    content: dict[str, Any] = {"measurement": measurement, "estimate": estimate, "truth": truth}
    return ReportContent(title="t", scenario="s", settings={}, summary={}, **(content | changes))


def test_every_map_stands_beside_its_truth() -> None:
    figure = strain_figures.strain_maps(report())
    assert figure is not None
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert titles[:4] == ["Strain: truth", "Strain: estimate", "Estimate − truth", "Uncertainty"]
    assert [t for t in titles if "estimate" in t] == [
        f"{name}: estimate"
        for name in ("Strain", "c", "Tilt towards x", "Tilt towards y", "Width along Qz")
    ]
    shared = [axes.images[0].get_clim() for axes in figure.axes[:2]]
    assert shared[0] == shared[1]
    strain = figure.axes[1].images[0].get_array()
    assert strain is not None
    assert float(strain[:, 10:].mean()) == pytest.approx(0.1, abs=0.01)  # %


def test_colours_of_tilts_are_even() -> None:
    turn = np.radians(np.arange(0, 360, 30))
    tilt = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    lab = rgb2lab(strain_figures._coloured(tilt, 1.0)[:, :3])
    assert np.ptp(lab[:, 0]) < 3  # one brightness all round, but for what a screen cannot show
    steps = np.linalg.norm(lab - np.roll(lab, 1, axis=0), axis=1)
    assert steps.min() > 0.6 * steps.max() > 10
    # A smaller tilt is darker, none is black, and what is not known is not there.
    grown = strain_figures._coloured(np.array([[0, 0], [0.3, 0], [0.6, 0], [np.nan, 0]]), 1.0)
    assert (np.diff(rgb2lab(grown[:3, :3])[:, 0]) > 10).all()
    assert grown[:, 3].tolist() == [1, 1, 1, 0]


def test_poles_lie_where_crystals_lean() -> None:
    figure = strain_figures.tilt_directions(report())
    assert figure is not None
    poles = next(a for a in figure.axes if a.get_title(loc="left") == "Poles: estimate")
    density = poles.collections[0].get_array()
    assert density is not None
    # Bins of 10° from -180°: the two crystals lean by 0 and 180°.
    counts = np.ma.filled(density, 0).sum(axis=0).reshape(-1)
    assert set(np.flatnonzero(counts > 0.1 * counts.max())) <= {0, 1, 2, 16, 17, 18, 19, 33, 34, 35}


def test_crystals_and_their_c_are_numbered() -> None:
    figure = strain_figures.crystals(report())
    assert figure is not None
    assert [a.get_title(loc="left") for a in figure.axes] == [
        "Truth: 2 crystals",
        "Estimate: 2 crystals",
    ]
    images = [a.images[0].get_array() for a in figure.axes]
    np.testing.assert_array_equal(images[0], images[1])
    histograms = strain_figures.c_histograms(report())
    assert histograms is not None
    assert [a.get_title(loc="left") for a in histograms.axes[:2]] == ["Crystal 1", "Crystal 2"]


def test_drift_is_drawn_where_it_is_known() -> None:
    figure = strain_figures.drift(report())
    assert figure is not None
    line = figure.axes[0].lines[0].get_ydata()
    assert np.ptp(np.asarray(line)) == pytest.approx(0.4)
    unknown = report().estimate.assign(drift_x=np.nan)
    assert strain_figures.drift(report(estimate=unknown)) is None


def test_a_report_shows_them_and_nothing_where_there_is_nothing() -> None:
    page = render_report(report())
    for words in (
        "Strain, c, tilt and peak widths",
        "Poles: estimate",
        "Crystal 2",
        "Drift along x",
    ):
        assert words in page
    empty = report(estimate=xr.Dataset(), truth=None)
    for name in ("strain_maps", "tilt_directions", "crystals", "c_histograms", "drift"):
        assert getattr(strain_figures, name)(empty) is None
