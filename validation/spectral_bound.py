"""What a spectral stack tells about paths through two phases: Fisher information in closed form.

Counts n of mean I exp(-sum of mu_s L_s - background): F = D' diag(mean) D for each pixel, D the
spectra of the phases and of the background; nothing ties one pixel to another.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.inverse.composition_map import SURE, neighbourhood
from echolith.inverse.spectrum_fit import smooth_background
from echolith.validation.information import Information

Array = npt.NDArray[np.float64]


def spectral_information(
    mean: xr.DataArray,
    path: xr.DataArray,
    *,
    response: xr.DataArray,
    background_degree: int,
    significance: float,
) -> Information:
    """Return the information about the state of charge and the composition of single pixels.

    Parameters
    ----------
    mean : xarray.DataArray
        Expected counts (energy, y, x).
    path : xarray.DataArray
        True paths (species, y, x), Å: LiFePO4, then FePO4.
    response : xarray.DataArray
        (species, energy), 1/Å.
    background_degree : int
        Of the unknown polynomial under every spectrum; -1 for none.
    significance : float
        Pixels are asked for where the path through both phases is so many of its standard
        deviations.

    Returns
    -------
    Information
        Parameters: the paths summed over all pixels with and about phosphate, Å, and the
        ``composition`` of one of those asked for (its bound is the root mean square over them).
    """
    energy = mean["energy"].values.astype(np.float64)
    known = response.transpose("energy", "species").values
    design = np.column_stack([known / known.mean(), smooth_background(energy, background_degree)])
    counts = mean.transpose("energy", "y", "x").values.reshape(len(energy), -1).astype(np.float64)
    normal = np.einsum("ei,ep,ej->pij", design, counts, design, optimize=True)
    covariance = np.linalg.inv(normal)[:, :2, :2] / known.mean() ** 2
    lengths = path.transpose("species", "y", "x").values.reshape(2, -1)
    ratio = lengths.sum(axis=0) / np.sqrt(covariance.sum(axis=(1, 2)))
    asked = ratio > significance
    there = neighbourhood(ratio > SURE, path.transpose("species", "y", "x").shape[1:])
    pixels = zip(lengths.T[asked], covariance[asked], strict=True)
    single = float(np.mean([_share_variance(*one) for one in pixels]))
    matrix = np.zeros((3, 3))
    matrix[:2, :2] = np.linalg.inv(covariance[there].sum(axis=0))
    matrix[2, 2] = 1 / single
    return Information(
        names=("path.LiFePO4", "path.FePO4", "pixel"),
        matrix=matrix,
        gradients={
            "state_of_charge": np.append(_share_slope(lengths[:, there].sum(axis=1)), 0.0)[None],
            "composition": np.array([[0.0, 0.0, 1.0]]),
        },
        units={"path.LiFePO4": "Å", "path.FePO4": "Å", "pixel": "1"},
        notes=(
            "Spectra of the phases, incident photons and where there is phosphate are known; the "
            f"background, a polynomial of degree {background_degree}, is not.",
            "Composition: root mean square over the pixels it is asked for.",
        ),
    )


def _share_slope(lengths: Array) -> Array:
    total = lengths.sum()
    return np.asarray(np.array([-lengths[1], lengths[0]]) / total**2)


def _share_variance(lengths: Array, covariance: Array) -> float:
    slope = _share_slope(lengths)
    return float(slope @ covariance @ slope)
