"""Columns and named distances of thick specimens, by multislice ptychography."""

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.column_fit import fit_columns
from echolith.inverse.column_maxima import sample
from echolith.inverse.column_species import assign_species
from echolith.inverse.columns import FindOptions, find_columns
from echolith.inverse.distances import Mode, measure_distances
from echolith.inverse.iterative_ptychography_options import PtychographyOptions
from echolith.inverse.multislice_ptychography import multislice_ptychography
from echolith.inverse.scan_transform import Streaming
from echolith.inverse.ssb import ssb
from echolith.inverse.whitening import scan_step

DARK_FIELD_BLUR = 0.35
"""Å, standard deviation: about a column's width in the dark field."""


class MultisliceColumnSolver(Settings):
    """Options of `recover_columns_multislice`."""

    ptychography: PtychographyOptions = PtychographyOptions()
    find: FindOptions = FindOptions()
    mode: Mode = Mode.PLANE


def recover_columns_multislice(
    measurement: xr.Dataset,
    *,
    options: MultisliceColumnSolver | None = None,
    streaming: Streaming | None = None,
) -> xr.Dataset:
    """Recover phase, columns and, where the lattice is that of Li-rich oxide, named distances.

    The columns' fit weighs spatial frequencies as the noise of a weak phase does (that of SSB) and
    takes the noise's size from its own residual. So ``x_std`` holds what the model of columns
    cannot explain too, and is the larger for it in thick specimens.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (scan_y, scan_x, detector_y, detector_x) with the acquisition in its metadata.
        With ``haadf`` the species are those of the dark field: in a thick specimen the heaviest
        columns need not be the brightest of the phase.
    options : MultisliceColumnSolver, optional
    streaming : Streaming, optional

    Returns
    -------
    xarray.Dataset
        As from `echolith.inverse.projected_columns.recover_columns`, with ``deviance`` and
        ``log_likelihood`` of the reconstruction.

    Raises
    ------
    BadInputError
        If the measurement cannot be inverted or shows no columns.
    """
    options = options or MultisliceColumnSolver()
    found = multislice_ptychography(measurement, options=options.ptychography, streaming=streaming)
    columns = refined_columns(
        found["phase"], measurement, streaming=streaming, options=options.find
    )
    kept = found[["phase", "deviance", "log_likelihood"]]
    estimate = xr.merge([kept, columns], combine_attrs="drop_conflicts")
    try:
        distances = measure_distances(columns, mode=options.mode)
    except BadInputError as error:
        return estimate.assign_attrs(distances=f"not measured: {error}")
    return xr.merge([estimate, distances], combine_attrs="drop_conflicts").assign_attrs(
        distances="measured"
    )


def refined_columns(
    phase: xr.DataArray,
    measurement: xr.Dataset,
    *,
    options: FindOptions | None = None,
    streaming: Streaming | None = None,
) -> xr.Dataset:
    """Find and fit the columns of a phase image that states no noise of its own.

    Parameters
    ----------
    phase : xarray.DataArray
        (scan_y, scan_x), rad.
    measurement : xarray.Dataset
        What it was made of: the noise's shape and, where recorded, the dark field are read from it.
    options : FindOptions, optional
    streaming : Streaming, optional

    Returns
    -------
    xarray.Dataset
        As from `echolith.inverse.column_fit.fit_columns`; ``attrs["noise"]`` is "residual" and
        ``attrs["noise_factor"]`` the residual's noise over that of a weak phase with this dose.
    """
    haadf = measurement.get("haadf")
    found = find_columns(phase, haadf=haadf, options=options)
    if haadf is not None:
        found = found.assign(species=("column", _dark_species(found, haadf, phase)))
    weight = ssb(measurement, streaming=streaming)["weight"]
    reconstruction = xr.Dataset({"phase": phase})
    factor = 1.0
    # The priors of the fit keep their size only where the noise stated is the one there is.
    for _ in range(3):
        fitted = fit_columns(reconstruction.assign(weight=weight / factor), found)
        excess = float(fitted.attrs["reduced_chi_squared"])
        if abs(excess - 1) < 0.1:
            break
        factor *= excess
    root = np.sqrt(excess)
    return fitted.assign(
        {
            name: (fitted[name].dims, fitted[name].values * size, fitted[name].attrs)
            for name, size in (
                ("x_std", root),
                ("y_std", root),
                ("amplitude_std", root),
                ("xy_covariance", excess),
            )
        }
    ).assign_attrs(noise="residual", noise_factor=float(np.sqrt(factor)))


def _dark_species(
    found: xr.Dataset, haadf: xr.DataArray, phase: xr.DataArray
) -> "np.ndarray[tuple[int], np.dtype[np.str_]]":
    """Name species by the dark field alone."""
    image = haadf.transpose("scan_y", "scan_x")
    image = image.assign_coords(scan_y=phase["scan_y"], scan_x=phase["scan_x"])
    blurred = gaussian_filter(
        np.asarray(image.values, dtype=float), [DARK_FIELD_BLUR / step for step in scan_step(image)]
    )
    above = blurred - np.quantile(blurred, 0.05)
    brightness = sample(above, found["x"].values, found["y"].values, image)
    floor = max(0.01 * float(np.quantile(brightness, 0.95)), 1e-12)
    return assign_species(np.maximum(brightness, floor), None, sure=~found["edge"].values)
