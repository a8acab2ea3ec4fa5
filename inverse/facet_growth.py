"""How the facets of a crystal grow: the law of each, how fast, and when growth changes direction.

The law of a facet follows from its edges (`echolith.inverse.growth_laws`). Its speed is that of the
piece known best to be no rest, relative to its uncertainty. Of facets of the first kind those grow
that surely have such a piece; growth switches when that of the one that starts last begins.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.inverse.facet_edges import EdgeTracking, recover_edges
from echolith.inverse.growth_law_shapes import GrowthLaw
from echolith.inverse.growth_laws import FEWEST, GrowthLawOptions, growth_law

Array = npt.NDArray[np.float64]

SURE = 4.0
"""Standard deviations of a speed from 0: a facet that grows."""


class FacetGrowth(Settings):
    """What is looked for, and what is known beforehand."""

    edges: EdgeTracking = EdgeTracking()
    laws: GrowthLawOptions = Field(
        default=GrowthLawOptions(
            laws=(GrowthLaw.CONSTANT, GrowthLaw.LINEAR, GrowthLaw.ACCELERATED,
                  GrowthLaw.PIECEWISE_LINEAR),
            changes=2,
        )
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Growth:
    """The piece of a facet's growth that is surest, Å/s, and when it began, s; NaN: not known."""

    law: str = ""
    probability: float = np.nan
    speed: float = np.nan
    speed_std: float = np.nan
    start_time: float = np.nan
    start_time_std: float = np.nan


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
        the piece that is surest to be no rest) and ``start_time`` (s, of that piece; NaN where it
        began before the movie), each with ``_std``. Where two facets grow one after the other
        ``first_speed``, ``second_speed`` and ``switch_time``, each with ``_std``.
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
    growing = [one for one in each if one.speed > SURE * one.speed_std]
    growing.sort(key=lambda one: np.nan_to_num(one.start_time, nan=-np.inf))
    if len(growing) < 2 or np.isnan(growing[-1].start_time):
        lacking = "first_speed, second_speed, switch_time: no two facets grow one after the other"
        return found.assign_attrs(undetermined=f"{found.attrs['undetermined']}; {lacking}")
    begin, last = growing[0], growing[-1]
    return found.assign(
        first_speed=((), begin.speed, {"units": "Å/s"}),
        first_speed_std=((), begin.speed_std, {"units": "Å/s"}),
        second_speed=((), last.speed, {"units": "Å/s"}),
        second_speed_std=((), last.speed_std, {"units": "Å/s"}),
        switch_time=((), last.start_time, {"units": "s"}),
        switch_time_std=((), last.start_time_std, {"units": "s"}),
    )


def _growth(facet: xr.Dataset, options: GrowthLawOptions) -> _Growth:
    if int(facet["edge"].notnull().sum()) < FEWEST:
        return _Growth()
    found = growth_law(
        facet["frame"].values,
        facet["edge"].values,
        length_std=facet["edge_std"].values,
        options=options,
    )
    law, probability = str(found["supported"].values), float(found["probability"][0])
    if "velocity" not in found:
        return _Growth(law=law, probability=probability)
    # The surest, since a change may be so sudden that its speed means nothing.
    piece = int(np.argmax(found["velocity"].values / found["velocity_std"].values))
    begins = piece and "change_time" in found
    return _Growth(
        law=law,
        probability=probability,
        speed=float(found["velocity"][piece]),
        speed_std=float(found["velocity_std"][piece]),
        start_time=float(found["change_time"][piece - 1]) if begins else np.nan,
        start_time_std=float(found["change_time_std"][piece - 1]) if begins else np.nan,
    )
