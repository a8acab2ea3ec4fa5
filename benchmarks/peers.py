"""Other programs on the same data, each in the environment it needs.

Their requirements exclude each other and some of ours, so they are run as
``PYTHON benchmarks/peer_process.py`` by every interpreter named in ``ECHOLITH_PEERS_PYTHON`` (paths
separated as in PATH; else by this one). A peer that an interpreter cannot import is left out.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from echolith.forward.acquisition import acquisition_of
from echolith.processors import processors

VARIABLE = "ECHOLITH_PEERS_PYTHON"
SCRIPT = Path(__file__).parent / "peer_process.py"


def peer_seconds(method: str, data: xr.Dataset) -> dict[str, float]:
    """Return the best time of each peer that can be imported, in seconds.

    Parameters
    ----------
    method : str
        ``ssb`` or ``wdd``.
    data : xarray.Dataset
        A measurement with square frames and pixels.
    """
    interpreters = os.environ.get(VARIABLE, sys.executable).split(os.pathsep)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.json"
        for interpreter in interpreters:
            names = _asked(interpreter, "--importable", method)
            if not names:
                continue
            if not job.exists():
                _write(data, Path(folder) / "counts.npy", job)
            found |= {name: _asked(interpreter, name, method, str(job)) for name in names}
    return found


def _asked(interpreter: str, *arguments: str) -> Any:
    command = [interpreter, str(SCRIPT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _write(data: xr.Dataset, counts: Path, job: Path) -> None:
    np.save(counts, data["counts"].values)
    acquisition = acquisition_of(data)
    content = {
        "counts": str(counts),
        "energy": acquisition.beam.energy,
        "wavelength": acquisition.beam.wavelength,
        "semiangle": acquisition.beam.semiangle,
        "step": acquisition.scan.step[0],
        "pixel": acquisition.detector.pixel_size[0],
        "threads": processors(),
    }
    job.write_text(json.dumps(content), encoding="utf-8")
