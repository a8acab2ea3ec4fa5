"""Correction of aberrations after the acquisition: fitted ones replace those of the metadata."""

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.acquisition import Aberrations, acquisition_of
from echolith.inverse.aberration_basis import components, from_aberrations, to_aberrations
from echolith.inverse.aberration_fit import AberrationOptions, fit_aberrations
from echolith.inverse.scan_transform import Streaming

Solver = Callable[[xr.Dataset], xr.Dataset]
HIGHEST = 5


def correct_aberrations(
    measurement: xr.Dataset,
    fit: xr.Dataset | None = None,
    *,
    options: AberrationOptions | None = None,
    streaming: Streaming | None = None,
) -> xr.Dataset:
    """Return the measurement with fitted aberrations in its metadata, where SSB and WDD read them.

    What the fit does not determine keeps the value of the metadata. The counts are not touched.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `echolith.inverse.ssb.ssb`.
    fit : xarray.Dataset, optional
        From `fit_aberrations`, of this or of another measurement with the same probe; by default
        made here.
    options : AberrationOptions, optional
        Of the fit made here.
    streaming : Streaming, optional
        Memory and threads of the fit made here.

    Returns
    -------
    xarray.Dataset
        With the attribute ``acquisition`` changed.

    Raises
    ------
    BadInputError
        If the fit determines nothing, or is none.
    """
    if fit is None:
        fit = fit_aberrations(measurement, options=options, streaming=streaming)
    acquisition = acquisition_of(measurement)
    aberrations = fitted_aberrations(fit, known=acquisition.beam.aberrations)
    beam = acquisition.beam.model_copy(update={"aberrations": aberrations})
    corrected = acquisition.model_copy(update={"beam": beam})
    return measurement.assign_attrs(acquisition=corrected.model_dump_json())


def fitted_aberrations(fit: xr.Dataset, *, known: Aberrations | None = None) -> Aberrations:
    """Return the aberrations of a fit.

    Parameters
    ----------
    fit : xarray.Dataset
        From `fit_aberrations`.
    known : Aberrations, optional
        Where the fit does not determine them; zero by default.

    Raises
    ------
    BadInputError
        If the fit determines nothing, or is none.
    """
    values = from_aberrations(known or Aberrations(), HIGHEST)
    determined = 0
    for place, component in enumerate(components(HIGHEST)):
        if component.name in fit and np.isfinite(fit[component.name]):
            values[place] = float(fit[component.name])
            determined += 1
    if not determined:
        reasons = fit.attrs.get("reasons") or ["it has no coefficient C10, C12_a …"]
        raise BadInputError(
            f"the aberration fit determines nothing: {reasons[0]}; expected a dataset of "
            "fit_aberrations with a coefficient; use more dose, a larger field, or state the "
            "aberrations in the metadata"
        )
    return to_aberrations(values, HIGHEST)


def with_fitted_aberrations(
    solver: Solver,
    *,
    options: AberrationOptions | None = None,
    streaming: Streaming | None = None,
) -> Solver:
    """Return a solver that first determines the aberrations and corrects them.

    Where they are not determined it warns and keeps those of the metadata.

    Parameters
    ----------
    solver : callable
        ``(measurement) -> estimate`` that reads the aberrations of the metadata, such as
        `echolith.inverse.ssb.ssb`.
    options : AberrationOptions, optional
    streaming : Streaming, optional

    Examples
    --------
    >>> from echolith.inverse.ssb import ssb
    >>> corrected = with_fitted_aberrations(ssb, options=AberrationOptions(order=2))
    """
    return partial(_solve, solver=solver, options=options, streaming=streaming)


def _solve(
    measurement: xr.Dataset,
    *,
    solver: Solver,
    options: AberrationOptions | None,
    streaming: Streaming | None,
) -> xr.Dataset:
    fit = fit_aberrations(measurement, options=options, streaming=streaming)
    if fit.attrs["determined"]:
        return solver(correct_aberrations(measurement, fit))
    warnings.warn(
        f"the aberrations are not determined: {fit.attrs['reasons'][0]}; those of the metadata are "
        "used",
        BadInputWarning,
        stacklevel=2,
    )
    return solver(measurement)
