"""The pytest plugin, run by pytest itself on a small project of its own."""

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import xarray as xr

# Loaded here, before any pytest inside this one: numpy cannot be imported twice in a process.
from echolith.validation import baseline_check, catalogue, mean_store, pytest_plugin
from echolith.validation.pytest_plugin import file_name
from echolith.validation.scenario import Scenario
from tests.validation import voxel_scenario

pytest_plugins = ["pytester"]

HELPER = Path(voxel_scenario.__file__).read_text("utf-8")
TEST = """
import pytest
from toy import *

@pytest.mark.echolith(voxels, rate=300.0, side=10, seeds=6)
def test_solver(echolith):
    echolith.check(SOLVER)
"""
BASELINE = "baselines/test_toy.test_solver.json"
NAME = "echolith.validation.pytest_plugin"
INSTALLED = any(point.value == NAME for point in entry_points(group="pytest11"))
PLUGIN = () if INSTALLED else ("-p", NAME)


class Project:
    """A folder with one test of a solver."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        pytester.makepyfile(toy=HELPER)
        pytester.makeini("[pytest]\naddopts = --strict-markers\nfilterwarnings = error")

    def write(self, text: str = TEST, *, solver: str = "counts") -> None:
        self.pytester.makepyfile(test_toy=text.replace("SOLVER", solver))

    def run(self, *options: str) -> pytest.RunResult:
        # Within this process the plugin is loaded before pytest could rewrite its assertions.
        rewriting = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
        return self.pytester.runpytest_inprocess(*PLUGIN, *rewriting, *options)

    @property
    def baseline(self) -> Path:
        return self.pytester.path / BASELINE


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    made = Project(pytester)
    made.write()
    return made


def test_it_is_an_entry_point_of_pytest() -> None:
    root = Path(__file__).resolve().parents[2]
    content = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    assert content["project"]["entry-points"]["pytest11"] == {"echolith": pytest_plugin.__name__}


def test_a_baseline_is_made_kept_and_missed_when_worse(project: Project) -> None:
    missing = project.run()
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(
        [
            f"*there is no baseline {BASELINE}*",
            "*pytest 'test_toy.py::test_solver' --echolith-update*",
        ]
    )
    assert not project.baseline.exists()

    made = project.run("--echolith-update")
    made.assert_outcomes(passed=1)
    made.stdout.fnmatch_lines([f"test_toy.py::test_solver: baseline written: {BASELINE}"])
    written = project.baseline.read_bytes()
    assert json.loads(written)["settings"] == {"rate": 300.0, "side": 10}

    unchanged = project.run()
    unchanged.assert_outcomes(passed=1)
    unchanged.stdout.fnmatch_lines(["test_toy.py::test_solver: not told apart from the baseline*"])

    project.write(solver="spread_out")
    worse = project.run()
    worse.assert_outcomes(failed=1)
    worse.stdout.fnmatch_lines(
        [
            "significantly worse than the baseline: 6 seeds, margin 1 %, false-alarm rate 0.5 %",
            "*rms of rate 17.* → 19.* (+*%), p *: worse",
        ]
    )
    assert project.baseline.read_bytes() == written, "only --echolith-update writes"


def test_significantly_better_is_told_and_passes(project: Project) -> None:
    project.write(solver="spread_out")
    project.run("--echolith-update").assert_outcomes(passed=1)
    project.write(solver="counts")
    better = project.run()
    better.assert_outcomes(passed=1)
    better.stdout.fnmatch_lines(
        [
            "test_toy.py::test_solver: significantly better than the baseline*",
            "*rms of rate 19.* → 17.* (-*%), p *: better",
            "*keep it with --echolith-update",
        ]
    )
    again = project.run("--echolith-update", "-s")
    again.stdout.fnmatch_lines(["the baseline that it replaces:", "significantly better*"])


def test_the_power_is_stated_before_the_solver_runs(project: Project) -> None:
    said = "def counts_aloud(m):\n    print('solver runs')\n    return counts(m)\n"
    project.write(TEST.replace("@pytest", said + "\n@pytest"), solver="counts_aloud")
    project.run("--echolith-update").assert_outcomes(passed=1)
    done = project.run("-s", "--junit-xml=report.xml")
    text = done.stdout.str()
    stated = re.search(
        r"6 seeds find a 10 % larger spread of all errors with a power of (\S+) %", text
    )
    assert stated is not None
    assert stated.start() < text.index("solver runs")
    assert "seeds are needed for 90 %" in text
    xml = (project.pytester.path / "report.xml").read_text("utf-8")
    assert "'power': 0." in xml


def test_without_seeds_as_many_are_run_as_it_proposes(project: Project) -> None:
    project.write(TEST.replace(", seeds=6", "").replace("side=10", "side=20"))
    project.run("--echolith-update").assert_outcomes(passed=1)
    seeds = json.loads(project.baseline.read_text("utf-8"))["seeds"]
    # 400 voxels: eleven by theory, more for what eight seeds do not tell.
    assert baseline_check.PILOT_SEEDS < len(seeds) <= baseline_check.MOST_PROPOSED
    done = project.run("-s")
    done.assert_outcomes(passed=1)
    stated = re.search(r"(\d+) seeds find .* with a power of (\S+) % or more", done.stdout.str())
    assert stated is not None
    assert int(stated[1]) == len(seeds)
    assert float(stated[2]) >= 90


def test_a_failing_solver_fails_the_test_with_its_reason(project: Project) -> None:
    project.run("--echolith-update").assert_outcomes(passed=1)
    project.write(solver="crashes")
    done = project.run()
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        ["*failed cases 0 → 6 of 6*worse (seed 0: RuntimeError: broken on purpose)"]
    )
    project.baseline.unlink()
    update = project.run("--echolith-update")
    update.assert_outcomes(failed=1)
    update.stdout.fnmatch_lines(["*every case failed (seed 0: RuntimeError: broken on purpose)*"])
    assert not project.baseline.exists()


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("", "*needs one scenario in its marker*"),
        ("@pytest.mark.echolith(seeds=6)", "*needs one scenario in its marker*"),
        ("@pytest.mark.echolith('li-rich-oxid', seeds=6)", "*did you mean 'li-rich-oxide'?*"),
        ("@pytest.mark.echolith('li-rich-oxide', dos=1e4)", "*unknown setting 'dos'*'dose'*"),
        ("@pytest.mark.echolith(voxels(), rate=3.0)", "*settings (rate) to a finished Scenario*"),
        ("@pytest.mark.echolith(counts.__name__.upper, seeds=6)", "*is 'COUNTS'; expected a name*"),
        ("@pytest.mark.echolith(7, seeds=6)", "*scenario is 7; expected a name*"),
        ("@pytest.mark.echolith(voxels, seeds=2)", "*expected at least 3*"),
        ("@pytest.mark.echolith(voxels, seeds=6, margin=2)", "*margin = 2; expected 0 to 1*"),
    ],
)
def test_a_marker_that_cannot_be_says_what_is_wrong(
    project: Project, marker: str, message: str
) -> None:
    project.write(f"{TEST[: TEST.index('@')]}{marker}\n{TEST[TEST.index('def ') :]}")
    done = project.run()
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([message])


def test_a_baseline_of_something_else_is_refused(project: Project) -> None:
    project.run("--echolith-update").assert_outcomes(passed=1)
    for old, new, message in (
        ("seeds=6", "seeds=7", "*seeds 0 to 5, not 0 to 6*--echolith-update*"),
        ("rate=300.0", "rate=200.0", "*rate = 200.0 (baseline: 300.0)*--echolith-update*"),
    ):
        project.write(TEST.replace(old, new))
        done = project.run()
        done.assert_outcomes(failed=1)
        done.stdout.fnmatch_lines([message])
    project.write()
    text = project.baseline.read_text("utf-8")
    project.baseline.write_text(text[: len(text) // 2], "utf-8")
    project.run().stdout.fnmatch_lines(["*cannot be read*restore it from version control*"])


def test_several_checks_and_parameters_have_baselines_of_their_own(project: Project) -> None:
    project.write(
        """
import pytest
from toy import *

class TestSolvers:
    @pytest.mark.parametrize("by", [1.0, 1.1], ids=["a/b", "c"])
    @pytest.mark.echolith(voxels(side=6), seeds=3)
    def test_two(self, echolith, by):
        echolith.check(lambda m: spread_out(m, by=by))
        echolith.check(counts, name="counts")

@pytest.mark.echolith(voxels(side=6), seeds=3)
def test_twice(echolith):
    echolith.check(counts)
    echolith.check(counts)
"""
    )
    project.run("--echolith-update").assert_outcomes(passed=2, failed=1)
    names = sorted(path.name for path in project.baseline.parent.iterdir())
    assert len(names) == 5
    assert all(
        re.fullmatch(r"test_toy\.(TestSolvers\.test_two-|test_twice)[\w.-]*json", n) for n in names
    )
    done = project.run()
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(["*test_twice.json is checked twice*name=...*"])


def test_names_fit_for_files_are_told_apart() -> None:
    names = ["test_a[x/y]", "test_a[x:y]", "test_a[x_y]", "test_a-x_y"]
    made = [file_name(name) for name in names]
    assert len(set(made)) == len(names)
    assert all(re.fullmatch(r"[\w.=+-]+", name) for name in made)


def test_a_mean_is_simulated_once_for_all_runs(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For scenarios by name; those of a function or object may be of any code."""
    simulated: list[float] = []

    def make(settings: voxel_scenario.VoxelSettings) -> Scenario:
        base = voxel_scenario.voxels(rate=settings.rate, side=settings.side)

        def forward(specimen: xr.DataArray) -> xr.Dataset:
            simulated.append(settings.rate)
            return base.forward(specimen)

        return replace(base, forward=forward)

    known = catalogue.Entry(
        summary="",
        settings=voxel_scenario.VoxelSettings,
        make=make,
    )
    monkeypatch.setattr(catalogue, "entry", lambda name: known)
    project.write(TEST.replace("echolith(voxels", "echolith('voxels'"))
    project.run("--echolith-update").assert_outcomes(passed=1)
    project.run().assert_outcomes(passed=1)
    assert simulated == [300.0]
    (kept,) = (project.pytester.path / ".pytest_cache" / "d" / "echolith").iterdir()

    kept.write_bytes(b"damaged")
    project.run().assert_outcomes(passed=1)
    assert simulated == [300.0] * 2
    monkeypatch.setattr(mean_store, "ENGINES", ("numpy",))  # as if other versions were installed
    project.run().assert_outcomes(passed=1)
    assert simulated == [300.0] * 3
    assert len([*kept.parent.iterdir()]) == 1, "what is out of date is deleted"
    project.run("-p", "no:cacheprovider").assert_outcomes(passed=1)
    assert simulated == [300.0] * 4


def test_a_mean_of_a_function_or_object_is_not_kept(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = catalogue.Entry(
        summary="",
        settings=voxel_scenario.VoxelSettings,
        make=lambda settings: voxel_scenario.voxels(),
    )
    monkeypatch.setattr(catalogue, "entry", lambda name: known)
    project.run("--echolith-update").assert_outcomes(passed=1)
    assert not (project.pytester.path / ".pytest_cache" / "d").exists()


def test_workers_of_xdist_report_too(project: Project) -> None:
    pytest.importorskip("xdist")
    project.run("--echolith-update").assert_outcomes(passed=1)
    done = project.pytester.runpytest_subprocess(*PLUGIN, "-n", "1", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["test_toy.py::test_solver: not told apart from the baseline*"])


def test_projects_without_such_tests_do_not_notice(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others load what they like
    pytester.makeini("[pytest]\naddopts = --strict-markers --strict-config\nfilterwarnings = error")
    pytester.makepyfile(
        """
        import sys

        def test_nothing_heavy_was_loaded():
            heavy = {"numpy", "scipy", "xarray", "abtem", "ase", "dask", "pydantic", "yaml"}
            assert not heavy & sys.modules.keys()
            ours = {name for name in sys.modules if name.startswith("echolith")}
            assert ours == {"echolith", "echolith.validation", "echolith.validation.pytest_plugin"}
        """
    )
    done = pytester.runpytest_subprocess("-p", NAME)
    done.assert_outcomes(passed=1)
    assert "echolith" not in done.stdout.str()


def test_importing_the_plugin_loads_nothing_but_pytest() -> None:
    code = (
        f"import pytest, sys; known = {{*sys.modules}}; import {NAME}; "
        "print(*({*sys.modules} - known))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name.split(".")[0] for name in done.stdout.split()} <= {
        "echolith"
    } | sys.stdlib_module_names
