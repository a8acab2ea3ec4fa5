"""What a refinement says: values by name, their uncertainties, how well the pattern is met."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.powder_profile import SCHERRER
from echolith.inverse.powder_fit import LEAST_MEAN, Fit
from echolith.inverse.powder_model import PatternModel
from echolith.inverse.powder_parameters import CELL_NAMES, cell_of

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def refinement_result(
    model: PatternModel, counts: Array, found: Fit, *, free: Mask, seen: Mask
) -> xr.Dataset:
    """Return the estimate of `echolith.inverse.rietveld.refine`."""
    names, vector = list(model.all_names), found.vector
    agreement = agreement_factors(counts, found.mean, parameters=int(free.sum()))
    covariance = covariance_of(found.information, free) * max(agreement["chi_squared"], 1.0)
    std = np.sqrt(np.diag(covariance))
    unknown = [name for name, known in zip(names, free, strict=True) if not known]
    std[~free] = np.inf
    result = xr.Dataset(
        {
            "parameters": ("parameter", np.where(free, vector, np.nan)),
            "parameters_std": ("parameter", std),
            "correlation": (("parameter", "other"), _correlation(covariance)),
            "calculated": ("two_theta", found.mean, {"units": "photons"}),
            "background": ("two_theta", _background(model, vector), {"units": "photons"}),
            **{name: ((), value, {"units": "1"}) for name, value in agreement.items()},
        },
        coords={
            "parameter": names,
            "other": names,
            "two_theta": ("two_theta", model.angles, {"units": "°"}),
            "phase": [lines.part.phase.name for lines in model.phases],
            "axis": list(CELL_NAMES[:3]),
            "angle": list(CELL_NAMES[3:]),
        },
        attrs={"converged": int(found.converged), "undetermined": unknown},
    )
    shown = seen[:, None]
    for name, function, dims, unit in (
        ("cell_length", _lengths, ("phase", "axis"), "Å"),
        ("cell_angle", _angles, ("phase", "angle"), "°"),
        ("weight_fraction", _weight_fractions, ("phase",), "1"),
        ("size", _sizes, ("phase",), "Å"),
        ("strain", _strains, ("phase",), "1"),
        ("march", _march, ("phase",), "1"),
    ):
        value, spread = _propagated(model, vector, covariance, function)
        known = np.broadcast_to(shown if len(dims) == 2 else seen, value.shape)
        if name == "weight_fraction":
            known = np.full(value.shape, True)
        result[name] = (dims, np.where(known, value, np.nan), {"units": unit})
        result[f"{name}_std"] = (dims, np.where(known, spread, np.inf), {"units": unit})
    return result


def agreement_factors(counts: Array, mean: Array, *, parameters: int) -> dict[str, float]:
    """Return ``r_weighted``, ``r_expected`` and ``chi_squared`` of a fitted mean."""
    weights = 1 / np.maximum(counts, 1.0)
    residual = counts - mean
    points = len(counts) - parameters
    observed = float(weights @ counts**2)
    return {
        "r_weighted": float(np.sqrt(weights @ residual**2 / observed)),
        "r_expected": float(np.sqrt(points / observed)),
        "chi_squared": float((residual**2 / np.maximum(mean, LEAST_MEAN)).sum() / points),
    }


def covariance_of(information: Array, free: Mask) -> Array:
    """Invert the information of the free parameters, in units of their own."""
    usable = free & (np.diag(information) > 0)
    found = np.zeros_like(information)
    unit = np.sqrt(np.diag(information)[usable])
    scaled = information[np.ix_(usable, usable)] / unit[:, None] / unit
    found[np.ix_(usable, usable)] = np.linalg.pinv(scaled, hermitian=True) / unit[:, None] / unit
    return found


def _correlation(covariance: Array) -> Array:
    unit = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    return np.asarray(covariance / unit[:, None] / unit)


def _background(model: PatternModel, vector: Array) -> Array:
    return np.asarray(model.polynomials @ vector[len(vector) - model.background :])


def _propagated(
    model: PatternModel,
    vector: Array,
    covariance: Array,
    function: Callable[[PatternModel, Array], Array],
) -> tuple[Array, Array]:
    """Return a function of the vector and its standard deviation, to first order."""
    value = np.asarray(function(model, vector), dtype=float)
    slopes = np.zeros((*value.shape, len(vector)))
    for index in np.flatnonzero(np.diag(covariance) > 0):
        step = 1e-3 * np.sqrt(covariance[index, index])
        moved = vector.copy()
        moved[index] += step
        ahead = function(model, moved)
        moved[index] -= 2 * step
        slopes[..., index] = (ahead - function(model, moved)) / (2 * step)
    variance = np.einsum("...i,ij,...j->...", slopes, covariance, slopes)
    return value, np.sqrt(np.maximum(variance, 0))


def _cells(model: PatternModel, vector: Array) -> Array:
    values = model.values(vector)
    return np.array([cell_of(lines.part.phase, values) for lines in model.phases])


def _lengths(model: PatternModel, vector: Array) -> Array:
    return _cells(model, vector)[:, :3]


def _angles(model: PatternModel, vector: Array) -> Array:
    return _cells(model, vector)[:, 3:]


def _weight_fractions(model: PatternModel, vector: Array) -> Array:
    """Return scale times density over their sum: scales are parts of the volume."""
    values = model.values(vector)
    mass = np.array([lines.part.phase.mass for lines in model.phases])
    volume = np.array(
        [
            lines.part.phase.model_copy(update={"cell": cell_of(lines.part.phase, values)}).volume
            for lines in model.phases
        ]
    )
    scale = np.array([values[f"{lines.part.phase.name}.scale"] for lines in model.phases])
    weight = scale * mass / volume
    return np.asarray(weight / weight.sum())


def _named(model: PatternModel, vector: Array, name: str, default: float) -> Array:
    values = model.values(vector)
    return np.array(
        [values.get(f"{lines.part.phase.name}.{name}", default) for lines in model.phases]
    )


def _sizes(model: PatternModel, vector: Array) -> Array:
    wavelength = model.phases[0].instrument.lines[0][0]
    width = np.radians(_named(model, vector, "size_width", 0.0))
    return np.asarray(SCHERRER * wavelength / np.maximum(width, 1e-9))


def _strains(model: PatternModel, vector: Array) -> Array:
    return np.radians(_named(model, vector, "strain_width", 0.0)) / 4


def _march(model: PatternModel, vector: Array) -> Array:
    given = np.array([lines.part.march for lines in model.phases])
    refined = _named(model, vector, "march", np.nan)
    return np.where(np.isnan(refined), given, refined)
