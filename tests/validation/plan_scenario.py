"""A peak to be planned for: its bound is width / sqrt(electrons), times what it is out of focus."""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.noise import PoissonCounting, thin
from echolith.validation.exposure import Exposure
from echolith.validation.information import Information
from echolith.validation.metrics import absolute_error
from echolith.validation.scenario import Scenario

AXIS = np.arange(-16.0, 16.0, 0.25)
PUBLISHED = 1e5


class PeakSettings(Settings):
    electrons: float = 1e3
    width: float = 1.0
    frames: int = 1
    idle: float = 0.0
    focus: float = 1.0
    """The bound grows with the square of its logarithm about the sharpest."""
    thickness: float = 1.0
    timed: bool = True


@dataclass
class Peaks:
    """Makes scenarios of a peak and counts how often one was asked for its information."""

    asked: list[float] = field(default_factory=list)
    sharpest: float = 1.0
    correlation: float = 0.0
    """Of the place with something else that is not known."""

    def __call__(self, settings: PeakSettings) -> Scenario:
        if settings.width <= 0:
            raise BadInputError(f"width = {settings.width:g} Å; expected more than 0")
        total = settings.electrons * settings.frames

        def forward(position: float) -> xr.Dataset:
            shape = np.exp(-((AXIS - position) ** 2) / (2 * settings.width**2))
            return xr.Dataset({"counts": ("x", total * shape / shape.sum())})

        def information(_position: float) -> Information:
            self.asked.append(settings.width)
            blur = settings.width * (1 + np.log(settings.focus / self.sharpest) ** 2)
            own = total / blur**2 / (1 - self.correlation**2)
            mixed = own**0.5 * self.correlation
            return Information(
                names=("place", "tail 1"),
                matrix=np.array([[own, mixed], [mixed, 1.0]]),
                gradients={"place": np.array([[1.0, 0.0]])},
                units={"place": "Å"},
                notes=("of a peak alone",),
            )

        return Scenario(
            name="peak",
            settings=settings,
            build=lambda _seed: 0.0,
            truth=lambda position: xr.Dataset({"place": ((), position, {"units": "Å"})}),
            forward=forward,
            noise=PoissonCounting(),
            solver=centroid,
            gauge=lambda estimate, _truth: estimate,
            metrics=(absolute_error("place"),),
            quantities=("place",),
            information=information,
            exposure=Exposure(
                dose=total,
                dose_unit="e",
                values=len(AXIS),
                seconds=settings.frames / settings.width if settings.timed else np.nan,
                published=PUBLISHED,
                proportional=("electrons",),
                limits=("too wide for the axis",) if settings.width > 4 else (),
            ),
        )


def centroid(measurement: xr.Dataset) -> xr.Dataset:
    counts = measurement["counts"].values.astype(float)
    return xr.Dataset({"place": ((), float(counts @ AXIS / counts.sum()), {"units": "Å"})})


def half_of_them(measurement: xr.Dataset) -> xr.Dataset:
    """A solver that uses every second electron, so that its errors are sqrt(2) bounds."""
    return centroid(thin(measurement, fraction=0.5, seed=5))
