"""Fisher information of a measurement about named parameters, by differentiating the mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.protocols import Noise

Array = npt.NDArray[np.float64]

HALVINGS = 12


@dataclass(frozen=True, kw_only=True)
class Information:
    """What a measurement tells about parameters, and the quantities that depend on them.

    Attributes
    ----------
    names : tuple of str
        Parameters, quantities of interest and nuisance alike.
    matrix : array, (n, n)
        Fisher information, in the inverse squares of the parameters' units.
    gradients : mapping of str to array, (copies, n)
        For each quantity its derivative with respect to every parameter; several rows where the
        measurement holds equivalent copies of it, whose variances are averaged.
    units : mapping of str to str
        Of parameters and quantities; "1" where left out.
    notes : tuple of str
        What the bound does and does not include; printed with it.
    """

    names: tuple[str, ...]
    matrix: Array = field(repr=False)
    gradients: Mapping[str, Array] = field(default_factory=dict, repr=False)
    units: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.names)
        if self.matrix.shape != (n, n):
            raise BadInputError(
                f"information matrix of shape {self.matrix.shape} for {n} parameters; expected "
                f"({n}, {n})"
            )
        for name, gradient in self.gradients.items():
            if np.atleast_2d(gradient).shape[1:] != (n,):
                raise BadInputError(
                    f"gradient of {name!r} has shape {np.shape(gradient)}; expected (copies, {n})"
                )


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Parameters a mean depends on: what `fisher_information` differentiates.

    Attributes
    ----------
    values : mapping of str to float
        The true values, where the derivative is taken.
    scales : mapping of str to float
        A change of each that is small but felt, e.g. 0.05 Å; the first step tried.
    mean : callable
        ``mean(values) -> Dataset`` of expected counts.
    quantities : callable
        ``quantities(values) -> {name: number}``; by default the parameters themselves.
    units : mapping of str to str
        Of parameters and quantities.
    """

    values: Mapping[str, float]
    scales: Mapping[str, float]
    mean: Callable[[Mapping[str, float]], xr.Dataset]
    quantities: Callable[[Mapping[str, float]], Mapping[str, float]] = dict
    units: Mapping[str, str] = field(default_factory=dict)


def fisher_information(
    parameters: Parameters, noise: Noise, *, tolerance: float = 1e-3
) -> Information:
    """Differentiate a mean numerically and return the information of the noise model.

    Central differences; the step of each parameter is halved until two successive extrapolated
    derivatives agree.

    Parameters
    ----------
    parameters : Parameters
    noise : Noise
    tolerance : float
        Relative agreement asked of two successive derivatives, in the norm weighted by the
        counting noise.

    Returns
    -------
    Information

    Raises
    ------
    BadInputError
        If a derivative does not settle: the mean jumps, or the scale is far off.
    """
    values = dict(parameters.values)
    missing = [name for name in values if name not in parameters.scales]
    if missing:
        raise BadInputError(f"scales lacks {', '.join(missing)}; give a small change of each")
    mean = _data(parameters.mean(values))
    columns, gradients = [], []
    for name in values:
        slope, gradient = _derivative(parameters, name, mean, tolerance)
        columns.append(slope)
        gradients.append(gradient)
    jacobian = np.stack(columns, axis=1)
    quantities = {
        quantity: np.array([[gradient[quantity] for gradient in gradients]])
        for quantity in parameters.quantities(values)
    }
    return Information(
        names=tuple(values),
        matrix=noise.information(mean, jacobian),
        gradients=quantities,
        units=parameters.units,
    )


def _data(mean: xr.Dataset) -> Array:
    """All expected counts as one vector."""
    floats = [v for v in mean.data_vars.values() if np.issubdtype(v.dtype, np.floating)]
    return np.concatenate([np.asarray(v.values, dtype=float).ravel() for v in floats])


def _derivative(
    parameters: Parameters, name: str, mean: Array, tolerance: float
) -> tuple[Array, dict[str, float]]:
    """Richardson's extrapolation of central differences, the step halved until it settles."""
    step = float(parameters.scales[name])
    weight = 1 / np.sqrt(np.maximum(mean, mean[mean > 0].min() if (mean > 0).any() else 1.0))
    coarse, _ = _difference(parameters, name, step)
    previous: Array | None = None
    for _ in range(HALVINGS):
        step /= 2
        fine, gradient = _difference(parameters, name, step)
        better = (4 * fine - coarse) / 3
        if previous is not None:
            change = np.linalg.norm((better - previous) * weight)
            size = np.linalg.norm(better * weight)
            if change <= tolerance * size:
                return better, gradient
        previous, coarse = better, fine
    raise BadInputError(
        f"the derivative of the mean with respect to {name} does not settle from a step of "
        f"{parameters.scales[name]:g} down to {step:g}; the mean must be smooth in it, and the "
        "scale a change that is felt but small"
    )


def _difference(parameters: Parameters, name: str, step: float) -> tuple[Array, dict[str, float]]:
    sides = [{**parameters.values, name: parameters.values[name] + s} for s in (step, -step)]
    up, down = (_data(parameters.mean(side)) for side in sides)
    above, below = (parameters.quantities(side) for side in sides)
    gradient = {q: (float(above[q]) - float(below[q])) / (2 * step) for q in above}
    return (up - down) / (2 * step), gradient
