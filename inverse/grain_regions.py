"""Which grain a pixel belongs to: the fringes of which grain explain the image there.

The log likelihood of a pixel is ``(I p - p² / 2) / s²`` for the fringes p of a grain against none,
and adds up over pixels. It is summed under a Gaussian about each pixel, and the largest wins.
So neighbours are told apart by what differs between their fringes, even where their reflections
are nearer than a window could tell.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from echolith.inverse.grain_fit import GrainFit, blurred, fit_grain, fringes

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]

SLIT = 1.0
"""Half of the widest slit between grains that is closed, by ``blur``."""


@dataclass(frozen=True, kw_only=True)
class RegionOptions:
    """How grains are grown.

    Attributes
    ----------
    pixel : float
        Å.
    level : (array, array)
        Radii (1/Å) and power of the noise.
    blur : float
        Standard deviation of the Gaussian under which likelihoods are summed, Å.
    smooth : float
        The same of amplitudes inside a grain, Å.
    tolerance : float
        Standard deviation of strains before anything is seen.
    """

    pixel: float
    level: tuple[Array, Array]
    blur: float
    smooth: float
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class Grain:
    """A grain: its lattice, its pixels (0 to 1), what it would show, and the likelihood for it."""

    fit: GrainFit
    weight: Array
    shown: Array
    likelihood: Array


def grown(image: Array, weight: Array, fit: GrainFit, options: RegionOptions) -> Grain:
    """Fit a grain to the pixels it has, and tell where else it explains the image."""
    fit = fit_grain(
        image,
        weight,
        template=fit.template,
        start=(fit.rotation, fit.strain),
        level=options.level,
        pixel=options.pixel,
        tolerance=options.tolerance,
    )
    shown = fringes(image, weight, fit, pixel=options.pixel, smooth=options.smooth)
    noise = float(np.interp(np.hypot(*fit.g.T), *options.level).mean())
    each = (image * shown - 0.5 * shown**2) / noise
    likelihood = blurred(each, pixel=options.pixel, width=options.blur)
    return Grain(fit=fit, weight=weight, shown=shown, likelihood=likelihood)


def parted(grains: list[Grain], options: RegionOptions) -> Labels:
    """Return the grain of every pixel from 1, 0 for none; every grain is one piece.

    A slit between grains is theirs: fringes are weak where two of them meet.
    """
    shape = grains[0].likelihood.shape
    stack = np.stack([np.zeros(shape), *(grain.likelihood for grain in grains)])
    label = stack.argmax(axis=0)
    # What lies apart from the main piece goes to the next best.
    for number in range(1, len(stack)):
        stack[number][(label == number) & ~_largest(label == number)] = -np.inf
    label = stack.argmax(axis=0)
    reach = int(SLIT * options.blur / options.pixel)
    away = np.arange(-reach, reach + 1)
    closed = ndimage.binary_closing(label > 0, np.hypot(away[:, None], away) <= reach)
    slit = closed & (label == 0)
    label[slit] = 1 + stack[1:, slit].argmax(axis=0)
    return np.asarray(label, dtype=np.int32)


def _largest(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(pieces == 1 + np.bincount(pieces.ravel())[1:].argmax())


def shared(grains: list[Grain], options: RegionOptions) -> list[Grain]:
    """Return grains that have the pixels they win."""
    if not grains:
        return []
    label = parted(grains, options)
    return [replace(grain, weight=(label == n + 1) * 1.0) for n, grain in enumerate(grains)]


def settled(image: Array, grains: list[Grain], options: RegionOptions) -> list[Grain]:
    """Return grains fitted to the pixels they win; those that win none are left out."""
    return shared(
        [
            grown(image, grain.weight, grain.fit, options)
            for grain in shared(grains, options)
            if grain.weight.any()
        ],
        options,
    )
