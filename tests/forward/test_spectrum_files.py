"""Spectra in XDI: ours in xraylarch, measured ones in ours."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from echolith.errors import BadInputError
from echolith.forward.exporters import write_measurement
from echolith.forward.importers import read_measurement
from echolith.forward.spectrum_files import reference_spectra
from echolith.forward.xdi_files import XdiColumns, read_xdi, write_xdi
from tests.inverse.measured_spectra import REAL
from tests.peers import environment_with

ENERGIES = np.array([706.0, 708.2, 710.2, 712.5])


def stack() -> xr.Dataset:
    """Counts (energy, y, x) of a field that is not square."""
    counts = np.arange(24, dtype=np.uint32).reshape(4, 2, 3) + 100
    return xr.Dataset(
        {"counts": (("energy", "y", "x"), counts), "incident": ((), 500)},
        coords={"energy": ("energy", ENERGIES, {"units": "eV"})},
    )


@given(
    values=hnp.arrays("f8", st.tuples(st.integers(2, 5), st.integers(1, 4)),
                      elements=st.floats(allow_nan=False, allow_infinity=False))
)  # fmt: skip
def test_numbers_come_back_bit_for_bit(
    values: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("xdi") / "it.xdi"
    columns = {f"c{n}": column for n, column in enumerate(values.T)}
    fields = {"Element.symbol": "Fe", "Sample.name": "olivine: a # b"}
    write_xdi(XdiColumns(columns=columns, units={"c0": "eV"}, fields=fields), path)
    found = read_xdi(path)
    np.testing.assert_array_equal(np.array(list(found.columns.values())).T, values)
    assert (list(found.columns), found.units) == (list(columns), {"c0": "eV"})
    assert found.fields == {name.lower(): value for name, value in fields.items()}


def test_the_photons_of_all_pixels_come_back_as_one(tmp_path: Path) -> None:
    write_measurement(stack(), tmp_path / "it.xdi")
    found = read_measurement(tmp_path / "it.xdi")
    assert found["counts"].dims == ("energy", "y", "x")
    np.testing.assert_array_equal(found["counts"].values.ravel(), stack()["counts"].sum(("y", "x")))
    np.testing.assert_array_equal(found["incident"].values, 6 * 500)
    np.testing.assert_array_equal(found["energy"].values, ENERGIES)


def test_xraylarch_reads_our_spectrum(tmp_path: Path) -> None:
    python = environment_with("larch")
    write_measurement(stack(), tmp_path / "it.xdi")
    code = (
        "import json, sys; from larch.io import read_xdi; g = read_xdi(sys.argv[1]); "
        "print(json.dumps([[list(map(float, getattr(g, n))) for n in g.array_labels],"
        " g.array_labels, g.element, g.edge]))"
    )
    done = subprocess.run(
        [python, "-c", code, str(tmp_path / "it.xdi")], capture_output=True, text=True, check=True
    )
    columns, labels, element, edge = json.loads(done.stdout.splitlines()[-1])
    ours = read_xdi(tmp_path / "it.xdi").columns
    assert (labels, element, edge) == (list(ours), "Fe", "L3")
    np.testing.assert_array_equal(columns, list(ours.values()))


def test_a_measured_library_is_read() -> None:
    path = REAL / "fe_k_edge_library.nor"
    if not path.exists():
        pytest.skip("measured spectra are not here")
    found = read_xdi(path)
    assert found.fields["element.edge"] == "K"
    np.testing.assert_array_equal(found.columns["life(ii)po4"], np.loadtxt(path)[:, 7])


HEAD = "# XDI/1.0 beam/1\n# Column.1: energy keV\n# Column.2: i0\n# Column.3: itrans\n#----\n"


def test_signals_of_others_stand_for_given_photons(tmp_path: Path) -> None:
    path = tmp_path / "it.xdi"
    path.write_text(HEAD + "# energy i0 itrans\n0.712 2.0 0.5\n0.708 2.0 1.0\n")
    found = read_measurement(path, overrides={"incident": 1e4})
    np.testing.assert_array_equal(found["energy"].values, [708, 712])
    np.testing.assert_array_equal(found["counts"].values.ravel(), [5000, 2500])
    path.write_text(HEAD.replace("i0", "mutrans") + f"0.712 {np.log(4)} 0\n0.708 {np.log(2)} 0\n")
    again = read_measurement(path, overrides={"incident": 1e4})
    np.testing.assert_allclose(again["counts"], found["counts"], rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("", {}, "does not start with '# XDI/1.0'"),
        (HEAD + "1 2 3\n1 2\n", {}, "line 7: '1 2'; expected 3 finite numbers"),
        (HEAD + "1 2 x\n", {}, "line 6: could not convert"),
        (HEAD + "1 2 3\n", {}, "holds 1 rows"),
        ("# XDI/1.0\n1 2\n2 3\n", {}, "does not name its column 1"),
        (HEAD + "1 2 3\n2 2 3\n", {}, "does not tell incident .* --given incident=1e6"),
        (HEAD + "1 2 3\n2 0 3\n", {"incident": 1e4}, "expected dark currents taken off"),
        (HEAD + "1 2 3\n2 2 3\n", {"photons": 1}, "did you mean 'incident'"),
        (HEAD.replace("itrans", "ifluor") + "1 2 3\n2 2 3\n", {"incident": 1}, "fluorescence"),
        (HEAD.replace("keV", "degrees") + "1 2 3\n2 2 3\n", {}, "expected energy in eV"),
        (HEAD.replace("itrans", "i0") + "1 2 3\n2 2 3\n", {}, "names columns twice"),
    ],
)
def test_what_is_no_spectrum_is_refused(
    text: str, given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "it.xdi").write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_measurement(tmp_path / "it.xdi", overrides=given)


def _reference(path: Path, energy: Any, values: Any, unit: str = "1/nm") -> Path:
    columns = {"energy": np.asarray(energy, dtype=float), "mu": np.asarray(values, dtype=float)}
    write_xdi(XdiColumns(columns=columns, units={"energy": "eV", "mu": unit}, fields={}), path)
    return path


def test_references_are_absorption_per_length_where_both_are_known(tmp_path: Path) -> None:
    first = _reference(tmp_path / "a.xdi", ENERGIES, [10, 20, 30, 40])
    second = _reference(tmp_path / "b.xdi", ENERGIES[::-1][1:], [3e8, 2e8, 1e8], "1/cm")
    found = reference_spectra(first, second)
    np.testing.assert_array_equal(found["energy"].values, ENERGIES[:3])
    np.testing.assert_allclose(found.values, [[1, 2, 3], [1, 2, 3]], rtol=1e-12)
    with pytest.raises(BadInputError, match="mu in no unit; expected 1/nm"):
        reference_spectra(first, _reference(tmp_path / "c.xdi", ENERGIES, ENERGIES, ""))
    with pytest.raises(BadInputError, match="no energies in common"):
        reference_spectra(first, _reference(tmp_path / "d.xdi", ENERGIES + 50, ENERGIES))
