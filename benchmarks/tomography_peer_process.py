"""Reconstruct slices with ASTRA on the CPU; needs ASTRA and NumPy, nothing of echolith.

    python tomography_peer_process.py job.npz volumes.npz

Prints CPU seconds of 20 iterations of SIRT and 20 sweeps of SART, both kept from 0 on, as JSON, and
writes the volumes; prints {} where ASTRA is not installed.
"""

import contextlib
import importlib.util
import json
import sys
import time
from typing import Any

import numpy as np

SWEEPS = 20


def reconstructed(method: str, density: Any, tilts: Any, iterations: int) -> Any:
    """Return the volume (z, y, x) in 1 over the pixel."""
    import astra

    pixels = density.shape[2]
    volumes = astra.create_vol_geom(pixels, pixels)
    rays = astra.create_proj_geom("parallel", 1.0, pixels, np.deg2rad(tilts))
    projector = astra.create_projector("linear", rays, volumes)
    result = np.empty((pixels, density.shape[1], pixels), dtype=np.float32)
    for y in range(density.shape[1]):
        data = astra.data2d.create("-sino", rays, density[:, y])
        volume = astra.data2d.create("-vol", volumes)
        settings = astra.astra_dict(method)
        settings |= {"ProjectorId": projector, "ProjectionDataId": data}
        settings |= {"ReconstructionDataId": volume, "option": {"MinConstraint": 0.0}}
        if method == "SART":  # tilt after tilt in their order converges worse
            settings["option"]["ProjectionOrder"] = "random"
        algorithm = astra.algorithm.create(settings)
        astra.algorithm.run(algorithm, iterations)
        # Its rows run against z.
        result[:, y] = astra.data2d.get(volume)[::-1]
        astra.algorithm.delete(algorithm)
        astra.data2d.delete([data, volume])
    return result


def main(job: str, volumes: str) -> None:
    """Print one line of JSON; whatever ASTRA prints goes to standard error."""
    taken, found = {}, {}
    if importlib.util.find_spec("astra") is not None:
        with contextlib.redirect_stdout(sys.stderr):
            content = np.load(job)
            density, tilts = content["density"], content["tilts"]
            for method, each in (("SIRT", 1), ("SART", len(tilts))):
                start = time.process_time()
                found[f"astra_{method}"] = reconstructed(method, density, tilts, SWEEPS * each)
                taken[f"astra_{method}"] = time.process_time() - start
            np.savez(volumes, **found)
    print(json.dumps(taken))


if __name__ == "__main__":
    main(*sys.argv[1:])
