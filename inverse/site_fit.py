"""What stands on every site of a layered oxide's lattice: phase and dark field, jointly fitted.

Phase: ``phi(Q) = sum_k a_k f_s(Q) exp(-2 pi i Q r_k)`` with the column profiles of `column_model`;
amplitudes of all sites are free, also negative or zero, positions are held to the smooth lattice as
loosely as real columns deviate. Dark field: ``h(R) = b + sum_k h_k G(R - r_k)``, one Gaussian of
free width, at the positions of the phase. Neighbours overlap; the joint fits take them apart and
their covariance says at which price.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.optimize import minimize_scalar

from echolith.forward.acquisition import Settings
from echolith.inverse.column_model import REFERENCE_FREQUENCY, ColumnSum
from echolith.inverse.column_problem import ColumnProblem, FitOptions, interior, sparse_jacobian
from echolith.inverse.column_profiles import MANGANESE_LIKE, Scattering
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]

SITE_SCATTERING = Scattering(
    content={
        "M": MANGANESE_LIKE,
        "O": {"O": 1.0},
        "Li": MANGANESE_LIKE,
        "T": MANGANESE_LIKE,
    }
)
"""All cation sites share one profile: how strong, not which shape, says what is on them."""


class SiteFitOptions(Settings):
    """Options of the joint fit of sites."""

    margin: Annotated[Angstrom, Field(ge=0)] = 1.0
    """Columns nearer to the border are fitted but flagged ``edge``."""
    position_std: Annotated[Angstrom, Field(gt=0)] = 0.1
    """Prior on M and O around the smooth lattice."""
    weak_position_std: Annotated[Angstrom, Field(gt=0)] = 0.03
    """Prior on Li and T, which may be empty."""
    reach: Annotated[Angstrom, Field(gt=0)] = 4.0
    iterations: Annotated[int, Field(ge=1)] = 12


@dataclass(frozen=True, kw_only=True)
class _Fit:
    state: ColumnSum
    covariance: Array
    excess: float


def fit_sites(
    reconstruction: xr.Dataset,
    sites: xr.Dataset,
    *,
    haadf: xr.DataArray | None = None,
    options: SiteFitOptions | None = None,
) -> xr.Dataset:
    """Fit the strengths of all sites.

    Parameters
    ----------
    reconstruction : xarray.Dataset
        ``phase`` (rad) and ``weight``, from `ssb` or `wdd`.
    sites : xarray.Dataset
        From `sites_of`.
    haadf : xarray.DataArray, optional
        Counts of the annular dark field on the same scan.
    options : SiteFitOptions, optional

    Returns
    -------
    xarray.Dataset
        ``sites`` with fitted ``x``, ``y``, ``x_std``, ``y_std``, ``edge``; ``strength`` (rad Å²,
        the column's phase at 0.7 1/Å) with ``strength_covariance`` (column, column_); with a dark
        field ``brightness`` (counts at the centre) with ``brightness_covariance``.
        ``attrs["excess"]``: residual over stated noise, by which the covariance is scaled up.
    """
    options = options or SiteFitOptions()
    species = sites.assign(species=("column", sites["site"].values))
    problem = ColumnProblem.of(
        reconstruction, species, FitOptions(margin=0.0, scattering=SITE_SCATTERING)
    )
    weak = np.isin(sites["site"].values, ["Li", "T"]) | ~sites["crystal"].values
    std = np.where(weak, options.weak_position_std, options.position_std)
    problem = replace(problem, prior_std=std, mask=_mask(reconstruction["phase"], options.margin))
    fit = _solved(problem, options)
    phase = reconstruction["phase"].transpose("scan_y", "scan_x")
    x = fit.state.x + float(phase["scan_x"].values[0])
    y = fit.state.y + float(phase["scan_y"].values[0])
    n = len(x)
    factor = _at_reference(problem)
    index = 3 * np.arange(n)
    covariance = fit.covariance[np.ix_(index, index)] * np.outer(factor, factor)
    edge = ~interior(phase, x, y, options.margin)
    position = np.sqrt(np.diag(fit.covariance)[: 3 * n].reshape(-1, 3)[:, 1:])
    result = sites.assign(
        x=("column", x, {"units": "Å"}),
        y=("column", y, {"units": "Å"}),
        x_std=("column", position[:, 0], {"units": "Å"}),
        y_std=("column", position[:, 1], {"units": "Å"}),
        edge=("column", edge),
        strength=("column", fit.state.amplitude * factor, {"units": "rad Å²"}),
        strength_covariance=(("column", "column_"), covariance, {"units": "rad² Å⁴"}),
    ).assign_attrs(sites.attrs | {"excess": fit.excess})
    if haadf is None:
        return result
    return result.assign(_brightness(haadf, x, y))


def _mask(phase: xr.DataArray, margin: float) -> Array:
    axes = [phase[name].values for name in ("scan_y", "scan_x")]
    keep = [(a >= a[0] + margin / 2) & (a <= a[-1] - margin / 2) for a in axes]
    return np.asarray(np.outer(keep[0], keep[1]), dtype=np.float64)


def _at_reference(problem: ColumnProblem) -> Array:
    """Return rad Å² at the reference frequency per unit of amplitude."""
    scattering = problem.options.scattering
    q = np.array([REFERENCE_FREQUENCY])
    factors = np.array([float(scattering.form_factor(name, q)[0]) for name in problem.names])
    return np.asarray(factors[problem.start.group])


def _solved(problem: ColumnProblem, options: SiteFitOptions) -> _Fit:
    """Gauss-Newton; amplitudes first, then all with the priors on positions."""
    state = replace(problem.start, amplitude=np.full(len(problem.start.x), 1e-6))
    state = replace(state, amplitude=_amplitudes(problem, state, options))
    n = len(state.x)
    prior = np.zeros((n, 3))
    prior[:, 1:] = 1 / problem.prior_std[:, None] ** 2
    shape_prior = np.tile(1 / problem.shape_std**2, len(problem.names))
    prior_all = np.concatenate([prior.ravel(), shape_prior])
    # Noise beyond the stated one (multiple scattering) must not be fitted by moving columns.
    excess = 1.0
    for _ in range(options.iterations):
        residual = problem.residual(state)
        freedom = max(problem.whitening.frequencies * problem.mask.mean() - 2 * n, 1.0)
        excess = max(float((residual**2).sum()) / freedom, 1.0)
        shapes = state.shape_images()
        matrix = _normal(problem, state, shapes, options.reach) / excess
        matrix[np.diag_indices_from(matrix)] += prior_all
        gradient = state.gradient(residual) / excess
        gradient[:, 1:] -= (
            np.stack([state.x - problem.start.x, state.y - problem.start.y], axis=-1) * prior[:, 1:]
        )
        shape = np.tensordot(shapes, residual, axes=2) / excess
        shape -= (state.shape_terms - problem.start.shape_terms).ravel() * shape_prior
        step = np.linalg.solve(matrix, np.concatenate([gradient.ravel(), shape]))
        columns = step[: 3 * n].reshape(-1, 3)
        move = np.clip(columns[:, 1:], -0.05, 0.05)
        state = replace(
            state,
            amplitude=state.amplitude + columns[:, 0],
            x=state.x + move[:, 0],
            y=state.y + move[:, 1],
            shape_terms=state.shape_terms
            + np.clip(step[3 * n :], -0.1, 0.1).reshape(state.shape_terms.shape),
        )
        if np.abs(columns[:, 1:]).max() < 1e-4:
            break
    return _Fit(state=state, covariance=np.linalg.inv(matrix), excess=excess)


def _amplitudes(problem: ColumnProblem, state: ColumnSum, options: SiteFitOptions) -> Array:
    unit = replace(state, amplitude=np.ones(len(state.x)))
    jacobian = sparse_jacobian(unit, problem.mask, options.reach, terms=1)
    matrix = (jacobian.T @ jacobian).toarray()
    matrix[np.diag_indices_from(matrix)] += 1e-3 * np.median(np.diag(matrix))
    target = problem.mask * problem.whitening.whiten(problem.data)
    return np.asarray(np.linalg.solve(matrix, unit.gradient(target)[:, 0]))


def _normal(problem: ColumnProblem, state: ColumnSum, shapes: Array, reach: float) -> Array:
    n = 3 * len(state.x)
    jacobian = sparse_jacobian(state, problem.mask, reach)
    dense = (shapes * problem.mask).reshape(len(shapes), -1)
    matrix = np.empty((n + len(shapes), n + len(shapes)))
    matrix[:n, :n] = (jacobian.T @ jacobian).toarray()
    matrix[:n, n:] = jacobian.T @ dense.T
    matrix[n:, :n] = matrix[:n, n:].T
    matrix[n:, n:] = dense @ dense.T
    return matrix


def _brightness(haadf: xr.DataArray, x: Array, y: Array) -> dict[str, Any]:
    """Weighted least squares of the dark field on Gaussians of one width, background free."""
    haadf = haadf.transpose("scan_y", "scan_x")
    counts = np.asarray(haadf.values, dtype=float).ravel()
    axes = [haadf[name].values.astype(float) for name in ("scan_y", "scan_x")]

    def design(width: float) -> Array:
        rows, columns = (
            np.exp(-((axis[:, None] - at) ** 2) / (2 * width**2))
            for axis, at in ((axes[0], y), (axes[1], x))
        )
        peaks = (rows[:, None] * columns[None]).reshape(len(counts), -1)
        return np.column_stack([peaks, np.ones(len(counts))])

    def solved(width: float, variance: Array) -> tuple[Array, Array, Array]:
        matrix = design(width)
        normal = matrix.T @ (matrix / variance[:, None])
        normal[np.diag_indices_from(normal)] += 1e-9 * np.diag(normal).max()
        inverse = np.linalg.inv(normal)
        found = inverse @ (matrix.T @ (counts / variance))
        return found, np.asarray(inverse, dtype=float), matrix @ found

    flat = np.full(len(counts), max(float(counts.mean()), 1e-6))
    best = minimize_scalar(
        lambda w: float(((counts - solved(w, flat)[2]) ** 2).sum()),
        bounds=(0.15, 0.8),
        method="bounded",
        options={"xatol": 0.01, "maxiter": 12},
    )
    first = solved(float(best.x), flat)[2]
    expected = np.maximum(first, 0.05 * flat)
    # Columns are no Gaussians: what is left beyond counting is in proportion to their brightness,
    # and must not count against the dark sites.
    misfit = float(((counts - first) ** 2 - expected).sum()) / float((expected**2).sum())
    found, inverse, _ = solved(float(best.x), expected + max(misfit, 0.0) * expected**2)
    n = len(x)
    return {
        "brightness": ("column", found[:n], {"units": "counts"}),
        "brightness_covariance": (
            ("column", "column_"),
            inverse[:n, :n],
            {"units": "counts²"},
        ),
    }
