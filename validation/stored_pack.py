"""A pack of samples in a file, of which one sample at a time is read."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from echolith import store
from echolith.dataset import MEASUREMENT, TRUTH, load, load_truth
from echolith.store import Format
from echolith.stored_array import StoredArray
from echolith.validation.packing import FORM, OWN_AXIS, SAMPLE, unpack

HELD_BYTES = 1 << 20
"""Variables up to this size, of all samples of a pack, are read at once and held."""


@dataclass(frozen=True, kw_only=True)
class StoredPack:
    """An open pack.

    Attributes
    ----------
    held : xarray.Dataset
        The pack; in memory but for what is in `stored`.
    stored : mapping of str to StoredArray
        Its large variables, of which one sample is read where it is asked for.
    """

    held: xr.Dataset
    stored: Mapping[str, StoredArray]

    def __getitem__(self, index: int) -> xr.Dataset:
        """Return one sample, in memory, for the caller alone."""
        alone: dict[str, xr.Variable] = {}
        for name, variable in self.held.variables.items():
            if str(name) in self.stored:
                cut = (slice(index, index + 1), *[slice(None)] * (variable.ndim - 1))
                values = self.stored[str(name)][cut]
                alone[str(name)] = xr.Variable(variable.dims, values, variable.attrs)
            elif SAMPLE in variable.dims:
                alone[str(name)] = variable[index : index + 1].copy()
            else:
                alone[str(name)] = variable.copy()
        pack = xr.Dataset(alone, attrs=self.held.attrs).set_coords(self.held.coords)
        return unpack(pack, 0)


def measured_pack(path: Path, names: Collection[str] | None) -> StoredPack:
    """Open the measurements of a shard; only variables of these names are kept."""
    return _opened(load(path, eager_bytes=HELD_BYTES), path, MEASUREMENT, names)


def true_pack(path: Path, measured: Path, names: Collection[str] | None) -> StoredPack:
    """Open the truths of a shard, which lie apart from what was measured (as `measured_pack`)."""
    truths = load_truth(path, measurement=measured, eager_bytes=HELD_BYTES)
    return _opened(truths, path, TRUTH, names)


def _opened(
    pack: xr.Dataset, path: Path, form: Format, names: Collection[str] | None
) -> StoredPack:
    if names is not None:
        pack = _chosen(pack, names)
    digest = str(store.root_attributes(path, form=form)["hash"])
    stored = {
        str(name): StoredArray(
            path=path.absolute(),
            name=f"/{form.group}/{name}",
            shape=variable.shape,
            dtype=variable.dtype,
            hash=digest,
        )
        for name, variable in pack.data_vars.items()
        if variable.chunks and SAMPLE in variable.dims
    }
    whole = {name: v.compute() for name, v in pack.data_vars.items() if str(name) not in stored}
    return StoredPack(held=pack.assign(whole), stored=stored)


def _chosen(pack: xr.Dataset, names: Collection[str]) -> xr.Dataset:
    """Return the variables of these names that a pack holds, and how its samples differ."""
    return pack.drop_vars(
        [name for name in pack.variables if str(name).removesuffix(OWN_AXIS) not in (*names, FORM)]
    )
