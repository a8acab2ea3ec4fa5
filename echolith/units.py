"""Units, declared once as annotations and copied into dataset attributes.

Rules of the house: ångström, electronvolt, milliradian (electron optics), degree (rotations,
goniometers, tilts), electrons per Å², second.
"""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Unit:
    """The unit a number is in, as reports and dataset attributes print it."""

    symbol: str


Angstrom = Annotated[float, Unit("Å")]
Electronvolt = Annotated[float, Unit("eV")]
Milliradian = Annotated[float, Unit("mrad")]
Degree = Annotated[float, Unit("°")]
Second = Annotated[float, Unit("s")]
ElectronsPerSquareAngstrom = Annotated[float, Unit("e/Å²")]
Radian = Annotated[float, Unit("rad")]
