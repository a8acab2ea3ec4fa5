"""A tilt series of parallel projections: angles, voxels, and where the tilt axis lies.

Frames (docs/decisions/0003): specimen frame x, y, z, the beam along +z, images row-major (y, x).
The tilt axis is y. Tilt t turns the specimen right-handed about +y,

    x' = x cos t + z sin t,    z' = -x sin t + z cos t,

so that a projection is ``p(t, y, x') = integral of the absorption along z'``. Coordinates are those
of voxel and pixel centres from the middle of the field: ``(i - (n - 1) / 2) size``.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from echolith.forward.acquisition import Settings
from echolith.units import Angstrom, Degree

Array = npt.NDArray[np.float64]

PUBLISHED = tuple(float(angle) for angle in range(-80, 78))
"""Degrees; 158 tilts of 1° (Yu et al., Nat. Commun. 9 (2018) 921)."""


class Tilts(Settings):
    """A tilt series and the voxels it is reconstructed on."""

    angles: tuple[Degree, ...] = PUBLISHED
    """In any order; two or more, all different."""
    count: Annotated[int, Field(ge=2, le=10000)] | None = None
    """Where given, so many tilts evenly over the range of the angles, in their place."""
    reach: Annotated[Degree, Field(gt=0, le=90)] | None = None
    """Where given, tilts evenly from minus to plus so much, in place of the angles."""
    voxel_size: Annotated[Angstrom, Field(gt=0)] = 67.0
    """Of cubic voxels, and of the detector's pixels in the specimen."""
    axis_offset: Angstrom = 0.0
    """Where the tilt axis is seen along x, from the middle of the field."""

    @model_validator(mode="before")
    @classmethod
    def _even(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        count, reach = given.get("count"), given.get("reach")
        angles = given.get("angles", PUBLISHED)
        if (count is None and reach is None) or not len(angles):
            return given
        # What is no number is refused with its own message, by its field.
        try:
            low, high = (min(angles), max(angles)) if reach is None else (-reach, reach)
            even = np.linspace(low, high, len(angles) if count is None else count)
        except (TypeError, ValueError):
            return given
        return {**given, "angles": even.tolist()}

    @field_validator("angles")
    @classmethod
    def _plausible_angles(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) < 2:
            raise ValueError(
                f"{len(value)} tilt; expected two or more: one view tells nothing of the depth"
            )
        if len(set(value)) < len(value):
            twice = next(angle for angle in value if value.count(angle) > 1)
            raise ValueError(
                f"tilt {twice:g}° is given {value.count(twice)} times; expected each once; "
                "add counts of equal views first"
            )
        largest = max(value, key=abs)
        if abs(largest) > 180:
            raise ValueError(f"tilt {largest:g}°; expected -180° to 180°; give it in degrees")
        if len(value) > 10 and abs(largest) < 3.2:
            raise ValueError(
                f"{len(value)} tilts within {abs(largest):.3g}°; did you give radians? "
                "expected degrees"
            )
        return value

    @field_validator("voxel_size")
    @classmethod
    def _plausible_voxel(cls, value: float) -> float:
        if not 0.1 <= value <= 1e6:
            raise ValueError(f"voxel_size = {value:g} Å; expected 0.1 to 1e6 Å; give it in Å")
        return value

    @property
    def radians(self) -> Array:
        """The angles, (tilts,), rad."""
        return np.deg2rad(np.asarray(self.angles, dtype=np.float64))

    @property
    def missing_wedge(self) -> float:
        """The largest gap between neighbouring views, degree; views 180° apart are the same."""
        views = np.sort(np.mod(self.angles, 180.0))
        return float(np.diff(views, append=views[0] + 180).max())


def centres(count: int, size: float) -> Array:
    """Return the centres of voxels or pixels from the middle of the field, Å.

    Examples
    --------
    >>> centres(4, 10.0)
    array([-15.,  -5.,   5.,  15.])
    """
    return np.asarray((np.arange(count) - (count - 1) / 2) * size, dtype=np.float64)
