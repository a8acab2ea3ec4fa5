"""Solvers and scenarios of other packages, found by name."""

import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from echolith.errors import BadInputError, BadInputWarning
from echolith.validation.catalogue import Entry, entry, own_scenarios, scenario, scenarios
from echolith.validation.solver_process import SolverProcess
from echolith.validation.solvers import load_solver, solver_names
from tests.validation.bare_environment import make_environment
from tests.validation.outside_package import install

MODULE = """
def solve(measurement):
    return {"total": 1.0}

class Family:
    @staticmethod
    def member(measurement):
        return {"total": 2.0}

constant = 3.0
"""

SCENARIO = """
from types import SimpleNamespace
from echolith.forward.acquisition import Settings
from echolith.validation.scenarios.li_rich_oxide import li_rich_oxide, LiRichOxideSettings

def make(settings):
    return li_rich_oxide(LiRichOxideSettings())

class OwnSettings(Settings):
    thickness: float = 1.0

good = SimpleNamespace(summary="of another package", settings=OwnSettings, make=make)
incomplete = SimpleNamespace(summary="no settings")
untyped = SimpleNamespace(summary="", settings=dict, make=make)
"""


@pytest.fixture(autouse=True)
def _same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def outsider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install(
        tmp_path,
        monkeypatch,
        name="outsider_solvers",
        module=MODULE,
        entry_points={
            "echolith.solvers": {
                "outside": "outsider_solvers:solve",
                "member": "outsider_solvers:Family.member [extra]",
                "broken": "no_such_module_at_all:solve",
            }
        },
    )


def total(solver: object) -> float:
    assert callable(solver)
    return float(solver(xr.Dataset())["total"])


def test_entry_points_are_listed_and_loaded(outsider: Path) -> None:
    assert {"outside", "member", "broken"} <= set(solver_names())
    assert total(load_solver("outside")) == 1
    assert total(load_solver("member")) == 2


def test_listing_imports_nothing(outsider: Path) -> None:
    solver_names()
    assert "outsider_solvers" not in sys.modules


def test_modules_and_files_are_loaded(outsider: Path) -> None:
    assert total(load_solver("outsider_solvers:solve")) == 1
    assert total(load_solver("outsider_solvers:Family.member")) == 2
    assert total(load_solver(f"{outsider}/outsider_solvers.py:solve")) == 1


def test_a_file_may_import_its_neighbours_and_is_read_anew(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_it.py").write_text("TOTAL = 5.0\n", encoding="utf-8")
    script = tmp_path / "changing_solver.py"
    body = "def solve(measurement):\n    from neighbour_of_it import TOTAL\n"
    script.write_text(body + "    return {'total': TOTAL}\n", encoding="utf-8")
    assert total(load_solver(f"{script}:solve")) == 5
    # Of the same length, and within the same second.
    script.write_text(body + "    return {'total': -5.0}\n", encoding="utf-8")
    assert total(load_solver(f"{script}:solve")) == -5


def test_a_file_named_like_a_loaded_module_does_not_replace_it(tmp_path: Path) -> None:
    script = tmp_path / "numpy.py"
    script.write_text("def solve(measurement):\n    return {'total': 7.0}\n", encoding="utf-8")
    assert total(load_solver(f"{script}:solve")) == 7
    assert sys.modules["numpy"] is np


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("outsid", r"no solver 'outsid'; did you mean 'outside'\?.*package\.module:function"),
        ("broken", "no module 'no_such_module_at_all'"),
        ("outsider_solvers:solv", r"has no 'solv'; did you mean 'solve'\?"),
        ("outsider_solvers:constant", "of type float and cannot be called"),
        ("outsider_solvers:Family.membe", "did you mean 'member'"),
        ("no_such_package_here:solve", "no module 'no_such_package_here'"),
        ("outsider_solvers.inner:solve", "outsider_solvers.inner"),
        ("nowhere.py:solve", r"no file 'nowhere\.py'"),
        (":solve", "not of the form package.module:function"),
        ("outsider_solvers:", "not of the form package.module:function"),
    ],
)
def test_what_cannot_be_loaded_is_told_with_the_near_match(
    name: str, message: str, outsider: Path
) -> None:
    with pytest.raises(BadInputError, match=message):
        load_solver(name)


def test_a_module_that_fails_is_told_with_its_line(tmp_path: Path) -> None:
    script = tmp_path / "failing_solver.py"
    script.write_text("import no_such_dependency\n", encoding="utf-8")
    with pytest.raises(BadInputError, match=r"no_such_dependency.*failing_solver\.py line 1"):
        load_solver(f"{script}:solve")
    script.write_text("import sys\nsys.exit(4)\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="SystemExit: 4"):
        load_solver(f"{script}:solve")
    assert "failing_solver" not in sys.modules


def test_entry_points_of_another_environment_are_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = make_environment(tmp_path / "environment")
    base = {"base": str(environment), "platbase": str(environment)}
    theirs = Path(sysconfig.get_path("purelib", "venv", vars=base))
    with monkeypatch.context() as here:
        points = {"echolith.solvers": {"there": "of_there:solve"}}
        install(theirs, here, name="of_there", module=MODULE, entry_points=points)
    assert "there" not in solver_names()
    assert total(SolverProcess(target="there", python=environment)) == 1


@pytest.fixture
def outside_scenarios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        tmp_path,
        monkeypatch,
        name="outsider_scenarios",
        module=SCENARIO,
        entry_points={
            "echolith.scenarios": {
                "outside": "outsider_scenarios:good",
                "incomplete": "outsider_scenarios:incomplete",
                "untyped": "outsider_scenarios:untyped",
                "missing": "outsider_scenarios:nothing",
                "li-rich-oxide": "outsider_scenarios:good",
            }
        },
    )


@pytest.mark.usefixtures("outside_scenarios")
def test_good_scenarios_are_listed_and_broken_ones_named() -> None:
    with pytest.warns(BadInputWarning) as caught:
        known = scenarios()
    assert {*own_scenarios(), "outside"} == set(known)
    assert known["outside"].summary == "of another package"
    assert known["li-rich-oxide"].summary != "of another package"
    told = " ".join(str(warning.message) for warning in caught)
    for words in (
        "'incomplete' of outsider_scenarios",
        "without settings, make",
        "expected a Settings class",
        "'missing' of outsider_scenarios",
        "there is one of this name already",
    ):
        assert words in told


@pytest.mark.usefixtures("outside_scenarios")
def test_one_scenario_is_made_without_a_word_about_the_others() -> None:
    assert isinstance(entry("outside"), Entry)
    assert scenario("outside", thickness=2.0).name == "li-rich-oxide"
    with pytest.raises(BadInputError, match="did you mean 'thickness'"):
        scenario("outside", thicknes=2.0)
    with pytest.raises(BadInputError, match=r"'missing' of .*AttributeError"):
        entry("missing")
    with pytest.raises(BadInputError, match="did you mean 'outside'"):
        entry("outsid")


def test_without_other_packages_there_is_no_warning() -> None:
    assert "li-rich-oxide" in scenarios()
