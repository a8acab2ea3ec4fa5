"""Solvers in processes of their own: what goes over, what comes back, what cannot be run."""

import ast
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.validation.solver_exchange import (
    Variable,
    read_exchange,
    write_estimate,
    write_exchange,
)
from echolith.validation.solver_failure import SolverFailure
from echolith.validation.solver_process import RUNNER, SolverProcess
from tests.validation.bare_environment import make_environment
from tests.validation.solver_trials import OUTSIDER, measurement


def test_the_stand_in_looks_like_a_dataset(bare: Path, exchange: Path) -> None:
    estimate = SolverProcess(target=f"{OUTSIDER}:what_it_sees", python=bare)(measurement())
    seen = json.loads(str(estimate["seen"].values))
    assert seen == {
        "type": "Measurement",
        "dims": ["scan_y", "scan_x"],
        "units": "electrons",
        "dose": 8.1e4,
        "names": ["counts"],
        "coords": ["scan_x"],
        "x": [0.0, 0.2, 0.4, 0.6],
        "sizes": {"scan_y": 3, "scan_x": 4},
        "sum": 66.0,
        "xarray": False,
        "contains": [True, False],
    }
    assert not list(exchange.iterdir())


def test_with_xarray_the_solver_gets_and_returns_a_dataset(tmp_path: Path, exchange: Path) -> None:
    script = tmp_path / "labelled.py"
    script.write_text(
        "import xarray as xr\n"
        "def same(measurement):\n"
        "    assert isinstance(measurement, xr.Dataset), type(measurement)\n"
        "    return measurement.assign(total=measurement.counts.sum())\n",
        encoding="utf-8",
    )
    given_ = measurement()
    estimate = SolverProcess(target=f"{script}:same")(given_)
    assert float(estimate["total"]) == 66
    xr.testing.assert_identical(estimate.drop_vars("total"), given_)
    assert not list(exchange.iterdir())


def test_lazy_measurements_are_written_block_by_block(bare: Path) -> None:
    import dask.array as da

    lazy = measurement(da.ones((3, 4), chunks=(1, 4)) * 2)
    estimate = SolverProcess(target=f"{OUTSIDER}:total", python=bare)(lazy)
    assert float(estimate["total"]) == 24
    assert hasattr(lazy["counts"].data, "dask")


def test_every_form_of_a_returned_dict(bare: Path) -> None:
    estimate = SolverProcess(target=f"{OUTSIDER}:every_form", python=bare)(measurement())
    assert int(estimate["number"]) == 3
    assert estimate["x"].dims == estimate["species"].dims == ("column",)
    assert estimate["species"].values.tolist() == ["M", "O", "Li"]
    assert estimate["raw"].values.tolist() == ["M", "O", "Li"]
    assert estimate["image"].dims == ("image_0", "image_1")
    assert estimate["map"].dims == ("row", "column")
    assert estimate["map"].attrs == {"units": "Å"}
    assert estimate["line"].dims == ("row",)


def test_bare_arrays_lie_along_the_columns_whichever_way_x_is_given() -> None:
    with tempfile.TemporaryDirectory() as name:
        for index, (x, dims) in enumerate(
            (
                ([1.0, 2.0], ("column",)),
                (("column", [1.0, 2.0]), ("column",)),
                (("other", [1.0, 2.0]), ("species_0",)),
                ([1.0, 2.0, 3.0], ("species_0",)),
                (1.0, ("species_0",)),
            )
        ):
            folder = Path(name) / str(index)
            write_estimate({"x": x, "species": ["M", "O"]}, folder)
            assert read_exchange(folder, mapped=False)[0]["species"].dims == dims


def test_a_big_estimate_comes_back_whole(bare: Path, exchange: Path) -> None:
    estimate = SolverProcess(target=f"{OUTSIDER}:big", python=bare)(measurement())
    assert np.array_equal(estimate["volume"].values.ravel(), np.arange(4_000_000.0))
    assert not list(exchange.iterdir())


def test_a_solver_cannot_change_what_it_is_given(bare: Path) -> None:
    # More than the size from which arrays are mapped.
    counts = np.ones((3, 400_000))
    data = xr.Dataset({"counts": (("scan_y", "scan_x"), counts)})
    SolverProcess(target=f"{OUTSIDER}:changes_its_input", python=bare)(data)
    assert data["counts"].values.all()


def test_an_environment_without_numpy_is_told(tmp_path: Path) -> None:
    empty = make_environment(tmp_path / "empty", with_numpy=False)
    with pytest.raises(SolverFailure, match="it needs NumPy"):
        SolverProcess(target=f"{OUTSIDER}:total", python=empty)(measurement())


def test_modules_are_found_in_the_working_folder(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(OUTSIDER.parent)
    estimate = SolverProcess(target="outsider:total", python=bare)(measurement())
    assert float(estimate["total"]) == 66


def test_our_import_path_stays_here(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "on_our_path.py").write_text("def solve(m): return {'total': 1.0}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert SolverProcess(target="on_our_path:solve").check()
    with pytest.raises(BadInputError, match="no module 'on_our_path'"):
        SolverProcess(target="on_our_path:solve", python=bare).check()


def test_a_module_of_the_standard_library_is_not_hidden_by_ours(tmp_path: Path, bare: Path) -> None:
    # `report` stands for any of ours; the script's own folder must not be on the path.
    script = tmp_path / "looks.py"
    script.write_text(
        "import importlib.util\n"
        "def looks(measurement):\n"
        "    return {'total': float(importlib.util.find_spec('report') is not None)}\n",
        encoding="utf-8",
    )
    estimate = SolverProcess(target=f"{script}:looks", python=bare)(measurement())
    assert float(estimate["total"]) == 0


def test_a_target_can_be_checked_without_a_measurement(bare: Path) -> None:
    assert SolverProcess(target=f"{OUTSIDER}:hangs", python=bare).check()
    for target, message in (
        (f"{OUTSIDER}:hang", "did you mean 'hangs'"),
        ("no_such_package.module:solve", "no module 'no_such_package'"),
        ("json.nothing:solve", "no module 'json.nothing'"),
        ("wd", "there is no solver 'wd'"),
    ):
        with pytest.raises(BadInputError, match=message):
            SolverProcess(target=target, python=bare).check()


def test_the_digest_of_a_target_follows_its_code(tmp_path: Path, bare: Path) -> None:
    script, neighbour = tmp_path / "digested.py", tmp_path / "neighbour.py"
    digests = []
    for code, beside in (("1", "1"), ("1", "1"), ("2", "1"), ("2", "2")):
        script.write_text(f"import neighbour\ndef solve(m): return {code}\n", encoding="utf-8")
        neighbour.write_text(f"value = {beside}\n", encoding="utf-8")
        digests.append(SolverProcess(target=f"{script}:solve", python=bare).check())
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_broken_file_is_told_with_its_line(tmp_path: Path, bare: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("import numpy\nnumpy.no_such_thing\n", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"AttributeError.*broken\.py line 2"):
        SolverProcess(target=f"{script}:solve", python=bare).check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_limit": 0}, "time_limit = 0 s"),
        ({"time_limit": float("nan")}, "time_limit = nan s"),
        ({"memory_limit": -1}, "memory_limit = -1 bytes"),
        ({"python": Path("no/such/python")}, "no Python interpreter"),
        ({"target": "none.py:solve"}, "no file 'none.py'"),
        ({"target": "none.py"}, "none.py:function"),
    ],
)
def test_what_cannot_work_is_refused_when_made(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        SolverProcess(**{"target": "package:function", **options})  # type: ignore[arg-type]


NUMBERS = st.sampled_from(["b1", "u1", "<u2", "<i4", ">f4", "<f8", "<c16"])


@given(
    shape=st.lists(st.integers(0, 4), max_size=3),
    dtype=NUMBERS,
    attrs=st.dictionaries(st.text(), st.text() | st.booleans() | st.integers() | st.floats()),
    mapped=st.booleans(),
)
def test_variables_go_over_and_back_bit_by_bit(
    shape: list[int], dtype: str, attrs: dict[str, object], mapped: bool
) -> None:
    values = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    dims = ["abc"[axis] for axis in range(len(shape))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "there"
        write_exchange(folder, {"v": Variable(dims, values, attrs)}, coords=set(), attrs=attrs)
        variables, coords, back = read_exchange(folder, mapped=mapped)
    found = variables["v"]
    assert found.values.dtype == np.dtype(dtype)
    assert np.array_equal(found.values, values)
    assert list(found.dims) == dims
    assert repr(found.attrs) == repr(back) == repr(attrs)
    assert coords == set()


@pytest.mark.parametrize("name", ["solver_runner", "solver_exchange", "solver_target"])
def test_what_runs_elsewhere_needs_python_3_9_and_numpy_alone(name: str) -> None:
    text = RUNNER.with_name(f"{name}.py").read_text("utf-8")
    tree = ast.parse(text, feature_version=(3, 9))
    imports = {
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    foreign = {n.split(".")[0] for n in imports} - set(sys.stdlib_module_names)
    assert foreign <= {"numpy", "xarray"}
    calls = {node.func.id: node for node in ast.walk(tree)
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
    # zip(strict=) and isinstance(x, A | B) are of Python 3.10.
    assert "zip" not in calls
    assert not any(
        isinstance(argument, ast.BinOp)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance"
        for argument in node.args
    )
