"""Solvers that need NumPy only, good and bad ones; run by path in processes of their own."""

import atexit
import ctypes
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

SLEEP = "import time; time.sleep(600)"
GROW = f"kept = [bytearray(b'1') * 20_000_000 for _ in range(40)]; {SLEEP}"


def note(measurement: Any, text: str) -> None:
    """Write process numbers where the test looks for them, whole or not at all."""
    path = measurement.attrs["pids"]
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.part", path)


def total(measurement: Any) -> Any:
    return {"total": measurement["counts"].values.sum(), "total_std": 2.0}


def lingers(measurement: Any) -> Any:
    answer = total(measurement)
    time.sleep(0.5)
    return answer


def what_it_sees(measurement: Any) -> Any:
    counts = measurement["counts"]
    seen = {
        "type": type(measurement).__name__,
        "dims": list(counts.dims),
        "units": counts.attrs["units"],
        "dose": measurement.attrs["dose"],
        "names": sorted(measurement),
        "coords": sorted(measurement.coords),
        "x": measurement["scan_x"].values.tolist(),
        "sizes": dict(measurement.sizes),
        "sum": float(np.asarray(counts).sum()),
        "xarray": "xarray" in sys.modules,
        "contains": ["counts" in measurement, "nothing" in measurement],
    }
    return {"total": 1.0, "seen": json.dumps(seen)}


def every_form(measurement: Any) -> Any:
    return {
        "number": 3,
        "x": [1.0, 2.0, 3.0],
        "species": np.array(["M", "O", "Li"], dtype=object),
        "image": np.ones((2, 4)),
        "map": (("row", "column"), np.zeros((2, 3)), {"units": "Å"}),
        "line": ("row", [1, 2]),
        "raw": np.array([b"M", b"O", b"Li"]),
    }


def changes_its_input(measurement: Any) -> Any:
    measurement["counts"].values[:] = 0
    return {"total": 0.0}


def big(measurement: Any) -> Any:
    return {"total": 0.0, "volume": (("a", "b"), np.arange(4_000_000.0).reshape(2000, 2000))}


def aborts(measurement: Any) -> Any:
    os.abort()


def segfaults(measurement: Any) -> Any:
    ctypes.string_at(0)


def exits(measurement: Any) -> Any:
    sys.exit(3)


def exits_quietly(measurement: Any) -> Any:
    os._exit(0)


def deep(measurement: Any) -> Any:
    raise ValueError("no peaks\nfound")


def raises(measurement: Any) -> Any:
    return deep(measurement)


def hangs(measurement: Any) -> Any:
    print("still going", flush=True)
    # Out of reach of a signal to the group.
    child = subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True)
    note(measurement, f"{os.getpid()} {child.pid}")
    time.sleep(600)


def eats(measurement: Any) -> Any:
    kept = []
    while True:
        kept.append(np.ones(2_500_000))
        time.sleep(0.005)


def child_eats(measurement: Any) -> Any:
    subprocess.run([sys.executable, "-c", GROW])


def out_of_memory(measurement: Any) -> Any:
    return np.ones((1 << 40, 1 << 10))


def prints(measurement: Any) -> Any:
    for _ in range(2000):
        print("x" * 10_000)
    print("the last words", file=sys.stderr)
    return total(measurement)


def prints_and_fails(measurement: Any) -> Any:
    prints(measurement)
    os.abort()


def leaves_a_child(measurement: Any) -> Any:
    child = subprocess.Popen([sys.executable, "-c", SLEEP])
    note(measurement, str(child.pid))
    return {"total": 0.0}


def crashes_at_exit(measurement: Any) -> Any:
    atexit.register(os.abort)
    return {"total": 0.0}


def nothing(measurement: Any) -> Any:
    return None


def a_number(measurement: Any) -> Any:
    return 3.0


def unpicklable(measurement: Any) -> Any:
    return {"total": 1.0, "helper": lambda: None}


def ragged(measurement: Any) -> Any:
    return {"x": [[1.0], [2.0, 3.0]]}


def wrong_dims(measurement: Any) -> Any:
    return {"x": (("a",), np.zeros((2, 2)))}


def odd_lengths(measurement: Any) -> Any:
    return {"x": ("column", [1.0, 2.0]), "y": ("column", [1.0])}


def odd_name(measurement: Any) -> Any:
    return {1: 2.0}


constant = 3.0
