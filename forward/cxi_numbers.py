"""Numbers of a CXI entry: where they are, and in which unit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy import constants

from echolith.errors import BadInputError
from echolith.forward.stack_quantities import Kind, Quantity, given_value, in_unit

SI = ((np.inf, 1.0),)
LENGTH = Quantity(names=(), kind=Kind.LENGTH, plain=SI)
ENERGY = Quantity(
    names=(), kind=Kind.ENERGY, plain=((1e-9, 1 / constants.e), (999, 1e3), (np.inf, 1))
)
ANGLE = Quantity(names=(), kind=Kind.ANGLE)
NUMBER = Quantity(names=(), kind=Kind.NUMBER)


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number of an entry."""

    places: tuple[str, ...]
    """Datasets that may hold it, the best first."""
    quantity: Quantity
    unit: str
    """In which it is given, for messages."""
    needed: bool = True


NUMBERS: Mapping[str, Number] = {
    "energy": Number(
        places=(
            "instrument_1/beam_1/incident_beam_energy",
            "instrument_1/beam_1/energy",
            "instrument_1/source_1/energy",
        ),
        quantity=ENERGY,
        unit="eV",
    ),
    "distance": Number(places=("instrument_1/detector_1/distance",), quantity=LENGTH, unit="m"),
    "pixel_size": Number(
        places=("instrument_1/detector_1/x_pixel_size", "instrument_1/detector_1/y_pixel_size"),
        quantity=LENGTH,
        unit="m",
    ),
    "photons": Number(
        places=("instrument_1/monitor_1/data",),
        quantity=NUMBER,
        unit="photons of a frame without specimen",
    ),
    "outer_zone_width": Number(
        places=("instrument_1/zone_plate_1/outer_zone_width",), quantity=LENGTH, unit="m"
    ),
    "central_stop": Number(
        places=("instrument_1/zone_plate_1/central_stop",),
        quantity=NUMBER,
        unit="share of the zone plate's radius",
    ),
    "defocus": Number(places=("instrument_1/zone_plate_1/defocus",), quantity=LENGTH, unit="m"),
    "readout": Number(
        places=("instrument_1/detector_1/readout_noise",),
        quantity=NUMBER,
        unit="photons",
        needed=False,
    ),
    "saturation": Number(
        places=("instrument_1/detector_1/saturation_value",),
        quantity=NUMBER,
        unit="photons",
        needed=False,
    ),
    "tilt": Number(places=("sample_1/rotation_angle",), quantity=ANGLE, unit="°", needed=False),
}


def first_of(entry: h5py.Group, places: tuple[str, ...]) -> h5py.Dataset | None:
    """Return the first dataset of an entry that is there."""
    found = (entry.get(place) for place in places)
    return next((one for one in found if isinstance(one, h5py.Dataset)), None)


def numbers_of(entry: h5py.Group, given: Mapping[str, Any]) -> dict[str, float]:
    """Return what is given or told of an entry, by the names of `NUMBERS`.

    Raises
    ------
    BadInputError
        If a unit is unknown, or what is given is not one number.
    """
    found = {}
    for name, number in NUMBERS.items():
        stored = first_of(entry, number.places)
        if name in given:
            values = given_value(name, given[name], expected=number.unit)
            if values.size != 1:
                raise BadInputError(f"{name} = {given[name]}; expected one number")
        # A monitor may count anything.
        elif stored is not None and (name != "photons" or _unit(stored) == "photons"):
            values = in_unit(stored, number.quantity)
        else:
            continue
        # Units of the file and back round twice.
        found[name] = float(f"{values.mean():.15g}")
    return found


def refuse_missing(path: Path, numbers: list[dict[str, float]]) -> None:
    """Raise one error that names all that some entry lacks."""
    missing = [
        name
        for name, number in NUMBERS.items()
        if number.needed and not all(name in told for told in numbers)
    ]
    if missing:
        names = ", ".join(f"{name} ({NUMBERS[name].unit})" for name in missing)
        raise BadInputError(
            f"'{path}' does not tell {names}; give each: overrides={{'{missing[0]}': ...}}, on the "
            f"command line --given {missing[0]}=..."
        )


def _unit(found: h5py.Dataset) -> str:
    unit = found.attrs.get("units", "")
    return unit.decode() if isinstance(unit, bytes) else str(unit)
