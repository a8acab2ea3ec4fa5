"""How a reconstructed surface grows from one exposure of a field to the next."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.exposures import DIM, take_exposure
from echolith.inverse.surface_recovery import SurfaceSolver, recover_surface

Array = npt.NDArray[np.float64]

_ARRAYS = ("surface_depth", "alkali_scattering")
ALIKE = 0.8
"""Correlation of the errors of ``alkali_scattering`` between exposures: of one crystal, whose
columns and response they share. Set on one specimen (seed 401, counted three times), where their
ratio is off by 0.4 of what independent errors would make."""


def recover_damage(measurement: xr.Dataset, *, options: SurfaceSolver | None = None) -> xr.Dataset:
    """Recover the depth of the surface layer in every exposure, and what changed.

    Parameters
    ----------
    measurement : xarray.Dataset
        Exposures of one field in their order, as `echolith.exposures.join_exposures` puts them
        together.
    options : SurfaceSolver, optional

    Returns
    -------
    xarray.Dataset
        Over ``exposure``: ``surface_phase``, ``surface_depth`` (Å), ``alkali_scattering`` (Å: mean
        of a site of the alkali layers, the damaged ones among them; phase and dark field together,
        so that a column of saturated phase counts too), with ``_std``; NaN where not determined. Of
        the last against the first: ``growth`` (Å) and ``alkali_contrast`` (ratio of
        ``alkali_scattering``), with ``_std``; left out where one of the two is not determined.
        ``attrs["undetermined"]`` names the exposures and why.

    Raises
    ------
    BadInputError
        If there are fewer than two exposures, or one cannot be inverted; the message names it.
    """
    names = [str(name) for name in measurement[DIM].values] if DIM in measurement.coords else []
    if len(names) < 2:
        raise BadInputError(
            f"{len(names)} exposures; expected two or more of one field along '{DIM}'"
        )
    found = [_exposure(measurement, name, options) for name in names]
    return compare_exposures(dict(zip(names, found, strict=True)))


def compare_exposures(surfaces: "dict[str, xr.Dataset]") -> xr.Dataset:
    """Compare what `recover_surface` found in each exposure; see `recover_damage`."""
    variables: dict[str, Any] = {
        "surface_phase": (DIM, [str(one["surface_phase"].values) for one in surfaces.values()])
    }
    rows = [_row(one) for one in surfaces.values()]
    for n, name in enumerate(_ARRAYS):
        variables[name] = (DIM, [row[2 * n] for row in rows], {"units": "Å"})
        variables[f"{name}_std"] = (DIM, [row[2 * n + 1] for row in rows], {"units": "Å"})
    result = xr.Dataset(variables, coords={DIM: list(surfaces)})
    reasons = [
        f"exposure {name}: {one.attrs['undetermined']}"
        for name, one in surfaces.items()
        if one.attrs.get("undetermined")
    ]
    return result.assign(_changes(result)).assign_attrs(undetermined=reasons)


def _exposure(measurement: xr.Dataset, name: str, options: SurfaceSolver | None) -> xr.Dataset:
    try:
        return recover_surface(take_exposure(measurement, name), options=options)
    except BadInputError as error:
        raise BadInputError(f"exposure '{name}': {error}") from error


def _row(surface: xr.Dataset) -> tuple[float, ...]:
    """Return depth and scattering of the alkali layers, each with its std; NaN where not known."""
    names = [f"{name}{end}" for name in _ARRAYS for end in ("", "_std")]
    return tuple(float(surface[name]) if name in surface else np.nan for name in names)


def _changes(found: xr.Dataset) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    depth, depth_std = (found[f"surface_depth{end}"].values for end in ("", "_std"))
    if np.isfinite(depth[[0, -1]]).all():
        changes["growth"] = ((), depth[-1] - depth[0], {"units": "Å"})
        changes["growth_std"] = ((), float(np.hypot(depth_std[0], depth_std[-1])), {"units": "Å"})
    w, w_std = (found[f"alkali_scattering{end}"].values for end in ("", "_std"))
    if np.isfinite(w[[0, -1]]).all() and w[0] > 3 * w_std[0]:
        ratio = w[-1] / w[0]
        after, before = w_std[-1], ratio * w_std[0]
        variance = after**2 + before**2 - 2 * ALIKE * after * before
        std = float(np.sqrt(variance) / w[0])
        changes["alkali_contrast"] = ((), ratio, {"units": "1"})
        changes["alkali_contrast_std"] = ((), std, {"units": "1"})
    return changes
