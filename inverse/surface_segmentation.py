"""Bulk and surface of a particle: where it ends, how deep every column is, which is which.

The edge is the line with the widest gap between filled and empty sites of M and O; depth is counted
from the middle of the gap inwards. The published rule takes 4 nm (discharged) or 5 nm as surface;
data decide with `echolith.inverse.surface_phase`.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.filled_sites import sites_filled
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]
LEAST_EMPTY = 4
"""Sites of M and O seen empty, below which there is no edge in the field."""


class DepthRule(Settings):
    """A fixed depth taken as surface; 40 and 50 Å are the published rules."""

    depth: Annotated[Angstrom, Field(gt=0)] = 40.0


@dataclass(frozen=True, kw_only=True)
class Edge:
    """Where a particle ends: outward normal (2,), its distance from the origin, and its std, Å."""

    normal: Array
    distance: float
    std: float

    def depth(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Array:
        """Return how far places are below the edge, Å."""
        xy = np.stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)], axis=-1)
        return np.asarray(self.distance - xy @ self.normal)


def find_edge(sites: xr.Dataset) -> Edge:
    """Find the straight edge of a particle in a field of fitted sites.

    Parameters
    ----------
    sites : xarray.Dataset
        From `fit_sites`; the field must reach into vacuum.

    Returns
    -------
    Edge
        ``std`` is that of a uniform distribution over the gap.

    Raises
    ------
    BadInputError
        If no vacuum is in the field, or filled and empty sites are not apart.
    """
    framework = np.isin(sites["site"].values, ["M", "O"]) & ~sites["edge"].values
    filled = sites_filled(sites) & sites["crystal"].values
    xy = np.stack([sites["x"].values, sites["y"].values], axis=-1)
    full, empty = xy[framework & filled], xy[framework & ~filled]
    if len(empty) < LEAST_EMPTY or len(full) < LEAST_EMPTY:
        raise BadInputError(
            f"{len(full)} filled and {len(empty)} empty sites of M and O in the field; expected "
            f"{LEAST_EMPTY} or more of each; the field must hold the particle's edge and about 4 Å "
            "of vacuum"
        )
    angles = np.deg2rad(np.arange(0, 360, 1.0))
    normals = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    gaps = (empty @ normals.T).min(axis=0) - (full @ normals.T).max(axis=0)
    widest = float(gaps.max())
    if widest < -1.0:
        raise BadInputError(
            "filled and empty sites are not separated by a straight line (they overlap by "
            f"{-widest:.1f} Å); the edge is curved or the fit failed; take a smaller field"
        )
    # Directions with nearly the widest gap are alike: their mean is steadier than the best one.
    good = gaps > widest - 0.2
    mean = normals[good].mean(axis=0)
    normal = mean / np.hypot(*mean)
    inner, outer = float((full @ normal).max()), float((empty @ normal).min())
    return Edge(
        normal=normal, distance=(inner + outer) / 2, std=max(abs(outer - inner), 0.3) / np.sqrt(12)
    )


def is_surface(depth: Array, rule: DepthRule | None = None) -> npt.NDArray[np.bool_]:
    """Tell by a fixed rule which depths (Å) are surface."""
    return np.asarray(depth < (rule or DepthRule()).depth)


def surely_bulk(depth: Array) -> npt.NDArray[np.bool_]:
    """Tell which columns are taken as layered before anything is known: the deepest third."""
    inside = depth[depth > 0]
    if not len(inside):
        raise BadInputError("no column is below the surface; check the edge's direction")
    return np.asarray(depth > 2 / 3 * inside.max())
