"""Tilt series keep counts, axes and units through NXtomo and Scientific Data Exchange."""

import json
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith import stored_array
from echolith.dataset import load, save
from echolith.errors import BadInputError
from echolith.forward import stored_frames
from echolith.forward.exporters import write_measurement
from echolith.forward.importers import read_measurement
from echolith.forward.tilts import centres
from echolith.forward.tomography_writer import write_tilt_series
from tests.peers import environment_with

Array = npt.NDArray[Any]

LETTER = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]])
"""An F: no flip or transpose leaves it as it is."""


def letters(energies: int = 2, tilts: int = 4, shape: tuple[int, int] = (6, 9)) -> Array:
    """An F in every image, each of another brightness, (energy, tilt, y, x)."""
    image = np.zeros(shape, dtype=int)
    image[:5, 1:4] = 20 * LETTER
    light = 1 + np.arange(energies * tilts).reshape(energies, tilts)
    return np.asarray(light[..., None, None] * (image + 7), dtype=np.uint16)


def series(counts: Array, incident: Array, dims: tuple[str, ...], size: float) -> xr.Dataset:
    energies, tilts, *shape = counts.shape
    return xr.Dataset(
        {
            "counts": (("energy", "tilt", "y", "x"), counts, {"units": "photons"}),
            "incident": (dims, incident, {"units": "photons"}),
        },
        coords={
            "energy": ("energy", 708.2 + 2 * np.arange(energies), {"units": "eV"}),
            "tilt": ("tilt", np.linspace(-79.5, 61, tilts), {"units": "°"}),
            **{a: (a, centres(n, size), {"units": "Å"}) for a, n in zip("yx", shape, strict=True)},
        },
    )


@st.composite
def measurements(draw: st.DrawFn) -> xr.Dataset:
    energies, tilts = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    counts = letters(energies, tilts, (draw(st.integers(5, 8)), draw(st.integers(4, 9))))
    counts = counts.astype(draw(st.sampled_from([np.uint16, np.uint32, np.float32])))
    sizes = dict(zip(("energy", "tilt", "y", "x"), counts.shape, strict=True))
    dims = draw(st.sampled_from([(), ("energy",), ("tilt",), ("energy", "tilt"), ("y", "x")]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    incident = rng.integers(1, draw(st.sampled_from([50, 10**6])), [sizes[d] for d in dims])
    found = series(counts, incident, dims, draw(st.integers(1, 10**6)) / 10)
    found = found.isel(energy=0) if energies == 1 else found
    return found.chunk(tilt=2) if draw(st.booleans()) else found


@settings(max_examples=20)
@given(measurement=measurements())
def test_a_series_comes_back(measurement: xr.Dataset, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("series") / "m.nxs"
    write_measurement(measurement, path)
    found = read_measurement(path)
    counts, incident = measurement["counts"], measurement["incident"]
    xr.testing.assert_equal(found["counts"], counts)
    assert {name: found[name].attrs for name in found.coords} == {
        name: measurement[name].attrs for name in measurement.coords
    }
    told, expected = (
        one.broadcast_like(counts).transpose(*counts.dims) for one in (found["incident"], incident)
    )
    # Tilts are shares of a mean of single precision.
    np.testing.assert_allclose(told, expected, rtol=1e-6 if "tilt" in incident.dims else 0)
    assert found["counts"].attrs["units"] == "photons"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_tilt_series(
        series(letters(), np.array([500, 70000]), ("energy",), 67.0), tmp_path / "m.nxs"
    )
    return tmp_path / "m.nxs"


def test_a_long_series_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No block of our own file, nor of the other, is a whole series of one energy."""
    monkeypatch.setattr(stored_array, "LONGEST_ROW", 400)
    monkeypatch.setattr(stored_array, "BLOCK_BYTES", 250)
    monkeypatch.setattr(stored_frames, "BLOCK_BYTES", 250)
    whole = series(letters(), np.array(500), (), 67.0)
    save(whole, tmp_path / "m.h5")
    ours = load(tmp_path / "m.h5")
    write_measurement(ours, tmp_path / "m.nxs")
    theirs = read_measurement(tmp_path / "m.nxs")
    for found in (ours, theirs):
        assert found["counts"].chunks == ((1, 1), (2, 2), (6,), (9,))
        np.testing.assert_array_equal(found["counts"], whole["counts"])


def test_other_programs_see_the_same_stack(file: Path) -> None:
    """The names that TomoPy reads, and what its normalisation makes of them."""
    with h5py.File(file) as root:
        for n, incident in enumerate((500, 70000)):
            group = root[f"exchange{n or ''}"]
            data, white, dark = (
                group[k][()].astype(float) for k in ("data", "data_white", "data_dark")
            )
            theta = group["theta"][()]
            entry = root[f"entry_{n}" if n else "entry"]
            keep = entry["instrument/detector/image_key"][()] == 0
            np.testing.assert_array_equal(entry["data/data"][keep], data)
            np.testing.assert_array_equal(entry["data/rotation_angle"][keep], theta)
            transmission = (data - dark.mean(0)) / (white.mean(0) - dark.mean(0))
            np.testing.assert_allclose(transmission, letters()[n] / incident, rtol=1e-12)
        assert theta.tolist() == np.linspace(-79.5, 61, 4).tolist()


PROGRAM = """
import json, sys
import numpy as np
from nxtomo.application.nxtomo import NXtomo
from nxtomo.nxobject.nxdetector import ImageKey
from pint import get_application_registry

ours, theirs = sys.argv[1:]
read = NXtomo().load(ours, "entry_1", detector_data_as="as_numpy_array")
NXtomo.check_consistency(read, raises_error=True)
detector, sample = read.instrument.detector, read.sample
print(json.dumps({
    "sums": detector.data.sum(axis=(1, 2)).tolist(), "corner": detector.data[2, :5, 1:4].tolist(),
    "key": [key.value for key in detector.image_key],
    "angles": sample.rotation_angle.to("degree").magnitude.tolist(),
    "pixels": [p.to("angstrom").magnitude for p in (sample.y_pixel_size, detector.x_pixel_size)],
    "energy": read.instrument.beam.incident_energy.to("eV").magnitude,
}))
unit = get_application_registry()
made = NXtomo()
made.title, made.instrument.beam.incident_energy = "made", 18 * unit.keV
made.instrument.detector.data = np.arange(7 * 2 * 3, dtype=np.uint16).reshape(7, 2, 3)
keys = [ImageKey.FLAT_FIELD, *[ImageKey.PROJECTION] * 4, ImageKey.INVALID, ImageKey.FLAT_FIELD]
made.instrument.detector.image_key_control = np.array([key.value for key in keys])
made.instrument.detector.x_pixel_size = made.instrument.detector.y_pixel_size = 6.5 * unit.um
made.sample.rotation_angle = np.linspace(0.0, 300.0, 7) * unit.degree
made.save(theirs, "/entry0000", nexus_path_version=2.1)
"""


def test_the_reference_implementation_agrees(file: Path, tmp_path: Path) -> None:
    python = environment_with("nxtomo")
    theirs = tmp_path / "theirs.nx"
    called = subprocess.run(
        [python, "-c", PROGRAM, file, theirs], capture_output=True, text=True, check=True
    )
    told = json.loads(called.stdout.splitlines()[-1])
    assert told["key"] == [2, 1, 0, 0, 0, 0]
    assert told["sums"][2:] == letters()[1].sum(axis=(1, 2)).tolist()
    assert told["corner"] == letters()[1, 0, :5, 1:4].tolist()
    assert told["angles"][2:] == np.linspace(-79.5, 61, 4).tolist()
    assert told["pixels"] == pytest.approx([67, 67], rel=1e-12)
    assert told["energy"] == pytest.approx(710.2, rel=1e-12)
    found = read_measurement(theirs)
    frames = np.arange(42).reshape(7, 2, 3)
    np.testing.assert_array_equal(found["counts"], frames[1:5])
    np.testing.assert_allclose(found["tilt"], [50, 100, 150, -160])
    np.testing.assert_allclose(found["incident"], frames[[0, 6]].mean(axis=0))
    assert float(found["energy"]) == pytest.approx(18e3)
    np.testing.assert_allclose(found["x"], [-65e3, 0, 65e3], rtol=1e-12)


def camera(path: Path, *, unit: str | None = "um") -> tuple[Array, Array, Array]:
    """Write what a beam line might: a camera's counts with an offset, several flats and darks."""
    rng = np.random.default_rng(0)
    data, white, dark = (
        rng.uniform(low, low + 9, (n, 3, 5)).astype(np.float32)
        for low, n in ((300, 4), (900, 6), (100, 2))
    )
    with h5py.File(path, "w") as root:
        for name, values in (("data", data), ("data_white", white), ("data_dark", dark)):
            root[f"exchange/{name}"] = values
        root["exchange/theta"] = np.deg2rad([0.0, 45, 90, 135])
        root["exchange/theta"].attrs["units"] = "rad"
        root["measurement/instrument/monochromator/energy"] = 24.5
        root["measurement/instrument/detector/pixel_size"] = 1.3
        if unit:
            root["measurement/instrument/detector/pixel_size"].attrs["units"] = unit
    return data, white, dark


def test_a_camera_has_flats_darks_and_a_gain(tmp_path: Path) -> None:
    data, white, dark = camera(tmp_path / "m.h5")
    found = read_measurement(tmp_path / "m.h5", overrides={"gain": 2.0})
    # Single precision.
    np.testing.assert_allclose(found["counts"], (data - dark.mean(0)) / 2, rtol=1e-6)
    np.testing.assert_allclose(found["incident"], (white.mean(0) - dark.mean(0)) / 2, rtol=1e-6)
    np.testing.assert_allclose(found["tilt"], [0, 45, 90, 135])
    np.testing.assert_allclose(found["x"], 1.3e4 * (np.arange(5) - 2), rtol=1e-12)
    assert float(found["energy"]) == pytest.approx(24500)
    camera(tmp_path / "m.h5", unit="parsec")
    with pytest.raises(BadInputError, match="'parsec'; expected one of m, cm"):
        read_measurement(tmp_path / "m.h5")


def test_what_lacks_is_said_at_once_and_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as root:
        root["exchange/data"] = letters()[0]
    names = ("rotation_angle", "energy", "pixel_size", "incident")
    with pytest.raises(BadInputError, match=r".*".join(names)):
        read_measurement(path)
    told = {"rotation_angle": [0, 1, 2, 4], "energy": 710, "pixel_size": 1e-8, "incident": 900}
    found = read_measurement(path, overrides=told)
    np.testing.assert_array_equal(found["counts"], letters()[0])
    assert (float(found["energy"]), float(found["incident"])) == (710, 900)
    assert found["tilt"].values.tolist() == [0, 1, 2, 4]
    np.testing.assert_allclose(found["y"].diff("y"), 100)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"rotation_angles": 1}, "did you mean 'rotation_angle'"),
        ({"rotation_angle": [1, 2]}, "2 angles for 4 projections"),
        ({"rotation_angle": "no/where"}, "no dataset 'no/where'"),
        ({"pixel_size": "wide"}, "pixel_size = 'wide'; expected a number in m"),
        ({"gain": -1}, "gain = -1"),
        ({"entries": ["entry_2"]}, "did you mean 'entry_1'"),
        ({"energy": [700.0]}, "one for each entry"),
    ],
)
def test_bad_numbers_are_refused(file: Path, told: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read_measurement(file, overrides=told)


def test_broken_files_are_refused(file: Path, tmp_path: Path) -> None:
    with h5py.File(file, "r+") as root:
        root["entry/instrument/detector/image_key"][:] = 1
    with pytest.raises(BadInputError, match="0 of them projections"):
        read_measurement(file)
    both = series(letters(), np.ones((4, 6, 9)), ("tilt", "y", "x"), 67.0)
    with pytest.raises(BadInputError, match="not both"):
        write_measurement(both, tmp_path / "no.nxs")
    with pytest.raises(BadInputError, match=r"another kind \(counts over energy, tilt, y, x"):
        write_measurement(both, tmp_path / "no.xye")
    assert not list(tmp_path.glob("*no*"))
