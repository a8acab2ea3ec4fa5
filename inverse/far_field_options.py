"""How far-field frames are turned into an object."""

from enum import Enum
from typing import Annotated

from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.units import Angstrom


class Engine(Enum):
    """The algorithm of the first iterations."""

    RPIE = "rpie"
    """One position after the other, regularised (Maiden et al. 2017); alpha 1 is ePIE."""
    RAAR = "raar"
    """All positions at once, relaxed averaged alternating reflections (Luke 2005)."""


class Constraint(Enum):
    """How rPIE brings exit waves towards their counts."""

    MODULUS = "modulus"
    """To the root of the counts. Quiet, but the mean root of few counts is below that of their
    mean, so weak signals are lost."""
    POISSON = "poisson"
    """By the gradient of the Poisson likelihood: right on average at any count."""


class Saturated(Enum):
    """What is done with pixels at the saturation of the detector."""

    REFUSE = "refuse"
    LEAVE_OUT = "leave out"
    """They count as unknown."""


class FarFieldSolver(Settings):
    """Settings of `far_field_ptychography`."""

    engine: Engine = Engine.RPIE
    iterations: Annotated[int, Field(ge=0)] = 30
    refinement: Annotated[int, Field(ge=0)] = 0
    """Iterations on the Poisson likelihood after those of the engine."""
    constraint: Constraint = Constraint.MODULUS
    """Of rPIE."""
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Regularisation of rPIE."""
    beta: Annotated[float, Field(gt=0.5, lt=1)] = 0.75
    """Relaxation of RAAR."""
    probe_after: Annotated[int, Field(ge=0)] = 1
    """Iterations before the probe is updated."""
    probe_step: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Of rPIE: the probe is a running mean over the last 1 / step frames; at 1 noise stays."""
    background: bool = False
    """Retrieve an incoherent background that is the same in every frame."""
    background_after: Annotated[int, Field(ge=1)] = 3
    positions_after: Annotated[int, Field(ge=1)] | None = None
    """Iterations before scan positions are corrected; None: they are as recorded."""
    position_spread: Annotated[Angstrom, Field(gt=0)] = 100.0
    """Standard deviation expected of errors of recorded positions along each axis; a prior."""
    saturated: Saturated = Saturated.REFUSE
    seed: int = 0
    """Of the order of positions."""
