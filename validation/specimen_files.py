"""Write the structures that a specimen is made of, in every format that can hold them."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from ase import Atoms

from echolith.forward.acquisition import Settings
from echolith.forward.cif_files import write_phase
from echolith.forward.crystal_phase import CrystalPhase
from echolith.structures.files import write_structure
from echolith.structures.site_occupancy import is_fractional


def write_specimen(specimen: Any, folder: Path) -> dict[str, Path]:
    """Write atoms as extended XYZ, CIF and POSCAR, crystal phases as CIF.

    Extended XYZ keeps labels of columns; CIF needs a cell, POSCAR a cell and whole sites. The CIF
    of a phase has its occupancies and displacements.

    Parameters
    ----------
    specimen : object
        Looked through: mappings, sequences, dataclasses and settings.
    folder : Path

    Returns
    -------
    dict of Path
        ``specimen``, ``specimen_cif``, ``specimen_poscar`` (with the name of the state where there
        are several) and ``phase_<name>``, as far as there are any.
    """
    files: dict[str, Path] = {}
    for name, found in _structures(specimen, "specimen"):
        if isinstance(found, CrystalPhase):
            files[f"phase_{found.name}"] = folder / f"phase_{found.name}.cif"
            write_phase(found, files[f"phase_{found.name}"])
            continue
        for suffix, kind in _formats(found).items():
            files[f"{name}{kind}"] = folder / f"{name}{suffix}"
            write_structure(found, files[f"{name}{kind}"])
    return files


def _formats(atoms: Atoms) -> dict[str, str]:
    """Return the suffixes of formats that can hold a structure, and what they are called."""
    formats = {".extxyz": ""}
    if atoms.cell.rank == 3:
        formats[".cif"] = "_cif"
        if not is_fractional(atoms):
            formats[".vasp"] = "_poscar"
    return formats


def _structures(part: Any, name: str) -> Iterator[tuple[str, Atoms | CrystalPhase]]:
    if isinstance(part, Atoms | CrystalPhase):
        yield name, part
    elif isinstance(part, Mapping):
        for key, value in part.items():
            yield from _structures(value, f"{name}_{key}")
    elif isinstance(part, tuple | list):
        for value in part:
            yield from _structures(value, name)
    elif isinstance(part, Settings):
        for _, value in part:
            yield from _structures(value, name)
    elif is_dataclass(part):
        for field in fields(part):
            yield from _structures(getattr(part, field.name), name)
