"""Picture of a dose series: spread against the bound over the dose."""

from collections.abc import Mapping
from os.path import commonprefix
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy import stats

from echolith.validation.drawing import (
    ACCENT,
    GREEN,
    INK,
    ORANGE,
    PINK,
    RULE,
    SECOND,
    SKY,
    bare,
    new_figure,
    plain_ticks,
    style,
)
from echolith.validation.tables import Reading, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OWN_COLOUR = 4
"""As many quantities have each a colour of their own."""
COLOURS = (ACCENT, SECOND, GREEN, PINK, ORANGE, SKY, INK)


def dose_figure(series: xr.Dataset, *, groups: Mapping[str, str] | None = None) -> "Figure":
    """Draw the spread of every quantity and its bound over the dose, both axes logarithmic.

    Points: spread, with its 95 % interval; lines: the bound. The second panel, where there are
    single values, shows those of one of them.

    Parameters
    ----------
    series : xarray.Dataset
        As from `dose_series`.
    groups : mapping of str to str, optional
        Quantity to the name of the group whose colour it has; by default each has its own, and
        of more than four those one that share their name up to the first underscore.

    Returns
    -------
    matplotlib.figure.Figure
        On white; save it with `save_png`.
    """
    names = [str(name) for name in series["quantity"].values]
    few = len(names) <= OWN_COLOUR
    group = dict(groups if groups is not None else {} if few else shared_names(names))
    units = {unit: _unit(series, unit) for unit in series["unit"].values.tolist()}
    colours = dict(
        zip(dict.fromkeys(group.get(name, name) for name in names), _endless(), strict=False)
    )
    parts = ["", "single_"] if np.isfinite(series["single_spread"]).any() else [""]
    with style(**{"figure.facecolor": "white", "savefig.facecolor": "white"}):
        figure = new_figure(4.9 * len(parts) + 0.4, 4.0)
        for axes, part in zip(np.ravel(figure.subplots(1, len(parts))), parts, strict=True):
            for place, name in enumerate(names):
                one = series.sel(quantity=name)
                factor = units[str(one["unit"].values)].factor
                colour = colours[group.get(name, name)]
                _draw_quantity(axes, one, part, colour, factor, place - len(names) / 2)
            _label(axes, series, part, units=units, single=len(parts) > 1)
        figure.legend(handles=_keys(colours), loc="outside lower center", ncols=8)
    return figure


def shared_names(names: list[str]) -> dict[str, str]:
    """Group names by their part up to the first underscore; a group is what its names share.

    Examples
    --------
    >>> shared_names(["m_m", "m_m_li", "o_o_m", "rate"])
    {'m_m': 'm_m', 'm_m_li': 'm_m', 'o_o_m': 'o_o_m', 'rate': 'rate'}
    """
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(name.split("_")[0], []).append(name)
    shared = {part: commonprefix(found) for part, found in members.items()}  # noqa: RUF071
    return {name: shared[name.split("_")[0]].rstrip("_") or name for name in names}


def _endless() -> list[str]:
    return list(COLOURS) * 20


def _unit(series: xr.Dataset, unit: str) -> Reading:
    """Return the unit to draw a unit of the data in, by the size of its bounds and spreads."""
    mine = series.isel(quantity=np.flatnonzero(series["unit"].values == unit))
    sizes = np.concatenate([mine[name].values.ravel() for name in ("spread", "bound")])
    return readable(unit, sizes[np.isfinite(sizes)].tolist())


def _draw_quantity(
    axes: "Axes", one: xr.Dataset, part: str, colour: str, factor: float, place: float
) -> None:
    """Draw the points of one quantity, a little aside of the others, and the line of its bound."""
    dose, spread = one["dose"].values, factor * one[f"{part}spread"].values
    axes.plot(dose, factor * one[f"{part}bound"].values, color=colour, linewidth=1.1, alpha=0.8)
    freedom = _freedom(one, part)
    low, high = (np.sqrt(freedom / stats.chi2.ppf(p, freedom)) for p in (0.975, 0.025))
    axes.errorbar(
        dose * 1.02**place,
        spread,
        yerr=[spread * (1 - low), spread * (high - 1)],
        fmt="o",
        color=colour,
        markersize=4,
        capsize=2,
        linewidth=0.9,
    )


def _freedom(one: xr.Dataset, part: str) -> np.ndarray:
    """Degrees of freedom of a spread: one of the cases is spent on the mean of each value."""
    cases = one["cases"].values.astype(float)
    freedom = one["singles"].values * (1 - 1 / np.maximum(cases, 1)) if part else cases - 1
    return np.asarray(np.where(freedom > 0, freedom, np.nan))


def _label(
    axes: "Axes", series: xr.Dataset, part: str, *, units: Mapping[str, Reading], single: bool
) -> None:
    names = {unit.name for unit in units.values()}
    unit = f" ({names.pop()})" if len(names) == 1 and names != {"1"} else ""
    dose = series["dose"].attrs.get("units", "1")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=f"dose ({dose})" if dose != "1" else "dose",
        ylabel=f"standard deviation{unit}",
    )
    if single:
        axes.set_title("One single value" if part else "Each quantity, mean over the field")
    doses = series["dose"].values
    plain_ticks(axes.xaxis, doses if len(doses) <= 6 else None)
    plain_ticks(axes.yaxis)
    axes.grid(color=RULE, linewidth=0.4)
    axes.set_axisbelow(True)
    bare(axes)


def _keys(colours: Mapping[str, str]) -> list[object]:
    from matplotlib.lines import Line2D

    keys: list[object] = [
        Line2D([], [], linestyle="none", marker="s", color=colour, label=name)
        for name, colour in colours.items()
    ]
    return [
        *keys,
        Line2D([], [], linestyle="none", marker="o", color=INK, markersize=4, label="spread"),
        Line2D([], [], color=INK, linewidth=1.1, label="bound"),
    ]
