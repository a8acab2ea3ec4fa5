"""Pictures of electron diffraction: rings found, labelled, over the pattern, and their profile."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.saed import stretch_matrix
from echolith.forward.saed_lattice import ring_lines, ring_radius, told_distance
from echolith.forward.structure_factors import allowed_reflections, spacing
from echolith.validation.drawing import (
    ACCENT,
    GREEN,
    INK,
    ORANGE,
    PINK,
    SECOND,
    SKY,
    YELLOW,
    bare,
    new_figure,
    outline,
    style,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent

Array = npt.NDArray[np.float64]
Rings = dict[str, list[tuple[float, str]]]

COLOURS = (ORANGE, SKY, GREEN, PINK, YELLOW, SECOND, ACCENT)
LABELLED = 4
"""Strongest rings of a phase that are named."""
LEAST = 0.5
"""Probability from which the rings of a phase are drawn."""


def rings(content: "ReportContent") -> "Figure | None":
    """Draw a pattern with the centre, rings and spots found, and its rotational average."""
    counts, found = content.measurement.get("counts"), content.estimate
    if counts is None or counts.dims != ("detector_y", "detector_x") or "profile" not in found:
        return None
    named = _named_rings(content.measurement, found)
    with style():
        figure = new_figure(9.8, 4.9)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.05))
        _draw_pattern(left, np.asarray(counts.values, dtype=float), found, named)
        _draw_profile(right, found, named)
    return figure


def _named_rings(measurement: "xr.Dataset", found: "xr.Dataset") -> Rings:
    """Return radius (pixels) and indices of the strongest rings of every phase found."""
    attrs = measurement.attrs
    distance = told_distance(attrs["camera_length"], attrs["pixel_size"])
    distance *= float(found.get("camera_scale", 1.0))
    named: Rings = {}
    present = found["ring_electrons"] > 0
    for name in found["candidate"].values[present & (found["probability"] > LEAST)].tolist():
        phase = crystal_phase(name)
        d, strength = ring_lines(phase, energy=attrs["energy"], d_min=0.9)
        families = allowed_reflections(phase, d_min=0.9).hkl
        spacings = spacing(phase.cell, families)
        named[name] = []
        for k in np.argsort(-strength)[:LABELLED]:
            hkl = np.abs(families[np.abs(spacings - d[k]).argmin()])
            if np.ptp(phase.cell[:3]) == 0:
                hkl = np.sort(hkl)[::-1]  # as a family of a cubic crystal is named
            radius = float(ring_radius(d[k], energy=attrs["energy"], distance=distance))
            named[name].append((radius, "".join(str(int(n)) for n in hkl)))
    return named


def _draw_pattern(axes: "Axes", counts: Array, found: "xr.Dataset", named: Rings) -> None:
    low, high = np.percentile(counts, [1, 99.7])
    axes.imshow(np.sqrt(np.clip(counts, low, high)), cmap="gray", interpolation="none")
    axes.set(title="Pattern, rings and spots found", xlabel="pixel", ylabel="pixel")
    if "centre_x" in found:
        centre = np.array([float(found["centre_x"]), float(found["centre_y"])])
        matrix = stretch_matrix((float(found["stretch_p"]), float(found["stretch_q"])))
        axes.plot(*centre, marker="+", color=SECOND, markersize=11, markeredgewidth=1.6)
        turn = np.linspace(0, 2 * np.pi, 181)
        circle = np.stack([np.cos(turn), np.sin(turn)], axis=-1) @ matrix.T
        for place, (name, lines) in enumerate(named.items()):
            colour = COLOURS[place % len(COLOURS)]
            for number, (radius, hkl) in enumerate(lines):
                axes.plot(*(centre + radius * circle).T, color=colour, linewidth=0.7, alpha=0.8)
                # Labels of phases start at different angles, so that rings side by side are told.
                at = centre + radius * circle[(20 * place + 9 * number + 95) % 180]
                axes.text(
                    float(at[0]), float(at[1]), f"{name} {hkl}", color=colour, fontsize=8,
                    path_effects=[outline(1.1)], ha="center", va="center", clip_on=True,
                )  # fmt: skip
    if "spot_x" in found:
        axes.scatter(
            found["spot_x"], found["spot_y"], s=70, facecolors="none", edgecolors=SKY, linewidths=1
        )
    axes.set(xlim=(-0.5, counts.shape[1] - 0.5), ylim=(counts.shape[0] - 0.5, -0.5))


def _draw_profile(axes: "Axes", found: "xr.Dataset", named: Rings) -> None:
    radius = found["radius"].values
    over = found["profile"].values - found["background"].values
    calculated = found["calculated"].values - found["background"].values
    axes.plot(radius, over, color=INK, alpha=0.5, linewidth=1.6, label="observed")
    axes.plot(radius, calculated, color=ACCENT, linewidth=0.8, label="calculated")
    height = max(float(np.nanmax(over[radius > np.percentile(radius, 12)])), 1e-3)
    for place, (name, lines) in enumerate(named.items()):
        colour = COLOURS[place % len(COLOURS)]
        for number, (at, hkl) in enumerate(lines):
            level = height * (1.04 + 0.06 * place)
            axes.plot([at, at], [0, level], color=colour, linewidth=0.7, linestyle=":")
            label = name if number == 0 else None
            axes.scatter([at], [level], marker="v", s=14, color=colour, label=label)
            axes.annotate(hkl, (at, level), (0, 3), textcoords="offset points", fontsize=6,
                          ha="center", rotation=90)  # fmt: skip
    for number, at in enumerate(
        found["unknown_radius"].values if "unknown_radius" in found else ()
    ):
        axes.axvline(at, color=SECOND, linewidth=0.8, linestyle="--",
                     label=None if number else "unknown")  # fmt: skip
    top = height * (1.15 + 0.06 * len(named))
    axes.set(xlabel="radius (pixel)", ylabel="electrons per pixel over background",
             ylim=(-0.05 * height, top), xlim=(radius[0], radius[-1]))  # fmt: skip
    axes.set_title("Rotational average")
    axes.legend(loc="center right")
    bare(axes)
