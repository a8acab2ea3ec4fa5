"""Generated samples as a sequence: what training, or PyTorch's ``DataLoader``, goes through.

Nothing here needs PyTorch: a length, an index and an order are all that it asks for.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import xarray as xr

from echolith.dataset import load, load_truth
from echolith.errors import BadInputError
from echolith.seeds import stream
from echolith.validation.generation import Split
from echolith.validation.generation_files import read_manifest
from echolith.validation.pack_merging import merged
from echolith.validation.sample_arrays import TRUTH, Array, FixedShape, arrays_of, fixed_shapes
from echolith.validation.stored_pack import HELD_BYTES, StoredPack, measured_pack, true_pack

T = TypeVar("T")

MIXED = 4
"""Shards whose samples are mixed; that many are open at a time."""


class LabelledSample(NamedTuple):
    """A measurement with its truth; None where the truth is kept apart."""

    measurement: xr.Dataset
    truth: xr.Dataset | None


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples of a split, read one by one when they are asked for.

    It has a length, an index and can be pickled, which is all that PyTorch's ``DataLoader`` asks of
    a data set; every worker opens files for itself.

    Attributes
    ----------
    folder : Path
        With a ``manifest.json``.
    rows : tuple
        Of the manifest.
    names : tuple of str, optional
        Variables that are read, those of the truth as ``truth.<name>``; None: all.
    """

    folder: Path
    rows: tuple[dict[str, Any], ...]
    names: tuple[str, ...] | None = None
    _opened: dict[str, tuple[StoredPack, StoredPack | None]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.rows)

    def __getitem__(self, index: int) -> LabelledSample:
        """Return one sample, in memory."""
        row = self.rows[index]
        measured, truth = self._shard(row["shard"])
        return LabelledSample(measured[row["row"]], None if truth is None else truth[row["row"]])

    def __iter__(self) -> Iterator[LabelledSample]:
        """Go through all samples in order."""
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it opens files for itself."""
        return {"folder": self.folder, "rows": self.rows, "names": self.names, "_opened": {}}

    def transformed(self, function: Callable[[LabelledSample], T]) -> "Transformed[T]":
        """Return what a function makes of each sample, when it is asked for.

        Parameters
        ----------
        function : callable
            ``function(sample)``; where workers are started afresh, one that can be pickled.
        """
        return Transformed(samples=self, function=function)

    def arrays(self, *names: str, masked: bool = False) -> "Transformed[dict[str, Array]]":
        """Return samples as NumPy arrays by name, of one shape in all of them.

        Parameters
        ----------
        *names : str
            Variables and coordinates of the measurement; with ``truth.`` before them, of the truth,
            e.g. ``"counts", "truth.setting.size"``. No other is read.
        masked : bool
            Fill arrays that are smaller in some samples up with zeros, and add
            ``"<name>.mask"``: True where they hold values.

        Raises
        ------
        BadInputError
            If there is no such variable, it is text, or its shape differs and is not to be masked.
        """
        shards = (self._whole(shard, eager_bytes=HELD_BYTES) for shard in self._shards())
        packs = ({"": m, **({} if t is None else {TRUTH: t})} for m, t in shards)
        shapes = fixed_shapes(names, packs, masked=masked)
        return replace(self, names=names).transformed(partial(_arrays, shapes=shapes))

    def dataset(self) -> LabelledSample:
        """Return all samples as one measurement and one truth along ``sample``, lazily.

        Smaller ones are padded: NaN, 0, empty text;
        ``echolith.validation.packing.unpack(dataset, i)`` is a sample as it was made.
        """
        packs = [self._whole(shard, eager_bytes=0) for shard in self._shards()]
        truths = [truth for _, truth in packs if truth is not None]
        return LabelledSample(
            merged([measured for measured, _ in packs]), merged(truths) if truths else None
        )

    def order(self, *, seed: int) -> list[int]:
        """Return the indices of all samples in random order, that of a few shards at a time.

        Parameters
        ----------
        seed : int
            Another for every epoch.
        """
        draw, shards = stream(seed, "shuffle"), list(self._shards().values())
        drawn = [shards[n] for n in draw.permutation(len(shards))]
        groups = [list(chain(*drawn[n : n + MIXED])) for n in range(0, len(drawn), MIXED)]
        return [group[n] for group in groups for n in draw.permutation(len(group))]

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
        order = self.order(seed=seed)
        ends = [len(order) * n // workers for n in (worker, worker + 1)]
        # Parts lie in one piece, so that workers read other shards.
        return (self[index] for index in order[slice(*ends)])

    def sampler(self, *, seed: int) -> "Sampler":
        """Return the order of every epoch, for ``DataLoader(..., sampler=...)``."""
        return Sampler(samples=self, seed=seed)

    def _shards(self) -> dict[str, list[int]]:
        """Return the indices of the samples of every shard."""
        shards: dict[str, list[int]] = {}
        for index, row in enumerate(self.rows):
            shards.setdefault(row["shard"], []).append(index)
        return shards

    def _paths(self, shard: str) -> tuple[Path, Path | None]:
        truth = self.folder / f"{shard}.truth.h5"
        return self.folder / f"{shard}.h5", truth if truth.exists() else None

    def _whole(self, shard: str, *, eager_bytes: float) -> LabelledSample:
        path, truth = self._paths(shard)
        measured = load(path, eager_bytes=eager_bytes)
        if truth is None:
            return LabelledSample(measured, None)
        return LabelledSample(
            measured, load_truth(truth, measurement=path, eager_bytes=eager_bytes)
        )

    def _shard(self, name: str) -> tuple[StoredPack, StoredPack | None]:
        if name not in self._opened:
            while len(self._opened) >= MIXED:
                self._opened.pop(next(iter(self._opened)))
            path, truth = self._paths(name)
            measured, true = _parted(self.names)
            told = true_pack(truth, path, true) if truth and true != () else None
            self._opened[name] = measured_pack(path, measured), told
        return self._opened[name]


@dataclass(frozen=True, kw_only=True)
class Transformed(Generic[T]):
    """What a function makes of samples, when they are asked for: a data set as `Samples` is.

    Attributes
    ----------
    samples : Samples
    function : callable
    """

    samples: Samples
    function: Callable[[LabelledSample], T]

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.samples)

    def __getitem__(self, index: int) -> T:
        """Return what the function makes of one sample."""
        return self.function(self.samples[index])


@dataclass(kw_only=True)
class Sampler:
    """Orders of samples for ``DataLoader(samples, sampler=...)``, another each epoch.

    They are drawn where the loader is, so batches are the same for any number of its workers.

    Attributes
    ----------
    samples : Samples
    seed, epoch : int
        `epoch` goes up with each that is begun; ``set_epoch`` goes on where a training left off.
    """

    samples: Samples
    seed: int
    epoch: int = 0

    def __len__(self) -> int:
        """Return how many samples an epoch has."""
        return len(self.samples)

    def __iter__(self) -> Iterator[int]:
        """Begin an epoch."""
        order = self.samples.order(seed=self.seed + self.epoch)
        self.epoch += 1
        return iter(order)

    def set_epoch(self, epoch: int) -> None:
        """Let the next epoch be this one."""
        self.epoch = epoch


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


def _parted(
    names: Sequence[str] | None,
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Return names of variables of the measurement, and of the truth."""
    if names is None:
        return None, None
    true = tuple(name.removeprefix(TRUTH) for name in names if name.startswith(TRUTH))
    return tuple(name for name in names if not name.startswith(TRUTH)), true


def _arrays(sample: LabelledSample, *, shapes: dict[str, FixedShape]) -> dict[str, Array]:
    return arrays_of({"": sample.measurement, TRUTH: sample.truth}, shapes=shapes)
