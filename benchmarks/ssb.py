"""SSB of counts in memory, beside the scan-axis transform of the disc pixels alone."""

from functools import partial
from typing import Any

from benchmarks.measuring import Figure, Result, best_in_turn, in_own_process, peak_beyond
from benchmarks.peers import peer_seconds
from benchmarks.phase_data import corner, disc_images, floor, measurement
from echolith.inverse.scan_transform import Streaming
from echolith.inverse.ssb import ssb
from echolith.processors import processors

DETECTOR = 64
SIZES = {"ssb-64-float32": 64, "ssb-64-uint16": 64, "ssb-256-float32": 256, "ssb-256-uint16": 256}
QUICK_DETECTOR = 32
QUICK = {"ssb-32-uint16": 32}
TARGETS: dict[int, dict[str, Any]] = {
    64: {"frames_per_second": {"at_least": 40_000}, "ratio_to_floor": {"at_most": 2}},
    256: {
        "seconds": {"at_most": 2.5},
        "memory": {"at_most": 500},
        "ratio_to_floor": {"at_most": 2},
    },
}


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure every size, each in a process of its own."""
    sizes = QUICK if quick else SIZES
    return {
        name: in_own_process(_one, positions=n, dtype=name.split("-")[-1], quick=quick)
        for name, n in sizes.items()
    }


def _one(*, positions: int, dtype: str, quick: bool) -> Result:
    detector = QUICK_DETECTOR if quick else DETECTOR
    data = measurement(positions=positions, detector=detector, dtype=dtype)
    streaming = Streaming(workers=processors())
    work = partial(ssb, data, streaming=streaming)
    # Compiled code is loaded before memory is counted.
    ssb(corner(data, positions=16), streaming=streaming)
    _, memory = peak_beyond(work)
    images = disc_images(data)
    repeats = 3 if quick else (15 if positions <= 64 else 5)
    best = best_in_turn({"ours": work, "floor": partial(floor, images)}, repeats=repeats)
    values = {
        "frames_per_second": (positions**2 / best["ours"], "1/s"),
        "seconds": (best["ours"], "s"),
        "memory": (memory / 1e6, "MB"),
        "ratio_to_floor": (best["ours"] / best["floor"], "1"),
    }
    return Result(
        ours_s=best["ours"],
        floor_s=best["floor"],
        peers_s=peer_seconds("ssb", data),
        peak_memory_bytes=memory,
        size={"scan": [positions, positions], "detector": [detector, detector]},
        figures={
            name: Figure(value=values[name][0], unit=values[name][1], **target)
            for name, target in TARGETS.get(positions, {}).items()
        },
    )
