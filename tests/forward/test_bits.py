"""The same bits of mean and counts, whatever the chunks and the workers."""

import numpy as np
import pytest
import xarray as xr

from echolith.forward.acquisition import AnnularDetector, Scan
from echolith.forward.fixed_product import fixed_product
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


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_a_product_does_not_depend_on_its_other_rows(rows: int) -> None:
    random = np.random.default_rng(2)
    left, right = (
        (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(np.complex64)
        for shape in ((64, 90), (90, 1100))
    )
    ours = fixed_product(left[:rows], right)
    np.testing.assert_array_equal(ours, fixed_product(left, right)[:rows])
    # 90 terms of size 1 in single precision.
    np.testing.assert_allclose(ours, left[:rows].astype(complex) @ right, atol=90 * 6e-8 * 4)
