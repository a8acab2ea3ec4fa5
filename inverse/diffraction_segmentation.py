"""Which points of a diffraction map are one crystal: particles, grains and domains.

Orientation and spacing bend smoothly inside a crystal and jump at its border. A jump between two
neighbours is what is left of their difference after the slope on the smoother side is taken off.
Basins of a watershed on the jumps are merged, least first, while the median jump along their
common border is below what is asked for or what noise explains. The median, since a basin may hold
some points that show two crystals at once.
"""

import heapq
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy import ndimage
from skimage.morphology import local_minima
from skimage.segmentation import watershed

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.units import Degree

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Borders = dict[int, dict[int, Array]]
"""Variances (3) and jumps (3) of the links of every basin to every neighbour, (links, 6)."""

SMOOTHED = 0.6
"""Points over which jumps are averaged before basins are sought."""
DIMS = ("scan_y", "scan_x")
FIELDS = ("tilt_x", "tilt_y", "strain")


class MapSegmentation(Settings):
    """How crystals are told apart."""

    misorientation: Annotated[Degree, Field(gt=0)] = 0.02
    """Median jump of the tilt along a border from which there are two crystals. Where a step of the
    scan shows both, half of the jump is on either side."""
    strain: Annotated[float, Field(gt=0)] = 1e-3
    """The same of the strain; gradients of the spacing bend it more than the tilt."""
    sigmas: Annotated[float, Field(ge=0)] = 6.0
    """Standard deviations of the median jump that noise is given on top."""
    smallest: Annotated[int, Field(ge=1)] = 6
    """Points; smaller ones go to the neighbour most alike, and are nothing without one."""


def segment_map(maps: xr.Dataset, *, options: MapSegmentation | None = None) -> xr.DataArray:
    """Return which crystal each point of a map belongs to.

    Parameters
    ----------
    maps : xarray.Dataset
        ``tilt_x``, ``tilt_y`` (°) and ``strain`` with their ``_std`` over (scan_y, scan_x), NaN
        where there is no data.
    options : MapSegmentation, optional

    Returns
    -------
    xarray.DataArray
        ``label``, int32: numbers from 1, from the crystal of the most points down; 0 where there is
        none.

    Raises
    ------
    BadInputError
        If a map or its uncertainty is missing, or not over these dims.
    """
    options = options or MapSegmentation()
    values, variances = _scaled(maps, options)
    known = np.asarray((np.isfinite(values) & np.isfinite(variances)).all(axis=-1))
    links = [_jumps(values, variances, axis) for axis in (0, 1)]
    basins = _basins(known & ~_mixed(links, known.shape, options), links)
    labels = _merged(basins, _borders(basins, links), options)
    labels = _numbered(_flooded(np.zeros(known.shape), labels, known))
    return maps["strain"].copy(data=labels).rename("label").assign_attrs(units="1")


def _scaled(maps: xr.Dataset, options: MapSegmentation) -> tuple[Array, Array]:
    """Return values and variances, (rows, columns, 3), in units of what parts two crystals."""
    wanted = [*FIELDS, *(f"{name}_std" for name in FIELDS)]
    lacking = [name for name in wanted if name not in maps or maps[name].dims != DIMS]
    if lacking:
        raise BadInputError(
            f"no map of {', '.join(lacking)}; expected {', '.join(wanted)} over {DIMS}, "
            "as of recover_map"
        )
    unit = np.array([options.misorientation, options.misorientation, options.strain])
    values, stds = (
        np.stack([maps[f"{name}{end}"].values for name in FIELDS], axis=-1) / unit
        for end in ("", "_std")
    )
    return values, stds**2


def _jumps(values: Array, variances: Array, axis: int) -> tuple[Array, Array]:
    """Return jumps between neighbours along an axis and their variances, NaN where unknown.

    Of the slopes before and after, the smaller one is taken off: at a border it is the one inside.
    """
    values, variances = np.moveaxis(values, axis, 0), np.moveaxis(variances, axis, 0)
    step = np.diff(values, axis=0)
    jump, variance = step.copy(), variances[1:] + variances[:-1]
    least = np.full(step.shape[:-1], np.inf)
    hole = np.full((1, *step.shape[1:]), np.nan)
    before = np.concatenate([hole, step[:-1]])
    after = np.concatenate([step[1:], hole])
    beyond = np.concatenate([hole, variances[:-2]]), np.concatenate([variances[2:], hole])
    for slope, near, far in (
        (before, variances[:-1], variances[1:] + beyond[0]),
        (after, variances[1:], variances[:-1] + beyond[1]),
    ):
        size = (slope**2).sum(axis=-1)
        better = size < least  # never where there is no slope
        least = np.where(better, size, least)
        jump = np.where(better[..., None], step - slope, jump)
        variance = np.where(better[..., None], 4 * near + far, variance)
    return np.moveaxis(jump, 0, axis), np.moveaxis(variance, 0, axis)


def _mixed(
    links: list[tuple[Array, Array]], shape: tuple[int, ...], options: MapSegmentation
) -> Mask:
    """Return the points that show two crystals: with jumps of one direction on opposite sides."""
    mixed = np.zeros(shape, dtype=bool)
    for axis, (jump, variance) in enumerate(links):
        size = (jump**2).sum(axis=-1) / (1 + options.sigmas**2 * variance.mean(axis=-1))
        one, other = (
            (slice(None, -1), slice(1, None)) if axis == 0 else (np.s_[:, :-1], np.s_[:, 1:])
        )
        along = (jump[one] * jump[other]).sum(axis=-1) > 0
        inside = np.s_[1:-1] if axis == 0 else np.s_[:, 1:-1]
        mixed[inside] |= along & (size[one] > 1) & (size[other] > 1)
    return mixed


def _basins(known: Mask, links: list[tuple[Array, Array]]) -> Labels:
    """Return basins of a watershed on the mean square of the jumps about every point."""
    total, count = np.zeros(known.shape), np.zeros(known.shape)
    for axis, (jump, _) in enumerate(links):
        size = (jump**2).sum(axis=-1)
        there = np.isfinite(size)
        for side in (slice(1, None), slice(None, -1)):
            at = (side,) if axis == 0 else (slice(None), side)
            total[at] += np.where(there, size, 0)
            count[at] += there
    height = np.sqrt(total / np.maximum(count, 1))
    weight = np.maximum(ndimage.gaussian_filter(known.astype(float), SMOOTHED), 1e-9)
    smooth = ndimage.gaussian_filter(height * known, SMOOTHED) / weight
    smooth = np.where(known, smooth, smooth.max(initial=0) + 1)
    lowest = local_minima(smooth) & known  # type: ignore[no-untyped-call]
    return _flooded(smooth, ndimage.label(lowest)[0], known)


def _flooded(height: Array, markers: Labels, known: Mask) -> Labels:
    found = watershed(height, markers, mask=known)  # type: ignore[no-untyped-call]
    return np.asarray(found, dtype=np.int32)


def _borders(basins: Labels, links: list[tuple[Array, Array]]) -> Borders:
    """Return the links across the border between any two basins."""
    borders: Borders = {int(n): {} for n in np.unique(basins[basins > 0])}
    for axis, (jump, variance) in enumerate(links):
        one, other = (basins[:-1], basins[1:]) if axis == 0 else (basins[:, :-1], basins[:, 1:])
        across = (one != other) & (one > 0) & (other > 0)
        rows = np.concatenate([variance, jump], axis=-1)[across]
        pairs, of = np.unique(
            np.stack([one[across], other[across]], axis=-1), axis=0, return_inverse=True
        )
        ends = np.cumsum(np.bincount(of.ravel(), minlength=len(pairs)))[:-1]
        parts = np.split(rows[np.argsort(of.ravel(), kind="stable")], ends)
        for (a, b), part in zip(pairs.tolist(), parts, strict=False):
            _add(borders, a, b, part)
    return borders


BACK = np.array([1, 1, 1, -1, -1, -1])
"""A link seen from the other side."""


def _add(borders: Borders, a: int, b: int, rows: Array) -> None:
    for here, there, links in ((a, b, rows), (b, a, BACK * rows)):
        known = borders[here].get(there)
        borders[here][there] = links if known is None else np.concatenate([known, links])


def _evidence(rows: Array, options: MapSegmentation) -> float:
    """Return the square of the median jump over that of what is needed for two crystals."""
    jump = np.median(rows[:, 3:], axis=0)
    # Of a normal distribution the median varies pi / 2 as much as the mean.
    variance = np.pi / 2 * rows[:, :3].mean() / len(rows)
    return float((jump**2).sum() / (1 + options.sigmas**2 * variance))


def _merged(basins: Labels, borders: Borders, options: MapSegmentation) -> Labels:
    """Return basins merged across all borders of less than evidence 1, least first."""
    points = np.bincount(basins.ravel())
    owner = np.arange(len(points), dtype=np.int32)
    heap: list[tuple[float, int, int, int]] = []

    def enter(a: int, b: int) -> None:
        rows = borders[a][b]
        heapq.heappush(heap, (_evidence(rows, options), a, b, len(rows)))

    for a, known in borders.items():
        for b in known:
            enter(a, b)
    while heap:
        evidence, a, b, links = heapq.heappop(heap)
        if b not in borders.get(a, {}) or links != len(borders[a][b]):
            continue  # of a border that is no more, or is longer by now
        if evidence >= 1 and min(points[a], points[b]) >= options.smallest:
            continue
        owner[owner == b] = a
        points[a] += points[b]
        for other, rows in borders.pop(b).items():
            del borders[other][b]
            if other != a:
                _add(borders, a, other, rows)
                enter(a, other)
    merged = owner[basins]
    small = np.bincount(merged.ravel()) < options.smallest
    return np.where(small[merged], 0, merged)


def _numbered(labels: Labels) -> Labels:
    """Return labels numbered from 1 by their points, the most first."""
    points = np.bincount(labels.ravel())
    points[0] = 0
    order = np.argsort(-points, kind="stable")[: np.count_nonzero(points)]
    number = np.zeros(len(points), dtype=np.int32)
    number[order] = np.arange(1, len(order) + 1)
    return number[labels]
