"""The formula that a CIF states, against the atoms it holds: the only trace of a truncation.

A CIF cut between two lines of sites is still a CIF.
"""

import re
import warnings
from pathlib import Path

from ase import Atoms

from echolith.errors import BadInputError, BadInputWarning
from echolith.structures.site_occupancy import cell_content, is_fractional

_FORMULA = re.compile(r"^\s*_chemical_formula_sum\s+(['\"]?)([^'\"\n]*)\1", re.MULTILINE)
_UNITS = re.compile(r"^\s*_cell_formula_units_Z\s+(\d+)\s*$", re.MULTILINE)

ROUNDING = 0.02
"""Atomic fraction by which formulas of shared sites are rounded or idealised at most."""


def check_formula(path: Path, text: str, atoms: Atoms) -> None:
    """Compare what the sites hold with the formula a CIF states.

    Parameters
    ----------
    path : Path
        Named in messages.
    text : str
        The file.
    atoms : ase.Atoms
        What was read from it, one whole cell.

    Raises
    ------
    BadInputError
        If the cell holds fewer atoms than the formula (times the stated Z).

    Warns
    -----
    BadInputWarning
        If the elements are in other proportions.
    """
    stated = _stated_formula(text)
    if not stated:
        return
    integers = all(number.is_integer() for number in stated.values())
    readings = [_without_hydrogen(cell_content(atoms))]
    if integers:
        # ASE itself writes the formula of the most frequent elements.
        symbols = list(atoms.symbols)
        readings.append(_without_hydrogen({s: float(symbols.count(s)) for s in set(symbols)}))
    units = int(match[1]) if (match := _UNITS.search(text)) else 1
    expected = units * sum(stated.values())
    found = max(sum(content.values()) for content in readings)
    if found < expected - 0.5:
        raise BadInputError(
            f"{path} is truncated: its formula {_shown(stated)} (Z = {units}) asks for "
            f"{expected:g} atoms in the cell and its sites hold {found:g}; export it again, or "
            "correct _chemical_formula_sum if sites were left out on purpose"
        )
    allowed = ROUNDING if is_fractional(atoms) or not integers else 1e-6
    if min(_difference(stated, content) for content in readings) > allowed:
        warnings.warn(
            f"{path} states the formula {_shown(stated)} but its sites hold "
            f"{_shown(readings[0])}; it may be truncated, or its formula rounded",
            BadInputWarning,
            stacklevel=4,
        )


def with_true_formula(text: str, atoms: Atoms) -> str:
    """Return the text of a CIF with the formula of what the sites hold, shared ones too.

    Parameters
    ----------
    text : str
        As ASE writes it, with the formula of the most frequent elements.
    atoms : ase.Atoms
    """
    shown = _shown(cell_content(atoms))
    return _FORMULA.sub(f'_chemical_formula_sum              "{shown}"', text, count=1)


def _stated_formula(text: str) -> dict[str, float]:
    match = _FORMULA.search(text)
    if match is None:
        return {}
    parts = re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)", match[2])
    return _without_hydrogen({e: float(n or 1) for e, n in parts})


def _without_hydrogen(content: dict[str, float]) -> dict[str, float]:
    """Drop hydrogen, which is often left out of the sites."""
    return {e: n for e, n in content.items() if e not in ("H", "D")}


def _difference(stated: dict[str, float], found: dict[str, float]) -> float:
    """Return the largest difference of two compositions, as atomic fractions."""
    total, there = sum(stated.values()), sum(found.values())
    if not total or not there:
        return 0.0
    return max(abs(stated.get(e, 0) / total - found.get(e, 0) / there) for e in {*stated, *found})


def _shown(content: dict[str, float]) -> str:
    return " ".join(f"{e}{n:.6g}" for e, n in sorted(content.items()))
