"""The same bits of mean and counts, whatever the chunks and the workers."""

import numpy as np
import pytest
import xarray as xr

from echolith.forward.acquisition import AnnularDetector, Scan
from echolith.forward.blas_threads import one_blas_thread
from echolith.forward.noise import PoissonCounting
from echolith.forward.stem import Engine, Phonons, stem_mean
from tests.forward.small_specimen import BEAM, SIMULATION, acquisition, crystal

ROWS = 9
CHUNKS = (1, 7, ROWS)
WORKERS = (1, 2)


def mean_and_counts(
    engine: Engine, *, chunk: int | None, workers: int, spread: float, configurations: int
) -> xr.Dataset:
    beam = BEAM.model_copy(update={"source_spread": spread, "focal_spread": 20 * spread})
    taken = acquisition(
        scan=Scan(shape=(ROWS, 2), step=0.1),
        beam=beam,
        dose=1e3,
        haadf=AnnularDetector(inner=40, outer=50),
    )
    settings = SIMULATION.model_copy(
        update={
            "engine": engine,
            "chunk_rows": chunk,
            "minimum_box": 5.0,
            "sampling": 0.16,
            "phonons": Phonons(configurations=configurations, seed=5),
        }
    )
    mean = stem_mean(crystal(), acquisition=taken, simulation=settings)
    counts = PoissonCounting().sample(mean, seed=3)
    both = xr.Dataset({**mean, "drawn": counts.counts, "drawn_haadf": counts.haadf})
    return both.compute(scheduler="threads", num_workers=workers)


@pytest.mark.parametrize("engine", [Engine.MULTISLICE, Engine.TILED, Engine.PRISM, Engine.BLOCH])
@pytest.mark.parametrize(("spread", "configurations"), [(0.0, 0), (0.15, 2)])
def test_bits_do_not_depend_on_chunks_or_workers(
    engine: Engine, spread: float, configurations: int
) -> None:
    every = [
        mean_and_counts(
            engine, chunk=chunk, workers=workers, spread=spread, configurations=configurations
        )
        for chunk in CHUNKS
        for workers in WORKERS
    ]
    for other in every[1:]:
        assert set(other) == {"counts", "haadf", "drawn", "drawn_haadf"}
        for name in other:
            np.testing.assert_array_equal(other[name], every[0][name])


def test_blas_is_limited_until_the_last_caller_leaves() -> None:
    from threadpoolctl import threadpool_info

    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    before = threads()
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    assert threads() == {1}
    first.__exit__(None, None, None)
    assert threads() == {1}
    second.__exit__(None, None, None)
    assert threads() == before
