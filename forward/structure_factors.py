"""Reflections of a crystal and their X-ray structure factors, with dispersion.

F(h) = sum over atoms of occupancy (f0(s) + f' + i f'') exp(-B s²) exp(2 pi i h·x), s = 1 / (2 d).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError
from echolith.forward.crystal_phase import CrystalPhase, orbit
from echolith.forward.xray_factors import PLANCK_TIMES_LIGHT
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.int64]

MOST_REFLECTIONS = 200_000


@dataclass(frozen=True, kw_only=True)
class Reflections:
    """Families of equivalent reflections.

    Attributes
    ----------
    hkl : array, (families, 3)
        One of each.
    multiplicity : array, (families,)
        Of all that share |F| by symmetry and Friedel's law.
    """

    hkl: Integers
    multiplicity: Array


def allowed_reflections(phase: CrystalPhase, *, d_min: Angstrom) -> Reflections:
    """Return the families of reflections with lattice spacing above ``d_min``.

    Without those that centring, glide planes and screw axes forbid.

    Parameters
    ----------
    phase : CrystalPhase
        Its cell and space group count.
    d_min : float
        Å.

    Raises
    ------
    BadInputError
        If ``d_min`` is not positive, or there would be more than 200,000.
    """
    import gemmi

    if not d_min > 0:
        raise BadInputError(f"d_min = {d_min:g} Å; expected more than 0")
    if 4.2 * phase.volume / d_min**3 > MOST_REFLECTIONS:
        raise BadInputError(
            f"d_min = {d_min:g} Å asks for more than {MOST_REFLECTIONS} reflections of "
            f"{phase.name}; take a longer wavelength or a smaller range of angles"
        )
    group = gemmi.find_spacegroup_by_name(phase.spacegroup)
    hkl = gemmi.make_miller_array(phase.unit_cell, group, d_min)
    order = np.lexsort([*hkl.T, -spacing(phase.cell, hkl).round(9)])
    chosen = np.asarray(hkl[order], dtype=np.int64)
    operations = group.operations()
    return Reflections(
        hkl=chosen,
        multiplicity=np.array([_multiplicity(operations, one.tolist()) for one in chosen], float),
    )


def _multiplicity(operations: "object", hkl: list[int]) -> int:
    images = {tuple(op.apply_to_hkl(hkl)) for op in operations.sym_ops}  # type: ignore[attr-defined]
    return len(images | {tuple(-i for i in image) for image in images})


def reciprocal_metric(cell: tuple[float, ...] | Array) -> Array:
    """Return G* with ``1 / d² = h G* h``, (3, 3), 1/Å²."""
    a, b, c = cell[:3]
    cos = np.cos(np.radians(np.asarray(cell[3:])))
    metric = np.array(
        [
            [a * a, a * b * cos[2], a * c * cos[1]],
            [a * b * cos[2], b * b, b * c * cos[0]],
            [a * c * cos[1], b * c * cos[0], c * c],
        ]
    )
    return np.asarray(np.linalg.inv(metric))


def spacing(cell: tuple[float, ...] | Array, hkl: npt.NDArray[np.integer]) -> Array:
    """Return the lattice spacings d of reflections, Å."""
    indices = np.asarray(hkl, dtype=float)
    metric = reciprocal_metric(cell)
    return np.asarray(np.einsum("hi,ij,hj->h", indices, metric, indices) ** -0.5)


def structure_factors(
    phase: CrystalPhase,
    hkl: Integers,
    *,
    wavelength: Angstrom,
    dispersive: bool = True,
    sums: Complex | None = None,
) -> Complex:
    """Return the structure factor of each reflection, in electrons per conventional cell.

    Parameters
    ----------
    phase : CrystalPhase
    hkl : array, (reflections, 3)
    wavelength : float
        Å; it decides f' and f''.
    dispersive : bool
        Whether f' and f'' are counted; without them exchange of lithium and nickel comes out wrong.
    sums : array, optional
        As from `geometric_sums`, where they are known.

    Returns
    -------
    array, (reflections,)
        Complex.

    References
    ----------
    International Tables for Crystallography C (2004), tables 6.1.1.4 (f0); Cromer and Liberman,
    J. Chem. Phys. 53 (1970) 1891 (f', f''), both as gemmi has them.
    """
    factors = site_factors(phase, hkl, wavelength=wavelength, dispersive=dispersive, sums=sums)
    return np.asarray(factors.sum(axis=0))


def geometric_sums(phase: CrystalPhase, hkl: Integers) -> Complex:
    """Return the sum of exp(2 pi i h·x) over the images of each site, (sites, reflections)."""
    indices = np.asarray(hkl, dtype=float).T
    images = [orbit(phase.spacegroup, site.position) for site in phase.sites]
    return np.array([np.exp(2j * np.pi * (x @ indices)).sum(axis=0) for x in images])


def site_factors(
    phase: CrystalPhase,
    hkl: Integers,
    *,
    wavelength: Angstrom,
    dispersive: bool = True,
    sums: Complex | None = None,
) -> Complex:
    """Return what each site adds to the structure factors, (sites, reflections)."""
    s_squared = 0.25 / spacing(phase.cell, hkl) ** 2
    amplitudes = {e: form_factor(e, s_squared) for e in {site.element for site in phase.sites}}
    found = geometric_sums(phase, hkl) if sums is None else sums.copy()
    for index, site in enumerate(phase.sites):
        strength = amplitudes[site.element].astype(complex)
        if dispersive:
            strength += dispersion(site.element, wavelength)
        found[index] *= site.occupancy * strength * np.exp(-site.b_iso * s_squared)
    return found


def form_factor(element: str, s_squared: Array) -> Array:
    """Return f0 of a neutral atom at ``s² = 1 / (2 d)²``, electrons."""
    import gemmi

    coefficients = gemmi.Element(element).it92
    height, width = np.array(coefficients.a), np.array(coefficients.b)
    return np.asarray(
        (height * np.exp(-width * np.asarray(s_squared)[..., None])).sum(axis=-1) + coefficients.c
    )


@cache
def dispersion(element: str, wavelength: Angstrom) -> complex:
    """Return f' + i f'' of an element at a wavelength in Å.

    Raises
    ------
    BadInputError
        If the wavelength is outside 0.1 to 6 Å.
    """
    import gemmi

    if not 0.1 <= wavelength <= 6:
        raise BadInputError(
            f"wavelength = {wavelength:g} Å; expected 0.1 to 6 Å; did you give nm or an energy?"
        )
    number = gemmi.Element(element).atomic_number
    real, imaginary = gemmi.cromer_liberman(number, PLANCK_TIMES_LIGHT / wavelength)
    return complex(real, imaginary)
