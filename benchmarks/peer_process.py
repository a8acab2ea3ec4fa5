"""Time one peer on counts in memory; needs that peer and NumPy, nothing of echolith.

    python peer_process.py --importable METHOD      names of the peers, as JSON
    python peer_process.py PEER METHOD job.json     best seconds of a reconstruction, as JSON

Every peer is told centre, rotation and calibration, and is timed from counts in memory to phase,
its imports left out; the first run, which compiles, is not counted unless it takes over a minute.
"""

import contextlib
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

PEERS = {
    "ssb": {"py4DSTEM": ("py4DSTEM",), "LiberTEM": ("libertem", "ptychography40")},
    "wdd": {"py4DSTEM": ("py4DSTEM",)},
}
LONG = 60.0
"""Seconds; a peer that takes longer is run once."""
REPEATS = 3


def py4dstem(method: str, job: dict[str, Any], counts: Any) -> None:
    """Run py4DSTEM's direct ptychography."""
    import py4DSTEM
    from py4DSTEM.process.phase.direct_ptychography import SSB, WDD

    cube = py4DSTEM.DataCube(data=counts)
    cube.calibration.set_R_pixel_size(job["step"])
    cube.calibration.set_R_pixel_units("A")
    cube.calibration.set_Q_pixel_size(job["pixel"])
    cube.calibration.set_Q_pixel_units("mrad")
    peer = {"ssb": SSB, "wdd": WDD}[method]
    prepared = peer(
        energy=job["energy"], datacube=cube, semiangle_cutoff=job["semiangle"], verbose=False
    ).preprocess(
        plot_center_of_mass=False,
        plot_rotation=False,
        plot_overlap_trotters=False,
        force_com_rotation=0,
        force_com_transpose=False,
        vectorized_com_calculation=False,
    )
    options = {"relative_wiener_epsilon": 0.01} if method == "wdd" else {}
    prepared.reconstruct(progress_bar=False, num_jobs=job["threads"], **options)


def libertem(_method: str, job: dict[str, Any], counts: Any) -> None:
    """Run the SSB of the ptychography package of LiberTEM."""
    from libertem.api import Context
    from libertem.executor.inline import InlineJobExecutor
    from ptychography40.reconstruction.ssb import SSB_UDF

    context = Context(executor=InlineJobExecutor(inline_threads=job["threads"]))
    data = context.load("memory", data=counts, sig_dims=2)
    context.run_udf(
        dataset=data,
        udf=SSB_UDF(
            lamb=job["wavelength"] * 1e-10,
            dpix=job["step"] * 1e-10,
            semiconv=job["semiangle"] * 1e-3,
            semiconv_pix=job["semiangle"] / job["pixel"],
            cy=counts.shape[2] // 2,
            cx=counts.shape[3] // 2,
        ),
    )


RUN = {"py4DSTEM": py4dstem, "LiberTEM": libertem}


def importable(method: str) -> list[str]:
    """List the peers this interpreter has."""
    return [
        name
        for name, packages in PEERS[method].items()
        if all(importlib.util.find_spec(package) is not None for package in packages)
    ]


def best_seconds(peer: str, method: str, job: dict[str, Any]) -> float:
    """Time a peer; the first of several runs is not counted."""
    taken: list[float] = []
    while len(taken) <= REPEATS:
        counts = np.load(job["counts"])
        start = time.perf_counter()
        RUN[peer](method, job, counts)
        taken.append(time.perf_counter() - start)
        if taken[0] > LONG:
            return taken[0]
    return min(taken[1:])


def main(arguments: list[str]) -> None:
    """Print one line of JSON; whatever the peers print goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        if arguments[0] == "--importable":
            answer: Any = importable(arguments[1])
        else:
            job = json.loads(Path(arguments[2]).read_text(encoding="utf-8"))
            answer = best_seconds(arguments[0], arguments[1], job)
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
