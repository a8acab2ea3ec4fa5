"""A frame that no network was shown, with the columns found on it and where they are.

python examples/learning/train_columns_picture.py picture.png [folder] [samples]
"""

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from train_columns import predicted, train
from train_columns_scores import PIXEL, best_least, frame_and_target, frames, maxima

from echolith.validation.generation import Split
from echolith.validation.matching import match_columns


def draw(path, network, validation, sample):
    _, least = best_least(
        [predicted(network, frame_and_target(s)[0]) for s in validation], validation
    )
    counts = frame_and_target(sample)[0]
    heat = predicted(network, counts)
    found, truth = maxima(heat, least), sample.truth
    match = match_columns(found, truth)
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), layout="constrained")
    extent = (-PIXEL / 2, PIXEL * (96 - 0.5), PIXEL * (96 - 0.5), -PIXEL / 2)
    dose = float(truth["setting.acquisition.dose_rate"])
    axes[0].imshow(counts, cmap="gray", extent=extent)
    axes[0].set_title(f"test frame, {dose:.0f} e/Å²")
    axes[1].imshow(heat, cmap="magma", extent=extent)
    axes[1].set_title("what the network makes of it")
    axes[2].plot(truth.x, truth.y, "o", mfc="none", color="0.6", ms=8, label="true, missed")
    axes[2].plot(
        truth.x[match.truth], truth.y[match.truth], "o", mfc="none", ms=8, label="true, found"
    )
    axes[2].plot(found.x, found.y, "+", color="C3", label="found")
    dx, dy = (found[n].values[match.estimate] - truth[n].values[match.truth] for n in "xy")
    arrows = {"angles": "xy", "scale_units": "xy", "scale": 0.1, "width": 0.006, "color": "C2"}
    axes[2].quiver(truth.x[match.truth], truth.y[match.truth], dx, dy, label="error × 10", **arrows)
    axes[2].set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    axes[2].set_title(f"{len(match.truth)} of {truth.sizes['column']} found")
    figure.legend(loc="outside lower right", ncols=4, fontsize=8)
    for axis in axes:
        axis.set(xlabel="x, Å", ylabel="y, Å")
    figure.savefig(path, dpi=70, pil_kwargs={"optimize": True})


def main(path, folder=None, n=300):
    with tempfile.TemporaryDirectory() as temporary:
        _, split = frames(Path(folder or temporary), int(n), seed=0)
        network = train([*split[Split.TRAIN].transformed(frame_and_target)])
        draw(path, network, [*split[Split.VALIDATION]], split[Split.TEST][0])


if __name__ == "__main__":
    main(*sys.argv[1:])
