"""What all frames together tell of their positions when the object is not known.

A frame that is displaced by d sees the object O moved by d. With weights w_i = |P_i|² of frames on
a pixel, N their sum, and every pixel of the object unknown, what all frames tell together is

    M_ij = 2 sum over pixels (delta_ij w_i - w_i w_j / N) grad O grad O*

in the approximation that a frame tells half of each pixel's complex wave. It is scaled to what each
frame tells with the object held, which is known exactly. Frames are linked by what they share: a
plate may move with all that see it, and the shift of all is told by none.
"""

import numpy as np
from scipy import sparse
from scipy.ndimage import gaussian_filter

from echolith.inverse.far_field_state import Array, State

SMOOTH = 1.5
"""Pixels, standard deviation of the Gaussian that slopes of the object are seen through."""
FAINT = 1e-2
"""Of the brightest pixel of the probe; darker ones are left out."""


def joint_information(state: State, alone: Array) -> Array:
    """Return the information about all positions, the object unknown, (2 n, 2 n), 1/pixel².

    Parameters
    ----------
    state : State
    alone : array (n, 2, 2)
        Of each frame with the object held.

    Returns
    -------
    array
        All along y first, then all along x.
    """
    weights = _weights(state)
    slopes = [slope.ravel() for slope in np.gradient(smooth_object(state))]
    own = 2 * np.stack([[weights @ (a * b.conj()).real for b in slopes] for a in slopes])
    told = np.trace(alone, axis1=1, axis2=2)
    scale = np.sqrt(told / np.maximum(own[0, 0] + own[1, 1], 1e-12 * told.max() + 1e-30))
    total = np.maximum(np.asarray(weights.sum(axis=0)).ravel(), 1e-12)
    blocks = [
        [np.diag(own[a, b]) - 2 * _shared(weights, slopes[a], slopes[b], total) for b in range(2)]
        for a in range(2)
    ]
    both = np.tile(scale, 2)
    return np.asarray(both[:, None] * np.block(blocks) * both)


def smooth_object(state: State) -> Array:
    """Return the object without most of the noise of its pixels: slopes of noise mislead."""
    wave = state.transmission
    smooth = gaussian_filter(wave.real, SMOOTH) + 1j * gaussian_filter(wave.imag, SMOOTH)
    return np.asarray(smooth, dtype=np.complex64)


def _shared(weights: sparse.csr_array, first: Array, second: Array, total: Array) -> Array:
    """Return what two frames have in common, (positions, positions)."""
    scaled = weights.multiply((first * second.conj()).real / total).tocsr()
    return np.asarray((scaled @ weights.T).todense())


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
