"""Linear combination of reference spectra: how much of each species a spectrum holds."""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.optimize import nnls

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings

Array = npt.NDArray[np.float64]


class SpectrumFit(Settings):
    """How spectra are fitted."""

    non_negative: bool = True
    """Weights of species are not below zero."""
    background_degree: Annotated[int, Field(ge=-1, le=3)] = 1
    """Degree of the polynomial under every spectrum; -1 for none."""


def fit_spectra(
    spectra: xr.DataArray,
    references: xr.DataArray,
    *,
    options: SpectrumFit | None = None,
) -> xr.Dataset:
    """Fit spectra by a sum of reference spectra and a smooth background.

    y(E) = sum_k w_k r_k(E) + sum_j b_j P_j(E), by least squares. The R factor is
    sum (y - fit)² / sum (y - background)²: without the background, that a thick substrate
    does not make every fit look good.

    Parameters
    ----------
    spectra : xarray.DataArray
        Dim ``energy`` (coordinate in eV) and any others, e.g. the pixels of a map.
    references : xarray.DataArray
        Dims (species, energy); interpolated linearly to the energies of the spectra.
    options : SpectrumFit, optional

    Returns
    -------
    xarray.Dataset
        ``weight`` and ``weight_std`` (species, ...); ``fraction`` and ``fraction_std``, weights
        over their sum (NaN where the sum is not positive); ``r_factor``; ``fit`` (energy, ...);
        ``correlation`` (species, species_) of the weights. Uncertainties come from the scatter
        of the residual; at the bound of zero they are those of the free fit.

    Raises
    ------
    BadInputError
        If energies do not overlap, are too few, or references cannot be told apart.

    References
    ----------
    Ravel & Newville, J. Synchrotron Rad. 12, 537 (2005): linear combination and its R factor.
    """
    options = options or SpectrumFit()
    known = _at_energies(references, spectra)
    energy = spectra["energy"].values.astype(np.float64)
    background = smooth_background(energy, options.background_degree)
    design = np.concatenate([known.values.T, background], axis=1)
    _check(design, known)
    others = [dim for dim in spectra.dims if dim != "energy"]
    data = spectra.transpose("energy", *others).values.astype(np.float64)
    flat = data.reshape(len(energy), -1)
    weights = _solve(design, flat, len(known["species"]), options.non_negative)
    return _results(design, flat, weights, known, spectra, others)


def r_factor(data: Array, fit: Array, background: Array | float = 0.0) -> Array:
    """Return sum (data - fit)² / sum (data - background)² over the first axis."""
    whole = ((data - background) ** 2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(((data - fit) ** 2).sum(axis=0) / whole)


def _at_energies(references: xr.DataArray, spectra: xr.DataArray) -> xr.DataArray:
    for name, array in (("spectra", spectra), ("references", references)):
        if "energy" not in array.dims or "energy" not in array.coords:
            raise BadInputError(
                f"{name} have dims {array.dims}; expected a dim energy with its values in eV"
            )
        if not np.isfinite(array.values).all():
            raise BadInputError(f"{name} hold values that are not finite; leave those energies out")
    if references.dims != ("species", "energy"):
        raise BadInputError(f"references have dims {references.dims}; expected (species, energy)")
    low, high = float(references["energy"].min()), float(references["energy"].max())
    wanted = spectra["energy"]
    if float(wanted.min()) < low or float(wanted.max()) > high:
        raise BadInputError(
            f"spectra reach from {float(wanted.min()):g} to {float(wanted.max()):g} eV, references "
            f"from {low:g} to {high:g} eV; cut the spectra to the references' range"
        )
    return references.sortby("energy").interp(energy=wanted)


def smooth_background(energy: Array, degree: int) -> Array:
    """Return Legendre polynomials over the range of energies, (energy, degree + 1)."""
    if degree < 0:
        return np.empty((len(energy), 0))
    middle, half = (energy.max() + energy.min()) / 2, np.ptp(energy) / 2 or 1.0
    return np.asarray(np.polynomial.legendre.legvander((energy - middle) / half, degree))


def _check(design: Array, known: xr.DataArray) -> None:
    energies, unknowns = design.shape
    if energies <= unknowns:
        raise BadInputError(
            f"{energies} energies for {unknowns} unknowns; expected more energies than species and "
            "background terms; measure more energies or fit fewer"
        )
    scaled = design / np.linalg.norm(design, axis=0)
    if not np.isfinite(scaled).all() or np.linalg.cond(scaled) > 1e6:
        names = ", ".join(str(name) for name in known["species"].values)
        raise BadInputError(f"the spectra of {names} and the background cannot be told apart here")


def _solve(design: Array, data: Array, species: int, non_negative: bool) -> Array:
    if not non_negative:
        return np.asarray(np.linalg.lstsq(design, data, rcond=None)[0], dtype=np.float64)
    # A free background is projected out; what is left is a plain non-negative problem.
    basis, _ = np.linalg.qr(design[:, species:])
    spectra = design[:, :species] - basis @ (basis.T @ design[:, :species])
    left = data - basis @ (basis.T @ data)
    weights = np.stack([nnls(spectra, column)[0] for column in left.T], axis=1)
    rest = data - design[:, :species] @ weights
    free = np.linalg.lstsq(design[:, species:], rest, rcond=None)[0]
    return np.concatenate([weights, free])


def _results(
    design: Array,
    data: Array,
    weights: Array,
    known: xr.DataArray,
    spectra: xr.DataArray,
    others: list[object],
) -> xr.Dataset:
    species = len(known["species"])
    fit = design @ weights
    variance = ((data - fit) ** 2).sum(axis=0) / (len(data) - design.shape[1])
    inverse = np.linalg.inv(design.T @ design)[:species, :species]
    amount = weights[:species]
    total = amount.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = np.where(total > np.finfo(np.float64).eps, total, np.nan)
        fraction = amount / total
        gradient = (np.eye(species)[:, :, None] - fraction[:, None]) / total
        spread = np.sqrt(np.einsum("kin,ij,kjn->kn", gradient, inverse, gradient) * variance)
    shape = tuple(spectra.sizes[dim] for dim in others)
    dims = tuple(others)

    def over(
        values: Array, first: str | None, unit: str = "1"
    ) -> tuple[object, Array, dict[str, str]]:
        lead = () if first is None else (first,)
        return (*lead, *dims), values.reshape((*values.shape[: len(lead)], *shape)), {"units": unit}

    background = design[:, species:] @ weights[species:]
    coordinates = {name: spectra[name] for name in others if name in spectra.coords}
    std = np.sqrt(np.diag(inverse))
    return xr.Dataset(
        {
            "weight": over(amount, "species"),
            "weight_std": over(std[:, None] * np.sqrt(variance), "species"),
            "fraction": over(fraction, "species"),
            "fraction_std": over(spread, "species"),
            "r_factor": over(r_factor(data, fit, background), None),
            "fit": over(fit, "energy"),
            "correlation": (("species", "species_"), inverse / np.outer(std, std), {"units": "1"}),
        },
        coords={
            "species": known["species"].values,
            "species_": known["species"].values,
            "energy": spectra["energy"],
            **coordinates,
        },
    )
