"""A small measurement, solvers to try on it, and what is left of their processes."""

import time
from pathlib import Path

import numpy as np
import psutil
import xarray as xr

OUTSIDER = Path(__file__).with_name("outsider.py")


def measurement(values: object = None, **attrs: object) -> xr.Dataset:
    counts = np.arange(12, dtype=np.uint16).reshape(3, 4) if values is None else values
    return xr.Dataset(
        {"counts": (("scan_y", "scan_x"), counts, {"units": "electrons"})},
        coords={"scan_x": ("scan_x", [0.0, 0.2, 0.4, 0.6], {"units": "Å"})},
        attrs={
            "dose": 8.1e4,
            "acquisition": '{"beam": {"energy": 2e5}}',
            "flags": [True, False],
            **attrs,
        },
    )


def gone(pid: int) -> bool:
    """Wait a little for a process that is not our child to be reaped by the system."""
    for _ in range(200):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False
