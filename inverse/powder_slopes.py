"""Derivatives of the lines of a powder pattern by what is refined."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from echolith.forward.powder_pattern import angle_shift
from echolith.forward.structure_factors import spacing
from echolith.inverse.powder_lines import COLUMNS, NARROWEST, OFFSETS, PhaseLines, pseudo_voigt
from echolith.inverse.powder_parameters import CELL_NAMES, Values, cell_of

Array = npt.NDArray[np.float64]

CENTRE, STRENGTH, WIDTH, MIXING, ASYMMETRY = range(len(COLUMNS))
STEP = 1e-5
"""Of differences: far below what is determined and far above rounding."""
STEPS = {"march": 1e-4, "b_iso": 1e-3}


def slopes(
    lines: PhaseLines, values: Values, names: Iterable[str], *, squares: Array
) -> Mapping[str, Array]:
    """Return the derivative of the table by each named parameter.

    Those that the phase does not depend on are left out. What a cell changes by |F|² is left out
    too: it is a thousandth of what it changes by where lines are.

    Parameters
    ----------
    lines : PhaseLines
    values : mapping
    names : iterable of str
    squares : array
        As from `PhaseLines.squares`.
    """
    two_theta = lines.two_theta(values)
    by_angle = (
        lines.table(values, squares=squares, two_theta=two_theta + STEP)
        - lines.table(values, squares=squares, two_theta=two_theta - STEP)
    ) / (2 * STEP)
    of_widths = _by_widths(lines, values, two_theta)
    own = f"{lines.part.phase.name}."
    found: dict[str, Array] = {}
    for name in names:
        last = name.removeprefix(own)
        if "." in last:
            continue
        by = np.zeros(by_angle.shape)
        if last in CELL_NAMES:
            by = by_angle * _angle_slope(lines, values, two_theta, name)[..., None]
        elif last in of_widths:
            by[..., WIDTH : MIXING + 1] = of_widths[last]
        elif last in OFFSETS:
            by[..., CENTRE] = _shift_slope(lines, two_theta, last)
        elif last == "divergence":
            height = values[name]
            by[..., ASYMMETRY] = -np.degrees(height / 1.5) / np.tan(np.radians(two_theta))
        else:
            step = STEPS.get(last, STEP)
            change = _difference(lines.squares, values, name, step)
            by[..., STRENGTH] = lines.table(values, squares=change, two_theta=two_theta)[
                ..., STRENGTH
            ]
        found[name] = by
    return found


def _difference(
    function: Callable[[Values], Array], values: Values, name: str, step: float
) -> Array:
    ahead, behind = (function({**values, name: values[name] + s * step}) for s in (1, -1))
    return (ahead - behind) / (2 * step)


def _angle_slope(lines: PhaseLines, values: Values, two_theta: Array, name: str) -> Array:
    """Return the derivative of 2 theta by a number of the cell: d theta = -tan theta dd / d."""
    phase, hkl = lines.part.phase, lines.reflections.hkl
    change = _difference(
        lambda changed: np.log(spacing(cell_of(phase, changed), hkl)), values, name, STEP
    )
    return np.degrees(-2 * np.tan(np.radians(two_theta / 2)) * change)


def _shift_slope(lines: PhaseLines, two_theta: Array, name: str) -> Array:
    none, some = (lines.instrument.model_copy(update={name: value}) for value in (0.0, 1.0))
    return angle_shift(two_theta, some) - angle_shift(two_theta, none)


def _by_widths(lines: PhaseLines, values: Values, two_theta: Array) -> dict[str, Array]:
    """Return derivatives of width and mixing by what widens lines, (..., 2)."""
    gaussian, lorentzian = lines.widths(values, two_theta)
    by_gaussian, by_lorentzian = (
        np.stack(
            [
                (ahead - behind) / (2 * STEP)
                for ahead, behind in zip(
                    pseudo_voigt(gaussian + g, lorentzian + w),
                    pseudo_voigt(gaussian - g, lorentzian - w),
                    strict=True,
                )
            ],
            axis=-1,
        )
        for g, w in ((STEP, 0), (0, STEP))
    )
    theta = np.radians(two_theta) / 2
    tangent = np.tan(theta)
    half = np.where(gaussian > NARROWEST, 0.5 / gaussian, 0.0)
    return {
        "u": by_gaussian * (half * tangent**2)[..., None],
        "v": by_gaussian * (half * tangent)[..., None],
        "w": by_gaussian * half[..., None],
        "strain_width": by_lorentzian * tangent[..., None],
        "size_width": by_lorentzian * (lines.of_wavelength / np.cos(theta))[..., None],
    }
