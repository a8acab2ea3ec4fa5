"""Crystalline phases in CIF, the crystallographic information file."""

import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from echolith.atomic import whole_file
from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.crystal_phase import CrystalPhase, PhaseSite

EIGHT_PI_SQUARED = 8 * np.pi**2
ROUNDED = 1e-3
"""Occupancies above 1 by less were rounded."""
COLUMNS = ("label", "type_symbol", *(f"fract_{x}" for x in "xyz"), "occupancy", "B_iso_or_equiv")
CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")


def read_phase(
    path: str | os.PathLike[str], *, name: str | None = None, block: str | None = None
) -> CrystalPhase:
    """Read a phase from a CIF.

    Parameters
    ----------
    path : path
    name : str, optional
        Of the phase; by default the name of the file without its suffix, dots as underscores.
    block : str, optional
        Which data block, where several hold sites.

    Returns
    -------
    CrystalPhase
        Symmetry by the operations where they are listed, else by the symbol. Charges in labels and
        types (``Ni3+``) are left out. B is 8 pi² U; of an anisotropic one, of its equivalent; 0.5
        Å² where none is given.

    Raises
    ------
    BadInputError
        If the file cannot be read, holds no crystal or several, its symmetry is in no tabulated
        setting, or an element of its formula is on no site.

    Warns
    -----
    BadInputWarning
        If the symbol leaves the origin open and no operations tell it.
    """
    path = Path(path)
    chosen = _block(path, block)
    small = _small_structure(path, chosen)
    if not small.sites:
        raise BadInputError(f"'{path}' holds no atoms with coordinates; expected a crystal")
    phase = _phase(path, chosen, small, name or path.stem.replace(".", "_"))
    _check_formula(path, chosen, phase)
    return phase


def write_phase(phase: CrystalPhase, path: str | os.PathLike[str]) -> None:
    """Write a phase as CIF, whole or not at all.

    Parameters
    ----------
    phase : CrystalPhase
    path : path
        Usually ``*.cif``.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    import gemmi

    group = gemmi.find_spacegroup_by_name(phase.spacegroup)
    cell = [f"_cell_{key} {float(value)!r}" for key, value in zip(CELL, phase.cell, strict=True)]
    sites = [
        " ".join(
            [
                gemmi.cif.quote(site.label),
                site.element,
                *(repr(float(x)) for x in (*site.position, site.occupancy, site.b_iso)),
            ]
        )
        for site in phase.sites
    ]
    lines = [
        f"data_{re.sub(r'[^!-~]', '_', phase.name) or 'phase'}",
        *cell,
        f"_space_group_name_H-M_alt '{group.xhm()}'",
        f"_space_group_IT_number {group.number}",
        "loop_",
        "_space_group_symop_operation_xyz",
        *(f"'{operation.triplet()}'" for operation in group.operations()),
        "loop_",
        *(f"_atom_site_{column}" for column in COLUMNS),
        *sites,
    ]
    with whole_file(Path(path)) as file:
        file.write(("\n".join(lines) + "\n").encode())


def _block(path: Path, name: str | None) -> Any:
    import gemmi

    try:
        document = gemmi.cif.read(str(path))
    except (OSError, ValueError, RuntimeError, UnicodeDecodeError) as error:
        raise BadInputError(f"'{path}' cannot be read as CIF: {error}") from error
    found = [b for b in document if b.find_values("_atom_site_fract_x")]
    if name is not None:
        found = [b for b in found if b.name == name]
    if len(found) != 1:
        held = ", ".join(b.name for b in document) or "none"
        raise BadInputError(
            f"'{path}' has {len(found)} data blocks with atoms"
            f"{f' named {name!r}' if name is not None else ''} (blocks: {held}); expected one: "
            "name it, block=..."
        )
    return found[0]


def _small_structure(path: Path, block: Any) -> Any:
    import gemmi

    try:
        return gemmi.make_small_structure_from_block(block)
    except (ValueError, RuntimeError) as error:
        raise BadInputError(f"'{path}' cannot be read as a crystal: {error}") from error


def _phase(path: Path, block: Any, small: Any, name: str) -> CrystalPhase:
    cell = small.cell
    try:
        return CrystalPhase(
            name=name,
            spacegroup=_spacegroup(path, small),
            cell=(cell.a, cell.b, cell.c, cell.alpha, cell.beta, cell.gamma),
            sites=tuple(
                _site(path, small, site, told=told)
                for site, told in zip(small.sites, _displacements_told(block, small), strict=True)
            ),
        )
    except ValidationError as error:
        told = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        raise BadInputError(f"'{path}': {told}") from error


def _site(path: Path, small: Any, site: Any, *, told: bool) -> PhaseSite:
    if site.element.atomic_number == 0:
        raise BadInputError(
            f"'{path}', site {site.label}: no element {site.type_symbol or site.label!r}; expected "
            "one in _atom_site_type_symbol"
        )
    u_iso = site.u_iso or (small.cell.calculate_u_eq(site.aniso) if site.aniso.nonzero() else 0)
    numbers = (*site.fract.tolist(), site.occ, u_iso)
    if not np.isfinite(numbers).all() or site.occ > 1 + ROUNDED or not u_iso >= 0:
        raise BadInputError(
            f"'{path}', site {site.label}: coordinates {site.fract.tolist()}, occupancy "
            f"{site.occ:g}, U = {u_iso:g} Å²; expected numbers, occupancies up to 1, U from 0"
        )
    given = {"b_iso": float(EIGHT_PI_SQUARED * u_iso)} if told or u_iso else {}
    x, y, z = site.fract.tolist()
    return PhaseSite(
        label=site.label,
        element=site.element.name,
        position=(x, y, z),
        occupancy=min(float(site.occ), 1.0),
        **given,
    )


def _displacements_told(block: Any, small: Any) -> list[bool]:
    """Return of which sites the file tells U or B, which the crystal has as 0 where it does not."""
    import gemmi

    columns = [block.find_values(f"_atom_site_{kind}_iso_or_equiv") for kind in "UB"]
    return [
        any(n < len(column) and not gemmi.cif.is_null(column[n]) for column in columns)
        for n in range(len(small.sites))
    ]


def _spacegroup(path: Path, small: Any) -> str:
    """Return the symbol with its setting."""
    import gemmi

    if small.symops:
        try:
            operations = gemmi.GroupOps([gemmi.Op(text) for text in small.symops])
            group = gemmi.find_spacegroup_by_ops(operations)
        except (ValueError, RuntimeError) as error:
            raise BadInputError(f"'{path}': symmetry operations: {error}") from error
        if group is None:
            raise BadInputError(
                f"'{path}': its {len(small.symops)} symmetry operations are no space group in a "
                "tabulated setting; transform the crystal to a standard setting"
            )
        return str(group.xhm())
    group = small.spacegroup
    if group is None:
        raise BadInputError(
            f"'{path}': space group {small.spacegroup_hm or 'none'!r}; expected its operations or "
            "a known symbol such as 'R -3 m:H'"
        )
    if group.ext in ("1", "2") and ":" not in small.spacegroup_hm:
        warnings.warn(
            f"'{path}': '{small.spacegroup_hm}' has two origins and the file lists no operations; "
            f"'{group.xhm()}' is taken: write the setting behind the symbol",
            BadInputWarning,
            stacklevel=4,
        )
    return str(group.xhm())


def _check_formula(path: Path, block: Any, phase: CrystalPhase) -> None:
    """Refuse a file that was cut between two sites."""
    stated = set(re.findall(r"[A-Z][a-z]?", block.find_value("_chemical_formula_sum") or ""))
    missing = sorted(stated - {site.element for site in phase.sites} - {"H", "D"})
    if missing:
        raise BadInputError(
            f"'{path}': its formula names {', '.join(missing)}, which is on no site; the file is "
            "cut short, or its _chemical_formula_sum is of something else"
        )
