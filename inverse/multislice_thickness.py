"""The thickness of a specimen, from how likely multislice ptychography finds the counts with it.

First from vacuum, on a small field with all slices alike: thicknesses 40 Å apart with slices of
20 Å, then uphill in steps of 10 Å with the slices of the reconstruction, and the vertex of the
parabola through the three at the top. Slices that may differ would make up for a wrong thickness.

Then from columns of atoms (`echolith.inverse.multislice_start`), as many as the thickness holds,
uphill again, and once more 4 Å apart with one number of slices: the top no longer depends on
which minimum M columns fell into, nor on where a slice is added.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Scan, Settings, acquisition_of
from echolith.inverse.iterative_ptychography_options import PtychographyOptions
from echolith.inverse.multislice_ptychography import multislice_ptychography
from echolith.inverse.scan_transform import Streaming
from echolith.units import Angstrom

COARSE_STEP = 40.0
COARSE_SLICE = 20.0
FINE_STEP = 10.0
FINEST_STEP = 4.0
FALLS = 2
"""Steps beyond the likeliest that are tried."""

Likelihoods = Callable[[list[float]], dict[float, float]]
"""From thicknesses in Å to the logarithms of the likelihood."""


class ThicknessSearch(Settings):
    """How the thickness is looked for."""

    largest: Annotated[Angstrom, Field(ge=80, le=1000)] = 200.0
    """Thicker specimens are refused."""
    field: Annotated[Angstrom, Field(gt=0)] = 5.4
    """Side of the part of the field, in its middle, that is used: the cell is 2.5 by 5 Å."""
    iterations: Annotated[int, Field(ge=2)] = 8
    """From vacuum."""
    iterations_from_columns: Annotated[int, Field(ge=1)] = 4


def find_thickness(
    measurement: xr.Dataset,
    *,
    search: ThicknessSearch | None = None,
    options: PtychographyOptions | None = None,
    streaming: Streaming | None = None,
) -> float:
    """Return the likeliest thickness.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `echolith.inverse.multislice_ptychography.multislice_ptychography`.
    search : ThicknessSearch, optional
    options : PtychographyOptions, optional
        Those of the reconstruction; thickness, iterations and depth spread are not used.
    streaming : Streaming, optional

    Returns
    -------
    float
        Å. What is a slice or thinner is found as one or two slices.

    Raises
    ------
    BadInputError
        If the likelihood still rises at the largest thickness, or for what
        `multislice_ptychography` refuses.
    """
    likelihoods = _from_vacuum(measurement, search, options, streaming)
    best = coarse_thickness(measurement, search=search, options=options, streaming=streaming)
    return _climbed(likelihoods, best)


def coarse_thickness(
    measurement: xr.Dataset,
    *,
    search: ThicknessSearch | None = None,
    options: PtychographyOptions | None = None,
    streaming: Streaming | None = None,
) -> float:
    """Return the likeliest thickness to 10 to 20 Å, at a third of the cost of `find_thickness`.

    Thicker specimens are no longer tried once the likelihood has fallen twice.
    Parameters and errors are those of `find_thickness`.
    """
    search = search or ThicknessSearch()
    options = (options or PtychographyOptions()).model_copy(
        update={"slice_thickness": COARSE_SLICE}
    )
    likelihoods = _from_vacuum(measurement, search, options, streaming)
    tried: dict[float, float] = {}
    steps = np.arange(0, search.largest + 1.5 * COARSE_STEP, COARSE_STEP)
    steps[0] = FINE_STEP
    for thickness in steps:
        tried |= likelihoods([float(thickness)])
        best = max(tried, key=tried.__getitem__)
        if len(tried) - list(tried).index(best) > FALLS:
            break
    if best > search.largest:
        raise BadInputError(
            f"the counts are likeliest with a thickness of {best:g} Å or more; expected "
            f"{search.largest:g} Å at most; raise ThicknessSearch.largest, give the thickness, or "
            "record a higher dose: few counts tell no thickness"
        )
    near = [tried.get(best + step, np.nan) for step in (-COARSE_STEP, 0, COARSE_STEP)]
    return best + (_vertex(near, COARSE_STEP) if np.isfinite(near).all() else 0.0)


def _from_vacuum(
    measurement: xr.Dataset,
    search: ThicknessSearch | None,
    options: PtychographyOptions | None,
    streaming: Streaming | None,
) -> Likelihoods:
    search = search or ThicknessSearch()
    options = (options or PtychographyOptions()).model_copy(
        update={"iterations": search.iterations, "depth_spread": 0.0}
    )
    part = middle_of(measurement, search.field)
    return partial(_log_likelihoods, part, options=options, streaming=streaming)


def refined_thickness(
    measurement: xr.Dataset,
    columns: xr.Dataset,
    *,
    near: Angstrom,
    search: ThicknessSearch | None = None,
    options: PtychographyOptions | None = None,
    streaming: Streaming | None = None,
) -> float:
    """Return the likeliest thickness of full columns at known places.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `find_thickness`.
    columns : xarray.Dataset
        Of the whole field, as from `echolith.inverse.multislice_start.lattice_columns`.
    near : float
        Å, where the search begins.
    search : ThicknessSearch, optional
    options : PtychographyOptions, optional
        Those of the reconstruction; thickness and iterations are not used.
    streaming : Streaming, optional

    Returns
    -------
    float
        Å.
    """
    likelihoods = partial(
        log_likelihoods_of_columns,
        measurement,
        columns,
        search=search,
        streaming=streaming,
    )
    top = _climbed(partial(likelihoods, options=options), near)
    if top <= 2 * FINEST_STEP:
        return top
    slices = int(np.ceil((top + FINEST_STEP) / (options or PtychographyOptions()).slice_thickness))
    around = [top - FINEST_STEP, top, top + FINEST_STEP]
    found = [likelihoods([t], options=_of_slices(options, t, slices))[t] for t in around]
    return top + float(np.clip(_vertex(found, FINEST_STEP), -FINE_STEP, FINE_STEP))


def _of_slices(
    options: PtychographyOptions | None, thickness: float, slices: int
) -> PtychographyOptions:
    chosen = options or PtychographyOptions()
    return chosen.model_copy(update={"slice_thickness": thickness / slices})


def log_likelihoods_of_columns(
    measurement: xr.Dataset,
    columns: xr.Dataset,
    thicknesses: list[float],
    *,
    search: ThicknessSearch | None = None,
    options: PtychographyOptions | None = None,
    streaming: Streaming | None = None,
) -> dict[float, float]:
    """Return how likely the counts in the middle of the field are with columns of atoms.

    Parameters
    ----------
    measurement, columns, search, options, streaming
        As for `refined_thickness`.
    thicknesses : list of float
        Å.

    Returns
    -------
    dict of float
        Logarithm of the likelihood after a few iterations, by thickness.
    """
    search = search or ThicknessSearch()
    options = (options or PtychographyOptions()).model_copy(
        update={"iterations": search.iterations_from_columns, "depth_spread": 0.0}
    )
    y, x = middle_corner(measurement, search.field)
    return _log_likelihoods(
        middle_of(measurement, search.field),
        thicknesses,
        options=options,
        streaming=streaming,
        start=columns.assign(x=columns["x"] - x, y=columns["y"] - y),
    )


def _log_likelihoods(
    measurement: xr.Dataset,
    thicknesses: list[float],
    *,
    options: PtychographyOptions,
    streaming: Streaming | None,
    start: xr.Dataset | None = None,
) -> dict[float, float]:
    def one(thickness: float) -> float:
        chosen = options.model_copy(update={"thickness": thickness})
        found = multislice_ptychography(
            measurement, options=chosen, start=start, streaming=streaming
        )
        return float(found["log_likelihood"])

    return {thickness: one(thickness) for thickness in thicknesses}


def _climbed(likelihoods: Likelihoods, start: float) -> float:
    """Step uphill until both neighbours are lower; return the vertex of the parabola there."""
    tried: dict[float, float] = {}
    top = start
    while True:
        near = [top - FINE_STEP, top, top + FINE_STEP]
        tried |= likelihoods([t for t in near if t > 0 and t not in tried])
        best = max(tried, key=tried.__getitem__)
        if best == top:
            break
        top = best
    if near[0] <= 0:
        return top
    return top + _vertex([tried[t] for t in near], FINE_STEP)


def _vertex(values: list[float], step: float) -> float:
    """Return where the parabola through three equally spaced values is highest, from the middle."""
    left, middle, right = values
    return 0.5 * step * (left - right) / (left - 2 * middle + right)


def middle_of(measurement: xr.Dataset, side: Angstrom) -> xr.Dataset:
    """Return the scan positions in the middle of the field, as a measurement of their own."""
    acquisition = acquisition_of(measurement)
    scan = acquisition.scan
    rows, columns = _middle(scan, side)
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    part = measurement[["counts"]].isel(scan_y=rows, scan_x=columns)
    here = Scan(shape=shape, step=scan.step, rotation=scan.rotation)
    changed = acquisition.model_copy(update={"scan": here})
    return part.assign_attrs(measurement.attrs | {"acquisition": changed.model_dump_json()})


def middle_corner(measurement: xr.Dataset, side: Angstrom) -> tuple[float, float]:
    """Return where the first position of `middle_of` is in the whole scan, (y, x) in Å."""
    scan = acquisition_of(measurement).scan
    rows, columns = _middle(scan, side)
    return rows.start * scan.step[0], columns.start * scan.step[1]


def _middle(scan: Scan, side: float) -> tuple[slice, slice]:
    rows, columns = (
        slice((n - m) // 2, (n - m) // 2 + m)
        for n, m in (
            (n, min(n, max(3, round(side / step))))
            for n, step in zip(scan.shape, scan.step, strict=True)
        )
    )
    return rows, columns
