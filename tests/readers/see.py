"""Print what a program sees of a measurement file, as JSON.

    python see.py read_PROGRAM.py

Run by the program's own interpreter in the folder of ``measurement.h5``. The script that opens the
file leaves ``array`` (of counts), ``image`` (their sum over each frame, by the program's own means)
and ``axes`` ((step, start, unit) of each axis; None where the program knows none).
"""

import hashlib
import json
import runpy
import sys
from typing import Any

import numpy as np


def described(array: Any, image: Any, axes: Any) -> dict[str, Any]:
    """Return shape, hashes and axes; counts are hashed as 64-bit integers."""
    hashes = [
        hashlib.sha256(np.ascontiguousarray(values, dtype="<i8").tobytes()).hexdigest()
        for values in (array, image)
    ]
    plain = axes and [(float(step), float(start), str(unit)) for step, start, unit in axes]
    return {"shape": list(array.shape), "sha256": hashes[0], "image": hashes[1], "axes": plain}


if __name__ == "__main__":
    seen = runpy.run_path(sys.argv[1])
    print(json.dumps(described(seen["array"], seen["image"], seen["axes"])))
