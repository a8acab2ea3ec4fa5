"""How a measurement is simulated: engine, grid, slices, thermal motion, size of the tasks."""

from enum import Enum
from typing import Annotated

from pydantic import Field, field_validator

from echolith.forward.acquisition import Settings
from echolith.forward.phonons import Phonons
from echolith.units import Angstrom


class Engine(Enum):
    """Ways to the same mean measurement; `AUTO` takes the cheapest that is exact.

    On one grid and box they agree to 1e-5 of the peak. Where the specimen does not repeat in the
    box, the box's edge is an error of its own, stated with every measurement as ``engine_error``.
    """

    AUTO = "auto"
    MULTISLICE = "multislice"
    """Every probe propagated on its own box, cut out of the specimen around it."""
    TILED = "tiled"
    """As `MULTISLICE`, once for each probe position that differs modulo the periodic cell."""
    PRISM = "prism"
    """Every plane wave of the aperture propagated, without interpolation; probes are sums."""
    BLOCH = "bloch"
    """Every plane wave of the aperture propagated on the periodic cell with Bloch phases."""


class ProjectedPotential(Enum):
    """How the projected potential of a slice gets onto the grid."""

    EXACT = "exact"
    """abTEM's scattering factors with the phase of each atom's true position."""
    ABTEM = "abtem"
    """``abtem.Potential(projection="infinite")``: atoms are spread bilinearly over four pixels.

    To compare with abTEM; not with `Engine.BLOCH`."""


class Simulation(Settings):
    """Numerical settings; the physics is in `StemAcquisition` and in the specimen."""

    engine: Engine = Engine.AUTO
    slice_thickness: Angstrom = 2.9
    """Largest thickness of a slice; the specimen is cut into equal slices."""
    sampling: Annotated[Angstrom, Field(gt=0)] | None = None
    """Pixel of the wave; None: from the largest angle detected."""
    minimum_box: Annotated[Angstrom, Field(gt=0)] = 20.0
    """Least side of the box a probe is propagated on."""
    potential: ProjectedPotential = ProjectedPotential.EXACT
    phonons: Phonons = Phonons()
    chunk_rows: Annotated[int, Field(ge=1)] | None = None
    """Scan rows in one task; None: a task of one to three seconds."""

    @field_validator("slice_thickness")
    @classmethod
    def _plausible_slice(cls, value: float) -> float:
        if not 0.1 <= value <= 20:
            raise ValueError(f"slice_thickness = {value:g} Å; expected 0.1 to 20 Å; give it in Å")
        return value
