"""What a lattice of columns, the optics and the noise mean for the facets of a crystal."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.inverse.facet_columns import RANGE, ColumnFilter, column_filter
from echolith.inverse.facet_drift import Reflections
from echolith.inverse.facet_outline import APART
from echolith.inverse.lattice import LEAST_NOISE
from echolith.inverse.lattice_detection import noise_power
from echolith.inverse.lattice_transfer import transfer
from echolith.outlines import edge_on_facets, facet_name
from echolith.zone_axes import Zone, projected_reflections, zone_reflections

Array = npt.NDArray[np.float64]

LARGEST = 1.0
"""1/Å, of reflections that are looked at."""
BEYOND = 0.2
"""Of half the field, to each side: columns that drift into it."""


@dataclass(frozen=True, kw_only=True)
class FacetModel:
    """The lattice of a movie and what follows from it, once for all frames."""

    acquisition: HrtemAcquisition
    reflections: Reflections
    filtered: ColumnFilter
    columns: Array
    """(columns, 2) x, y, Å, from one of them."""
    names: tuple[str, ...]
    angles: Array
    """(facets,) of the normals, radian from x towards y."""
    layers: Array
    """(facets,) distance of rows, Å."""
    shares: Array
    """(facets, APART + 1) of rows in the sum of G over the lattice."""
    scale: float
    """Inverse of the variance of that sum."""

    def rows(self, columns: Array) -> npt.NDArray[np.int64]:
        """Return the rows, (facets, columns), of columns."""
        along = self.normals @ columns.T / self.layers[:, None]
        return np.rint(along).astype(np.int64)

    @property
    def normals(self) -> Array:
        """(facets, 2) x, y."""
        return np.stack([np.cos(self.angles), np.sin(self.angles)], axis=1)


def facet_model(
    images: Array,
    *,
    acquisition: HrtemAcquisition,
    lattice: xr.Dataset,
    families: tuple[Zone, ...],
) -> FacetModel:
    """Return what follows from a lattice and some frames (n, y, x) that show the noise."""
    pixel = acquisition.pixel
    u, v, w = (int(n) for n in lattice["zone_axis"].values)
    spacing, rotation = float(lattice["spacing"]), float(lattice["rotation"])
    noise = [noise_power(image, pixel) for image in images]
    power = np.mean([one for _, one in noise], axis=0)
    level = noise[0][0], np.maximum(power, LEAST_NOISE * images.mean())
    g = projected_reflections((u, v, w), spacing=spacing, rotation=rotation)
    cell: Array = np.linalg.inv(_shortest(g)).T.astype(float)
    g = g[np.hypot(*g.T) < min(LARGEST, 0.45 / pixel)]
    seen = transfer(acquisition, g[:, 1:], g[:, :1])[:, 0]
    behind = np.interp(np.hypot(*g.T), *level)
    filtered = column_filter(acquisition, level=level)
    hkl, angles = edge_on_facets((u, v, w), families=families)
    shortest = float(np.linalg.norm(zone_reflections((u, v, w))[0]))
    layers = spacing * shortest / np.linalg.norm(hkl, axis=1)
    turned = np.radians(angles + rotation)
    area = abs(float(np.linalg.det(cell)))
    return FacetModel(
        acquisition=acquisition,
        reflections=Reflections(
            places=g,
            weights=seen / behind,
            noise=seen / behind * np.sqrt(behind * images[0].size / 2),
            cell=cell,
        ),
        filtered=filtered,
        columns=_columns(acquisition, cell),
        names=tuple(facet_name(one) for one in hkl),
        angles=turned,
        layers=layers,
        shares=_shares(filtered, cell, turned, layers),
        scale=pixel**2 * area / float((2 * seen**2 / behind).sum()),
    )


def _shortest(g: Array) -> Array:
    """Return two reflections that span a primitive cell of all."""
    areas = np.abs(g[0, 0] * g[:, 1] - g[0, 1] * g[:, 0])
    return np.stack([g[0], g[int(np.argmax(np.isclose(areas, areas[areas > 1e-9].min())))]])


def _lattice(cell: Array, reach: float) -> Array:
    """Return the vectors of a lattice up to a length, (n, 2)."""
    most = int(np.ceil(reach * np.linalg.norm(np.linalg.inv(cell), axis=0).max())) + 1
    n = np.arange(-most, most + 1)
    vectors = np.stack(np.meshgrid(n, n), axis=-1).reshape(-1, 2) @ cell
    return np.asarray(vectors[np.hypot(*vectors.T) <= reach])


def _columns(acquisition: HrtemAcquisition, cell: Array) -> Array:
    """Return columns of a lattice about the middle of the field, and somewhat beyond the field."""
    height, width = acquisition.field
    middle = np.array([width, height]) / 2
    far = (1 + BEYOND) * float(np.hypot(*middle))
    vectors = _lattice(cell, far) + np.rint(middle @ np.linalg.inv(cell)) @ cell
    inside = (np.abs(vectors - middle) <= (1 + BEYOND) * middle).all(axis=1)
    return np.asarray(vectors[inside])


def _shares(filtered: ColumnFilter, cell: Array, angles: Array, layers: Array) -> Array:
    vectors = _lattice(cell, RANGE)
    values = filtered.shared(np.hypot(*vectors.T))
    along = vectors @ np.stack([np.cos(angles), np.sin(angles)]) / layers
    rows = np.abs(np.rint(along)).astype(int)
    sums = np.array([np.bincount(row, weights=values)[: APART + 1] for row in rows.T])
    # All but the row itself are counted on both sides.
    sums[:, 1:] /= 2
    return np.asarray(sums / (sums[:, :1] + 2 * sums[:, 1:].sum(axis=1, keepdims=True)))
