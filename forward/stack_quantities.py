"""Find motors and the detector's geometry in an HDF5 file by the names that beam lines use.

Names are those of NeXus (NXpositioner, NXdetector, NXmonochromator) and of the diffraction beam
lines whose goniometers are described with eta, phi, nu and delta.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from scipy import constants

from echolith.errors import BadInputError

Array = npt.NDArray[np.float64]

DEEPEST = 7
"""Groups below each other that are looked into; links may lead in circles."""
VALUES = ("value", "data")
"""Datasets that are named after the group they are in (``eta/value``)."""
LAST_CHOICE = ("positioners_start", "positioners_end", "positioners_dial_start")


class Kind(Enum):
    """What a number is, and the unit it is returned in."""

    ANGLE = "°"
    ENERGY = "eV"
    LENGTH = "m"
    PIXEL = "pixels"
    NUMBER = "1"


FACTORS: Mapping[Kind, Mapping[str, float]] = {
    Kind.ANGLE: {"deg": 1, "degree": 1, "degrees": 1, "°": 1, "rad": 180 / np.pi},
    Kind.ENERGY: {"ev": 1, "kev": 1e3, "j": 1 / constants.e},
    Kind.LENGTH: {
        "m": 1, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "μm": 1e-6, "micron": 1e-6,
        "nm": 1e-9, "å": 1e-10, "angstrom": 1e-10, "a": 1e-10,
    },
    Kind.PIXEL: {"pixel": 1, "pixels": 1, "px": 1},
    Kind.NUMBER: {},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number of the geometry: what it is called, and its unit where none is said."""

    names: tuple[str, ...]
    """In lower case, the best first."""
    kind: Kind
    plain: tuple[tuple[float, float], ...] = ()
    """Without a unit: up to this value, this factor."""
    needed: bool = True


QUANTITIES: Mapping[str, Quantity] = {
    "eta": Quantity(names=("eta",), kind=Kind.ANGLE),
    "phi": Quantity(names=("phi",), kind=Kind.ANGLE),
    "nu": Quantity(names=("nu",), kind=Kind.ANGLE),
    "delta": Quantity(names=("delta", "del"), kind=Kind.ANGLE),
    "energy": Quantity(
        names=("energy", "incident_energy", "mononrj", "nrj"),
        kind=Kind.ENERGY,
        plain=((999, 1e3), (np.inf, 1)),
    ),
    "distance": Quantity(
        names=("distance", "detector_distance"), kind=Kind.LENGTH, plain=((20, 1), (np.inf, 1e-3))
    ),
    "pixel_size": Quantity(
        names=("x_pixel_size", "y_pixel_size", "pixel_size"),
        kind=Kind.LENGTH,
        plain=((1e-3, 1), (1, 1e-3), (np.inf, 1e-6)),
    ),
    "beam_center_x": Quantity(names=("beam_center_x",), kind=Kind.PIXEL, plain=((np.inf, 1),)),
    "beam_center_y": Quantity(names=("beam_center_y",), kind=Kind.PIXEL, plain=((np.inf, 1),)),
    "scan_x": Quantity(
        names=("pix_position", "pix", "sample_x", "scan_x"),
        kind=Kind.LENGTH,
        plain=((np.inf, 1e-6),),
    ),
    "scan_y": Quantity(
        names=("piy_position", "piy", "sample_y", "scan_y"),
        kind=Kind.LENGTH,
        plain=((np.inf, 1e-6),),
    ),
    "monitor": Quantity(names=("monitor", "mon"), kind=Kind.NUMBER, needed=False),
    "pixel_mask": Quantity(names=("pixel_mask",), kind=Kind.NUMBER, needed=False),
    "saturation": Quantity(names=("saturation_value",), kind=Kind.NUMBER, needed=False),
    "inclination": Quantity(names=("inclination",), kind=Kind.ANGLE, needed=False),
    "azimuth": Quantity(names=("azimuth",), kind=Kind.ANGLE, needed=False),
}
"""Energy in eV, lengths in m, angles in degrees, beam centre in pixels. ``inclination`` and
``azimuth`` are those of the reflection's nominal direction."""


def members(group: h5py.Group) -> Iterator[tuple[str, Any]]:
    """Yield what is in a group by name, without links that lead nowhere."""
    for key in group:
        with contextlib.suppress(KeyError, OSError):
            yield key, group[key]


def datasets(group: h5py.Group, depth: int = 0) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield name and dataset of all that is in a group, through links."""
    for key, found in members(group):
        if isinstance(found, h5py.Dataset):
            yield key, found
        elif isinstance(found, h5py.Group) and depth < DEEPEST:
            for name, inner in datasets(found, depth + 1):
                yield f"{key}/{name}", inner


def is_numeric(found: h5py.Dataset) -> bool:
    """Return whether a dataset holds numbers, or yes and no."""
    return bool(found.size) and (found.dtype == bool or np.issubdtype(found.dtype, np.number))


def candidates(
    listed: Iterable[tuple[str, h5py.Dataset]], quantity: Quantity
) -> list[h5py.Dataset]:
    """Return the numeric ones of an entry's `datasets` with a quantity's names, the best first."""
    ranked = []
    for path, found in listed:
        *groups, last = path.lower().split("/")
        name = groups[-1] if last in VALUES and groups else last
        if name in quantity.names and is_numeric(found):
            later = any(group in LAST_CHOICE for group in groups)
            ranked.append(((later, quantity.names.index(name), len(groups), path), found))
    return [found for _, found in sorted(ranked, key=lambda pair: pair[0])]


def in_unit(found: h5py.Dataset, quantity: Quantity, *, pixel: float | None = None) -> Array:
    """Return the values of a dataset in the unit of its kind.

    Parameters
    ----------
    found : h5py.Dataset
    quantity : Quantity
    pixel : float, optional
        Size of one, m: for places on the detector that are given as lengths.

    Raises
    ------
    BadInputError
        If it holds no numbers, or its unit is none of the kind.
    """
    if not is_numeric(found):
        raise BadInputError(f"'{found.file.filename}', {found.name}: no numbers")
    values = np.asarray(found[()], dtype=float)
    unit = found.attrs.get("units", "")
    unit = (unit.decode() if isinstance(unit, bytes) else str(unit)).strip().lower()
    factors = FACTORS[quantity.kind]
    if quantity.kind is Kind.NUMBER:
        return values
    if unit in factors:
        return values * factors[unit]
    if quantity.kind is Kind.PIXEL and pixel and unit in FACTORS[Kind.LENGTH]:
        return values * FACTORS[Kind.LENGTH][unit] / pixel
    if unit:
        raise BadInputError(
            f"'{found.file.filename}', {found.name}: unit '{unit}'; expected one of "
            f"{', '.join(factors)}"
        )
    largest = float(np.abs(values).max())
    return values * next((factor for up_to, factor in quantity.plain if largest <= up_to), 1.0)


def given_value(name: str, value: Any, *, expected: str) -> Array:
    """Return what a user gave for a quantity as numbers.

    Parameters
    ----------
    name : str
    value : number or array
    expected : str
        For the message: its unit.

    Raises
    ------
    BadInputError
        If it is none.
    """
    try:
        numbers = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        numbers = np.array([])
    if not numbers.size or not np.isfinite(numbers).all():
        raise BadInputError(
            f"{name} = {value!r}; expected a number in {expected}, an array, or the path of a "
            "dataset"
        )
    return numbers
