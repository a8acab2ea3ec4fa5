"""Pictures of surfaces of particles, truth beside estimate, coloured by composition or by particle.

Every function takes the content of a report and returns a figure, or None where the content does
not hold what it would show.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from echolith.errors import BadInputError
from echolith.validation.drawing import (
    ACCENT,
    GREEN,
    INK,
    ORANGE,
    PINK,
    SECOND,
    SKY,
    YELLOW,
    new_figure,
    style,
)
from echolith.validation.particle_matching import match_particles
from echolith.validation.volume_figures import LABEL, Chemistry, both, composition_scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from echolith.validation.report import ReportContent

Floats = npt.NDArray[np.float64]

LEVEL = 0.5
"""Density of the surface."""
MOST_FACES = 60_000
"""Triangles of one surface; of more, it is drawn coarser."""
LIGHT = np.array([-0.45, -0.35, 0.82])
"""Where light comes from, in the frame of the picture; unit length."""
SHADE = (0.6, 1.2)
"""Brightness of what faces across the light and towards it."""
RESOLUTION = 170
"""Of the picture of a surface, dots per inch."""
PALETTE = (ACCENT, ORANGE, GREEN, PINK, SKY, SECOND, YELLOW)
GREY = "#8a939b"
"""Of particles that are in one of the two only."""


class SurfaceColour(Enum):
    """What the colour of a surface tells."""

    COMPOSITION = "composition"
    PARTICLE = "particle"


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Triangles of the surface of a volume.

    Attributes
    ----------
    corners : array, (faces, 3, 3)
        Corners of each triangle, (z, y, x), Å.
    voxel : array, (faces, 3)
        Indices (z, y, x) of the voxel just inside each triangle.
    """

    corners: Floats
    voxel: npt.NDArray[np.intp]


def isosurface(
    density: xr.DataArray, *, level: float = LEVEL, most: int = MOST_FACES
) -> Surface | None:
    """Return the surface where the density passes a level, by marching cubes.

    Parameters
    ----------
    density : xarray.DataArray
        (z, y, x) with coords in Å.
    level : float
    most : int
        Triangles; where there would be more, steps of two, three, ... voxels are taken, on a
        density averaged over as many.

    Returns
    -------
    Surface or None
        None where the density nowhere passes the level.
    """
    from skimage.measure import marching_cubes

    if most < 1:
        raise BadInputError(f"most = {most}; expected at least one triangle")
    # A border of nothing closes the surface of what is cut by the field.
    whole = np.pad(density.values.astype(np.float32), 1)
    for step in range(1, min(density.shape)):
        averaged = ndimage.gaussian_filter(whole, step / 2.5) if step > 1 else whole
        # Thin plates fill only a part of the average.
        height = level if step == 1 else level / 2
        if not averaged.min() < height < averaged.max():
            return None
        points, faces, _, _ = marching_cubes(averaged, height, step_size=step)  # type: ignore[no-untyped-call]
        if len(faces) <= most:
            return _surface(density, points - 1, faces)
    return None


def _surface(density: xr.DataArray, points: Floats, faces: Any) -> Surface:
    steps = [float(np.diff(density[axis].values[:2])[0]) for axis in ("z", "y", "x")]
    first = [float(density[axis].values[0]) for axis in ("z", "y", "x")]
    corners = points[faces]
    inward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward /= np.maximum(np.linalg.norm(inward, axis=1, keepdims=True), 1e-12)
    middle = corners.mean(axis=1)
    best = np.rint(middle).astype(int)
    limits = np.array(density.shape) - 1
    highest = np.full(len(middle), -np.inf)
    for sign in (-0.7, 0.7):  # whichever side is fuller is the inside
        there = np.clip(np.rint(middle + sign * inward).astype(int), 0, limits)
        filling = density.values[tuple(there.T)]
        best[filling > highest] = there[filling > highest]
        highest = np.maximum(highest, filling)
    return Surface(corners=corners * steps + first, voxel=best)


def surfaces(content: "ReportContent") -> "Figure | None":
    """Draw the surfaces of truth and estimate, coloured by composition."""
    return _pictures(content, SurfaceColour.COMPOSITION)


def particles(content: "ReportContent") -> "Figure | None":
    """Draw the surfaces of truth and estimate, a colour for each particle, the same on both."""
    if "label" not in content.estimate:
        return None
    return _pictures(content, SurfaceColour.PARTICLE)


def _pictures(content: "ReportContent", colour: SurfaceColour) -> "Figure | None":
    sides = both(content)
    found = {title: isosurface(side.density) for title, side in sides.items()}
    known = [surface.corners.reshape(-1, 3) for surface in found.values() if surface is not None]
    if not known:
        return None
    low, high = (edge(np.concatenate(known), axis=0) / 10 for edge in (np.min, np.max))
    with style(**{"axes.titlelocation": "center"}):
        figure = new_figure(9.8, 4.7)
        figure.set_dpi(RESOLUTION)
        panels: list[Any] = []
        for n, (title, side) in enumerate(sides.items(), start=1):
            axes: Any = figure.add_subplot(1, len(sides), n, projection="3d")
            surface = found[title]
            if surface is not None:
                _draw(axes, surface, _face_colours(surface, side, content, title, colour))
            _frame(axes, low, high, title)
            panels.append(axes)
        if colour is SurfaceColour.COMPOSITION:
            bar = figure.colorbar(composition_scale(), ax=panels, label=LABEL, shrink=0.6)
            bar.outline.set_linewidth(0.5)
    return figure


def _face_colours(
    surface: Surface,
    side: Chemistry,
    content: "ReportContent",
    title: str,
    colour: SurfaceColour,
) -> Floats:
    at = tuple(surface.voxel.T)
    if colour is SurfaceColour.COMPOSITION:
        shares = np.nan_to_num(side.composition.values[at])
        return np.asarray(composition_scale().to_rgba(np.clip(shares, 0, 1)))
    data = content.estimate if title == "Estimate" else content.truth
    if data is None or "label" not in data:
        return np.tile(_rgba(GREY), (len(surface.voxel), 1))
    palette = particle_colours(content)[title]
    return np.asarray(palette[data["label"].transpose("z", "y", "x").values[at].astype(int)])


def particle_colours(content: "ReportContent") -> dict[str, Floats]:
    """Return the colours of particles by number, those of a matched pair the same.

    Particles without a partner are grey, and so is number 0.
    """
    ours = content.estimate["label"]
    palette = np.array([_rgba(colour) for colour in PALETTE])
    count = int(ours.max()) + 1
    if content.truth is None or "label" not in content.truth:
        own = palette[np.arange(count) % len(palette)]
        own[0] = _rgba(GREY)
        return {"Estimate": own}
    theirs = content.truth["label"]
    match = match_particles(ours, theirs)
    sides = {
        "Truth": np.tile(_rgba(GREY), (int(theirs.max()) + 1, 1)),
        "Estimate": np.tile(_rgba(GREY), (count, 1)),
    }
    chosen = palette[match.truth % len(palette)]
    sides["Truth"][match.truth] = chosen
    sides["Estimate"][match.estimate] = chosen
    return sides


def _rgba(colour: str) -> Floats:
    from matplotlib.colors import to_rgba

    return np.array(to_rgba(colour))


def _draw(axes: Any, surface: Surface, colours: Floats) -> None:
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]

    # Picture: x to the right, z away from the viewer, y down, as in the projections.
    corners = surface.corners[:, :, [2, 0, 1]] / 10
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal[:, 2] *= -1
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    bright = SHADE[0] + (SHADE[1] - SHADE[0]) * np.abs(normal @ LIGHT)
    shaded = colours.copy()
    shaded[:, :3] = np.clip(shaded[:, :3] * bright[:, None], 0, 1)
    axes.add_collection3d(
        Poly3DCollection(
            corners,
            facecolors=shaded,
            edgecolors=shaded,
            linewidths=0.2,
            rasterized=True,
        )
    )


def _frame(axes: Any, low: Floats, high: Floats, title: str) -> None:
    """Draw axes in nm about what there is, (z, y, x), with room for their labels."""
    margin = 0.03 * float((high - low).max())
    z, y, x = ((float(a) - margin, float(b) + margin) for a, b in zip(low, high, strict=True))
    axes.set(xlim=x, ylim=z, zlim=y[::-1])
    axes.set_box_aspect([float(np.ptp(limits)) for limits in (x, z, y)], zoom=0.88)
    axes.set(xlabel="x (nm)", ylabel="z (nm)", zlabel="y (nm)")
    axes.set_title(title, y=0.98)
    for each in (axes.xaxis, axes.yaxis, axes.zaxis):
        each.set_major_locator(_few_ticks())
        each.pane.set_visible(False)
        each.line.set_color(INK)
    axes.grid(visible=False)
    axes.view_init(elev=22, azim=-62)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3, steps=[1, 2, 5, 10])
