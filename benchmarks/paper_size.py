"""Data of published size: simulated, judged by brute-force abTEM, streamed to a file and inverted.

Perfect Li-rich oxide, 20 Å thick, 256 x 256 positions. The scan is cut into rows that are thrown away
once they are simulated, or saved as counts. The floor is the product of the Fourier series over
probe positions with its terms alone, as a matrix product by BLAS; a share of it is done and scaled.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from ase import Atoms

import echolith as el
from benchmarks.brute_force import Box, frames
from benchmarks.measuring import Figure, Result, best_in_turn, in_own_process, peak_beyond, seconds
from echolith.forward.acquisition import PixelDetector, Scan, StemAcquisition
from echolith.forward.noise import PoissonCounting
from echolith.forward.placement import scan_positions
from echolith.forward.stem import Simulation, estimate_cost, stem_mean
from echolith.inverse.ssb import ssb
from echolith.processors import processors
from echolith.structures.li_rich_oxide import (
    PRISTINE,
    Occupation,
    orthogonal_specimen,
    periodic_specimen,
)
from echolith.structures.projected_cell import commensurate
