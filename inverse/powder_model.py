"""The model of a powder pattern: background and phases, with all its derivatives."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.inverse.powder_kernels import add_lines
from echolith.inverse.powder_lines import COLUMNS, PhaseLines
from echolith.inverse.powder_slopes import slopes

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PatternModel:
    """Mean counts as a function of a vector: parameters by name, then scales, then background.

    Attributes
    ----------
    angles : array, (points,)
        2 theta, degree, evenly spaced.
    phases : tuple of PhaseLines
    names : tuple of str
        Of the parameters besides scales and background.
    background : int
        Chebyshev polynomials.
    """

    angles: Array
    phases: tuple[PhaseLines, ...]
    names: tuple[str, ...]
    background: int

    @property
    def all_names(self) -> tuple[str, ...]:
        """Names of the whole vector."""
        scales = tuple(f"{lines.part.phase.name}.scale" for lines in self.phases)
        return (*self.names, *scales, *(f"background_{i}" for i in range(self.background)))

    def values(self, vector: Array) -> dict[str, float]:
        """Return the parameters of a vector by name."""
        return dict(zip(self.all_names, vector.tolist(), strict=True))

    def linear(self, vector: Array, *, only: int | None = None) -> Array:
        """Return what scales and background multiply, (points, phases + polynomials).

        With ``only`` all phases but one are 0.
        """
        values = self.values(vector)
        parts = np.zeros((len(self.angles), len(self.phases)))
        for position, lines in enumerate(self.phases):
            if only in (None, position):
                parts[:, position] = self._phase(lines, values, ())[0]
        return np.column_stack([parts, self.polynomials])

    @property
    def polynomials(self) -> Array:
        """Chebyshev polynomials over the range, (points, polynomials)."""
        first, last = self.angles[0], self.angles[-1]
        scaled = (2 * self.angles - first - last) / (last - first)
        return np.asarray(np.polynomial.chebyshev.chebvander(scaled, self.background - 1))

    def __call__(
        self, vector: Array, *, free: npt.NDArray[np.bool_] | None = None
    ) -> tuple[Array, Array]:
        """Return the mean counts (points,) and their Jacobian (points, len(vector)).

        Derivatives by what is not ``free`` may be left out as 0; a phase of scale 0 that is not
        free costs nothing.
        """
        values = self.values(vector)
        changing = tuple(name for i, name in enumerate(self.names) if free is None or free[i])
        places = [self.names.index(name) for name in changing]
        count, polynomials = len(self.names), self.polynomials
        jacobian = np.zeros((len(vector), len(self.angles)))
        mean = polynomials @ vector[count + len(self.phases) :]
        for position, lines in enumerate(self.phases):
            scale = values[f"{lines.part.phase.name}.scale"]
            if scale == 0 and free is not None and not free[count + position]:
                continue
            pattern, by_name = self._phase(lines, values, changing)
            mean += scale * pattern
            jacobian[count + position] = pattern
            for index, row in by_name.items():
                jacobian[places[index]] += scale * row
        jacobian[count + len(self.phases) :] = polynomials.T
        return mean, jacobian.T

    def _phase(
        self, lines: PhaseLines, values: dict[str, float], names: tuple[str, ...]
    ) -> tuple[Array, dict[int, Array]]:
        """Return one phase's pattern per scale, and derivatives by the index of their name."""
        squares = lines.squares(values)
        table = lines.table(values, squares=squares).reshape(-1, len(COLUMNS))
        changing = slopes(lines, values, names, squares=squares) if names else {}
        by = np.zeros((len(table), len(changing), len(COLUMNS)))
        for position, change in enumerate(changing.values()):
            by[:, position] = change.reshape(table.shape)
        pattern = np.zeros(len(self.angles))
        rows = np.zeros((len(changing), len(self.angles)))
        step = float(self.angles[1] - self.angles[0])
        add_lines(float(self.angles[0]), step, table, by, pattern, rows)
        return pattern, {names.index(name): row for name, row in zip(changing, rows, strict=True)}
