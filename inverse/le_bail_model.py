"""The model of a powder pattern whose line intensities are free, with all its derivatives."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.structure_factors import spacing
from echolith.inverse.powder_kernels import add_lines
from echolith.inverse.powder_lines import COLUMNS, PhaseLines
from echolith.inverse.powder_model import PatternModel
from echolith.inverse.powder_parameters import FREE_CELL, free_cell

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SAME = 8
"""Decimals of lattice spacings (Å) that are equal whatever the cell."""


@dataclass(frozen=True, kw_only=True)
class FreeLines:
    """Mean counts as a function of a pattern's parameters and of the intensity of every line.

    Attributes
    ----------
    pattern : PatternModel
        Its scales are to stay 1; the atoms of its phases do not count.
    line : tuple of arrays, (families,)
        For each phase, the line that each family of reflections belongs to, counted through all
        phases: families of one spacing whatever the cell make one line.
    """

    pattern: PatternModel
    line: tuple[Integers, ...]

    @property
    def count(self) -> int:
        """Number of lines of all phases."""
        return int(self.line[-1].max()) + 1

    def at(self, intensities: Array) -> PatternModel:
        """Return the pattern's model with given intensities, (lines,)."""
        phases = tuple(
            replace(lines, intensities=intensities[line])
            for lines, line in zip(self.pattern.phases, self.line, strict=True)
        )
        return replace(self.pattern, phases=phases)

    def columns(self, vector: Array) -> tuple[Array, Array]:
        """Return the counts of each line per intensity, and the share of each that is in the range.

        Returns
        -------
        columns : array, (points, lines)
        share : array, (lines,)
            0 for a line that no wavelength reaches.
        """
        angles = self.pattern.angles
        step = float(angles[1] - angles[0])
        found, area = np.zeros((self.count, len(angles))), np.zeros(self.count)
        none = np.zeros((0, len(angles)))
        values = self.pattern.values(vector)
        for lines, line in zip(self.pattern.phases, self.line, strict=True):
            table = replace(lines, intensities=np.ones(len(line))).table(values)
            for family, number in enumerate(line):
                own = np.ascontiguousarray(table[:, family])
                area[number] += own[:, COLUMNS.index("strength")].sum()
                slopes = np.zeros((len(own), 0, len(COLUMNS)))
                add_lines(float(angles[0]), step, own, slopes, found[number], none)
        return found.T, step * found.sum(axis=1) / np.maximum(area, 1e-300)

    def __call__(self, vector: Array, *, free: Mask) -> tuple[Array, Array]:
        """Return mean counts and Jacobian for the pattern's vector followed by the intensities."""
        own = len(vector) - self.count
        mean, jacobian = self.at(vector[own:])(vector[:own], free=free[:own])
        return mean, np.concatenate([jacobian, self.columns(vector[:own])[0]], axis=1)


def free_lines(pattern: PatternModel) -> FreeLines:
    """Return the model with a free intensity for every line of every phase."""
    numbers: list[Integers] = []
    count = 0
    for lines in pattern.phases:
        own = same_spacing(lines) + count
        count = int(own.max()) + 1
        numbers.append(own)
    return FreeLines(pattern=pattern, line=tuple(numbers))


def same_spacing(lines: PhaseLines) -> Integers:
    """Return a number for each family, the same for those of one spacing whatever the cell.

    Such as 333 and 511 of a cubic crystal: only their sum is ever seen.
    """
    phase, hkl = lines.part.phase, lines.reflections.hkl
    spacings = np.stack([spacing(cell, hkl) for cell in (phase.cell, _another_cell(phase))], axis=1)
    _, number = np.unique(spacings.round(SAME), axis=0, return_inverse=True)
    return np.asarray(number.ravel(), dtype=np.int64)


def _another_cell(phase: CrystalPhase) -> tuple[float, ...]:
    """Return a cell of the same symmetry, with other ratios of what symmetry leaves free."""
    names = free_cell(phase)
    cell = dict(zip(FREE_CELL["triclinic"], phase.cell, strict=True))
    for index, name in enumerate(names):
        cell[name] *= 1 + 0.0123 * (index + 1) ** 1.5
    for name in ("b", "c"):
        if name not in names:
            cell[name] = cell["a"]
    return tuple(cell.values())
