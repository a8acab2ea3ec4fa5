"""Particles in a scenario: their truth, scores and errors one by one."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.inverse.particle_recovery import PREFIX, prefixed
from echolith.protocols import Better
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.validation.metrics import NamedMetric, absolute_error
from echolith.validation.particle_matching import ParticleMatch, match_particles
from echolith.validation.statistics import Residuals

Floats = npt.NDArray[np.float64]

LEAST_FILLING = 0.1
"""Of a voxel that counts as one of a true particle's."""
RELATIVE = ("volume", "facet_area", "thickness")
"""Sizes whose errors are taken as parts of them."""


def particle_truth(
    specimen: PhosphateSpecimen, volume: xr.Dataset, *, threshold: float | None = None
) -> xr.Dataset:
    """Return the true particles under the names of `recover_particles`.

    Parameters
    ----------
    specimen : PhosphateSpecimen
    volume : xarray.Dataset
        Of `true_volume`, on the voxels of the estimate.
    threshold : float, optional
        Of activity; that of the specimen by default.
    """
    table = specimen.particles()
    level = specimen.activity_threshold if threshold is None else threshold
    names = ["composition", "volume", "facet_area", "thickness", "centre"]
    truth = prefixed(table[names])
    label = volume["particle"].where(volume["density"] > LEAST_FILLING, 0)
    truth["label"] = label.astype(np.int32).assign_attrs(units="1")
    truth["particles"] = ((), table.sizes["particle"], {"units": "1"})
    active = float((table["composition"] >= level).mean())
    truth["active_fraction"] = ((), active, {"units": "1"})
    return truth


def particle_metrics() -> tuple[NamedMetric, ...]:
    """Return the scores of particles: those of their labels, and errors of their table."""
    return (
        *label_metrics(),
        particle_rms("composition"),
        *(particle_rms(name) for name in RELATIVE),
        absolute_error("active_fraction", unit="1", scale=1.0),
    )


def label_metrics() -> tuple[NamedMetric, ...]:
    """Return the scores of labels: particles found, missed, merged, split, false.

    `found_particles` is the share of the true ones whose voxels agree by more than half.
    """
    return (
        _counted("found_particles", _found_share, better=Better.HIGHER),
        _counted("missed_particles", lambda match: len(match.missed)),
        _counted("merged_particles", lambda match: len(match.merged)),
        _counted("split_particles", lambda match: len(match.split)),
        _counted("false_particles", lambda match: len(match.false)),
    )


def _found_share(match: ParticleMatch) -> float:
    return len(match.truth) / match.expected if match.expected else float("nan")


def _counted(
    name: str, count: Callable[[ParticleMatch], float], *, better: Better = Better.LOWER
) -> NamedMetric:
    def score(estimate: xr.Dataset, truth: xr.Dataset) -> float:
        if "label" not in estimate:
            return float("nan")
        return float(count(match_particles(estimate["label"], truth["label"])))

    return NamedMetric(name=name, unit="1", function=score, better=better)


def particle_rms(name: str) -> NamedMetric:
    """Root-mean-square error over the particles found; of sizes as a part of the true size."""

    def score(estimate: xr.Dataset, truth: xr.Dataset) -> float:
        found = particle_residuals(estimate, truth).get(f"{PREFIX}{name}")
        if found is None or not len(found.error):
            return float("nan")
        return float(np.sqrt(np.mean(found.error**2)))

    return NamedMetric(name=f"{PREFIX}{name}_rms", unit="1", function=score)


def particle_residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    """Return the errors of composition, volume, facet area and thickness of particles found.

    Parameters
    ----------
    estimate, truth : xarray.Dataset
        Of `recover_particles` and `particle_truth`.

    Returns
    -------
    dict
        By the name of the variable; the key is the number of the true particle. Errors of sizes
        and their standard deviations are parts of the true size.
    """
    if "label" not in estimate or "label" not in truth:
        return {}
    match = match_particles(estimate["label"], truth["label"])
    if not len(match.truth):
        return {}
    found = {}
    for short in ("composition", *RELATIVE):
        name = f"{PREFIX}{short}"
        if name in estimate and name in truth:
            found[name] = _residuals(estimate, truth, name, match, relative=short in RELATIVE)
    return found


def _residuals(
    estimate: xr.Dataset, truth: xr.Dataset, name: str, match: ParticleMatch, *, relative: bool
) -> Residuals:
    theirs = truth[name].sel(particle=match.truth).values.astype(float)
    scale = theirs if relative else np.ones(len(theirs))
    ours, std = (_chosen(estimate, which, match) for which in (name, f"{name}_std"))
    error = (ours - theirs) / scale
    known = np.isfinite(error)
    return Residuals(
        key=match.truth[known].astype(np.int64),
        error=error[known],
        std=(std / scale)[known],
        unit="1",
    )


def _chosen(estimate: xr.Dataset, name: str, match: ParticleMatch) -> Floats:
    if name not in estimate:
        return np.full(len(match.estimate), np.nan)
    return np.asarray(estimate[name].sel(particle=match.estimate).values, dtype=np.float64)
