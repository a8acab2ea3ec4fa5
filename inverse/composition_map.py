"""From one view at many energies to the composition of every pixel and the state of charge."""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.ndimage import binary_dilation

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.spectrum_fit import SpectrumFit, fit_spectra, smooth_background
from echolith.inverse.transmission import optical_density

Array = npt.NDArray[np.float64]
SURE = 5.0
"""Standard deviations of the path that no empty pixel reaches by noise."""
RIM = 2
"""Pixels about sure ones that count for the state of charge."""


class CompositionMap(Settings):
    """How a map of the composition is recovered."""

    background_degree: Annotated[int, Field(ge=-1, le=3)] = 1
    """Degree of the polynomial under every spectrum; -1 for none."""
    significance: Annotated[float, Field(ge=3)] = 10.0
    """Standard deviations of the path through both phases, from which a pixel is phosphate."""
    passes: Annotated[int, Field(ge=1, le=10)] = 2
    """Fits weighted by the counts that the one before predicts."""


def recover_composition_map(
    measurement: xr.Dataset, *, response: xr.DataArray, options: CompositionMap | None = None
) -> xr.Dataset:
    """Fit the spectrum of every pixel by two phases and a smooth background.

    OD(E) = sum_s mu_s(E) L_s + sum_j b_j P_j(E), first unweighted (`fit_spectra`, for the R
    factor), then weighted by the predicted counts, the inverse variances of OD. Paths may be below
    zero: cut off there, their mean over empty pixels would not be zero, nor the state of charge.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (energy, y, x) and ``incident``, as from
        `echolith.forward.optical_density.spectral_stack`.
    response : xarray.DataArray
        Absorption of the pure phases, (species, energy), 1/Å: LiFePO4, then FePO4.
    options : CompositionMap, optional

    Returns
    -------
    xarray.Dataset
        ``path`` (species, y, x), Å; ``composition`` (fraction of FePO4; NaN where there is no
        phosphate); ``state_of_charge``, that of all pixels with and about phosphate, by path; each
        with ``_std`` from counting. ``correlation`` of the two paths; ``r_factor``.

    Raises
    ------
    BadInputError
        If counts cannot be used, energies are too few or the phases cannot be told apart.

    References
    ----------
    Yu et al., Nat. Commun. 9, 921 (2018): maps of R factor, composition and state of charge.
    """
    options = options or CompositionMap()
    if response.sizes.get("species") != 2:
        raise BadInputError(
            f"{response.sizes.get('species', 0)} species; expected two, LiFePO4 then FePO4"
        )
    counts = measurement["counts"].transpose("energy", "y", "x")
    density = optical_density(counts, measurement["incident"])["optical_density"]
    free = SpectrumFit(non_negative=False, background_degree=options.background_degree)
    first = fit_spectra(density, response, options=free)
    incident = np.broadcast_to(measurement["incident"].values, (len(counts["energy"]),))
    paths, covariance = _weighted(density, first, response, incident, options)
    return _maps(paths, covariance, first, counts, options)


def _weighted(
    density: xr.DataArray,
    first: xr.Dataset,
    response: xr.DataArray,
    incident: Array,
    options: CompositionMap,
) -> tuple[Array, Array]:
    """Return paths (2, pixels) and their covariance (pixels, 2, 2)."""
    energy = density["energy"].values.astype(np.float64)
    known = response.sortby("energy").interp(energy=energy).transpose("energy", "species").values
    size = known.mean()
    design = np.column_stack([known / size, smooth_background(energy, options.background_degree)])
    data = density.values.reshape(len(energy), -1)
    fit = first["fit"].transpose("energy", "y", "x").values.reshape(data.shape)
    for _ in range(options.passes):
        weight = incident[:, None] * np.exp(-fit)
        normal = np.einsum("ei,ep,ej->pij", design, weight, design, optimize=True)
        inverse = np.linalg.inv(normal)
        found = np.einsum("pij,ej,ep->ip", inverse, design, weight * data, optimize=True)
        fit = design @ found
    return found[:2] / size, inverse[:, :2, :2] / size**2


def _maps(
    paths: Array,
    covariance: Array,
    first: xr.Dataset,
    counts: xr.DataArray,
    options: CompositionMap,
) -> xr.Dataset:
    shape = counts.shape[1:]
    total, spread = paths.sum(axis=0), np.sqrt(covariance.sum(axis=(1, 2)))
    inside = total > options.significance * spread
    share = np.divide(paths[1], total, out=np.full(total.shape, np.nan), where=inside)
    slope = np.stack([-share, 1 - share], axis=1) / np.where(inside, total, 1)[:, None]
    error = np.sqrt(np.einsum("pi,pij,pj->p", slope, covariance, slope))
    std = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).T
    correlation = covariance[:, 0, 1] / (std[0] * std[1])
    maps = {
        "path": (("species", "y", "x"), paths.reshape(2, *shape), "Å"),
        "path_std": (("species", "y", "x"), std.reshape(2, *shape), "Å"),
        "composition": (("y", "x"), share.reshape(shape), "1"),
        "composition_std": (("y", "x"), np.where(inside, error, np.inf).reshape(shape), "1"),
        "correlation": (("y", "x"), correlation.reshape(shape), "1"),
        "r_factor": (("y", "x"), first["r_factor"].values, "1"),
        **_whole(paths, covariance, neighbourhood(total > SURE * spread, shape)),
    }
    return xr.Dataset(
        {name: (dims, values, {"units": unit}) for name, (dims, values, unit) in maps.items()},
        coords={
            "species": first["species"].values,
            **{dim: counts[dim] for dim in ("y", "x") if dim in counts.coords},
        },
    )


def neighbourhood(sure: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return pixels of phosphate and those about them, so that no thin rim is left out.

    Thin rims react first: a state of charge without them is too low. A pixel must not be chosen by
    its own noise, so all within `RIM` pixels of a sure one are taken.
    """
    return np.asarray(binary_dilation(sure.reshape(shape), iterations=RIM).ravel())


def _whole(
    paths: Array, covariance: Array, inside: npt.NDArray[np.bool_]
) -> dict[str, tuple[tuple[str, ...], Array, str]]:
    """Return the state of charge of all pixels together; nothing where there is no phosphate."""
    if not inside.any():
        return {}
    paths, covariance = paths[:, inside], covariance[inside]
    sums = paths.sum(axis=1)
    charge = sums[1] / sums.sum()
    slope = np.array([-charge, 1 - charge]) / sums.sum()
    std = np.sqrt(slope @ covariance.sum(axis=0) @ slope)
    return {
        "state_of_charge": ((), np.asarray(charge), "1"),
        "state_of_charge_std": ((), np.asarray(std), "1"),
    }
