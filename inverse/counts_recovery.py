"""The whole inversion of a 4D-STEM set by a fit to its raw counts: columns, named distances."""

import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.counts_fit import fit_columns_to_counts
from echolith.inverse.counts_options import CountsOptions
from echolith.inverse.distances import Mode, measure_distances


class CountsSolver(Settings):
    """Options of the solver that reads raw counts."""

    fit: CountsOptions = CountsOptions()
    mode: Mode = Mode.PLANE


def recover_columns_from_counts(
    measurement: xr.Dataset, *, options: CountsSolver | None = None
) -> xr.Dataset:
    """Recover columns from raw counts and, where the lattice is that of Li-rich oxide, distances.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (scan_y, scan_x, detector_y, detector_x) and, where recorded, ``haadf``, with
        the acquisition in its metadata.
    options : CountsSolver, optional

    Returns
    -------
    xarray.Dataset
        As from `echolith.inverse.counts_fit.fit_columns_to_counts`, and the eight distances with
        ``<name>_std`` and every single one over dim ``pair``. Without enough pairs the distances
        are left out and ``attrs["distances"]`` says why.

    Raises
    ------
    BadInputError
        If the measurement cannot be inverted, is partially coherent or shows no columns.
    """
    options = options or CountsSolver()
    columns = fit_columns_to_counts(measurement, options=options.fit)
    try:
        distances = measure_distances(columns, mode=options.mode)
    except BadInputError as error:
        return columns.assign_attrs(distances=f"not measured: {error}")
    return xr.merge([columns, distances], combine_attrs="drop_conflicts").assign_attrs(
        distances="measured"
    )
