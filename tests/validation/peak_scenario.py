"""A scenario in closed form: counts of a Gaussian peak, its centroid and its strength."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.noise import PoissonCounting
from echolith.seeds import stream
from echolith.validation.metrics import absolute_error
from echolith.validation.scenario import Scenario

WIDTH = 1.5
AXIS = np.arange(-12.0, 12.0, 0.5)


class PeakSettings(Settings):
    strength: float = 4e4


@dataclass(frozen=True, kw_only=True)
class Peak:
    position: np.ndarray
    strength: float


def build(seed: int) -> Peak:
    return Peak(position=stream(seed, "peak").uniform(-1, 1, 1), strength=4e4)


def truth(peak: Peak) -> xr.Dataset:
    return xr.Dataset(
        {
            "position": ((), float(peak.position[0]), {"units": "Å"}),
            "strength": ((), peak.strength, {"units": "electrons"}),
        }
    )


def forward(peak: Peak) -> xr.Dataset:
    profile = np.exp(-((AXIS - peak.position[0]) ** 2) / (2 * WIDTH**2))
    counts = peak.strength * profile / profile.sum()
    return xr.Dataset(
        {"counts": ("scan_x", counts, {"units": "electrons"})},
        coords={"scan_x": ("scan_x", AXIS, {"units": "Å"})},
        attrs={"exposure": 1.0},
    )


def solve(measurement: xr.Dataset) -> xr.Dataset:
    counts = measurement["counts"].values.astype(float)
    if not np.isfinite(counts).all():
        raise BadInputError("counts are not finite")
    total = counts.sum()
    position = float((counts * measurement["scan_x"].values).sum() / total)
    return xr.Dataset(
        {
            "position": ((), position, {"units": "Å"}),
            "position_std": ((), WIDTH / np.sqrt(total), {"units": "Å"}),
            "strength": ((), total, {"units": "electrons"}),
            "strength_std": ((), np.sqrt(total), {"units": "electrons"}),
        }
    )


def peak_scenario() -> Scenario:
    return Scenario(
        name="peak",
        settings=PeakSettings(),
        build=build,
        truth=truth,
        forward=forward,
        noise=PoissonCounting(),
        solver=solve,
        gauge=lambda estimate, _: estimate,
        metrics=(absolute_error("position"), absolute_error("strength", unit="1", scale=1.0)),
        quantities=("position", "strength"),
    )
