"""Species of columns in thick specimens: by place in the lattice, held against the dark field.

In a thick specimen neither the phase nor the dark field of one column tells its species. The
lattice does (plane group p2: M at 0, Li at C/2, O at ±o): it is found from the whole phase image,
and the dark field, which the search does not see, must be brightest on its M sites. Where the two
disagree nothing is named, since exchanged M and Li give wrong distances that look like right ones.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from echolith.errors import BadInputError
from echolith.inverse.column_maxima import sample
from echolith.inverse.column_problem import interior
from echolith.inverse.site_lattice import MATCH, sites_of
from echolith.inverse.whitening import scan_step

Array = npt.NDArray[np.float64]

DARK_FIELD_BLUR = 0.35
"""Å, standard deviation: about a column's width in the dark field."""
SHARE = 0.85
"""Of columns that stand on sites, and of M and O sites that have columns, away from the border."""
BRIGHTER = 1.5
"""Least ratio of the dark field on M sites to that on O and on Li sites, above background; lattices
with M and Li exchanged give one below 1."""
CERTAIN = 3.0
"""Standard errors by which it must be brighter."""


class UndeterminedSpeciesError(BadInputError):
    """The species of the columns cannot be told."""


def name_columns(found: xr.Dataset, phase: xr.DataArray, haadf: xr.DataArray) -> xr.Dataset:
    """Name columns by the site of the layered oxide's lattice they stand on.

    Parameters
    ----------
    found : xarray.Dataset
        ``x``, ``y`` (Å) and ``edge`` of columns found blindly (`find_columns`).
    phase : xarray.DataArray
        (scan_y, scan_x), rad; the image they were found on.
    haadf : xarray.DataArray
        (scan_y, scan_x), counts of the annular dark field of the same scan.

    Returns
    -------
    xarray.Dataset
        ``x``, ``y``, ``edge`` and ``species`` of the site ("M", "Li", "O"): the columns on sites,
        others are left out, then the sites without one. Between strong columns a weak one makes
        no maximum; left out, its neighbours would be fitted where their sum is.

    Raises
    ------
    UndeterminedSpeciesError
        If columns and lattice do not fit one another, or the dark field does not bear out which
        sites are M.
    """
    try:
        sites = sites_of(found, phase)
    except BadInputError as error:
        raise UndeterminedSpeciesError(f"species undetermined: {error}") from error
    sites = sites.isel(column=np.flatnonzero(sites["site"].values != "T"))
    columns, places = _points(found), _points(sites)
    distance, nearest = cKDTree(places).query(columns)
    back = cKDTree(columns).query(places)[1]
    on_site = (distance < MATCH) & (back[nearest] == np.arange(len(columns)))
    margin = float(found.attrs.get("margin", 2.0))
    _check_occupied(found, sites, on_site, nearest)
    _check_dark_field(sites, haadf, phase, margin)
    empty = ~np.isin(np.arange(len(places)), nearest[on_site])
    xy = np.concatenate([columns[on_site], places[empty]])
    kinds = sites["site"].values
    names = np.concatenate([kinds[nearest[on_site]], kinds[empty]]).astype("<U2")
    return xr.Dataset(
        {
            "x": ("column", xy[:, 0], {"units": "Å"}),
            "y": ("column", xy[:, 1], {"units": "Å"}),
            "species": ("column", names, {"units": "1"}),
            "edge": ("column", ~interior(phase, xy[:, 0], xy[:, 1], margin), {"units": "1"}),
        },
        attrs=dict(found.attrs),
    )


def _points(columns: xr.Dataset) -> Array:
    return np.stack([columns["x"].values, columns["y"].values], axis=-1)


def _check_occupied(
    found: xr.Dataset,
    sites: xr.Dataset,
    on_site: npt.NDArray[np.bool_],
    nearest: npt.NDArray[np.intp],
) -> None:
    inner = ~found["edge"].values.astype(bool)
    columns = _points(found)
    low, high = columns[inner].min(axis=0), columns[inner].max(axis=0)
    asked = ((_points(sites) > low) & (_points(sites) < high)).all(axis=1)
    asked &= sites["site"].values != "Li"
    filled = np.isin(np.arange(sites.sizes["column"]), nearest[on_site])[asked]
    share = on_site[inner].mean(), filled.mean() if len(filled) else 0.0
    if min(share) < SHARE:
        raise UndeterminedSpeciesError(
            f"species undetermined: {share[0]:.0%} of the columns stand on sites of a layered "
            f"oxide and {share[1]:.0%} of its M and O sites have a column; expected {SHARE:.0%} or "
            "more of both; check thickness, focus and dose, and that the zone axis is [010]"
        )


def _check_dark_field(
    sites: xr.Dataset, haadf: xr.DataArray, phase: xr.DataArray, margin: float
) -> None:
    image = haadf.transpose("scan_y", "scan_x")
    image = image.assign_coords(scan_y=phase["scan_y"], scan_x=phase["scan_x"])
    values = np.asarray(image.values, dtype=float)
    blurred = gaussian_filter(values, [DARK_FIELD_BLUR / step for step in scan_step(image)])
    x, y = sites["x"].values, sites["y"].values
    brightness = sample(blurred - np.quantile(blurred, 0.05), x, y, image)
    inside = np.ones(len(x), dtype=bool)
    for at, name in ((x, "scan_x"), (y, "scan_y")):
        axis = phase[name].values
        inside &= (at > axis[0] + margin) & (at < axis[-1] - margin)
    kind = sites["site"].values
    metal = brightness[inside & (kind == "M")]
    for other in ("O", "Li"):
        rest = brightness[inside & (kind == other)]
        if min(len(metal), len(rest)) < 2:
            raise UndeterminedSpeciesError(
                f"species undetermined: {len(metal)} M and {len(rest)} {other} sites away from the "
                "border; expected 2 or more of each; scan a larger field"
            )
        error = np.sqrt(metal.var(ddof=1) / len(metal) + rest.var(ddof=1) / len(rest))
        gap = metal.mean() - rest.mean()
        if gap < CERTAIN * error or metal.mean() < BRIGHTER * rest.mean():
            raise UndeterminedSpeciesError(
                f"species undetermined: the dark field is {metal.mean():.3g} counts on M sites and "
                f"{rest.mean():.3g} on {other} sites above background, apart by {gap:.2g} ± "
                f"{error:.2g}; expected {BRIGHTER:g} times as much and {CERTAIN:g} standard "
                "errors; record a higher dose or a larger field, or check inner and outer angle"
            )
