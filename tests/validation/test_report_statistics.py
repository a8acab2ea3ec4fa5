"""The statistics on the report page: tables, figures and what a wrong reconstruction looks like."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from echolith.validation.distance_figures import known_errors
from echolith.validation.drawing import plain_ticks
from echolith.validation.figures import hero_figure
from echolith.validation.report import ReportContent, render_report
from echolith.validation.report_tables import printed, tiles
from echolith.validation.statistics import Residuals, calibration, efficiency
from echolith.validation.statistics_figures import (
    PULLS,
    pull_histograms,
    spread_and_bound,
    value_errors,
)
from echolith.validation.tables import Reading, decimals
from tests.validation.report_content import report_content

CASES, VALUES = 12, 20


def residuals(*, std: float = 0.01, values: int = VALUES, seed: int = 0) -> Residuals:
    """Errors of a few values in several cases, their error bars `std` (Å) true."""
    draw = np.random.default_rng(seed)
    return Residuals(
        key=np.tile(np.arange(values), CASES),
        error=draw.normal(0, 0.01, CASES * values),
        std=np.full(CASES * values, std),
        unit="Å",
    )


def entry(*, spread: float = 4e-3, bound: float | None = 3e-3) -> dict[str, Any]:
    """One quantity's statistics, lengths in Å."""
    single = efficiency(3 * spread, bound and 3 * bound, 200)
    return {
        "bias": 1e-3,
        "bias_ci95": [-1e-3, 3e-3],
        "spread": spread,
        "rmse": 4.1e-3,
        "bound": bound,
        **efficiency(spread, bound, CASES - 1),
        "coverage95": 0.95,
        "single_bias": -2e-3,
        "single_spread": 3 * spread,
        "single_bound": bound and 3 * bound,
        "single_efficiency": single["efficiency"],
        "single_efficiency_ci95": single["efficiency_ci95"],
        "singles": 240,
        "unit": "Å",
    }


def content(**summary: Any) -> ReportContent:
    """A report over seeds without any image."""
    return ReportContent(
        title="t",
        scenario="s",
        settings={},
        summary={"scenario": "s", "seeds": list(range(CASES)), **summary},
        measurement=xr.Dataset(),
        estimate=xr.Dataset({"m_m": ((), 2.5, {"units": "Å", "long_name": "M-M"})}),
    )


def cells(page: str, heading: str) -> list[list[str]]:
    """The rows of the table after a heading, the first cell included."""
    after = page[page.index(heading) :]
    body = after[after.index("<tbody>") : after.index("</tbody>")]
    return [
        [
            cell.replace("−", "-")
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        ]
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    ]


def test_bias_spread_bound_and_efficiency_stand_in_the_first_table() -> None:
    page = render_report(content(statistics={"m_m": entry()}))
    assert "12 seeds from 0" in page
    (row,) = cells(page, "Of each quantity")
    assert row[:6] == ["M-M", "+0.100", "-0.100 to +0.300", "0.400", "0.300", "0.56"]
    low, high = 0.5625 * stats.chi2.ppf([0.025, 0.975], CASES - 1) / (CASES - 1)
    assert row[6] == f"{low:.2f} to {high:.2f}"
    assert row[7:] == ["0.95", "pm"]


def test_single_values_have_a_table_of_their_own() -> None:
    page = render_report(content(statistics={"m_m": entry()}))
    (row,) = cells(page, "Of one single value")
    low, high = 0.5625 * stats.chi2.ppf([0.025, 0.975], 200) / 200
    assert row == [
        "M-M", "240", "-0.200", "1.200", "0.900", "0.56", f"{low:.2f} to {high:.2f}", "pm",
    ]  # fmt: skip


def test_without_single_values_there_is_no_second_table() -> None:
    alone = {key: None if key.startswith("single_") else v for key, v in entry().items()}
    page = render_report(content(statistics={"m_m": alone}))
    assert "Of each quantity" in page
    assert "the mean over the field" not in page
    assert "Of one single value" not in page


def test_what_is_not_known_is_a_dash() -> None:
    (row,) = cells(render_report(content(statistics={"m_m": entry(bound=None)})), "Of each quan")
    assert row[4:7] == ["–", "–", "–"]
    assert spread_and_bound(content(statistics={"m_m": entry(bound=None)})) is None


def test_the_table_of_error_bars_marks_what_is_off() -> None:
    found = {
        "column_o": {**calibration(np.ones(50), np.ones(50)), "rms_error": 0.01, "unit": "Å"},
        "m_m": {**calibration(np.full(50, 3.0), np.ones(50)), "rms_error": 0.03, "unit": "Å"},
    }
    page = render_report(content(calibration=found))
    first, second = cells(page, "Error bars")
    assert first == ["O columns", "50", "1.000", "pm", "1.00", "0.000", "1.000", "0.929 to 1.000"]
    assert second[:2] == ["M-M", "50"]
    assert second[4:] == ["9.00", "0.000", "0.000", "0.000 to 0.071"]
    marked = re.findall(r'<td class="off">(.*?)</td>', page)
    assert marked == ["0.000", "0.000 to 0.071"]


def test_what_it_looks_like_stands_above_the_tables() -> None:
    words = "all lengths are 1.00% too long (± 0.05%): check the scan step"
    finding = {"name": "scale", "words": words, "value": 0.01, "std": 5e-4, "unit": "1"}
    page = render_report(content(diagnosis=[finding], statistics={"m_m": entry()}))
    assert page.index("What it looks like") < page.index(words) < page.index("<table")
    assert "What it looks like" not in render_report(content(diagnosis=[]))


def test_words_of_a_finding_are_escaped() -> None:
    finding = {"name": "x", "words": "<script>alert(1)</script>", "value": None}
    assert "<script" not in render_report(content(diagnosis=[finding]))


@pytest.mark.parametrize(("std", "variance"), [(0.01, 1.0), (0.005, 4.0)])
def test_every_pull_is_counted_and_its_variance_printed(std: float, variance: float) -> None:
    mine = residuals(std=std)
    figure = pull_histograms(replace(content(), residuals={"column_o": mine}))
    assert figure is not None
    (axes,) = figure.axes
    counted = sum(patch.get_height() for patch in axes.patches)  # type: ignore[attr-defined]
    assert counted == len(mine.error)
    assert axes.get_title(loc="left") == "O columns"
    found = re.fullmatch(r"n = 240, variance ([\d.]+)", axes.get_title(loc="right"))
    assert found is not None
    low, high = variance * stats.chi2.ppf([1e-6, 1 - 1e-6], 240) / 240
    assert low < float(found[1]) < high
    # The line beside the bars is that of as many standard normal numbers.
    line = axes.lines[0]
    area = np.trapezoid(np.asarray(line.get_ydata()), np.asarray(line.get_xdata()))
    assert area == pytest.approx(240 * (PULLS[1] - PULLS[0]), rel=1e-3)


def test_values_without_error_bars_make_no_pulls() -> None:
    bare = replace(residuals(), std=np.full(CASES * VALUES, np.nan))
    assert pull_histograms(replace(content(), residuals={"m_m": bare})) is None
    assert pull_histograms(content()) is None
    figure = value_errors(replace(content(), residuals={"m_m": bare}))
    assert figure is not None
    assert figure.axes[0].get_title(loc="right") == "n = 20"


def points(figure: Any) -> np.ndarray:
    """Positions of all points of the first panel, in the order of their values."""
    found = np.concatenate([np.asarray(c[0].get_xydata()) for c in figure.axes[0].containers])
    return found[np.argsort(found[:, 0])]


def test_each_value_is_its_mean_over_the_cases_in_pm() -> None:
    mine = residuals()
    figure = value_errors(replace(content(), residuals={"m_m": mine}))
    assert figure is not None
    expected = 100 * mine.error.reshape(CASES, VALUES).mean(axis=0)
    assert points(figure)[:, 1] == pytest.approx(expected)
    off = np.abs(expected) > 1.959964 * 1.0 / np.sqrt(CASES)
    assert figure.axes[0].get_title(loc="right") == f"n = 20, {off.sum()} off"


def test_a_lone_quantity_is_drawn_case_by_case() -> None:
    mine = residuals(values=1)
    figure = value_errors(replace(content(), residuals={"rate": mine}))
    assert figure is not None
    assert points(figure)[:, 1] == pytest.approx(100 * mine.error)


def test_of_many_values_an_even_choice_is_drawn() -> None:
    figure = value_errors(replace(content(), residuals={"strain": residuals(values=1000)}))
    assert figure is not None
    assert figure.axes[0].get_title(loc="right").startswith("120 of 1000 shown, ")
    shown = points(figure)[:, 0]
    assert (len(shown), shown[0], shown[-1]) == (120, 0, 999)


def test_the_spread_is_drawn_in_units_of_the_bound() -> None:
    figure = spread_and_bound(content(statistics={"m_m": entry(), "o_o_m": entry(spread=9e-3)}))
    assert figure is not None
    (axes,) = figure.axes
    quantity, single = (np.asarray(c[0].get_xydata()) for c in axes.containers)
    assert quantity[:, 0] == pytest.approx([4 / 3, 3])
    assert single[:, 0] == pytest.approx([4 / 3, 3])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["M-M", "o_o_m"]


@given(st.floats(1e-3, 1e6), st.floats(1.3, 1e4))
def test_an_axis_over_any_span_has_a_few_plain_numbers(low: float, span: float) -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    axes.set(xscale="log", xlim=(low, span * low))
    plain_ticks(axes.xaxis)
    places = axes.xaxis.get_majorticklocs()
    assert 1 <= len(places) <= 12
    assert ((places >= low) & (places <= span * low)).all()
    texts = [axes.xaxis.get_major_formatter()(place, 0) for place in places]
    assert [float(text.replace(" ", "")) for text in texts] == pytest.approx(list(places))
    assert all("e" not in text for text in texts if 1e-3 <= low <= 1e9)


def test_sections_without_content_are_left_out() -> None:
    page = render_report(content())
    for heading in ("Statistics over seeds", "Error bars", "Errors of single values"):
        assert heading not in page


def test_the_panels_of_the_picture_are_equally_high() -> None:
    figure = hero_figure(report_content())
    figure.draw_without_rendering()
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == 3
    for box in boxes[1:]:
        assert (box.y0, box.y1) == pytest.approx((boxes[0].y0, boxes[0].y1), abs=1e-6)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=5), st.sampled_from([1.0, 100.0]))
def test_the_smallest_spread_shows_two_digits(sizes: Sequence[float], factor: float) -> None:
    unit = Reading("pm", factor)
    digits = decimals(unit, sizes, least=0)
    text = printed(min(sizes), unit, digits)
    assert len(text.replace(".", "").lstrip("0")) >= 2
    assert digits <= 9


@pytest.mark.parametrize(("size", "unit", "shown"), [(0.02, "pm", "2.0"), (20.0, "Å", "20.0")])
def test_large_lengths_stay_in_angstrom(size: float, unit: str, shown: str) -> None:
    """Errors below 1 Å are read in pm, larger ones in Å: in every table and figure alike."""
    q = {"truth": 3000.0, "estimate": 3000.0 + size, "std": size, "unit": "Å"}
    page = content(quantities={"front": q}, calibration={})
    (row,) = cells(render_report(page), "Quantities")
    assert row[-1] == unit
    assert float(row[3]) == float(shown)
    (error,) = known_errors(page).values()
    assert error == pytest.approx((float(shown), float(shown)))
    assert tiles(page)[0]["value"] == f"{float(shown):.2f} {unit}"
    one = Residuals(key=np.zeros(1, int), error=np.array([size]), std=np.array([size]), unit="Å")
    figure = value_errors(replace(page, residuals={"front": one}))
    assert figure is not None
    assert figure.get_supylabel() == f"estimate - truth ({unit})"
    assert points(figure)[0, 1] == pytest.approx(float(shown))


def test_scores_are_printed_as_they_are() -> None:
    page = render_report(content(scores={"front_error": {"value": 16.676, "unit": "Å"}}))
    assert "<span>16.676 Å</span>" in page


def test_counts_without_a_detector_have_no_diffraction_pattern() -> None:
    line = xr.Dataset({"counts": ("x", np.arange(5))})
    assert "Diffraction" not in render_report(replace(content(), measurement=line))
