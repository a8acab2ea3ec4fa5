"""Transition metals and lithium on every cation column, from its phase and its dark field.

A site scatters ``w = 2.09 tm + 0.315 li`` (electron scattering factors at 0.7 1/Å, Å). A column's
phase follows ``s = K sin(theta w)`` up to its maximum K: linear for little, saturated for a full
column of metals, as exp(i phi) is. K and theta come from the data: oxygen columns are full
(w = 0.882), M columns hold the nominal share in the mean. The dark field is taken as linear in tm,
zero on the empty tetrahedral columns farthest from the surface, nominal in the mean of M. Assumed:
one thickness for all columns, no vacancy in oxygen. Beyond the maximum of s the dark field alone
decides.
"""

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.optimize import brentq

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings

Array = npt.NDArray[np.float64]

METAL, LITHIUM, OXYGEN = 2.09, 0.315, 0.882
"""Å at 0.7 1/Å; International Tables C, 4.3.2.2; the metals Mn, Ni, Co agree to 2 %."""

DARK_LITHIUM = (3 / 25) ** 2
"""Of lithium in the dark field, relative to the metals: as Z²."""


class CompositionOptions(Settings):
    """What is assumed of the specimen, and how exact the model is."""

    nominal: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Mean share of transition metals on M columns; lithium is on the rest."""
    phase_error: Annotated[float, Field(ge=0)] = 0.015
    """Of the response, relative to an oxygen column: its scatter over multislice data."""
    haadf_error: Annotated[float, Field(ge=0)] = 0.01
    """Of the dark field, relative to a column full of metals; likewise."""
    proportional_error: Annotated[float, Field(ge=0)] = 0.12
    """Of both, relative to the value: order of the atoms along the beam, and cross-talk."""


def measure_composition(
    sites: xr.Dataset,
    *,
    bulk: npt.NDArray[np.bool_] | None = None,
    options: CompositionOptions | None = None,
) -> xr.Dataset:
    """Measure what cation columns hold, by least squares with the full covariance of both signals.

    Parameters
    ----------
    sites : xarray.Dataset
        From `fit_sites`, with ``brightness``.
    bulk : array of bool, optional
        Columns that are surely layered, where M holds the nominal share and tetrahedral sites are
        empty; all by default.
    options : CompositionOptions, optional

    Returns
    -------
    xarray.Dataset
        Over ``column`` (cation columns in the crystal, away from the border): ``x``, ``y``,
        ``species`` ("M", "Li", "T"), ``sign``, ``lattice_i``, ``lattice_j``, ``tm_fraction``,
        ``li_fraction`` with ``<name>_std`` and ``tm_covariance``; ``scattering`` and
        ``scattering_std`` (w, Å; the largest that can be told, and as much for its std, where the
        phase is saturated). Scalars
        ``tm_in_alkali_layer`` with std.

    Raises
    ------
    BadInputError
        If there is no dark field, or too few oxygen or M columns to calibrate.
    """
    options = options or CompositionOptions()
    bulk = np.ones(sites.sizes["column"], dtype=bool) if bulk is None else bulk
    if "brightness" not in sites:
        raise BadInputError(
            "sites without brightness; composition needs the simultaneous annular dark field; "
            "record haadf"
        )
    inner = ~sites["edge"].values & sites["crystal"].values
    kind = sites["site"].values
    strength = sites["strength"].values
    present = inner & sites_filled(sites)
    oxygens, metals = present & (kind == "O"), present & bulk & (kind == "M")
    if oxygens.sum() < 4 or metals.sum() < 3:
        raise BadInputError(
            f"{int(oxygens.sum())} oxygen and {int(metals.sum())} M columns away from the border; "
            "expected 4 and 3 or more to calibrate by; scan a larger field"
        )
    oxygen = float(np.median(strength[oxygens]))
    height, theta = response(oxygen, float(strength[metals].mean()), options.nominal)
    chosen = np.flatnonzero(present & (kind != "O"))
    empty = present & bulk & (kind == "T")
    zero = float(np.median(sites["brightness"].values[empty]))
    offset = float(np.median(strength[empty]))
    full = (float(sites["brightness"].values[metals].mean()) - zero) / options.nominal
    if not full > 0:
        raise BadInputError("M columns are not bright in the dark field; check haadf")
    # Ripples of bright neighbours leave an offset on an empty tetrahedral column of the bulk; in a
    # surface it lies between that and nothing: half of it is taken, the other half is the error.
    hole = kind[chosen] == "T"
    signal = strength[chosen] - np.where(hole, offset / 2, 0.0)
    bright = (sites["brightness"].values[chosen] - zero) / full
    phase_covariance = _block(sites, "strength_covariance", chosen)
    phase_covariance += np.diag(
        (options.phase_error * oxygen) ** 2
        + hole * (offset / 2) ** 2
        + (options.proportional_error / 2 * signal) ** 2
    )
    dark_covariance = _block(sites, "brightness_covariance", chosen) / full**2
    dark_covariance += np.diag(options.haadf_error**2 + (options.proportional_error * bright) ** 2)
    share, covariance = _shares(
        signal, bright, phase_covariance, dark_covariance, kind[chosen], height, theta
    )
    n = len(chosen)
    std = np.sqrt(np.diag(covariance))
    w, w_std = _inverted(signal, np.sqrt(np.diag(phase_covariance)), height, theta)
    variables: dict[str, Any] = {
        name: ("column", sites[name].values[chosen], sites[name].attrs)
        for name in ("x", "y", "sign", "lattice_i", "lattice_j")
    }
    variables |= {
        "species": ("column", kind[chosen]),
        "tm_fraction": ("column", share[:n], {"units": "1"}),
        "tm_fraction_std": ("column", std[:n], {"units": "1"}),
        "li_fraction": ("column", share[n:], {"units": "1"}),
        "li_fraction_std": ("column", std[n:], {"units": "1"}),
        "tm_covariance": (("column", "column_"), covariance[:n, :n], {"units": "1"}),
        "strength": ("column", signal, {"units": "rad Å²"}),
        "strength_std": ("column", np.sqrt(np.diag(phase_covariance)), {"units": "rad Å²"}),
        "scattering": ("column", w, {"units": "Å"}),
        "scattering_std": ("column", w_std, {"units": "Å"}),
        "haadf_fraction": ("column", bright, {"units": "1"}),
        "haadf_fraction_std": ("column", np.sqrt(np.diag(dark_covariance)), {"units": "1"}),
    }
    result = xr.Dataset(variables, attrs={"response_height": height, "response_angle": theta})
    alkali = kind[chosen] == "Li"
    return result.assign(mean_fraction(result, alkali, "tm_in_alkali_layer"))


def mean_fraction(
    composition: xr.Dataset, chosen: npt.NDArray[np.bool_], name: str
) -> dict[str, Any]:
    """Return the mean share of metals on some columns with its std, {} without a column."""
    n = int(chosen.sum())
    if not n:
        return {}
    covariance = composition["tm_covariance"].values[np.ix_(chosen, chosen)]
    mean = float(composition["tm_fraction"].values[chosen].mean())
    # The model's own error is common to all columns of a layer: it does not average out. On
    # multislice data the empty alkali layer reads -0.012.
    common = CompositionOptions().haadf_error
    std = float(np.sqrt(covariance.sum() / n**2 + common**2))
    return {name: ((), mean, {"units": "1"}), f"{name}_std": ((), std, {"units": "1"})}


def response(oxygen: float, metal: float, nominal: float) -> tuple[float, float]:
    """Return K and theta (1/Å) of ``s = K sin(theta w)`` through oxygen and the nominal M.

    Where M is not below the proportional value the response is taken as linear.
    """
    w = METAL * nominal + LITHIUM * (1 - nominal)
    ratio = metal / oxygen

    def excess(theta: float) -> float:
        return float(np.sin(theta * w) / np.sin(theta * OXYGEN) - ratio)

    low, high = 1e-3, 1.2 * np.pi / (2 * w)
    theta = low if excess(low) <= 0 else high if excess(high) >= 0 else brentq(excess, low, high)
    return oxygen / float(np.sin(theta * OXYGEN)), float(theta)


def sites_filled(sites: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Sites inside the crystal: with filled oxygen columns around them."""
    kind, strength = sites["site"].values, sites["strength"].values
    oxygen = np.flatnonzero(kind == "O")
    typical = np.median(strength[oxygen[sites["crystal"].values[oxygen]]])
    filled = oxygen[strength[oxygen] > typical / 2]
    xy = np.stack([sites["x"].values, sites["y"].values], axis=-1)
    near = np.linalg.norm(xy[:, None] - xy[filled][None], axis=-1) < 2.2
    beside = near.sum(axis=1) >= np.where(kind == "O", 1, 2)
    return np.asarray(beside & ((kind != "O") | (strength > typical / 2)))


def _block(sites: xr.Dataset, name: str, chosen: npt.NDArray[np.intp]) -> Array:
    return np.asarray(sites[name].values[np.ix_(chosen, chosen)], dtype=float)


def _shares(
    signal: Array,
    bright: Array,
    phase_covariance: Array,
    dark_covariance: Array,
    kind: npt.NDArray[np.str_],
    height: float,
    theta: float,
) -> tuple[Array, Array]:
    """Gauss-Newton for tm and li of all columns; lithium has a weak prior, wide for all it is."""
    n = len(signal)
    weight = np.linalg.inv(phase_covariance), np.linalg.inv(dark_covariance)
    tm = np.clip(bright, 0, 1)
    metal = kind == "M"
    li = np.where(metal, 1 - tm, 0.5 * (1 - tm))
    # On M lithium fills what metals leave; elsewhere anything between nothing and full is alike.
    prior_std = np.where(metal, 0.1, 0.7)
    for _ in range(20):
        w = np.maximum(METAL * tm + LITHIUM * li, -0.5)
        argument = np.minimum(theta * w, np.pi / 2)
        slope = height * theta * np.cos(argument)
        phase = np.concatenate([np.diag(METAL * slope), np.diag(LITHIUM * slope)], axis=1)
        dark = np.concatenate([np.eye(n), DARK_LITHIUM * np.eye(n)], axis=1)
        filling = np.where(metal, 1.0, 0.5)
        held = np.concatenate([np.diag(filling), np.eye(n)], axis=1) / prior_std[:, None]
        normal = phase.T @ weight[0] @ phase + dark.T @ weight[1] @ dark + held.T @ held
        left = (signal - height * np.sin(argument), bright - tm - DARK_LITHIUM * li)
        target = (filling * (1 - tm) - li) / prior_std
        downhill = phase.T @ weight[0] @ left[0] + dark.T @ weight[1] @ left[1] + held.T @ target
        step = np.linalg.solve(normal, downhill)
        tm, li = tm + np.clip(step[:n], -0.2, 0.2), li + np.clip(step[n:], -0.3, 0.3)
        if np.abs(step).max() < 1e-6:
            break
    return np.concatenate([tm, li]), np.linalg.inv(normal)


def _inverted(signal: Array, std: Array, height: float, theta: float) -> tuple[Array, Array]:
    """Return w and its std from the phase alone; the std is that of no knowledge if saturated."""
    below = signal < 0.9 * height
    argument = np.arcsin(np.clip(signal / height, -0.9, 0.9))
    slope = height * theta * np.cos(argument)
    w = argument / theta
    return w, np.where(below, std / slope, np.abs(w))


def alkali_contrast(before: xr.Dataset, after: xr.Dataset) -> tuple[float, float]:
    """Return the ratio of the alkali layer's contrast after to before, and its std.

    Contrast: mean phase of Li columns over that of oxygen columns, so that thickness and scale
    cancel to first order.

    Parameters
    ----------
    before, after : xarray.Dataset
        From `fit_sites`.
    """
    values = [_contrast(one) for one in (before, after)]
    if values[0][0] <= 3 * values[0][1]:
        return float("nan"), float("nan")
    ratio = values[1][0] / values[0][0]
    parts = [values[1][1] / values[0][0], ratio * values[0][1] / values[0][0]]
    return float(ratio), float(np.hypot(parts[0], parts[1]))


def _contrast(sites: xr.Dataset) -> tuple[float, float]:
    inner = ~sites["edge"].values & sites_filled(sites)
    kind, strength = sites["site"].values, sites["strength"].values
    slope = np.zeros(len(kind))
    means = {k: float(strength[inner & (kind == k)].mean()) for k in ("Li", "O")}
    for name, factor in (("Li", 1 / means["O"]), ("O", -means["Li"] / means["O"] ** 2)):
        mine = inner & (kind == name)
        slope[mine] = factor / mine.sum()
    variance = slope @ sites["strength_covariance"].values @ slope
    return means["Li"] / means["O"], float(np.sqrt(variance))


def displacements(sites: xr.Dataset) -> xr.Dataset:
    """Return how far M and O columns are from their mean lattice, Å, with std.

    Affine least squares of all columns in the crystal; oxygen on either side has its own offset.
    """
    inner = ~sites["edge"].values & sites_filled(sites) & np.isin(sites["site"].values, ["M", "O"])
    chosen = sites.isel(column=np.flatnonzero(inner))
    group = chosen["sign"].values
    design = np.column_stack(
        [chosen["lattice_i"].values, chosen["lattice_j"].values]
        + [(group == g).astype(float) for g in (-1, 0, 1) if (group == g).any()]
    )
    variables: dict[str, Any] = {}
    leverage = np.einsum("ij,ji->i", design, np.linalg.pinv(design))
    for axis in "xy":
        at = chosen[axis].values
        off = at - design @ np.linalg.lstsq(design, at, rcond=None)[0]
        std = chosen[f"{axis}_std"].values * np.sqrt(np.maximum(1 - leverage, 0))
        variables[f"displacement_{axis}"] = ("column", off, {"units": "Å"})
        variables[f"displacement_{axis}_std"] = ("column", std, {"units": "Å"})
    return chosen[["x", "y", "site", "lattice_i", "lattice_j"]].assign(variables)
