"""Crystals go through CIF unchanged, and CIFs as people have them are read."""

import contextlib
import warnings
from pathlib import Path

import gemmi
import numpy as np
import numpy.typing as npt
import pytest
from ase import Atoms
from ase.io import read
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.cif_files import read_phase, write_phase
from echolith.forward.crystal_phase import CrystalPhase, PhaseSite
from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.structure_factors import allowed_reflections, structure_factors
from echolith.structures.crystal_table import CRYSTALS

LICOO2 = """data_LiCoO2
_chemical_formula_sum 'Co Li O2'
_cell_length_a 2.8166(1)
_cell_length_b 2.8166(1)
_cell_length_c 14.052(5)
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
{symmetry}
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
_atom_site_U_iso_or_equiv
Li1 Li1+ 0 0 0 0.98(2) 0.0152
Co1 Co3+ 0 0 0.5 1 0.0038(1)
O1 O2- 0 0 0.23951(15) . ?
"""
SYMBOL = "_symmetry_space_group_name_H-M 'R -3 m'"


def intensities(phase: CrystalPhase) -> npt.NDArray[np.float64]:
    hkl = allowed_reflections(phase, d_min=1.2).hkl
    return np.asarray(np.abs(structure_factors(phase, hkl, wavelength=1.5406)) ** 2)


def read_text(folder: Path, text: str) -> CrystalPhase:
    path = folder / "LiCoO2.cif"
    path.write_text(text)
    return read_phase(path)


@given(
    name=st.sampled_from(sorted(CRYSTALS)),
    b=st.lists(st.floats(0, 20), min_size=20, max_size=20),
    occupancy=st.floats(0.1, 1),
    stretch=st.floats(0.9, 1.2),
)
def test_a_crystal_scatters_the_same_after_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    b: list[float],
    occupancy: float,
    stretch: float,
) -> None:
    first = crystal_phase(name)
    sites = tuple(
        site.model_copy(update={"b_iso": b[n], "occupancy": site.occupancy * occupancy})
        for n, site in enumerate(first.sites)
    )
    cell = tuple(stretch * edge for edge in first.cell[:3]) + first.cell[3:]
    phase = first.model_copy(update={"sites": sites, "cell": cell})
    path = tmp_path_factory.mktemp("cif") / "phase.cif"
    write_phase(phase, path)
    found = read_phase(path, name=name)
    assert found.spacegroup == phase.spacegroup
    assert [site.label for site in found.sites] == [site.label for site in phase.sites]
    expected = intensities(phase)
    # Numbers are written in full; U and B differ by rounding.
    np.testing.assert_allclose(intensities(found), expected, rtol=1e-9, atol=1e-9 * expected.max())


def test_another_program_reads_what_is_written(tmp_path: Path) -> None:
    write_phase(crystal_phase("LiNiO2"), tmp_path / "phase.cif")
    atoms: Atoms = read(tmp_path / "phase.cif")  # type: ignore[assignment]
    assert atoms.get_chemical_formula() == "Li3Ni3O6"
    assert atoms.cell.lengths() == pytest.approx([2.8784, 2.8784, 14.1944])


def test_labels_charges_uncertainties_and_gaps_of_a_measured_crystal(tmp_path: Path) -> None:
    phase = read_text(tmp_path, LICOO2.format(symmetry=SYMBOL))
    assert phase.name == "LiCoO2"
    assert phase.spacegroup == "R -3 m:H"
    assert list(phase.cell) == [2.8166, 2.8166, 14.052, 90, 90, 120]
    assert [(site.label, site.element) for site in phase.sites] == [
        ("Li1", "Li"), ("Co1", "Co"), ("O1", "O"),
    ]  # fmt: skip
    assert [site.occupancy for site in phase.sites] == [0.98, 1, 1]
    assert phase.multiplicities == (3, 3, 6)
    # B = 8 pi² U; 0.5 Å² where the file has none.
    b = [8 * np.pi**2 * 0.0152, 8 * np.pi**2 * 0.0038, 0.5]
    assert [site.b_iso for site in phase.sites] == pytest.approx(b)
    # 5.05 g/cm³ is that of the compound.
    assert 1.6605 * phase.density == pytest.approx(5.05, abs=0.05)


@pytest.mark.parametrize("name", ["R -3 m:H", "R -3 m:R", "I 1 2/m 1", "P c m n", "F d -3 m:2"])
def test_operations_tell_the_setting_whatever_the_symbol_says(tmp_path: Path, name: str) -> None:
    group = gemmi.find_spacegroup_by_name(name)
    operations = "\n".join(f"'{operation.triplet()}'" for operation in group.operations())
    wrong = "_symmetry_space_group_name_H-M 'P 1'\nloop_\n_symmetry_equiv_pos_as_xyz\n"
    assert read_text(tmp_path, LICOO2.format(symmetry=wrong + operations)).spacegroup == name


def test_label_of_an_ion_is_an_element(tmp_path: Path) -> None:
    lines = LICOO2.format(symmetry=SYMBOL).replace("_atom_site_type_symbol\n", "")
    lines = lines.replace("Li1 Li1+", "Li1").replace("Co1 Co3+", "Ni3+").replace("O1 O2-", "O2-")
    phase = read_text(tmp_path, lines.replace("'Co Li O2'", "?"))
    assert [site.element for site in phase.sites] == ["Li", "Ni", "O"]


def test_anisotropic_displacements_count_as_their_equivalent(tmp_path: Path) -> None:
    text = LICOO2.format(symmetry=SYMBOL).replace("0.0038(1)", "?")
    # U11 = U22 = 2 U12 is what the axis of three asks for; Ueq = (4/3 U11 - 2/3 U12) + ... / 3.
    u11, u33 = 0.004, 0.010
    names = "".join(f"\n_atom_site_aniso_U_{ij}" for ij in ("11", "22", "33", "12", "13", "23"))
    text += f"loop_\n_atom_site_aniso_label{names}\nCo1 {u11} {u11} {u33} {u11 / 2} 0 0\n"
    cobalt = read_text(tmp_path, text).sites[1]
    assert cobalt.b_iso == pytest.approx(8 * np.pi**2 * (2 * u11 + u33) / 3)


def test_two_origins_are_told(tmp_path: Path) -> None:
    with pytest.warns(BadInputWarning, match="two origins.*F d -3 m:2' is taken"):
        read_text(tmp_path, LICOO2.format(symmetry="_symmetry_space_group_name_H-M 'F d -3 m'"))


GOOD = LICOO2.format(symmetry=SYMBOL)
WRONG = {
    "cannot be read as CIF": "this is no CIF",
    "0 data blocks": "data_x\n_cell_length_a 3\n",
    "2 data blocks": GOOD + GOOD.replace("data_LiCoO2", "data_other"),
    "names Co": GOOD.replace("Co1 Co3+ 0 0 0.5 1 0.0038(1)\n", ""),
    "known symbol": LICOO2.format(symmetry=""),
    "'R -7 m'": GOOD.replace("R -3 m", "R -7 m"),
    "no space group in a tabulated setting": LICOO2.format(
        symmetry="loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n-x+1/3,y,z+1/8\n"
    ),
    "symmetry operations": LICOO2.format(symmetry="loop_\n_symmetry_equiv_pos_as_xyz\nx,y\n"),
    "occupancy 1.2": GOOD.replace("0.98(2)", "1.2"),
    "no element": GOOD.replace("Co1 Co3+", "Xx1 Xx"),
    "did you give nm": GOOD.replace("2.8166(1)", "0.28166"),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_no_crystal_is_refused_with_the_name_of_the_file(
    tmp_path: Path, message: str
) -> None:
    with pytest.raises(BadInputError, match=r"LiCoO2\.cif") as told:
        read_text(tmp_path, WRONG[message])
    assert message in str(told.value)


def test_a_block_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "two.cif"
    other = GOOD.replace("data_LiCoO2", "data_other").replace("14.052", "14.4")
    path.write_text(GOOD + other)
    assert read_phase(path, block="other").cell[2] == 14.4
    with pytest.raises(BadInputError, match="'third'"):
        read_phase(path, block="third")


@given(cut=st.floats(0, 1), garbage=st.text(max_size=30), at=st.floats(0, 1))
def test_a_damaged_file_gives_a_crystal_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, cut: float, garbage: str, at: float
) -> None:
    text = GOOD[: round(cut * len(GOOD))]
    place = round(at * len(text))
    path = tmp_path_factory.mktemp("cif") / "bad.cif"
    path.write_bytes((text[:place] + garbage + text[place:]).encode("utf-8", "replace"))
    with contextlib.suppress(BadInputError), warnings.catch_warnings():
        warnings.simplefilter("ignore", BadInputWarning)
        assert isinstance(read_phase(path).sites[0], PhaseSite)
