"""The demo sets: for each family of scenarios one small measurement that shows what it is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class DemoSet:
    """A small measurement of a scenario.

    Attributes
    ----------
    shows : str
        What is to be learnt from it.
    megabytes : float
        On the disk, with its truth.
    seconds : float
        To make it, on one processor.
    settings : mapping
        What differs from the scenario's defaults.
    seed : int
    """

    shows: str
    megabytes: float
    seconds: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 1


DEMO_SETS: Mapping[str, DemoSet] = MappingProxyType(
    {
        "li-rich-oxide": DemoSet(
            shows="4D-STEM: ptychographic phase, columns, distances of O to Li and to metal",
            megabytes=1.5,
            seconds=7,
            settings={
                "occupation": "ordered",
                "thickness": 8.6,
                "scan": {"shape": (48, 56), "step": (0.25, 0.25)},
                "detector": {"shape": (32, 32), "pixel_size": (1.5, 1.5)},
            },
        ),
        "li-rich-haadf-drift": DemoSet(
            shows="HAADF: fast frames that drift and are distorted, put back together",
            megabytes=0.1,
            seconds=5,
            settings={
                "thickness": 20.0,
                "frames": {
                    "frames": 6,
                    "shape": (192, 224),
                    "dose": 8000.0,
                    "detector": {"inner": 60.0, "outer": 80.0},
                },
                "simulation": {"slice_thickness": 4.3},
            },
        ),
        "lfp-tomography": DemoSet(
            shows="soft X-ray tomography at two energies: composition of every voxel",
            megabytes=0.5,
            seconds=2,
            settings={
                "pixels": 48,
                "tilts": {"count": 60, "reach": 75.0, "voxel_size": 100.0},
            },
        ),
        "lfp-ptychography": DemoSet(
            shows="soft X-ray ptychography: optical density and phase from diffraction",
            megabytes=1.2,
            seconds=2,
        ),
        "lfp-xas": DemoSet(
            shows="X-ray absorption across Fe L3: which pixel is charged, and how much of all",
            megabytes=0.4,
            seconds=1,
        ),
        "nmc622-powder": DemoSet(
            shows="powder diffraction: Rietveld refinement of cell and of nickel on lithium sites",
            megabytes=0.1,
            seconds=1,
            settings={"acquisition": {"step": 0.05}},
        ),
        "nmc622-sxdm": DemoSet(
            shows="nano-beam X-ray diffraction: maps of strain and tilt of a cracked crystal",
            megabytes=1.7,
            seconds=3,
            settings={"curve": {"scan": (24, 24)}},
        ),
        "li-hrtem": DemoSet(
            shows="HRTEM movie at low dose: is there a lattice, which one, where are its columns",
            megabytes=0.8,
            seconds=4,
            settings={
                "particle": {"size": 40.0},
                "acquisition": {"shape": (160, 160), "frames": 20},
                "drift": (0.7, -0.4),
            },
        ),
        "li-saed": DemoSet(
            shows="electron diffraction: centre, ellipse, which phases there are, orientation",
            megabytes=0.2,
            seconds=1,
        ),
        "li-growth": DemoSet(
            shows="movie of a growing particle: edges of facets, their speeds, a switch",
            megabytes=1.4,
            seconds=5,
            settings={"movie": {"points": 1}},
        ),
        "li-thickness": DemoSet(
            shows="energy-filtered images: thickness of every pixel, map and sum of lithium",
            megabytes=0.1,
            seconds=1,
        ),
    }
)
