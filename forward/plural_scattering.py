"""Plural scattering: energies of electrons that lost energy any number of times.

An electron meets a material ``tau = t / lambda`` times in the mean, Poisson. So with S the
distribution of one loss, that of all is ``F^-1[exp(tau (F[S] - 1))]``, exactly, and materials
multiply (Egerton, *Electron Energy-Loss Spectroscopy in the Electron Microscope*, 3rd ed. (2011),
eqs. 4.7 to 4.9). Energies are those of a grid that closes on itself beyond 512 eV.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.stats import norm

from echolith.forward.energy_loss import (
    MATERIALS,
    LossMaterial,
    edge_cross_section,
    inelastic_mean_free_path,
    plasmon_losses,
)

Array = npt.NDArray[np.float64]

STEP = 0.5
"""eV. A plasmon of width 2 eV is sampled to 1e-5."""
COUNT = 1024
LARGEST_LOSS = 200.0
"""eV of a single loss: ten of them reach round the grid in less than 1e-6 of the electrons."""
AT_ONCE = 2048


def loss_energies() -> Array:
    """Return the energies of the grid, eV, from 0."""
    return np.asarray(STEP * np.arange(COUNT))


@dataclass(frozen=True, kw_only=True)
class LossModel:
    """Rates and spectra of single losses in core, shell and support.

    Attributes
    ----------
    energy, semiangle : float
        Of the electrons, eV, and of the aperture, mrad.
    materials : tuple of LossMaterial
        Three, in the order of `echolith.structures.coated_body.LAYERS`.
    path_scale : float
        Of all mean free paths, by the formula's.
    edge_scale : float
        Of the cross-section of Li K, by the table's.
    """

    energy: float
    semiangle: float
    materials: tuple[LossMaterial, ...] = MATERIALS
    path_scale: float = 1.0
    edge_scale: float = 1.0

    @cached_property
    def paths(self) -> Array:
        """Mean free paths, all losses, Å (materials,)."""
        return self.path_scale * np.array(
            [
                inelastic_mean_free_path(m.density, energy=self.energy, semiangle=self.semiangle)
                for m in self.materials
            ]
        )

    @cached_property
    def lithium(self) -> Array:
        """Atoms of lithium, 1/Å³ (materials,)."""
        return np.array([m.number_density(3) for m in self.materials])

    @cached_property
    def _edge(self) -> Array:
        section = edge_cross_section(loss_energies(), energy=self.energy, semiangle=self.semiangle)
        return self.edge_scale * STEP * section

    @property
    def edge_section(self) -> float:
        """Cross-section of the K shell of a lithium atom, Å²."""
        return float(self._edge.sum())

    @cached_property
    def singles(self) -> Array:
        """Distributions of one loss (materials + 1, energies): of each material, then of Li K."""
        e = loss_energies()
        inside = np.where(e <= LARGEST_LOSS, e, 0.0)
        rows = [
            plasmon_losses(inside, m, energy=self.energy, semiangle=self.semiangle)
            for m in self.materials
        ]
        return np.stack([*rows, self._edge / self._edge.sum()])

    def scatterings(self, lengths: Array) -> Array:
        """Return mean numbers of losses (..., materials + 1) in lengths (..., materials), Å.

        Li K is a part of what the mean free path counts.
        """
        edge = lengths * self.lithium * self.edge_section
        return np.concatenate(
            [lengths / self.paths - edge, edge.sum(axis=-1, keepdims=True)], axis=-1
        )


def plural_distribution(scatterings: Array, singles: Array) -> Array:
    """Return the distribution (energies,) of all losses; the sum is 1.

    Parameters
    ----------
    scatterings : array (kinds,)
        Mean number of losses of each kind.
    singles : array (kinds, energies)
    """
    exponent = scatterings @ (fft.rfft(singles) - 1)
    return np.asarray(fft.irfft(np.exp(exponent), singles.shape[-1]))


def window_weights(low: float, high: float, *, resolution: float) -> Array:
    """Return the probability (energies,) that an electron of a loss passes from low to high.

    Parameters
    ----------
    low, high : float
        eV.
    resolution : float
        Standard deviation of the energies of source and filter, eV.
    """
    edges = (np.array([[low], [high]]) - loss_energies()) / max(resolution, 1e-6)
    return np.asarray(np.diff(norm.cdf(edges), axis=0)[0])


def window_shares(scatterings: Array, singles: Array, windows: Array) -> Array:
    """Return which part of the electrons each window passes, (n, windows).

    Parameters
    ----------
    scatterings : array (n, kinds)
    singles : array (kinds, energies)
    windows : array (windows, energies)
        As from `window_weights`.
    """
    energies = singles.shape[-1]
    exponent = fft.rfft(singles) - 1
    # Parseval: the sum over energies is one over frequencies, those inside counted twice.
    twice = np.full(exponent.shape[-1], 2.0)
    twice[0] = 1.0
    if energies % 2 == 0:
        twice[-1] = 1.0
    passed = (np.conj(fft.rfft(windows)) * twice / energies).T
    shares = np.empty((len(scatterings), len(windows)))
    for start in range(0, len(scatterings), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        shares[rows] = (np.exp(scatterings[rows] @ exponent) @ passed).real
    return np.maximum(shares, 0)
