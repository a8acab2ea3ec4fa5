"""Every site of the layered oxide's oxygen lattice in an image, filled or not.

Spinel, rock salt and the layered oxide share one close-packed oxygen: in projection columns M, Li
(alkali layer) and O, and two tetrahedral columns T beside each Li, at ``Li ± (C - 2 o)/4``. What
stands on them differs, so that columns named by brightness are wrong there; sites are named by
their place in the lattice instead, which follows the found columns through a smooth displacement.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from echolith.errors import BadInputError
from echolith.inverse.column_problem import interior
from echolith.inverse.lattice_search import search_lattice
from echolith.inverse.projected_lattice import ProjectedLattice

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

KINDS = ("M", "Li", "O", "O", "T", "T")
SIGNS = (0, 0, 1, -1, 1, -1)
MATCH = 0.6
"""Å; a found column within this of a site stands on it; the least distance of sites filled at once
is 1.3 Å."""
BORDER = 0.5
"""Å; a column nearer to the border is cut off there and found up to 0.5 Å off its place, and the
cubic terms of the displacement give it much weight: it does not bend the lattice."""
CRYSTAL = 1.75
"""Å; sites within this of a found column are inside the crystal. Every site has oxygen nearer than
that, seen from outside the crystal none has."""


@dataclass(frozen=True, kw_only=True)
class Sites:
    """Sites of a lattice, arrays of equal length; ``xy`` (n, 2) Å in the scan frame."""

    kind: npt.NDArray[np.str_]
    sign: Integers
    i: Integers
    j: Integers
    xy: Array

    def select(self, keep: npt.NDArray[np.bool_]) -> "Sites":
        """Return the chosen sites."""
        return Sites(
            kind=self.kind[keep],
            sign=self.sign[keep],
            i=self.i[keep],
            j=self.j[keep],
            xy=self.xy[keep],
        )

    def moved(self, xy: Array) -> "Sites":
        """Return the sites at other places."""
        return Sites(kind=self.kind, sign=self.sign, i=self.i, j=self.j, xy=xy)


def sites_of(found: xr.Dataset, phase: xr.DataArray) -> xr.Dataset:
    """Name every site of the lattice that found columns show.

    Parameters
    ----------
    found : xarray.Dataset
        ``x``, ``y`` of columns found blindly (`find_columns`).
    phase : xarray.DataArray
        The image they were found on.

    Returns
    -------
    xarray.Dataset
        Over ``column``: ``x``, ``y`` (Å), ``site`` ("M", "Li", "O", "T"), ``sign``,
        ``lattice_i``, ``lattice_j``, ``crystal`` (False: the site is outside the particle).

    Raises
    ------
    BadInputError
        If few of the columns lie on the lattice of a layered oxide.
    """
    lattice = search_lattice(phase)
    columns = np.stack([found["x"].values, found["y"].values], axis=-1)
    sites = _all_sites(lattice, phase)
    whole = interior(phase, columns[:, 0], columns[:, 1], BORDER)
    sites = _followed(sites, columns[whole])
    distance, _ = cKDTree(columns).query(sites.xy)
    on_site = cKDTree(sites.xy).query(columns)[0] < MATCH
    if on_site.mean() < 0.7:
        raise BadInputError(
            f"only {on_site.mean():.0%} of {len(columns)} columns lie on the lattice of a layered "
            "oxide; expected 70 % or more: one grain along [010], little drift; calibrate the "
            "drift first or scan another region"
        )
    inside = interior(phase, sites.xy[:, 0], sites.xy[:, 1], 0.0)
    near = distance < CRYSTAL
    return xr.Dataset(
        {
            "x": ("column", sites.xy[:, 0], {"units": "Å"}),
            "y": ("column", sites.xy[:, 1], {"units": "Å"}),
            "site": ("column", sites.kind),
            "sign": ("column", sites.sign),
            "lattice_i": ("column", sites.i),
            "lattice_j": ("column", sites.j),
            "crystal": ("column", near),
        },
        attrs={"lattice": np.stack([lattice.a, lattice.c, lattice.o]).ravel()},
    ).isel(column=np.flatnonzero(inside))


def _all_sites(lattice: ProjectedLattice, phase: xr.DataArray) -> Sites:
    ends = [phase[name].values[[0, -1]] for name in ("scan_x", "scan_y")]
    corners = np.stack(np.meshgrid(*ends), axis=-1).reshape(-1, 2)
    basis = np.stack([lattice.a, lattice.c])
    index = (corners - lattice.origin) @ np.linalg.inv(basis)
    low, high = np.floor(index.min(axis=0)) - 2, np.ceil(index.max(axis=0)) + 2
    i, j = (np.arange(a, b + 1).astype(np.intp) for a, b in zip(low, high, strict=True))
    i, j = (n.ravel() for n in np.meshgrid(i, j, indexing="ij"))
    tetrahedral = (lattice.c - 2 * lattice.o) / 4
    offsets = np.array(
        [
            0 * lattice.c,
            lattice.c / 2,
            lattice.o,
            -lattice.o,
            lattice.c / 2 + tetrahedral,
            lattice.c / 2 - tetrahedral,
        ]
    )
    nodes = lattice.origin + np.stack([i, j], axis=-1) @ basis
    n, m = len(nodes), len(offsets)
    sites = Sites(
        kind=np.tile(np.array(KINDS), n),
        sign=np.tile(np.array(SIGNS, dtype=np.intp), n),
        i=np.repeat(i, m),
        j=np.repeat(j, m),
        xy=(nodes[:, None] + offsets).reshape(-1, 2),
    )
    return sites.select(interior(phase, sites.xy[:, 0], sites.xy[:, 1], -2.0))


def _followed(sites: Sites, columns: Array) -> Sites:
    """Bend the lattice to the found columns by a smooth displacement, cubic at most."""
    start = sites.xy
    regular = sites.kind != "T"
    tree = cKDTree(start[regular])
    displacement = np.zeros_like(start)
    for _ in range(4):
        moved = (start + displacement)[regular]
        distance, nearest = cKDTree(moved).query(columns)
        good = distance < MATCH
        at = start[regular][nearest[good]]
        design = _terms(at, tree.data)
        fitted = np.linalg.lstsq(design, columns[good] - at, rcond=None)[0]
        displacement = _terms(start, tree.data) @ fitted
    return sites.moved(start + displacement)


def _terms(xy: Array, reference: Array) -> Array:
    centre, scale = reference.mean(axis=0), np.ptp(reference, axis=0).max() / 2
    x, y = ((xy - centre) / scale).T
    return np.column_stack([np.ones_like(x), x, y, x**2, x * y, y**2, x**3, y**3])
