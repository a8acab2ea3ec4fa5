"""A small asymmetric specimen and an acquisition on a tiny grid, shared by the STEM tests."""

from typing import Any

import numpy as np
from ase import Atoms

from echolith.forward.acquisition import (
    Aberrations,
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
)
from echolith.forward.stem import Simulation

PIXEL = 2.5
BEAM = Beam(
    semiangle=20,
    aberrations=Aberrations(C10=-40, C12=20, phi12=0.4, C21=300, phi21=1.0),
)
SIDE = BEAM.wavelength / (PIXEL * 1e-3)
"""The cell is as large as the box of the detector's pixel: 10 Å."""
SIMULATION = Simulation(minimum_box=8, slice_thickness=2.0, sampling=0.12)


def specimen(*, periodic: bool = True) -> Atoms:
    """Fourteen atoms at random in a square cell 6 Å thick: no symmetry whatsoever."""
    rng = np.random.default_rng(1)
    positions = np.column_stack([rng.uniform(0.5, SIDE - 0.5, (14, 2)), rng.uniform(0.1, 5.9, 14)])
    symbols = rng.choice(["Mn", "O", "Li"], 14)
    return Atoms(
        symbols, positions=positions, cell=[SIDE, SIDE, 6], pbc=[periodic, periodic, False]
    )


def acquisition(**changes: Any) -> StemAcquisition:
    """Return a scan of 3 x 4 positions with a 20 x 24 detector."""
    settings: dict[str, Any] = {
        "beam": BEAM,
        "scan": Scan(shape=(3, 4), step=(0.25, 0.3)),
        "detector": PixelDetector(shape=(20, 24), pixel_size=PIXEL),
        "haadf": AnnularDetector(inner=40, outer=60),
        "dose": 1e4,
    }
    return StemAcquisition(**(settings | changes))


def crystal(*, side: float = SIDE / 2) -> Atoms:
    """Five atoms without symmetry in a square cell; the box of `acquisition` holds four cells."""
    return Atoms(
        "MnOLiOMn",
        scaled_positions=[
            [0.11, 0.23, 0.10],
            [0.52, 0.08, 0.25],
            [0.83, 0.41, 0.45],
            [0.37, 0.66, 0.70],
            [0.71, 0.85, 0.95],
        ],
        cell=[side, side, 6],
        pbc=[True, True, False],
    )
