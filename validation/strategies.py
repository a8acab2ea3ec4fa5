"""Hypothesis strategies, one per noun, for our tests and for yours.

What they draw is valid by construction, keeps to what people measure, and shrinks to the plain
case: the default beam, the literature's cell, no aberration, zero counts. A bad argument is
refused when the strategy is made.

Examples
--------
>>> from hypothesis import find
>>> find(beams(), lambda beam: beam.energy < 100e3).energy
80000.0
"""

from echolith.validation.acquisition_strategies import (
    aberrations,
    acquisitions,
    annular_detectors,
    beams,
    pixel_detectors,
    scans,
)
from echolith.validation.distortion_strategies import (
    detector_noises,
    detector_responses,
    fast_frames,
    scan_distortions,
    surface_growths,
)
from echolith.validation.measurement_strategies import (
    counts,
    expected_counts,
    measurements,
    seeds,
)
from echolith.validation.plain_numbers import near
from echolith.validation.scenario_strategies import scenarios, settings_of
from echolith.validation.specimen_strategies import (
    column_lattice,
    column_lattices,
    crystals,
    occupations,
    projected_parameters,
)

__all__ = [
    "aberrations",
    "acquisitions",
    "annular_detectors",
    "beams",
    "column_lattice",
    "column_lattices",
    "counts",
    "crystals",
    "detector_noises",
    "detector_responses",
    "expected_counts",
    "fast_frames",
    "measurements",
    "near",
    "occupations",
    "pixel_detectors",
    "projected_parameters",
    "scan_distortions",
    "scans",
    "scenarios",
    "seeds",
    "settings_of",
    "surface_growths",
]
