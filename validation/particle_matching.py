"""Which segmented particle is which true one, and which were missed, merged or split."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError

SAME = 0.5
"""Overlap over union from which two are one particle; at most one pair of each reaches it."""
PART = 0.2
"""Of a true particle: a segment that holds so much of two has merged them, two segments that hold
so much of one each have split it."""

Indices = npt.NDArray[np.intp]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ParticleMatch:
    """Matched pairs by number (from 1), and what went wrong.

    Attributes
    ----------
    estimate, truth : array, (pairs,)
        Numbers of segmented and true particles, in the order of the true ones.
    overlap : array, (pairs,)
        Voxels of both over voxels of either.
    expected : int
        True particles that have voxels.
    missed : array
        True particles of which no segment holds a part.
    merged : array
        Segments that hold parts of two or more true particles.
    split : array
        True particles of which two or more segments hold parts.
    false : array
        Segments that hold a part of no true particle.
    """

    estimate: Indices
    truth: Indices
    overlap: npt.NDArray[np.float64]
    expected: int
    missed: Indices
    merged: Indices
    split: Indices
    false: Indices


def match_particles(estimate: xr.DataArray, truth: xr.DataArray) -> ParticleMatch:
    """Match segmented to true particles by their common voxels, or pixels of a map.

    Parameters
    ----------
    estimate, truth : xarray.DataArray
        Numbers of particles from 1, 0 where there is none; the same voxels.

    Returns
    -------
    ParticleMatch

    Raises
    ------
    BadInputError
        If the two are not on the same voxels.
    """
    common = _common_voxels(estimate, truth)
    both = common[1:, 1:]
    ours, theirs = common[1:].sum(axis=1), common[:, 1:].sum(axis=0)
    union = np.maximum(ours[:, None] + theirs - both, 1)
    first, second = np.nonzero(both / union > SAME)
    order = np.argsort(second)
    first, second = first[order], second[order]
    part = both > PART * np.maximum(theirs, 1)
    return ParticleMatch(
        estimate=first + 1,
        truth=second + 1,
        overlap=(both / union)[first, second],
        expected=int(np.count_nonzero(theirs)),
        missed=_numbers(~part.any(axis=0) & (theirs > 0)),
        merged=_numbers(part.sum(axis=1) > 1),
        split=_numbers(part.sum(axis=0) > 1),
        false=_numbers(~part.any(axis=1) & (ours > 0)),
    )


def _numbers(which: npt.NDArray[np.bool_]) -> Indices:
    return np.flatnonzero(which) + 1


def _common_voxels(estimate: xr.DataArray, truth: xr.DataArray) -> Counts:
    """Return the number of voxels by number in the estimate and number in the truth."""
    sizes = [dict(array.sizes) for array in (estimate, truth)]
    if sizes[0] != sizes[1]:
        raise BadInputError(
            f"estimate has voxels {sizes[0]}, truth {sizes[1]}; expected the same; rasterise the "
            "truth on the voxels of the estimate"
        )
    ours = estimate.values.ravel().astype(np.int64)
    theirs = truth.transpose(*estimate.dims).values.ravel().astype(np.int64)
    shape = (int(ours.max(initial=0)) + 1, int(theirs.max(initial=0)) + 1)
    counts = np.bincount(ours * shape[1] + theirs, minlength=shape[0] * shape[1])
    return counts.reshape(shape)
