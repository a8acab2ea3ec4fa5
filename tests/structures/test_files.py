"""Structures in and out of files, and one clear refusal for every damaged one."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError, BadInputWarning
from echolith.structures.crystals import crystal, crystal_names
from echolith.structures.files import read_structure, write_structure
from echolith.structures.li_rich_oxide import field_specimen
from echolith.structures.site_occupancy import cell_content, is_fractional

SUFFIXES = (".cif", ".vasp", ".poscar", ".contcar", ".xyz", ".extxyz")
WHOLE = [name for name in crystal_names() if not is_fractional(crystal(name))]


def same_crystal(first: Atoms, second: Atoms) -> bool:
    """Same cell and the same elements at the same places, whatever the order; to 1e-5 Å."""
    cell = np.asarray(first.cell)
    if len(first) != len(second) or not np.allclose(
        first.cell.cellpar(), second.cell.cellpar(), atol=1e-5
    ):
        return False
    ours, theirs = (a.get_scaled_positions(wrap=False) for a in (first, second))
    delta = ours[:, None] - theirs[None]
    delta = (delta - np.rint(delta)) @ cell
    near = (np.linalg.norm(delta, axis=-1) < 1e-5) & (
        np.asarray(first.numbers)[:, None] == np.asarray(second.numbers)[None]
    )
    return bool((near.sum(axis=0) == 1).all() and (near.sum(axis=1) == 1).all())


# --- round trips ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", WHOLE)
def test_crystals_survive_a_file(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"it{suffix}"
    write_structure(crystal(name), path)
    assert same_crystal(read_structure(path), crystal(name))


@pytest.mark.parametrize("suffix", [".cif", ".xyz"])
@pytest.mark.parametrize("name", sorted(set(crystal_names()) - set(WHOLE)))
def test_occupancies_survive_a_file(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"it{suffix}"
    write_structure(crystal(name), path)
    found = read_structure(path)
    assert same_crystal(found, crystal(name))
    # CIF holds four digits of an occupancy.
    content = cell_content(crystal(name))
    assert cell_content(found) == pytest.approx(content, abs=1e-4 * len(found))


@pytest.mark.parametrize("name", ["LiFePO4", "NMC622"])
def test_ase_reads_our_cif_with_the_same_content(name: str, tmp_path: Path) -> None:
    """By another reader: the sites, and the formula of what they hold."""
    path = tmp_path / "it.cif"
    write_structure(crystal(name), path)
    (block,) = read(path, index=":", format="cif", store_tags=True)
    assert same_crystal(block, crystal(name))
    expected = {"LiFePO4": "Fe4 Li4 O16 P4", "NMC622": "Co0.6 Li3 Mn0.6 Ni1.8 O6"}[name]
    assert block.info["_chemical_formula_sum"] == expected


ATOMS = st.lists(
    st.tuples(st.sampled_from(["Li", "O", "Mn", "Fe"]), *[st.floats(0, 0.999)] * 3),
    min_size=1,
    max_size=8,
    unique_by=lambda row: tuple(round(10 * v) for v in row[1:]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ATOMS,
    lengths=st.tuples(*[st.floats(2, 30)] * 3),
    angles=st.tuples(*[st.floats(70, 110)] * 3),
    suffix=st.sampled_from(SUFFIXES),
)
def test_any_crystal_survives_a_file(
    rows: list[tuple[str, float, float, float]],
    lengths: tuple[float, float, float],
    angles: tuple[float, float, float],
    suffix: str,
    tmp_path: Path,
) -> None:
    atoms = Atoms(
        [row[0] for row in rows],
        scaled_positions=[row[1:] for row in rows],
        cell=[*lengths, *angles],
        pbc=True,
    )
    path = tmp_path / f"it{suffix}"
    write_structure(atoms, path)
    found = read_structure(path)
    assert found.get_chemical_formula() == atoms.get_chemical_formula()
    np.testing.assert_allclose(found.cell.cellpar(), atoms.cell.cellpar(), atol=1e-5)
    # Sites nearer than 1e-3 of the cell are one to CIF readers; these are 0.1 apart or equal.
    ours = np.sort(np.round(found.get_all_distances(mic=True), 3).ravel())
    theirs = np.sort(np.round(atoms.get_all_distances(mic=True), 3).ravel())
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_a_specimen_keeps_its_labels_in_extended_xyz(tmp_path: Path) -> None:
    specimen = field_specimen(field=(10, 12), thickness=8.6, seed=3)
    write_structure(specimen, tmp_path / "specimen.xyz")
    found = read_structure(tmp_path / "specimen.xyz")
    np.testing.assert_allclose(found.positions, specimen.positions, atol=1e-7)
    np.testing.assert_array_equal(found.numbers, specimen.numbers)
    for name in ("column_kind", "lattice_i", "lattice_j", "sign"):
        np.testing.assert_array_equal(found.arrays[name], specimen.arrays[name])
    assert not found.pbc.any()


@pytest.mark.parametrize("name", ["POSCAR", "CONTCAR"])
def test_bare_names_are_known(name: str, tmp_path: Path) -> None:
    write_structure(crystal("LiNiO2"), tmp_path / name)
    assert same_crystal(read_structure(tmp_path / name), crystal("LiNiO2"))


def test_the_last_of_several_structures_is_read(tmp_path: Path) -> None:
    path = tmp_path / "path.xyz"
    texts = []
    for name in ("LiF", "LiNiO2"):
        write_structure(crystal(name), path)
        texts.append(path.read_text())
    path.write_text("".join(texts))
    assert same_crystal(read_structure(path), crystal("LiNiO2"))


# --- damaged files --------------------------------------------------------------------------


def cut_file(tmp_path: Path, name: str, suffix: str, share: float, *, lines: bool) -> Path | None:
    """Write a crystal and keep the first part of the file; None where nothing but space is lost."""
    path = tmp_path / f"it{suffix}"
    write_structure(crystal(name), path)
    text = path.read_text()
    rows = text.splitlines(keepends=True)
    kept = "".join(rows[: int(share * len(rows))]) if lines else text[: int(share * len(text))]
    path.write_text(kept)
    return path if text[len(kept) :].strip() else None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(
    name=st.sampled_from(["LiFePO4", "LiNiO2", "Li2MnO3"]),
    suffix=st.sampled_from([".cif", ".vasp"]),
    share=st.floats(0, 1, exclude_max=True),
)
def test_files_cut_between_lines_are_refused(
    name: str, suffix: str, share: float, tmp_path: Path
) -> None:
    path = cut_file(tmp_path, name, suffix, share, lines=True)
    if path is not None:
        with pytest.raises(BadInputError, match=r"it\.(cif|vasp) (is|cannot be read|holds no)"):
            read_structure(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(
    name=st.sampled_from(["LiFePO4", "LiNiO2", "NMC622"]),
    suffix=st.sampled_from([".cif", ".vasp", ".xyz"]),
    share=st.floats(0, 1, exclude_max=True),
)
def test_files_cut_anywhere_never_lose_atoms_unsaid(
    name: str, suffix: str, share: float, tmp_path: Path
) -> None:
    if name == "NMC622" and suffix == ".vasp":
        return
    path = cut_file(tmp_path, name, suffix, share, lines=False)
    if path is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error", BadInputWarning)
        try:
            found = read_structure(path)
        except (BadInputError, BadInputWarning):
            return
    # What may be lost unsaid: the element's name at the end of a line that begins with it, and the
    # last 3 % of the content of shared sites.
    assert np.allclose(found.cell.cellpar(), crystal(name).cell.cellpar(), atol=1e-4)
    whole, there = cell_content(crystal(name)), cell_content(found)
    assert all(abs(there[element] - n) < 0.04 * sum(whole.values()) for element, n in whole.items())
    if name != "NMC622":
        assert same_crystal(found, crystal(name))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content", [b"", b" \n\n", b"\x89PNG\r\n\x1a\n\x00\xff\xfe", b"lorem ipsum"]
)
def test_what_is_no_structure_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"it{suffix}"
    path.write_bytes(content)
    message = "is empty" if not content.strip() else "cannot be read as"
    with pytest.raises(BadInputError, match=message) as caught:
        read_structure(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_missing_files_folders_and_unknown_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"none\.cif does not exist"):
        read_structure(tmp_path / "none.cif")
    (tmp_path / "folder.cif").mkdir()
    with pytest.raises(BadInputError, match=r"folder\.cif cannot be opened"):
        read_structure(tmp_path / "folder.cif")
    with pytest.raises(BadInputError, match=r"suffix '\.ciff'; .*did you mean '\.cif'"):
        read_structure(tmp_path / "it.ciff")
    with pytest.raises(BadInputError, match="suffix none"):
        read_structure(tmp_path / "structure")


XYZ = '2\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3\n{}\n'


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("Li 0 0 0\nO 1 nan 0", "not a finite number"),
        ("Li 0 0 0\nX 1 1 0", "unknown element"),
        ("Li 0 0 0", "cannot be read as extended XYZ"),
        ("Li 0 0 0\nQq 1 1 1", "cannot be read as extended XYZ"),
    ],
)
def test_impossible_atoms_are_refused(rows: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "it.xyz"
    path.write_text(XYZ.format(rows))
    with pytest.raises(BadInputError, match=message):
        read_structure(path)


def stated(tmp_path: Path, name: str, formula: str, more: str = "") -> Path:
    """Write a CIF that states another formula than its own."""
    path = tmp_path / "it.cif"
    write_structure(crystal(name), path)
    rows = path.read_text().splitlines()
    place = next(n for n, row in enumerate(rows) if row.startswith("_chemical_formula_sum"))
    rows[place] = f"_chemical_formula_sum '{formula}'\n{more}"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "formula", "more"),
    [
        ("LiFePO4", "Li Fe P O4", "_cell_formula_units_Z 4"),
        ("LiFePO4", "Fe H2 Li O4 P", ""),
        # Rounded, as shared sites often are.
        ("NMC622", "Li Ni0.6 Mn0.2 Co0.2 O2", "_cell_formula_units_Z 3"),
    ],
)
def test_usual_formulas_are_accepted(name: str, formula: str, more: str, tmp_path: Path) -> None:
    assert same_crystal(read_structure(stated(tmp_path, name, formula, more)), crystal(name))


def test_other_formulas_are_said(tmp_path: Path) -> None:
    with pytest.warns(BadInputWarning, match="Fe1 Na1 O4 P1 but its sites hold Fe4 Li4 O16 P4"):
        read_structure(stated(tmp_path, "LiFePO4", "Na Fe P O4"))
    with pytest.raises(BadInputError, match=r"\(Z = 8\) asks for 56 atoms .* hold 28"):
        read_structure(stated(tmp_path, "LiFePO4", "Li Fe P O4", "_cell_formula_units_Z 8"))


# --- writing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("atoms", "name", "message"),
    [
        (Atoms(), "it.cif", "no atoms to write"),
        (Atoms("Li"), "it.cif", "CIF needs a cell of three vectors"),
        (Atoms("Li", cell=[1, 1, 0]), "it.vasp", "POSCAR needs a cell"),
        (crystal("NMC622"), "it.vasp", "cannot hold fractional occupancies"),
        (crystal("LiF"), "it.pdb", r"suffix '\.pdb'"),
        (crystal("LiF"), "none/it.cif", "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_refused(
    atoms: Atoms, name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match=message):
        write_structure(atoms, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it.cif"
    write_structure(crystal("LiF"), path)
    before = path.read_bytes()

    def full(*args: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BadInputError, match=r"it\.cif cannot be written: No space left"):
        write_structure(crystal("LiNiO2"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
