"""The projected cell of Li-rich oxide along monoclinic [010], and its eight named distances.

Seen along b, a C2/m crystal of the Li2MnO3 type is a two-dimensional lattice A = (a/2, 0),
C = (c cos(beta), c sin(beta)) of plane group p2 with columns M at 0, Li at C/2 and O at +O and -O.
Five numbers say it all. Frame: x along a, y in the plane of a and c with c_y > 0, z = x × y = -b.

Names and vectors of the distances: Song et al., Joule 6 (2022), tables S1 to S3.
"""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from echolith.errors import BadInputError
from echolith.units import Angstrom

Vector = npt.NDArray[np.float64]

# Wide enough for every published state (also TM- and O2-rich models), narrow enough that a value
# in pm or nm falls outside.
_PLAUSIBLE = {
    "A": (1.5, 4.0),
    "Cx": (-4.0, 4.0),
    "Cy": (3.0, 8.0),
    "Ox": (-2.0, 3.0),
    "Oy": (0.3, 2.5),
}


class ProjectedParameters(BaseModel):
    """The five numbers of the projected cell, Å: A = (A, 0), C = (Cx, Cy), O = (Ox, Oy).

    Raises
    ------
    pydantic.ValidationError
        For values that no layered oxide has, with what was probably meant (pm or nm for Å); it is
        a ``ValueError``.

    Examples
    --------
    >>> ProjectedParameters(A=2.56, Cx=-1.6557, Cy=4.9223, Ox=0.881, Oy=1.1774).A
    2.56
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    A: Angstrom
    Cx: Angstrom
    Cy: Angstrom
    Ox: Angstrom
    Oy: Angstrom

    @field_validator("A", "Cx", "Cy", "Ox", "Oy")
    @classmethod
    def _plausible(cls, value: float, info: ValidationInfo) -> float:
        low, high = _PLAUSIBLE[str(info.field_name)]
        if not low <= value <= high:
            raise ValueError(
                f"{info.field_name} = {value:g} Å; expected {low:g} to {high:g} Å; "
                f"{_unit_hint(value, low, high)}"
            )
        return value

    @model_validator(mode="after")
    def _oxygen_between_the_rows(self) -> Self:
        if not 0 < 2 * self.Oy < self.Cy:
            raise ValueError(
                f"Oy = {self.Oy:g} Å is not between 0 and Cy/2 = {self.Cy / 2:g} Å; oxygen lies "
                "between the row of M and the row of Li"
            )
        return self

    @classmethod
    def from_cell(cls, *, a: float, c: float, beta: float, x: float, z: float) -> Self:
        """Make the projected cell of a C2/m crystal.

        Parameters
        ----------
        a, c : float
            Edges, Å.
        beta : float
            Angle, degree.
        x, z : float
            Fractional coordinates of the oxygen column: the mean of one 4i and two 8j sites.

        Raises
        ------
        BadInputError
            If the cell is none of a layered oxide.
        """
        if not 90 <= beta < 150:
            raise BadInputError(
                f"beta = {beta:g}°; expected 90° to 150° (109° in Li2MnO3); give it in degrees"
            )
        angle = np.deg2rad(beta)
        cx, cy = c * np.cos(angle), c * np.sin(angle)
        values = {"A": a / 2, "Cx": cx, "Cy": cy, "Ox": x * a + z * cx, "Oy": z * cy}
        return cls.from_numbers(values)

    @classmethod
    def from_numbers(cls, values: Mapping[str, Any]) -> Self:
        """Make one from a mapping; a refusal is one clear `BadInputError`."""
        try:
            return cls.model_validate({name: float(value) for name, value in values.items()})
        except ValidationError as error:
            reasons = "; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())
            raise BadInputError(f"no cell of a layered oxide: {reasons}") from error

    def to_cell(self) -> dict[str, float]:
        """Return a, c (Å), beta (degree), x, z of the mean oxygen column (fractions)."""
        z = self.Oy / self.Cy
        return {
            "a": 2 * self.A,
            "c": float(np.hypot(self.Cx, self.Cy)),
            "beta": float(np.rad2deg(np.arctan2(self.Cy, self.Cx))),
            "x": (self.Ox - z * self.Cx) / (2 * self.A),
            "z": z,
        }

    def vectors(self) -> dict[str, Vector]:
        """Return the lattice vectors A, C and the oxygen position O, each (2,) xy in Å."""
        return {
            "A": np.array([self.A, 0.0]),
            "C": np.array([self.Cx, self.Cy]),
            "O": np.array([self.Ox, self.Oy]),
        }


def _unit_hint(value: float, low: float, high: float) -> str:
    for factor, unit in ((0.01, "pm"), (10.0, "nm")):
        if low <= value * factor <= high:
            return f"did you mean {value * factor:g} Å? (the value looks like {unit})"
    return "give it in Å"


PRISTINE = ProjectedParameters.from_cell(
    a=4.937,
    c=5.030,
    beta=109.46,
    x=(0.2189 + 2 * 0.2540) / 3,
    z=(0.2273 + 2 * 0.2233) / 3,
)
"""The Li2MnO3-type cell of the literature."""

PRISTINE_MEASURED = ProjectedParameters(A=2.560, Cx=-1.6557, Cy=4.9223, Ox=0.8810, Oy=1.1774)
"""Fitted to the eight published bulk distances of the pristine state (rms residual 0.9 pm)."""


def named_vectors(parameters: ProjectedParameters) -> dict[str, Vector]:
    """Return the vector of each of the eight named distances, (2,) xy in Å.

    With D = 2 O: ``F = C + 2A``, ``E = F - D``, ``B = D - A``, ``G = E - A``. Hence the closures
    ``D + E = F``, ``B + G = C``, ``D - B = E - G = A``.
    """
    v = parameters.vectors()
    d = 2 * v["O"]
    f = v["C"] + 2 * v["A"]
    return {
        "m_m": v["A"],
        "o_o_mli": v["A"],
        "m_m_olio": f,
        "o_o_li": f - d,
        "m_m_li": v["C"],
        "o_o_2m": d - v["A"],
        "o_o_2li": f - d - v["A"],
        "o_o_m": d,
    }


def named_distances(parameters: ProjectedParameters) -> dict[str, float]:
    """Return the eight named distances of a projected cell, Å.

    Examples
    --------
    >>> {name: round(value, 4) for name, value in named_distances(PRISTINE).items()}["o_o_m"]
    2.6886
    """
    return {name: float(np.hypot(*vector)) for name, vector in named_vectors(parameters).items()}


def parameters_from_distances(distances: Mapping[str, float]) -> ProjectedParameters:
    """Return the projected cell that has the given distances; needs five of the eight.

    ``Dx = A/2 + (D² - B²)/2A``, ``Dy = sqrt(D² - Dx²)``; E from E and G alike; then
    ``C = (Dx + Ex - 2A, Dy + Ey)`` and ``O = D/2``.

    Parameters
    ----------
    distances : mapping
        ``m_m``, ``o_o_m`` (D), ``o_o_2m`` (B), ``o_o_li`` (E), ``o_o_2li`` (G), Å; others are
        not used.

    Returns
    -------
    ProjectedParameters

    Raises
    ------
    BadInputError
        If one is missing, or if three of them make no triangle.
    """
    missing = [n for n in ("m_m", "o_o_m", "o_o_2m", "o_o_li", "o_o_2li") if n not in distances]
    if missing:
        raise BadInputError(
            f"the cell cannot be found without the distances {', '.join(missing)}; "
            "give m_m, o_o_m, o_o_2m, o_o_li and o_o_2li in Å"
        )
    a = float(distances["m_m"])
    dx, dy = _apex(a, distances, "o_o_m", "o_o_2m")
    ex, ey = _apex(a, distances, "o_o_li", "o_o_2li")
    return ProjectedParameters.from_numbers(
        {"A": a, "Cx": dx + ex - 2 * a, "Cy": dy + ey, "Ox": dx / 2, "Oy": dy / 2}
    )


def _apex(base: float, distances: Mapping[str, float], near: str, far: str) -> tuple[float, float]:
    """Return the apex over a base of a triangle whose sides ``near`` and ``far`` meet there."""
    side, other = float(distances[near]), float(distances[far])
    x = base / 2 + (side**2 - other**2) / (2 * base) if base > 0 else np.nan
    square = side**2 - x**2
    if not square > 0:
        raise BadInputError(
            f"{near} = {side:g} Å, {far} = {other:g} Å and m_m = {base:g} Å make no triangle; "
            "check the distances and their unit (Å)"
        )
    return float(x), float(np.sqrt(square))


def commensurate(
    parameters: ProjectedParameters, *, tolerance: float = 0.01
) -> tuple[int, int, ProjectedParameters]:
    """Find the smallest orthogonal lateral supercell ``n C + m A`` after the smallest shear of Cx.

    Parameters
    ----------
    parameters : ProjectedParameters
    tolerance : float
        Largest shear ``|change of Cx| / Cy`` allowed.

    Returns
    -------
    n, m : int
        ``n C + m A`` is perpendicular to A. m is even: an odd one would move the columns by b/2
        along the beam.
    sheared : ProjectedParameters
        Cx replaced by ``-m A / n``, and Ox so that oxygen keeps its fractional coordinates.

    Raises
    ------
    BadInputError
        If no supercell of at most 200 rows meets the tolerance.

    Examples
    --------
    >>> n, m, sheared = commensurate(PRISTINE)
    >>> n, m, round((sheared.Cx - PRISTINE.Cx) / PRISTINE.Cy, 4)
    (3, 2, 0.0064)
    """
    if not 0 < tolerance < 0.5:
        raise BadInputError(
            f"tolerance = {tolerance:g}; expected a relative shear above 0 and below 0.5"
        )
    for n in range(1, 201):
        m = 2 * round(-n * parameters.Cx / (2 * parameters.A))
        cx = -m * parameters.A / n
        if abs(cx - parameters.Cx) <= tolerance * parameters.Cy:
            ox = parameters.Ox + parameters.Oy / parameters.Cy * (cx - parameters.Cx)
            return n, m, parameters.model_copy(update={"Cx": cx, "Ox": ox})
    raise BadInputError(
        f"no orthogonal supercell of at most 200 rows shears by less than {tolerance:g}; "
        "allow a larger tolerance, or use the oblique periodic cell"
    )
