"""The Cramér–Rao bound: the smallest standard deviation any unbiased solver can reach."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError, near_match
from echolith.validation.information import Information
from echolith.validation.scenario import Scenario

Array = npt.NDArray[np.float64]

SINGULAR = 1e-10
"""Eigenvalues of the information, each parameter scaled to its own, below this are zero: rounding
of the derivatives leaves about 1e-12, and a direction known 1e5 times worse than its parameters
one by one is of no use."""
TOUCHES = 1e-6
"""Share of a quantity's gradient along a singular direction that leaves it undetermined."""


def cramer_rao(
    scenario: Scenario, *, parameters: Iterable[str] | None = None, seed: int = 0
) -> xr.Dataset:
    """Return the bound on every quantity of a scenario.

    For an unbiased estimate of ``q(theta)`` from data of Fisher information F the variance is at
    least ``grad q · F⁻¹ · grad q``; parameters not asked about are nuisance and marginalised by
    the inverse. Directions the data do not fix are named, not inverted.

    Parameters
    ----------
    scenario : Scenario
        With an ``information``.
    parameters : iterable of str, optional
        Which parameters are unknown, by name or pattern (``"*.x"``); the others count as known.
        All by default.
    seed : int
        Of the specimen.

    Returns
    -------
    xarray.Dataset
        One variable for each quantity: the bound of its standard deviation, in the quantity's
        unit (``<name>_single`` that of one of its copies). ``parameter_bound`` over dim
        ``parameter``. ``attrs["undetermined"]`` lists quantities and parameters the data do not
        fix; they are infinite.

    Raises
    ------
    BadInputError
        If the scenario has no information, or a parameter is unknown.

    References
    ----------
    Kay, *Fundamentals of Statistical Signal Processing: Estimation Theory* (1993), section 3.8.
    """
    if scenario.information is None:
        raise BadInputError(
            f"scenario {scenario.name!r} has no information to bound it by; give it one, e.g. "
            "validation.information.fisher_information of its parameters"
        )
    information = scenario.information(scenario.build(seed))
    bound = bound_of(information, parameters=parameters)
    return bound.assign_attrs(scenario=scenario.name)


def bound_summary(
    scenario: Scenario, *, parameters: Iterable[str] | None = None, seed: int = 0
) -> dict[str, Any]:
    """Return `cramer_rao` as plain values: the object ``echolith bound --json`` prints."""
    bound = cramer_rao(scenario, parameters=parameters, seed=seed)
    return {
        "scenario": scenario.name,
        "settings": scenario.settings.model_dump(mode="json"),
        "seed": seed,
        "bounds": {
            str(name): {
                "value": float(value) if np.isfinite(value) else None,
                "unit": value.attrs["units"],
            }
            for name, value in bound.data_vars.items()
            if not value.ndim
        },
        "undetermined": list(bound.attrs["undetermined"]),
        "notes": list(bound.attrs["notes"]),
    }


def bound_of(information: Information, *, parameters: Iterable[str] | None = None) -> xr.Dataset:
    """Return the bound on every quantity and parameter of an information (see `cramer_rao`)."""
    unknown = _chosen(information.names, parameters)
    inverse = _invert(information.matrix[np.ix_(unknown, unknown)])
    variables: dict[str, tuple[tuple[str, ...], npt.ArrayLike, dict[str, str]]] = {}
    undetermined = []
    for name, gradient in information.gradients.items():
        rows = np.atleast_2d(gradient)[:, unknown]
        value = float(np.sqrt(np.mean([inverse.variance(row) for row in rows])))
        variables[name] = ((), value, {"units": information.units.get(name, "1")})
        if not np.isfinite(value):
            undetermined.append(name)
    names = [information.names[n] for n in unknown]
    each = np.array([np.sqrt(inverse.variance(row)) for row in np.eye(len(unknown))])
    undetermined += [n for n, v in zip(names, each, strict=True) if not np.isfinite(v)]
    variables["parameter_bound"] = (
        ("parameter",),
        each,
        {"units": "that of the parameter", "long_name": "bound of each parameter"},
    )
    return xr.Dataset(
        variables,
        coords={"parameter": names},
        attrs={"undetermined": undetermined, "notes": list(information.notes)},
    )


def _chosen(names: tuple[str, ...], wanted: Iterable[str] | None) -> list[int]:
    if wanted is None:
        return list(range(len(names)))
    if isinstance(wanted, str):
        raise BadInputError(f"parameters = {wanted!r} is a string; give a list of names")
    patterns = list(wanted)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise BadInputError(f"unknown parameter {pattern!r}; {near_match(pattern, names)}")
    return [n for n, name in enumerate(names) if any(fnmatchcase(name, p) for p in patterns)]


@dataclass(frozen=True, kw_only=True)
class _Inverse:
    """Inverse of a positive semidefinite matrix where it is regular."""

    scale: Array
    """Of each parameter: one over the root of its own information, 0 where it has none."""
    regular: Array
    """(directions, n), scaled by one over the root of their eigenvalue."""
    singular: Array
    """(directions, n)."""
    blind: npt.NDArray[np.bool_]
    """Parameters without any information."""

    def variance(self, gradient: Array) -> float:
        """Return ``gradient · F⁻¹ · gradient``, infinite if it touches a singular direction."""
        if gradient[self.blind].any():
            return float("inf")
        scaled = gradient * self.scale
        size = float(np.linalg.norm(scaled))
        if size == 0:
            return 0.0
        if len(self.singular) and np.abs(self.singular @ scaled).max() > TOUCHES * size:
            return float("inf")
        return float(np.sum((self.regular @ scaled) ** 2))


def _invert(matrix: Array) -> _Inverse:
    own = np.diag(matrix).copy()
    blind = own <= 0
    scale = np.where(blind, 0.0, 1 / np.sqrt(np.where(blind, 1.0, own)))
    values, vectors = np.linalg.eigh(matrix * np.outer(scale, scale))
    regular = values > SINGULAR * max(1.0, float(values.max(initial=0.0)))
    # Directions made of parameters without information only are told apart by `blind`.
    singular = ~regular & (np.abs(vectors[~blind]).sum(axis=0) > TOUCHES)
    return _Inverse(
        scale=scale,
        regular=(vectors[:, regular] / np.sqrt(values[regular])).T,
        singular=vectors[:, singular].T,
        blind=blind,
    )
