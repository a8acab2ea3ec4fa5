"""Where a refinement starts: cells near those given whose lines are where the counts are.

Cells that are one percent off have lines several widths off, from where no least-squares fit finds
back. So cells about the given one are compared by how much of the counts their lines meet.
"""

import itertools

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d, percentile_filter

from echolith.forward.powder_pattern import angle_factor
from echolith.forward.structure_factors import reciprocal_metric
from echolith.inverse.powder_lines import PhaseLines
from echolith.inverse.powder_parameters import CELL_NAMES, Values, cell_of, free_cell

Array = npt.NDArray[np.float64]

RANGE = 0.016
"""Of each length of the cell, searched to either side."""
STEP = 0.002
"""Between cells, part of a length; what a line moves by it is below the blur."""
BLUR = 0.12
"""Degree, standard deviation."""
UP_TO = 75.0
"""Degree; lines beyond move by more than the blur from cell to cell."""
WINDOW = 4.0
"""Degree over which the background is the lower part of the counts."""


def prominence(angles: Array, counts: Array, *, explained: Array | float = 0.0) -> Array:
    """Return how far counts stand out, in units of their noise to the power of one half, blurred.

    The root keeps a few strong lines from deciding alone. What was ``explained`` and taken off the
    counts has left its noise in them.
    """
    step = float(angles[1] - angles[0])
    background = lower_part(angles, counts)
    above = np.maximum(counts - background, 0) / np.sqrt(np.maximum(background + explained, 1.0))
    blurred = gaussian_filter1d(np.sqrt(gaussian_filter1d(above, 1.0)), BLUR / step)
    return np.asarray(blurred - blurred.mean())


def lower_part(angles: Array, counts: Array) -> Array:
    """Return what counts are between the lines, smooth."""
    size = max(3, int(WINDOW / (angles[1] - angles[0])))
    low = percentile_filter(counts.astype(float), 15, size=size)
    return np.asarray(gaussian_filter1d(low, size / 2))


def nearest_cells(
    lines: PhaseLines, values: Values, angles: Array, standing_out: Array, *, count: int = 3
) -> list[dict[str, float]]:
    """Return the cells whose lines meet most of the counts, best first.

    Parameters
    ----------
    lines : PhaseLines
    values : mapping
        First values; those of the cell are the middle of the search.
    angles, standing_out : array, (points,)
        As from `prominence`.
    count : int
        Cells returned; no two are neighbours in the search.

    Returns
    -------
    list of dict
        Free cell parameters by name.
    """
    phase = lines.part.phase
    lengths = [name for name in free_cell(phase) if name in ("a", "b", "c")]
    middle = dict(zip(CELL_NAMES, cell_of(phase, values), strict=True))
    steps = np.arange(-round(RANGE / STEP), round(RANGE / STEP) + 1)
    grid = np.array(list(itertools.product(steps, repeat=len(lengths))))
    score = _met(lines, values, _moved(lines, values, lengths, grid), angles, standing_out)
    best: list[int] = []
    for index in np.argsort(-score):
        if all(np.abs(grid[index] - grid[other]).max() > 1 for other in best):
            best.append(int(index))
        if len(best) == count:
            break
    return [
        {
            f"{phase.name}.{name}": float(middle[name] * (1 + STEP * moved))
            for name, moved in zip(lengths, grid[index], strict=True)
        }
        for index in best
    ]


def _moved(
    lines: PhaseLines, values: Values, lengths: list[str], grid: npt.NDArray[np.int64]
) -> Array:
    """Return 1 / d² of the reflections of every cell of the search, (cells, reflections)."""
    phase = lines.part.phase
    hkl = lines.reflections.hkl.astype(float)
    metric = reciprocal_metric(cell_of(phase, values))
    # Lengths scale the reciprocal axes; b and c follow a where symmetry ties them to it.
    follows = [lengths.index(name) if name in lengths else 0 for name in ("a", "b", "c")]
    factors = 1 / (1 + STEP * grid[:, follows])
    products = np.einsum("hi,ij,hj->hij", hkl, metric, hkl).reshape(len(hkl), 9)
    both = (factors[:, :, None] * factors[:, None, :]).reshape(len(grid), 9)
    return np.asarray(both @ products.T)


def _met(
    lines: PhaseLines, values: Values, inverse_squares: Array, angles: Array, standing_out: Array
) -> Array:
    """Return how much of what stands out the lines of each cell meet, (cells,)."""
    middle = lines.two_theta(values)[0]
    strength = lines.reflections.multiplicity * lines.squares(values)[0]
    weight = np.sqrt(strength * angle_factor(middle, lines.instrument))
    used = (middle <= UP_TO) & (middle >= angles[0]) & (middle <= angles[-1])
    sine = 0.5 * lines.instrument.lines[0][0] * np.sqrt(inverse_squares[:, used])
    two_theta = np.degrees(2 * np.arcsin(np.minimum(sine, 0.999)))
    met = np.interp(two_theta, angles, standing_out, left=0, right=0)
    return np.asarray(met @ weight[used] / max(float(np.linalg.norm(weight[used])), 1e-12))
