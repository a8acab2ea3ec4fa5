"""The model of a powder pattern: background and phases, with all its derivatives."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.inverse.powder_kernels import add_lines, divergence_nodes
from echolith.inverse.powder_lines import COLUMNS, PhaseLines, slopes

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
    fixed : dict
        Values of parameters that are not in ``names``.
    """

    angles: Array
    phases: tuple[PhaseLines, ...]
    names: tuple[str, ...]
    background: int
    fixed: dict[str, float]

    @property
    def all_names(self) -> tuple[str, ...]:
        """Names of the whole vector."""
        scales = tuple(f"{lines.part.phase.name}.scale" for lines in self.phases)
        return (*self.names, *scales, *(f"background_{i}" for i in range(self.background)))

    def values(self, vector: Array) -> dict[str, float]:
        """Return the parameters of a vector by name."""
        free = dict(zip(self.all_names, vector.tolist(), strict=True))
        return {**self.fixed, **free}

    def linear(self, vector: Array) -> Array:
        """Return what scales and background multiply, (points, phases + polynomials)."""
        values = self.values(vector)
        parts = [self._phase(lines, values, ())[0] for lines in self.phases]
        return np.column_stack([*parts, self.polynomials])

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

        Derivatives by what is not ``free`` may be left out as 0.
        """
        values = self.values(vector)
        changing = tuple(name for i, name in enumerate(self.names) if free is None or free[i])
        jacobian = np.zeros((len(self.angles), len(vector)))
        count = len(self.names)
        mean = np.zeros(len(self.angles))
        for position, lines in enumerate(self.phases):
            scale = values[f"{lines.part.phase.name}.scale"]
            pattern, by_name = self._phase(lines, values, changing)
            mean += scale * pattern
            jacobian[:, count + position] = pattern
            for index, column in by_name.items():
                jacobian[:, index] += scale * column
        polynomials = self.polynomials
        jacobian[:, count + len(self.phases) :] = polynomials
        mean += polynomials @ vector[count + len(self.phases) :]
        return mean, jacobian

    def _phase(
        self, lines: PhaseLines, values: dict[str, float], names: tuple[str, ...]
    ) -> tuple[Array, dict[int, Array]]:
        """Return one phase's pattern per scale, and derivatives by the index of their name."""
        table = lines.table(values).reshape(-1, len(COLUMNS))
        changing = slopes(lines, values, names)
        by = np.zeros((len(table), len(changing), len(COLUMNS)))
        for position, change in enumerate(changing.values()):
            by[:, position] = change.reshape(table.shape)
        pattern = np.zeros(len(self.angles))
        jacobian = np.zeros((len(self.angles), len(changing)))
        step = float(self.angles[1] - self.angles[0])
        nodes, weights = divergence_nodes()
        add_lines(float(self.angles[0]), step, table, by, nodes, weights, pattern, jacobian)
        columns = {self.names.index(name): jacobian[:, p] for p, name in enumerate(changing)}
        return pattern, columns
