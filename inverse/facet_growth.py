"""How the facets of a crystal grow: the law of each, how fast, and when growth changes direction.

The law of a facet follows from its edges (`echolith.inverse.growth_laws`). Its speed is that of the
piece that goes the farthest. Of facets of the first kind those grow that surely advance; growth
switches when that piece of the one that starts last begins.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.acquisition import Settings
from echolith.inverse.facet_edges import EdgeTracking, recover_edges
from echolith.inverse.growth_law_shapes import GrowthLaw
from echolith.inverse.growth_laws import FEWEST, GrowthLawOptions, growth_law

Array = npt.NDArray[np.float64]

SURE = 4.0
"""Standard deviations by which a facet that grows advances, from its first to its last quarter."""


class FacetGrowth(Settings):
    """What is looked for, and what is known beforehand."""

    edges: EdgeTracking = EdgeTracking()
    laws: GrowthLawOptions = GrowthLawOptions(
        laws=(
            GrowthLaw.CONSTANT,
            GrowthLaw.LINEAR,
            GrowthLaw.ACCELERATED,
            GrowthLaw.PIECEWISE_LINEAR,
        ),
        changes=2,
        scale_std=0,
    )
    """Stated errors are taken as they are: edges at rest, of whole rows, scatter less than those
    that move, and would make these look surer than they are."""


@dataclass(frozen=True, kw_only=True)
class _Growth:
    """The piece of a facet's growth that goes the farthest: speed, Å/s, and start, s."""

    law: str = ""
    probability: float = np.nan
    speed: float = np.nan
    speed_std: float = np.inf
    start_time: float = np.nan
    start_time_std: float = np.inf


QUANTITIES = {"first_speed": "Å/s", "second_speed": "Å/s", "switch_time": "s"}
UNITS = {
    "law_probability": "1",
    "speed": "Å/s",
    "speed_std": "Å/s",
    "start_time": "s",
    "start_time_std": "s",
}


def recover_growth(measurement: xr.Dataset, *, options: FacetGrowth | None = None) -> xr.Dataset:
    """Follow the facets of a crystal through a movie, and find the laws of their growth.

    Parameters
    ----------
    measurement : xarray.Dataset
        As from `echolith.forward.hrtem.hrtem_mean`, drawn; lazy or not.
    options : FacetGrowth, optional

    Returns
    -------
    xarray.Dataset
        What `echolith.inverse.facet_edges.recover_edges` finds; over ``facet`` of the first kind
        ``law`` (a `GrowthLaw`, empty where none is found), ``law_probability``, ``speed`` (Å/s, of
        the piece that goes the farthest) and ``start_time`` (s, of that piece; NaN where it
        began before the movie), each with ``_std``. Where two facets grow one after the other
        ``first_speed``, ``second_speed`` and ``switch_time``, each with ``_std`` and where one law
        is found.
    """
    options = options or FacetGrowth()
    found = recover_edges(measurement, options=options.edges)
    if "edge" not in found:
        return found
    first = np.isclose(found["layer"], found["layer"].max())
    each = [
        _growth(found.isel(facet=n), options.laws) if kind else _Growth()
        for n, kind in enumerate(first)
    ]
    columns = {name: [getattr(one, name.removeprefix("law_")) for one in each] for name in UNITS}
    found = found.assign(
        {name: ("facet", values, {"units": UNITS[name]}) for name, values in columns.items()}
    ).assign(law=("facet", [one.law for one in each]))
    growing = [one for one, moved in zip(each, _advances(found), strict=True) if moved > SURE]
    growing.sort(key=lambda one: np.nan_to_num(one.start_time, nan=-np.inf))
    if len(growing) < 2:
        return _lacking(found, QUANTITIES, "no two facets grow")
    begin, last = growing[0], growing[-1]
    told = (
        (begin.speed, begin.speed_std),
        (last.speed, last.speed_std),
        (last.start_time, last.start_time_std),
    )
    # A change that fits between two frames leaves the speed of what moved open: it is not told.
    values = {
        name: (value, std)
        for name, (value, std) in zip(QUANTITIES, told, strict=True)
        if np.isfinite(value) and std < abs(value)
    }
    found = found.assign(
        {name: ((), value, {"units": QUANTITIES[name]}) for name, (value, _) in values.items()}
        | {
            f"{name}_std": ((), std, {"units": QUANTITIES[name]})
            for name, (_, std) in values.items()
        }
    )
    rest = [name for name in QUANTITIES if name not in values]
    return _lacking(found, rest, "several laws or speeds are as likely") if rest else found


def _lacking(found: xr.Dataset, names: Iterable[str], why: str) -> xr.Dataset:
    told = f"{found.attrs['undetermined']}; {', '.join(names)}: {why}"
    return found.assign_attrs(undetermined=told)


def _advances(found: xr.Dataset) -> Array:
    """Return by how many standard deviations facets of the first kind advance, (facets,)."""
    advances = np.zeros(found.sizes["facet"])
    for n in np.flatnonzero(np.isclose(found["layer"], found["layer"].max())):
        edge, std = (found[name].values[n] for name in ("edge", "edge_std"))
        told = np.flatnonzero(np.isfinite(edge))
        many = len(told) // 4
        if many:
            ends = [told[:many], told[-many:]]
            early, late = (edge[end].mean() for end in ends)
            # Errors of one rest are the same ones.
            variance = sum((std[end] ** 2).mean() for end in ends)
            advances[n] = (late - early) / np.sqrt(variance)
    return advances


def _growth(facet: xr.Dataset, options: GrowthLawOptions) -> _Growth:
    if int(facet["single_edge"].notnull().sum()) < FEWEST:
        return _Growth()
    found = growth_law(
        facet["frame"].values,
        facet["single_edge"].values,
        length_std=facet["single_edge_std"].values,
        options=options,
    )
    law, probability = str(found["supported"].values), float(found["probability"][0])
    if "velocity" not in found:
        return _Growth(law=law, probability=probability)
    changes = found["change_time"].values.tolist() if "change_time" in found else []
    ends = facet["frame"].values[[0, -1]]
    # The piece that goes the farthest: a change may be so sudden that its speed means nothing.
    piece = int(np.argmax(found["velocity"].values * np.diff([ends[0], *changes, ends[1]])))
    speed = float(found["velocity"][piece])
    start, std = np.nan, np.inf
    if piece and "change_time" in found:
        # The row there at the start is up to half a row from where steady growth begins.
        early = float(facet["layer"]) / 12**0.5 / max(abs(speed), 1e-9)
        start = float(found["change_time"][piece - 1])
        std = float(np.hypot(found["change_time_std"][piece - 1], early))
    return _Growth(
        law=law,
        probability=probability,
        speed=speed,
        speed_std=float(found["velocity_std"][piece]),
        start_time=start,
        start_time_std=std,
    )
