"""Sites of a crystal with a surface layer: oxygen relaxed, cations converted, lattice strained."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers

from echolith.seeds import stream
from echolith.structures.cation_sites import tetrahedral_offset
from echolith.structures.column_stack import Columns, Floats, columns_at, lattice_points, stack
from echolith.structures.epitaxy import Interface, lattice_rows
from echolith.structures.occupation import Integers, Occupation, zigzag
from echolith.structures.projected_cell import ProjectedParameters
from echolith.structures.redox_blocks import METALS
from echolith.structures.spinel_sites import PHASES, VARIANTS, SurfacePhase, Wyckoff, wyckoff_sites

_SLACK = 10.0
"""Å beyond the field that is built and clipped; strain moves columns by less."""


@dataclass(frozen=True, kw_only=True)
class SurfaceSites:
    """Sites by column and layer, oxygen and tetrahedral ones too.

    ``share`` (n,) is the probability of the surface phase, ``numbers`` (n, layers) the atomic
    numbers, 0 where empty, ``positions`` (n, layers, 3) Å about the centre of the field.
    """

    columns: Columns
    share: Floats
    numbers: Integers
    positions: Floats

    def select(self, keep: npt.NDArray[np.bool_]) -> "SurfaceSites":
        """Return the chosen columns."""
        return SurfaceSites(
            columns=self.columns.select(keep),
            share=self.share[keep],
            numbers=self.numbers[keep],
            positions=self.positions[keep],
        )


def bulk_sites(
    parameters: ProjectedParameters,
    *,
    interface: Interface,
    box: Floats,
    layers: int,
    b: float,
    occupation: Occupation,
    seed: int,
) -> SurfaceSites:
    """Return the layered crystal below the surface, (width, height) and more, not yet changed."""
    columns = columns_at(*lattice_points(parameters, box + _SLACK))
    mean = columns.positions(parameters)
    keep = interface.below(mean) >= 0
    columns, mean = columns.select(keep), mean[keep]
    atoms = stack(columns, parameters, layers=layers, b=b, occupation=occupation, seed=seed)
    return SurfaceSites(
        columns=columns,
        share=interface.share(interface.below(mean)),
        numbers=np.asarray(atoms.numbers, dtype=np.intp).reshape(-1, layers),
        positions=atoms.positions.reshape(-1, layers, 3),
    )


def relaxed(
    sites: SurfaceSites,
    bulk: ProjectedParameters,
    surface: ProjectedParameters,
    *,
    keep_split: bool,
) -> SurfaceSites:
    """Return sites with oxygen on its way to the surface's fractional place.

    ``keep_split``: whether the columns of oxygen stay split into 4i and 8j.
    """
    mean = sites.columns.positions(bulk)
    split = sites.positions[..., :2] - mean[:, None]
    left = np.ones_like(sites.share) if keep_split else 1 - sites.share
    moved = mean + (sites.share * sites.columns.sign)[:, None] * _oxygen_change(bulk, surface)
    positions = sites.positions.copy()
    positions[..., :2] = moved[:, None] + left[:, None, None] * split
    return replace(sites, positions=positions)


def _oxygen_change(bulk: ProjectedParameters, surface: ProjectedParameters) -> Floats:
    """Return how far oxygen goes, in the bulk's lattice: it strains later."""
    fraction = surface.vectors()["O"] @ np.linalg.inv(lattice_rows(surface))
    return np.asarray(fraction @ lattice_rows(bulk) - bulk.vectors()["O"])


def with_tetrahedral(
    sites: SurfaceSites, bulk: ProjectedParameters, surface: ProjectedParameters, *, b: float
) -> SurfaceSites:
    """Return sites with the tetrahedral ones of the alkali layers added, empty."""
    pairs = np.repeat(np.flatnonzero(sites.columns.kind == "Li"), 2)
    sign = np.tile([-1, 1], len(pairs) // 2)
    lithium, share = sites.columns.select(pairs), sites.share[pairs]
    oxygen = bulk.vectors()["O"] + share[:, None] * _oxygen_change(bulk, surface)
    offset = tetrahedral_offset(bulk.vectors()["C"], oxygen)
    layers = sites.numbers.shape[1]
    # At 3/4 of a layer where i is even, at 1/4 where it is odd: half a layer from lithium.
    rise = np.where(lithium.i % 2 == 0, 0.75, 0.25)[:, None] + np.arange(layers)
    positions = np.empty((len(pairs), layers, 3))
    positions[..., :2] = (lithium.positions(bulk) + sign[:, None] * offset)[:, None]
    positions[..., 2] = rise * b / 3
    return SurfaceSites(
        columns=Columns(
            kind=np.append(sites.columns.kind, np.full(len(pairs), "T")),
            sign=np.append(sites.columns.sign, sign),
            i=np.append(sites.columns.i, lithium.i),
            j=np.append(sites.columns.j, lithium.j),
        ),
        share=np.append(sites.share, share),
        numbers=np.concatenate([sites.numbers, np.zeros((len(pairs), layers), dtype=np.intp)]),
        positions=np.concatenate([sites.positions, positions]),
    )


def converted(sites: SurfaceSites, phase: SurfacePhase, *, seed: int) -> SurfaceSites:
    """Return sites of which those drawn with probability ``share`` have the phase's cations.

    A lattice point and layer draws once for all of its sites, by the seed and where it is.
    """
    if phase is SurfacePhase.LAYERED:
        return sites
    columns, layers = sites.columns, sites.numbers.shape[1]
    cation = np.flatnonzero((columns.kind != "O") & (sites.share > 0))
    chosen = columns.select(cation)
    uniform = _uniform(chosen, layers, seed)
    place = {name: np.repeat(getattr(chosen, name), layers) for name in ("kind", "sign", "i", "j")}
    wyckoff = wyckoff_sites(
        **place,
        layer=np.tile(np.arange(layers), len(cation)),
        variant=int(stream(seed, "surface variant").integers(VARIANTS)),
    )
    new = _content(phase, wyckoff, uniform[..., 1].ravel()).reshape(-1, layers)
    numbers = sites.numbers.copy()
    changed = uniform[..., 0] < sites.share[cation, None]
    numbers[cation] = np.where(changed, new, numbers[cation])
    return replace(sites, numbers=numbers)


def _uniform(columns: Columns, layers: int, seed: int) -> Floats:
    """Draw two numbers a site, (n, layers, 2): one common to a lattice point, one its own."""
    order = {("M", 0): 1, ("Li", 0): 2, ("T", -1): 3, ("T", 1): 4}
    drawn: dict[tuple[int, int], Floats] = {}
    uniform = np.empty((len(columns.i), layers, 2))
    for n, (i, j) in enumerate(zip(columns.i.tolist(), columns.j.tolist(), strict=True)):
        if (i, j) not in drawn:
            path = (zigzag(i), zigzag(j))
            drawn[i, j] = stream(seed, "surface phase", *path).random((layers, 5))
        own = order[str(columns.kind[n]), int(columns.sign[n])]
        uniform[n] = drawn[i, j][:, [0, own]]
    return uniform


def _content(phase: SurfacePhase, wyckoff: npt.NDArray[np.object_], uniform: Floats) -> Integers:
    """Turn uniform numbers into the atomic numbers of a phase's sites, 0 where empty."""
    content, total = PHASES[phase], sum(METALS.values())
    edges = np.cumsum([n / total for n in METALS.values()])
    metals = np.array([atomic_numbers[element] for element in METALS])
    number = np.zeros(len(uniform), dtype=np.intp)
    for site in Wyckoff:
        metal, lithium = content.metal.get(site, 0.0), content.lithium.get(site, 0.0)
        here = np.flatnonzero(wyckoff == site)
        draw = uniform[here]
        inner = np.searchsorted(edges, draw / max(metal, 1e-9), side="right")
        number[here] = np.where(draw < metal + lithium, atomic_numbers["Li"], 0)
        number[here] = np.where(draw < metal, metals[np.minimum(inner, 2)], number[here])
    return number


def strained(sites: SurfaceSites, interface: Interface) -> SurfaceSites:
    """Return sites displaced by the strain of the layer, each column as a whole."""
    positions = sites.positions.copy()
    mean = positions[..., :2].mean(axis=1)
    positions[..., :2] += interface.displacement(interface.below(mean))[:, None]
    return replace(sites, positions=positions)
