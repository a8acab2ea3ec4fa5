"""Columns fitted to the raw counts of a 4D-STEM set by maximum likelihood.

A phase image reads the bright-field disc linearly; this reads every pixel through multiple
scattering. The model is the solver's own: straight columns of mean content, few slices, a coarse
grid, scattering factors of the International Tables.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings, StemAcquisition, rotate
from echolith.inverse.column_problem import parity
from echolith.inverse.counts_columns import (
    COMMON,
    EVEN,
    KINDS,
    SHAPES,
    Array,
    ColumnState,
    Content,
    Indices,
    Profiles,
)
from echolith.inverse.counts_likelihood import FINER, CountsModel, Likelihood
from echolith.inverse.counts_propagation import Propagation, probe_box
from echolith.inverse.counts_start import (
    check_start,
    phase_start,
    site_count,
    with_surroundings,
)
from echolith.inverse.scan_transform import checked_counts
from echolith.processors import threads
from echolith.units import Angstrom


class CountsOptions(Settings):
    """Options of the fit to raw counts."""

    thickness: Annotated[Angstrom, Field(gt=0)] = 20.0
    """Where the fit of the thickness starts."""
    thickness_std: Annotated[Angstrom, Field(ge=0)] = 5.0
    """Prior on the thickness; 0: known."""
    defocus_std: Annotated[Angstrom, Field(ge=0)] = 10.0
    """Prior on C10 beyond that of the metadata; 0: known."""
    content: Content = Content()
    """Which elements the columns of each species hold."""
    sites_std: Annotated[float, Field(ge=0)] = 0.1
    """Prior on the atoms of a full column, relative, around the median of oxygen; 0: fixed."""
    displacement_std: Annotated[float, Field(ge=0)] = 0.01
    """Prior on the entries of U, Å²: the mean square displacement of a species' atoms along an
    axis; 0.01 is 0.1 Å rms."""
    skewness_std: Annotated[float, Field(ge=0)] = 5e-4
    """Prior on the third cumulants (Å³) of species without a centre of inversion."""
    slice_thickness: Annotated[Angstrom, Field(gt=0)] = 5.0
    sampling: Annotated[Angstrom, Field(gt=0)] = 0.13
    """Largest pixel of the waves. At 0.18 Å the fitted thickness is a tenth too small."""
    least_box: Annotated[Angstrom, Field(gt=0)] = 12.0
    """Least side of the box a probe is propagated on."""
    reach: Annotated[Angstrom, Field(gt=0)] = 2.8
    """Columns farther from a probe add nothing to the information of its frame."""
    rim: Annotated[Angstrom, Field(ge=0)] = 2.0
    """Columns up to this far outside the field are fitted too, farther ones stay."""
    surroundings: Annotated[Angstrom, Field(ge=0)] = 5.0
    """Columns are continued up to this far outside the field."""
    margin: Annotated[Angstrom, Field(ge=0)] = 2.0
    """Columns nearer to the border than this are flagged ``edge``."""
    tolerance: Annotated[float, Field(gt=0)] = 0.05
    """The fit has converged when no parameter is expected to move farther, in its standard
    deviations."""
    iterations: Annotated[int, Field(ge=1)] = 60


RIM_POSITION = 0.1
"""Å. Prior on columns outside the field, around where the lattice puts them."""
RIM_STRENGTH = 0.3
"""Prior on their strength, relative."""
U_START = 0.003
"""Å²: 0.055 Å rms."""


def fit_columns_to_counts(
    measurement: xr.Dataset,
    *,
    start: xr.Dataset | None = None,
    options: CountsOptions | None = None,
) -> xr.Dataset:
    """Fit positions and strengths of atom columns to raw 4D-STEM counts.

    Maximum likelihood for Poisson counts in every pixel of the detector, by Fisher scoring:
    gradients from the adjoint of the multislice, information from its tangent. Thickness,
    defocus, dose, and each species' mean square displacements are fitted along.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (scan_y, scan_x, detector_y, detector_x) with the acquisition in its metadata.
    start : xarray.Dataset, optional
        ``x``, ``y`` (Å, scan frame), ``species`` and ``strength`` (atoms) over dim ``column``,
        those around the field included; by default the columns found blindly on a phase image,
        continued over the border by the lattice of Li-rich oxide.
    options : CountsOptions, optional

    Returns
    -------
    xarray.Dataset
        Over dim ``column``, those inside the field: ``x``, ``y``, ``x_std``, ``y_std`` (Å),
        ``xy_covariance`` (column, axis, axis_) in Å², ``strength`` and ``strength_std`` (atoms),
        ``species``, ``edge``. Over ``species_name``: ``shape`` (shape_term), with
        ``shape_std``. Scalars ``thickness``, ``defocus`` (Å) and ``scale`` with ``<name>_std``.
        Attributes ``reduced_chi_squared`` (Pearson's, of pixels with an expected count above 1)
        and ``iterations``.

    Raises
    ------
    BadInputError
        If the measurement is incomplete or partially coherent, shows no columns, or the fit does
        not converge.
    """
    options = options or CountsOptions()
    counts, acquisition = checked_counts(measurement)
    _check_coherent(acquisition)
    if start is None:
        found, _ = phase_start(
            measurement, energy=acquisition.beam.energy, content=options.content
        )
        start = surrounded(found, acquisition, options)
    check_start(start, options.content)
    problem = CountsProblem.of(counts, acquisition, start, options)
    return _describe(problem, _solve(problem), acquisition)


def surrounded(
    found: xr.Dataset, acquisition: StemAcquisition, options: CountsOptions
) -> xr.Dataset:
    """Continue found columns over the border of the field."""
    height, width = acquisition.scan.extent
    noted = found.assign_attrs(extent=(width, height), margin=options.margin)
    return with_surroundings(noted, acquisition.scan, width=options.surroundings)


def _check_coherent(acquisition: StemAcquisition) -> None:
    beam = acquisition.beam
    if beam.focal_spread or beam.source_spread:
        raise BadInputError(
            f"focal_spread = {beam.focal_spread:g} Å and source_spread = {beam.source_spread:g} Å: "
            "the fit to raw counts assumes a coherent probe; use a phase image (recover_columns)"
        )


@dataclass(frozen=True, kw_only=True)
class CountsProblem:
    """Model, start, and what is known beforehand."""

    model: CountsModel
    start: ColumnState
    names: tuple[str, ...]
    outside: Array
    """How far each column lies outside the field, Å; negative inside."""
    prior_std: Array
    """Of every parameter around its start; infinite: none, 0: not fitted."""
    options: CountsOptions

    @classmethod
    def of(
        cls,
        counts: xr.DataArray,
        acquisition: StemAcquisition,
        columns: xr.Dataset,
        options: CountsOptions,
    ) -> "CountsProblem":
        """Set the problem up."""
        state, names = _start_state(columns, acquisition, options)
        box = probe_box(acquisition, least_side=options.least_box, sampling=options.sampling)
        slices = max(1, int(np.ceil(options.thickness / options.slice_thickness - 1e-6)))
        propagation = Propagation(acquisition=acquisition, box=box, slices=slices)
        positions = acquisition.scan.positions().reshape(-1, 2)
        grid = propagation.field(positions)
        profiles = Profiles(
            grid=grid.finer(FINER),
            names=names,
            content=options.content,
            energy=acquisition.beam.energy,
        )
        values = np.asarray(counts.values)
        outside = _outside(columns, acquisition)
        prior_std = _prior(state, outside, options)
        model = CountsModel(
            counts=values.reshape(-1, *values.shape[2:]),
            positions=positions,
            propagation=propagation,
            profiles=profiles,
            grid=grid,
            free=prior_std > 0,
            reach=options.reach,
            workers=threads(),
        )
        return cls(
            model=model,
            start=state,
            names=names,
            outside=outside,
            prior_std=prior_std,
            options=options,
        )

    @property
    def free(self) -> Indices:
        """Parameters that are fitted."""
        return np.flatnonzero(self.prior_std > 0)

    @property
    def precision(self) -> Array:
        """Of the prior, free parameters alone."""
        return np.asarray(1 / self.prior_std[self.free] ** 2)

    @property
    def asked(self) -> npt.NDArray[np.bool_]:
        """Free parameters that must settle: all but those of columns outside the field."""
        asked = np.ones(self.start.size, dtype=bool)
        asked[: len(KINDS) * len(self.outside)] = np.repeat(self.outside <= 0, len(KINDS))
        return asked[self.free]

    def probes(self, part: "Part") -> Indices:
        """Return a part of the probes, evenly spread."""
        shape = self.model.propagation.acquisition.scan.shape
        row, column = np.indices(shape)
        chosen = {
            Part.ALL: np.ones(shape, dtype=bool),
            Part.HALF: (row + column) % 2 == 0,
            Part.QUARTER: (row % 2 == 0) & (column % 2 == 0),
        }[part]
        return np.flatnonzero(chosen)

    def with_usual_surroundings(self, state: ColumnState) -> tuple["CountsProblem", ColumnState]:
        """Give columns outside the field the median strength of those inside, now better known."""
        strength = state.strength.copy()
        inside = self.outside <= 0
        for group in set(state.group[inside].tolist()):
            mine = state.group == group
            strength[mine & ~inside] = np.median(strength[mine & inside])
        known = np.where(inside, self.start.strength, strength)
        return (
            replace(self, start=replace(self.start, strength=known)),
            replace(state, strength=strength),
        )

    @property
    def leash(self) -> Array:
        """Farthest that a free parameter is moved at once: beyond, the model bends too much."""
        columns = np.tile([0.05, 0.05, np.inf], (len(self.start.x), 1))
        columns[:, 2] = 0.2 * np.maximum(self.start.strength, 0.5)
        shapes = np.tile([0.004] * EVEN + [3e-4] * (len(SHAPES) - EVEN), len(self.names))
        return np.concatenate([columns.ravel(), shapes, [0.1, 2.0, 5.0, 0.5]])[self.free]


class Part(Enum):
    """Probes used at a stage of the fit."""

    QUARTER = "quarter"
    HALF = "half"
    """The information of every other probe, taken twice, is that of all within 1 % at the step
    that full transfer needs."""
    ALL = "all"


def _start_state(
    columns: xr.Dataset, acquisition: StemAcquisition, options: CountsOptions
) -> tuple[ColumnState, tuple[str, ...]]:
    names = tuple(sorted({str(name) for name in columns["species"].values}))
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1).astype(float)
    xy = rotate(xy, acquisition.scan.rotation)
    even = np.tile([U_START, 0.0, U_START], (len(names), 1))
    strength = np.asarray(columns["strength"].values, dtype=float)
    sites = site_count(strength, columns["species"].values)
    state = ColumnState(
        x=xy[:, 0],
        y=xy[:, 1],
        strength=strength,
        group=np.array([names.index(str(name)) for name in columns["species"].values]),
        parity=parity(columns),
        shape=np.concatenate([even, np.zeros((len(names), len(SHAPES) - EVEN))], axis=1),
        common=np.array([0.0, options.thickness, 0.0, sites]),
    )
    return state, names


def _outside(columns: xr.Dataset, acquisition: StemAcquisition) -> Array:
    """How far each column lies outside the scanned field, Å."""
    height, width = acquisition.scan.extent
    x, y = columns["x"].values, columns["y"].values
    return np.asarray(np.max([-x, -y, x - width, y - height], axis=0))


def _prior(state: ColumnState, outside: Array, options: CountsOptions) -> Array:
    columns = np.full((len(state.x), len(KINDS)), np.inf)
    rim = outside > 0
    columns[rim] = RIM_POSITION
    columns[rim, 2] = RIM_STRENGTH * state.strength[rim]
    columns[outside > options.rim] = 0
    shapes = np.zeros(state.shape.shape)
    shapes[:, :EVEN] = options.displacement_std
    for group in range(len(shapes)):
        if state.parity[state.group == group].any():
            shapes[group, EVEN:] = options.skewness_std
    sites = options.sites_std * state.common[3]
    common = [np.inf, options.thickness_std, options.defocus_std, sites]
    return np.concatenate([columns.ravel(), shapes.ravel(), common])


@dataclass(frozen=True, kw_only=True)
class _Solution:
    state: ColumnState
    covariance: Array
    """Of the free parameters."""
    likelihood: Likelihood
    iterations: int


FIRST_TOLERANCE = 0.3
"""Standard deviations; the noise of a quarter of the probes moves the maximum by more than one."""


def _solve(problem: CountsProblem) -> _Solution:
    """Find the way with a quarter of the probes, then go the last steps with all of them."""
    state, done = problem.start, 0
    for part, every, tolerance in (
        (Part.QUARTER, Part.QUARTER, FIRST_TOLERANCE),
        (Part.HALF, Part.ALL, problem.options.tolerance),
    ):
        covariance = _covariance(problem, state, part)
        state, likelihood, used = _climb(
            problem, state, covariance, problem.probes(every), tolerance
        )
        done += used
        if part is Part.QUARTER:
            problem, state = problem.with_usual_surroundings(state)
    return _Solution(state=state, covariance=covariance, likelihood=likelihood, iterations=done)


def _covariance(problem: CountsProblem, state: ColumnState, part: Part) -> Array:
    matrix = problem.model.information(state, problem.probes(part))
    matrix = matrix[np.ix_(problem.free, problem.free)]
    matrix[np.diag_indices_from(matrix)] += problem.precision
    return np.asarray(cho_solve(_factor(matrix), np.eye(len(matrix))))


def _climb(
    problem: CountsProblem,
    state: ColumnState,
    covariance: Array,
    probes: Indices,
    tolerance: float,
) -> tuple[ColumnState, Likelihood, int]:
    """Go uphill by BFGS (Nocedal and Wright, *Numerical Optimization*, 2nd ed., eq. 6.17).

    It starts from the inverse of the information instead of from unity, so that the first step is
    that of Fisher scoring, and learns from there how the information changes on the way.
    """
    inverse, std = covariance.copy(), np.sqrt(np.diag(covariance))
    used, likelihood = 1, problem.model.likelihood(state, probes)
    height, uphill = _posterior(problem, state, likelihood)
    while used <= problem.options.iterations:
        step = inverse @ uphill
        if (np.abs(step) / std)[problem.asked].max() < tolerance:
            return state, likelihood, used
        step = np.clip(step, -problem.leash, problem.leash)
        while True:
            trial = _moved(problem, state, step)
            likelihood = problem.model.likelihood(trial, probes)
            used += 1
            reached, slope = _posterior(problem, trial, likelihood)
            if reached > height - 1e-3 or used > problem.options.iterations:
                break
            step = step / 4
        inverse = _updated(inverse, step, uphill - slope)
        state, height, uphill = trial, reached, slope
    raise _not_converged(problem)


def _moved(problem: CountsProblem, state: ColumnState, step: Array) -> ColumnState:
    vector = state.vector
    vector[problem.free] += step
    return state.with_vector(vector)


def _updated(inverse: Array, step: Array, fall: Array) -> Array:
    """Return the inverse Hessian after a step along which the gradient fell by so much."""
    along = float(step @ fall)
    if along <= 1e-12 * np.linalg.norm(step) * np.linalg.norm(fall):
        return inverse
    moved = inverse @ fall
    gain = (1 + float(fall @ moved) / along) / along
    cross = np.outer(moved, step) / along
    return np.asarray(inverse + gain * np.outer(step, step) - cross - cross.T)


def _posterior(
    problem: CountsProblem, state: ColumnState, likelihood: Likelihood
) -> tuple[float, Array]:
    """Return log posterior and its gradient by the free parameters."""
    away = (state.vector - problem.start.vector)[problem.free]
    value = likelihood.value - 0.5 * float((away**2 * problem.precision).sum())
    return value, likelihood.gradient[problem.free] - away * problem.precision


def _factor(matrix: Array) -> tuple[Array, bool]:
    try:
        return cho_factor(matrix)  # type: ignore[no-any-return]
    except LinAlgError as error:
        raise BadInputError(
            "the counts do not determine every column: two lie on one another or one carries no "
            "signal; start from columns at least 0.5 Å apart"
        ) from error


def _not_converged(problem: CountsProblem) -> BadInputError:
    return BadInputError(
        f"the fit of {len(problem.start.x)} columns to the counts did not converge in "
        f"{problem.options.iterations} evaluations; check thickness "
        f"({problem.options.thickness:g} Å), aberrations and species, or raise "
        "CountsOptions.iterations"
    )


def _describe(
    problem: CountsProblem, solution: _Solution, acquisition: StemAcquisition
) -> xr.Dataset:
    state, size = solution.state, solution.state.size
    covariance = np.zeros((size, size))
    covariance[np.ix_(problem.free, problem.free)] = solution.covariance
    std = np.sqrt(np.diag(covariance))
    kept = np.flatnonzero(problem.outside <= 0)
    index = (len(KINDS) * kept)[:, None] + np.arange(2)
    turn = rotate(np.eye(2), -acquisition.scan.rotation)
    blocks = turn.T @ covariance[index[:, :, None], index[:, None, :]] @ turn
    xy = rotate(np.stack([state.x, state.y], axis=-1)[kept], -acquisition.scan.rotation)
    columns = {
        "x": ("column", xy[:, 0], {"units": "Å"}),
        "y": ("column", xy[:, 1], {"units": "Å"}),
        "x_std": ("column", np.sqrt(blocks[:, 0, 0]), {"units": "Å"}),
        "y_std": ("column", np.sqrt(blocks[:, 1, 1]), {"units": "Å"}),
        "xy_covariance": (("column", "axis", "axis_"), blocks, {"units": "Å²"}),
        "strength": ("column", state.strength[kept], {"units": "1", "long_name": "atoms"}),
        "strength_std": ("column", std[len(KINDS) * kept + 2], {"units": "1"}),
        "species": ("column", np.array(problem.names)[state.group[kept]], {"units": "1"}),
        "edge": ("column", problem.outside[kept] > -problem.options.margin, {"units": "1"}),
    }
    first = len(KINDS) * len(state.x)
    shape_std = std[first : first + state.shape.size].reshape(state.shape.shape)
    shared = {
        "shape": (("species_name", "shape_term"), state.shape, {"units": "Å², Å³ (odd)"}),
        "shape_std": (("species_name", "shape_term"), shape_std, {"units": "Å², Å³ (odd)"}),
    }
    for n, (name, unit) in enumerate(zip(COMMON, ("1", "Å", "Å", "1"), strict=True)):
        shared[name] = ((), state.common[n], {"units": unit})
        shared[f"{name}_std"] = ((), std[first + state.shape.size + n], {"units": unit})
    return xr.Dataset(
        {**columns, **shared},
        coords={"species_name": list(problem.names), "shape_term": list(SHAPES)},
        attrs={
            "reduced_chi_squared": solution.likelihood.deviance,
            "iterations": solution.iterations,
            "margin": problem.options.margin,
        },
    )
