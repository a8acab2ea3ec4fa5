"""Generated samples as a sequence: what training, or PyTorch's ``DataLoader``, goes through."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from echolith.dataset import load, load_truth
from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.validation.generation import Split
from echolith.validation.generation_files import read_manifest
from echolith.validation.packing import unpack


class LabelledSample(NamedTuple):
    """A measurement with its truth; None where the truth is kept apart."""

    measurement: xr.Dataset
    truth: xr.Dataset | None


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples of a split, read when they are asked for.

    It has a length, an index and can be pickled, which is all that PyTorch's ``DataLoader`` asks of
    a data set; a shard's file is opened by each worker for itself.

    Attributes
    ----------
    folder : Path
        With a ``manifest.json``.
    rows : tuple
        Of the manifest.
    """

    folder: Path
    rows: tuple[dict[str, Any], ...]
    _opened: dict[str, tuple[xr.Dataset, xr.Dataset | None]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.rows)

    def __getitem__(self, index: int) -> LabelledSample:
        """Return one sample, in memory."""
        row = self.rows[index]
        measured, truth = self._shard(row["shard"])
        return LabelledSample(
            unpack(measured, row["row"]).compute(),
            None if truth is None else unpack(truth, row["row"]),
        )

    def __iter__(self) -> Iterator[LabelledSample]:
        """Go through all samples in order."""
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it opens files for itself."""
        return {"folder": self.folder, "rows": self.rows, "_opened": {}}

    def shuffled(self, *, seed: int, worker: int = 0, workers: int = 1) -> Iterator[LabelledSample]:
        """Go through all samples once in random order, or through the part of one of `workers`.

        Parameters
        ----------
        seed : int
            Another for every epoch; the same in all workers.
        worker, workers : int
            Which part, of how many: parts do not overlap, together they are all samples.
        """
        if not 0 <= worker < workers:
            raise BadInputError(f"worker {worker} of {workers}; expected 0 to {workers - 1}")
        order = stream(seed, "shuffle").permutation(len(self))
        return (self[int(index)] for index in order[worker::workers])

    def _shard(self, name: str) -> tuple[xr.Dataset, xr.Dataset | None]:
        if name not in self._opened:
            path, truth = self.folder / f"{name}.h5", self.folder / f"{name}.truth.h5"
            told = load_truth(truth, measurement=path) if truth.exists() else None
            self._opened.clear()  # one shard at a time: memory stays that of one
            self._opened[name] = load(path), told
        return self._opened[name]


def load_samples(folder: str | Path, *, split: Split = Split.TRAIN) -> Samples:
    """Open the samples that `echolith.validation.generation_engine.generate` wrote.

    Parameters
    ----------
    folder : path
    split : Split

    Raises
    ------
    BadInputError
        If the folder holds no finished generation.
    """
    manifest = read_manifest(Path(folder))
    rows = tuple(row for row in manifest["rows"] if row["split"] == split.value)
    return Samples(folder=Path(folder), rows=rows)
