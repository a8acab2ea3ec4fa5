"""Two component spectra out of a stack of spectra, without references.

After the background is projected out, spectra of two species lie in a plane; those of pixels that
hold one species only are its edges. The plane comes from a singular value decomposition, the edges
from the pixels of the most extreme ratio.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.spectrum_fit import smooth_background
from echolith.units import Electronvolt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class BlindComponents(Settings):
    """How two components are found."""

    window: tuple[Electronvolt, Electronvolt] = (706.0, 712.0)
    """The white lines, eV: where the element asked for absorbs."""
    minimum_density: Annotated[float, Field(gt=0)] = 0.1
    """Optical density of the element below which a pixel is left out."""
    extreme: Annotated[float, Field(gt=0, lt=0.5)] = 0.02
    """Share of pixels taken as pure at each end."""
    background_degree: Annotated[int, Field(ge=0, le=3)] = 1


def blind_components(
    density: xr.DataArray, *, options: BlindComponents | None = None
) -> xr.DataArray:
    """Find the spectra of two species that a map is mixed of.

    Parameters
    ----------
    density : xarray.DataArray
        Optical density; dim ``energy`` (coordinate in eV) and those of the map.
    options : BlindComponents, optional

    Returns
    -------
    xarray.DataArray
        Dims (species, energy): the two spectra, each with a largest value of 1 and a mean of 0
        before the white lines; the one whose white line lies lower in energy first. They are
        those of the purest pixels; where no pixel is pure they are mixed.

    Raises
    ------
    BadInputError
        If the window holds no energies, or fewer than 20 pixels hold the element.

    References
    ----------
    Lerotic et al., J. Electron Spectrosc. 144-147, 1137 (2005): principal components of stacks.
    """
    options = options or BlindComponents()
    energy = density["energy"].values.astype(np.float64)
    inside = (energy >= options.window[0]) & (energy <= options.window[1])
    before = energy < options.window[0]
    if inside.sum() < 3 or before.sum() < 3:
        raise BadInputError(
            f"window = {options.window[0]:g} to {options.window[1]:g} eV holds {inside.sum()} "
            f"energies with {before.sum()} before it; expected 3 or more each; the stack reaches "
            f"from {energy.min():g} to {energy.max():g} eV"
        )
    others = [dim for dim in density.dims if dim != "energy"]
    data = density.transpose("energy", *others).values.astype(np.float64).reshape(len(energy), -1)
    used = _with_element(data, inside, before, options.minimum_density)
    smooth, _ = np.linalg.qr(smooth_background(energy, options.background_degree))
    left = used - smooth @ (smooth.T @ used)
    edges = _edges(left, options.extreme)
    spectra = np.stack([_levelled(edge, inside, before) for edge in edges.T])
    order = np.argsort(energy[np.where(inside, spectra, -np.inf).argmax(axis=1)])
    return xr.DataArray(
        spectra[order],
        dims=("species", "energy"),
        coords={"species": ["lower edge", "higher edge"], "energy": density["energy"]},
        attrs={"units": "1"},
    )


def _with_element(data: Array, inside: Mask, before: Mask, minimum: float) -> Array:
    amount = data[inside].mean(axis=0) - data[before].mean(axis=0)
    used = amount > minimum
    if used.sum() < 20:
        raise BadInputError(
            f"{used.sum()} pixels hold an optical density above {minimum:g} in the window; "
            "expected 20 or more; lower minimum_density or check the window"
        )
    return np.asarray(data[:, used])


def _edges(data: Array, extreme: float) -> Array:
    """Return the two edges of the cone that spectra (energy, pixel) fill, (energy, 2)."""
    basis, size, pixels = np.linalg.svd(data, full_matrices=False)
    first, second = size[:2, None] * pixels[:2]
    if first.mean() < 0:
        basis, first, second = -basis, -first, -second
    ratio = second[first > 0] / first[first > 0]
    ends = np.quantile(ratio, [extreme, 1 - extreme])
    return np.asarray(basis[:, :1] + basis[:, 1:2] * ends)


def _levelled(spectrum: Array, inside: Mask, before: Mask) -> Array:
    """Zero before the edge, 1 at most."""
    level = spectrum - spectrum[before].mean()
    return np.asarray(level / level[inside].max())
