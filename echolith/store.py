"""Data sets in HDF5, plainly laid out, streamed in and out.

Layout: the root attributes ``format``, ``schema_version``, ``hash`` (see `echolith.contents`),
``variables`` (names of all) and, written last, ``complete = 1``. One group, ``/measurement`` or as
named by the format, holds the data set's attributes and one HDF5 dataset per variable or
coordinate, each with the attributes ``dims`` (list of names; absent for scalars), ``role``
(``"variable"`` or ``"coordinate"``) and its own (``units`` ...). Text is UTF-8 of variable length.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.atomic import whole_file
from echolith.attributes import Plain
from echolith.compression import (
    Compression,
    dataset_options,
    deflate_row,
    enable_filters,
    row_chunk,
    whole_chunk,
)
from echolith.contents import Contents, Hasher, Piece, Progress, Variable, contents, stream
from echolith.errors import BadInputError
from echolith.hdf5_files import unreadable
from echolith.stored_array import StoredArray, lazy

Array = npt.NDArray[Any]

SCHEMA_VERSION = 1
HDF5 = ("v110", "v110")
"""Oldest and newest HDF5 (1.10, 2016) that the file is laid out for: half the size of the oldest
layout where there are many small groups, and what virtual datasets need."""


class Faces(Protocol):
    """Adds what other programs look for to a file that holds a data set."""

    def __call__(self, root: h5py.File, dataset: xr.Dataset, /, *, group: str) -> None:
        """Add it; ``group`` holds the variables."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file: what it calls itself, and the group that holds the data set."""

    name: str
    group: str
    what: str
    """For messages: "a measurement"."""


def write(
    dataset: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    form: Format,
    compression: Compression = Compression.SHARE,
    marks: Mapping[str, str] | None = None,
    faces: Faces | None = None,
    progress: Progress | None = None,
) -> str:
    """Write a data set; nothing appears under the name before it is whole.

    Parameters
    ----------
    dataset : xarray.Dataset
        Numbers, booleans and text; dask arrays are computed block by block of rows.
    path : path
        Replaced if it exists.
    form : Format
    compression : Compression
    marks : mapping of str, optional
        More root attributes.
    faces : callable, optional
        ``faces(root, dataset, group=...)`` adds links for other programs once all is stored.
    progress : callable, optional
        Told (row blocks done, row blocks in all).

    Returns
    -------
    str
        The hash of the contents.

    Raises
    ------
    BadInputError
        If something in the data set cannot be stored, or the folder does not exist.
    OSError
        If the disk is full or the file cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise BadInputError(f"there is no folder '{path.parent}' to save '{path.name}' in; make it")
    described, options = contents(dataset), dataset_options(compression)
    hasher = Hasher(described)
    encode = partial(_encode, compression)
    with whole_file(path) as file, h5py.File(file, "w", libver=HDF5) as root:
        group = root.create_group(form.group)
        _write_attributes(group, described.attrs)
        for piece in stream(described, encode=encode, progress=progress):
            _write_piece(group, piece, options, compression)
            hasher.add(piece)
            file.check()
        _write_attributes(root, _root_attributes(form, described, hasher) | dict(marks or {}))
        if faces is not None:
            faces(root, dataset, group=form.group)
        root.flush()
        file.check()
        root.attrs["complete"] = 1
    return hasher.hexdigest()


def read(path: str | os.PathLike[str], *, form: Format, eager_bytes: float = 0) -> xr.Dataset:
    """Read a data set.

    Parameters
    ----------
    path : path
    form : Format
    eager_bytes : float
        Variables up to this size are read now; larger ones of numbers are dask arrays that open the
        file when computed.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    BadInputError
        If the file is missing, not HDF5, truncated, incomplete, of another kind, newer than this
        version reads, or lacks a variable.
    """
    path = Path(path)
    with _open(path, form) as root:
        group = root[form.group]
        stored = {n: _read_variable(path, root, group[n], eager_bytes) for n in _names(root)}
        roles = {name: group[name].attrs["role"] for name in stored}
        attrs = _read_attributes(group)
    return xr.Dataset(
        {name: v for name, v in stored.items() if roles[name] == "variable"},
        coords={name: v for name, v in stored.items() if roles[name] == "coordinate"},
        attrs=attrs,
    )


def root_attributes(path: str | os.PathLike[str], *, form: Format) -> dict[str, Plain]:
    """Read what a file says of itself: format, schema_version, hash and more (as `read` raises)."""
    with _open(Path(path), form) as root:
        return _read_attributes(root)


def format_name(path: str | os.PathLike[str]) -> str | None:
    """Return the name of the format of an HDF5 file, None where it is not one of ours."""
    try:
        with h5py.File(path, "r") as root:
            name = root.attrs.get("format")
            return name if isinstance(name, str) else None
    except OSError:
        return None


def _root_attributes(form: Format, described: Contents, hasher: Hasher) -> dict[str, Plain]:
    return {
        "format": form.name,
        "schema_version": SCHEMA_VERSION,
        "hash": hasher.hexdigest(),
        "variables": [variable.name for variable in described.variables],
    }


def _encode(compression: Compression, variable: Variable, unit: Array) -> Any:
    if variable.whole or compression is not Compression.SHARE:
        return unit
    return deflate_row(unit, row_chunk(variable.shape, variable.dtype.itemsize))


def _write_piece(
    group: h5py.Group, piece: Piece, options: Mapping[str, Any], compression: Compression
) -> None:
    variable = piece.variable
    if variable.name not in group:
        _create(group, variable, options)
    target = group[variable.name]
    if variable.whole:
        target[...] = piece.encoded[0]
        return
    for row, encoded in enumerate(piece.encoded, start=piece.start):
        if compression is not Compression.SHARE:
            target[row] = encoded
            continue
        for part, data in enumerate(encoded):
            corner = (row, part * target.chunks[1], *(0 for _ in target.shape[2:]))
            target.id.write_direct_chunk(corner, data)


def _create(group: h5py.Group, variable: Variable, options: Mapping[str, Any]) -> None:
    dtype = h5py.string_dtype() if variable.is_text else variable.dtype
    layout: dict[str, Any] = {}
    if variable.shape and all(variable.shape) and not variable.is_text:
        cut = whole_chunk if variable.whole else row_chunk
        layout = {"chunks": cut(variable.shape, variable.dtype.itemsize), **options}
    target = group.create_dataset(variable.name, shape=variable.shape, dtype=dtype, **layout)
    _write_attributes(target, {**variable.attrs, "role": variable.role})
    if variable.dims:
        target.attrs["dims"] = list(variable.dims)


def _write_attributes(target: Any, attrs: Mapping[str, Any]) -> None:
    for name, value in attrs.items():
        empty = isinstance(value, list) and not value
        target.attrs[name] = np.zeros(0) if empty else value


def _open(path: Path, form: Format) -> h5py.File:
    if not path.is_file():
        raise BadInputError(f"there is no file '{path}'")
    try:
        root = h5py.File(path, "r")
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        _check(path, root, form)
    except BaseException:
        root.close()
        raise
    return root


def _check(path: Path, root: h5py.File, form: Format) -> None:
    found = root.attrs.get("format")
    if found != form.name:
        raise BadInputError(
            f"'{path}' is not {form.what}: its root attribute 'format' is {found!r}, expected "
            f"{form.name!r}"
        )
    version = int(root.attrs.get("schema_version", 0))
    if version > SCHEMA_VERSION:
        raise BadInputError(
            f"'{path}' has schema version {version}; this version of echolith reads up to "
            f"{SCHEMA_VERSION}: update echolith"
        )
    if root.attrs.get("complete") != 1:
        raise BadInputError(f"'{path}' is incomplete: writing it was cut off; save it again")
    missing = [
        name for name in _names(root) if form.group not in root or name not in root[form.group]
    ]
    if missing or form.group not in root:
        raise BadInputError(
            f"'{path}' lacks the variables {', '.join(missing) or 'of ' + form.group}; it was "
            "changed after it was saved"
        )


def _names(root: h5py.File) -> list[str]:
    return [str(name) for name in _plain(root.attrs.get("variables", []))]


def _read_variable(
    path: Path, root: h5py.File, source: h5py.Dataset, eager_bytes: float
) -> xr.Variable:
    enable_filters(source)
    attrs = _read_attributes(source)
    dims = attrs.pop("dims", [])
    role = attrs.pop("role")
    if h5py.check_string_dtype(source.dtype):
        text = source.asstr()[...] if source.shape else np.array(source.asstr()[()])
        data: Any = np.asarray(text, dtype=np.str_)
    elif source.nbytes <= eager_bytes or role == "coordinate":
        data = np.asarray(source[...])
    else:
        data = lazy(StoredArray.of(path, source, str(root.attrs["hash"])))
    return xr.Variable(dims, data, attrs)


def _read_attributes(source: Any) -> dict[str, Plain]:
    return {str(name): _plain(value) for name, value in source.attrs.items()}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
