"""A map of lithium by three windows about its K edge, corrected for plural scattering.

The background under the edge is the power law through two windows before it, times what a power
law is known to miss (plasmons of carbon and plural losses are none). What is left is divided by the
electrons of the unfiltered image and by the share that an atom of lithium on an Å² scatters into
the window. Plural scattering takes most of that out of a window in thick places: at a known
t/lambda the share is known too.

References
----------
Egerton, *Electron Energy-Loss Spectroscopy in the Electron Microscope*, 3rd ed. (2011), sections
4.4 and 4.5; Jeanguillaume, Trebbia and Colliex, Ultramicroscopy 3 (1978) 237 (three windows).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from echolith.forward.filtered_acquisition import FilteredAcquisition
from echolith.inverse.filtered_registration import Moved
from echolith.inverse.loss_tables import LossTable

Array = npt.NDArray[np.float64]


class ElementalMap(NamedTuple):
    """Atoms of lithium on an Å² (y, x).

    ``variance``: of a pixel, ``white``: of a pixel's part in a sum over many. ``uncorrected``: as
    if every electron had lost energy once. ``significance``: of the edge, standard deviations of
    the background. ``jump_ratio``: of post-edge to second pre-edge window, by exposure.
    """

    areal_density: Array
    variance: Array
    white: Array
    uncorrected: Array
    significance: Array
    jump_ratio: Array


class Signals(NamedTuple):
    """Images in one frame, electrons on a pixel for a dose of 1 e/Å²."""

    unfiltered: Moved
    pre_edge: tuple[Moved, Moved]
    post_edge: Moved


def elemental_map(
    signals: Signals,
    tau: Array,
    tau_variance: Array,
    covariance: Array,
    *,
    acquisition: FilteredAcquisition,
    table: LossTable,
) -> ElementalMap:
    """Return the map of lithium.

    Parameters
    ----------
    signals : Signals
    tau, tau_variance : array (y, x)
        t/lambda of every pixel.
    covariance : array (y, x)
        Of t/lambda and lithium within a pixel, 1/Å².
    acquisition : FilteredAcquisition
    table : LossTable
        Of shares that windows pass.
    """
    low, high, post = (*signals.pre_edge, signals.post_edge)
    incident = signals.unfiltered.values
    power, plain = _power_law(acquisition)
    line = np.exp((1 + power) * _log(high) - power * _log(low))
    lines = {
        name: (1 + power) ** 2 * getattr(high, name) / high.values**2
        + power**2 * getattr(low, name) / low.values**2
        for name in ("variance", "white")
    }
    # The mean of an exponential is that of its exponent and half the variance.
    background = line * np.exp(table.curvature(tau, power) - lines["variance"] / 2)
    share, slope = table.edge_share(tau)
    bare, _ = table.edge_share(np.zeros(1))
    # Where a pixel is thick, lithium is seen less: the mean of a product is not that of means.
    density = (post.values - background) / (incident * share) - slope / share * covariance
    doubt = signals.unfiltered.variance / incident**2 + (slope / share) ** 2 * tau_variance
    parts = {
        name: (getattr(post, name) + background**2 * lines[name]) / (incident * share) ** 2
        + density**2 * doubt
        for name in lines
    }
    # Without lithium the window would hold the background and its noise alone.
    empty = post.variance * background / post.values + background**2 * lines["variance"]
    empty = np.where(empty > 0, empty, np.nan)
    return ElementalMap(
        areal_density=density,
        variance=parts["variance"],
        white=parts["white"],
        uncorrected=(post.values - line * np.exp(plain)) / (incident * bare),
        significance=(post.values - background) / np.sqrt(empty),
        jump_ratio=post.values / high.values,
    )


def _power_law(acquisition: FilteredAcquisition) -> tuple[float, float]:
    """Return how a power law goes on from two windows to the third.

    ``ln B3 = ln C2 + power (ln C2 - ln C1) + plain``, C counts of windows of unlike widths.
    """
    first, second, third = (*acquisition.pre_edge, acquisition.post_edge)
    power = np.log(third.centre / second.centre) / np.log(second.centre / first.centre)
    plain = np.log(third.width / second.width) - power * np.log(second.width / first.width)
    return float(power), float(plain)


def _log(image: Moved) -> Array:
    """Return an unbiased logarithm of counts."""
    return np.asarray(np.log(image.values) + image.variance / (2 * image.values**2))
