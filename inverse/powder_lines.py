"""Every line of a powder pattern: where, how strong, how wide, as functions of what is refined."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from echolith.forward.crystal_phase import CrystalPhase, PhaseSite
from echolith.forward.powder_pattern import (
    PowderAcquisition,
    PowderPhase,
    angle_factor,
    angle_shift,
    march_dollase,
)
from echolith.forward.powder_profile import gaussian_width, lorentzian_width
from echolith.forward.structure_factors import (
    Complex,
    Reflections,
    allowed_reflections,
    geometric_sums,
    spacing,
    structure_factors,
)
from echolith.inverse.powder_parameters import Refined, Values, cell_of, equal_height

Array = npt.NDArray[np.float64]

COLUMNS = ("centre", "strength", "width", "mixing", "asymmetry")
"""What a line is: 2 theta without asymmetry (degree), area per scale, full width at half maximum
(degree), Lorentzian part of the pseudo-Voigt, and mean shift by axial divergence (degree)."""
MARGIN = 0.02
"""Of the lattice spacing, by which cells may change before other reflections come in."""
OFFSETS = ("zero", "displacement", "displacement_along")
"""Parameters that move lines."""
BEYOND = 3.0
"""Degree outside the range from which lines are still counted."""
LAST = 178.0
"""Degree of 2 theta, where a line is put that a wavelength does not reach; none is seen there."""
NARROWEST = 1e-3
"""Gaussian full width, degree."""


@dataclass(frozen=True, kw_only=True)
class PhaseLines:
    """The lines of one phase in a range, for any values of the parameters.

    Attributes
    ----------
    part : PowderPhase
    instrument : PowderAcquisition
    refined : Refined
    intensities : array, (families,), optional
        |F|² / V² of each where they are free: the atoms of the phase do not count then.
    reflections : Reflections
    """

    part: PowderPhase
    instrument: PowderAcquisition
    refined: Refined
    intensities: Array | None = None
    reflections: Reflections = field(init=False)
    sums: Complex = field(init=False)
    """Of the sites where the phase has them, (sites, reflections)."""

    def __post_init__(self) -> None:
        shortest = min(wavelength for wavelength, _ in self.instrument.lines)
        sine = np.sin(np.radians(min(self.instrument.stop + BEYOND, 179.0) / 2))
        d_min = shortest / (2 * sine) / (1 + MARGIN)
        reflections, sums = _reflections(self.part.phase, d_min)
        object.__setattr__(self, "reflections", reflections)
        object.__setattr__(self, "sums", sums)

    @property
    def wavelengths(self) -> Array:
        """Of the source, Å, (lines of the source, 1)."""
        return np.array([[wavelength] for wavelength, _ in self.instrument.lines])

    def two_theta(self, values: Values) -> Array:
        """Return where lines would be without offsets, degree, (lines of the source, reflections).

        `LAST` where a reflection is beyond the reach of a wavelength.
        """
        reach = np.sin(np.radians(LAST / 2))
        spacings = spacing(cell_of(self.part.phase, values), self.reflections.hkl)
        sine = np.minimum(self.wavelengths / (2 * spacings), reach)
        return np.asarray(np.degrees(2 * np.arcsin(sine)))

    def table(
        self, values: Values, *, squares: Array | None = None, two_theta: Array | None = None
    ) -> Array:
        """Return the lines, (lines of the source, reflections, columns).

        Parameters
        ----------
        values : mapping
        squares, two_theta : array, optional
            As from `squares` and `two_theta`, which they are by default.

        Returns
        -------
        array
            A reflection beyond the reach of a wavelength has no strength.
        """
        squares = self.squares(values) if squares is None else squares
        two_theta = self.two_theta(values) if two_theta is None else two_theta
        shares = np.array([[share] for _, share in self.instrument.lines])
        strength = shares * self.reflections.multiplicity * squares
        strength = strength * angle_factor(two_theta, self.instrument)
        strength[two_theta > LAST - 0.01] = 0
        offsets = self.instrument.model_copy(
            update={name: values[name] for name in OFFSETS if name in values}
        )
        height = values.get("divergence", equal_height(self.instrument.divergence))
        return np.stack(
            [
                two_theta + angle_shift(two_theta, offsets),
                strength,
                *pseudo_voigt(*self.widths(values, two_theta)),
                -np.degrees(height**2 / 3) / np.tan(np.radians(two_theta)),
            ],
            axis=-1,
        )

    def squares(self, values: Values) -> Array:
        """Return |F|² / V² with preferred orientation, (lines of the source, reflections)."""
        if self.intensities is not None:
            return np.tile(self.intensities, (len(self.instrument.lines), 1))
        phase, hkl, name = self.part.phase, self.reflections.hkl, self.part.phase.name
        sites = _sites(phase.sites, name, values, self.refined)
        changed = phase.model_copy(update={"cell": cell_of(phase, values), "sites": sites})
        march = values.get(f"{name}.march", self.part.march)
        part = self.part.model_copy(update={"march": max(march, 0.05), "phase": changed})
        moved = any(of_phase == name for of_phase, _ in self.refined.positions)
        sums = geometric_sums(changed, hkl) if moved else self.sums
        dispersive = self.instrument.dispersive
        factors = [
            structure_factors(changed, hkl, wavelength=w, dispersive=dispersive, sums=sums)
            for w, _ in self.instrument.lines
        ]
        oriented = march_dollase(part, hkl) / changed.volume**2
        return np.asarray(np.abs(factors) ** 2 * oriented)

    def widths(self, values: Values, two_theta: Array) -> tuple[Array, Array]:
        """Return full widths of the Gaussian and the Lorentzian part, degree."""
        name = self.part.phase.name
        instrument = self.instrument.widths.model_copy(
            update={key: values[key] for key in ("u", "v", "w") if key in values}
        )
        gaussian = np.maximum(gaussian_width(two_theta, instrument), NARROWEST)
        lorentzian = lorentzian_width(two_theta, instrument, wavelength=self.wavelengths[0, 0])
        theta = np.radians(two_theta) / 2
        of_strain = values.get(f"{name}.strain_width", 0.0) * np.tan(theta)
        of_size = values.get(f"{name}.size_width", 0.0) * self.of_wavelength / np.cos(theta)
        return gaussian, np.maximum(lorentzian + of_strain + of_size, 1e-4)

    @property
    def of_wavelength(self) -> Array:
        """Wavelengths over the first one, (lines of the source, 1)."""
        return np.asarray(self.wavelengths / self.wavelengths[0])


@lru_cache(maxsize=64)
def _reflections(phase: CrystalPhase, d_min: float) -> tuple[Reflections, Complex]:
    found = allowed_reflections(phase, d_min=d_min)
    return found, geometric_sums(phase, found.hkl)


def _sites(
    sites: tuple[PhaseSite, ...], name: str, values: Values, refined: Refined
) -> tuple[PhaseSite, ...]:
    """Return the sites with refined occupancies, z and B (unchecked: a fit may pass a limit)."""
    found = []
    for site in sites:
        occupancy, (x, y, z) = site.occupancy, site.position
        for shift in refined.occupancies:
            if shift.phase == name:
                slope = shift.slopes.get(site.label, 0.0)
                occupancy += slope * values.get(f"{name}.{shift.name}", 0.0)
        z = values.get(f"{name}.z_{site.label}", z)
        b_iso = site.b_iso + values.get(f"{name}.b_iso", 0.0)
        changes = {"occupancy": occupancy, "position": (x, y, z), "b_iso": b_iso}
        found.append(site.model_copy(update=changes))
    return tuple(found)


def pseudo_voigt(gaussian: Array, lorentzian: Array) -> tuple[Array, Array]:
    """Return full width and mixing of the pseudo-Voigt nearest to a Voigt function.

    Parameters
    ----------
    gaussian, lorentzian : array
        Full widths at half maximum of the two.

    References
    ----------
    Thompson, Cox and Hastings, J. Appl. Cryst. 20 (1987) 79, equations 4 and 5.
    """
    g, w = gaussian, lorentzian
    width = (
        g**5 + 2.69269 * g**4 * w + 2.42843 * g**3 * w**2 + 4.47163 * g**2 * w**3
        + 0.07842 * g * w**4 + w**5
    ) ** 0.2  # fmt: skip
    ratio = w / width
    return width, 1.36603 * ratio - 0.47719 * ratio**2 + 0.11116 * ratio**3
