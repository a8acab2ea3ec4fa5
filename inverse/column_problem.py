"""The least-squares problem of a joint column fit: data, margin, priors, normal equations."""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.column_model import EVEN, ODD, ColumnSum
from echolith.inverse.column_profiles import Scattering
from echolith.inverse.whitening import Whitening
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

SHAPE_STD = np.array([0.3, 0.3, 0.3, 0.1])
"""Prior on the even shape terms (Å², Å², Å², Å⁴) around a Debye-Waller factor of 0.6 Å²: wide
against what columns have, narrow enough to hold a species that shows a few weak columns."""
SHAPE_START = np.array([0.15, 0.0, 0.15, 0.0])


class FitOptions(Settings):
    """Options of the joint fit."""

    margin: Annotated[Angstrom, Field(ge=0)] = 2.0
    """Strip along the border left out: a reconstruction by FFT is contaminated there."""
    scattering: Scattering = Scattering()
    reach: Annotated[Angstrom, Field(gt=0)] = 3.0
    """Half the window in which the normal matrix is summed; the gradient has no cut-off."""
    edge_position_std: Annotated[Angstrom, Field(gt=0)] = 0.03
    """Prior on the position of columns in the margin, around where they were found."""
    edge_amplitude_std: Annotated[float, Field(gt=0)] = 3.0
    """Prior on their amplitude, relative to the median of their species. Wide: what the border
    does to a reconstruction ends up in these columns. Held to a tenth, they pass it on to the
    columns inside, by up to 0.3 pm in weak-phase data on 16 Å."""
    skewness_std: Annotated[float, Field(ge=0)] = 0.0
    """Prior on the third cumulants (Å³) of species without a centre of inversion; 0: symmetric
    profiles. O columns of Li-rich oxide have 4e-4 Å³, which shifts them by 0.2 pm where it is left
    out: 5e-4 takes that out of weak-phase data. In thicker specimens it takes up the asymmetry of
    multiple scattering instead and costs more than it gains (0.8 against 0.3 pm at 2 nm)."""
    tolerance: Annotated[Angstrom, Field(gt=0)] = 1e-5
    """The fit has converged when no column in the interior moves farther than this (or by more
    than a hundredth of its standard deviation)."""
    iterations: Annotated[int, Field(ge=1)] = 100


@dataclass(frozen=True, kw_only=True)
class ColumnProblem:
    """Data and model of one joint fit; positions relative to scan pixel (0, 0)."""

    whitening: Whitening
    data: npt.NDArray[np.complex128]
    mask: Array
    start: ColumnSum
    names: tuple[str, ...]
    edge: npt.NDArray[np.bool_]
    prior_std: Array
    amplitude_std: Array
    options: FitOptions

    @classmethod
    def of(
        cls,
        reconstruction: xr.Dataset,
        columns: xr.Dataset,
        options: FitOptions,
        *,
        variance: float = 1.0,
    ) -> "ColumnProblem":
        """Set the problem up for starting columns, all with unit amplitude.

        `variance` (rad²) is that of the noise of phi(Q) where the reconstruction states none.
        """
        phase = reconstruction["phase"].transpose("scan_y", "scan_x")
        whitening = Whitening.of(reconstruction, variance=variance)
        x, y = (np.asarray(columns[name].values, dtype=float) for name in "xy")
        names = tuple(sorted({str(name) for name in columns["species"].values}))
        group = np.array([names.index(str(name)) for name in columns["species"].values])
        even = np.tile(SHAPE_START, (len(names), 1))
        odd = np.zeros((len(names), len(ODD) if options.skewness_std else 0))
        start = ColumnSum(
            whitening=whitening,
            form=np.stack([options.scattering.form_factor(n, whitening.radius) for n in names]),
            group=group,
            parity=parity(columns) if options.skewness_std else np.zeros(len(x), dtype=int),
            x=x - float(phase["scan_x"].values[0]),
            y=y - float(phase["scan_y"].values[0]),
            amplitude=np.ones(len(x)),
            shape_terms=np.concatenate([even, odd], axis=1),
        )
        edge = ~interior(phase, x, y, options.margin)
        return cls(
            whitening=whitening,
            data=whitening.spectrum(np.asarray(phase.values, dtype=float)),
            mask=_interior_mask(phase, options.margin),
            start=start,
            names=names,
            edge=edge,
            prior_std=np.where(edge, options.edge_position_std, np.inf),
            amplitude_std=np.full(len(x), np.inf),
            options=options,
        )

    @property
    def shape_std(self) -> Array:
        """Prior standard deviation of one species' shape terms."""
        odd = self.start.shape_terms.shape[1] - len(EVEN)
        return np.concatenate([SHAPE_STD, np.full(odd, self.options.skewness_std)])

    def residual(self, state: ColumnSum) -> Array:
        """Whitened data minus model, inside the margin."""
        return self.mask * self.whitening.whiten(self.data - state.spectrum())

    def cost(self, state: ColumnSum, residual: Array) -> float:
        """Chi squared with the prior on columns in the margin."""
        start, amplitude = (
            self.start,
            ((state.amplitude - self.start.amplitude) / self.amplitude_std) ** 2,
        )
        moved = ((state.x - start.x) ** 2 + (state.y - start.y) ** 2) / self.prior_std**2
        shape = ((state.shape_terms - self.start.shape_terms) / self.shape_std) ** 2
        return float((residual**2).sum() + (moved + amplitude).sum() + shape.sum())

    def noise_power(self, cost: float) -> float:
        """Return the chi squared of one independent number: 1 where the noise is known."""
        return 1.0 if self.whitening.absolute else cost / self.whitening.frequencies

    def downhill(self, state: ColumnSum, residual: Array, shapes: Array) -> Array:
        """Half the negative gradient of the cost, columns' parameters first."""
        columns = state.gradient(residual)
        columns[:, 0] -= (state.amplitude - self.start.amplitude) / self.amplitude_std**2
        columns[:, 1] -= (state.x - self.start.x) / self.prior_std**2
        columns[:, 2] -= (state.y - self.start.y) / self.prior_std**2
        shape = np.tensordot(shapes, residual, axes=2).reshape(state.shape_terms.shape)
        shape -= (state.shape_terms - self.start.shape_terms) / self.shape_std**2
        return np.concatenate([columns.ravel(), shape.ravel()])

    def prior(self) -> Array:
        """Diagonal that the priors add to the normal matrix."""
        columns = np.zeros((len(self.edge), 3))
        columns[:, 0] = 1 / self.amplitude_std**2
        columns[:, 1:] = 1 / self.prior_std[:, None] ** 2
        shapes = np.tile(1 / self.shape_std**2, len(self.names))
        return np.concatenate([columns.ravel(), shapes])

    def normal_matrix(self, state: ColumnSum, shapes: Array) -> Array:
        """J^T J with columns' derivatives cut to a window around each."""
        count = 3 * len(state.x)
        jacobian = sparse_jacobian(state, self.mask, self.options.reach)
        dense = (shapes * self.mask).reshape(len(shapes), -1)
        matrix = np.empty((count + len(shapes), count + len(shapes)))
        matrix[:count, :count] = (jacobian.T @ jacobian).toarray()
        matrix[:count, count:] = jacobian.T @ dense.T
        matrix[count:, :count] = matrix[:count, count:].T
        matrix[count:, count:] = dense @ dense.T
        matrix[np.diag_indices_from(matrix)] += self.prior()
        return matrix

    def normal_product(self, state: ColumnSum, shapes: Array, step: Array) -> Array:
        """J^T J times a step, without any cut-off."""
        count = 3 * len(state.x)
        image = self.whitening.whiten(state.change(step[:count].reshape(-1, 3)))
        image = self.mask * (image + np.tensordot(step[count:], shapes, axes=1))
        back = [state.gradient(image).ravel(), np.tensordot(shapes, image, axes=2)]
        return np.asarray(np.concatenate(back) + self.prior() * step)


def with_amplitudes(problem: ColumnProblem) -> ColumnProblem:
    """Solve for amplitudes alone (linear), none below a tenth of its species' median."""
    state = problem.start
    jacobian = sparse_jacobian(state, problem.mask, problem.options.reach, terms=1)
    matrix = (jacobian.T @ jacobian).toarray()
    typical = np.median(np.diag(matrix))
    matrix[np.diag_indices_from(matrix)] += np.where(problem.edge, 1e-2, 1e-9) * typical
    target = problem.mask * problem.whitening.whiten(problem.data)
    amplitude = np.linalg.solve(matrix, state.gradient(target)[:, 0])
    for group in range(len(problem.names)):
        mine = state.group == group
        inner = amplitude[mine & ~problem.edge]
        median = float(np.median(inner if len(inner) else amplitude[mine]))
        amplitude[mine] = np.clip(amplitude[mine], 0.1 * abs(median), None)
        amplitude[mine & problem.edge] = abs(median)
    std = np.where(problem.edge, problem.options.edge_amplitude_std * amplitude, np.inf)
    return replace(problem, start=replace(state, amplitude=amplitude), amplitude_std=std)


def sparse_jacobian(state: ColumnSum, mask: Array, reach: float, *, terms: int = 3) -> csr_array:
    """Rows are scan positions inside the margin, columns (amplitude, x, y) of every column."""
    half = tuple(
        min(round(reach / step), (n - 1) // 2)
        for step, n in zip(state.whitening.step, mask.shape, strict=True)
    )
    values, rows, columns = state.patches((half[0], half[1]))
    values = values[:, :terms] * mask[rows[:, :, None], columns[:, None, :]][:, None]
    pixel = rows[:, :, None] * mask.shape[1] + columns[:, None, :]
    size = pixel[0].size
    index = np.broadcast_to(pixel.reshape(-1, 1, size), (len(pixel), terms, size))
    starts = np.arange(0, values.size + 1, size)
    transposed = csr_array(
        (values.reshape(-1), index.reshape(-1), starts), shape=(len(starts) - 1, mask.size)
    )
    return transposed.T.tocsr()


def _interior_mask(phase: xr.DataArray, margin: float) -> Array:
    keep = []
    for name in ("scan_y", "scan_x"):
        axis = phase.coords[name].values
        # A margin of whole steps keeps the positions on it, wherever the axis starts.
        least = margin - 1e-6 * abs(axis[1] - axis[0])
        keep.append((axis - axis[0] >= least) & (axis[-1] - axis >= least))
    mask = np.outer(keep[0], keep[1]).astype(np.float64)
    if mask.sum() < 16:
        raise BadInputError(
            f"a margin of {margin:g} Å leaves {int(mask.sum())} of {mask.size} scan positions; "
            "lower FitOptions.margin or scan a larger field"
        )
    return mask


def interior(phase: xr.DataArray, x: Array, y: Array, margin: float) -> npt.NDArray[np.bool_]:
    """Tell which positions (Å, scan frame) are farther than a margin from the border of a scan."""
    inside = np.ones(len(x), dtype=bool)
    for name, at in (("scan_x", x), ("scan_y", y)):
        axis = phase.coords[name].values
        inside &= (at >= axis[0] + margin) & (at <= axis[-1] - margin)
    return inside


def parity(columns: xr.Dataset) -> Indices:
    """Tell columns of one species from their mirror images through a point.

    The side on which a column's nearest M column lies: +1 or -1 along the direction commonest
    for its species; 0 for M itself, for columns with two M at nearly the same distance (there may
    be a centre of inversion), and where the nearest M lies in another direction.
    """
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    species = columns["species"].values
    metals = xy[species == "M"]
    result = np.zeros(len(xy), dtype=int)
    if len(metals) < 2:
        return result
    distance, nearest = cKDTree(metals).query(xy, k=2)
    for name in set(species.tolist()) - {"M"}:
        mine = np.flatnonzero((species == name) & (distance[:, 1] > 1.2 * distance[:, 0]))
        if not len(mine):
            continue
        towards = (metals[nearest[mine, 0]] - xy[mine]) / distance[mine, :1]
        # The commonest direction, not the first column's own: that one may be at the border.
        along = towards @ towards.T
        cosine = along[np.argmax((np.abs(along) > 0.9).sum(axis=1))]
        result[mine] = np.where(np.abs(cosine) > 0.9, np.sign(cosine), 0)
    return result
