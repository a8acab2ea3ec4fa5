"""Sites inside the crystal, and what they tell without contents: contrast and displacements."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr


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
