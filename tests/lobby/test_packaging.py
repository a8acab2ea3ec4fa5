"""The house itself: what the wheel holds, who imports whom, what an import costs, what leaks."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

import echolith

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("structures", "forward", "inverse", "validation")
MAY_IMPORT = {
    "echolith": {"echolith"},
    "structures": {"echolith", "structures"},
    "forward": {"echolith", "structures", "forward"},
    "inverse": {"echolith", "forward", "inverse"},
    "validation": {"echolith", *ROOMS},
}
# The command line may import every room; the front door loads names from rooms when first used.
FREE = {
    "echolith/cli.py",
    "echolith/cli_compare.py",
    "echolith/cli_demo_data.py",
    "echolith/cli_generate.py",
    "echolith/cli_papers.py",
    "echolith/cli_plan.py",
    "echolith/cli_planner.py",
    "echolith/cli_session.py",
    "echolith/__init__.py",
}
# What solvers may take from forward: how a measurement is described, and operators on waves.
OPERATORS = {
    "acquisition",
    "crystal_phase",
    "detector_response",
    "diffraction_box",
    "electron_factors",
    "energy_loss",
    "filtered_acquisition",
    "goniometer",
    "hrtem_acquisition",
    "optics",
    "plural_scattering",
    "powder_pattern",
    "powder_profile",
    "projection",
    "projection_kernels",
    "saed_lattice",
    "structure_factors",
    "tilts",
    "xray_factors",
    "xray_probe",
}
HEAVY = ("abtem", "ase", "dask", "gemmi", "h5py", "matplotlib", "numba", "numpy", "scipy", "xarray")


def tracked_files() -> list[PurePosixPath]:
    """List the files git tracks or would track, relative to the root."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a clone: the list of tracked files is what is compared with")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    names = sorted({name for name in listed.split("\0") if name})
    present = [name for name in names if (ROOT / name).exists() or (ROOT / name).is_symlink()]
    return [PurePosixPath(name) for name in present]


def modules() -> list[Path]:
    """List every module of the package, once each, by its real path."""
    rooms = [ROOT / "echolith", *(ROOT / room for room in ROOMS)]
    # glob with ** does not follow the lobby's links before Python 3.13; drop them where it does.
    found = {path for room in rooms for path in room.glob("**/*.py")}
    return sorted(path for path in found if path.resolve() == path)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def build_wheel(folder: Path) -> Path:
    """Build a wheel from a copy of the tracked files, without network."""
    pytest.importorskip("setuptools", minversion="77", reason="an older one cannot read pyproject")
    tree = folder / "tree"
    for name in tracked_files():
        source, target = ROOT / name, tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        else:
            shutil.copyfile(source, target)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    command = [sys.executable, "-c", build, str(folder)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_holds_exactly_the_tracked_files_of_the_rooms(tmp_path: Path) -> None:
    expected = set()
    for name in tracked_files():
        if (ROOT / name).is_symlink() or name.parts[0] not in {"echolith", *ROOMS}:
            continue
        expected.add(str(name if name.parts[0] == "echolith" else PurePosixPath("echolith") / name))
    with zipfile.ZipFile(build_wheel(tmp_path)) as wheel:
        names = set(wheel.namelist())
        (entry,) = (n for n in names if n.endswith(".dist-info/entry_points.txt"))
        assert "echolith = echolith.cli:main" in wheel.read(entry).decode()
    assert {n for n in names if ".dist-info/" not in n} == expected
    assert any(n.endswith("licenses/LICENSE") for n in names)


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of everything a module imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def destination(name: str) -> str | None:
    """Return the room a dotted name leads to, None where it leaves the house."""
    first, second, *_ = [*name.split("."), ""]
    if first in ROOMS:
        return first
    if first != "echolith":
        return None
    # Names of the front door live in a room.
    home = echolith._HOMES.get(second, f"echolith.{second}").split(".")[1]
    return home if home in ROOMS else "echolith"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way_through_the_house(path: Path) -> None:
    if path.relative_to(ROOT).as_posix() in FREE:
        pytest.skip("may import every room")
    wrong = [
        f"line {line}: {name}"
        for line, name in imported(path)
        if (room := destination(name)) is not None and room not in MAY_IMPORT[room_of(path)]
    ]
    assert not wrong, f"{room_of(path)} may import {sorted(MAY_IMPORT[room_of(path)])}: {wrong}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_are_imported_by_their_full_name(path: Path) -> None:
    wrong = [f"line {n}: {name}" for n, name in imported(path) if name.split(".")[0] in ROOMS]
    assert not wrong, f"write echolith.<room>: {wrong}"


@pytest.mark.parametrize(
    "path",
    [p for p in modules() if room_of(p) == "inverse"],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_solvers_import_operators_and_nothing_that_makes_specimens(path: Path) -> None:
    names = [name for _, name in imported(path)]
    forward = {n.split(".")[2] for n in names if n.startswith("echolith.forward.")}
    assert forward <= OPERATORS, f"not an operator: {sorted(forward - OPERATORS)}"
    assert not {n.split(".")[0] for n in names} & {"ase", "abtem"}


def test_solvers_load_nothing_that_makes_specimens() -> None:
    names = [f"echolith.inverse.{p.stem}" for p in modules() if room_of(p) == "inverse"]
    loaded = loaded_by("import " + ", ".join(n.removesuffix(".__init__") for n in names))
    barred = ("ase", "abtem", "echolith.structures", "echolith.validation")
    assert not {n for n in loaded if n in barred or n.startswith(tuple(f"{b}." for b in barred))}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_packages_are_imported_when_used(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in top
        for alias in node.names
    }
    assert not {n.split(".")[0] for n in names} & {"abtem", "matplotlib"}


def loaded_by(statement: str) -> set[str]:
    """Return the modules in memory after a statement in a fresh interpreter."""
    code = f"{statement}; import sys, json; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", code]
    # In the root: so that the tree is found without an install too.
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("statement", ["import echolith", "import echolith.cli"])
def test_the_front_door_is_light(statement: str) -> None:
    # What the interpreter loads by itself (site hooks) is not ours.
    new = loaded_by(statement) - loaded_by("pass")
    heavy = {n for n in new if n.split(".")[0] in HEAVY}
    rooms = {n for n in new if n.startswith("echolith.") and n.split(".")[1] in ROOMS}
    assert not heavy | rooms


def test_every_name_of_the_front_door_leads_somewhere() -> None:
    for name, home in echolith._HOMES.items():
        module = ROOT.joinpath(*home.split(".")[1 if home.split(".")[1] in ROOMS else 0 :])
        assert module.with_suffix(".py").exists(), f"echolith.{name} points to {home}"


# Written in pieces so that this file does not find itself.
LEAKS = {
    "a machine's path": r"(?<![\w.$}>])/(work|farm|tmp|home|root|Users)/[\w.]",
    "a package registry": r"(index-"
    r"url|://reg"
    r"istry|/sim"
    r"ple/|pypi\.(org|io)|python"
    r"hosted)",
    "a package mirror": r"://(deb|files|mirror)s?\.",
}


@pytest.mark.parametrize("what", LEAKS)
def test_no_tracked_file_names(what: str) -> None:
    found = []
    for name in tracked_files():
        path = ROOT / name
        if path.is_symlink():
            continue
        try:
            lines = path.read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # pictures and the like
        found += [f"{name}:{i}: {x}" for i, x in enumerate(lines, 1) if re.search(LEAKS[what], x)]
    assert not found, f"{what} in {found}"


def project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file)["project"])


def test_the_version_is_said_once() -> None:
    assert project()["version"] == echolith.__version__


def test_constraints_pin_every_dependency_and_nothing_else_but_packages() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").split("\n")
    wrong = [x for x in lines if x and not x.startswith("#") and not re.fullmatch(PINNED, x)]
    assert not wrong, f"not of the form name==version: {wrong}"
    pinned = {plain_name(x.split("==")[0]) for x in lines if "==" in x}
    content = project()
    wanted: list[str] = list(content["dependencies"])  # type: ignore[call-overload]
    for extra in content["optional-dependencies"].values():  # type: ignore[attr-defined]
        wanted += extra
    names = {plain_name(re.split(r"[<>=!~\[; ]", requirement)[0]) for requirement in wanted}
    assert names <= pinned, f"not pinned: {sorted(names - pinned)}"


PINNED = r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+(\s*;.*)?"


def plain_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("room", ROOMS)
def test_the_lobby_links_to_the_rooms(room: str) -> None:
    link = ROOT / "echolith" / room
    if not link.is_symlink() and link.is_file():
        pytest.skip("checked out without symbolic links")
    assert link.readlink() == Path("..") / room
