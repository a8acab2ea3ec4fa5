"""The information that is left of scanned frames where drift and jitter of the probe are unknown.

A displacement of the probe by d and one of the specimen by -d show the same: line by line the data
tell of their sum. Drift is a steady velocity, of which nothing is known, and a smooth random
process of which the covariance is known; jitter is drawn line by line. With the prior information
of what is drawn the result is a hybrid bound: no estimate is better in the mean over the draws.

References
----------
Van Trees and Bell, *Bayesian Bounds* (2007), part 1 (hybrid bounds).
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from echolith.forward.scan_distortion import ScanDistortion

Array = npt.NDArray[np.float64]

NODES = 600
"""Of the random process at most."""
SPACING = 1 / 3
"""Of the nodes, in correlation times: what is between them is smoother than rounding."""
NEGLIGIBLE = 1e-10
"""Share of the variance below which a mode of the random process is left out."""


def marginal_information(lines: Array, times: Array, distortion: ScanDistortion) -> Array:
    """Return the information of all lines about parameters, every displacement unknown.

    Parameters
    ----------
    lines : array, (line, n, n)
        Information of each line about n parameters, the last two of which are a shift of the
        specimen along x and y, Å.
    times : array, (line,)
        When each line is taken, s.
    distortion : ScanDistortion
        Sizes of random drift and line jitter; the velocity is taken as unknown.

    Returns
    -------
    array, (n, n)
        Schur complement of velocity, random drift and jitter.
    """
    kept = without_jitter(lines, distortion.line_jitter)
    basis, prior = drift_modes(times, distortion)
    shifts = kept[:, :, -2:]
    n, k = lines.shape[1], basis.shape[1]
    cross = np.stack([shifts[:, :, axis].T @ basis for axis in range(2)], axis=1)
    own = np.empty((2, k, 2, k))
    for a in range(2):
        for b in range(2):
            own[a, :, b] = basis.T @ (shifts[:, n - 2 + a, b, None] * basis)
    matrix = own.reshape(2 * k, 2 * k) + np.diag(np.tile(prior, 2))
    cross = cross.reshape(n, 2 * k)
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    factor = cho_factor(matrix * np.outer(scale, scale))
    lost = (cross * scale) @ cho_solve(factor, (cross * scale).T)
    left = kept.sum(axis=0) - lost
    return np.asarray((left + left.T) / 2)


def without_jitter(lines: Array, jitter: float) -> Array:
    """Return the information of each line where it has a jitter (Å) of its own along both axes."""
    if not jitter:
        return lines
    shifts = lines[:, :, -2:]
    own = shifts[:, -2:] + np.eye(2) / jitter**2
    return np.asarray(lines - shifts @ np.linalg.solve(own, np.swapaxes(shifts, 1, 2)))


def drift_modes(times: Array, distortion: ScanDistortion) -> tuple[Array, Array]:
    """Return modes of the drift along one axis (line, mode), Å, and their prior information.

    The first is a steady velocity, of no prior information; the others are those of the random
    drift, each of unit variance.
    """
    middle, span = times.mean(), max(float(np.ptp(times)), 1e-12)
    steady = ((times - middle) / span)[:, None]
    if not distortion.random_drift:
        return steady, np.zeros(1)
    along = distortion.correlation_time
    count = min(int(np.ceil(span / (SPACING * along))) + 5, NODES)
    nodes = np.linspace(times.min() - along * SPACING, times.max() + along * SPACING, count)

    def covariance(first: Array, second: Array) -> Array:
        apart = (first[:, None] - second) / along
        return np.asarray(distortion.random_drift**2 * np.exp(-(apart**2) / 2))

    values, vectors = np.linalg.eigh(covariance(nodes, nodes))
    large = values > NEGLIGIBLE * values.max()
    modes = covariance(times, nodes) @ vectors[:, large] / np.sqrt(values[large])
    return np.hstack([steady, modes]), np.append(0.0, np.ones(int(large.sum())))
