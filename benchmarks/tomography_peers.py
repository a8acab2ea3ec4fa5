"""ASTRA's CPU reconstructions of the same projections, in any interpreter that has it.

The interpreters are those of ``ECHOLITH_PEERS_PYTHON`` (see `benchmarks.peers`). A few slices,
spread over the volume, are reconstructed and the time is scaled to all: slices are independent.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from benchmarks.peers import VARIABLE

SCRIPT = Path(__file__).parent / "tomography_peer_process.py"
SLICES = 16


def peer_results(
    exact: xr.Dataset, known: npt.NDArray[np.floating]
) -> dict[str, tuple[float, float]]:
    """Return CPU seconds for all slices and the relative error of each peer's method."""
    every = max(1, exact.sizes["y"] // SLICES)
    chosen = slice(every // 2, None, every)
    part = exact["optical_density"].values[:, chosen]
    size = float(exact["x"][1] - exact["x"][0])
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        job, volumes = Path(folder) / "job.npz", Path(folder) / "volumes.npz"
        np.savez(job, density=part.astype(np.float32), tilts=exact["tilt"].values)
        for interpreter in os.environ.get(VARIABLE, sys.executable).split(os.pathsep):
            command = [interpreter, str(SCRIPT), str(job), str(volumes)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
            for peer, taken in json.loads(done.stdout.splitlines()[-1]).items():
                volume = np.load(volumes)[peer] / size
                error = np.linalg.norm(volume - known[:, chosen])
                scale = exact.sizes["y"] / part.shape[1]
                found[peer] = (taken * scale, float(error / np.linalg.norm(known[:, chosen])))
    return found
