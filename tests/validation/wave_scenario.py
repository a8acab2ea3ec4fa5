"""A scenario that is simulated at once: counts of a wave, of a length that its settings say."""

import time
from functools import partial
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.noise import PoissonCounting
from echolith.seeds import stream
from echolith.validation.metrics import absolute_error
from echolith.validation.scenario import Scenario

POISON = 7
"""Length at which nothing can be simulated."""


class WaveSettings(Settings):
    strength: Annotated[float, Field(gt=0, lt=1e6)] = 100.0
    length: Annotated[int, Field(ge=1, le=9)] = 4
    kind: str = "plain"
    pause: float = 0.0
    """Seconds that a simulation takes."""


def forward(settings: WaveSettings, phase: float) -> xr.Dataset:
    time.sleep(settings.pause)
    if settings.length == POISON:
        raise BadInputError("length 7 cannot be simulated")
    x = np.arange(settings.length, dtype=float)
    counts = settings.strength * (1 + np.cos(x + phase))
    return xr.Dataset({"counts": ("x", counts)}, {"x": x}, {"kind": settings.kind})


def wave_scenario(settings: WaveSettings) -> Scenario:
    return Scenario(
        name="wave",
        settings=settings,
        build=lambda seed: float(stream(seed, "phase").uniform(0, 6)),
        truth=lambda phase: xr.Dataset({"phase": ((), phase)}),
        forward=partial(forward, settings),
        noise=PoissonCounting(),
        solver=lambda measurement: measurement,
        gauge=lambda estimate, _: estimate,
        metrics=(absolute_error("phase"),),
        quantities=("phase",),
    )
