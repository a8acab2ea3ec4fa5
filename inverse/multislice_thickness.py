"""The thickness of a specimen, from how likely multislice ptychography finds the counts with it.

Two passes over a small field, all slices alike: thicknesses 40 Å apart with slices of 20 Å, then
uphill in steps of 10 Å with the slices of the reconstruction, and the vertex of the parabola
through the three at the top. Slices that may differ would make up for a wrong thickness.
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


class ThicknessSearch(Settings):
    """How the thickness is looked for."""

    largest: Annotated[Angstrom, Field(ge=80, le=1000)] = 200.0
    """Thicker specimens are refused."""
    field: Annotated[Angstrom, Field(gt=0)] = 5.4
    """Side of the part of the field, in its middle, that is used: the cell is 2.5 by 5 Å."""
    iterations: Annotated[int, Field(ge=2)] = 8


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
    search = search or ThicknessSearch()
    options = (options or PtychographyOptions()).model_copy(
        update={"iterations": search.iterations, "depth_spread": 0.0}
    )
    part = middle_of(measurement, search.field)
    coarse = options.model_copy(update={"slice_thickness": COARSE_SLICE})
    steps = np.arange(0, search.largest + 1.5 * COARSE_STEP, COARSE_STEP)
    steps[0] = FINE_STEP
    likelihoods = partial(_log_likelihoods, part, streaming=streaming)
    tried = likelihoods(steps.tolist(), options=coarse)
    best = max(tried, key=tried.__getitem__)
    if best > search.largest:
        raise BadInputError(
            f"the counts are likeliest with a thickness of {best:g} Å or more; expected "
            f"{search.largest:g} Å at most; raise ThicknessSearch.largest, or give the thickness"
        )
    return _climbed(partial(likelihoods, options=options), best)


def _log_likelihoods(
    measurement: xr.Dataset,
    thicknesses: list[float],
    *,
    options: PtychographyOptions,
    streaming: Streaming | None,
) -> dict[float, float]:
    def one(thickness: float) -> float:
        chosen = options.model_copy(update={"thickness": thickness})
        found = multislice_ptychography(measurement, options=chosen, streaming=streaming)
        return float(found["log_likelihood"])

    return {thickness: one(thickness) for thickness in thicknesses}


def _climbed(likelihoods: Callable[[list[float]], dict[float, float]], start: float) -> float:
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
    left, middle, right = (tried[t] for t in near)
    return top + 0.5 * FINE_STEP * (left - right) / (left - 2 * middle + right)


def middle_of(measurement: xr.Dataset, side: Angstrom) -> xr.Dataset:
    """Return the scan positions in the middle of the field, as a measurement of their own."""
    acquisition = acquisition_of(measurement)
    scan = acquisition.scan
    shape = tuple(
        min(n, max(3, round(side / step))) for n, step in zip(scan.shape, scan.step, strict=True)
    )
    rows, columns = (
        slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(scan.shape, shape, strict=True)
    )
    part = measurement[["counts"]].isel(scan_y=rows, scan_x=columns)
    here = Scan(shape=shape, step=scan.step, rotation=scan.rotation)
    changed = acquisition.model_copy(update={"scan": here})
    return part.assign_attrs(measurement.attrs | {"acquisition": changed.model_dump_json()})
