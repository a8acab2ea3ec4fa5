"""Where generated samples lie: a file of measurements, one of truths and one of rows a shard.

``train-00000.h5``, ``train-00000.truth.h5`` and, written last, ``train-00000.json``. A shard is a
fixed range of samples of one split, so that every machine makes the same files.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import xarray as xr

from echolith.atomic import whole_file
from echolith.dataset import content_hash, load, load_truth, save, save_truth, stored_hash, verify
from echolith.errors import BadInputError
from echolith.validation.generation import Generation, Made, Split
from echolith.validation.packing import SAMPLE, pack, unpack

PLAN = "generation.json"
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A range of samples that lie in one file.

    Attributes
    ----------
    split : Split
    number : int
        Within its split.
    samples : range
        Their indices.
    """

    split: Split
    number: int
    samples: range

    @property
    def name(self) -> str:
        """Of its files, without suffix."""
        return f"{self.split.value}-{self.number:05d}"


def shards(generation: Generation, size: int) -> Iterator[Shard]:
    """Return the shards of a generation, in order."""
    for split in Split:
        own = generation.samples(split)
        for number, start in enumerate(range(0, len(own), size)):
            yield Shard(split=split, number=number, samples=own[start : start + size])


@dataclass(frozen=True, kw_only=True)
class Place:
    """Folders of a generation.

    Attributes
    ----------
    folder : Path
    blind : Path, optional
        Folder for what a blind test must not show: the truth of the test, the seed, the priors.
    """

    folder: Path
    blind: Path | None = None

    @property
    def plan(self) -> Path:
        """Return the file that says what is generated."""
        return (self.blind or self.folder) / PLAN

    @property
    def manifest(self) -> Path:
        """Return the file that lists every sample."""
        return self.folder / MANIFEST

    def measurement(self, shard: Shard) -> Path:
        """Return the file of a shard's measurements."""
        return self.folder / f"{shard.name}.h5"

    def truth(self, shard: Shard) -> Path:
        """Return the file of a shard's truths."""
        hidden = self.blind if shard.split is Split.TEST else None
        return (hidden or self.folder) / f"{shard.name}.truth.h5"

    def rows(self, shard: Shard) -> Path:
        """Return the file of a shard's rows of the manifest."""
        return self.folder / f"{shard.name}.json"

    def open(self) -> None:
        """Make the folders.

        Raises
        ------
        BadInputError
            If they cannot be made or written in, or the blind one is shown with the other.
        """
        if self.blind is not None and self.folder.resolve() in [
            (inner := self.blind.resolve()),
            *inner.parents,
        ]:
            raise BadInputError(
                f"the blind folder {self.blind} lies in {self.folder}; choose one apart from it"
            )
        for folder in filter(None, (self.folder, self.blind)):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with TemporaryFile(dir=folder):
                    pass
            except OSError as error:
                raise BadInputError(
                    f"nothing can be written in '{folder}' ({error.strerror}); choose another "
                    "folder, or ask for the right to write there"
                ) from error

    def clear(self) -> None:
        """Take away what killed processes left half written."""
        for folder in filter(None, (self.folder, self.blind)):
            for left in folder.glob(".*.part"):
                left.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write plain values; the file is whole or not there."""
    with whole_file(path) as file:
        file.write((json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def write_shard(
    place: Place, shard: Shard, made: Sequence[Made], failures: dict[int, str]
) -> dict[str, Any]:
    """Write the samples of a shard and its rows of the manifest, the rows last.

    Returns
    -------
    dict
        The rows, as `finished` reads them.
    """
    content: dict[str, Any] = {"shard": shard.name, "split": shard.split.value}
    if made:
        measured = _packed([one.measurement for one in made], made)
        content["measurement_hash"] = save(measured, place.measurement(shard))
        truths = _packed([one.truth for one in made], made)
        content["truth_hash"] = content_hash(truths)
        save_truth(truths, place.truth(shard), measurement_hash=content["measurement_hash"])
    told = place.blind is None or shard.split is not Split.TEST
    content["samples"] = [
        {
            "sample": one.index,
            "row": row,
            **({"seed": one.seed} if told else {}),
            "hash": content_hash(_kept(one.measurement, place.measurement(shard), row)),
        }
        for row, one in enumerate(made)
    ]
    content["failures"] = {str(index): why for index, why in failures.items()}
    write_json(place.rows(shard), content)
    return content


def _kept(measurement: xr.Dataset, path: Path, row: int) -> xr.Dataset:
    """Return a measurement as it was saved where it is lazy: nothing is simulated twice."""
    return unpack(load(path), row) if measurement.chunks else measurement


def _packed(many: Sequence[xr.Dataset], made: Sequence[Made]) -> xr.Dataset:
    return pack(many).assign_coords({SAMPLE: (SAMPLE, np.array([one.index for one in made]))})


def finished(place: Place, shard: Shard) -> dict[str, Any] | None:
    """Return the rows of a shard that is whole and undamaged, None where it is not."""
    try:
        content = json.loads(place.rows(shard).read_text(encoding="utf-8"))
        _check_shard(place, shard, content)
    except (OSError, ValueError, KeyError, BadInputError):
        return None
    return dict(content)


def _check_shard(place: Place, shard: Shard, content: dict[str, Any]) -> None:
    listed = {row["sample"] for row in content["samples"]} | {int(i) for i in content["failures"]}
    if content["shard"] != shard.name or listed != set(shard.samples):
        raise BadInputError(f"{place.rows(shard)} lists other samples than {shard.name} holds")
    if not content["samples"]:
        return
    path = place.measurement(shard)
    verify(path)
    truth = load_truth(place.truth(shard), measurement=path)
    if content_hash(truth) != content["truth_hash"]:
        raise BadInputError(f"the contents of '{place.truth(shard)}' were changed")
    if stored_hash(path) != content["measurement_hash"]:
        raise BadInputError(f"'{path}' is not the file that its rows describe")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of generated samples.

    Raises
    ------
    BadInputError
        If the folder holds none.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return {**manifest, "rows": list(manifest["rows"]), "shards": list(manifest["shards"])}
    except OSError as error:
        raise BadInputError(
            f"{path} cannot be read: {error.strerror}; generate into this folder, or let a "
            "generation that was broken off come to its end"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{path} is no manifest of generated samples") from error


def check_shards(
    place: Place, *, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> list[str]:
    """Read all generated samples and return what is wrong, in words; empty: all are undamaged.

    Raises
    ------
    BadInputError
        If nothing was generated there.
    """
    listed = read_manifest(place.folder)["shards"]
    wrong = []
    for done, entry in enumerate(listed):
        progress(done, len(listed))
        split, number = entry["shard"].rsplit("-", 1)
        samples = range(entry["first"], entry["stop"])
        shard = Shard(split=Split(split), number=int(number), samples=samples)
        try:
            content = json.loads(place.rows(shard).read_text(encoding="utf-8"))
            _check_shard(place, shard, content)
            if content.get("measurement_hash") != entry["measurement_hash"]:
                raise BadInputError(f"{place.rows(shard)} is not what the manifest lists")
        except (OSError, ValueError, KeyError, BadInputError) as error:
            wrong.append(f"{shard.name}: {error}")
    return wrong
