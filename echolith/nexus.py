"""Groups and numbers with units, as NeXus has them."""

from typing import Any


def nexus_group(parent: Any, name: str, kind: str) -> Any:
    """Make a group of a class, e.g. ``NXdetector``, in an HDF5 group."""
    made = parent.create_group(name)
    made.attrs["NX_class"] = kind
    return made


def write_number(group: Any, name: str, value: Any, unit: str) -> None:
    """Write a number, or an array of them; without the attribute where the unit is empty."""
    group[name] = value
    if unit:
        group[name].attrs["units"] = unit
