"""Settings of tomographic reconstruction."""

from enum import Enum
from typing import Annotated

from pydantic import Field

from echolith.forward.acquisition import Settings


class Algorithm(Enum):
    """How the volume is found."""

    ART = "art"
    """Ray after ray (Kaczmarz). Gordon, Bender, Herman, J. Theor. Biol. 29 (1970) 471."""
    SART = "sart"
    """Tilt after tilt. Andersen, Kak, Ultrason. Imaging 6 (1984) 81."""
    OS_SART = "os-sart"
    """A few subsets of tilts after another: as good as SART in half the time."""
    SIRT = "sirt"
    """All tilts at once: slow to converge. Gilbert, J. Theor. Biol. 36 (1972) 105."""
    CGLS = "cgls"
    """Conjugate gradients on the least squares; cannot hold the absorption positive."""
    TV = "tv"
    """Weighted least squares with isotropic total variation in 3D, by FISTA; needs the noise."""


class Stopping(Enum):
    """Which iterate is returned."""

    LAST = "last"
    """That after all iterations."""
    DISCREPANCY = "discrepancy"
    """The first that agrees with the data within their noise (Morozov)."""
    PREDICTED_ERROR = "predicted-error"
    """That of the least error, as predicted from data put aside."""


ITERATIONS = {
    Algorithm.ART: 10,
    Algorithm.SART: 20,
    Algorithm.OS_SART: 20,
    Algorithm.SIRT: 300,
    Algorithm.CGLS: 30,
    Algorithm.TV: 150,
}
"""Largest numbers by default."""


class TomographyOptions(Settings):
    """Options of `echolith.inverse.tomography.reconstruct`."""

    algorithm: Algorithm = Algorithm.OS_SART
    iterations: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Passes over all tilts, the largest number where a rule stops; see `ITERATIONS`."""
    stopping: Stopping | None = None
    """By default the predicted error where the noise is known; total variation, which has no
    semi-convergence, and unknown noise: all iterations."""
    subsets: Annotated[int, Field(ge=1)] = 32
    """Of tilts, of OS-SART."""
    relaxation: Annotated[float, Field(gt=0, lt=2)] = 1.0
    """Part of each correction that is made."""
    non_negative: bool = True
    """Absorption is not below 0 (but for CGLS)."""
    strength: Annotated[float, Field(gt=0)] = 0.5
    """Of total variation, in units of the noise of the likelihood's slope in a voxel; so it need
    not follow the dose."""
    depth: Annotated[int, Field(ge=1)] | None = None
    """Voxels along z; as many as along x by default."""
    draws: Annotated[int, Field(ge=0, le=100)] = 3
    """Of noise, for `absorption_std`; each costs another reconstruction. 0: none is given."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the draws and of what is put aside."""

    @property
    def most(self) -> int:
        """Largest number of iterations."""
        return self.iterations or ITERATIONS[self.algorithm]

    @property
    def lowest(self) -> float:
        """Least absorption, 1/Å."""
        return 0.0 if self.non_negative else float("-inf")
