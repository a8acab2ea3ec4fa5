"""Regression tests of solvers in pytest: the marker ``echolith`` and the fixture ``echolith``.

.. code-block:: python

    @pytest.mark.echolith("li-rich-oxide", dose=8.1e4, seeds=8)
    def test_my_solver(echolith):
        echolith.check(my_solver)

``pytest --echolith-update`` writes the baseline ``baselines/<file>.<test>.json`` next to the test;
later runs fail when the solver is significantly worse. Nothing heavy is imported before a test asks
for the fixture.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from echolith.protocols import Solver
    from echolith.validation.baseline_check import Question
    from echolith.validation.scenario import Scenario
    from echolith.validation.verdict import Verdict

MARKER = "echolith"
TOLD = "echolith"
"""Name of the property of a test that holds what the terminal summary says of it."""
PLAN = "echolith_plan"
"""Name of the property that holds the plan, the power before all."""
OWN = ("seeds", "margin", "false_alarm")
"""Keywords of the marker that are not settings."""
USAGE = '@pytest.mark.echolith("li-rich-oxide", dose=8.1e4, seeds=8)'


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--echolith-update``."""
    group = parser.getgroup("echolith", "regression tests of solvers (echolith)")
    group.addoption(
        "--echolith-update",
        action="store_true",
        default=False,
        help="Run the tests marked echolith and write their baselines instead of comparing.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "echolith(scenario, *, seeds=None, margin=0.01, false_alarm=0.005, **settings): scenario "
        "(name, Scenario, or function that returns one) on which the fixture 'echolith' compares "
        "a solver with its baseline; names with dots as **{'scan.shape': (48, 48)}",
    )


@pytest.fixture
def echolith(request: pytest.FixtureRequest) -> "EcholithTest":
    """Compare a solver with its baseline: ``echolith.check(solver)``."""
    return EcholithTest(request)


class EcholithTest:
    """What a test marked ``echolith`` is given."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._node: Any = request.node
        self._config = request.config
        self._checked: set[Path] = set()

    def check(self, solver: "Solver | None" = None, *, name: str | None = None) -> "Verdict | None":
        """Fail the test if the solver is significantly worse than its baseline.

        Parameters
        ----------
        solver : callable, optional
            Measurement to estimate; the scenario's reference solver by default.
        name : str, optional
            Tells several checks of one test apart.

        Returns
        -------
        Verdict or None
            None where a baseline was written.
        """
        from echolith.errors import BadInputError
        from echolith.validation.baseline_check import check_against, update_baseline
        from echolith.validation.verdict import Outcome

        path = self._claim(name)
        try:
            question = self._question()
            if self._config.getoption("--echolith-update"):
                update_baseline(path, solver, question)
                self._tell(f"baseline written: {self._shown(path)}")
                return None
            if not path.exists():
                pytest.fail(self._how_to_make(path), pytrace=False)
            verdict = check_against(path, solver, question)
        except BadInputError as error:
            pytest.fail(str(error), pytrace=False)
        if verdict.outcome is Outcome.WORSE:
            pytest.fail("\n  ".join(verdict.lines), pytrace=False)
        self._tell(verdict.headline)
        if verdict.outcome is Outcome.BETTER:
            for line in verdict.lines[1:]:
                self._tell(f"  {line}")
            self._tell("  keep it with --echolith-update")
        return verdict

    def _question(self) -> "Question":
        from echolith.errors import BadInputError
        from echolith.validation.baseline_check import Question
        from echolith.validation.regression_power import Aim

        mark = self._node.get_closest_marker(MARKER)
        if mark is None or len(mark.args) != 1:
            raise BadInputError(f"the fixture echolith needs one scenario in its marker: {USAGE}")
        unknown = {n: v for n, v in mark.kwargs.items() if n not in OWN}
        named = isinstance(mark.args[0], str)
        return Question(
            scenario=_scenario(mark.args[0], nested(unknown)),
            seeds=_seeds(mark.kwargs.get("seeds")),
            aim=Aim(**{n: mark.kwargs[n] for n in ("margin", "false_alarm") if n in mark.kwargs}),
            folder=self._folder() if named else None,
            tell=print,
            record=lambda plan: self._node.user_properties.append((PLAN, plan)),
        )

    def _folder(self) -> Path | None:
        cache = getattr(self._config, "cache", None)
        return None if cache is None else Path(cache.mkdir("echolith"))

    def _claim(self, name: str | None) -> Path:
        """Return the file of the baseline; refuse to use one twice in a test."""
        node = self._node
        parts = [node.path.stem, *node.nodeid.split("::")[1:], *([name] if name else [])]
        path: Path = node.path.parent / "baselines" / f"{file_name('.'.join(parts))}.json"
        if path in self._checked:
            pytest.fail(
                f"{self._shown(path)} is checked twice in this test; tell the checks apart: "
                "echolith.check(solver, name=...)",
                pytrace=False,
            )
        self._checked.add(path)
        return path

    def _how_to_make(self, path: Path) -> str:
        return (
            f"there is no baseline {self._shown(path)}; make one with a solver you trust and "
            f"commit it:\n  pytest '{self._node.nodeid}' --echolith-update"
        )

    def _shown(self, path: Path) -> str:
        root = self._config.rootpath
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)

    def _tell(self, line: str) -> None:
        self._node.user_properties.append((TOLD, line))


def _scenario(what: Any, settings: dict[str, Any]) -> "Scenario":
    from echolith.errors import BadInputError
    from echolith.validation.catalogue import scenario
    from echolith.validation.scenario import Scenario

    if isinstance(what, str):
        return scenario(what, **settings)
    if isinstance(what, Scenario):
        if settings:
            raise BadInputError(
                f"the marker gives settings ({', '.join(settings)}) to a finished Scenario; give "
                "a name, or the function that makes it"
            )
        return what
    made = what(**settings) if callable(what) else what
    if not isinstance(made, Scenario):
        raise BadInputError(
            f"the marker's scenario is {made!r}; expected a name, a Scenario, or a function that "
            "returns one"
        )
    return made


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with dotted names as nested mappings.

    Examples
    --------
    >>> nested({"dose": 1e4, "scan.shape": (8, 8)})
    {'dose': 10000.0, 'scan': {'shape': (8, 8)}}
    """
    from echolith.validation.settings import merge

    result: dict[str, Any] = {}
    for name, value in settings.items():
        for part in reversed(name.split(".")):
            value = {part: value}
        result = merge(result, value)
    return result


def _seeds(asked: Any) -> tuple[int, ...] | None:
    if asked is None:
        return None
    return tuple(range(asked)) if isinstance(asked, int) else tuple(asked)


def file_name(name: str) -> str:
    """Return a name fit for a file: what is replaced is told apart by a checksum.

    Examples
    --------
    >>> file_name("test_a.test_b"), file_name("test_a.test_b[x/y]")
    ('test_a.test_b', 'test_a.test_b-x_y-0b8bf0d1')
    """
    from zlib import crc32

    plain = re.sub(r"[^\w.=+-]+", "_", name.replace("[", "-").removesuffix("]"))
    return plain if plain == name else f"{plain}-{crc32(name.encode()):08x}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what the tests marked ``echolith`` found, those of other processes too."""
    told: list[tuple[str, list[str]]] = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                lines = [str(v) for name, v in report.user_properties if name == TOLD]
                told += [(report.nodeid, lines)] if lines else []
    if not told:
        return
    terminalreporter.section("echolith")
    for nodeid, lines in sorted(told):
        terminalreporter.line(f"{nodeid}: {lines[0]}")
        for line in lines[1:]:
            terminalreporter.line(f"  {line}")


__all__ = ["EcholithTest", "echolith", "file_name", "nested"]
