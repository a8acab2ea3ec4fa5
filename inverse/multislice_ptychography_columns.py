"""Columns and named distances of thick specimens, by multislice ptychography."""

import numpy as np
import xarray as xr

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.column_fit import fit_columns
from echolith.inverse.column_naming import UndeterminedSpeciesError, name_columns
from echolith.inverse.columns import FindOptions, find_columns
from echolith.inverse.distances import Mode, measure_distances
from echolith.inverse.iterative_ptychography_options import PtychographyOptions
from echolith.inverse.multislice_ptychography import multislice_ptychography
from echolith.inverse.multislice_thickness import ThicknessSearch, find_thickness
from echolith.inverse.scan_transform import Streaming
from echolith.inverse.ssb import ssb

SYSTEMATIC_STD = 0.005
"""Å, standard deviation of a mean distance beyond the scatter of its pairs: what slices of pure
phase without thermal motion leave, alike in all pairs. Set on two specimens, 5 and 10 nm thick."""
LARGEST_MOVE = 0.4
"""Å; an M or O column that leaves its site farther in the fit is not the column it was named."""


class MultisliceColumnSolver(Settings):
    """Options of `recover_columns_multislice`."""

    ptychography: PtychographyOptions = PtychographyOptions(iterations=16)
    """The thickness is searched for unless given here."""
    search: ThicknessSearch = ThicknessSearch()
    find: FindOptions = FindOptions()
    mode: Mode = Mode.PLANE


def recover_columns_multislice(
    measurement: xr.Dataset,
    *,
    options: MultisliceColumnSolver | None = None,
    streaming: Streaming | None = None,
) -> xr.Dataset:
    """Recover thickness, phase, columns and named distances of thick Li-rich oxide.

    The columns' fit weighs spatial frequencies as the noise of a weak phase does (that of SSB) and
    takes the noise's size from its own residual. So ``x_std`` holds what the model of columns
    cannot explain too, and is the larger for it in thick specimens.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (scan_y, scan_x, detector_y, detector_x) and ``haadf``, with the acquisition in
        the metadata. The detector holds some of the dark field.
    options : MultisliceColumnSolver, optional
    streaming : Streaming, optional

    Returns
    -------
    xarray.Dataset
        As from `echolith.inverse.projected_columns.recover_columns`, with ``deviance`` and
        ``log_likelihood`` of the reconstruction and ``specimen_thickness`` (Å). Standard errors
        ``<name>_std`` and ``<name>_fit_std`` of distances hold `SYSTEMATIC_STD`. Where species
        cannot be told there are neither columns nor distances, and ``attrs["distances"]`` says
        why.

    Raises
    ------
    BadInputError
        If the measurement cannot be inverted, has no dark field, or shows no columns.
    """
    options = options or MultisliceColumnSolver()
    if "haadf" not in measurement:
        raise BadInputError(
            "the measurement has no haadf; species in thick specimens are held against the annular "
            "dark field; record it on the same scan, or use multislice_ptychography for the phase"
        )
    chosen = options.ptychography
    if "thickness" not in chosen.model_fields_set:
        thickness = find_thickness(
            measurement, search=options.search, options=chosen, streaming=streaming
        )
        chosen = chosen.model_copy(update={"thickness": thickness})
    found = multislice_ptychography(measurement, options=chosen, streaming=streaming)
    kept = found[["phase", "deviance", "log_likelihood"]].assign(
        specimen_thickness=((), chosen.thickness, {"units": "Å"})
    )
    try:
        columns = refined_columns(
            found["phase"], measurement, streaming=streaming, options=options.find
        )
    except UndeterminedSpeciesError as error:
        return kept.assign_attrs(distances=f"not measured: {error}")
    estimate = xr.merge([kept, columns], combine_attrs="drop_conflicts")
    try:
        distances = measure_distances(columns, mode=options.mode)
    except BadInputError as error:
        return estimate.assign_attrs(distances=f"not measured: {error}")
    return xr.merge(
        [estimate, with_systematic_error(distances)], combine_attrs="drop_conflicts"
    ).assign_attrs(distances="measured")


def with_systematic_error(
    distances: xr.Dataset, *, systematic: float = SYSTEMATIC_STD
) -> xr.Dataset:
    """Add an error common to all pairs (Å) to the standard errors of mean distances."""
    names = [f"{name}{suffix}" for name in LONG_NAMES for suffix in ("_std", "_fit_std")]
    return distances.assign(
        {
            name: distances[name].copy(data=np.hypot(distances[name].values, systematic))
            for name in names
            if name in distances
        }
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
        What it was made of, with ``haadf``: the noise's shape and the species are read from it.
    options : FindOptions, optional
    streaming : Streaming, optional

    Returns
    -------
    xarray.Dataset
        As from `echolith.inverse.column_fit.fit_columns`; ``attrs["noise"]`` is "residual" and
        ``attrs["noise_factor"]`` the residual's noise over that of a weak phase with this dose.

    Raises
    ------
    UndeterminedSpeciesError
        If lattice, dark field and fit do not agree on which column is which.
    """
    haadf = measurement["haadf"]
    found = name_columns(find_columns(phase, options=options), phase, haadf)
    weight = ssb(measurement, streaming=streaming)["weight"]
    reconstruction = xr.Dataset({"phase": phase})
    factor = 1.0
    # The priors of the fit keep their size only where the noise stated is the one there is.
    for _ in range(3):
        try:
            fitted = fit_columns(reconstruction.assign(weight=weight / factor), found)
        except BadInputError as error:
            raise UndeterminedSpeciesError(f"columns undetermined: {error}") from error
        excess = float(fitted.attrs["reduced_chi_squared"])
        if abs(excess - 1) < 0.1:
            break
        factor *= excess
    _check_moves(found, fitted)
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


def _check_moves(start: xr.Dataset, fitted: xr.Dataset) -> None:
    firm = ~fitted["edge"].values.astype(bool) & (fitted["species"].values != "Li")
    moved = np.hypot(fitted["x"].values - start["x"].values, fitted["y"].values - start["y"].values)
    farthest = float(moved[firm].max(initial=0))
    if farthest > LARGEST_MOVE:
        raise UndeterminedSpeciesError(
            f"species undetermined: the fit moved an M or O column by {farthest:.2g} Å; expected "
            f"{LARGEST_MOVE:g} Å at most; check thickness and focus"
        )
