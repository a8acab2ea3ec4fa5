"""What could carry the charge in Li-rich oxide: the calculated models, as projected cells.

Density-functional cells of Song et al., Joule 6 (2022), tables S4 to S7. Printed are five
projected distances a model; four numbers fit them, with Cx = -2A/3 as in R-3m.
"""

from collections.abc import Mapping
from enum import Enum

import numpy as np

from echolith.structures.projected_cell import (
    ProjectedParameters,
    Vector,
    named_distances,
    named_vectors,
)

SOURCE = "Song et al., Joule 6 (2022), tables S4 to S7"


class RedoxModel(Enum):
    """A calculated structure: the states before and after, and four accounts of the charged one."""

    PRISTINE = "pristine"
    """Li1.2 Mn.54 Ni.13 Co.13 O2 before the first charge."""
    O2 = "o2"
    """Charged; O2 molecules trapped in clusters of vacancies in the transition-metal layer."""
    VO2 = "vo2"
    """Charged; the same clusters with their O2 lost from the crystal."""
    HOLE = "hole"
    """Charged; holes on oxygen, which stays in place; no transition metal migrates."""
    TM = "tm"
    """Charged; the transition metals alone are oxidised; none migrates."""
    DISCHARGED = "discharged"
    """After trapped O2 is reduced again; the clusters are still there."""

    @property
    def charged(self) -> bool:
        """Whether lithium is extracted."""
        return self not in (RedoxModel.PRISTINE, RedoxModel.DISCHARGED)


CHARGED_MODELS = tuple(model for model in RedoxModel if model.charged)
"""The rival accounts of the charged state."""


class Reading(Enum):
    """How a projected distance is read."""

    PLANE = "plane"
    """Length of the vector between the two columns."""
    LINE = "line"
    """Every O-O pair along the row of M it lies near: O-O(M), O-O(Li) along M-M(OLiO), O-O(2M),
    O-O(2Li) along M-M(Li)."""
    PUBLISHED = "published"
    """As the calculated tables have it: O-O(M) and O-O(Li) along M-M(OLiO), all others in the
    plane."""


# a (Å), c (Å), beta (degree), and x, z of the mean oxygen column.
_CELLS: Mapping[RedoxModel, tuple[float, float, float, float, float]] = {
    RedoxModel.PRISTINE: (5.020, 5.047, 109.36, 0.2413, 0.2278),
    RedoxModel.O2: (5.060, 5.206, 108.90, 0.2382, 0.2054),
    RedoxModel.VO2: (5.000, 5.146, 108.90, 0.2382, 0.1991),
    RedoxModel.HOLE: (4.980, 5.243, 108.46, 0.2345, 0.1980),
    RedoxModel.TM: (5.000, 4.845, 110.12, 0.2238, 0.2174),
    RedoxModel.DISCHARGED: (5.040, 5.106, 109.21, 0.2353, 0.2249),
}

_ROWS = {"o_o_m": "m_m_olio", "o_o_li": "m_m_olio", "o_o_2m": "m_m_li", "o_o_2li": "m_m_li"}
_READ_ALONG: Mapping[Reading, tuple[str, ...]] = {
    Reading.PLANE: (),
    Reading.LINE: tuple(_ROWS),
    Reading.PUBLISHED: ("o_o_m", "o_o_li"),
}


def model_parameters(model: RedoxModel) -> ProjectedParameters:
    """Return the projected cell of a model, with Cx = -2A/3.

    Parameters
    ----------
    model : RedoxModel

    Returns
    -------
    ProjectedParameters
        Cy is from c and Cx; beta, printed to 0.01°, is not used.

    Examples
    --------
    >>> model_parameters(RedoxModel.O2).A
    2.53
    """
    a, c, _, x, z = _CELLS[model]
    cx = -a / 3
    cy = float(np.sqrt(c**2 - cx**2))
    return ProjectedParameters(A=a / 2, Cx=cx, Cy=cy, Ox=x * a + z * cx, Oy=z * cy)


def model_distances(model: RedoxModel, reading: Reading = Reading.PUBLISHED) -> dict[str, float]:
    """Return the eight named distances of a model, Å.

    Parameters
    ----------
    model : RedoxModel
    reading : Reading
        PUBLISHED gives every printed distance to its last digit, 1 pm.

    Examples
    --------
    >>> round(model_distances(RedoxModel.O2)["o_o_li"], 2)
    3.33
    """
    return read_distances(model_parameters(model), reading)


def read_distances(parameters: ProjectedParameters, reading: Reading) -> dict[str, float]:
    """Return the eight named distances of a projected cell as read in one of the ways, Å."""
    vectors = named_vectors(parameters)
    lengths = named_distances(parameters)
    along = {name: _along(vectors[name], vectors[_ROWS[name]]) for name in _READ_ALONG[reading]}
    return lengths | along


def _along(vector: Vector, row: Vector) -> float:
    return float(abs(vector @ row) / np.hypot(*row))


def model_changes(
    model: RedoxModel,
    reading: Reading = Reading.PUBLISHED,
    *,
    reference: RedoxModel = RedoxModel.PRISTINE,
) -> dict[str, float]:
    """Return by how much each named distance of a model exceeds that of the reference, Å.

    Only changes compare with the experiment, whose lengths carry an error of scale of 3 to 4 %.
    """
    start = model_distances(reference, reading)
    return {name: value - start[name] for name, value in model_distances(model, reading).items()}
