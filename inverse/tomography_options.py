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
    """A few subsets of tilts after another: as good as SART at a fraction of the time."""
    SIRT = "sirt"
    """All tilts at once: slow to converge. Gilbert, J. Theor. Biol. 36 (1972) 105."""
    CGLS = "cgls"
    """Conjugate gradients on the least squares; knows no positivity."""
    TV = "tv"
    """Weighted least squares with isotropic total variation in 3D, by FISTA."""


class TomographyOptions(Settings):
    """Options of `echolith.inverse.tomography.reconstruct`."""

    algorithm: Algorithm = Algorithm.OS_SART
    iterations: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Passes over all tilts."""
    subsets: Annotated[int, Field(ge=1)] = 16
    """Of tilts, of OS-SART."""
    relaxation: Annotated[float, Field(gt=0, lt=2)] = 1.0
    """Part of each correction that is made."""
    non_negative: bool = True
    """Absorption is not below 0; CGLS cannot hold this."""
    depth: Annotated[int, Field(ge=1)] | None = None
    """Voxels along z; as many as along x by default."""
