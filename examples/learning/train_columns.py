"""Columns of lithium, found by a small network of scikit-learn that was shown generated frames.

python examples/learning/train_columns.py [folder] [samples] [samples to train on]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage
from sklearn.neural_network import MLPRegressor
from train_columns_scores import frame_and_target, frames, printed, table

from echolith.seeds import stream
from echolith.validation.generation import Split

REACH = 10
"""Pixels that are seen on each side of the one a network tells about."""
LOOKS = 4800
"""At frames, in all."""


def windows(counts):
    """Return what is seen about every pixel: contrast, and how much noise is in it."""
    mean = counts.mean()
    padded = np.pad(4 * (counts / mean - 1), REACH, mode="reflect")
    return sliding_window_view(padded, (2 * REACH + 1,) * 2), np.log(mean) - 5


def seen(counts, row, column):
    window, noise = windows(counts)
    flat = window[row, column].reshape(len(row), -1)
    return np.hstack([flat, np.full((len(row), 1), noise)]).astype(np.float32)


def some_pixels(counts, target, draw, n=400):
    """Return n pixels, most of them of the particle, of a frame that is turned or mirrored."""
    turns, mirror = draw.integers(4), slice(None, None, draw.choice([-1, 1]))
    counts, target = (np.rot90(one, turns)[mirror] for one in (counts, target))
    near = np.argwhere(ndimage.maximum_filter(target, 9) > 0.05 * target.max())
    anywhere = draw.integers(0, counts.shape, (n // 4, 2))
    row, column = np.concatenate([draw.choice(near, n - n // 4), anywhere]).T
    return seen(counts, row, column), target[row, column]


def train(pairs):
    network = MLPRegressor(hidden_layer_sizes=(64, 32), batch_size=400, alpha=1e-5, random_state=0)
    for epoch in range(LOOKS // len(pairs)):
        draw = stream(epoch, "pixels")
        order = draw.permutation(len(pairs))
        for few in np.array_split(order, max(1, len(pairs) // 4)):
            x, y = zip(*(some_pixels(*pairs[i], draw) for i in few), strict=True)
            network.partial_fit(np.concatenate(x), np.concatenate(y))
    return network


def predicted(network, counts):
    row, column = np.indices(counts.shape).reshape(2, -1)
    return network.predict(seen(counts, row, column)).reshape(counts.shape)


def main(folder=None, n=300, trained_on=None):
    with tempfile.TemporaryDirectory() as temporary:
        made, split = frames(Path(folder or temporary), int(n), seed=0)
        pairs = [*split[Split.TRAIN].transformed(frame_and_target)][: int(trained_on or n)]
        network = train(pairs)
        printed(table(lambda counts: predicted(network, counts), made, split))


if __name__ == "__main__":
    main(*sys.argv[1:])
