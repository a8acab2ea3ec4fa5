"""PyTorch's own loader goes through samples, in an environment that has it."""

import json
import subprocess
from pathlib import Path

from tests.peers import environment_with
from tests.validation.test_samples import made, written

LOADED = """
import json, sys
from echolith.validation.samples import load_samples

assert "torch" not in sys.modules
from torch.utils.data import DataLoader

samples = load_samples(sys.argv[1])
told = {}
for workers in (0, 2):
    sampler = samples.sampler(seed=5)
    arrays = samples.arrays("counts", "truth.columns", masked=True)
    loader = DataLoader(
        arrays,
        batch_size=3,
        sampler=sampler,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
    )
    told[workers] = [
        [
            {name: (str(one.dtype), one.tolist()) for name, one in batch.items()}
            for batch in loader
        ]
        for epoch in range(2)
    ]
print(json.dumps(told))
"""


def test_two_workers_load_what_none_does(tmp_path: Path) -> None:
    written(tmp_path, [5, 1, 4])
    python = environment_with("torch", "echolith")
    done = subprocess.run(
        [python, "-c", LOADED, str(tmp_path)], check=True, capture_output=True, text=True
    )
    alone, shared = json.loads(done.stdout).values()
    assert alone == shared
    orders = [[n for batch in epoch for n in places(batch)] for epoch in alone]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]
    (kind, counts), (_, columns) = alone[0][0]["counts"], alone[0][0]["truth.columns"]
    assert kind == "torch.uint16"
    for index, found, places_found in zip(orders[0], counts, columns, strict=False):
        one = made(index)
        assert found == one.measurement["counts"].values.tolist()
        assert places_found[: one.truth.sizes["column"]] == one.truth["columns"].values.tolist()


def places(batch: dict[str, tuple[str, list[list[list[list[int]]]]]]) -> list[int]:
    return [rung[0][0][0] for rung in batch["counts"][1]]
