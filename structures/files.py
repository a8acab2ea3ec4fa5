"""Read and write structures: CIF, POSCAR, extended XYZ."""

import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read, write

from echolith.errors import BadInputError, near_match
from echolith.structures.cif_formula import check_formula, with_true_formula
from echolith.structures.site_occupancy import is_fractional

_FORMATS = {
    ".cif": "cif",
    ".vasp": "vasp",
    ".poscar": "vasp",
    ".contcar": "vasp",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
}
_BARE_NAMES = {"POSCAR": "vasp", "CONTCAR": "vasp"}


def read_structure(path: str | os.PathLike[str]) -> Atoms:
    """Read a structure; the last one where the file holds several.

    Parameters
    ----------
    path : path
        ``.cif``, ``.vasp``, ``.poscar``, ``.contcar``, ``.xyz``, ``.extxyz``, or a file named
        POSCAR or CONTCAR.

    Returns
    -------
    ase.Atoms
        Fractional occupancies in ``info["occupancy"]`` (ASE's convention); arrays as stored in
        extended XYZ.

    Raises
    ------
    BadInputError
        If the file is missing, of unknown kind, empty, truncated or otherwise unreadable. A CIF
        counts as truncated where its sites hold fewer atoms than its formula.

    Warns
    -----
    BadInputWarning
        If the atoms of a CIF are not in the proportions of the formula it states.
    """
    path = Path(path)
    kind = _format(path)
    text = _text(path)
    if kind == "vasp":
        _check_poscar(path, text)
    try:
        with warnings.catch_warnings():
            # ASE remarks on headers it completes itself, e.g. a missing space-group setting.
            warnings.simplefilter("ignore", UserWarning)
            atoms: Atoms = read(path, index=-1, format=kind)  # type: ignore[assignment]
    except Exception as error:  # ASE raises nearly anything
        reason = str(error) or type(error).__name__
        raise BadInputError(
            f"{path} cannot be read as {_NAMES[kind]}: {reason}; the file may be truncated or "
            "damaged; export it again"
        ) from error
    _check_atoms(path, atoms)
    if kind == "cif":
        check_formula(path, text, atoms)
    return atoms


_NAMES = {"cif": "CIF", "vasp": "POSCAR", "extxyz": "extended XYZ"}


def _format(path: Path) -> str:
    if path.name in _BARE_NAMES:
        return _BARE_NAMES[path.name]
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        shown = f"'{path.suffix}'" if path.suffix else "none"
        raise BadInputError(
            f"{path.name} has the suffix {shown}; expected one of {', '.join(_FORMATS)}, or the "
            f"name POSCAR; {near_match(suffix, _FORMATS)}"
        )
    return _FORMATS[suffix]


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise BadInputError(f"{path} does not exist; check the path") from error
    except OSError as error:
        raise BadInputError(f"{path} cannot be opened: {error.strerror or error}") from error
    if not text.strip():
        raise BadInputError(f"{path} is empty; expected a structure; export it again")
    return text


def _check_poscar(path: Path, text: str) -> None:
    """Refuse a POSCAR with fewer lines of positions than atoms, which ASE may take for zeros."""
    lines = text.splitlines()
    counts = next(
        (
            (n, [int(word) for word in line.split()])
            for n, line in enumerate(lines[5:7], start=5)
            if re.fullmatch(r"\s*\d+(\s+\d+)*\s*", line)
        ),
        None,
    )
    if counts is None:
        raise BadInputError(
            f"{path} cannot be read as POSCAR: no line of atom counts in line 6 or 7; the file "
            "may be truncated"
        )
    rows = [line.split() for line in lines[counts[0] + 1 :] if len(line.split()) >= 3]
    if len(rows) < sum(counts[1]):
        raise BadInputError(
            f"{path} is truncated: it announces {sum(counts[1])} atoms and holds {len(rows)} "
            "positions; export it again"
        )
    last = rows[: sum(counts[1])][-1][2]
    digits = min((_decimals(row[2]) for row in rows[: sum(counts[1]) - 1]), default=0)
    # Written by hand, rows of few digits may differ.
    if not text.endswith("\n") and digits >= 5 and _decimals(last) < digits:
        raise BadInputError(
            f"{path} is truncated: its last number {last!r} has fewer digits than the others of "
            "its column and no line end after it; export it again"
        )


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])


def _check_atoms(path: Path, atoms: Atoms) -> None:
    if not len(atoms):
        raise BadInputError(f"{path} holds no atoms; expected at least one")
    if not (np.isfinite(atoms.positions).all() and np.isfinite(np.asarray(atoms.cell)).all()):
        raise BadInputError(f"{path} holds a position or cell edge that is not a finite number")
    if (atoms.numbers <= 0).any():
        raise BadInputError(f"{path} holds an atom of unknown element; name every element")


def write_structure(atoms: Atoms, path: str | os.PathLike[str]) -> None:
    """Write a structure, whole or not at all.

    Extended XYZ keeps everything, arrays such as ``lattice_i`` too (positions to 1e-8 Å). CIF
    keeps cell, sites and occupancies; POSCAR cell and sites.

    Parameters
    ----------
    atoms : ase.Atoms
    path : path
        The suffix says how, as for `read_structure`.

    Raises
    ------
    BadInputError
        If the suffix is unknown, there are no atoms, the folder cannot be written, or the format
        cannot hold the structure (no cell in CIF and POSCAR, fractional occupancies in POSCAR).
    """
    path = Path(path)
    kind = _format(path)
    if not len(atoms):
        raise BadInputError(f"no atoms to write to {path}; expected at least one")
    if kind != "extxyz" and atoms.cell.rank < 3:
        raise BadInputError(
            f"{_NAMES[kind]} needs a cell of three vectors and the structure has "
            f"{atoms.cell.rank}; set a cell or write extended XYZ"
        )
    if kind == "vasp" and is_fractional(atoms):
        raise BadInputError(
            "POSCAR cannot hold fractional occupancies; write CIF or extended XYZ, or draw them"
        )
    options: dict[str, Any] = {"direct": True} if kind == "vasp" else {}
    _write_whole(atoms, path, kind, options)


def _write_whole(atoms: Atoms, path: Path, kind: str, options: dict[str, Any]) -> None:
    partial = None
    try:
        handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        write(partial, atoms, format=kind, **options)
        if kind == "cif":
            text = Path(partial).read_text(encoding="utf-8")
            Path(partial).write_text(with_true_formula(text, atoms), encoding="utf-8")
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
    except OSError as error:
        raise BadInputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if partial is not None and os.path.exists(partial):
            os.unlink(partial)


def _umask() -> int:
    # There is no way to read it without setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
