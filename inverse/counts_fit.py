"""Columns fitted to the raw counts of a 4D-STEM set by maximum likelihood.

A phase image reads the bright-field disc linearly; this reads every pixel through multiple
scattering. The model is the solver's own: straight columns of mean content, few slices, a coarse
grid, scattering factors of the International Tables.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from echolith.errors import BadInputError
from echolith.forward.acquisition import StemAcquisition, rotate
from echolith.inverse.counts_columns import COMMON, KINDS, SHAPES, Array, ColumnState, Indices
from echolith.inverse.counts_likelihood import Likelihood
from echolith.inverse.counts_options import CountsOptions
from echolith.inverse.counts_problem import CountsProblem, Part
from echolith.inverse.counts_start import check_start, phase_start, with_surroundings
from echolith.inverse.counts_thickness import likely_thickness
from echolith.inverse.scan_transform import checked_counts


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
        and ``iterations``; ``absent`` counts columns of the start or the lattice that turned out to
        have no significant strength and were dropped.

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
        found = phase_start(measurement, energy=acquisition.beam.energy, content=options.content)
        start = with_surroundings(found, acquisition.scan, width=options.surroundings)
    check_start(start, options.content)
    problem = CountsProblem.of(counts, acquisition, start, options)
    return _describe(problem, _solve(problem), acquisition)


def _check_coherent(acquisition: StemAcquisition) -> None:
    beam = acquisition.beam
    if beam.focal_spread or beam.source_spread:
        raise BadInputError(
            f"focal_spread = {beam.focal_spread:g} Å and source_spread = {beam.source_spread:g} Å: "
            "the fit to raw counts assumes a coherent probe; use a phase image (recover_columns)"
        )


@dataclass(frozen=True, kw_only=True)
class _Solution:
    state: ColumnState
    covariance: Array
    """Of the free parameters."""
    likelihood: Likelihood
    iterations: int


SIGNIFICANT = 5.0
"""Standard deviations of its strength that a column must have to count as one."""
ROUNDING = 1e-2
"""Of log L, with waves in single precision."""
GAIN = 0.05
"""Of log L, twice: less is not worth a step and, in single precision, not to be learnt from."""
BENT = 0.2
"""Of twice the height that a parabola falls along a step: what heights and slopes may disagree."""
LEAST_SHARE = 1e-3
"""Of a step, below which the way uphill is lost."""
FIRST_TOLERANCE, SECOND_TOLERANCE = 3.0, 0.3
"""Standard deviations; the noise of a quarter of the probes moves the maximum by more than one. At
the first the information is taken anew: far from the maximum it leads astray."""


def _solve(problem: CountsProblem) -> _Solution:
    """Find the way with a quarter of the probes, then go the last steps with all of them."""
    state = problem.start
    if problem.options.thickness_std:
        state = likely_thickness(problem)
        problem = problem.sliced_for(float(state.common[COMMON.index("thickness")]))
    used = 0
    for part, tolerance in (
        (Part.QUARTER, FIRST_TOLERANCE),
        (Part.QUARTER, SECOND_TOLERANCE),
        (Part.ALL, problem.options.tolerance),
    ):
        if used:
            problem, state = problem.with_usual_surroundings(state)
            problem = problem.sliced_for(float(state.common[COMMON.index("thickness")]))
        covariance = _covariance(problem, state)
        found = _climb(problem, state, covariance, problem.probes(part), tolerance)
        state, used = found.state, used + found.iterations
    return replace(found, iterations=used)


def _covariance(problem: CountsProblem, state: ColumnState) -> Array:
    matrix = problem.model.information(state, problem.probes(Part.NINTH))
    matrix = matrix[np.ix_(problem.free, problem.free)]
    matrix[np.diag_indices_from(matrix)] += problem.precision
    return np.asarray(cho_solve(_factor(matrix), np.eye(len(matrix))))


def _climb(
    problem: CountsProblem,
    state: ColumnState,
    covariance: Array,
    probes: Indices,
    tolerance: float,
) -> _Solution:
    """Go uphill by BFGS (Nocedal and Wright, *Numerical Optimization*, 2nd ed., eq. 6.17).

    It starts from the inverse of the information instead of from unity, so that the first step is
    that of Fisher scoring, and learns from there how the information changes on the way.
    """
    inverse, std, share = covariance, np.sqrt(np.diag(covariance)), 1.0
    used, likelihood = 1, problem.model.likelihood(state, probes)
    height, uphill = _posterior(problem, state, likelihood)
    while used <= problem.options.iterations and share > LEAST_SHARE:
        step = inverse @ uphill
        settled = (np.abs(step) / std)[problem.asked].max() < tolerance
        if settled or float(uphill @ step) < GAIN:
            return _Solution(
                state=state, covariance=covariance, likelihood=likelihood, iterations=used
            )
        move = _move(step, problem.leash, share)
        trial = _moved(problem, state, move)
        tried = problem.model.likelihood(trial, probes)
        reached, slope = _posterior(problem, trial, tried)
        used += 1
        # A step that went too far teaches how far to go, unless it left the parabola's reach.
        bent = reached - height - 0.5 * float(move @ (uphill + slope))
        if abs(bent) < BENT * float(move @ (uphill - slope)):
            inverse = _updated(inverse, move, uphill - slope)
        if reached > height - ROUNDING:
            state, likelihood, height, uphill, share = trial, tried, reached, slope, 1.0
        else:
            share /= 2
    raise _not_converged(problem)


def _move(step: Array, leash: Array, share: float) -> Array:
    """Return the step, held on the leash; after a failure a share of it in its own direction."""
    if share == 1:
        return np.clip(step, -leash, leash)
    longest = float((leash / np.maximum(np.abs(step), 1e-300)).min())
    return step * (share * min(1.0, longest))


def _moved(problem: CountsProblem, state: ColumnState, step: Array) -> ColumnState:
    vector = state.vector
    vector[problem.free] += step
    return state.with_vector(vector)


def _updated(inverse: Array, step: Array, fall: Array) -> Array:
    """Return the inverse Hessian after a step along which the gradient fell by so much."""
    along = float(step @ fall)
    if along < GAIN:
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
    strength_std = std[2 : len(KINDS) * len(state.x) : len(KINDS)]
    inside = problem.outside <= 0
    present = state.strength > SIGNIFICANT * strength_std
    kept = np.flatnonzero(inside & present)
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
        "strength_std": ("column", strength_std[kept], {"units": "1"}),
        "species": ("column", np.array(problem.names)[state.group[kept]], {"units": "1"}),
        "edge": ("column", problem.outside[kept] > -problem.options.margin, {"units": "1"}),
    }
    first = len(KINDS) * len(state.x)
    shape_std = std[first : first + state.shape.size].reshape(state.shape.shape)
    names, units = ("species_name", "shape_term"), {"units": "Å², Å³ (odd)"}
    shared: dict[str, Any] = {
        "shape": (names, state.shape, units),
        "shape_std": (names, shape_std, units),
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
            "absent": int((inside & ~present).sum()),
            "margin": problem.options.margin,
        },
    )
