"""How well corrected scan positions are known when the object is not.

A frame that is displaced by d sees the object O moved by d. With weights w_i = |P_i|² of frames on
a pixel, N their sum, and every pixel of the object unknown, what all frames tell together is

    M_ij = 2 sum over pixels (delta_ij w_i - w_i w_j / N) grad O grad O*

in the approximation that a frame tells half of each pixel's complex wave. It is scaled to what each
frame tells with the object held (`displacements`), which is exact. A common shift is in its null
space; the prior ties the rest.
"""

import numpy as np
from scipy import sparse
from scipy.ndimage import gaussian_filter

from echolith.inverse.far_field_options import FarFieldSolver
from echolith.inverse.far_field_positions import displacements
from echolith.inverse.far_field_state import Array, State

FAINT = 1e-3
"""Of the brightest pixel of the probe; darker ones are left out."""


def position_std(state: State, options: FarFieldSolver) -> Array:
    """Return the standard deviation of every position from the mean of all, (positions, 2), pixels.

    Parameters
    ----------
    state : State
    options : FarFieldSolver
        ``position_spread``, the prior.
    """
    count = len(state.counts)
    weights, slopes = _weights(state), _slopes(state)
    own = 2 * np.stack([[weights @ (a * b.conj()).real for b in slopes] for a in slopes])
    alone = np.trace(displacements(state).information, axis1=1, axis2=2)
    scale = np.sqrt(alone / np.maximum(own[0, 0] + own[1, 1], 1e-12 * alone.max()))
    total = np.maximum(np.asarray(weights.sum(axis=0)).ravel(), 1e-12)
    blocks = [
        [np.diag(own[a, b]) - 2 * _shared(weights, slopes[a], slopes[b], total) for b in range(2)]
        for a in range(2)
    ]
    both = np.tile(scale, 2)
    spread = options.position_spread / state.pixel_size
    matrix = both[:, None] * np.block(blocks) * both + np.eye(2 * count) / spread**2
    free = np.kron(np.eye(2), np.eye(count) - 1 / count)
    covariance = free @ np.linalg.inv(matrix) @ free
    return np.asarray(np.sqrt(np.diag(covariance)).reshape(2, count).T)


def _shared(weights: sparse.csr_array, first: Array, second: Array, total: Array) -> Array:
    """Return what two frames have in common, (positions, positions)."""
    scaled = weights.multiply((first * second.conj()).real / total).tocsr()
    return np.asarray((scaled @ weights.T).todense())


def _slopes(state: State) -> list[Array]:
    """Return derivatives of the object along y and x, its pixel noise smoothed away, flat."""
    wave = state.transmission
    smooth = gaussian_filter(wave.real, 1.0) + 1j * gaussian_filter(wave.imag, 1.0)
    return [slope.ravel() for slope in np.gradient(smooth)]


def _weights(state: State) -> sparse.csr_array:
    """Return |P|² of every frame on the pixels of the object, (positions, pixels)."""
    bright = np.abs(state.probe) ** 2
    y, x = np.nonzero(bright > FAINT * bright.max())
    width = state.transmission.shape[1]
    places = (state.corners[:, :1] + y) * width + state.corners[:, 1:] + x
    rows = np.repeat(np.arange(len(places)), len(y))
    values = np.tile(bright[y, x].astype(np.float64), len(places))
    shape = (len(places), state.transmission.size)
    return sparse.csr_array((values, (rows, places.ravel())), shape=shape)
