"""What every cation column of a labelled specimen holds: transition metals, lithium, vacancies."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from ase import Atoms

from echolith.structures.cation_sites import LITHIUM, TRANSITION_METALS, cation_sites, column_rows
from echolith.structures.column_stack import B, Floats


def true_composition(atoms: Atoms, *, b: float = B, tetrahedral: bool = False) -> xr.Dataset:
    """Return what every cation column holds.

    Parameters
    ----------
    atoms : ase.Atoms
        Labelled specimen.
    b : float
        Edge b, Å, where the specimen does not say.
    tetrahedral : bool
        Also the tetrahedral columns of the alkali layer, the empty ones too.

    Returns
    -------
    xarray.Dataset
        Over ``column``: ``x``, ``y`` (Å, mean of the column's sites), ``species`` ("M", "Li",
        "T"), ``lattice_i``, ``lattice_j``, ``sign``, ``n_sites``, and the fractions of sites
        ``tm_fraction``, ``li_fraction``, ``vacancy``, whose sum is 1. Scalars
        ``tm_in_alkali_layer`` and ``tm_in_metal_layer``: mean occupancy of the octahedral sites.

    Raises
    ------
    BadInputError
        If the atoms do not name their columns.
    """
    sites = cation_sites(atoms, b=b, tetrahedral=tetrahedral)
    names = column_rows(sites.kind, sites.sign, sites.i, sites.j)
    _, first, group = np.unique(names, axis=0, return_index=True, return_inverse=True)
    group, count = np.asarray(group).reshape(-1), np.bincount(np.asarray(group).reshape(-1))
    number = sites.numbers(atoms)

    def mean(values: npt.NDArray[np.generic]) -> Floats:
        return np.asarray(np.bincount(group, weights=values) / count)

    metal = np.isin(number, TRANSITION_METALS)
    found = xr.Dataset(
        {
            "x": ("column", mean(sites.positions[:, 0]), {"units": "Å"}),
            "y": ("column", mean(sites.positions[:, 1]), {"units": "Å"}),
            "species": ("column", sites.kind[first]),
            "lattice_i": ("column", sites.i[first], {"units": "1"}),
            "lattice_j": ("column", sites.j[first], {"units": "1"}),
            "sign": ("column", sites.sign[first], {"units": "1"}),
            "n_sites": ("column", count, {"units": "1"}),
            "tm_fraction": ("column", mean(metal), {"units": "1"}),
            "li_fraction": ("column", mean(number == LITHIUM), {"units": "1"}),
            "vacancy": ("column", mean(number == 0), {"units": "1"}),
        }
    )
    for name, kind in (("tm_in_alkali_layer", "Li"), ("tm_in_metal_layer", "M")):
        here = sites.kind == kind
        if here.any():
            found[name] = ((), metal[here].mean(), {"units": "1", "long_name": f"TM on {kind}"})
    return found
