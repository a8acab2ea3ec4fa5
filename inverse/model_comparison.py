"""Which of several models do measured changes of distances support, or can they not tell.

Each model predicts the changes without a free number. With Gaussian errors of covariance S and a
model error of variance t² for each distance, ``log L = -(d' W d - log det W + k log 2 pi) / 2``
with d = measured - predicted and W = (S + t² 1)⁻¹. Models are equally likely beforehand.

References
----------
Kass and Raftery, J. Am. Stat. Assoc. 90, 773 (1995): Bayes factors.
Song et al., Joule 6 (2022): the ratio O-O(Li) / M-M(OLiO) as what tells models apart.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy import special, stats

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.distance_vectors import length_of
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]

RATIO = ("o_o_li", "m_m_olio")


class Verdict(Enum):
    """What a comparison of models says."""

    FOUND = "found"
    """One model explains the data, and no other does."""
    CANNOT_TELL = "cannot tell"
    """Several models explain the data about as well."""
    NONE_FITS = "none fits"
    """Even the best model is farther off than errors allow."""


class ComparisonOptions(Settings):
    """How sure a verdict must be."""

    model_std: Annotated[Angstrom, Field(ge=0)] = 0.01
    """What a calculated change of a distance is good for, one standard deviation; of calculated
    lattices about 1 pm."""
    probability: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """A model must have at least this much of the posterior probability."""
    significance: Annotated[float, Field(gt=0, lt=0.5)] = 1e-3
    """A model whose goodness of fit is less likely than this does not fit."""


def compare_models(
    changes: xr.Dataset,
    models: Mapping[str, Mapping[str, float]],
    *,
    options: ComparisonOptions | None = None,
) -> xr.Dataset:
    """Weigh models against each other by the measured changes of distances.

    Parameters
    ----------
    changes : xarray.Dataset
        ``change`` (distance) and ``change_covariance`` (distance, distance_), Å; see
        `echolith.inverse.distance_changes`.
    models : mapping
        For each model its change of every distance that was measured, Å.
    options : ComparisonOptions, optional

    Returns
    -------
    xarray.Dataset
        Over dim ``model``: ``log_likelihood``, ``probability`` (they sum to 1), ``chi_squared``,
        ``p_value``, best first. ``verdict`` (`Verdict`) and ``supported``: the model found, empty
        where there is none. Attribute ``reason`` in words.

    Raises
    ------
    BadInputError
        If errors are not stated, there are fewer than two models, or one lacks a distance.

    Examples
    --------
    >>> from echolith.inverse.distance_changes import distance_changes
    >>> states = [xr.Dataset({"o_o_li": v, "o_o_li_std": 0.005}) for v in (3.33, 3.09)]
    >>> measured = distance_changes(*states)
    >>> models = {"trapped": {"o_o_li": 0.24}, "metal": {"o_o_li": 0.06}}
    >>> compared = compare_models(measured, models)
    >>> str(compared["supported"].values), str(compared["verdict"].values)
    ('trapped', 'found')
    """
    options = options or ComparisonOptions()
    names, predicted = _predictions(changes, models)
    covariance = np.asarray(changes["change_covariance"].values, dtype=float)
    if not np.isfinite(covariance).all():
        raise BadInputError("change_covariance is not finite; state the error of every distance")
    covariance = covariance + options.model_std**2 * np.eye(len(names))
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise BadInputError(
            "the changes have a singular covariance (they depend on each other exactly); "
            "give model_std above 0 Å"
        ) from error
    difference = changes["change"].values - predicted
    chi_squared = (np.linalg.solve(factor, difference.T) ** 2).sum(axis=0)
    constant = 2 * np.log(np.diag(factor)).sum() + len(names) * np.log(2 * np.pi)
    likelihood = -(chi_squared + constant) / 2
    order = np.argsort(-likelihood, kind="stable")
    result = xr.Dataset(
        {
            "log_likelihood": ("model", likelihood, {"units": "1"}),
            "probability": ("model", special.softmax(likelihood), {"units": "1"}),
            "chi_squared": ("model", chi_squared, {"units": "1"}),
            "p_value": ("model", stats.chi2.sf(chi_squared, len(names)), {"units": "1"}),
        },
        coords={"model": list(models)},
        attrs={"distances": ", ".join(names)},
    ).isel(model=order)
    return _judged(result, options)


def _predictions(
    changes: xr.Dataset, models: Mapping[str, Mapping[str, float]]
) -> tuple[list[str], Array]:
    lacking = [name for name in ("change", "change_covariance") if name not in changes]
    if lacking:
        raise BadInputError(
            f"the changes lack {', '.join(lacking)}; without stated errors models cannot be "
            "weighed; give what distance_changes returns, with <name>_std in both states"
        )
    if len(models) < 2:
        raise BadInputError(f"{len(models)} model to compare; expected two or more")
    names = [str(name) for name in changes["distance"].values]
    for model, values in models.items():
        missing = [name for name in names if name not in values]
        if missing:
            raise BadInputError(
                f"model '{model}' does not say how {', '.join(missing)} changes; "
                "give every measured distance, or leave it out of the changes"
            )
    return names, np.array([[values[name] for name in names] for values in models.values()])


def _judged(result: xr.Dataset, options: ComparisonOptions) -> xr.Dataset:
    best = result.isel(model=0)
    name, share = str(best["model"].values), float(best["probability"])
    fit = f"chi² {float(best['chi_squared']):.1f}, p = {float(best['p_value']):.2g}"
    if float(best["p_value"]) < options.significance:
        verdict, reason = Verdict.NONE_FITS, f"even {name}, the nearest model, does not fit ({fit})"
    elif share < options.probability:
        rival = str(result["model"].values[1])
        verdict = Verdict.CANNOT_TELL
        reason = f"{name} has a probability of {share:.2f} only; {rival} is too near"
    else:
        verdict, reason = Verdict.FOUND, f"{name} with a probability of {share:.4f} ({fit})"
    supported = name if verdict is Verdict.FOUND else ""
    return result.assign(verdict=((), verdict.value), supported=((), supported)).assign_attrs(
        reason=reason
    )


def distance_ratio(distances: xr.Dataset) -> tuple[float, float]:
    """Return O-O(Li) / M-M(OLiO) and its standard deviation (NaN where errors are not stated).

    A ratio of parallel distances: free of the scale, and of drift to first order.

    Parameters
    ----------
    distances : xarray.Dataset
        ``o_o_li``, ``m_m_olio`` (Å), ``<name>_std``, ``distance_covariance`` where known.
    """
    lacking = [name for name in RATIO if name not in distances]
    if lacking:
        raise BadInputError(f"the ratio needs {', '.join(lacking)}; measure a larger field")
    (e, e_std), (f, f_std) = (length_of(distances, name) for name in RATIO)
    shared = 0.0
    if "distance_covariance" in distances:
        known = distances["distance_covariance"]
        shared = float(known.sel(distance=RATIO[0], distance_=RATIO[1]))
    variance = (e_std / e) ** 2 + (f_std / f) ** 2 - 2 * shared / (e * f)
    return e / f, e / f * float(np.sqrt(max(variance, 0.0)))
