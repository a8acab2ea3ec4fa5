"""Settings of iterative ptychography."""

from enum import Enum
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from echolith.forward.acquisition import Settings
from echolith.units import Angstrom, Radian


class Likelihood(Enum):
    """What is maximised."""

    POISSON = "poisson"
    """Poisson counts: unbiased at any dose. The first half of the iterations takes amplitudes."""
    AMPLITUDE = "amplitude"
    """Square roots of counts with equal Gaussian errors: forgiving far from the solution, biased
    below a few electrons per pixel."""


class ProbeCorrection(Settings):
    """Gauss-Newton steps of the probe's aberrations from those of the metadata."""

    order: Annotated[int, Field(ge=1, le=3)] = 1
    """Highest order: 1 fits C10 and C12, 2 adds C21 and C23, 3 adds C30, C32 and C34."""
    first: Annotated[int, Field(ge=1)] = 2
    """Iteration after which the first step is taken."""
    every: Annotated[int, Field(ge=1)] = 1
    positions: Annotated[int, Field(ge=9)] = 256
    """Frames a step uses, spread over the field."""


class PositionCorrection(Settings):
    """Gauss-Newton steps of every probe position."""

    spread: Annotated[Angstrom, Field(gt=0)] = 0.1
    """Standard deviation expected of a position along one axis, around the scan's raster."""
    first: Annotated[int, Field(ge=1)] = 4
    """Iteration after which the first step is taken."""
    every: Annotated[int, Field(ge=1)] = 2


class PtychographyOptions(Settings):
    """Options of `echolith.inverse.multislice_ptychography.multislice_ptychography`."""

    thickness: Annotated[Angstrom, Field(ge=0, le=2000)] = 0.0
    """Of the specimen; 0 for one thin slice."""
    slice_thickness: Annotated[Angstrom, Field(gt=0)] = 10.0
    """Largest thickness of a slice; the specimen is cut into equal slices."""
    depth_spread: Annotated[Radian, Field(ge=0)] = 0.1
    """Standard deviation expected of the phase between neighbouring slices, for details as fine
    as the resolution; 0 makes all slices equal. What the illumination's cone does not tell of the
    depth (the missing wedge) is decided by this alone."""
    likelihood: Likelihood = Likelihood.POISSON
    background: Annotated[float, Field(gt=0, le=100)] = 0.02
    """Electrons per pixel that no wave explains. It also bounds the weight of a single electron
    where the model expects none."""
    iterations: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Passes over all positions."""
    spacing: Annotated[Angstrom, Field(gt=0)] = 1.35
    """Distance of the positions between two updates: a batch has one in every square of this side.
    About twice the probe's width; farther apart they overlap too little for steps this large."""
    step: Annotated[float, Field(gt=0, lt=4)] = 1.5
    """Step of the object, in units of the inverse of the largest possible curvature."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.8
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the order of positions."""
    oversampling: Annotated[float, Field(ge=1, le=4)] = 1.25
    """Reach of the waves' grid in units of the detector's: room for what is scattered beyond."""
    minimum_box: Annotated[Angstrom, Field(gt=0)] = 10.0
    """Least side of the box a probe is propagated on."""
    probe: ProbeCorrection | None = None
    positions: PositionCorrection | None = None

    @model_validator(mode="after")
    def _slices_are_few(self) -> "PtychographyOptions":
        if self.slices > 200:
            raise ValueError(
                f"{self.thickness:g} Å in slices of {self.slice_thickness:g} Å make {self.slices} "
                "slices; expected 200 at most; the data tell a few nanometres of depth apart, "
                "so use thicker slices"
            )
        return self

    @property
    def slices(self) -> int:
        """Number of slices."""
        return max(1, int(np.ceil(self.thickness / self.slice_thickness - 1e-9)))

    @property
    def distance(self) -> float:
        """Distance between slices, Å."""
        return self.thickness / self.slices

    def amplitudes(self, iteration: int) -> bool:
        """Say whether an iteration compares amplitudes."""
        return self.likelihood is Likelihood.AMPLITUDE or 2 * iteration < self.iterations

    def step_of(self, iteration: int) -> float:
        """Return the step of one iteration: whole for half the time, then falling to nothing."""
        part = max(0.0, 2 * (iteration + 0.5) / self.iterations - 1)
        return float(self.step * 0.5 * (1 + np.cos(np.pi * part)))
