"""An HDF5 file with detector frames, open: its entries, and numbers by what they mean."""

import warnings
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError, BadInputWarning, near_match
from echolith.forward.stack_frames import check_sources
from echolith.forward.stack_quantities import (
    QUANTITIES,
    Kind,
    Quantity,
    candidates,
    datasets,
    given_value,
    in_unit,
    is_numeric,
    members,
)

Array = npt.NDArray[np.float64]

SAME = 1e-3
"""Degree, or a part of other numbers, by which what stands still may differ."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """An open file and what is known of it besides."""

    path: Path
    root: h5py.File
    given: Mapping[str, Any]

    @cached_property
    def frames(self) -> dict[str, h5py.Dataset]:
        """Frames of every entry that has any, by the entry's name."""
        groups = {
            name: found for name, found in members(self.root) if isinstance(found, h5py.Group)
        }
        entries = groups or {"/": self.root}
        wanted = [str(name) for name in np.atleast_1d(self.given.get("entries", list(entries)))]
        missing = [name for name in wanted if name not in entries]
        if missing:
            raise BadInputError(
                f"'{self.path}' has no entry {missing[0]!r}; {near_match(missing[0], entries)}"
            )
        found = {name: self._frames_of(entries[name]) for name in wanted}
        alike = self._alike({name: frames for name, frames in found.items() if frames is not None})
        for frames in alike.values():
            check_sources(frames)
        return alike

    def _alike(self, held: dict[str, h5py.Dataset]) -> dict[str, h5py.Dataset]:
        """Return the entries of the shape that most of the frames have; tell of others."""
        if not held:
            raise BadInputError(
                f"'{self.path}' holds no detector frames: no dataset of three or more axes; "
                "name it if it has another form: frames=..."
            )
        total: Counter[tuple[int, ...]] = Counter()
        for frames in held.values():
            total[frames.shape] += frames.size
        usual = total.most_common(1)[0][0]
        others = [name for name, frames in held.items() if frames.shape != usual]
        if others:
            warnings.warn(
                f"'{self.path}': frames of {', '.join(others)} have another shape than {usual} and "
                "are left out; if they belong to the rocking curve, they were broken off",
                BadInputWarning,
                stacklevel=5,
            )
        return {name: frames for name, frames in held.items() if frames.shape == usual}

    @cached_property
    def listed(self) -> dict[str, list[tuple[str, h5py.Dataset]]]:
        """Path and dataset of all that is in the entries with frames, by the entry's name."""
        return {name: list(datasets(self.root[name])) for name in self.frames}

    def found(self, quantity: Quantity) -> list[h5py.Dataset]:
        """Return what the first entry has under the names of a quantity, the best first."""
        return candidates(self.listed[self.names[0]], quantity)

    def _frames_of(self, entry: h5py.Group) -> h5py.Dataset | None:
        if "frames" in self.given:
            found = entry.get(str(self.given["frames"]))
            return found if isinstance(found, h5py.Dataset) and found.ndim >= 3 else None
        numeric = [d for _, d in datasets(entry) if d.ndim >= 3 and is_numeric(d)]
        return max(numeric, key=lambda d: d.size, default=None)

    @property
    def names(self) -> list[str]:
        """Entries with frames."""
        return list(self.frames)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the frames of one entry."""
        return tuple(self.frames[self.names[0]].shape)

    @property
    def parted(self) -> bool:
        """Whether there is an entry for each eta."""
        return len(self.frames) > 1

    def looked_up(
        self,
        name: str,
        *,
        entry: str | None = None,
        pixel: float | None = None,
        sizes: Container[int] | None = None,
    ) -> Array | None:
        """Return what is given, or what an entry holds under the names of a quantity.

        Parameters
        ----------
        name : str
            Of the quantity.
        entry : str, optional
            The first one by default.
        pixel : float, optional
            Size of one, m.
        sizes : container of int, optional
            How many numbers there may be; the first dataset of such a size is taken.
        """
        entry = entry or self.names[0]
        quantity, given = QUANTITIES[name], self.given.get(name)
        if isinstance(given, str):
            found = self.root[entry].get(given)
            if not isinstance(found, h5py.Dataset):
                raise BadInputError(f"'{self.path}', {entry}: there is no dataset '{given}'")
            return in_unit(found, quantity, pixel=pixel)
        if given is not None:
            return given_value(name, given, expected=quantity.kind.value)
        fitting = [
            one
            for one in candidates(self.listed[entry], quantity)
            if sizes is None or one.size in sizes
        ]
        return in_unit(fitting[0], quantity, pixel=pixel) if fitting else None

    def standing(self, name: str, *, pixel: float | None = None) -> float | None:
        """Return a number that is one for all frames; None where it is not told."""
        found = [self.looked_up(name, entry=entry, pixel=pixel) for entry in self.names]
        told = [np.ravel(values) for values in found if values is not None]
        if not told:
            return None
        values = np.concatenate(told)
        allowed = SAME * (1 if QUANTITIES[name].kind is Kind.ANGLE else abs(values.mean()))
        if not np.ptp(values) <= allowed:
            raise BadInputError(
                f"'{self.path}': {name} is {values.min():g} to {values.max():g} "
                f"{QUANTITIES[name].kind.value}; expected one value while eta is scanned"
            )
        return float(values.mean())
