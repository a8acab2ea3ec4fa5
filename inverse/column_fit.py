"""Positions of atom columns with covariance, by joint least squares on a phase image.

``phi(Q) = sum_k a_k f_s(Q) exp(-b_s Q² - c_s Q⁴) exp(-2 pi i Q r_k)``; all amplitudes, positions
and the shape terms of every species are fitted at once to the whitened image inside a margin, by
Gauss-Newton with exact gradients. Columns in the margin are fitted too, since their tails reach
in, but flagged ``edge``.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse.linalg import LinearOperator, cg

from echolith.errors import BadInputError
from echolith.inverse.column_model import EVEN, ODD, ColumnSum
from echolith.inverse.column_problem import ColumnProblem, FitOptions, with_amplitudes
from echolith.inverse.column_profiles import Profile

Array = npt.NDArray[np.float64]
Factor = tuple[Array, bool]

NEGLIGIBLE = 1e-4
"""Chi squared; a step that promises less moves no parameter by more than a hundredth of its
standard deviation. So ends a fit with a column too faint to have a place."""

VARIANCE_PASSES = 6
"""Fits at most where the noise is not known; three or four are enough for usual images."""


def fit_columns(
    reconstruction: xr.Dataset,
    columns: xr.Dataset,
    *,
    profile: Profile = Profile.FORM_FACTOR,
    options: FitOptions | None = None,
) -> xr.Dataset:
    """Refine columns on a phase image.

    Parameters
    ----------
    reconstruction : xarray.Dataset
        ``phase`` (scan_y, scan_x) in rad and ``weight`` (q_y, q_x), the inverse noise variance
        ``1/E|phi(Q)|²`` in 1/rad². Without ``weight`` every frequency with power counts alike, with
        the noise that the residual shows.
    columns : xarray.Dataset
        Starting ``x``, ``y`` (Å, scan frame) and ``species`` over dim ``column``.
    profile : Profile
    options : FitOptions, optional

    Returns
    -------
    xarray.Dataset
        Over dim ``column``: ``x``, ``y``, ``x_std``, ``y_std`` (Å), ``xy_covariance``
        (column, axis, axis_) in Å² in the order x, y; ``amplitude``, ``amplitude_std``
        (form factors: rad Å at 0.7 1/Å, so that amplitude times f(0.7 1/Å) over the scanned area
        is the column's phi; Gaussian: peak height in rad); ``species``; ``edge``. Form factors
        also ``shape`` (species_name, shape_term), Gaussians ``width`` (Å, rms) and ``background``.
        ``attrs["reduced_chi_squared"]`` (form factors) compares the residual with the noise
        that ``weight`` states.

    Raises
    ------
    BadInputError
        If there are no columns, the image is not finite, or the fit does not converge.
    """
    options = options or FitOptions()
    _check(reconstruction, columns)
    if profile is Profile.GAUSSIAN:
        from echolith.inverse.gaussian_columns import fit_gaussians

        return fit_gaussians(reconstruction, columns, margin=options.margin)
    problem = ColumnProblem.of(reconstruction, columns, options)
    if problem.whitening.absolute:
        return _describe(problem, _solve(problem), reconstruction["phase"])
    return _fit_with_unknown_noise(reconstruction, columns, options)


def _fit_with_unknown_noise(
    reconstruction: xr.Dataset, columns: xr.Dataset, options: FitOptions
) -> xr.Dataset:
    """Fit with the noise that the residual of the fit before shows, so that priors keep scale."""
    variance = float(reconstruction["phase"].var()) / reconstruction["phase"].size or 1.0
    for _ in range(VARIANCE_PASSES):
        problem = ColumnProblem.of(reconstruction, columns, options, variance=variance)
        solution = _solve(problem)
        excess = solution.chi_squared / solution.freedom
        if abs(excess - 1) < 0.1:
            break
        variance *= excess
    return _describe(problem, solution, reconstruction["phase"])


def _check(reconstruction: xr.Dataset, columns: xr.Dataset) -> None:
    if "phase" not in reconstruction:
        raise BadInputError(
            f"the reconstruction has {sorted(map(str, reconstruction.data_vars))} but no 'phase'; "
            "give the result of ssb or wdd"
        )
    missing = [name for name in ("x", "y", "species") if name not in columns]
    if missing or not columns.sizes.get("column", 0):
        raise BadInputError(
            f"no columns to fit (missing: {', '.join(missing) or 'every column'}); give x and y in "
            "Å and species over dim 'column', as find_columns returns"
        )
    for name, values in (
        ("phase", reconstruction["phase"]),
        ("x", columns["x"]),
        ("y", columns["y"]),
    ):
        bad = int((~np.isfinite(values.values)).sum())
        if bad:
            raise BadInputError(f"{bad} of {values.size} values of {name} are not finite")


def residual_phase(
    reconstruction: xr.Dataset, fitted: xr.Dataset, *, options: FitOptions | None = None
) -> xr.DataArray:
    """Return the phase that the fitted columns do not explain, inside the support, rad.

    Parameters
    ----------
    reconstruction : xarray.Dataset
        What was fitted.
    fitted : xarray.Dataset
        Result of `fit_columns` with form factors.
    options : FitOptions, optional
        Those of the fit, where it had its own scattering factors.
    """
    skew = fitted.sizes["shape_term"] > len(EVEN)
    options = (options or FitOptions()).model_copy(update={"skewness_std": float(skew)})
    problem = ColumnProblem.of(reconstruction, fitted, options)
    state = replace(
        problem.start,
        amplitude=np.asarray(fitted["amplitude"].values, dtype=float),
        shape_terms=np.asarray(fitted["shape"].values, dtype=float),
    )
    left = problem.data - state.spectrum()
    return reconstruction["phase"].copy(
        data=problem.whitening.image(left * (state.whitening.root > 0))
    )


@dataclass(frozen=True, kw_only=True)
class _Solution:
    state: ColumnSum
    covariance: Array
    chi_squared: float
    freedom: float
    iterations: int


def _solve(problem: ColumnProblem) -> _Solution:
    """Levenberg-Marquardt; each step by conjugate gradients on the exact normal equations."""
    problem = with_amplitudes(problem)
    state, inner = problem.start, ~problem.edge
    residual = problem.residual(state)
    cost, damping = problem.cost(state, residual), 1e-3
    for iteration in range(problem.options.iterations):
        shapes = state.shape_images()
        downhill = problem.downhill(state, residual, shapes)
        # The matrix only preconditions: it need not follow the last small moves.
        if iteration in (0, 2):
            matrix = problem.normal_matrix(state, shapes)
            factor = _factor(matrix)
        while True:
            diagonal = damping * np.diag(matrix)
            step = _step(problem, state, shapes, factor, downhill, diagonal)
            trial = _moved(state, step)
            left = problem.residual(trial)
            trial_cost = problem.cost(trial, left)
            if trial_cost <= cost * (1 + 1e-9) + 1e-9:
                break
            damping = 10 * max(damping, 1e-4)
            if damping > 1e6:
                raise _not_converged(problem, state)
        promised = float(step @ downhill + step @ (diagonal * step))
        moved = np.hypot(trial.x - state.x, trial.y - state.y)[inner].max(initial=0)
        done = moved * (1 + damping) < problem.options.tolerance
        done |= promised < NEGLIGIBLE * problem.noise_power(cost) and damping < 1
        damping = _next_damping(damping, gain=cost - trial_cost, promised=promised, cost=cost)
        state, residual, cost = trial, left, trial_cost
        if done:
            return _finish(problem, state, residual, iteration + 1)
    raise _not_converged(problem, state)


def _next_damping(damping: float, *, gain: float, promised: float, cost: float) -> float:
    """Raise the damping where the cost fell by far less than the quadratic model promised.

    Next to strong residuals the cost bends more than the normal equations know, and undamped
    steps would leap to and fro across its minimum.
    """
    if gain > 0.25 * promised or promised < 1e-9 * cost:
        return damping / 30
    return 10 * max(damping, 1e-2)


def _step(
    problem: ColumnProblem,
    state: ColumnSum,
    shapes: Array,
    factor: Factor,
    downhill: Array,
    diagonal: Array,
) -> Array:
    size = len(downhill)
    exact = LinearOperator(
        (size, size),
        matvec=lambda v: problem.normal_product(state, shapes, v) + diagonal * v,
        dtype=float,
    )
    near = LinearOperator((size, size), matvec=lambda v: cho_solve(factor, v), dtype=float)
    step, _ = cg(exact, downhill, rtol=1e-2, maxiter=30, M=near)
    return np.asarray(step)


def _not_converged(problem: ColumnProblem, state: ColumnSum) -> BadInputError:
    far = np.hypot(state.x - problem.start.x, state.y - problem.start.y).max()
    return BadInputError(
        f"the joint fit of {len(state.x)} columns did not converge in "
        f"{problem.options.iterations} iterations (farthest from its start: {far:.2g} Å); start "
        "from columns found on this image, or raise FitOptions.margin"
    )


def _moved(state: ColumnSum, step: Array) -> ColumnSum:
    columns, shapes = step[: 3 * len(state.x)].reshape(-1, 3), step[3 * len(state.x) :]
    far = np.hypot(columns[:, 1], columns[:, 2])
    shrink = np.minimum(1, 0.1 / np.maximum(far, 1e-12))
    return replace(
        state,
        amplitude=state.amplitude + columns[:, 0],
        x=state.x + shrink * columns[:, 1],
        y=state.y + shrink * columns[:, 2],
        shape_terms=state.shape_terms + shapes.reshape(state.shape_terms.shape),
    )


def _factor(matrix: Array) -> Factor:
    try:
        return cho_factor(matrix, check_finite=False)  # type: ignore[no-any-return]
    except LinAlgError as error:
        raise BadInputError(
            "two columns lie on one another or carry no signal, so the fit is singular; "
            "give columns at least 0.5 Å apart"
        ) from error


def _finish(
    problem: ColumnProblem, state: ColumnSum, residual: Array, iterations: int
) -> _Solution:
    matrix = problem.normal_matrix(state, state.shape_images())
    covariance = cho_solve(_factor(matrix), np.eye(len(matrix)), overwrite_b=True)
    # A parameter held by its prior takes no freedom from the data.
    parameters = float((1 - problem.prior() * np.diag(covariance)).sum())
    kept = float(problem.mask.mean())
    freedom = max(problem.whitening.frequencies * kept - parameters, 1.0)
    chi_squared = float((residual**2).sum())
    if not problem.whitening.absolute:
        covariance *= chi_squared / freedom
    return _Solution(
        state=state,
        covariance=covariance,
        chi_squared=chi_squared,
        freedom=freedom,
        iterations=iterations,
    )


def _describe(problem: ColumnProblem, solution: _Solution, phase: xr.DataArray) -> xr.Dataset:
    state = solution.state
    count = 3 * len(state.x)
    index = np.arange(count).reshape(-1, 3)
    variances = np.diag(solution.covariance)[:count].reshape(-1, 3)
    covariance = solution.covariance[index[:, 1:, None], index[:, None, 1:]]
    variables = {
        "x": ("column", state.x + float(phase["scan_x"].values[0]), {"units": "Å"}),
        "y": ("column", state.y + float(phase["scan_y"].values[0]), {"units": "Å"}),
        "x_std": ("column", np.sqrt(variances[:, 1]), {"units": "Å"}),
        "y_std": ("column", np.sqrt(variances[:, 2]), {"units": "Å"}),
        "xy_covariance": (("column", "axis", "axis_"), covariance, {"units": "Å²"}),
        "amplitude": ("column", state.amplitude, {"units": "rad Å"}),
        "amplitude_std": ("column", np.sqrt(variances[:, 0]), {"units": "rad Å"}),
        "species": ("column", np.array([problem.names[g] for g in state.group]), {"units": "1"}),
        "edge": ("column", problem.edge, {"units": "1"}),
        "shape": (
            ("species_name", "shape_term"),
            state.shape_terms,
            {"units": "Å², Å⁴ (quartic), Å³ (odd)"},
        ),
    }
    return xr.Dataset(
        variables,
        coords={
            "species_name": list(problem.names),
            "shape_term": [*EVEN, *ODD][: state.shape_terms.shape[1]],
        },
        attrs={
            "profile": Profile.FORM_FACTOR.value,
            "chi_squared": solution.chi_squared,
            "reduced_chi_squared": solution.chi_squared / solution.freedom,
            "iterations": solution.iterations,
            "margin": problem.options.margin,
            "noise": "weight" if problem.whitening.absolute else "residual",
        },
    )
