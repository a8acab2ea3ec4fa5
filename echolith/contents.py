"""What a data set holds, streamed in blocks of rows, and its hash.

The hash names the contents: names, dims, types, attributes and values. It does not depend on
chunks, compression or workers: every *unit* (a whole variable up to `WHOLE_BYTES`, else one index
of its first axis) is hashed by itself, and the hash is that of the description followed by the
hashes of all units, variables in alphabetical order.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask import delayed  # type: ignore[attr-defined, unused-ignore]
from dask.system import CPU_COUNT

from echolith.attributes import Plain, plain_attributes, plain_name, plain_text, storable_type

Array = npt.NDArray[Any]

WHOLE_BYTES = 1 << 25
"""Variables up to this size are kept, hashed and written whole."""
BLOCK_BYTES = 1 << 25
"""Size of the blocks in which arrays in memory are passed to workers."""
BATCH_BYTES = 1 << 28
"""Blocks computed at a time hold about this much, or are a single one."""
RESERVED = ("dims", "role")


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One variable or coordinate as it is stored."""

    name: str
    role: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    """Little-endian; object for text."""
    attrs: dict[str, Plain]

    @property
    def is_text(self) -> bool:
        """Whether the values are strings."""
        return self.dtype == object

    @property
    def whole(self) -> bool:
        """Whether the variable is one unit; else each index of its first axis is one."""
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        return self.is_text or len(self.shape) < 2 or size <= WHOLE_BYTES

    def description(self) -> dict[str, Any]:
        """Return all but the values."""
        return {
            "name": self.name,
            "role": self.role,
            "dims": self.dims,
            "shape": self.shape,
            "dtype": self.dtype.str,
            "attrs": self.attrs,
        }


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A data set in storable form."""

    variables: tuple[Variable, ...]
    """In alphabetical order."""
    attrs: dict[str, Plain]
    data: Mapping[str, Any] = field(repr=False)
    """Numpy or dask array by name."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Consecutive units of one variable, from index `start` of its first axis."""

    variable: Variable
    start: int
    encoded: list[Any]
    digests: list[bytes]


Encode = Callable[[Variable, Array], Any]
Progress = Callable[[int, int], None]


def contents(dataset: xr.Dataset) -> Contents:
    """Describe a data set; refuse what cannot be stored."""
    variables = []
    for name, variable in dataset.variables.items():
        role = "coordinate" if name in dataset.coords else "variable"
        dims = tuple(plain_name(dim, "dimension") for dim in variable.dims)
        where = f"variable '{name}'"
        variables.append(
            Variable(
                name=plain_name(name, "variable"),
                role=role,
                dims=dims,
                shape=variable.shape,
                dtype=storable_type(np.dtype(variable.dtype), where),
                attrs=plain_attributes(variable.attrs, where, RESERVED),
            )
        )
    return Contents(
        variables=tuple(sorted(variables, key=lambda v: v.name)),
        attrs=plain_attributes(dataset.attrs, "the data set", ()),
        data={str(name): variable.data for name, variable in dataset.variables.items()},
    )


class Hasher:
    """Collects the hashes of units, in any order of variables."""

    def __init__(self, described: Contents) -> None:
        self._contents = described
        self._units: dict[str, Any] = {v.name: hashlib.blake2b() for v in described.variables}

    def add(self, piece: Piece) -> None:
        """Add the next units of a variable."""
        for digest in piece.digests:
            self._units[piece.variable.name].update(digest)

    def hexdigest(self) -> str:
        """Return the hash of all, 64 hexadecimal digits."""
        header = {
            "attrs": self._contents.attrs,
            "variables": [variable.description() for variable in self._contents.variables],
        }
        total = hashlib.blake2b(json.dumps(header, sort_keys=True).encode(), digest_size=32)
        for variable in self._contents.variables:
            total.update(self._units[variable.name].digest())
        return total.hexdigest()


def content_hash(dataset: xr.Dataset) -> str:
    """Return the hash of a data set's contents, the same for every chunking.

    Examples
    --------
    >>> content_hash(xr.Dataset({"a": ("x", [1, 2])}))[:8]
    '9c5037a3'
    """
    described = contents(dataset)
    hasher = Hasher(described)
    for piece in stream(described, encode=lambda _variable, _unit: None):
        hasher.add(piece)
    return hasher.hexdigest()


def stream(
    described: Contents, *, encode: Encode, progress: Progress | None = None
) -> Iterator[Piece]:
    """Compute a data set block by block of rows and yield its encoded units.

    Variables with the same first axis go side by side, so that what they share is computed once.
    The memory taken is that of a batch of blocks, plus the variables that are kept whole.

    Parameters
    ----------
    described : Contents
    encode : callable
        Called by workers on every unit; what it returns is in the pieces.
    progress : callable, optional
        Told (blocks done, blocks in all).

    Yields
    ------
    Piece
        The units of a variable in order.
    """
    groups = _groups(described)
    total = sum(len(group.edges) - 1 for group in groups)
    done = 0
    for group in groups:
        kept: dict[str, list[Array]] = {}
        for batch in group.batches():
            tasks = [
                delayed(_encode_block)(variable, _rows(group.data[variable.name], rows), encode)
                for rows in batch
                for variable in group.variables
            ]
            results = iter(dask.compute(*tasks))  # type: ignore[attr-defined, no-untyped-call, unused-ignore]
            for rows in batch:
                for variable in group.variables:
                    result = next(results)
                    if variable.whole:
                        kept.setdefault(variable.name, []).append(result)
                    else:
                        yield _piece(variable, rows.start, result)
                done += 1
                if progress is not None:
                    progress(done, total)
        for variable in group.variables:
            if variable.whole:
                yield _whole(variable, np.concatenate(kept.pop(variable.name)), encode)
    for variable in described.variables:
        if not any(variable in group.variables for group in groups):
            yield _whole(variable, described.data[variable.name], encode)


@dataclass(frozen=True, kw_only=True)
class _Group:
    variables: tuple[Variable, ...]
    data: Mapping[str, Any]
    edges: tuple[int, ...]

    def batches(self) -> Iterator[list[slice]]:
        """Blocks of rows, as many at a time as are worth computing together."""
        row_bytes = sum(
            int(np.prod(v.shape[1:])) * v.dtype.itemsize for v in self.variables if v.shape[0]
        )
        most = 4 * (dask.config.get("num_workers", None) or CPU_COUNT)
        batch: list[slice] = []
        for start, stop in pairwise(self.edges):
            batch.append(slice(start, stop))
            held = (stop - batch[0].start) * row_bytes
            if len(batch) >= most or held + (stop - start) * row_bytes > BATCH_BYTES:
                yield batch
                batch = []
        if batch:
            yield batch


def _groups(described: Contents) -> list[_Group]:
    """Variables to be streamed, those with the same first axis together."""
    by_axis: dict[str, list[Variable]] = {}
    for variable in described.variables:
        streamed = isinstance(described.data[variable.name], da.Array) or not variable.whole
        if streamed and variable.shape and all(variable.shape) and not variable.is_text:
            by_axis.setdefault(variable.dims[0], []).append(variable)
    groups = []
    for members in by_axis.values():
        data = {v.name: _blocks(described.data[v.name]) for v in members}
        edges = set.intersection(*(_edges(block) for block in data.values()))
        groups.append(_Group(variables=tuple(members), data=data, edges=tuple(sorted(edges))))
    return groups


def _rows(data: Any, rows: slice) -> Any:
    """Rows as one task; not optimised by itself, so that tasks shared by variables stay shared."""
    return data[rows].rechunk(-1).to_delayed(optimize_graph=False).item()


def _blocks(data: Any) -> Any:
    if isinstance(data, da.Array):
        return data
    rows = max(1, BLOCK_BYTES * len(data) // data.nbytes)
    return da.from_array(data, chunks=(rows, *data.shape[1:]), name=False)  # type: ignore[no-untyped-call, unused-ignore]


def _edges(data: da.Array) -> set[int]:
    return {0, *(int(edge) for edge in np.cumsum(data.chunks[0]))}


def _encode_block(variable: Variable, values: Array, encode: Encode) -> Any:
    values = _little_endian(variable, values)
    if variable.whole:
        return values
    return [(encode(variable, row), _digest(row)) for row in values]


def _piece(variable: Variable, start: int, result: list[tuple[Any, bytes]]) -> Piece:
    return Piece(
        variable=variable,
        start=start,
        encoded=[encoded for encoded, _ in result],
        digests=[digest for _, digest in result],
    )


def _whole(variable: Variable, data: Any, encode: Encode) -> Piece:
    if variable.is_text:
        where = f"a value of variable '{variable.name}'"
        values = np.array([plain_text(item, where) for item in np.asarray(data).flat], dtype=object)
        values = values.reshape(variable.shape)
        digest = hashlib.blake2b(json.dumps(values.ravel().tolist()).encode()).digest()
    else:
        values = _little_endian(variable, np.asarray(data))
        digest = _digest(values)
    return _piece(variable, 0, [(encode(variable, values), digest)])


def _little_endian(variable: Variable, values: Array) -> Array:
    # asarray with order, as ascontiguousarray makes scalars 1-D
    return np.asarray(values, dtype=variable.dtype, order="C")


def _digest(values: Array) -> bytes:
    return hashlib.blake2b(values.reshape(-1).view(np.uint8).data).digest()
