"""Where a fit of columns to counts starts: blind columns of a phase image, and their surroundings.

Columns outside the scanned field scatter into it. Those of a lattice are continued over the border
from the columns found inside; elsewhere the start must bring them.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from echolith.errors import BadInputError
from echolith.forward.acquisition import Scan
from echolith.forward.optics import interaction_constant
from echolith.inverse.column_fit import fit_columns
from echolith.inverse.columns import find_columns
from echolith.inverse.counts_columns import VOLT_ANGSTROM_SQUARED, Content
from echolith.inverse.projected_lattice import ProjectedLattice, find_lattice, sublattices
from echolith.inverse.wdd import wdd

Array = npt.NDArray[np.float64]

EPSILON = 0.1
"""Regularisation of the deconvolution, as in `echolith.inverse.projected_columns`."""
APART = 0.6
"""Å; a continued column this near to a found one is the same."""


def phase_start(measurement: xr.Dataset, *, energy: float, content: Content) -> xr.Dataset:
    """Return columns found blindly on the phase image, with strengths in atoms."""
    reconstruction = wdd(measurement, epsilon=EPSILON)
    found = find_columns(reconstruction["phase"], haadf=measurement.get("haadf"))
    columns = fit_columns(reconstruction, found)
    atom = interaction_constant(energy) * VOLT_ANGSTROM_SQUARED
    strength = _atoms(columns["amplitude"].values / atom, columns["species"].values, content)
    return columns[["x", "y", "species", "edge"]].assign(strength=("column", strength))


def _atoms(amplitude: Array, species: npt.NDArray[np.str_], content: Content) -> Array:
    """Turn amplitudes on the phase image into atoms of each species.

    The image is weak where scattering is strong, so that only ratios within a species are taken
    from it; the median column holds the nominal share.
    """
    sites = site_count(amplitude, species)
    atoms = np.empty(len(amplitude))
    for name in set(species.tolist()):
        mine = species == name
        nominal = sites * content.share.get(name, 1.0)
        atoms[mine] = nominal * amplitude[mine] / np.median(amplitude[mine])
    return atoms


def site_count(strength: Array, species: npt.NDArray[np.str_]) -> float:
    """Return the atoms of a full column: the median of oxygen, whose columns are full."""
    chosen = species == "O"
    return float(np.median(strength[chosen] if chosen.any() else strength))


def with_surroundings(columns: xr.Dataset, scan: Scan, *, width: float) -> xr.Dataset:
    """Add the columns that the lattice supposes where none was found: around the field above all.

    Those found near the border are replaced, since a phase image is contaminated there. A column
    supposed inside the field may be absent; its fitted strength tells.

    Parameters
    ----------
    columns : xarray.Dataset
        ``x``, ``y``, ``species``, ``strength`` and ``edge``, scan frame.
    scan : Scan
    width : float
        Å beyond the border of the scan.

    Returns
    -------
    xarray.Dataset
        ``x``, ``y``, ``species``, ``strength``: the columns inside as found, then the
        ``supposed`` ones with the median strength of their species.

    Raises
    ------
    BadInputError
        If the columns inside form no lattice of Li-rich oxide.
    """
    inner = columns.isel(column=~columns["edge"].values.astype(bool))
    try:
        lattice = find_lattice(columns)
    except BadInputError as error:
        raise BadInputError(
            f"the columns outside the scanned field cannot be continued from those inside: "
            f"{error}; give them with start=, up to {width:g} Å beyond the border"
        ) from error
    xy, species = _lattice_columns(_centred(inner, lattice), scan, width)
    known = np.stack([inner["x"].values, inner["y"].values], axis=-1)
    medians = _medians(inner)
    new = (cKDTree(known).query(xy)[0] > APART) & np.isin(species, list(medians))
    continued = [medians[str(name)] for name in species[new]]
    names = np.concatenate([inner["species"].values.astype("<U2"), species[new]])
    return xr.Dataset(
        {
            "x": ("column", np.concatenate([known[:, 0], xy[new, 0]])),
            "y": ("column", np.concatenate([known[:, 1], xy[new, 1]])),
            "species": ("column", names),
            "strength": ("column", np.concatenate([inner["strength"].values, continued])),
            "supposed": ("column", np.arange(len(names)) >= len(known)),
        }
    )


def _medians(columns: xr.Dataset) -> dict[str, float]:
    """Return the median strength of each species."""
    species, strength = columns["species"].values, columns["strength"].values
    return {str(name): float(np.median(strength[species == name])) for name in set(species)}


def _centred(inner: xr.Dataset, lattice: ProjectedLattice) -> dict[str, tuple[Array, Array]]:
    """Return for each sublattice its mean origin, with the lattice's two vectors."""
    names = sublattices(inner, lattice)
    xy = np.stack([inner["x"].values, inner["y"].values], axis=-1)
    basis = np.stack([lattice.a, lattice.c])
    offsets = {
        "M": np.zeros(2),
        "Li": lattice.c / 2,
        "O+": lattice.o,
        "O-": -lattice.o,
    }
    result = {}
    for name, offset in offsets.items():
        mine = xy[names == name]
        expected = lattice.origin + offset
        if len(mine):
            steps = np.rint((mine - expected) @ np.linalg.inv(basis))
            expected = expected + np.median(mine - expected - steps @ basis, axis=0)
        result[name] = (expected, basis)
    return result


def _lattice_columns(
    origins: dict[str, tuple[Array, Array]], scan: Scan, width: float
) -> tuple[Array, npt.NDArray[np.str_]]:
    """Return every lattice column in the scan and up to a width around it."""
    high = np.array([scan.extent[1], scan.extent[0]]) + width
    corners = np.array([[a, b] for a in (-width, high[0]) for b in (-width, high[1])])
    xy, species = [], []
    for name, (origin, basis) in origins.items():
        reach = (corners - origin) @ np.linalg.inv(basis)
        ranges = [
            np.arange(np.floor(low) - 1, np.ceil(top) + 2)
            for low, top in zip(reach.min(axis=0), reach.max(axis=0), strict=True)
        ]
        steps = np.stack(np.meshgrid(*ranges), axis=-1).reshape(-1, 2)
        places = origin + steps @ basis
        kept = ((places >= -width) & (places <= high)).all(axis=1)
        xy.append(places[kept])
        species.append(np.full(int(kept.sum()), name[:1] if name[0] == "O" else name))
    return np.concatenate(xy), np.concatenate(species).astype("<U2")


def check_start(columns: xr.Dataset, content: Content) -> None:
    """Refuse a start that cannot be fitted.

    Raises
    ------
    BadInputError
        If a variable is missing, a number is not finite or a species has no scattering factor.
    """
    missing = [name for name in ("x", "y", "species", "strength") if name not in columns]
    if missing or not columns.sizes.get("column", 0):
        raise BadInputError(
            f"no columns to start from (missing: {', '.join(missing) or 'every column'}); give x "
            "and y in Å, species, and strength in atoms over dim 'column'"
        )
    for name in ("x", "y", "strength"):
        bad = int((~np.isfinite(columns[name].values)).sum())
        if bad:
            raise BadInputError(
                f"{bad} of {columns.sizes['column']} values of {name} are not finite"
            )
    for name in sorted({str(name) for name in columns["species"].values}):
        content.factors(name, np.zeros(1))
