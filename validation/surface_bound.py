"""The information of a 4D-STEM field about what stands on the columns of a surface, and its depth.

Contents: how the intensity of the average layered crystal changes when metals take part of a
column, every position and every other column's content unknown (`column_information`). Depth and
width of the interface: the mean content of every column follows from them, what it holds scatters
about that as drawn, so that column k tells ``(dm_k/dd)² / (bound_k² + scatter_k²)``.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from ase import Atoms
from scipy.special import ndtr

from echolith.forward.acquisition import StemAcquisition
from echolith.forward.column_information import ColumnInformation, column_information, crystal_waves
from echolith.forward.simulation import Simulation
from echolith.inverse.column_response import LITHIUM, METAL
from echolith.inverse.surface_kinds import CONTENTS, Surface
from echolith.protocols import Noise
from echolith.structures.li_rich_oxide import periodic_specimen
from echolith.structures.occupation import Occupation
from echolith.structures.projected_cell import ProjectedParameters
from echolith.validation.column_bound import NOTES
from echolith.validation.information import Information

Array = npt.NDArray[np.float64]

TRACE = 1e-3
"""Share of metals on empty and on lithium sites, where the derivative is taken."""
METALS = {"Mn": 13 / 19, "Ni": 3 / 19, "Co": 3 / 19}
MARKS = {1: "+", -1: "-", 0: ""}
STEP = 0.05
"""Å; of the differences by which the mean content changes with depth and width."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A surface layer as it was made: depth and width of its interface in Å."""

    phase: Surface
    depth: float
    width: float
    nominal: float = 0.8
    """Share of metals on M in the bulk."""


def surface_information(
    columns: xr.Dataset,
    *,
    layer: Layer,
    parameters: ProjectedParameters,
    thickness: float,
    acquisition: StemAcquisition,
    simulation: Simulation,
    noise: Noise,
) -> Information:
    """Return the information about contents of the columns, depth and width of the interface.

    Parameters
    ----------
    columns : xarray.Dataset
        As from `true_surface`: the cation columns in the scan.
    layer : Layer
    parameters : ProjectedParameters
        Of the bulk.
    thickness : float
        Å.
    acquisition : StemAcquisition
    simulation : Simulation
    noise : Noise

    Returns
    -------
    Information
        Parameters ``<species>(i,j).tm``, ``surface_depth``, ``surface_width`` (Å) and
        ``surface_phase``, of which there is none: a choice among kinds has no derivative.
    """
    cell, labels = composed_cell(parameters, thickness=thickness)
    waves = crystal_waves(cell, groups_of(labels), acquisition=acquisition, simulation=simulation)
    known = column_information(waves, acquisition=acquisition, noise=noise)
    std = content_bounds(known, labels)
    species = columns["species"].values
    variance = np.array([std[str(name)] ** 2 for name in species])
    labels_of = zip(
        *(columns[n].values for n in ("species", "lattice_i", "lattice_j", "sign")), strict=True
    )
    names = (
        *(f"{s}{MARKS[int(g)]}({i},{j}).tm" for s, i, j, g in labels_of),
        "surface_depth",
        "surface_width",
        "surface_phase",
    )
    n = len(species)
    matrix = np.zeros((n + 3, n + 3))
    matrix[np.arange(n), np.arange(n)] = 1 / variance
    matrix[n : n + 2, n : n + 2] = depth_information(columns, layer, variance)
    return Information(
        names=names,
        matrix=matrix,
        gradients=_gradients(columns, layer, n),
        units=dict.fromkeys(("surface_depth", "surface_width"), "Å"),
        notes=(
            *NOTES,
            "Contents are expanded about the layered crystal; errors of neighbouring columns are "
            "taken as independent. Lithium on tetrahedral sites counts as metals that scatter as "
            "much.",
            "Depth: of the middle of the interface, phase and register known; what columns hold "
            "scatters about the mean as drawn. The phase itself is a choice among five and has no "
            "bound of this kind.",
        ),
    )


def composed_cell(
    parameters: ProjectedParameters, *, thickness: float
) -> tuple[Atoms, list[tuple[str, str, int, int]]]:
    """Return the average layered cell, metals and lithium as atoms of their own, and their columns.

    Labels are (species, "metal" or "rest", i, sign): "rest" is the lithium or oxygen.
    """
    bare = periodic_specimen(parameters, thickness=thickness, occupation=Occupation.ORDERED)
    kinds, signs, i = (bare.arrays[n] for n in ("column_kind", "sign", "lattice_i"))
    position = bare.positions
    offset = (parameters.vectors()["C"] - 2 * parameters.vectors()["O"]) / 4
    places, labels, shares = [], [], []

    def put(at: Array, label: tuple[str, str, int, int], share: dict[str, float]) -> None:
        places.append(at)
        labels.append(label)
        shares.append(share)

    for at, kind, sign, n in zip(position, kinds.tolist(), signs.tolist(), i.tolist(), strict=True):
        if kind == "O":
            put(at, ("O", "rest", n, sign), {"O": 1.0})
            continue
        metal = 0.8 if kind == "M" else TRACE
        put(at, (kind, "metal", n, 0), {e: metal * s for e, s in METALS.items()})
        put(at, (kind, "rest", n, 0), {"Li": 1 - metal})
        for side in (-1, 1) if kind == "Li" else ():
            beside = at + np.append(side * offset, 0.0)
            put(beside, ("T", "metal", n, side), {e: TRACE * s for e, s in METALS.items()})
    atoms = Atoms("Mn" * len(places), positions=places, cell=bare.cell, pbc=bare.pbc)
    atoms.arrays["spacegroup_kinds"] = np.arange(len(places))
    atoms.info["occupancy"] = {str(n): share for n, share in enumerate(shares)}
    return atoms, labels


def groups_of(labels: list[tuple[str, str, int, int]]) -> npt.NDArray[np.int64]:
    """Return for each atom the number of its column and kind of content."""
    kinds = sorted(set(labels))
    return np.array([kinds.index(label) for label in labels], dtype=np.int64)


def content_bounds(
    known: ColumnInformation, labels: list[tuple[str, str, int, int]]
) -> dict[str, float]:
    """Return the least std of the share of metals on one column of each species.

    On M and Li metals replace lithium, on T they are added. Every position is unknown.
    """
    kinds = sorted(set(labels))
    places = sorted({(s, n, g) for s, _, n, g in kinds})
    cells = [(a, b) for a in range(known.repeats[0]) for b in range(known.repeats[1])]
    rows: list[Array] = []
    first: dict[str, int] = {}
    for cell in cells:
        for species, n, sign in places:
            own = [k for k in kinds if (k[0], *k[2:]) == (species, n, sign)]
            at = {k[1]: kinds.index(k) for k in own}
            for axis in ("x", "y") if species != "T" else ():
                row = np.zeros(len(known.matrix))
                row[[known.index(cell, group, axis) for group in at.values()]] = 1
                rows.append(row)
            if species == "O":
                continue
            metal = 0.8 if species == "M" else TRACE
            row = np.zeros(len(known.matrix))
            row[known.index(cell, at["metal"], "strength")] = 1 / metal
            if "rest" in at:
                row[known.index(cell, at["rest"], "strength")] = -1 / (1 - metal)
            first.setdefault(species, len(rows))
            rows.append(row)
    design = np.stack(rows)
    covariance = np.linalg.inv(design @ known.matrix @ design.T)
    return {species: float(np.sqrt(covariance[n, n])) for species, n in first.items()}


def mean_content(columns: xr.Dataset, layer: Layer, parity: int) -> tuple[Array, Array]:
    """Return the mean share of metals on columns, and how one drawn site scatters (variance).

    Lithium on tetrahedral columns counts as the metals that scatter as much.
    """
    species, i = columns["species"].values, columns["lattice_i"].values
    share = ndtr((layer.depth - columns["depth"].values) / layer.width)
    bulk = np.where(species == "M", layer.nominal, 0.0)
    if layer.phase is Surface.LAYERED:
        return bulk, bulk * (1 - bulk)
    held = CONTENTS[layer.phase]
    pairs = np.array(
        [held[str(s)][int(n + parity) % 2] for s, n in zip(species, i, strict=True)]
    ).reshape(-1, 2)
    metals = pairs[:, 0] + np.where(species == "T", LITHIUM / METAL * pairs[:, 1], 0.0)
    scatter = share * (1 - share) * (metals - bulk) ** 2 + (1 - share) * bulk * (1 - bulk)
    return share * metals + (1 - share) * bulk, scatter


def parity_of(columns: xr.Dataset, layer: Layer) -> int:
    """Return in which of its two registers a layer stands, by what columns hold."""
    apart = [
        float(((mean_content(columns, layer, p)[0] - columns["tm_fraction"].values) ** 2).sum())
        for p in (0, 1)
    ]
    return int(np.argmin(apart))


def depth_information(columns: xr.Dataset, layer: Layer, variance: Array) -> Array:
    """Return the (2, 2) information about depth and width of the interface, 1/Å²."""
    if layer.phase is Surface.LAYERED:
        return np.zeros((2, 2))
    parity = parity_of(columns, layer)
    changes = []
    for name in ("depth", "width"):
        at = getattr(layer, name)
        step = min(STEP, at / 2) if at else STEP
        ends = [
            mean_content(columns, replace(layer, **{name: at + sign * step}), parity)[0]
            for sign in (1, -1)
        ]
        changes.append((ends[0] - ends[1]) / (2 * step))
    slope = np.stack(changes, axis=1)
    scatter = mean_content(columns, layer, parity)[1] / columns["n_sites"].values
    return np.asarray(slope.T @ (slope / (variance + scatter)[:, None]))


def _gradients(columns: xr.Dataset, layer: Layer, n: int) -> dict[str, Array]:
    species = columns["species"].values
    surface = columns["depth"].values < layer.depth
    found: dict[str, Array] = {}
    for kind in ("M", "Li", "T"):
        mine = np.flatnonzero(species == kind)
        if len(mine):
            found[f"tm_fraction_{kind.lower()}_single"] = np.eye(n + 3)[mine]
    chosen = {"tm_in_alkali_layer": (species == "Li", 1.0)}
    if layer.phase is not Surface.LAYERED:
        chosen["tm_in_surface_alkali_layer"] = (surface & (species == "Li"), 1.0)
        worth = METAL / LITHIUM if layer.phase is not Surface.MN3O4 else 1.0
        chosen["tetrahedral_occupancy"] = (surface & (species == "T"), worth)
        found["surface_depth"] = np.eye(n + 3)[[n]]
    for name, (here, worth) in chosen.items():
        if here.any():
            found[name] = np.append(worth * here / here.sum(), np.zeros(3))[None]
    found["surface_phase"] = np.eye(n + 3)[[n + 2]]
    return found
