"""Probe positions of a scan whose probe is displaced, and whether the specimen still lies there."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError
from echolith.forward.acquisition import Scan, rotate
from echolith.forward.displacement_field import Distortion
from echolith.forward.placement import scan_positions
from echolith.forward.projected_potential import is_periodic

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = npt.NDArray[np.float64]

COVERED = 1e-6
"""Å by which a probe may leave the specimen."""


def displacements_of(distortion: Distortion | None, scan: Scan) -> FloatArray | None:
    """Return the displacements (ny, nx, 2) xy in Å of a scan, None where nothing moves.

    Raises
    ------
    BadInputError
        If they are not one finite pair for each position.
    """
    if distortion is None:
        return None
    displacements = np.asarray(distortion.displacements(scan), dtype=np.float64)
    if displacements.shape != (*scan.shape, 2):
        raise BadInputError(
            f"the distortion gives displacements of shape {displacements.shape}; expected "
            f"{(*scan.shape, 2)}, one xy pair in Å for each position of the scan"
        )
    if not np.isfinite(displacements).all():
        raise BadInputError("the distortion gives displacements that are NaN or inf; expected Å")
    return displacements if displacements.any() else None


def displaced_positions(
    scan: Scan, cell: npt.NDArray[np.floating], displacements: FloatArray | None
) -> FloatArray:
    """Return where the probe is in the specimen frame, (..., ny, nx, 2) xy in Å.

    Parameters
    ----------
    scan : Scan
    cell : array, (3, 3)
        Of the specimen, Å.
    displacements : array or None, (..., ny, nx, 2)
        xy in the scan frame, Å.
    """
    positions = np.asarray(scan_positions(scan, cell), dtype=np.float64)
    if displacements is None:
        return positions
    return np.asarray(positions + rotate(displacements, scan.rotation))


def check_covered(atoms: "Atoms", scan: Scan, displacements: FloatArray) -> None:
    """Refuse displacements that carry the probe off the field or off the specimen.

    Parameters
    ----------
    atoms : ase.Atoms
    scan : Scan
    displacements : array, (..., ny, nx, 2)
        xy in the scan frame, Å.

    Raises
    ------
    BadInputError
        If the probe wanders by more than the field of the scan, or leaves a specimen that does
        not repeat further than the scan as it was meant would.
    """
    span = np.ptp(displacements.reshape(-1, 2), axis=0)
    field = max(scan.extent)
    if span.max() > field:
        axis = "xy"[int(span.argmax())]
        raise BadInputError(
            f"drift larger than the field: the probe wanders by {span.max():.4g} Å along {axis}, "
            f"the field is {scan.extent[1]:.4g} x {scan.extent[0]:.4g} Å; scan faster (dwell, "
            "flyback), drift less, or scan a larger field"
        )
    if is_periodic(atoms):
        return
    cell = np.asarray(atoms.cell)
    meant = _beyond(displaced_positions(scan, cell, None), cell)
    reached = _beyond(displaced_positions(scan, cell, displacements), cell)
    if reached > meant + COVERED:
        raise BadInputError(
            f"drift larger than the specimen: the displaced probe leaves its cell by "
            f"{reached:.4g} Å (the scan as meant: {meant:.4g} Å), and it does not repeat; make "
            f"the specimen larger by {2 * (reached - meant):.4g} Å, drift less, or scan a smaller "
            "field"
        )


def _beyond(positions: FloatArray, cell: npt.NDArray[np.floating]) -> float:
    """Return how far the farthest position lies outside a cell, Å."""
    lateral = np.asarray(cell)[:2, :2]
    fractional = positions.reshape(-1, 2) @ np.linalg.inv(lateral)
    heights = 1 / np.linalg.norm(np.linalg.inv(lateral), axis=0)
    outside = np.maximum(fractional - 1, -fractional).max(axis=0) * heights
    return float(max(0.0, outside.max()))
