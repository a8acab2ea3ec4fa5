"""Every line of a powder pattern: where, how strong, how wide, as functions of what is refined."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from echolith.forward.crystal_phase import PhaseSite
from echolith.forward.powder_pattern import (
    PowderAcquisition,
    PowderPhase,
    angle_factor,
    angle_shift,
    march_dollase,
)
from echolith.forward.powder_profile import gaussian_width, lorentzian_width
from echolith.forward.structure_factors import (
    Reflections,
    allowed_reflections,
    spacing,
    structure_factors,
)
from echolith.inverse.powder_parameters import Refined, Values, cell_of

Array = npt.NDArray[np.float64]

COLUMNS = ("centre", "strength", "width", "mixing", "asymmetry")
"""What a line is: 2 theta without asymmetry (degree), area per scale, full width at half maximum
(degree), Lorentzian part of the pseudo-Voigt, and mean shift by axial divergence (degree)."""
MARGIN = 0.02
"""Of the lattice spacing, by which cells may change before other reflections come in."""
BEYOND = 3.0
"""Degree outside the range from which lines are still counted."""


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

    def __post_init__(self) -> None:
        shortest = min(wavelength for wavelength, _ in self.instrument.lines)
        sine = np.sin(np.radians(min(self.instrument.stop + BEYOND, 179.0) / 2))
        found = allowed_reflections(self.part.phase, d_min=shortest / (2 * sine) / (1 + MARGIN))
        object.__setattr__(self, "reflections", found)

    def table(self, values: Values, *, squares: Array | None = None) -> Array:
        """Return the lines, (lines of the source, reflections, columns).

        Parameters
        ----------
        values : mapping
        squares : array, optional
            As from `squares` for the same crystal.

        Returns
        -------
        array
            A reflection beyond the reach of a wavelength has no strength.
        """
        squares = self.squares(values) if squares is None else squares
        spacings = spacing(cell_of(self.part.phase, values), self.reflections.hkl)
        lines = zip(self.instrument.lines, squares, strict=True)
        return np.stack([self._of_line(values, spacings, *line, own) for line, own in lines])

    def squares(self, values: Values) -> Array:
        """Return |F|² / V² with preferred orientation, (lines of the source, reflections)."""
        if self.intensities is not None:
            return np.tile(self.intensities, (len(self.instrument.lines), 1))
        phase, name = self.part.phase, self.part.phase.name
        changed = phase.model_copy(
            update={
                "cell": cell_of(phase, values),
                "sites": _sites(phase.sites, name, values, self.refined),
            }
        )
        march = values.get(f"{name}.march", self.part.march)
        part = self.part.model_copy(update={"march": max(march, 0.05), "phase": changed})
        oriented = march_dollase(part, self.reflections.hkl) / changed.volume**2
        return (
            np.stack(
                [
                    np.abs(
                        structure_factors(
                            changed,
                            self.reflections.hkl,
                            wavelength=w,
                            dispersive=self.instrument.dispersive,
                        )
                    )
                    ** 2
                    for w, _ in self.instrument.lines
                ]
            )
            * oriented
        )

    def _of_line(
        self, values: Values, spacings: Array, wavelength: float, share: float, squares: Array
    ) -> Array:
        sine = wavelength / (2 * spacings)
        seen = sine < 0.9999
        two_theta = np.degrees(2 * np.arcsin(np.minimum(sine, 0.9999)))
        strength = share * self.reflections.multiplicity * squares
        strength = np.where(seen, strength * angle_factor(two_theta, self.instrument), 0.0)
        offsets = self.instrument.model_copy(
            update={name: values[name] for name in ("zero", "displacement") if name in values}
        )
        width, mixing = self._widths(values, two_theta, wavelength)
        height = values.get("divergence", 0.0)
        return np.stack(
            [
                two_theta + angle_shift(two_theta, offsets),
                strength,
                width,
                mixing,
                -np.degrees(height**2 / 3) / np.tan(np.radians(two_theta)),
            ],
            axis=-1,
        )

    def _widths(self, values: Values, two_theta: Array, wavelength: float) -> tuple[Array, Array]:
        name = self.part.phase.name
        instrument = self.instrument.widths.model_copy(
            update={key: values[key] for key in ("u", "v", "w") if key in values}
        )
        gaussian = np.maximum(gaussian_width(two_theta, instrument), 1e-3)
        size = values.get(f"{name}.size_width", 0.0) * wavelength / self.instrument.lines[0][0]
        own = instrument.model_copy(
            update={
                "x": instrument.x + values.get(f"{name}.strain_width", 0.0),
                "y": instrument.y + size,
            }
        )
        lorentzian = np.maximum(lorentzian_width(two_theta, own, wavelength=wavelength), 1e-4)
        return pseudo_voigt(gaussian, lorentzian)


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


def slopes(lines: PhaseLines, values: Values, names: tuple[str, ...]) -> Mapping[str, Array]:
    """Return the derivative of the table by each named parameter, by central differences.

    Those that the phase does not depend on are left out.
    """
    found: dict[str, Array] = {}
    own = f"{lines.part.phase.name}."
    squares = lines.squares(values)
    for name in names:
        if "." in name and not name.startswith(own):
            continue
        last = name.rsplit(".", 1)[-1]
        step = STEPS.get(last, 1e-5)
        kept = squares if last in LEAVE_INTENSITIES else None
        ahead, behind = (
            lines.table({**values, name: values[name] + sign * step}, squares=kept)
            for sign in (1, -1)
        )
        found[name] = (ahead - behind) / (2 * step)
    return found


STEPS = {"u": 1e-4, "v": 1e-4, "w": 1e-4, "divergence": 1e-4, "march": 1e-4, "b_iso": 1e-3}
"""Of the differences; 1e-5 for others, which is far below what is determined and far above
rounding."""

LEAVE_INTENSITIES = {
    *("zero", "displacement", "u", "v", "w", "divergence", "size_width", "strain_width"),
}
"""Parameters that change no structure factor."""
