"""The aberration function as a linear sum of real components, in radians at the rim.

    chi(k) = sum_j x_j b_j(k / k0),    b = rho^(n+1) cos(m phi) or rho^(n+1) sin(m phi),
    C_nm (cos, sin)(m phi_nm) = x_j lambda (n + 1) / (2 pi alpha^(n+1)),

with k0 = alpha / lambda the radius of the aperture. A component of 1 rad bends the wave at the rim
by 1 rad, whatever its order: all are of one size, and linear, as C and phi are not.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from echolith.forward.acquisition import Aberrations, Beam
from echolith.inverse.overlap_kernels import compiled

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Component:
    """One real component of the aberration function.

    Parameters
    ----------
    order, symmetry : int
        n and m of C_nm.
    sine : bool
        The second of a pair: C sin(m phi); the first is C cos(m phi).
    """

    order: int
    symmetry: int
    sine: bool = False

    @property
    def coefficient(self) -> str:
        """Name of the aberration, as in `Aberrations`."""
        return f"C{self.order}{self.symmetry}"

    @property
    def name(self) -> str:
        """``C10``, ``C12_a`` (cosine), ``C12_b`` (sine)."""
        return self.coefficient + ("" if not self.symmetry else "_b" if self.sine else "_a")

    def angstrom_per_radian(self, beam: Beam) -> float:
        """Return the coefficient in Å of 1 rad at the rim."""
        alpha = beam.semiangle * 1e-3
        return float(beam.wavelength * (self.order + 1) / (2 * np.pi * alpha ** (self.order + 1)))


def components(order: int) -> tuple[Component, ...]:
    """List the components up to an order, in the sequence of `Aberrations`.

    Examples
    --------
    >>> [c.name for c in components(2)]
    ['C10', 'C12_a', 'C12_b', 'C21_a', 'C21_b', 'C23_a', 'C23_b']
    """
    return tuple(
        Component(order=n, symmetry=m, sine=sine)
        for n, m, _, _ in Aberrations().terms()
        if n <= order
        for sine in ((False, True) if m else (False,))
    )


def scales(order: int, beam: Beam) -> FloatArray:
    """Return the coefficients in Å of 1 rad at the rim, one per component."""
    return np.array([c.angstrom_per_radian(beam) for c in components(order)])


def pairs(order: int) -> list[tuple[str, list[int]]]:
    """List (name of the aberration, places of its one or two components)."""
    numbered = enumerate(components(order))
    return [
        (name, [place for place, _ in group])
        for name, group in itertools.groupby(numbered, key=lambda item: item[1].coefficient)
    ]


def to_aberrations(values: FloatArray, order: int) -> Aberrations:
    """Return C and phi of components in Å.

    Parameters
    ----------
    values : array, (components,)
        Å, as `components` lists them.
    order : int
    """
    found: dict[str, float] = {}
    for name, places in pairs(order):
        if len(places) == 1:
            found[name] = float(values[places[0]])
            continue
        a, b = (float(values[place]) for place in places)
        found[name] = float(np.hypot(a, b))
        found[f"phi{name[1:]}"] = float(np.arctan2(b, a)) / int(name[2])
    return Aberrations(**found)


def from_aberrations(aberrations: Aberrations, order: int = 5) -> FloatArray:
    """Return the components in Å, as `components` lists them.

    Examples
    --------
    >>> from_aberrations(Aberrations(C10=3, C12=2, phi12=0), order=1).tolist()
    [3.0, 2.0, 0.0]
    """
    terms = {(n, m): (value, azimuth) for n, m, value, azimuth in aberrations.terms()}
    values = []
    for component in components(order):
        value, azimuth = terms[component.order, component.symmetry]
        angle = component.symmetry * azimuth
        values.append(value * (np.sin(angle) if component.sine else np.cos(angle)))
    return np.array(values)


def exponents(order: int) -> npt.NDArray[np.int64]:
    """Return per component: power of rho² before, m of Re or Im (x + iy)^m, and 1 for Im."""
    rows = [((c.order + 1 - c.symmetry) // 2, c.symmetry, int(c.sine)) for c in components(order)]
    return np.array(rows, dtype=np.int64)


@compiled
def fill_basis(x: float, y: float, powers: Any, out: Any) -> None:
    """Write every b_j at one point, in units of the aperture's radius, to out (components,)."""
    square = x * x + y * y
    for j in range(powers.shape[0]):
        if powers[j, 2] == 1:
            continue  # written with its cosine
        real, imaginary = 1.0, 0.0
        for _ in range(powers[j, 1]):
            real, imaginary = real * x - imaginary * y, real * y + imaginary * x
        for _ in range(powers[j, 0]):
            real, imaginary = real * square, imaginary * square
        out[j] = real
        if powers[j, 1] > 0:
            out[j + 1] = imaginary
