"""What displaced probes do to an image: where things appear, how much of it is affine.

A probe meant for X in the scan frame is at ``X + u(X)``. So a point P of the specimen appears at
the X that solves ``X + u(X) = P``. The field u is given on the scan's positions, (ny, nx, 2) xy in
Å; between them and beyond it is its affine part plus the remainder, interpolated and held at the
edges.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from echolith.errors import BadInputError
from echolith.forward.acquisition import Scan

FloatArray = npt.NDArray[np.float64]

MOST_STEPS = 400
DAMPING = 0.6
"""Of a step; it converges where the remainder changes by -1 to 2.3 Å per Å."""
CONVERGED = 1e-6
"""Å"""
COLUMN = 0.4
"""Å. Standard deviation of an atomic column in an image, about."""
WINDOW = 5.0
"""Half side, in standard deviations of a column, of what its fitted position is drawn from: weights
of e^-25 are left out."""


class Distortion(Protocol):
    """Anything that moves the probe; see `echolith.forward.scan_distortion`."""

    def displacements(self, scan: Scan, /) -> FloatArray:
        """Return where the probe is minus where it was meant to be, (ny, nx, 2) xy, Å."""
        ...


@dataclass(frozen=True, kw_only=True)
class AffineDecomposition:
    """``u(X) = offset + strain @ X + residual(X)``, X in the scan frame from scan pixel (0, 0)."""

    offset: FloatArray
    """(2,) xy, Å."""
    strain: FloatArray
    """``d u_i / d x_j``, (2, 2), axes in the order x, y."""
    residual: FloatArray = field(repr=False)
    """(ny, nx, 2) xy, Å, mean zero."""


def affine_part(displacements: FloatArray, scan: Scan) -> AffineDecomposition:
    """Split a displacement field by least squares over the positions of a scan.

    Parameters
    ----------
    displacements : array, (ny, nx, 2)
        xy in the scan frame, Å.
    scan : Scan

    Returns
    -------
    AffineDecomposition
        Along an axis of a single position the strain is 0.

    Raises
    ------
    BadInputError
        If the field is not that of the scan or not finite.
    """
    u = _checked(displacements, scan)
    y, x = (np.arange(n) * step for n, step in zip(scan.shape, scan.step, strict=True))
    x0, y0 = x - x.mean(), y - y.mean()
    mean = u.mean(axis=(0, 1))
    columns = []
    for along, shape in ((x0, (1, -1, 1)), (y0, (-1, 1, 1))):
        square = float((along**2).mean())
        moment = (along.reshape(shape) * u).mean(axis=(0, 1))
        columns.append(moment / square if square else np.zeros(2))
    strain = np.stack(columns, axis=1)
    offset = mean - strain @ np.array([x.mean(), y.mean()])
    grid = np.stack(np.broadcast_arrays(x[None], y[:, None]), axis=-1)
    return AffineDecomposition(offset=offset, strain=strain, residual=u - offset - grid @ strain.T)


def _checked(displacements: FloatArray, scan: Scan) -> FloatArray:
    u = np.asarray(displacements, dtype=np.float64)
    if u.shape != (*scan.shape, 2):
        raise BadInputError(
            f"displacements of shape {u.shape} do not belong to a scan of {scan.shape}; expected "
            f"{(*scan.shape, 2)}: one xy pair in Å for each position"
        )
    if not np.isfinite(u).all():
        raise BadInputError("the displacements hold NaN or inf; expected finite numbers in Å")
    return u


def displacement_at(
    xy: FloatArray, displacements: FloatArray, scan: Scan, *, width: float = COLUMN
) -> FloatArray:
    """Return the displacement at positions X of the image.

    Parameters
    ----------
    xy : array, (..., 2)
        Scan frame, Å.
    displacements : array, (ny, nx, 2)
        xy in the scan frame, Å.
    scan : Scan
    width : float, optional
        0: interpolated. Else the standard deviation of a Gaussian column, Å: what a least-squares
        fit of its position sees of lines and positions that jitter, to first order
        ``M⁻¹ sum_i d d^T exp(-d²/width²) u_i`` with d from the column to position i.

    Returns
    -------
    array, (..., 2)
        xy, Å.
    """
    return _seen(np.asarray(xy, dtype=np.float64), affine_part(displacements, scan), scan, width)


def _seen(xy: FloatArray, parts: AffineDecomposition, scan: Scan, width: float) -> FloatArray:
    flat = xy.reshape(-1, 2)
    local = _fitted(flat, parts.residual, scan, width) if width else _between(flat, parts, scan)
    return np.asarray(parts.offset + xy @ parts.strain.T + local.reshape(xy.shape))


def _between(xy: FloatArray, parts: AffineDecomposition, scan: Scan) -> FloatArray:
    pixel = (xy[:, ::-1] / np.array(scan.step)).T
    u = parts.residual
    return np.stack(
        [map_coordinates(u[..., n], pixel, order=1, mode="nearest") for n in (0, 1)], axis=-1
    )


def _fitted(xy: FloatArray, residual: FloatArray, scan: Scan, width: float) -> FloatArray:
    steps, shape = np.array(scan.step), np.array(scan.shape)
    reach = np.ceil(WINDOW * width / steps).astype(int)
    nearest = np.clip(np.rint(xy[:, ::-1] / steps), 0, shape - 1).astype(int)
    around = [np.arange(-r, r + 1) for r in reach]
    iy, ix = (nearest[:, n, None] + around[n] for n in (0, 1))
    inside = ((iy >= 0) & (iy < shape[0]))[:, :, None] & ((ix >= 0) & (ix < shape[1]))[:, None]
    u = residual[np.clip(iy, 0, shape[0] - 1)[:, :, None], np.clip(ix, 0, shape[1] - 1)[:, None]]
    d = np.stack(
        np.broadcast_arrays(
            (ix * steps[1] - xy[:, :1])[:, None], (iy * steps[0] - xy[:, 1:])[:, :, None]
        ),
        axis=-1,
    )
    weight = inside * np.exp(-((d / width) ** 2).sum(axis=-1))
    normal = np.einsum("nij,nija,nijb->nab", weight, d, d)
    # A column at the edge may be seen along one axis only: the least-norm answer then.
    seen = np.einsum("nij,nija,nijb,nijb->na", weight, d, d, u)
    return np.asarray(np.einsum("nab,nb->na", np.linalg.pinv(normal, hermitian=True), seen))


def image_to_true(
    xy: FloatArray, displacements: FloatArray, scan: Scan, *, width: float = COLUMN
) -> FloatArray:
    """Return which point of the specimen appears at X: ``X + u(X)`` (see `displacement_at`)."""
    xy = np.asarray(xy, dtype=np.float64)
    return np.asarray(xy + displacement_at(xy, displacements, scan, width=width))


def true_to_image(
    xy: FloatArray, displacements: FloatArray, scan: Scan, *, width: float = COLUMN
) -> FloatArray:
    """Return where points of the specimen appear in the distorted image.

    Parameters
    ----------
    xy : array, (..., 2)
        Points P of the specimen in the undistorted scan frame
        (`echolith.forward.placement.to_scan_frame`), Å.
    displacements : array, (ny, nx, 2)
        xy in the scan frame, Å.
    scan : Scan
    width : float, optional
        Of a column, Å; see `displacement_at`.

    Returns
    -------
    array, (..., 2)
        The X that solves ``X + u(X) = P``, Å; beyond the scan from the affine part.

    Raises
    ------
    BadInputError
        If the field folds the image over itself, so that there is no single answer.
    """
    xy = np.asarray(xy, dtype=np.float64)
    parts = affine_part(displacements, scan)
    matrix = np.eye(2) + parts.strain
    if np.linalg.det(matrix) <= 0:
        raise BadInputError(
            f"the affine part of the displacements, {parts.strain.tolist()}, turns the image over; "
            "drift must be smaller than the scan's own speed along the slow axis"
        )
    inverse, found = np.linalg.inv(matrix), xy
    for _ in range(MOST_STEPS):
        off = found + _seen(found, parts, scan, width) - xy
        largest = float(np.abs(off).max(initial=0.0))
        if largest < CONVERGED:
            return found
        found = found - DAMPING * off @ inverse.T
    raise BadInputError(
        f"the displacements fold the image: some point has no single place in it (off by "
        f"{largest:.2g} Å after {MOST_STEPS} steps); give the width of a column in Å, or use less "
        "jitter"
    )
