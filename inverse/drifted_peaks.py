"""Peaks of points whose frames were moved by whole steps: what the rest of a drift does."""

import numpy as np
import numpy.typing as npt

from echolith.inverse.diffraction_peaks import Peaks
from echolith.inverse.place_gradients import place_gradients
from echolith.inverse.place_peaks import turns, whole_moves
from echolith.inverse.scan_drift import Drift

Array = npt.NDArray[np.float64]


def at_places(found: Peaks, shape: tuple[int, int], vectors: Array, drift: Drift) -> Peaks:
    """Return peaks at the points of the scan, from those of the frames nearest to them.

    A peak whose photons came from rho beside its point on average is at c + J rho, J the gradient
    of the map; and an error of the drift moves the place of a peak at the angle t by t of it.

    Parameters
    ----------
    found : Peaks
    shape : (int, int)
        Rows and columns of the scan.
    vectors : array, (eta, rows, columns, 3)
        Q of the voxels, 1/Å.
    drift : Drift
        That the frames were moved by.
    """
    if drift.undetermined or not (drift.steps.any() or drift.covariance.any()):
        return found
    known = np.asarray(np.isfinite(found.centre).all(axis=1))
    widths = np.log(np.where(known[:, None], found.width, 1.0))
    slopes = place_gradients(
        found.centre.reshape(*shape, 3), known.reshape(shape), beside=widths.reshape(*shape, 3)
    )
    slopes = np.nan_to_num(slopes).reshape(-1, 3, 2)
    angle, spread = _angles(found, vectors)
    turn = turns(len(vectors))
    away = (turn - angle[:, None]) / spread[:, None]
    light = np.exp(-0.5 * np.minimum(away**2, 1e3))
    remains = turn[:, None] * drift.steps - whole_moves(drift.steps, len(turn))
    beside = light @ remains / np.maximum(light.sum(axis=1), 1e-12)[:, None]
    lever = slopes * angle[:, None, None]
    unsure = lever @ drift.covariance @ lever.transpose(0, 2, 1)
    return found._replace(
        centre=found.centre - np.einsum("nqc,nc->nq", slopes, beside),
        covariance=found.covariance + unsure,
    )


def _angles(found: Peaks, vectors: Array) -> tuple[Array, Array]:
    """Return the places of peaks and their widths along eta, in steps from the middle."""
    middle = tuple(n // 2 for n in vectors.shape[:3])
    per_voxel = np.stack([np.gradient(vectors, axis=axis)[middle] for axis in range(3)], axis=-1)
    along = np.linalg.inv(per_voxel)[0]
    from_middle = middle[0] - (vectors.shape[0] - 1) / 2
    angle = (found.centre - vectors[middle]) @ along + from_middle
    return angle, np.linalg.norm(found.width * along, axis=1)
