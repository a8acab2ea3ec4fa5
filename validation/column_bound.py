"""The information of a 4D-STEM field about its columns and the distances between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.acquisition import StemAcquisition
from echolith.forward.column_derivatives import KINDS
from echolith.forward.column_information import (
    ColumnInformation,
    CrystalWaves,
    column_information,
    crystal_waves,
)
from echolith.forward.simulation import Simulation
from echolith.protocols import Noise
from echolith.structures.columns import true_pairs
from echolith.structures.li_rich_oxide import periodic_specimen
from echolith.structures.occupation import Occupation
from echolith.structures.projected_cell import ProjectedParameters
from echolith.validation.information import Information

if TYPE_CHECKING:
    from ase import Atoms

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

SAME = 1e-3
"""Å; two images of a column this equally far share what is known of it."""

NOTES = (
    "Position and strength of every column are unknown and marginalised; beam, scan and thickness "
    "are known.",
    "The crystal is the average one: sites hold the mean of what is drawn on them.",
    "The bound includes the dark field: all detector pixels and the annular detector.",
)


@dataclass(frozen=True, kw_only=True)
class CrystalColumns:
    """The columns of an endless crystal, and what a beam makes of them."""

    waves: CrystalWaves
    kinds: list[tuple[str, int, int, int]]
    """Of the columns of one cell: species, sign, i, j."""
    cell: Array
    """Its two lateral edges as rows, xy, Å."""

    @property
    def nbytes(self) -> int:
        """Of the waves."""
        return self.waves.nbytes


@dataclass(frozen=True, kw_only=True)
class CrystalInformation:
    """What a measurement tells about the columns of an endless crystal, whatever field of it."""

    known: ColumnInformation
    kinds: list[tuple[str, int, int, int]]
    """As of `CrystalColumns`."""
    cell: Array
    """As of `CrystalColumns`."""


def crystal_columns(
    *,
    parameters: ProjectedParameters,
    occupation: Occupation,
    thickness: float,
    acquisition: StemAcquisition,
    simulation: Simulation,
) -> CrystalColumns:
    """Return the columns of Li-rich oxide in an endless field with their waves.

    Parameters
    ----------
    parameters : ProjectedParameters
        Of the crystal.
    occupation : Occupation
    thickness : float
        Å.
    acquisition : StemAcquisition
        Of which energy, semiangle and largest angle play a part.
    simulation : Simulation
    """
    cell = average_crystal(parameters, thickness=thickness, occupation=occupation)
    labels = _labels(cell)
    kinds = sorted(set(labels))
    groups = np.array([kinds.index(label) for label in labels])
    waves = crystal_waves(cell, groups, acquisition=acquisition, simulation=simulation)
    return CrystalColumns(waves=waves, kinds=kinds, cell=np.asarray(cell.cell)[:2, :2])


def crystal_information(
    columns: CrystalColumns, *, acquisition: StemAcquisition, noise: Noise
) -> CrystalInformation:
    """Return the information about the columns of Li-rich oxide in an endless field.

    Parameters
    ----------
    columns : CrystalColumns
    acquisition : StemAcquisition
        Its scan plays no part: the dose is spread evenly.
    noise : Noise
    """
    known = column_information(columns.waves, acquisition=acquisition, noise=noise)
    return CrystalInformation(known=known, kinds=columns.kinds, cell=columns.cell)


def field_information(columns: xr.Dataset, crystal: CrystalInformation) -> Information:
    """Return the information about the columns of Li-rich oxide in a scanned field.

    Parameters
    ----------
    columns : xarray.Dataset
        The true columns of the field with lattice indices, those near its border flagged
        ``edge``.
    crystal : CrystalInformation

    Returns
    -------
    Information
        Parameters ``<species><i>,<j>[+-].x``, ``.y`` (Å) and ``.strength``; the eight distances,
        their means over the field's inner pairs and, with ``_single``, one pair each.
    """
    place = {(*kind[:2], kind[2] % 2): n for n, kind in enumerate(crystal.kinds)}
    matrix = _field_matrix(columns, crystal.known, place, crystal.kinds, crystal.cell)
    names = _names(columns)
    gradients = _gradients(columns, len(names))
    units = dict.fromkeys(gradients, "Å") | {n: "Å" for n in names if not n.endswith("strength")}
    return Information(names=names, matrix=matrix, gradients=gradients, units=units, notes=NOTES)


def average_crystal(
    parameters: ProjectedParameters, *, thickness: float, occupation: Occupation
) -> "Atoms":
    """Return one crystal cell whose M sites hold the mean of what an occupation draws on them."""
    atoms = periodic_specimen(parameters, thickness=thickness, occupation=Occupation.ORDERED)
    symbols = np.asarray(atoms.symbols)
    metal = atoms.arrays["column_kind"] == "M"
    minority = metal & (symbols == "Li")
    atoms.arrays["spacegroup_kinds"] = np.where(minority, 2, np.where(metal, 1, 0))
    atoms.info["occupancy"] = {
        "1": dict(occupation.content(minority=False)),
        "2": dict(occupation.content(minority=True)),
    }
    return atoms


def _labels(atoms: "Atoms") -> list[tuple[str, int, int, int]]:
    """Return kind, sign, i and j of the column of each atom."""
    arrays = atoms.arrays
    names = ("column_kind", "sign", "lattice_i", "lattice_j")
    kind, *rest = (arrays[name].tolist() for name in names)
    return [(str(k), int(s), int(i), int(j)) for k, s, i, j in zip(kind, *rest, strict=True)]


def _field_matrix(
    columns: xr.Dataset,
    known: ColumnInformation,
    place: Mapping[tuple[str, int, int], int],
    kinds: list[tuple[str, int, int, int]],
    cell: Array,
) -> Array:
    """Information about the field's columns: that of the supercell, each pair's nearest image."""
    species, sign = columns["species"].values.tolist(), columns["sign"].values.astype(int)
    i, j = columns["lattice_i"].values.astype(int), columns["lattice_j"].values.astype(int)
    column = np.array(
        [place[s, int(g), int(n) % 2] for s, g, n in zip(species, sign, i, strict=True)]
    )
    home = np.array(kinds, dtype=object)[column][:, 2:].astype(int)
    cells = np.stack([(i - home[:, 0]) // 2, j - home[:, 1]], axis=1)
    repeats = np.array(known.repeats)
    xy = np.stack([columns["x"].values, columns["y"].values], axis=1)
    blocks = known.matrix.reshape(
        *known.repeats, known.columns, len(KINDS), *known.repeats, known.columns, len(KINDS)
    )[0, 0]
    n = len(column)
    matrix = np.zeros((n, len(KINDS), n, len(KINDS)))
    for a in range(n):
        offset = cells - cells[a]
        share = _nearest_share(xy - xy[a], cell * repeats[:, None])
        t1, t2 = (offset % repeats).T
        matrix[a] = np.moveaxis(
            blocks[column[a], :, t1, t2, column, :] * share[:, None, None], 0, 1
        )
    flat = matrix.reshape(n * len(KINDS), -1)
    return np.asarray((flat + flat.T) / 2)


def _nearest_share(offset: Array, supercell: Array) -> Array:
    """Return 1 where an offset is the shortest of its images, shared among equals, else 0."""
    steps = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"), axis=-1).reshape(-1, 2)
    lengths = np.linalg.norm(offset[:, None] + steps @ supercell, axis=-1)
    shortest = lengths.min(axis=1)
    equals = (lengths < shortest[:, None] + SAME).sum(axis=1)
    here = np.linalg.norm(offset, axis=1) < shortest + SAME
    return np.where(here, 1 / equals, 0.0)


def _names(columns: xr.Dataset) -> tuple[str, ...]:
    marks = {1: "+", -1: "-", 0: ""}
    labels = [
        f"{s}{marks[int(g)]}({int(i)},{int(j)})"
        for s, g, i, j in zip(
            *(columns[n].values for n in ("species", "sign", "lattice_i", "lattice_j")),
            strict=True,
        )
    ]
    return tuple(f"{label}.{kind}" for label in labels for kind in KINDS)


def _gradients(columns: xr.Dataset, size: int) -> dict[str, Array]:
    """Return the derivative of every distance: each pair's, and their mean over the field."""
    pairs = true_pairs(columns)
    inner = ~columns["edge"].values.astype(bool)
    first, second = pairs["pair_first"].values, pairs["pair_second"].values
    xy = np.stack([columns["x"].values, columns["y"].values], axis=1)
    keep = inner[first] & inner[second]
    gradients = {}
    for name in dict.fromkeys(pairs["pair_name"].values[keep].tolist()):
        chosen = np.flatnonzero(keep & (pairs["pair_name"].values == name))
        rows = np.zeros((len(chosen), size))
        for row, n in zip(rows, chosen, strict=True):
            vector = xy[second[n]] - xy[first[n]]
            unit = vector / np.linalg.norm(vector)
            at, to = first[n] * len(KINDS), second[n] * len(KINDS)
            row[at : at + 2], row[to : to + 2] = -unit, unit
        gradients[name] = rows.mean(axis=0, keepdims=True)
        gradients[f"{name}_single"] = rows
    return gradients
