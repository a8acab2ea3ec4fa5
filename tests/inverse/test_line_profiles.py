"""Line profiles with a smoothing spline, as published practice reads distances."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError
from echolith.inverse.distances import Mode, measure_distances
from echolith.inverse.line_profiles import (
    line_distances,
    line_profile,
    peak_positions,
    smoothing_spline,
)
from tests.inverse.weak_phase import Cell, Field, haadf_image, phase_image, true_columns

Array = npt.NDArray[np.float64]
LINES = {"o_o_li": "m_m_olio", "o_o_m": "m_m_olio", "o_o_2m": "m_m_li", "o_o_2li": "m_m_li"}


def picture(values: Array, *, step: tuple[float, float], origin: tuple[float, float]) -> Any:
    """An image whose pixel (0, 0) stands at `origin` = (x, y)."""
    ny, nx = values.shape
    return xr.DataArray(
        values,
        dims=("scan_y", "scan_x"),
        coords={
            "scan_y": origin[1] + np.arange(ny) * step[0],
            "scan_x": origin[0] + np.arange(nx) * step[1],
        },
        attrs={"units": "rad"},
    )


def image_of(function: Any, *, step: tuple[float, float] = (0.2, 0.25)) -> Any:
    """Sample a function of x and y on a field of 10 Å x 15 Å that does not start at zero."""
    x, y = -3 + np.arange(60) * step[1], 2 + np.arange(50) * step[0]
    return picture(function(*np.meshgrid(x, y)), step=step, origin=(-3, 2))


def line_lengths(cell: Cell) -> dict[str, float]:
    vectors = cell.named()
    line = {name: vectors[LINES.get(name, name)] for name in vectors}
    return {n: float(v @ line[n] / np.hypot(*line[n])) for n, v in vectors.items()}


def scanned(values: Array, spec: Field) -> Any:
    return picture(values, step=(spec.step, spec.step), origin=(0, 0))


# --- the profile ----------------------------------------------------------------------------

ENDS = st.tuples(st.floats(-1, 9), st.floats(3, 10))


@given(ENDS, ENDS, st.sampled_from([0.0, 0.6, 1.3]))
def test_profile_of_a_plane_is_a_straight_line(
    start: tuple[float, float], end: tuple[float, float], width: float
) -> None:
    """In any direction, whatever the width: the mean across a strip is the value in its middle."""
    if np.hypot(end[0] - start[0], end[1] - start[1]) < 0.5:
        return
    image = image_of(lambda x, y: 0.3 * x - 0.7 * y + 0.1)
    profile = line_profile(image, start=start, end=end, width=width)
    along = np.linspace(0, 1, profile.size)
    x, y = (a + (b - a) * along for a, b in zip(start, end, strict=True))
    # Cubic interpolation reproduces a plane, but for what the mirror at the border bends.
    np.testing.assert_allclose(profile, 0.3 * x - 0.7 * y + 0.1, atol=2e-3)
    assert float(profile["distance"][-1]) == pytest.approx(np.hypot(x[-1] - x[0], y[-1] - y[0]))
    assert profile.attrs["units"] == "rad"
    assert profile["distance"].attrs["units"] == "Å"


def test_width_averages_across_and_not_along() -> None:
    """A wave along y has vanished where the strip is one period wide, one along x has not."""
    period = 2.0
    across = image_of(lambda x, y: np.cos(2 * np.pi * y / period))
    along = image_of(lambda x, y: np.cos(2 * np.pi * x / period))
    ends: Any = {"start": (0.0, 7.0), "end": (8.0, 7.0), "width": period}
    # 41 samples over one period, both ends included: 1/41 is left; interpolation adds 1 %.
    assert np.abs(line_profile(across, **ends)).max() < 0.04
    expected = np.cos(np.pi * line_profile(along, **ends)["distance"])
    np.testing.assert_allclose(line_profile(along, **ends), expected, atol=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"end": (-1.0, 4.0)}, "length of two samples or more"),
        ({"width": -1.0}, "width >= 0"),
        ({"spacing": 0.0}, "spacing > 0"),
        ({"end": (np.nan, 4.0)}, "expected a length"),
        ({"end": (12.0, 4.0)}, "leaves the scan, which covers x -3 to 11.75"),
    ],
)
def test_impossible_lines_are_refused(change: dict[str, Any], message: str) -> None:
    image = image_of(lambda x, y: x)
    with pytest.raises(BadInputError, match=message):
        line_profile(image, **({"start": (-1.0, 4.0), "end": (5.0, 4.0)} | change))


# --- spline and peaks -----------------------------------------------------------------------


def wave(period: float, *, spacing: float = 0.05, length: float = 20.0) -> Any:
    distance = np.arange(0, length, spacing)
    value = np.cos(2 * np.pi * (distance - 0.3) / period)
    return xr.DataArray(value, dims="distance", coords={"distance": distance})


@pytest.mark.parametrize("spacing", [0.05, 0.1])
@pytest.mark.parametrize("resolution", [0.7, 1.0, 1.5])
def test_spline_halves_waves_of_the_resolution(resolution: float, spacing: float) -> None:
    """Response 1 / (1 + (resolution/period)⁴) (Silverman, Ann. Stat. 12 (1984) 898)."""
    for ratio in (0.5, 1.0, 2.0):
        profile = wave(resolution / ratio, spacing=spacing)
        spline = smoothing_spline(profile, resolution=resolution)
        middle = slice(profile.size // 4, -profile.size // 4)
        at = profile["distance"].values[middle]
        height = 2 * np.mean(spline(at) * profile.values[middle])
        norm = 2 * np.mean(profile.values[middle] ** 2)
        # Sampling at a tenth of the period or finer: the continuous limit holds to 1 %.
        assert height / norm == pytest.approx(1 / (1 + ratio**4), abs=0.02)


@given(
    st.floats(-2, 2),
    st.floats(1e-6, 1e6),
    st.floats(-5, 5),
    st.sampled_from([0.5, 1.0]),
)
def test_peaks_do_not_depend_on_scale_or_offset(
    shift: float, scale: float, offset: float, resolution: float
) -> None:
    profile = wave(2.5)
    peaks = peak_positions(profile, resolution=resolution)
    moved = (profile * scale + offset * scale).assign_coords(distance=profile["distance"] + shift)
    np.testing.assert_allclose(
        peak_positions(moved, resolution=resolution), peaks + shift, atol=1e-5
    )


@given(st.floats(1.8, 3.5), st.floats(0.3, 1.0), st.floats(0.25, 0.4))
def test_distance_of_two_peaks_is_recovered(apart: float, height: float, width: float) -> None:
    """Two columns alone in an image, at any sub-pixel place."""
    first = np.array([1.03, 6.01])
    second = first + apart * np.array([np.cos(0.3), np.sin(0.3)])

    def columns(x: Array, y: Array) -> Array:
        peaks = [
            a * np.exp(-((x - p[0]) ** 2 + (y - p[1]) ** 2) / (2 * width**2))
            for a, p in ((1.0, first), (height, second))
        ]
        return np.asarray(sum(peaks))

    image = image_of(columns, step=(0.2, 0.2))
    along = (second - first) / apart
    profile = line_profile(image, start=tuple(first - 1.5 * along), end=tuple(second + 1.5 * along))
    peaks = peak_positions(profile, resolution=0.5)
    bright = peaks[np.argsort([-float(profile.interp(distance=p)) for p in peaks])][:2]
    tail = height * np.exp(-(apart**2) / (2 * width**2)) * apart / width**2
    # Slope of the neighbour's tail over the peak's own curvature (wider by the smoothing), and the
    # spline's bending towards the ends: 0.2 pm.
    assert abs(np.ptp(bright) - apart) < 0.002 + 4 * tail * width**2 / height


def test_cross_validation_follows_white_noise() -> None:
    """None: as strong a smoothing as the noise asks for, so peaks stay where they are."""
    rng, at = np.random.default_rng(2), np.arange(0, 6, 0.2)
    clean = np.exp(-((at - 2) ** 2) / 0.2) + np.exp(-((at - 4.5) ** 2) / 0.2)
    errors = []
    for _ in range(20):
        noisy = xr.DataArray(
            clean + rng.normal(0, 0.02, at.size), dims="distance", coords={"distance": at}
        )
        peaks = peak_positions(noisy, resolution=None)
        errors += [np.abs(peaks - expected).min() for expected in (2.0, 4.5)]
    # One sample is 0.2 Å; least squares with the right shape would reach 0.004 Å.
    assert np.sqrt(np.mean(np.square(errors))) < 0.02


@pytest.mark.parametrize(
    ("profile", "resolution", "message"),
    [
        (wave(2)[:4], 1.0, "a profile of 4 samples; expected 5 or more"),
        (wave(2).where(wave(2)["distance"] > 1), 1.0, "samples are not finite"),
        (wave(2), 0.0, "resolution = 0 Å"),
    ],
)
def test_impossible_profiles_are_refused(profile: Any, resolution: float, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        peak_positions(profile, resolution=resolution)


def test_a_flat_profile_has_no_peak() -> None:
    assert peak_positions(wave(2) * 0).size == 0


# --- the eight distances --------------------------------------------------------------------


@pytest.mark.parametrize("rotation", [0.0, 40.0])
def test_distances_of_a_clean_image(rotation: float) -> None:
    spec = Field(cell=Cell(rotation=rotation))
    columns = true_columns(spec)[["x", "y", "species"]]
    found = line_distances(scanned(phase_image(spec), spec), columns, haadf=haadf_image(spec))
    for name, length in line_lengths(spec.cell).items():
        # M columns are centres of symmetry of the image. Tails of neighbours pull O columns: a
        # peak in an image is not a column, by up to 1 pm here and in published comparisons of peak
        # and model.
        assert abs(float(found[name]) - length) < (0.001 if name.startswith("m_m") else 0.015), name
        assert float(found[f"{name}_std"]) < 0.005
        assert found[name].attrs["units"] == "Å"


def test_mean_error_and_histogram_belong_together() -> None:
    spec = Field()
    noisy = phase_image(spec) + np.random.default_rng(0).normal(0, 0.02, spec.shape)
    columns = true_columns(spec)[["x", "y", "species"]]
    found = line_distances(scanned(noisy, spec), columns)
    names = found["pair_name"].values
    reference = measure_distances(columns, mode=Mode.LINE)
    for name in LONG_NAMES:
        single = found["pair_distance"].values[names == name]
        assert len(single) > 4
        assert float(found[name]) == pytest.approx(single.mean())
        assert float(found[f"{name}_scatter"]) == pytest.approx(single.std(ddof=1))
        assert float(found[f"{name}_std"]) == pytest.approx(single.std(ddof=1) / len(single) ** 0.5)
        # Within 4.5 standard errors and the bias of peaks.
        error = 4.5 * float(found[f"{name}_std"]) + 0.015
        assert abs(float(found[name]) - float(reference[name])) < error


def test_metal_distances_come_from_the_dark_field() -> None:
    """A dark field stretched by 2 % stretches M-M and nothing else."""
    spec = Field()
    columns = true_columns(spec)[["x", "y", "species"]]
    dark = haadf_image(spec)
    stretched = dark.assign_coords(scan_x=dark["scan_x"] * 1.02, scan_y=dark["scan_y"] * 1.02)
    phase = scanned(phase_image(spec), spec)
    plain, changed = (line_distances(phase, columns, haadf=h) for h in (dark, stretched))
    for name in LONG_NAMES:
        factor = 1.02 if name.startswith("m_m") else 1.0
        assert float(changed[name]) == pytest.approx(factor * float(plain[name]), rel=2e-3)


def test_an_image_without_peaks_is_refused() -> None:
    spec = Field()
    columns = true_columns(spec)[["x", "y", "species"]]
    with pytest.raises(BadInputError, match="0 profiles of M-M show both peaks"):
        line_distances(scanned(np.zeros(spec.shape), spec), columns)
