"""Scores of diffraction maps: points and crystals that were found, and what was found of them."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.inverse.particle_recovery import PREFIX
from echolith.protocols import Better
from echolith.validation.metrics import NamedMetric, root_mean_square
from echolith.validation.particle_matching import match_particles
from echolith.validation.particle_metrics import label_metrics

Array = npt.NDArray[np.float64]


def map_particle_truth(
    label: npt.NDArray[np.integer], spacing: Array, reference: float, *, order: int
) -> dict[str, xr.DataArray]:
    """Return what `recover_map_particles` is asked for.

    Parameters
    ----------
    label : array, (rows, columns)
        Number of the crystal that is seen at a point, from 1; 0 for none.
    spacing : array, (rows, columns)
        Å; NaN where several crystals are seen.
    reference : float
        Lattice spacing without strain, Å.
    order : int
        c is so many times the spacing.

    Returns
    -------
    dict
        ``particle_c`` (Å) and ``particle_strain_spread`` along ``particle``, NaN without a point.
    """
    numbers = np.arange(1, int(label.max()) + 1)
    seen = [spacing[(label == n) & np.isfinite(spacing)] for n in numbers]
    c = [order * values.mean() if len(values) else np.nan for values in seen]
    spread = [values.std() / reference if len(values) else np.nan for values in seen]
    coords = {"particle": numbers}
    return {
        f"{PREFIX}{name}": xr.DataArray(
            np.array(values, dtype=float), dims="particle", coords=coords, attrs={"units": unit}
        )
        for name, values, unit in (("c", c, "Å"), ("strain_spread", spread, "1"))
    }


def map_particle_metrics() -> tuple[NamedMetric, ...]:
    """Return the scores of points and crystals found, of their c and of their spread of strain."""
    return (
        NamedMetric(name="points_found", unit="1", function=_points_found, better=Better.HIGHER),
        *label_metrics(),
        _matched_rms("c", unit="pm", scale=100.0),
        _matched_rms("strain_spread", unit="ppm", scale=1e6),
    )


def _points_found(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    """Return the share of the points within one crystal that have a strain."""
    asked = np.isfinite(truth["strain"].values)
    if "strain" not in estimate or not asked.any():
        return float("nan")
    return float(np.isfinite(estimate["strain"].values[asked]).mean())


def _matched_rms(name: str, *, unit: str, scale: float) -> NamedMetric:
    """Root-mean-square error over the crystals found."""
    name = f"{PREFIX}{name}"
    rms = root_mean_square(name, unit=unit, scale=scale)

    def error(estimate: xr.Dataset, truth: xr.Dataset) -> float:
        if name not in estimate or "label" not in estimate:
            return float("nan")
        match = match_particles(estimate["label"], truth["label"])
        ours = estimate[[name]].sel(particle=match.estimate)
        theirs = truth[[name]].sel(particle=match.truth)
        # Matched one by one, whatever their numbers.
        return rms.score(ours.drop_vars("particle"), theirs.drop_vars("particle"))

    return replace(rms, function=error)
