"""Where a crystal seen along a zone axis has its strong reflections, at any rotation."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError
from echolith.zone_axes import Zone, rotation_period, zone_frame

Array = npt.NDArray[np.float64]


class Structure(Enum):
    """Cubic structures by the families that make nearly all of their images."""

    BODY_CENTRED = ((1, 1, 0), (2, 0, 0), (2, 1, 1))
    ANTIFLUORITE = ((1, 1, 1), (2, 2, 0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Template:
    """A crystal along a zone axis.

    Attributes
    ----------
    structure : Structure
    zone_axis : (int, int, int)
    g : array, (reflections, 2)
        xy, 1/Å, at rotation 0, one of each Friedel pair.
    """

    structure: Structure
    zone_axis: Zone
    g: Array

    @property
    def period(self) -> float:
        """Degree."""
        return rotation_period(self.zone_axis)

    def at(self, rotation: float, strain: float = 0.0) -> Array:
        """Return the reflections at a rotation (degree) and strain of the lattice."""
        c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
        return np.asarray(self.g @ np.array([[c, s], [-s, c]]) / (1 + strain))


def template(structure: Structure, zone_axis: Zone, *, edge: float) -> Template:
    """Make a template.

    Parameters
    ----------
    structure : Structure
    zone_axis : (int, int, int)
    edge : float
        Of the cubic cell, Å.

    Raises
    ------
    BadInputError
        If fewer than two pairs of strong reflections lie across the zone axis.

    Examples
    --------
    >>> len(template(Structure.ANTIFLUORITE, (1, 1, 0), edge=4.619).g)  # two {111} and a {220}
    3
    """
    line = np.arange(-2, 3)
    hkl = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    wanted = {tuple(sorted(family)) for family in structure.value}
    strong = np.array([tuple(sorted(map(abs, one))) in wanted for one in hkl.tolist()])
    half = hkl @ np.array([100, 10, 1]) > 0
    across = hkl[strong & half & (hkl @ np.array(zone_axis) == 0)]
    if len(across) < 2:
        raise BadInputError(
            f"zone_axis = {zone_axis} has {len(across)} pairs of strong reflections of "
            f"{structure.name.lower()} crystals across it; expected 2 or more, as of "
            "(1, 1, 0), (0, 0, 1), (1, 1, 1) or (1, 1, 2)"
        )
    frame = zone_frame(zone_axis)
    return Template(structure=structure, zone_axis=zone_axis, g=(across @ frame.T)[:, :2] / edge)
