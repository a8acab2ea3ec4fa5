"""Reconstructed surfaces of the layered oxide: specimens of known phase, depth and occupancy.

The cations take another order on the same close-packed oxygen (`spinel_sites`), the lattice
strains coherently (`epitaxy`), and oxygen goes from the bulk's fractional place to the surface's.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from ase import Atoms

from echolith.errors import BadInputError
from echolith.structures.cation_sites import (
    SiteGrid,
    column_rows,
    remember_places,
)
from echolith.structures.column_composition import true_composition
from echolith.structures.column_stack import B, Floats, count_layers
from echolith.structures.epitaxy import SurfacePlane, interface, surface_plane
from echolith.structures.li_rich_oxide import check_field
from echolith.structures.occupation import Occupation
from echolith.structures.projected_cell import ProjectedParameters
from echolith.structures.spinel_sites import SurfacePhase
from echolith.structures.surface_sites import (
    SurfaceSites,
    bulk_sites,
    converted,
    relaxed,
    strained,
    with_tetrahedral,
)

__all__ = ["SurfacePhase", "surface_specimen", "true_surface"]


def surface_specimen(
    parameters: ProjectedParameters,
    *,
    surface_parameters: ProjectedParameters,
    phase: SurfacePhase,
    depth: float,
    interface_width: float = 2.0,
    field: tuple[float, float],
    thickness: float,
    direction: float = 0.0,
    vacuum: float = 0.0,
    occupation: Occupation = Occupation.RANDOM,
    b: float = B,
    seed: int = 0,
) -> Atoms:
    """Return a crystal of the layered oxide with a reconstructed surface, in an orthogonal box.

    Parameters
    ----------
    parameters, surface_parameters : ProjectedParameters
        Of the bulk, and of the surface layer were it free of the bulk.
    phase : SurfacePhase
        LAYERED strains the surface and leaves the cations.
    depth : float
        Of the middle of the interface below the surface, 0 to 60 Å.
    interface_width : float
        Standard deviation of its error function, 0.01 to 20 Å.
    field : (float, float)
        Height (y) and width (x), Å.
    thickness : float
        Å; cut into whole layers of b/3.
    direction : float
        Of the surface's outward normal, degree from x (along a) towards y (across the layers).
    vacuum : float
        Between the surface and the edge of the field it faces, Å.
    occupation : Occupation
        Of the bulk's transition-metal layers; the phases' transition metals are drawn in the
        same proportion, Mn13 Ni3 Co3.
    b : float
        Edge b, Å.
    seed : int
        With the same one a deeper layer converts the same sites and more.

    Returns
    -------
    ase.Atoms
        Cell (width, height, thickness), no periodicity. Atoms name their columns, tetrahedral
        ones "T" (see `cation_sites`); all but the field's own border is as in `field_specimen`.

    Raises
    ------
    BadInputError
        If the depth or width is outside its range, the vacuum leaves no crystal, or the field or
        thickness is none.
    """
    height, width = check_field(field)
    box, layers = np.array([width, height]), count_layers(thickness, b)
    plane = surface_plane(box, direction=direction, vacuum=vacuum)
    profile = interface(parameters, surface_parameters, plane, depth=depth, width=interface_width)
    bulk = bulk_sites(
        parameters,
        interface=profile,
        box=box,
        layers=layers,
        b=b,
        occupation=occupation,
        seed=seed,
    )
    layered = phase is SurfacePhase.LAYERED
    moved = relaxed(bulk, parameters, surface_parameters, keep_split=layered)
    whole = with_tetrahedral(moved, parameters, surface_parameters, b=b)
    whole = whole.select(profile.below(whole.positions[:, 0, :2]) >= 0)
    sites = strained(converted(whole, phase, seed=seed), profile)
    atoms = _atoms(sites.select(_inside(sites, box)), parameters, box)
    atoms.cell = np.diag([width, height, thickness])
    grid = SiteGrid(layer=b / 3, entrance=0.0, layers=layers, exit=(thickness + b, 0.0, 0.0))
    grid.keep(atoms)
    _describe(atoms, phase, plane, box, depth)
    return atoms


def _inside(sites: SurfaceSites, box: Floats) -> npt.NDArray[np.bool_]:
    xy = sites.positions[..., :2] + box / 2
    return np.asarray(((xy >= 0) & (xy < box)).all(axis=(1, 2)))


def _atoms(sites: SurfaceSites, parameters: ProjectedParameters, box: Floats) -> Atoms:
    columns, layers = sites.columns, sites.numbers.shape[1]
    positions = sites.positions.copy()
    positions[..., :2] += box / 2
    filled = np.flatnonzero(sites.numbers.ravel())
    atoms = Atoms(numbers=sites.numbers.ravel()[filled], positions=positions.reshape(-1, 3)[filled])
    labels = {"column_kind": "kind", "lattice_i": "i", "lattice_j": "j", "sign": "sign"}
    for name, attribute in labels.items():
        atoms.arrays[name] = np.repeat(getattr(columns, attribute), layers)[filled]
    atoms.info["projected_lattice"] = np.array([parameters.A, 0.0, parameters.Cx, parameters.Cy])
    rows = column_rows(columns.kind, columns.sign, columns.i, columns.j)
    cation = rows[:, 0] >= 0
    remember_places(atoms, rows[cation], positions[cation, :, :2].mean(axis=1))
    return atoms


def _describe(
    atoms: Atoms, phase: SurfacePhase, plane: SurfacePlane, box: Floats, depth: float
) -> None:
    edge = plane.distance + plane.normal @ box / 2
    atoms.info["surface_phase"] = phase.value
    atoms.info["surface_plane"] = np.array([*plane.normal, edge, depth])


def true_surface(atoms: Atoms) -> xr.Dataset:
    """Return what every cation column of a specimen with a surface layer holds, and its phase.

    Parameters
    ----------
    atoms : ase.Atoms
        From `surface_specimen`, whatever has been done to it since.

    Returns
    -------
    xarray.Dataset
        As from `true_composition` with the tetrahedral columns, and over ``column``: ``depth``
        (Å below the surface) and ``phase`` (value of `SurfacePhase`; the surface's down to the
        middle of the interface). Scalars of the surface layer: ``surface_depth`` (Å),
        ``tm_in_surface_alkali_layer`` and ``tetrahedral_occupancy``, the mean occupancies of its
        alkali layers' octahedral and tetrahedral sites; left out where it has no such column.

    Raises
    ------
    BadInputError
        If the specimen has no surface layer.
    """
    if "surface_plane" not in atoms.info:
        raise BadInputError(
            "the specimen has no surface layer; expected one made by surface_specimen"
        )
    nx, ny, edge, deepest = np.ravel(atoms.info["surface_plane"]).tolist()
    found = true_composition(atoms, tetrahedral=True)
    depth = edge - nx * found["x"].values - ny * found["y"].values
    names = np.array([SurfacePhase.LAYERED.value, str(atoms.info["surface_phase"])])
    surface = depth < deepest
    found["depth"] = ("column", depth, {"units": "Å", "long_name": "depth below the surface"})
    found["phase"] = ("column", names[surface.astype(int)])
    found["surface_depth"] = ((), deepest, {"units": "Å", "long_name": "middle of the interface"})
    metal, held = found["tm_fraction"].values, 1 - found["vacancy"].values
    for name, kind, share in (
        ("tm_in_surface_alkali_layer", "Li", metal),
        ("tetrahedral_occupancy", "T", held),
    ):
        here = surface & (found["species"].values == kind)
        if here.any():
            mean = np.average(share[here], weights=found["n_sites"].values[here])
            found[name] = ((), mean, {"units": "1"})
    return found
