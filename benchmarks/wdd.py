"""WDD of counts in memory, its weights included, beside the same floor as SSB and beside SSB."""

from functools import partial

from benchmarks.measuring import Figure, Result, best_in_turn, in_own_process, peak_beyond
from benchmarks.peers import peer_seconds
from benchmarks.phase_data import corner, disc_images, floor, measurement
from echolith.forward.acquisition import acquisition_of
from echolith.inverse.scan_transform import Streaming
from echolith.inverse.ssb import ssb
from echolith.inverse.wdd import wdd, wdd_weights
from echolith.processors import processors

DETECTOR = 64
SIZES = {"wdd-64-float32": 64, "wdd-256-float32": 256}
QUICK = {"wdd-32-float32": 32}
LARGEST_RATIO_TO_SSB = 3


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure every size, each in a process of its own."""
    sizes = QUICK if quick else SIZES
    return {
        name: in_own_process(_one, positions=n, dtype=name.split("-")[-1], quick=quick)
        for name, n in sizes.items()
    }


def _one(*, positions: int, dtype: str, quick: bool) -> Result:
    data = measurement(positions=positions, detector=DETECTOR, dtype=dtype)
    streaming = Streaming(workers=processors())
    # Compiled code is loaded before memory is counted.
    wdd(corner(data, positions=16), streaming=streaming)
    _, memory = peak_beyond(partial(wdd, data, streaming=streaming))
    weights = wdd_weights(acquisition_of(data), streaming=streaming)
    best = best_in_turn(
        {
            "ours": partial(wdd, data, streaming=streaming),
            "weights kept": partial(wdd, data, weights=weights, streaming=streaming),
            "ssb": partial(ssb, data, streaming=streaming),
            "floor": partial(floor, disc_images(data)),
        },
        repeats=3 if quick else (15 if positions <= 64 else 5),
    )
    return Result(
        ours_s=best["ours"],
        floor_s=best["floor"],
        peers_s=peer_seconds("wdd", data),
        peak_memory_bytes=memory,
        size={"scan": [positions, positions], "detector": [DETECTOR, DETECTOR]},
        figures={
            "ratio_to_ssb": Figure(
                value=best["ours"] / best["ssb"],
                unit="1",
                at_most=None if quick else LARGEST_RATIO_TO_SSB,
            ),
            "with_weights_kept": Figure(value=best["weights kept"], unit="s"),
            "ssb": Figure(value=best["ssb"], unit="s"),
        },
    )
