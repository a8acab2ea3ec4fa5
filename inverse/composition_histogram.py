"""The histogram of composition as a mixture of Gaussians, and voxels in three classes."""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.stats import norm

from echolith.errors import BadInputError

Array = npt.NDArray[np.float64]


class PhaseClass(IntEnum):
    """Classes of voxels by their share of FePO4."""

    EMPTY = 0
    LITHIATED = 1
    MIXED = 2
    DELITHIATED = 3


class Mixture(NamedTuple):
    """A mixture of Gaussians: means, standard deviations and shares, in order of the means."""

    mean: Array
    std: Array
    share: Array


def phase_classes(
    composition: xr.DataArray, *, limits: tuple[float, float] = (0.3, 0.7)
) -> xr.DataArray:
    """Class every voxel by its share of the delithiated phase.

    Parameters
    ----------
    composition : xarray.DataArray
        Share of FePO4, NaN outside particles.
    limits : tuple of float
        Below the first: lithiated; above the second: delithiated; else mixed. By default the
        30 and 70 % of Yu et al., Nat. Commun. 9, 921 (2018).

    Returns
    -------
    xarray.DataArray
        `PhaseClass` as int8, same dims.
    """
    if not 0 <= limits[0] < limits[1] <= 1:
        raise BadInputError(f"limits = {limits}; expected 0 <= lower < upper <= 1")
    values = composition.values
    classes = 1 + (values >= limits[0]).astype(np.int8) + (values > limits[1]).astype(np.int8)
    empty = np.where(np.isfinite(values), classes, PhaseClass.EMPTY).astype(np.int8)
    return composition.copy(data=empty).assign_attrs(units="1")


def gaussian_mixture(
    values: Array, *, components: int = 2, tolerance: float = 1e-7, iterations: int = 2000
) -> Mixture:
    """Fit a mixture of Gaussians by expectation maximisation.

    Parameters
    ----------
    values : array, shape (n,)
        Compositions or polar angles; values that are not finite are left out.
    components : int
    tolerance : float
        Gain in mean log likelihood below which it ends.
    iterations : int
        At most.

    Returns
    -------
    Mixture

    Raises
    ------
    BadInputError
        If there are fewer than ten values for each component, or they do not differ.

    References
    ----------
    Dempster, Laird & Rubin, J. R. Stat. Soc. B 39, 1 (1977).
    """
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if len(finite) < 10 * components or not np.ptp(finite) > 0:
        raise BadInputError(
            f"{len(finite)} values for a mixture of {components}; expected at least "
            f"{10 * components} that differ"
        )
    mixture, last = _start(finite, components), -np.inf
    floor = 1e-3 * finite.std()  # a Gaussian on one value would have an infinite likelihood
    for _ in range(iterations):
        weighted = mixture.share * norm.pdf(finite[:, None], mixture.mean, mixture.std)
        whole = np.maximum(weighted.sum(axis=1), np.finfo(float).tiny)
        mixture = _moments(finite, weighted / whole[:, None], floor)
        likelihood = float(np.log(whole).mean())
        if likelihood - last < tolerance:
            break
        last = likelihood
    order = np.argsort(mixture.mean)
    return Mixture(*(part[order] for part in mixture))


def _start(values: Array, components: int) -> Mixture:
    centres = np.quantile(values, (np.arange(components) + 0.5) / components)
    if len(np.unique(centres)) < components:
        centres = np.linspace(values.min(), values.max(), components)
    width = np.full(components, values.std() / components)
    return Mixture(centres, width, np.full(components, 1 / components))


def _moments(values: Array, membership: Array, floor: float) -> Mixture:
    weight = np.maximum(membership.sum(axis=0), np.finfo(float).tiny)
    mean = membership.T @ values / weight
    variance = (membership * (values[:, None] - mean) ** 2).sum(axis=0) / weight
    return Mixture(mean, np.maximum(np.sqrt(variance), floor), weight / len(values))
