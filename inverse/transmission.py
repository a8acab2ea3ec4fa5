"""From transmitted photons to optical density and its uncertainty."""

import numpy as np
import xarray as xr

from echolith.errors import BadInputError


def optical_density(
    counts: xr.DataArray, incident: xr.DataArray | float, *, full_scale: float | None = None
) -> xr.Dataset:
    """Turn transmitted photons into optical density.

    OD = -ln((n + 1/2) / I0): half a count makes the logarithm of a Poisson count unbiased to
    second order, so that thick pixels of few photons are not read too thick or infinite.

    Parameters
    ----------
    counts : xarray.DataArray
        Transmitted photons, any dims; not rescaled, since their noise is taken from them.
    incident : xarray.DataArray or float
        Photons that would arrive without the specimen; any dims of ``counts``.
    full_scale : float, optional
        Photons at which the detector saturates.

    Returns
    -------
    xarray.Dataset
        ``optical_density`` and ``optical_density_std`` with the dims of ``counts``; the
        uncertainty is that of the transmitted photons, sqrt(1 / (n + 1/2)).

    Raises
    ------
    BadInputError
        If counts are negative, not finite or saturated, or ``incident`` is not positive.

    References
    ----------
    Haldane, Ann. Hum. Genet. 20, 309 (1956): ln(n + 1/2) as the estimate of a log rate.

    Examples
    --------
    >>> found = optical_density(xr.DataArray([400.0], dims="x"), 800.0)
    >>> round(float(found.optical_density[0]), 3)
    0.692
    """
    counts = counts.compute()
    _check_counts(counts, full_scale)
    source = xr.DataArray(incident).astype(np.float64).compute()
    if not bool(((source > 0) & np.isfinite(source)).all()):
        raise BadInputError(
            f"incident = {float(source.min()):g} photons; expected more than 0 everywhere; "
            "give the photons per pixel without the specimen"
        )
    filled = counts.astype(np.float64) + 0.5
    density = xr.apply_ufunc(lambda n, source: np.log(source / n), filled, source)
    std = filled**-0.5
    return xr.Dataset(
        {
            "optical_density": density.transpose(*counts.dims).assign_attrs(units="1"),
            "optical_density_std": std.assign_attrs(units="1"),
        }
    )


def _check_counts(counts: xr.DataArray, full_scale: float | None) -> None:
    values = counts.values
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise BadInputError(
            f"counts: {int(wrong.sum())} of {wrong.size} are not finite; expected photons; "
            "leave out dead pixels or fill them from their neighbours"
        )
    if (values < 0).any():
        raise BadInputError(
            f"counts = {values.min():g} photons; expected 0 or more; "
            "subtract no background before this"
        )
    if full_scale is not None and (values >= full_scale).any():
        share = float((values >= full_scale).mean())
        raise BadInputError(
            f"{share:.2%} of counts reach full_scale = {full_scale:g} photons; saturated pixels "
            "tell no optical density; use an attenuator or leave them out"
        )
