import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axis import Tick
from matplotlib.text import Text

from echolith.validation.distance_figures import distance_errors, histograms, known_errors
from echolith.validation.drawing import Grid, nice_length
from echolith.validation.figures import columns, diffraction, hero_figure, images, probe_positions
from echolith.validation.report import ReportContent, render_report, save_png, write_report
from tests.validation.report_content import DISTANCES, report_content

VOID = {"meta", "br", "img", "input", "link"}


@pytest.fixture(scope="module")
def content() -> ReportContent:
    return report_content()


@pytest.fixture(scope="module")
def page(content: ReportContent) -> str:
    return render_report(content)


class Structure(HTMLParser):
    """Collects what the page is made of; fails on tags that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.headings: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name in {"href", "xlink:href", "src"}:
                self.references.append(str(value))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_the_page_is_well_formed_and_refers_to_nothing_outside_itself(page: str) -> None:
    structure = Structure(page)
    assert structure.open == []
    assert len(structure.ids) == len(set(structure.ids))
    inside = {f"#{name}" for name in structure.ids}
    assert all(r in inside or r.startswith("data:image/png") for r in structure.references)
    assert set(re.findall(r"url\((#[^)]*)\)", page)) <= inside
    assert not re.search(r"https?:|@import|<script|<link", page)


def test_text_from_outside_is_escaped(content: ReportContent) -> None:
    attack = "<script>alert(1)</script>"
    summary = {**content.summary, "failures": {"3": attack}, "versions": {attack: attack}}
    changed = replace(content, title=attack, scenario=attack, notes=[attack], summary=summary)
    page = render_report(changed)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 7


def test_names_inside_figures_are_escaped(content: ReportContent) -> None:
    truth = content.truth
    assert truth is not None
    named = truth.copy()
    named["m_m"] = truth["m_m"].assign_attrs(long_name="<b>&M-M")
    page = render_report(replace(content, truth=named))
    assert "<b>" not in page
    assert Structure(page).open == []


def test_the_table_holds_every_distance_in_pm(content: ReportContent, page: str) -> None:
    for name, (printed, *_) in DISTANCES.items():
        q = content.summary["quantities"][name]
        row = re.search(rf'<tr><th scope="row">{re.escape(printed)}<code>.*?</tr>', page)
        assert row is not None
        cells = re.findall(r"<td[^>]*>(.*?)</td>", row.group())
        error = q["estimate"] - q["truth"]
        wanted = [100 * q["truth"], 100 * q["estimate"], 100 * q["std"], 100 * error]
        printed_numbers = [float(cell.replace("−", "-")) for cell in cells[:4]]
        assert printed_numbers == pytest.approx(wanted, abs=0.0051)  # printed to 0.01 pm
        assert cells[5] == "pm"


def test_both_files_are_written_and_nothing_else(content: ReportContent, tmp_path: Path) -> None:
    written = write_report(content, tmp_path / "deep" / "folder")
    assert written == tmp_path / "deep" / "folder" / "report.html"
    assert {p.name for p in written.parent.iterdir()} == {"report.html", "results.json"}
    assert json.loads((written.parent / "results.json").read_text("utf-8")) == content.summary


def test_a_file_name_is_taken_as_one(content: ReportContent, tmp_path: Path) -> None:
    bare = replace(content, measurement=xr.Dataset(), estimate=xr.Dataset(), truth=None)
    assert write_report(bare, tmp_path / "mine.html") == tmp_path / "mine.html"
    assert (tmp_path / "results.json").exists()


def test_a_write_that_fails_leaves_the_old_report_whole(
    content: ReportContent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = replace(content, measurement=xr.Dataset(), estimate=xr.Dataset(), truth=None)
    before = write_report(bare, tmp_path).read_text("utf-8")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(replace(bare, title="new"), tmp_path)
    assert (tmp_path / "report.html").read_text("utf-8") == before
    assert {p.name for p in tmp_path.iterdir()} == {"report.html", "results.json"}


def test_a_number_json_does_not_know_is_refused(content: ReportContent, tmp_path: Path) -> None:
    bad = {**content.summary, "peak_memory_bytes": float("nan")}
    bare = replace(content, measurement=xr.Dataset(), estimate=xr.Dataset(), summary=bad)
    with pytest.raises(ValueError, match="JSON"):
        write_report(bare, tmp_path)


SECTIONS = {
    "Quantities",
    "Images",
    "Columns",
    "Single distances",
    "Diffraction patterns",
    "Scores",
    "How it was made",
    "Settings",
}


def test_a_whole_report_has_every_section(page: str) -> None:
    assert set(Structure(page).headings) == SECTIONS


@pytest.mark.parametrize(
    ("draw", "part", "names"),
    [
        (columns, "estimate", ["phase"]),
        (histograms, "estimate", ["pair_name", "pair_distance"]),
        (diffraction, "measurement", ["counts"]),
    ],
)
def test_what_is_missing_drops_its_figure(
    content: ReportContent, draw: Callable[[ReportContent], object], part: str, names: list[str]
) -> None:
    without = replace(content, **{part: getattr(content, part).drop_vars(names)})
    assert draw(content) is not None
    assert draw(without) is None


def test_without_dark_field_the_phase_stands_alone(content: ReportContent) -> None:
    without = replace(content, measurement=content.measurement.drop_vars("haadf"))
    for draw, panels in ((images, 1), (hero_figure, 2)):
        figure = draw(without)
        assert figure is not None
        assert len(figure.axes) == panels
    page = render_report(without)
    assert set(Structure(page).headings) == SECTIONS


def test_recorded_data_have_no_truth_and_still_a_report(content: ReportContent) -> None:
    quantities = {name: {**q, "truth": None} for name, q in content.summary["quantities"].items()}
    summary = {**content.summary, "quantities": quantities, "scores": {}, "seed": None}
    changed = replace(content, truth=None, summary=summary)
    page = render_report(changed)
    assert "no truth" in page
    assert set(Structure(page).headings) == SECTIONS - {"Scores"}
    assert distance_errors(changed) is None


def test_an_estimate_without_any_column_still_has_a_report(content: ReportContent) -> None:
    empty = content.estimate.isel(column=slice(0, 0), pair=slice(0, 0))
    quantities = {
        name: {**q, "estimate": None, "std": None}
        for name, q in content.summary["quantities"].items()
    }
    summary = {**content.summary, "quantities": quantities}
    page = render_report(replace(content, estimate=empty, summary=summary))
    assert "Single distances" not in Structure(page).headings


def test_an_empty_report_says_what_it_can() -> None:
    nothing = ReportContent(
        title="t",
        scenario="s",
        settings={},
        summary={"scenario": "s"},
        measurement=xr.Dataset(),
        estimate=xr.Dataset(),
    )
    assert set(Structure(render_report(nothing)).headings) == {"Settings"}
    assert len(hero_figure(nothing).axes) == 0


def test_lazy_counts_give_the_same_figure(content: ReportContent) -> None:
    lazy = replace(content, measurement=content.measurement.chunk({"scan_y": 5}))
    first, second = diffraction(content), diffraction(lazy)
    assert first is not None
    assert second is not None
    for one, other in zip(first.axes, second.axes, strict=True):
        for image, image_again in zip(one.images, other.images, strict=True):
            assert np.allclose(np.asarray(image.get_array()), np.asarray(image_again.get_array()))


def test_the_pattern_shown_is_that_of_the_column(content: ReportContent) -> None:
    assert content.truth is not None
    for what, (iy, ix) in probe_positions(content).items():
        species = what.removeprefix("On ")
        mine = content.truth["species"].values == species
        x = float(content.measurement["scan_x"][ix])
        y = float(content.measurement["scan_y"][iy])
        gap = np.hypot(content.truth["x"].values[mine] - x, content.truth["y"].values[mine] - y)
        assert gap.min() <= 0.1 * np.sqrt(2) + 1e-9  # half a scan step along each axis


def test_without_columns_the_dark_field_says_where_to_look(content: ReportContent) -> None:
    bare = replace(content, estimate=content.estimate.drop_vars(["x", "y"]), truth=None)
    chosen = probe_positions(bare)
    haadf = bare.measurement["haadf"].values
    assert haadf[chosen["Brightest"]] == haadf.max()
    assert haadf[chosen["Darkest"]] == haadf.min()


def test_images_lie_on_their_coordinates(content: ReportContent) -> None:
    figure = images(content)
    assert figure is not None
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    n = content.measurement.sizes["scan_x"]
    assert (left, right) == pytest.approx((-0.1, 0.2 * n - 0.1))
    assert (top, bottom) == pytest.approx((-0.1, 0.2 * n - 0.1))


@pytest.mark.parametrize("lines", [20, 80, 160])
def test_labels_of_several_exposures_do_not_overlap(content: ReportContent, lines: int) -> None:
    """Wide and tall images; each row's titles and axis labels in a room of their own."""
    series = [
        data[name].isel(scan_y=np.arange(lines) % data.sizes["scan_y"])
        for data, name in ((content.measurement, "haadf"), (content.estimate, "phase"))
    ]
    along = ("scan_y", 0.2 * np.arange(lines))
    haadf, phase = (
        image.assign_coords(scan_y=along).expand_dims(
            exposure=["pristine", "charged", "discharged"]
        )
        for image in series
    )
    several = replace(
        content,
        measurement=xr.Dataset({"haadf": haadf}),
        estimate=xr.Dataset({"phase": phase}),
    )
    figure = images(several)
    assert figure is not None
    figure.draw_without_rendering()
    inside = {text for axes in figure.axes for text in axes.texts}
    inside |= {text for tick in figure.findobj(Tick) for text in (tick.label1, tick.label2)}
    labels = [text for text in figure.findobj(Text) if text.get_text() and text not in inside]
    boxes = [text.get_window_extent() for text in labels]
    # 3 rows of two images: title, both axes, and the label of the colour bar.
    assert len(boxes) >= 6 * 4
    panels = [axes.get_window_extent() for axes in figure.axes]
    for n, box in enumerate(boxes):
        where = labels[n].get_text()
        assert not any(box.overlaps(other) for other in boxes[:n]), where
        assert not any(box.overlaps(panel) for panel in panels), where
        assert min(box.x0, box.y0) >= 0, where
        assert box.x1 <= figure.bbox.x1, where
        assert box.y1 <= figure.bbox.y1, where


def test_a_common_shift_does_not_move_the_true_marks_off_the_image(content: ReportContent) -> None:
    shift = 0.3
    moved = content.estimate.assign(x=content.estimate["x"] + shift)
    first, second = columns(content), columns(replace(content, estimate=moved))
    assert first is not None
    assert second is not None
    for before, after in zip(first.axes[0].lines, second.axes[0].lines, strict=True):
        gap = np.asarray(after.get_xdata()) - np.asarray(before.get_xdata())
        assert gap == pytest.approx(shift, abs=1e-9)


def test_nothing_of_the_content_is_changed(content: ReportContent) -> None:
    before = [data.copy(deep=True) for data in (content.measurement, content.estimate)]
    render_report(content)
    for data, copy in zip((content.measurement, content.estimate), before, strict=True):
        xr.testing.assert_identical(data, copy)


def test_matplotlib_keeps_its_settings(content: ReportContent) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    images(content)
    hero_figure(content)
    assert dict(matplotlib.rcParams) == before


def test_histograms_hold_every_single_distance(content: ReportContent) -> None:
    figure = histograms(content)
    assert figure is not None
    names = content.estimate["pair_name"].values
    for axes, name in zip(figure.axes, DISTANCES, strict=True):
        counted = sum(patch.get_height() for patch in axes.patches)  # type: ignore[attr-defined]
        assert counted == (names == name).sum()


def test_errors_are_in_pm(content: ReportContent) -> None:
    for name, (error, std) in known_errors(content).items():
        q = content.summary["quantities"][name]
        assert error == pytest.approx(100 * (q["estimate"] - q["truth"]))
        assert std == pytest.approx(100 * q["std"])


def test_the_picture_is_a_png_of_the_size_asked_for(content: ReportContent, tmp_path: Path) -> None:
    figure = hero_figure(content)
    path = save_png(figure, tmp_path / "docs" / "hero.png", dpi=50)
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width = int.from_bytes(data[16:20], "big")
    assert width == round(50 * figure.get_figwidth())


@given(st.floats(1e-3, 1e6))
def test_a_scale_bar_is_a_round_length_within_a_quarter_of_the_field(width: float) -> None:
    length = nice_length(width)
    assert 0.1 * width * (1 - 1e-9) < length <= 0.25 * width * (1 + 1e-6)
    assert f"{length:.6e}"[0] in "125"


@given(st.integers(1, 40), st.floats(0.01, 5), st.floats(-20, 20))
def test_the_nearest_pixel_is_never_more_than_half_a_step_off(
    n: int, step: float, start: float
) -> None:
    axis = np.asarray(start + step * np.arange(n), dtype=np.float64)
    grid = Grid(x=axis, y=axis[:1])
    target = float(axis[-1] - 0.3 * step)
    assert abs(axis[grid.nearest(target, start)[1]] - target) <= 0.5 * step + 1e-9
