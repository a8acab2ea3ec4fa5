"""A handful of columns in vacuum, simulated atom by atom: small sets for the fit to counts."""

from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr
from ase import Atoms

from echolith.forward.acquisition import Beam, PixelDetector, Scan, StemAcquisition
from echolith.forward.simulation import Engine, Simulation
from echolith.forward.stem import stem_mean

BEAM = Beam(energy=200e3, semiangle=22.4)
LAYERS, SPACING = 4, 2.8
PLACES = {"O": [(0.9, 1.0), (2.7, 2.6)], "Mn": [(1.9, 1.6)], "Li": [(0.8, 2.7), (2.9, 0.9)]}
"""Å, scan frame; every column has `LAYERS` atoms."""
THICKNESS = LAYERS * SPACING
MARGIN = 6.0


def acquisition(**changes: Any) -> StemAcquisition:
    """Return a scan of 14 x 15 positions with a 24 x 25 detector that holds the disc."""
    values: dict[str, Any] = {
        "beam": BEAM,
        "scan": Scan(shape=(14, 15), step=(0.26, 0.25)),
        "detector": PixelDetector(shape=(24, 25), pixel_size=2.0),
        "haadf": None,
        "dose": 3e4,
    }
    return StemAcquisition(**(values | changes))


def specimen(settings: StemAcquisition) -> Atoms:
    """Return the columns with the scan's first position at the right place in the cell."""
    scan = settings.scan
    half = np.array([(n - 1) * d / 2 for n, d in zip(scan.shape, scan.step, strict=True)])[::-1]
    centre = half + MARGIN
    angle = np.deg2rad(scan.rotation)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    symbols, positions = [], []
    for symbol, places in PLACES.items():
        for place in places:
            x, y = (np.array(place) - half) @ turn + centre
            for n in range(LAYERS):
                symbols.append(symbol)
                positions.append([x, y, (n + 0.5) * SPACING])
    return Atoms(symbols, positions=positions, cell=[*(2 * centre), THICKNESS])


@lru_cache
def mean(**changes: Any) -> xr.Dataset:
    """Return the expected counts by the simulator's multislice."""
    settings = acquisition(**changes)
    simulation = Simulation(
        engine=Engine.MULTISLICE, sampling=0.1, slice_thickness=SPACING, minimum_box=10.0
    )
    return stem_mean(specimen(settings), acquisition=settings, simulation=simulation).compute()


def true_columns() -> xr.Dataset:
    """Return the columns with their strengths, species as the solver names them."""
    rows = [
        (x, y, {"Mn": "M"}.get(symbol, symbol))
        for symbol, places in PLACES.items()
        for x, y in places
    ]
    x, y, species = zip(*rows, strict=True)
    return xr.Dataset(
        {
            "x": ("column", np.array(x)),
            "y": ("column", np.array(y)),
            "species": ("column", np.array(species)),
            "strength": ("column", np.full(len(x), float(LAYERS))),
        }
    )
