"""From a volume of composition to its particles, how many are active, and what that goes with."""

from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.inverse.particle_segmentation import SegmentationOptions, segment_particles
from echolith.inverse.particle_statistics import Trend, active_fraction, activity_trends
from echolith.inverse.particle_table import ParticleTableOptions, particle_table

PREFIX = "particle_"


class ParticleSolver(Settings):
    """How particles are found and counted."""

    segmentation: SegmentationOptions = SegmentationOptions()
    table: ParticleTableOptions = ParticleTableOptions()
    activity_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Fraction of FePO4 from which a particle is active."""
    permutations: Annotated[int, Field(ge=99, le=1_000_000)] = 4999
    """Of tests of trends."""
    seed: Annotated[int, Field(ge=0)] = 0


def recover_particles(volume: xr.Dataset, *, options: ParticleSolver | None = None) -> xr.Dataset:
    """Find the particles of a volume, measure them, and test what their activity goes with.

    Parameters
    ----------
    volume : xarray.Dataset
        ``density`` and ``composition`` with their ``_std`` over z, y, x (Å), as of
        `recover_composition`.
    options : ParticleSolver, optional

    Returns
    -------
    xarray.Dataset
        ``label`` (z, y, x), number of the particle, 0 for none; the columns of `particle_table`
        along ``particle``, each name with ``particle_`` before it; ``particles``, their number;
        ``active_fraction`` with its ``_std``, NaN without particles; ``trend_slope`` and its
        ``_std``, ``trend_p_value`` and ``trend_detectable`` along ``covariate`` (facet_area,
        volume, thickness), see `Trend`. Merge it with the volume where both are wanted.

    Raises
    ------
    BadInputError
        As `segment_particles` and `particle_table`.
    """
    options = options or ParticleSolver()
    labels = segment_particles(volume, options=options.segmentation)
    table = particle_table(volume, labels, options=options.table)
    found = prefixed(table).assign(label=labels)
    found["particles"] = ((), table.sizes["particle"], {"units": "1"})
    for name, value in _active(table, options).items():
        found[name] = ((), value, {"units": "1"})
    trends = activity_trends(
        table,
        threshold=options.activity_threshold,
        permutations=options.permutations,
        seed=options.seed,
    )
    return found.assign_attrs(activity_threshold=options.activity_threshold).merge(_columns(trends))


def prefixed(table: xr.Dataset) -> xr.Dataset:
    """Return a table of particles under the names that it has next to a volume."""
    return table.rename({name: f"{PREFIX}{name}" for name in table.data_vars})


def _active(table: xr.Dataset, options: ParticleSolver) -> dict[str, float]:
    if not np.isfinite(table["composition"].values).any():
        return {"active_fraction": float("nan"), "active_fraction_std": float("inf")}
    found = active_fraction(
        table["composition"].values,
        std=table["composition_std"].values,
        threshold=options.activity_threshold,
        common_error=options.table.composition_error,
    )
    return {name: float(found[name]) for name in ("active_fraction", "active_fraction_std")}


def _columns(trends: dict[str, Trend]) -> xr.Dataset:
    rows = list(trends.values())
    columns = {
        "trend_slope": [trend.slope for trend in rows],
        "trend_slope_std": [np.nan_to_num(trend.slope_std, nan=np.inf) for trend in rows],
        "trend_p_value": [trend.p_value for trend in rows],
        "trend_detectable": [trend.detectable for trend in rows],
    }
    return xr.Dataset(
        {name: ("covariate", np.array(column), {"units": "1"}) for name, column in columns.items()},
        coords={"covariate": list(trends)},
    )
