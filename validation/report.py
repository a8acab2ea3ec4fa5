"""The report of a round trip: one HTML file that needs nothing else, and ``results.json``."""

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from echolith.atomic import whole_file
from echolith.validation import report_tables
from echolith.validation.statistics import Residuals

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """What a report is made of; sections for which something is missing are left out.

    Attributes
    ----------
    title, scenario : str
        Heading, and the name of the scenario.
    settings : dict
        Resolved settings, nested, as JSON.
    summary : dict
        The object ``echolith run --json`` prints.
    measurement : xarray.Dataset
        ``counts`` (scan_y, scan_x, detector_y, detector_x), maybe lazy; ``haadf`` optional.
    estimate : xarray.Dataset
        ``phase`` (scan_y, scan_x) in rad; ``x``, ``y`` (Å, scan frame), ``species``, ``edge`` over
        dim ``column``; ``pair_name``, ``pair_distance`` over dim ``pair``. Each optional.
    truth : xarray.Dataset, optional
        The same columns and pairs; None where recorded data are inverted.
    notes : sequence of str
        What a reader must know, above all how the solver's model differs from the generating one.
    residuals : mapping of str to Residuals, optional
        By kind of value: errors of single values, all cases one after the other.
    """

    title: str
    scenario: str
    settings: dict[str, Any]
    summary: dict[str, Any]
    measurement: xr.Dataset
    estimate: xr.Dataset
    truth: xr.Dataset | None = None
    notes: Sequence[str] = ()
    residuals: Mapping[str, Residuals] | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure as it stands in the page."""

    heading: str
    svg: Any
    alternative: str
    caption: str


def write_report(content: ReportContent, path: str | os.PathLike[str]) -> Path:
    """Write the report and, next to it, the summary as ``results.json``.

    Parameters
    ----------
    content : ReportContent
    path : path
        The ``.html`` file to write, or a folder, made where it is missing, for ``report.html``.

    Returns
    -------
    Path
        The HTML file. Both files are whole or not there.

    Raises
    ------
    OSError
        If the folder cannot be made or written to.
    """
    target = Path(path)
    if target.suffix.lower() != ".html":
        target = target / "report.html"
    page = render_report(content)
    results = json.dumps(content.summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    target.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(target.with_name("results.json"), results.encode("utf-8"))
    _write_whole(target, page.encode("utf-8"))
    return target


def save_png(figure: "Figure", path: str | os.PathLike[str], *, dpi: int = 150) -> Path:
    """Save a figure, e.g. that of `hero_figure`, as PNG.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : path
        The folder is made where it is missing.
    dpi : int
        Pixels per inch.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(target, buffer.getvalue())
    return target


def _write_whole(path: Path, data: bytes) -> None:
    with whole_file(path) as file:
        file.write(data)


def render_report(content: ReportContent) -> str:
    """Return the page as text (arguments as for `write_report`)."""
    from jinja2 import Environment, StrictUndefined

    source = (files("echolith.validation") / "report.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source).render(
        content=content,
        subtitle=_subtitle(content),
        tiles=report_tables.tiles(content),
        conclusion=content.summary.get("conclusion", ""),
        diagnosis=content.summary.get("diagnosis", []),
        quantities=report_tables.quantity_rows(content),
        statistics=report_tables.statistics_rows(content),
        single_statistics=report_tables.statistics_rows(content, single=True),
        calibration=report_tables.calibration_rows(content),
        scores=report_tables.score_rows(content),
        timings=content.summary.get("timings", {}),
        memory=report_tables.memory(content.summary),
        versions=content.summary.get("versions", {}),
        failures=content.summary.get("failures", {}),
        pictures=pictures(content),
        settings=json.dumps(content.settings, indent=2, ensure_ascii=False),
    )


def _subtitle(content: ReportContent) -> str:
    summary = content.summary
    parts = [f"scenario {content.scenario}"]
    if len(summary.get("seeds", [])) > 1:
        seeds = summary["seeds"]
        parts.append(f"{len(seeds)} seeds from {seeds[0]}; images and single values of the first")
    elif summary.get("seed") is not None:
        parts.append(f"seed {summary['seed']}")
    if content.truth is None:
        parts.append("recorded measurement, no truth")
    if summary.get("noise_free"):
        parts.append("no counting noise")
    return " · ".join(parts)


def pictures(content: ReportContent) -> dict[str, Picture]:
    """Draw every figure the content holds something for."""
    from markupsafe import Markup

    from echolith.validation import (
        distance_figures,
        figures,
        grain_figures,
        growth_figures,
        hrtem_figures,
        map_figures,
        powder_figures,
        saed_figures,
        statistics_figures,
        strain_figures,
        thickness_figures,
        volume_figures,
        volume_surfaces,
        whisker_figures,
    )
    from echolith.validation.drawing import inline_svg

    drawn: dict[str, tuple[Callable[[ReportContent], Figure | None], str, str, str]] = {
        "errors": (
            distance_figures.distance_errors,
            "",
            "Error of each quantity with its 95 % interval",
            "Estimate minus truth; bars are ± 1.96 standard errors.",
        ),
        "bound": (
            statistics_figures.spread_and_bound,
            "",
            "Spread over bound of each quantity with its 95 % interval",
            "Spread over the Cramér-Rao bound; bars are 95 % intervals. At 1 a solver wastes "
            "nothing; left of 1 it is biased or lucky. Efficiency is the inverse square.",
        ),
        "pulls": (
            statistics_figures.pull_histograms,
            "",
            "Histograms of the pulls against the standard normal distribution",
            "Pull: error over reported standard deviation. Line: standard normal distribution, "
            "which true error bars give. Wider: error bars too small; narrower: too large. Values "
            "beyond a panel are in its last bin.",
        ),
        "values": (
            statistics_figures.value_errors,
            "Errors of single values",
            "Error of every single value with its 95 % interval",
            "One point for each true value, over seeds the mean error of each (a lone value: seed "
            "by seed); bars are ± 1.96 reported standard errors. Off, in the second colour: the "
            "bar misses the truth. Where nothing is biased and error bars are true, 5 % are.",
        ),
        "histograms": (
            distance_figures.histograms,
            "Single distances",
            "Histogram of the single distances of each quantity",
            "Every panel spans the same width. Vertical line: truth. n: number of distances, "
            "s: their standard deviation in pm; values beyond a panel are in its last bin.",
        ),
        "images": (
            figures.images,
            "Images",
            "Annular dark field and phase image",
            "Scan frame, row 0 at the top. Grey from the 0.5th to the 99.5th percentile.",
        ),
        "columns": (
            figures.columns,
            "Columns",
            "Recovered and true columns over the phase image",
            "A shift common to all columns, which a measurement leaves free, is taken out. Arrows "
            "run from the true towards the recovered column, magnified as the title says.",
        ),
        "lattice": (
            hrtem_figures.lattice,
            "Lattice",
            "First frame, its Bragg filter with columns found and true, power spectrum",
            "Circles: columns found, of all frames together; crosses: true ones. In the power "
            "spectrum circles are where the lattice found has its reflections.",
        ),
        "maps": (
            map_figures.maps,
            "Maps",
            "Truth, estimate and error of every map",
            "Truth and estimate on one scale. What the measurement leaves free (a constant phase, "
            "a phase plane, a shift) is taken out.",
        ),
        "thickness": (
            thickness_figures.thickness_maps,
            "Thickness and lithium",
            "Truth, estimate, pull and a profile of t/lambda and of the lithium map",
            "Truth and estimate on one scale; band: 95 % interval. White: not determined.",
        ),
        "facets": (
            growth_figures.facet_growth,
            "Facets",
            "Outline in the last frame, edges and lengths of facets against time",
            "Left: the frame, slightly smoothed, with the outlines found and true. Points: "
            "estimates, bands: 95 % intervals; lines: truth. Those that advance most; "
            "the particle's middle, which is free, is where edges fit the true ones best.",
        ),
        "growth": (
            whisker_figures.whisker_growth,
            "Growth",
            "Counts along the axis against time, and the length with the law found",
            "Left: electrons per pixel, the base at the left. Right: band: 95 % interval of the "
            "law; dotted: a change.",
        ),
        "pattern": (
            powder_figures.pattern,
            "Powder pattern",
            "Observed and calculated powder pattern, and their difference",
            "Below: observed minus calculated, in standard deviations of counting.",
        ),
        "rings": (
            saed_figures.rings,
            "Rings and spots",
            "Diffraction pattern with rings, centre and spots found, and its rotational average",
            "Square-root scale. Cross: centre; circles: spots; the strongest rings of each phase "
            "that is more probable than not have their indices. Dashed: rings of no candidate.",
        ),
        "strain": (
            strain_figures.strain_maps,
            "Strain, c, tilt and peak widths",
            "Truth, estimate, difference and uncertainty of strain, c, tilts and peak widths",
            "Truth and estimate on one scale, which holds 98 % of the points. White: no data; the "
            "truth is left out where the beam sees several crystals. Widths are standard "
            "deviations of the peak.",
        ),
        "tilt": (
            strain_figures.tilt_directions,
            "",
            "Direction and magnitude of the tilt, and its poles, of truth and estimate",
            "Direction of the lean as hue, magnitude as brightness. Poles: density of the points "
            "by direction and magnitude of the tilt. y points down, as in the maps.",
        ),
        "drift": (
            strain_figures.drift,
            "Drift",
            "Place of the specimen at every angle eta, found and true",
            "Band: 95 % interval of the drift that was found.",
        ),
        "crystals": (
            strain_figures.crystals,
            "Crystals",
            "Which points are one crystal, truth beside estimate",
            "Crystals that agree by more than half of their points have the same colour in both; "
            "others are grey.",
        ),
        "c": (
            strain_figures.c_histograms,
            "",
            "Histogram of c of the points of every crystal",
            "Solid line: mean; dashed: true mean. s: standard deviation of c within the "
            "crystal, without the part that noise makes up.",
        ),
        "resolution": (
            map_figures.ring_correlation,
            "Resolution and frames",
            "Fourier ring correlation of two scans, mean and single far-field frame",
            "Two scans of the same view, each with its own positions and counts; the half period "
            "is where they fall below the half-bit threshold.",
        ),
        "spectra": (
            map_figures.spectra,
            "Spectra",
            "Mean spectra of pixels poor and rich in FePO4, R factor and uncertainty",
            "Pixels in which phosphate was found.",
        ),
        "slices": (
            volume_figures.slices,
            "Volume",
            "Three slices of the composition, truth above estimate",
            "The planes that hold the most phosphate. Colour: composition; opacity: density. Where "
            "a voxel has a density and no composition, the colour is that of its nearest "
            "neighbour. The beam at tilt 0 runs along z, the tilt axis is y.",
        ),
        "surfaces": (
            volume_surfaces.surfaces,
            "",
            "Surfaces of the particles of truth and estimate, coloured by composition",
            "Where half of a voxel is phosphate (marching cubes), from above; the beam at tilt 0 "
            "runs away from the viewer along z.",
        ),
        "particles": (
            volume_surfaces.particles,
            "Particles",
            "Surfaces of the particles of truth and estimate, a colour for each particle",
            "Particles that agree by more than half of their voxels have the same colour in both; "
            "those missed, merged, split or false are grey. Seven colours come again and again.",
        ),
        "grains": (
            grain_figures.grain_maps,
            "Grains of the oxide",
            "Sum of frames, true and found grains by rotation, thickness of the shell in time",
            "Colour: rotation of a grain about its zone axis. White: no oxide, or a false grain. "
            "Bars: 95 % intervals.",
        ),
        "diffraction": (
            figures.diffraction,
            "Diffraction patterns",
            "Mean diffraction pattern and patterns at two probe positions",
            "Square-root colour scale. Dashed circle: the convergence semiangle.",
        ),
    }
    pictures = {}
    for name, (draw, heading, alternative, caption) in drawn.items():
        figure = draw(content)
        if figure is not None:
            pictures[name] = Picture(
                heading=heading,
                svg=Markup(inline_svg(figure, name)),  # our own drawing; texts in it are escaped
                alternative=alternative,
                caption=caption,
            )
    return pictures
