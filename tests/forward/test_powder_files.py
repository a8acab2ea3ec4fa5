"""Powder patterns as people have them: every form is read as what it says, or refused in words."""

import contextlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.importers import read_measurement
from echolith.forward.powder_files import read_powder
from echolith.forward.powder_writers import write_powder

REAL = Path(__file__).resolve().parents[3] / "shared" / "real" / "LiCoO2_CuKa.dat"
SUFFIXES = (".xy", ".xye", ".dat", ".uxd")
COUNTS = [12, 0, 7, 649, 3, 25]
ANGLES = [10.0, 10.02, 10.04, 10.06, 10.08, 10.1]
LINES = [1.5406, 1.0, 1.54439, 0.5]


def written(folder: Path, text: str | bytes, name: str = "pattern.dat") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder: Path, text: str | bytes, **options: float) -> xr.Dataset:
    return read_powder(written(folder, text), **options)  # type: ignore[arg-type]


def pattern(angles: object, counts: object) -> xr.Dataset:
    return xr.Dataset(
        {"counts": ("two_theta", np.asarray(counts, dtype=float))},
        coords={"two_theta": np.asarray(angles, dtype=float)},
        attrs={"lines": LINES},
    )


@given(
    suffix=st.sampled_from(SUFFIXES),
    start=st.integers(100, 6000).map(lambda n: n / 100),
    step=st.integers(1, 500).map(lambda n: n / 10_000),
    counts=st.lists(st.integers(0, 10**7), min_size=4, max_size=60),
)
def test_counts_and_angles_come_back_from_every_form(
    tmp_path_factory: pytest.TempPathFactory,
    suffix: str,
    start: float,
    step: float,
    counts: list[int],
) -> None:
    counts[1] = max(counts[1], 1)
    measured = pattern(start + step * np.arange(len(counts)), counts)
    path = tmp_path_factory.mktemp("powder") / f"pattern{suffix}"
    write_powder(measured, path)
    found = read_measurement(path)
    np.testing.assert_array_equal(found["counts"], measured["counts"])
    # Angles are written to nine digits.
    np.testing.assert_allclose(found["two_theta"], measured["two_theta"], rtol=0, atol=1e-6)
    assert found.attrs.get("lines", LINES) == LINES
    assert ("lines" in found.attrs) == (suffix == ".uxd")


@given(
    counts=st.lists(st.integers(1, 10**5), min_size=5, max_size=40),
    scale=st.floats(1e-3, 1e3),
)
def test_scaled_counts_are_photons_again_by_their_uncertainties(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], scale: float
) -> None:
    lines = [
        f"{10 + 0.02 * n:.2f} {scale * count!r} {float(scale * np.sqrt(count))!r}"
        for n, count in enumerate(counts)
    ]
    found = read(tmp_path_factory.mktemp("powder"), "\n".join(lines))
    # Scales within 5 % of 1 with whole numbers are counts as they stand.
    np.testing.assert_allclose(
        found["counts"], counts, rtol=1e-6 if abs(scale - 1) > 0.05 else 0.06
    )


def test_uncertainties_that_are_not_of_counting_are_told(tmp_path: Path) -> None:
    lines = [f"{10 + 0.02 * n:.2f} {100 + n} {10 + n}" for n in range(20)]
    with pytest.warns(BadInputWarning, match=r"pattern\.dat.*not those of scaled counts"):
        read(tmp_path, "\n".join(lines))


COLUMNS = "\n".join(f"{a:.2f} {c}" for a, c in zip(ANGLES, COUNTS, strict=True))
SAME: dict[str, str | bytes] = {
    "two columns": COLUMNS,
    "comments": "# from a beam line\n! and\n; others\n" + COLUMNS + "\n# end",
    "title": "LiCoO2, 25 C\n2theta counts\n" + COLUMNS,
    "title with number": "25 C run\n" + COLUMNS,
    "commas": COLUMNS.replace(" ", ","),
    "commas and blanks": COLUMNS.replace(" ", ", "),
    "semicolons": COLUMNS.replace(" ", ";"),
    "decimal commas": COLUMNS.replace(".", ",").replace(" ", "\t"),
    "decimal commas and semicolons": COLUMNS.replace(".", ",").replace(" ", "; "),
    "Windows": COLUMNS.replace("\n", "\r\n"),
    "Latin-1": "# 2\xb0 slits, \xc5\n".encode("latin-1") + COLUMNS.encode(),
    "BOM": COLUMNS.encode("utf-8-sig"),
    "UTF-16": COLUMNS.encode("utf-16"),
    "uncertainties of 0": COLUMNS.replace("\n", " 0\n") + " 0",
    "start step stop": "10 0.02 10.1\n12 0 7 649\n3 25\n",
    "start step stop title": "10.0 0.02 10.1 LiCoO2, 12.5 s\n" + "\n".join(map(str, COUNTS)),
    "three a line": "10 0.02 10.1\n12 0 7\n649 3 25\n",
    "UXD pairs": "; (Data)\n_FILEVERSION=2\n_2THETACOUNTS\n" + COLUMNS,
    "UXD": "_FILEVERSION = 2\n_SAMPLE='a; b'\n_START = 10\n_STEPSIZE=0.02 ; degree\n_STEPCOUNT=6\n"
    "_COUNTS\n12 0 7 649\n3 25",
    "UXD per second": "_2THETA=10\n_STEPSIZE=0.02\n_STEPTIME=0.5\n_CPS\n24 0 14 1298 6 50",
    "UXD ranges": "_START=10\n_STEPSIZE=0.02\n_COUNTS\n12 0 7\n"
    "_START=10.06\n_STEPSIZE=0.02\n_COUNTS\n649 3 25\n",
}


@pytest.mark.parametrize("name", SAME)
def test_forms_of_the_same_pattern(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, SAME[name])
    assert found["counts"].values.tolist() == COUNTS
    np.testing.assert_allclose(found["two_theta"], ANGLES, atol=1e-9)


def test_counts_per_second_become_counts(tmp_path: Path) -> None:
    text = "\n".join(f"{a:.2f} {c / 12.5!r}" for a, c in zip(ANGLES, COUNTS, strict=True))
    np.testing.assert_allclose(read(tmp_path, text, step_time=12.5)["counts"], COUNTS)
    with pytest.warns(BadInputWarning, match=r"0\.96 are not counts.*step_time"):
        assert float(read(tmp_path, text)["counts"][0]) == 0.96


def test_rounded_angles_are_in_equal_steps_again(tmp_path: Path) -> None:
    true = 5 + 0.0131303 * np.arange(400)
    text = "\n".join(f"{angle:.3f} 7" for angle in true)
    found = read(tmp_path, text)["two_theta"].values
    assert np.ptp(np.diff(found)) < 1e-9
    assert np.abs(found - true).max() < 6e-4


WAVES = "_WL1=1.5406\n_WL2 = 1.54439\n_WLRATIO=0.5\n_ANODE='Cu'\n"
PARTS = WAVES + "_START=10\n_STEPSIZE=1\n_COUNTS\n1 2 3\n_START=10\n_STEPSIZE=2\n_COUNTS\n4 5 6\n"


def test_lines_and_ranges_of_a_uxd_file(tmp_path: Path) -> None:
    second = read(tmp_path, PARTS, part=2)
    assert second["counts"].values.tolist() == [4, 5, 6]
    assert second["two_theta"].values.tolist() == [10, 12, 14]
    assert second.attrs["lines"] == LINES


WRONG: dict[str, str | bytes] = {
    "is empty": " \n",
    "is not text": b"RAW1.01\0\0\1\2",
    "holds no numbers": "nothing\n",
    "line 4: 'oops 12'": COLUMNS.replace("10.06 649", "oops 12"),
    "line 5: 3 numbers": COLUMNS.replace("10.08 3", "10.08 3 1"),
    "line 3: 2 theta = 10.01° after 10.02°": COLUMNS.replace("10.04", "10.01"),
    "line 1: 4 numbers": "1 2 3 4\n5 6 7 8\n",
    "announce 6 points, 5 follow": "10 0.02 10.1\n12 0 7 649\n3\n",
    "holds 1 points": "10 3\n",
    "expected degrees": "10 1\n400 2\n500 1",
    "expected numbers": "10 1\n11 1e999\n",
    "an uncertainty is -1": "10 4 2\n11 9 -1\n",
    "no value above 0": "10 -4 2\n11 -9 1\n",
    "2 ranges (10 to 12°, 10 to 14°)": PARTS,
    "no counts": WAVES + "_FILEVERSION=2",
    "_STEPSIZE": "_START=10\n_COUNTS\n1 2 3",
    "expected a number": "_START=ten\n_STEPSIZE=1\n_COUNTS\n1 2 3",
    "_STEPSIZE = -1": "_START=10\n_STEPSIZE=-1\n_COUNTS\n1 2 3",
    "7 are announced": "_START=10\n_STEPSIZE=1\n_STEPCOUNT=7\n_COUNTS\n1 2 3",
    "no pairs": "_2THETACOUNTS\n10 1 11",
    "line 2: 'seven'": "_2THETACOUNTS\nseven\n",
    "no _STEPTIME": "_START=10\n_STEPSIZE=1\n_CPS\n1 2 3",
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_is_told_with_the_name_of_the_file(tmp_path: Path, message: str) -> None:
    with pytest.raises(BadInputError, match=r"pattern\.dat") as told:
        read(tmp_path, WRONG[message])
    assert message in str(told.value)


def test_what_is_given_for_the_wrong_file_is_refused(tmp_path: Path) -> None:
    for text, options, message in (
        (COLUMNS, {"part": 1}, "no ranges"),
        (PARTS, {"part": 3}, "ranges 1 to 2"),
        (PARTS, {"part": 1, "step_time": 2.0}, "holds counts"),
        (COLUMNS, {"step_time": -1.0}, "step_time = -1 s"),
    ):
        with pytest.raises(BadInputError, match=message):
            read(tmp_path, text, **options)
    for told in ({"part": 1.5}, {"step_time": "long"}):
        with pytest.raises(BadInputError, match="expected a number"):
            read_measurement(written(tmp_path, COLUMNS), overrides=told)
    with pytest.raises(BadInputError, match="did you mean 'step_time'"):
        read_measurement(written(tmp_path, COLUMNS), overrides={"steptime": 1})
    with pytest.raises(BadInputError, match="cannot be read"):
        read_powder(tmp_path)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    uneven = pattern([1, 2, 4], [1, 2, 3])
    for measured, name, message in (
        (uneven, "a.dat", "equal steps"),
        (uneven, "a.raw", r"expected one of \.xy"),
        (uneven.rename(counts="y"), "a.xy", "no counts"),
        (uneven * np.nan, "a.xy", "not finite"),
    ):
        with pytest.raises(BadInputError, match=message):
            write_powder(measured, tmp_path / name)
    assert not list(tmp_path.iterdir())


GOOD = st.sampled_from([text for text in SAME.values() if isinstance(text, str)])
PIECES = st.one_of(
    st.text(max_size=12), st.sampled_from(["\n", "_", " nan ", "1e400", "-", ",", "="])
)


@given(text=GOOD, cut=st.floats(0, 1), piece=PIECES, at=st.floats(0, 1))
def test_a_damaged_file_gives_a_pattern_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, text: str, cut: float, piece: str, at: float
) -> None:
    kept = text[: round(cut * len(text))]
    place = round(at * len(kept))
    data = (kept[:place] + piece + kept[place:]).encode("utf-8", "replace")
    with contextlib.suppress(BadInputError), warnings.catch_warnings():
        warnings.simplefilter("ignore", BadInputWarning)
        found = read(tmp_path_factory.mktemp("powder"), data)
        assert (np.diff(found["two_theta"]) > 0).all()
        assert np.isfinite(found["counts"]).all()


@pytest.mark.skipif(not REAL.exists(), reason="needs the measured pattern of LiCoO2")
def test_a_measured_file() -> None:
    found = read_measurement(REAL)
    assert found["counts"].values[[0, 1, -1]].tolist() == [649, 609, 401]
    assert found["two_theta"].values[[0, -1]] == pytest.approx([16, 136])
    assert found.sizes["two_theta"] == 4001
