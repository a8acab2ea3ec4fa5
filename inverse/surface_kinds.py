"""Phases a surface may be, and what they put on columns seen along [010] of the layered oxide."""

from collections.abc import Mapping
from enum import Enum

Content = Mapping[str, tuple[tuple[float, float], tuple[float, float]]]


class Surface(Enum):
    """What a surface may be."""

    LAYERED = "layered"
    LT_LICOO2 = "lt-licoo2"
    LIMN2O4 = "limn2o4"
    MN3O4 = "mn3o4"
    ROCK_SALT_DISORDERED = "rock-salt-disordered"


UNDETERMINED = "cannot tell"

CONTENTS: Mapping[Surface, Content] = {
    Surface.LT_LICOO2: {
        "M": ((1.0, 0.0), (0.5, 0.5)),
        "Li": ((0.5, 0.5), (0.0, 1.0)),
        "T": ((0.0, 0.0), (0.0, 0.0)),
    },
    Surface.LIMN2O4: {
        "M": ((1.0, 0.0), (0.5, 0.0)),
        "Li": ((0.5, 0.0), (0.0, 0.0)),
        "T": ((0.0, 0.0), (0.0, 0.5)),
    },
    Surface.MN3O4: {
        "M": ((1.0, 0.0), (0.5, 0.0)),
        "Li": ((0.5, 0.0), (0.0, 0.0)),
        "T": ((0.0, 0.0), (0.5, 0.0)),
    },
    Surface.ROCK_SALT_DISORDERED: {
        "M": ((0.5, 0.5), (0.5, 0.5)),
        "Li": ((0.5, 0.5), (0.5, 0.5)),
        "T": ((0.0, 0.0), (0.0, 0.0)),
    },
}
"""Metals and lithium on the columns of one and of the other parity of ``lattice_i``."""
