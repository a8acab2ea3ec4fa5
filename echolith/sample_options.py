"""What can be asked of generated samples; here, for the command line names it before it works."""

from enum import StrEnum

WIDTH = 0.4
"""Å, of spots in heat maps; those of columns 1.4 Å apart, the nearest of the layered oxides, stay
two."""


class Target(StrEnum):
    """What a network may be trained to find."""

    POSITIONS = "positions"
    """Of columns, Å."""
    SPECIES = "species"
    """Of columns."""
    HEAT_MAP = "heat-map"
    """Columns in every pixel, by species, each a Gaussian."""
    MASK = "mask"
    """Where the specimen is."""
    LABELS = "labels"
    """Which grain, particle or plate it is, from 1."""
    PHASE = "phase"
    """Which phase it is."""
    COMPOSITION = "composition"
    STRAIN = "strain"
    TILT = "tilt"


class Mismatch(StrEnum):
    """How far what is simulated is from what is told."""

    MILD = "mild"
    """A third of what is usual."""
    MODERATE = "moderate"
    """As is usual in a measurement taken with care."""
    SEVERE = "severe"
    """Three times that."""
