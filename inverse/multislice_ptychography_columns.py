"""Columns and named distances of thick specimens, by multislice ptychography."""

from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.column_fit import fit_columns
from echolith.inverse.column_naming import UndeterminedSpeciesError, name_columns
from echolith.inverse.columns import FindOptions, find_columns
from echolith.inverse.distances import Mode, measure_distances
from echolith.inverse.iterative_ptychography_options import PtychographyOptions
from echolith.inverse.multislice_ptychography import multislice_ptychography
from echolith.inverse.multislice_start import lattice_columns
from echolith.inverse.multislice_thickness import (
    ThicknessSearch,
    coarse_thickness,
    log_likelihoods_of_columns,
    refined_thickness,
)
from echolith.inverse.multislice_uncertainty import THICKNESS_STD, with_systematic_error
from echolith.inverse.scan_transform import Streaming
from echolith.inverse.ssb import ssb

LIKELIER = 20.0
"""Logarithm of the least ratio of likelihoods of the species named and of M and Li exchanged."""
LARGEST_MOVE = 0.4
"""Å; an M or O column that leaves its site farther in the fit is not the column it was named."""


class MultisliceColumnSolver(Settings):
    """Options of `recover_columns_multislice`."""

    ptychography: PtychographyOptions = PtychographyOptions(iterations=10)
    """The thickness is searched for unless given here."""
    iterations_from_vacuum: Annotated[int, Field(ge=1)] = 6
    """Of the first reconstruction, which shows the lattice."""
    search: ThicknessSearch = ThicknessSearch()
    find: FindOptions = FindOptions()
    mode: Mode = Mode.PLANE

    @property
    def thickness_given(self) -> bool:
        """Whether the thickness is not searched for."""
        return "thickness" in self.ptychography.model_fields_set


def recover_columns_multislice(
    measurement: xr.Dataset,
    *,
    options: MultisliceColumnSolver | None = None,
    streaming: Streaming | None = None,
) -> xr.Dataset:
    """Recover thickness, phase, columns and named distances of thick Li-rich oxide.

    Twice: a reconstruction from vacuum shows the lattice; a second one starts from columns of atoms
    at all its sites (`echolith.inverse.multislice_start`), without which M columns of thick
    specimens stay in the wrong place. Before it, the thickness is looked for again with these
    columns, and the counts must be likelier with them than with M and Li exchanged.

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
        ``log_likelihood`` of the reconstruction and ``specimen_thickness`` (Å), with
        ``specimen_thickness_std`` where it was searched for. Standard errors ``<name>_std`` and
        ``<name>_fit_std`` of distances hold `systematic_std`. Where species cannot be told there
        are neither columns nor distances, and ``attrs["distances"]`` says why.

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
    found = _from_vacuum(measurement, options, streaming)
    try:
        found = _from_columns(measurement, found, options, streaming)
        columns = refined_columns(
            found["phase"], measurement, streaming=streaming, options=options.find
        )
    except UndeterminedSpeciesError as error:
        return found.assign_attrs(distances=f"not measured: {error}")
    estimate = xr.merge([found, columns], combine_attrs="drop_conflicts")
    try:
        distances = measure_distances(columns, mode=options.mode)
    except BadInputError as error:
        return estimate.assign_attrs(distances=f"not measured: {error}")
    thickness = float(found["specimen_thickness"])
    return xr.merge(
        [estimate, with_systematic_error(distances, thickness=thickness)],
        combine_attrs="drop_conflicts",
    ).assign_attrs(distances="measured")


def _from_vacuum(
    measurement: xr.Dataset, options: MultisliceColumnSolver, streaming: Streaming | None
) -> xr.Dataset:
    """Reconstruct without any start: what shows the lattice."""
    chosen = options.ptychography
    thickness = chosen.thickness
    if not options.thickness_given:
        thickness = coarse_thickness(
            measurement, search=options.search, options=chosen, streaming=streaming
        )
    return _reconstructed(
        measurement, options, thickness, options.iterations_from_vacuum, None, streaming
    )


def _from_columns(
    measurement: xr.Dataset,
    blind: xr.Dataset,
    options: MultisliceColumnSolver,
    streaming: Streaming | None,
) -> xr.Dataset:
    """Reconstruct again from columns at the lattice's sites."""
    found = find_columns(blind["phase"], options=options.find)
    name_columns(found, blind["phase"], measurement["haadf"])
    columns = lattice_columns(found, blind["phase"])
    chosen, thickness = options.ptychography, float(blind["specimen_thickness"])
    if not thickness:
        # One thin slice holds no known number of atoms; nor does it need a start.
        return _reconstructed(measurement, options, 0.0, chosen.iterations, None, streaming)
    if not options.thickness_given:
        thickness = refined_thickness(
            measurement,
            columns,
            near=thickness,
            search=options.search,
            options=chosen,
            streaming=streaming,
        )
    _check_exchanged(measurement, columns, thickness, options, streaming)
    return _reconstructed(measurement, options, thickness, chosen.iterations, columns, streaming)


def _check_exchanged(
    measurement: xr.Dataset,
    columns: xr.Dataset,
    thickness: float,
    options: MultisliceColumnSolver,
    streaming: Streaming | None,
) -> None:
    """Refuse where the counts would rather have M and Li the other way round."""
    species = columns["species"].values
    exchanged = np.select([species == "M", species == "Li"], ["Li", "M"], species)
    named, other = (
        log_likelihoods_of_columns(
            measurement,
            chosen,
            [thickness],
            search=options.search,
            options=options.ptychography,
            streaming=streaming,
        )[thickness]
        for chosen in (columns, columns.assign(species=("column", exchanged)))
    )
    if named < other + LIKELIER:
        raise UndeterminedSpeciesError(
            f"species undetermined: with M and Li columns exchanged the counts are exp("
            f"{other - named:.4g}) times as likely; expected exp(-{LIKELIER:g}) at most; record a "
            "higher dose, and check thickness and focus"
        )


def _reconstructed(
    measurement: xr.Dataset,
    options: MultisliceColumnSolver,
    thickness: float,
    iterations: int,
    start: xr.Dataset | None,
    streaming: Streaming | None,
) -> xr.Dataset:
    chosen = options.ptychography.model_copy(
        update={"thickness": thickness, "iterations": iterations}
    )
    found = multislice_ptychography(measurement, options=chosen, start=start, streaming=streaming)
    kept = found[["phase", "deviance", "log_likelihood"]].assign(
        specimen_thickness=((), thickness, {"units": "Å"})
    )
    if options.thickness_given:
        return kept
    return kept.assign(specimen_thickness_std=((), THICKNESS_STD, {"units": "Å"}))


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
