"""Random draws that belong to global positions, so that no chunking can change them.

A *unit* is one frame (one scan position of a variable with detector axes) or one row (first axis)
of a variable without. Every unit draws from a Philox generator with the key of
``echolith.seeds.sequence(seed, purpose, variable)`` and its counter at ``index * 2**64``, where
index counts the units in C order: 2**64 steps each, and about 1 µs to get there. So the same seed
gives the same bits whatever the chunking, the number of workers and the order of the calls.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.seeds import sequence

Array = npt.NDArray[Any]

BLOCK_BYTES = 1 << 24
"""Size of the pieces in which arrays in memory are shared out to workers."""


class BadPixelError(Exception):
    """A value that cannot be drawn from, at a flat index inside a unit."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


class Draw(Protocol):
    """Fills `drawn` (zeros, 1-D) from the values of one unit (1-D), in place."""

    def __call__(self, unit: Array, drawn: Array, random: np.random.Generator, /) -> None:
        """Raise `BadPixelError` where a value cannot be drawn from."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Layout:
    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    lead: int
    """Number of leading axes that count units."""


def draw_units(
    array: xr.DataArray, draw: Draw, *, dtype: np.dtype[Any], seed: int, purpose: str
) -> xr.DataArray:
    """Draw every unit of a variable.

    Parameters
    ----------
    array : xarray.DataArray
        Dask arrays stay lazy; axes inside a unit are then made whole.
    draw : Draw
        What to draw from the values of a unit.
    dtype : numpy.dtype
        Type of the result.
    seed : int
        The one seed of the run.
    purpose : str
        Names the stream, with the name of the variable.

    Returns
    -------
    xarray.DataArray
        Same dims, coords and attrs.

    Raises
    ------
    BadInputError
        Naming the position, when computed, where a value cannot be drawn from.
    """
    inner = [dim for dim in array.dims if str(dim).startswith("detector")]
    lead = [dim for dim in array.dims if dim not in inner]
    if not inner:
        lead, inner = lead[:1], lead[1:]
    ordered = array.transpose(*lead, *inner)
    layout = _Layout(
        name=str(array.name),
        dims=tuple(str(dim) for dim in ordered.dims),
        shape=ordered.shape,
        lead=len(lead),
    )
    key = sequence(seed, purpose, layout.name).generate_state(2, np.uint64)
    drawn = _map_units(
        ordered.data, partial(_draw_block, draw=draw, dtype=dtype, key=key, layout=layout), layout
    )
    return ordered.copy(data=drawn).transpose(*array.dims)


def _map_units(data: Any, block: Any, layout: _Layout) -> Any:
    lazy = isinstance(data, da.Array)
    blocks = data if lazy else _in_blocks(data)
    whole = blocks.rechunk(dict.fromkeys(range(layout.lead, blocks.ndim), -1))
    dtype = block.keywords["dtype"]
    drawn = whole.map_blocks(block, dtype=dtype, meta=np.empty((0,) * blocks.ndim, dtype))
    if not lazy:
        return drawn.compute()
    # Scan axes keep their chunks, so that all variables of a data set agree.
    scan = {axis: chunks for axis, chunks in enumerate(data.chunks) if _is_scan(layout, axis)}
    return drawn.rechunk(scan)


def _is_scan(layout: _Layout, axis: int) -> bool:
    return not layout.dims[axis].startswith("detector")


def _in_blocks(data: Array) -> Any:
    rows = max(1, BLOCK_BYTES * max(1, len(data)) // max(1, data.nbytes)) if data.ndim else 1
    chunks = (rows, *data.shape[1:])[: data.ndim]
    return da.from_array(data, chunks=chunks, name=False)  # type: ignore[no-untyped-call, unused-ignore]


def _draw_block(
    values: Array,
    *,
    draw: Draw,
    dtype: np.dtype[Any],
    key: Array,
    layout: _Layout,
    block_info: Any = None,
) -> Array:
    first = [start for start, _ in block_info[0]["array-location"]]
    drawn = np.zeros(values.shape, dtype)
    bits = np.random.Philox(key=key)
    random, state = np.random.Generator(bits), bits.state
    for index in np.ndindex(values.shape[: layout.lead]):
        at = tuple(i + start for i, start in zip(index, first, strict=False))
        unit = int(np.ravel_multi_index(at, layout.shape[: layout.lead])) if at else 0
        state["state"]["counter"][:] = (0, unit, 0, 0)
        bits.state = state
        mine = np.ascontiguousarray(values[index]).reshape(-1)
        try:
            draw(mine, drawn[(*index, ...)].reshape(-1), random)
        except BadPixelError as error:
            inside = np.unravel_index(error.index, values.shape[layout.lead :])
            position = (*at, *(int(i) for i in inside))
            raise BadInputError(f"{_place(layout, position)} {error}") from None
    return drawn


def _place(layout: _Layout, position: tuple[int, ...]) -> str:
    indices = ", ".join(f"{dim} {i}" for dim, i in zip(layout.dims, position, strict=True))
    return f"'{layout.name}' at pixel ({indices})" if indices else f"'{layout.name}'"
