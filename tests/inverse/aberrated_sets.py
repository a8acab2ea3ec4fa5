"""Small weak-phase sets with aberrations that the metadata do not tell, for the aberration fit."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.acquisition import Aberrations, Beam, PixelDetector, Scan, StemAcquisition
from echolith.forward.phase_object import phase_object_mean
from echolith.inverse.aberration_basis import components, from_aberrations
from tests.inverse.phase_sets import random_phase

SEMIANGLE = 22.4
RESIDUAL = Aberrations(C10=80, C12=40, phi12=0.4, C21=400, phi21=1.0, C23=250, phi23=-0.5)
"""What peers were measured on."""


def acquisition(aberrations: Aberrations = RESIDUAL, **changes: Any) -> StemAcquisition:
    """Return a scan of 20 x 22 positions; the disc is 22 pixels wide."""
    settings: dict[str, Any] = {
        "beam": Beam(semiangle=SEMIANGLE, aberrations=aberrations),
        "scan": Scan(shape=(20, 22), step=(0.27, 0.26)),
        "detector": PixelDetector(shape=(24, 26), pixel_size=2.05),
        "haadf": None,
        "dose": 1e6,
    }
    return StemAcquisition(**(settings | changes))


def blind(measurement: xr.Dataset) -> xr.Dataset:
    """Forget the aberrations in the metadata, so that a solver that reads them is found out."""
    taken = StemAcquisition.model_validate_json(measurement.attrs["acquisition"])
    beam = taken.beam.model_copy(update={"aberrations": Aberrations()})
    told = taken.model_copy(update={"beam": beam})
    return measurement.assign_attrs(acquisition=told.model_dump_json())


def mean_of(
    taken: StemAcquisition, *, seed: int = 0, rms: float = 0.05, phase: Any = None
) -> xr.Dataset:
    """Return the expected counts of a weak phase object with a random spectrum."""
    chosen = random_phase(taken, seed=seed, rms=rms) if phase is None else phase
    return blind(phase_object_mean(chosen, acquisition=taken, weak=True, dtype=np.float64))


def drawn(mean: xr.Dataset, *, seed: int) -> xr.Dataset:
    """Return Poisson counts."""
    counts = np.random.default_rng(seed).poisson(mean["counts"].values.clip(0)).astype(np.uint16)
    return mean.assign(counts=(mean["counts"].dims, counts))


def values(fit: xr.Dataset, suffix: str = "") -> npt.NDArray[np.float64]:
    """Return the components of a fit, Å, or with ``_std`` their standard deviations."""
    names = [component.name for component in components(fit.attrs["order"])]
    return np.array([float(fit[name + suffix]) for name in names])


def pulls(fit: xr.Dataset, truth: Aberrations) -> npt.NDArray[np.float64]:
    """Return errors in units of the standard deviations stated."""
    expected = from_aberrations(truth, fit.attrs["order"])
    return (values(fit) - expected) / values(fit, "_std")
