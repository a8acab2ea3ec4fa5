"""Thickness of a shell of oxide on a faceted particle, frame by frame.

Faces that stand along the beam bound metal and oxide by straight lines. The fringes of the metal
tell where each of its lines is, those of the oxide up to which distance from them there is oxide:
the log likelihood of a pixel adds up over what a line bounds, and the distribution over its places
gives mean and standard deviation.

A face lies anywhere between its last layer of atoms and the next one, which is not there. So every
line is uncertain by the spacing of layers over sqrt(12), whatever the number of electrons.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import ndimage

from echolith.inverse.grain_extraction import Parts

Array = npt.NDArray[np.float64]

FEWEST = 4
"""Lines that close an outline."""
SWEEPS = 4
"""Over the lines of the metal, each in turn with the others held."""
STEP = 0.1
"""Å, between places of a line."""
NO_METAL = "thickness: no metal was found under the oxide"
NO_OXIDE = "thickness: no grain of oxide was found"
NO_FACES = (
    "thickness: fewer than four faces of the metal stand along the beam in its zone axis; "
    "[111] and [001] show them"
)


def shell_thickness(frames: Array, parts: Parts) -> xr.Dataset:
    """Return ``thickness`` (frame; Å) and ``mean_thickness`` with ``_std``.

    Without them, and with the attribute ``undetermined``, where there are no lines to measure from.

    Parameters
    ----------
    frames : array, (frames, ny, nx)
        Counts.
    parts : Parts
        Of their sum.
    """
    if parts.metal is None:
        return xr.Dataset(attrs={"undetermined": NO_METAL})
    if not parts.grains:
        return xr.Dataset(attrs={"undetermined": NO_OXIDE})
    g = parts.metal.fit.g
    lengths = np.hypot(*g.T)
    # {110} faces stand along the beam where their reflection lies across it.
    first = g[lengths < 1.1 * np.sqrt(2) / parts.edge]
    normals = np.concatenate([first, -first]) / np.hypot(*first[0]) if len(first) else first
    if len(normals) < FEWEST:
        return xr.Dataset(attrs={"undetermined": NO_FACES})
    pixel = parts.options.pixel
    y, x = (pixel * (np.arange(n) - (n - 1) / 2) for n in parts.log_probability.shape)
    along = normals[:, 0, None, None] * x + normals[:, 1, None, None] * y[:, None]
    places, metal_std = _metal_lines(parts, along)
    away = (along - places[:, None, None]).max(axis=0)
    mean, std = _each(frames, parts, away)
    layers = np.array([parts.edge / np.sqrt(2), parts.oxide_edge / np.sqrt(8)])
    # Of the mean over all lines: what all frames have in common.
    common = np.sqrt((np.mean(metal_std**2) + (layers**2).sum() / 12) / len(normals))
    total = np.hypot(std, common)
    means = {"thickness": mean, "thickness_std": total}
    found = xr.Dataset({n: ("frame", values, {"units": "Å"}) for n, values in means.items()})
    found["mean_thickness"] = ((), float(mean.mean()), {"units": "Å"})
    whole = float(np.hypot(np.sqrt(np.mean(std**2) / len(std)), common))
    found["mean_thickness_std"] = ((), whole, {"units": "Å"})
    found["thickness_noise"] = ("frame", std, {"units": "Å"})
    return found


def _metal_lines(parts: Parts, along: Array) -> tuple[Array, Array]:
    """Return distances from the frame's middle of the lines that bound the metal, and their std."""
    metal = parts.metal
    assert metal is not None
    each = _likelihood(parts.image - parts.oxide, metal.shown, parts.noise)
    inside = metal.weight > 0
    places = np.array([np.percentile(one[inside], 99) for one in along])
    stds = np.zeros(len(places))
    for _ in range(SWEEPS):
        for n in range(len(places)):
            others = np.delete(along, n, axis=0) <= np.delete(places, n)[:, None, None]
            held = others.all(axis=0)
            places[n], stds[n] = _line(along[n][held], each[held])
    return places, stds


def _each(frames: Array, parts: Parts, away: Array) -> tuple[Array, Array]:
    """Return thickness and standard deviation of every frame from distances to the metal, Å."""
    count = len(frames)
    label = sum((n * g.weight for n, g in enumerate(parts.grains, 1)), np.zeros(away.shape))
    # Beyond its outline a grain would go on as it is.
    nearest = ndimage.distance_transform_edt(
        label == 0, return_distances=False, return_indices=True
    )
    owner = label[tuple(nearest)].astype(int) - 1
    shown = np.take_along_axis(np.stack([g.shown for g in parts.grains]), owner[None], axis=0)[0]
    under = 0.0 if parts.metal is None else parts.metal.weight * parts.metal.shown
    reach = min(_rim(away), float(away.max()))
    free = (away > 0) & (away < reach)
    found = []
    for frame in frames:
        image = frame - frame.mean() - under / count
        each = _likelihood(image, shown / count, parts.noise / count)
        found.append(_line(away[free], each[free]))
    return np.array([one[0] for one in found]), np.array([one[1] for one in found])


def _rim(away: Array) -> float:
    """Return the least distance of the frame's rim."""
    rim = np.concatenate([away[0], away[-1], away[:, 0], away[:, -1]])
    return float(rim.min())


def _likelihood(image: Array, shown: Array, noise: float) -> Array:
    return np.asarray((image * shown - 0.5 * shown**2) / noise)


def _line(distance: Array, each: Array) -> tuple[float, float]:
    """Return mean and standard deviation of the place up to which pixels are of one kind."""
    low = float(distance.min())
    bins = ((distance - low) / STEP).astype(int)
    total = np.cumsum(np.bincount(bins, weights=each))
    share = np.exp(total - total.max())
    share /= share.sum()
    # A sum holds the whole of its last bin.
    places = low + STEP * (np.arange(len(total)) + 1)
    mean = float(share @ places)
    return mean, float(np.sqrt(share @ (places - mean) ** 2 + STEP**2 / 12))
