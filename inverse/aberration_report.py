"""What the aberration fit returns: coefficients, their uncertainties, what is undetermined."""

from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from echolith.forward.acquisition import StemAcquisition
from echolith.inverse.aberration_basis import components, pairs, scales
from echolith.inverse.aberration_covariance import (
    Covariance,
    covariance_of,
    reduced_chi_squared,
    with_systematic,
)
from echolith.inverse.aberration_overlaps import FloatArray, Overlaps
from echolith.inverse.aberration_projection import Solution

LEAST_EXPLAINED = 0.5
"""Share of the power in the overlaps that the model must take up. Right aberrations take up 0.7 at
2 nm of oxide and nearly all of a weak phase; wrong ones a few per cent to a third."""
LARGEST_STD = 1.0
"""rad at the rim: beyond, the phase is not linear in the coefficient, and the error no Gaussian."""
ZERO = 0.01
"""Chance of naming an azimuth where there is no aberration."""

Variables = dict[str, Any]


def report(
    solution: Solution | None, overlaps: Overlaps, order: int, *, absorbed: float = 0.0
) -> xr.Dataset:
    """Build the dataset of `echolith.inverse.aberration_fit.fit_aberrations`.

    Parameters
    ----------
    solution : Solution or None
        None where no spatial frequency stands out of the noise.
    overlaps : Overlaps
    order : int
    absorbed : float, optional
        Share of the signal that only absorption explains.
    """
    failure = _failure(solution, overlaps)
    if solution is None or failure:
        reasons = {name: failure for name, _ in pairs(order)}
        blank = np.full(len(components(order)), np.nan)
        found = _coefficients(blank, np.diag(blank), order)
    else:
        spread = with_systematic(covariance_of(solution.misfit), absorbed, order)
        reasons = _unknown(spread.covariance, order)
        found = _known(solution, spread, overlaps.acquisition, order, reasons)
    found |= _quality(solution, overlaps)
    found["absorbed"] = ((), absorbed, {"units": "1"})
    return xr.Dataset(
        found,
        coords={name: [c.name for c in components(order)] for name in ("component", "component_2")},
        attrs={
            "acquisition": overlaps.acquisition.model_dump_json(),
            "order": order,
            "window": overlaps.window.value,
            "determined": int(not failure),
            "undetermined": list(reasons),
            "reasons": list(reasons.values()),
        },
    )


def _failure(solution: Solution | None, overlaps: Overlaps) -> str:
    """Say why nothing is determined, if so."""
    if solution is None:
        return "no spatial frequency stands out of the noise in the double overlaps"
    share = solution.misfit.share
    if not share >= LEAST_EXPLAINED:
        return (
            f"no aberrations explain more than {share:.0%} of the power in the overlaps of "
            f"{len(overlaps.chosen)} spatial frequencies; check rotation, transpose, calibration"
        )
    return ""


def _unknown(covariance: FloatArray, order: int) -> dict[str, str]:
    """Name what the data do not determine, and why."""
    std = np.sqrt(np.diag(covariance))
    return {
        name: f"its phase at the rim is uncertain by {std[places].max():.2g} rad"
        for name, places in pairs(order)
        if std[places].max() > LARGEST_STD
    }


def _known(
    solution: Solution,
    spread: Covariance,
    acquisition: StemAcquisition,
    order: int,
    reasons: dict[str, str],
) -> Variables:
    """Return coefficients in Å, NaN where undetermined; adds undetermined azimuths to reasons."""
    unit = scales(order, acquisition.beam)
    values, covariance = solution.phases * unit, spread.covariance * np.outer(unit, unit)
    for name, places in pairs(order):
        if name in reasons:
            values[places] = np.nan
            covariance[places] = covariance[:, places] = np.nan
        elif len(places) == 2 and _consistent_with_zero(values, covariance, places):
            reasons[f"phi{name[1:]}"] = f"{name} is consistent with zero"
    found = _coefficients(values, covariance, order, without=set(reasons))
    found["singular_values"] = ("mode", np.sqrt(spread.information), {"units": "1/rad"})
    found["modes"] = (("component", "mode"), spread.modes, {"units": "1"})
    return found


def _consistent_with_zero(values: FloatArray, covariance: FloatArray, places: list[int]) -> bool:
    pair, block = values[places], covariance[np.ix_(places, places)]
    return bool(pair @ np.linalg.solve(block, pair) < stats.chi2.isf(ZERO, 2))


def _coefficients(
    values: FloatArray, covariance: FloatArray, order: int, *, without: set[str] | None = None
) -> Variables:
    found: Variables = {}
    names = [component.name for component in components(order)]
    for name, places in pairs(order):
        pair, block = values[places], covariance[np.ix_(places, places)]
        for place in places:
            _add(found, names[place], values[place], np.sqrt(covariance[place, place]), "Å")
        if len(places) == 2:
            _add_polar(found, name, pair, block, hidden=f"phi{name[1:]}" in (without or set()))
    found["covariance"] = (("component", "component_2"), covariance, {"units": "Å²"})
    return found


def _add(found: Variables, name: str, value: float, std: float, unit: str) -> None:
    found[name] = ((), float(value), {"units": unit})
    found[f"{name}_std"] = ((), float(std), {"units": unit})


def _add_polar(
    found: Variables, name: str, pair: FloatArray, block: FloatArray, *, hidden: bool
) -> None:
    """Add modulus and azimuth of C (cos, sin)(m phi), and their standard deviations."""
    size, symmetry = float(np.hypot(*pair)), int(name[2])
    along = pair / size if size > 0 else np.array([1.0, 0.0])
    across = np.array([-along[1], along[0]])
    _add(found, name, size, float(np.sqrt(along @ block @ along)), "Å")
    azimuth, std = np.nan, np.nan
    if not hidden and size > 0:
        azimuth = np.arctan2(pair[1], pair[0]) / symmetry
        std = np.sqrt(across @ block @ across) / (symmetry * size)
    _add(found, f"phi{name[1:]}", float(azimuth), float(std), "rad")


def _quality(solution: Solution | None, overlaps: Overlaps) -> Variables:
    found: Variables = {"frequencies": ((), len(overlaps.chosen), {"units": "1"})}
    value, std, share = np.nan, np.nan, np.nan
    if solution is not None:
        value, std = reduced_chi_squared(solution.misfit)
        share = solution.misfit.share
    _add(found, "reduced_chi_squared", value, std, "1")
    found["explained"] = ((), share, {"units": "1"})
    return found
