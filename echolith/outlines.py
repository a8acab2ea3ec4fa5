"""Outlines of crystals along a zone axis: the facets seen edge-on, and how long each is."""

import numpy as np
import numpy.typing as npt

from echolith.zone_axes import Zone, zone_frame, zone_reflections

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

FAMILIES = ((1, 1, 0), (2, 1, 1))
"""Of facets of body-centred metals."""


def edge_on_facets(
    zone_axis: Zone, *, families: tuple[Zone, ...] = FAMILIES
) -> tuple[Indices, Array]:
    """Return the facets parallel to the beam and the directions of their normals.

    Parameters
    ----------
    zone_axis : (int, int, int)
    families : tuple of (int, int, int)
        Kinds of facets.

    Returns
    -------
    array of int, (facets, 3)
    array, (facets,)
        Degree from x towards y of the unturned crystal, ascending from 0.

    Examples
    --------
    >>> facets, angles = edge_on_facets((1, 1, 1))
    >>> [facet_name(hkl) for hkl in facets[:3]], angles[:3].round(6).tolist()
    (['(10-1)', '(2-1-1)', '(1-10)'], [0.0, 30.0, 60.0])
    """
    kinds = {tuple(sorted(map(abs, family))) for family in families}
    hkl = zone_reflections(zone_axis, largest=max(max(kind) for kind in kinds))
    hkl = hkl[[tuple(sorted(map(abs, one))) in kinds for one in hkl.tolist()]]
    x, y, _ = zone_frame(zone_axis) @ hkl.T
    # Rounding may leave -1e-17.
    angles = np.round(np.degrees(np.arctan2(y, x)), 9) % 360
    order = np.argsort(angles)
    return hkl[order], angles[order]


def facet_name(hkl: Indices) -> str:
    """Return the name of a facet, e.g. (2-1-1)."""
    return "(" + "".join(map(str, hkl)) + ")"


def facet_lengths(angles: Array, edges: Array) -> Array:
    """Return how long each facet of a convex outline is.

    On facet i the others leave the places u along it with
    ``(h_j - h_i cos(a_j - a_i)) / sin(a_j - a_i)`` as bounds, upper where the sine is positive.

    Parameters
    ----------
    angles : array, (facets,)
        Of the normals, degree.
    edges : array, (facets, ...)
        Distance of each from a point inside, Å.

    Returns
    -------
    array, (facets, ...)
        Å; 0 where the others cut a facet off.

    Examples
    --------
    >>> facet_lengths(np.arange(4) * 90.0, np.array([3.0, 2.0, 3.0, 2.0])).round(6).tolist()
    [4.0, 6.0, 4.0, 6.0]
    """
    lengths = np.zeros_like(edges)
    for n, angle in enumerate(angles):
        c, s = np.cos(np.radians(angles - angle)), np.sin(np.radians(angles - angle))
        bounds = np.full(edges.shape, np.inf)
        aside = np.abs(s) > 1e-9
        share = (-1,) + (1,) * (edges.ndim - 1)
        bounds[aside] = (edges[aside] - edges[n] * c[aside].reshape(share)) / s[aside].reshape(
            share
        )
        low, high = bounds[aside & (s < 0)].max(axis=0), bounds[aside & (s > 0)].min(axis=0)
        lengths[n] = np.maximum(high - low, 0)
    return lengths
