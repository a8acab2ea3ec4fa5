"""Tomography of 158 tilts: OS-SART and total variation, their errors, beside ASTRA on the CPU."""

import time
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from benchmarks.measuring import Figure, Result, best_in_turn, in_own_process, peak_beyond
from benchmarks.plate_projections import counted, plates, projections, truth
from benchmarks.tomography_peers import peer_results
from echolith.forward.projection import as_block, slabs, system_matrix
from echolith.forward.tilts import Tilts
from echolith.inverse.tomography import reconstruct
from echolith.inverse.tomography_options import Algorithm, Stopping, TomographyOptions

SIDES = {"tomography-128": 128, "tomography-256": 256}
QUICK = {"tomography-32": 32}
PHOTONS = 400.0
TARGETS: dict[str, dict[str, dict[str, Any]]] = {
    "tomography-128": {
        "os_sart_cpu": {"at_most": 3},
        "os_sart_error": {"at_most": 0.101},
        "tv_noisy_error": {"at_most": 0.12},
        "astra_sirt_over_ours": {"at_least": 20},
        "astra_sart_over_ours": {"at_least": 20},
    },
    "tomography-256": {"os_sart_cpu": {"at_most": 30}, "os_sart_memory": {"at_most": 2}},
}
SWEEPS = TomographyOptions(iterations=20, stopping=Stopping.LAST, draws=0)
Volume = npt.NDArray[np.floating]


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure every size, each in a process of its own."""
    sizes = QUICK if quick else SIDES
    return {name: in_own_process(_one, name=name, side=n) for name, n in sizes.items()}


def _one(*, name: str, side: int) -> Result:
    specimen = plates(side, seed=5)
    exact, known = projections(specimen, side), truth(specimen, side)
    # Compiled code is loaded before memory is counted.
    reconstruct(exact.isel(y=slice(0, 4)), options=SWEEPS.model_copy(update={"iterations": 1}))
    work = partial(reconstruct, exact, options=SWEEPS, workers=1)
    start = time.process_time()
    found, memory = peak_beyond(work)
    ours = time.process_time() - start
    once = best_in_turn({"floor": partial(floor, exact)}, repeats=2)["floor"]
    values = {
        "os_sart_cpu": (ours, "s"),
        "os_sart_error": (error_of(found, known), "1"),
        "os_sart_memory": (memory / 2**30, "GiB"),
    }
    peers: dict[str, float] = {}
    if side <= 128:
        values |= _noisy(exact, known)
        for peer, (taken, error) in peer_results(exact, known).items():
            peers[peer] = taken
            values[f"{peer.lower()}_over_ours"] = (taken / ours, "1")
            values[f"{peer.lower()}_error"] = (error, "1")
    targets = TARGETS.get(name, {})
    return Result(
        ours_s=ours,
        floor_s=SWEEPS.most * once,
        peak_memory_bytes=memory,
        size={"tilts": [exact.sizes["tilt"]], "volume": [side] * 3},
        peers_s={peer.replace("_", " "): taken for peer, taken in peers.items()},
        figures={
            what: Figure(value=value, unit=unit, **targets.get(what, {}))
            for what, (value, unit) in values.items()
        },
    )


def _noisy(exact: xr.Dataset, known: Volume) -> dict[str, tuple[float, str]]:
    data = counted(exact, photons=PHOTONS, seed=6)
    varied = TomographyOptions(algorithm=Algorithm.TV, draws=0)
    return {
        "os_sart_noisy_error": (
            error_of(reconstruct(data, options=TomographyOptions(draws=0)), known),
            "1",
        ),
        "tv_noisy_error": (error_of(reconstruct(data, options=varied), known), "1"),
    }


def error_of(found: xr.Dataset, known: Volume) -> float:
    """Relative error: norm of the difference over norm of the truth."""
    return float(np.linalg.norm(found["absorption"].values - known) / np.linalg.norm(known))


def floor(exact: xr.Dataset) -> list[Volume]:
    """Multiply by SciPy's sparse matrix and its transpose: the products of one sweep."""
    side = exact.sizes["x"]
    matrix = system_matrix(Tilts(), shape=(side, side))
    blocks = [
        as_block(exact["optical_density"].values, part) for part in slabs(exact.sizes["y"], side**2)
    ]
    return [matrix.forward @ (matrix.backward @ block) for block in blocks]
