"""What counts at two energies tell about the composition of single voxels: Fisher information.

Counts have the mean I exp(-A mu_E), so that the absorptions at one energy have the information
F_E = A' diag(mean) A, and those of different energies nothing in common. Each slice across the tilt
axis stands for itself. Composition and state of charge follow from mu_E = sum_k M_Ek c_k to first
order.

Which voxels hold anything at all is taken as known: without that, what lies in the missing wedge
has no bound at all. A is that of half voxels and two rays a pixel, summed and averaged.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix

from echolith.errors import BadInputError
from echolith.forward.projection import system_matrix
from echolith.forward.tilts import Tilts
from echolith.validation.information import Information

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

NOTES = (
    "Composition: root mean square over the voxels wholly inside a particle, for unbiased "
    "estimates of single voxels that know which voxels hold anything, and nothing else. Estimates "
    "that take neighbours for alike (total variation, few sweeps), or amounts for not negative, "
    "lie far below it, at the price of a bias.",
    "State of charge: the same knowledge, all voxels together.",
)


def composition_information(
    counts: xr.DataArray, truth: xr.Dataset, *, tilts: Tilts, response: xr.DataArray
) -> Information:
    """Return the information about the composition of a voxel and about the state of charge.

    Parameters
    ----------
    counts : xarray.DataArray
        Expected counts (energy, tilt, y, x).
    truth : xarray.Dataset
        Over (z, y, x): ``density`` and ``binder``, parts of the voxel; ``composition`` of the
        phosphate; ``inside``, the voxels whose composition is asked for.
    tilts : Tilts
    response : xarray.DataArray
        (species, energy), 1/Å.

    Returns
    -------
    Information
        Parameters ``voxel`` (of the mean variance) and ``charge``; quantities ``composition`` and
        ``state_of_charge``.
    """
    means = counts.transpose("energy", "tilt", "y", "x")
    pure = response.sel(energy=means["energy"]).transpose("energy", "species").values
    fields = {name: truth[name].transpose("z", "y", "x") for name in truth.data_vars}
    matrix = _coarse_rays(tilts, fields["density"].shape)
    asked = fields["inside"].values
    single = np.zeros(asked.shape)
    total, amount = 0.0, float(fields["density"].sum())
    charge = float((fields["density"] * fields["composition"]).sum()) / max(amount, 1e-30)
    for row in np.flatnonzero((fields["density"].values > 0).any(axis=(0, 2))):
        density, share = (
            fields[name].values[:, row].ravel() for name in ("density", "composition")
        )
        held = (density > 0) | (fields["binder"].values[:, row].ravel() > 0)
        slopes = share_slopes(density[held], share[held], pure)
        of_charge = charge_slopes(density[held], charge, pure) / amount
        for energy, (slope, weight) in enumerate(zip(slopes, of_charge, strict=True)):
            covariance = voxel_covariance(matrix, held, means.values[energy, :, row])
            variance = np.zeros(held.size)
            variance[held] = slope**2 * np.diag(covariance)
            single[:, row] += variance.reshape(single[:, row].shape)
            total += float(weight @ covariance @ weight)
    variances = np.array([single[asked].mean() if asked.any() else np.inf, total or np.inf])
    return Information(
        names=("voxel", "charge"),
        matrix=np.diag(1 / variances),
        gradients={
            "composition": np.array([[1.0, 0.0]]),
            "state_of_charge": np.array([[0.0, 1.0]]),
        },
        notes=NOTES,
    )


def voxel_covariance(matrix: csr_matrix, held: Mask, counts: Array) -> Array:
    """Return the least covariance of the absorption of the voxels held, one energy, one slice.

    Parameters
    ----------
    matrix : csr_matrix, (rays, voxels)
        Path lengths, Å.
    held : array of bool, (voxels,)
    counts : array, (tilt, x)
        Expected.
    """
    part = matrix[:, np.flatnonzero(held)].toarray()
    information = part.T @ (counts.ravel()[:, None] * part)
    scale = 1 / np.sqrt(np.diag(information))
    try:
        factor = cho_factor(information * np.outer(scale, scale))
    except np.linalg.LinAlgError:
        raise BadInputError(
            f"{counts.shape[0]} tilts leave some of the {len(scale)} voxels of a slice "
            "undetermined; use more tilts or fewer pixels"
        ) from None
    return np.asarray(cho_solve(factor, np.diag(scale)) * scale[:, None])


def share_slopes(density: Array, share: Array, pure: Array) -> Array:
    """Return how the composition of voxels changes with their absorptions, (energy, voxels), Å."""
    inverse = np.linalg.inv(pure)
    change = inverse[1][:, None] - share * inverse.sum(axis=0)[:, None]
    filled = density > 0
    return np.asarray(np.where(filled, change, 0.0) / np.where(filled, density, 1.0))


def charge_slopes(density: Array, charge: float, pure: Array) -> Array:
    """Return how reacted less expected phosphate changes with absorptions, (energy, voxels), Å."""
    inverse = np.linalg.inv(pure)
    change = inverse[1] - charge * inverse.sum(axis=0)
    return np.asarray(change[:, None] * (density > 0), dtype=np.float64)


def _coarse_rays(tilts: Tilts, shape: tuple[int, ...]) -> csr_matrix:
    """Return mean path lengths of pixels through voxels, from two rays and half voxels."""
    nz, nx = shape[0], shape[2]
    fine = tilts.model_copy(update={"voxel_size": tilts.voxel_size / 2})
    matrix = system_matrix(fine, shape=(2 * nz, 2 * nx)).forward
    rays = len(tilts.angles) * nx
    pairs = np.repeat(np.arange(rays), 2)
    mean = csr_matrix((np.full(2 * rays, 0.5), (pairs, np.arange(2 * rays))))
    z, x = np.divmod(np.arange(4 * nz * nx), 2 * nx)
    voxels = csr_matrix((np.ones(4 * nz * nx), (np.arange(4 * nz * nx), z // 2 * nx + x // 2)))
    return csr_matrix(mean @ matrix @ voxels)
