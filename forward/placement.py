"""Where the scan sits on the specimen: its centre on the lateral centre of the specimen's cell."""

import numpy as np
import numpy.typing as npt

from echolith.forward.acquisition import Scan, rotate

Array = npt.NDArray[np.floating]


def scan_origin(scan: Scan, cell: Array) -> Array:
    """Return the position of scan pixel (0, 0) in the specimen frame, (2,) xy in Å.

    Parameters
    ----------
    scan : Scan
    cell : array, (3, 3)
        Rows are the specimen's cell vectors, Å.
    """
    centre = np.asarray(cell)[:2, :2].sum(axis=0) / 2
    half = np.array([(n - 1) * step / 2 for n, step in zip(scan.shape, scan.step, strict=True)])
    return np.asarray(centre - rotate(half[::-1], scan.rotation))


def scan_positions(scan: Scan, cell: Array) -> Array:
    """Return every probe position in the specimen frame, (ny, nx, 2) xy in Å."""
    return np.asarray(scan.positions() + scan_origin(scan, cell))


def to_scan_frame(xy: Array, scan: Scan, cell: Array) -> Array:
    """Take positions (..., 2) xy from the specimen frame to the scan frame, Å."""
    return rotate(np.asarray(xy) - scan_origin(scan, cell), -scan.rotation)


def from_scan_frame(xy: Array, scan: Scan, cell: Array) -> Array:
    """Take positions (..., 2) xy from the scan frame to the specimen frame, Å."""
    return np.asarray(rotate(np.asarray(xy), scan.rotation) + scan_origin(scan, cell))
