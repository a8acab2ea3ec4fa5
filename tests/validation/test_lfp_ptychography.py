"""Scenario lfp-ptychography: maps from frames, what is free, the bound against a dense matrix."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import echolith as el
from echolith.errors import BadInputError
from echolith.inverse.transmission_filter import low_pass
from echolith.validation.depth_of_focus_figure import (
    depth_of_focus_figure,
    projection_error,
)
from echolith.validation.far_field_bound import FarFieldView, far_field_information
from echolith.validation.map_figures import maps, ring_correlation
from echolith.validation.report import ReportContent
from echolith.validation.scenarios.lfp_ptychography import align_to_truth, pixel_residuals
from echolith.validation.statistics import calibration

SMALL: dict[str, Any] = {
    "plates": 2,
    "energies": (708.2,),
    "slab": None,
    "solver": {
        "half_period": 180.0,
        "ptychography": {
            "constraint": "poisson",
            "iterations": 40,
            "alpha": 1.0,
            "background": True,
        },
    },
    "frames": {
        "shape": (7, 7),
        "pixels": 48,
        "step": 350.0,
        "pixel_size": 90.0,
        "photons": 4e6,
    },
}


@pytest.fixture(scope="module")
def sample() -> tuple[Any, ...]:
    scenario = el.scenario("lfp-ptychography", **SMALL)
    _, measurement, truth = scenario.simulate(seed=2)
    return scenario, measurement, truth, scenario.solver(measurement)


def test_maps_come_back_with_their_noise(sample: tuple[Any, ...]) -> None:
    scenario, _, truth, estimate = sample
    scores = scenario.score(estimate, truth)
    contrast = float(truth["optical_density"].std())
    assert scores["optical_density_rms"].value < 0.2 * contrast
    assert scores["phase_rms"].value < 0.2 * float(truth["phase"].std())
    # Noise is measured by two scans; background taken for object is the same in both, and in so
    # small a scan of many photons no smaller than noise: error bars are right to a factor of two.
    for name, found in pixel_residuals(estimate, truth).items():
        assert 0.25 < calibration(found.error, found.std)["pull_variance"] < 4, name
    assert float(scores["background_error"].value) < 0.1 * 0.05
    assert 80 < float(estimate["half_period"][0]) < 250
    assert float(estimate["deviance"].max()) < 1.5


@settings(max_examples=15)
@given(phase=st.floats(-3, 3), plane=st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)))
def test_scores_do_not_see_what_no_frame_tells(
    sample: tuple[Any, ...], phase: float, plane: tuple[float, float]
) -> None:
    scenario, _, truth, estimate = sample
    y = (estimate["y"] / float(estimate["y"].max())).values[:, None]
    x = (estimate["x"] / float(estimate["x"].max())).values
    turn = phase + plane[0] * y + plane[1] * x
    turned = estimate.assign(phase=estimate["phase"] + turn)
    same, free = (scenario.score(e, truth) for e in (estimate, turned))
    for name in ("relative_error", "phase_rms", "optical_density_rms"):
        assert free[name].value == pytest.approx(same[name].value, rel=0.02, abs=1e-4)


def test_truth_has_nothing_to_be_taken_out(sample: tuple[Any, ...]) -> None:
    scenario, _, truth, _ = sample
    aligned = align_to_truth(truth, truth)
    assert np.allclose(aligned["optical_density"], truth["optical_density"], atol=1e-9)
    assert scenario.score(truth, truth)["relative_error"].value < 1e-9


def test_report_has_maps_and_rings(sample: tuple[Any, ...]) -> None:
    scenario, measurement, truth, estimate = sample
    content = ReportContent(
        title="", scenario=scenario.name, settings={}, summary={},
        measurement=measurement, estimate=estimate, truth=truth,
    )  # fmt: skip
    drawn = maps(content)
    assert drawn is not None
    assert len([axes for axes in drawn.axes if axes.get_title(loc="left")]) == 6
    assert ring_correlation(content) is not None
    nothing = ReportContent(
        title="", scenario="", settings={}, summary={}, measurement=measurement,
        estimate=estimate[["background"]], truth=truth,
    )  # fmt: skip
    assert maps(nothing) is None
    assert ring_correlation(nothing) is None


def test_bound_is_that_of_the_whole_matrix() -> None:
    """An oracle by brute force: every pixel's derivative, Fisher's matrix, its pseudo-inverse."""
    rng = np.random.default_rng(5)
    size, count = 8, 13
    wave = np.exp(
        -rng.uniform(0, 0.5, (count, count)) + 1j * rng.uniform(-0.5, 0.5, (count, count))
    )
    envelope = np.exp(-((np.arange(size) - 3.5) ** 2) / 8)
    random = rng.normal(size=(36, size, size)) + 1j * rng.normal(size=(36, size, size))
    probes = 30 * random * envelope[:, None] * envelope
    corners = np.array([(y, x) for y in range(6) for x in range(6)])
    view = FarFieldView(
        wave=wave, probes=probes, corners=corners, background=np.full((size, size), 3.0), repeats=2
    )
    passed = low_pass(2 * [np.fft.fftfreq(count, 50.0)], 80.0)
    pixels = np.array([(6, 6), (4, 8)])
    found = far_field_information(view, pixels, passed=passed, field=(slice(3, 10), slice(3, 10)))
    rows = []
    for probe, (y, x) in zip(probes, corners, strict=True):
        psi = np.fft.fft2(probe * wave[y : y + size, x : x + size], norm="ortho")
        mean = np.abs(psi) ** 2 + 3.0
        block = np.zeros((size * size, 2, count, count))
        for i in range(size):
            for j in range(size):
                one = np.zeros((size, size), dtype=complex)
                one[i, j] = probe[i, j]
                slope = 2 * psi.conj() * np.fft.fft2(one, norm="ortho") / np.sqrt(mean)
                block[:, 0, y + i, x + j] = slope.real.ravel()
                block[:, 1, y + i, x + j] = -slope.imag.ravel()
        rows.append(block.reshape(size * size, -1))
    bright = np.zeros((count, count))
    for probe, (y, x) in zip(probes, corners, strict=True):
        bright[y : y + size, x : x + size] += np.abs(probe) ** 2
    asked = np.tile((bright > 0.01 * bright.max()).ravel(), 2)
    matrix = np.sum([r.T @ r for r in rows], axis=0)[np.ix_(asked, asked)]
    inverse = np.linalg.pinv(matrix, rcond=1e-10, hermitian=True) / 2
    smooth = np.fft.ifft2(np.fft.fft2(wave) * passed)
    for n, (y, x) in enumerate(pixels):
        place = np.zeros((count, count))
        place[y, x] = 1
        row = np.fft.ifft2(np.fft.fft2(place) * passed) * -2 / smooth[y, x]
        gradient = np.concatenate([row.real.ravel(), -row.imag.ravel()])[asked]
        expected = gradient @ inverse @ gradient
        ours = np.linalg.inv(found.matrix)[n, n]
        # Conjugate gradients stop at 1 %, and reach the value from below.
        assert ours == pytest.approx(expected, rel=0.02)


def test_projection_fails_at_the_depth_of_focus() -> None:
    """sqrt(2 - 2 sinc): 0.33 at 100 nm and 1.09 at 374 nm for an evenly filled depth."""
    series = projection_error(depths=(1000.0, 3740.0), plates=12, seeds=(0,))
    thin, thick = series["error"].values
    assert 0.15 < thin < 0.4
    assert thick == pytest.approx(1.09, rel=0.2)
    assert float(series["resolved"][1]) == pytest.approx(110, rel=0.2)
    assert len(depth_of_focus_figure(series).axes) == 2
    with pytest.raises(BadInputError, match="expected 400 to 10600"):
        projection_error(depths=(100.0,))


def test_settings_that_make_no_measurement_are_refused() -> None:
    with pytest.raises(BadInputError, match="each once"):
        el.scenario("lfp-ptychography", energies=(708.2, 708.2))
    far = el.scenario("lfp-ptychography", **SMALL | {"frames": {"plate": {"defocus": 1e6}}})
    specimen = far.build(0)
    with pytest.raises(BadInputError, match="spreads the probe"):
        far.forward(specimen)
