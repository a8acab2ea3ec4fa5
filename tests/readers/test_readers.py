"""Other programs open a saved measurement: its numbers in place, size and unit of pixels right.

`make test-readers` installs them, each in an environment of its own, and runs this.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import echolith as el
from echolith.dataset import save
from tests.readers.see import described

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "readers.md"
RASTER = ("scan_y", "scan_x", "detector_y", "detector_x")
PROGRAMS = {
    "py4dstem": "py4dstem",
    "hyperspy": "hyperspy",
    "pyxem": "pyxem",
    "libertem": "libertem",
    "silx": "silx",
    "nexusformat": "silx",
}
"""And the environment each is in."""
RASTERS_ONLY = ("py4dstem", "pyxem")
AXES = {
    "scan_y": (0.3, 0.0, "Å"),
    "scan_x": (0.3, 0.0, "Å"),
    "detector_y": (2.0, -10.0, "mrad"),
    "detector_x": (2.0, -12.0, "mrad"),
    "eta": (0.02, 7.5, "°"),
    "frame": (0.04, 0.02, "s"),
    "y": (0.35, 0.0, "Å"),
    "x": (0.7, -3.0, "Å"),
}
OF_PY4DSTEM = {"Å": "A"}


def letter(rows: int, columns: int) -> np.ndarray:
    """Draw an F: whatever flips or transposes it shows."""
    drawn = np.zeros((rows, columns), dtype=np.int64)
    drawn[1:-1, 1] = drawn[1, 1:-1] = drawn[rows // 2, 1 : columns // 2 + 1] = 1
    return drawn


def letters(**sizes: int) -> xr.Dataset:
    """An F in the image, an F in every frame, and counts that differ everywhere."""
    shape = tuple(sizes.values())
    counts = np.arange(np.prod(shape)).reshape(shape) % 251
    counts += 300 * letter(*shape[-2:])
    if len(shape) == 4:
        counts += 700 * letter(*shape[:2])[:, :, None, None]
    axes = {}
    for dim, size in sizes.items():
        step, start, units = AXES[dim]
        axes[dim] = (dim, start + step * np.arange(size), {"units": units})
    counted = (tuple(sizes), counts.astype(np.uint16), {"units": "electrons"})
    return xr.Dataset({"counts": counted}, coords=axes)


def simulated() -> xr.Dataset:
    """A small measurement of a scenario; its HAADF is in the file too."""
    settings: dict[str, Any] = {
        "occupation": "ordered",
        "thickness": 5.7,
        "scan": {"shape": (18, 23), "step": 0.25},
        "detector": {"shape": (32, 32), "pixel_size": 1.6},
        "haadf": {"outer": 80.0},
        "simulation": {"minimum_box": 14.0},
    }
    small = el.scenario("li-rich-oxide", **settings)
    # Too small a field for the distances of its truth, which is not asked for here.
    counted: xr.Dataset = small.noise.sample(small.forward(small.build(3)), seed=3).compute()
    return counted


CASES: dict[str, Callable[[], xr.Dataset]] = {
    "letters": lambda: letters(scan_y=7, scan_x=9, detector_y=10, detector_x=13),
    "li-rich-oxide": simulated,
    "rocking": lambda: letters(scan_y=4, scan_x=5, eta=3, detector_y=10, detector_x=13),
    "movie": lambda: letters(frame=3, y=10, x=13),
}


@pytest.fixture(scope="module", params=CASES)
def saved(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, xr.Dataset]:
    if "ECHOLITH_READERS" not in os.environ:
        pytest.skip("other programs are asked by `make test-readers`")
    folder = tmp_path_factory.mktemp(request.param)
    measurement = CASES[request.param]()
    save(measurement, folder / "measurement.h5")
    return folder, measurement


def seen_by(program: str, folder: Path) -> dict[str, Any]:
    """Let a program open the file, in its own environment."""
    python = Path(os.environ["ECHOLITH_READERS"]).resolve() / PROGRAMS[program] / "bin" / "python"
    if not python.exists():
        pytest.skip(f"there is no environment with {program}; `make test-readers` makes it")
    command = [python, HERE / "see.py", HERE / f"read_{program}.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def expected_axes(program: str, counts: xr.DataArray) -> list[tuple[float, float, str]]:
    axes = [counts[dim] for dim in counts.dims]
    told = [(float(axis[1] - axis[0]), float(axis[0]), axis.attrs["units"]) for axis in axes]
    if program == "py4dstem":  # it counts from 0
        return [(step, 0.0, OF_PY4DSTEM.get(units, units)) for step, _, units in told]
    return told


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_sees_what_was_saved(program: str, saved: tuple[Path, xr.Dataset]) -> None:
    folder, measurement = saved
    counts = measurement["counts"]
    if program in RASTERS_ONLY and counts.dims != RASTER:
        pytest.skip(f"{program} opens rasters of frames")
    seen = seen_by(program, folder)
    assert seen["shape"] == list(counts.shape)
    own = described(counts.values, counts.sum(counts.dims[-2:]).values, None)
    assert (seen["sha256"], seen["image"]) == (own["sha256"], own["image"])
    if program == "libertem":
        assert seen["axes"] is None
        return
    for found, told in zip(seen["axes"], expected_axes(program, counts), strict=True):
        np.testing.assert_allclose(found[:2], told[:2], rtol=1e-9, atol=1e-12)
        assert found[2] == told[2]


def test_the_page_shows_what_is_run() -> None:
    block = re.compile(r"tests/readers/(read_\w+\.py) -->\n\n```python\n(.*?)```", re.DOTALL)
    shown = block.findall(PAGE.read_text(encoding="utf-8"))
    assert sorted(name for name, _ in shown) == sorted(f"read_{name}.py" for name in PROGRAMS)
    for name, text in shown:
        script = iter((HERE / name).read_text(encoding="utf-8").splitlines())
        missing = [line for line in text.splitlines() if line and line not in script]
        assert not missing, f"{name} does not run {missing}"
