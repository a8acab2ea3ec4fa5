"""Columns of a particle in a frame, or in a sum of frames moved back, with the lattice they form.

The lattice tells where columns should be; which of them stand out of the noise, and where each of
these is, the counts tell by maximum likelihood: ``E b (1 + sum_j a_j p(r - r_j))`` with the image p
of a column (`echolith.inverse.hrtem_profile`), the exposure E, and a background b. Amplitudes of
all columns are fitted, places of those that stand out.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.linalg import inv, solve

from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.inverse.hrtem_profile import Profile
from echolith.inverse.lattice import basis
from echolith.inverse.lattice_detection import noise_power
from echolith.inverse.lattice_fit import LatticeFit
from echolith.inverse.lattice_transfer import signed_transfer

Array = npt.NDArray[np.float64]

MARGIN = 1.15
"""Of the outline's radius, up to which columns are looked for."""
STANDS_OUT = 4.0
"""Standard deviations of the amplitude of a column that is told."""
UNSURE = 0.3
"""Å. A column whose place is less well known is left out."""
STEPS = 4
"""Of Newton's method."""
LARGEST_STEP = 0.2
"""Å, of a column in one of these."""
DARKEST = 0.2
"""Of the background; the least count that weighs a pixel."""


@dataclass(frozen=True, kw_only=True)
class ParticleColumns:
    """Columns that stand out.

    Attributes
    ----------
    places : array, (n, 2)
        (y, x), Å.
    covariance : array, (n, 2, 2)
        Of the places.
    amplitude, amplitude_std : array, (n,)
        Of the columns' images, 1 the background.
    candidates : int
        Places of the lattice within the particle.
    typical_std : float
        Å, of a place of all these, as far as it is known.
    """

    places: Array
    covariance: Array
    amplitude: Array
    amplitude_std: Array
    candidates: int
    typical_std: float


def lattice_nodes(fit: LatticeFit, acquisition: HrtemAcquisition) -> Array:
    """Return the places (n, 2), yx, Å, of columns within a particle's outline.

    All reflections are at their crests there, or in their troughs where the optics reverse them.
    """
    g = fit.reflections
    sign = np.sign([float(signed_transfer(acquisition, *one[::-1, None, None])[0, 0]) for one in g])
    vectors = np.linalg.inv(basis(g)).T
    fractions = np.stack(np.meshgrid(*2 * [np.arange(0, 1, 1 / 64)], indexing="ij"), axis=-1)
    places = fractions.reshape(-1, 2) @ vectors
    crest = places[int((np.exp(2j * np.pi * places @ g.T) @ (fit.amplitudes * sign)).real.argmax())]
    for _ in range(STEPS):
        turned = fit.amplitudes * sign * np.exp(2j * np.pi * g @ crest)
        bend = 4 * np.pi**2 * np.einsum("g,gi,gj->ij", np.maximum(turned.real, 0), g, g)
        crest = crest - np.linalg.pinv(bend) @ (2 * np.pi * turned.imag @ g)
    reach = int(np.ceil(MARGIN * fit.radius / np.linalg.norm(vectors, axis=1).min())) * 2
    n = np.arange(-reach, reach + 1)
    nodes = crest + np.stack(np.meshgrid(n, n), axis=-1).reshape(-1, 2) @ vectors
    near = nodes[np.hypot(*nodes.T) < MARGIN * fit.radius][:, ::-1] + fit.centre
    inside = (near >= 0) & (near <= np.array(acquisition.field) - acquisition.pixel)
    return np.asarray(near[inside.all(axis=1)])


def fit_columns(
    counts: Array, exposure: Array, *, fit: LatticeFit, acquisition: HrtemAcquisition
) -> ParticleColumns:
    """Find the columns of a particle.

    Parameters
    ----------
    counts : array, (ny, nx)
    exposure : array, (ny, nx)
        Frames that saw each pixel.
    fit : LatticeFit
        Of the same image.
    acquisition : HrtemAcquisition
    """
    model = _Model(counts, exposure, Profile.of(acquisition))
    places = lattice_nodes(fit, acquisition)
    free = np.zeros(len(places), dtype=bool)
    amplitude, _, normal = model.step(places, np.zeros(len(places)), free)
    std = np.sqrt(np.diag(inv(normal)))[:-1]
    free[:] = amplitude > STANDS_OUT * std
    typical = model.typical_std(np.sqrt(max(float(np.mean(amplitude**2 - std**2)), 0.0)))
    found, m = np.flatnonzero(free), int(free.sum())
    for _ in range(STEPS if m else 0):
        amplitude, move, normal = model.step(places, amplitude, free)
        places[free] += np.clip(move, -LARGEST_STEP, LARGEST_STEP)
    excess = model.excess(places, amplitude, float(np.hypot(*fit.reflections.T).min()))
    covariance = excess * inv(normal)
    errors = covariance[len(places) : -1, len(places) : -1].reshape(2, m, 2, m)
    each = errors[:, np.arange(m), :, np.arange(m)]
    sure = np.sqrt(np.einsum("nii->ni", each)).max(axis=1, initial=0) < UNSURE
    return ParticleColumns(
        places=places[found][sure],
        covariance=each[sure],
        amplitude=amplitude[found][sure],
        amplitude_std=np.sqrt(np.diag(covariance))[found][sure],
        candidates=len(places),
        typical_std=float(np.sqrt(excess)) * typical,
    )


class _Model:
    """The image as a sum of columns on a background."""

    def __init__(self, counts: Array, exposure: Array, profile: Profile) -> None:
        self.shape, self.profile = counts.shape, profile
        self.level = exposure.ravel() * counts.sum() / max(float(exposure.sum()), 1.0)
        self.relative = np.ones(counts.size)
        np.divide(counts.ravel(), self.level, out=self.relative, where=self.level > 0)

    def step(
        self, places: Array, amplitude: Array, free: npt.NDArray[np.bool_]
    ) -> tuple[Array, Array, Array]:
        """Return amplitudes, by how much free columns move, (n, 2) yx, and the information."""
        jacobian = self._jacobian(places, amplitude, free)
        n = len(places)
        model = 1 + jacobian[:, :n] @ amplitude
        weight = self.level / np.maximum(model, DARKEST)
        normal = (jacobian.T @ (jacobian * weight[:, None])).toarray()
        change = solve(normal, jacobian.T @ (weight * (self.relative - model)), assume_a="pos")
        return amplitude + change[:n], change[n:-1].reshape(2, -1).T, normal

    def excess(self, places: Array, amplitude: Array, radius: float) -> float:
        """Return the power of the rest at a radius (1/Å) by that of counting; 1 at least."""
        jacobian = self._jacobian(places, amplitude, np.zeros(len(places), dtype=bool))
        rest = self.relative - 1 - jacobian[:, :-1] @ amplitude
        root = np.sqrt(self.level)
        radii, power = noise_power((rest * root).reshape(self.shape), self.profile.pixel)
        return max(1.0, float(np.interp(radius, radii, power)))

    def _jacobian(
        self, places: Array, amplitude: Array, free: npt.NDArray[np.bool_]
    ) -> sparse.csr_array:
        """Return derivatives by amplitudes, y and x of free columns, and the background."""
        index, values, by_y, by_x = self.profile.stamps(places, self.shape)
        slopes = (one[free] * amplitude[free, None] for one in (by_y, by_x))
        data = np.concatenate([values, *slopes])
        rows = np.concatenate([index, index[free], index[free]])
        columns = np.broadcast_to(np.arange(len(rows))[:, None], rows.shape)
        held = rows >= 0
        shape = (self.relative.size, len(rows))
        parts = sparse.csr_array((data[held], (rows[held], columns[held])), shape=shape)
        return sparse.csr_array(sparse.hstack([parts, np.ones((shape[0], 1))]))

    def typical_std(self, amplitude: float) -> float:
        """Return the standard deviation of the place of a column of an amplitude, Å."""
        density = float(self.level.mean()) / self.profile.pixel**2
        slope = float((self.profile.by_y**2).sum()) * self.profile.step**2
        return float(1 / np.sqrt(max(density * slope * amplitude**2, 1e-12)))
