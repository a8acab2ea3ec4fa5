"""Far-field frames keep counts, places and units through CXI."""

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

from echolith.errors import BadInputError
from echolith.forward.exporters import write_measurement
from echolith.forward.importers import read_measurement
from echolith.forward.xray_probe import photon_wavelength
from tests.peers import environment_with

Array = npt.NDArray[Any]

LETTER = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]])
"""An F: no flip or transpose leaves it as it is."""
PLATE = {"photons": 9e5, "outer_zone_width": 600.0, "central_stop": 0.4, "defocus": 5e4}


def letters(count: int, pixels: int = 16) -> Array:
    """An F in every frame, off the middle, each of another brightness."""
    frame = np.zeros((pixels, pixels), dtype=int)
    frame[2:7, 9:12] = LETTER
    return np.asarray((1 + np.arange(count))[:, None, None] * frame, dtype=np.uint32)


@st.composite
def scans(draw: st.DrawFn) -> xr.Dataset:
    sizes = {"energy": draw(st.integers(1, 2)), "tilt": draw(st.integers(1, 2))}
    sizes |= {"scan": draw(st.integers(1, 2)), "position": draw(st.integers(4, 6))}
    if draw(st.booleans()):
        del sizes["tilt"]
    shape, pixels = tuple(sizes.values()), 2 * draw(st.integers(8, 10))
    counts = letters(int(np.prod(shape)), pixels).reshape(*shape, pixels, pixels)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    places = 300 * rng.standard_normal((2, *shape))
    # As the origin of a raster is.
    places -= places.mean(axis=-1, keepdims=True)
    frames = xr.Dataset(
        {"counts": ((*sizes, "detector_y", "detector_x"), counts, {"units": "photons"})},
        coords={
            "energy": ("energy", 708.2 + 2 * np.arange(sizes["energy"]), {"units": "eV"}),
            **{
                f"position_{axis}": (tuple(sizes), places[n], {"units": "Å"})
                for n, axis in enumerate("yx")
            },
        },
        attrs={"energy": 708.2, "pixel_size": draw(st.integers(100, 9999)) / 10, **PLATE},
    )
    if "tilt" in sizes:
        angles = np.array([-30.0, 45.5])[: sizes["tilt"]]
        frames = frames.assign_coords(tilt=("tilt", angles, {"units": "°"}))
    if draw(st.booleans()):
        frames.attrs |= {"readout": 1.5, "saturation": 4000.0}
        share = rng.uniform(0.1, 1, (pixels, pixels)).astype(np.float32)
        told = (("detector_y", "detector_x"), share, {"units": "1"})
        frames = frames.assign_coords(detector_transmission=told)
    return frames.chunk(position=2) if draw(st.booleans()) else frames


@settings(max_examples=15)
@given(measurement=scans())
def test_scans_come_back(measurement: xr.Dataset, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("scans") / "m.cxi"
    write_measurement(measurement, path)
    found = read_measurement(path)
    # Places are the only numbers that are not rounded on the way back.
    xr.testing.assert_allclose(
        found.transpose(*measurement["counts"].dims), measurement, rtol=1e-14, atol=1e-11
    )
    assert found.attrs == measurement.attrs
    assert found["position_x"].attrs["units"] == "Å"


def one_scan() -> xr.Dataset:
    places = np.stack(np.meshgrid([-500.0, 100], [-300.0, 0, 700], indexing="ij")).reshape(2, 6)
    return xr.Dataset(
        {"counts": (("position", "detector_y", "detector_x"), letters(6))},
        coords={
            f"position_{a}": ("position", places[n], {"units": "Å"}) for n, a in enumerate("yx")
        },
        attrs={"energy": 708.2, "pixel_size": 67.0, **PLATE},
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_measurement(one_scan(), tmp_path / "m.cxi")
    return tmp_path / "m.cxi"


PROGRAM = """
import importlib.util, json, sys, types
import h5py
import numpy as np
# Its reader uses torch only where it writes; the package itself would load all of it.
torch = types.ModuleType("torch")
torch.Tensor = ()
sys.modules.setdefault("torch", torch)
place = importlib.util.find_spec("cdtools").submodule_search_locations[0]
spec = importlib.util.spec_from_file_location("cxi", place + "/tools/data/data.py")
cxi = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cxi)
with h5py.File(sys.argv[1]) as file:
    distance, basis, corner = cxi.get_detector_geometry(file)
    frames, axes = cxi.get_data(file)
    print(json.dumps({
        "wavelength": float(cxi.get_wavelength(file)), "distance": float(distance),
        "basis": basis.tolist(), "corner": corner.tolist(), "axes": axes,
        "probe": cxi.get_ptycho_translations(file).tolist(), "frame": frames[2].tolist(),
    }))
"""


def test_another_program_finds_the_same_experiment(file: Path) -> None:
    """From its wavelength, detector and probe follow our pixels, beam pixel and positions."""
    python = environment_with("cdtools", "h5py", "dateutil")
    called = subprocess.run(
        [python, "-c", PROGRAM, file], capture_output=True, text=True, check=True
    )
    told = json.loads(called.stdout)
    basis, corner = np.array(told["basis"]), np.array(told["corner"])
    if basis.shape == (2, 3):
        basis = basis.T
    # In single precision, as it reads.
    size = told["wavelength"] * told["distance"] / (16 * np.linalg.norm(basis, axis=0))
    np.testing.assert_allclose(size, 67e-10, rtol=1e-6)
    assert told["wavelength"] == pytest.approx(photon_wavelength(708.2) * 1e-10, rel=1e-6)
    np.testing.assert_allclose(corner + basis @ [8, 8], [0, 0, 1], atol=1e-9)
    probe = np.array(told["probe"])
    # Rows and columns of a frame run along the axes of the specimen: so do its first two vectors.
    rows, columns = (probe @ basis[:, n] / np.linalg.norm(basis[:, n]) for n in (0, 1))
    np.testing.assert_allclose(rows, one_scan()["position_y"] * 1e-10, rtol=1e-6, atol=1e-16)
    np.testing.assert_allclose(columns, one_scan()["position_x"] * 1e-10, rtol=1e-6, atol=1e-16)
    np.testing.assert_array_equal(told["frame"], one_scan()["counts"][2])


def recorded(path: Path, *, turned: bool = False) -> Array:
    """Write a raster of another program: oblong frames, an off-centre beam, a mask, floats."""
    frames = np.zeros((2, 3, 22, 30), dtype=np.float32)
    frames[:, :, 3:19, 6:22] = letters(6).reshape(2, 3, 16, 16) + 0.5
    mask = np.zeros((22, 30), dtype=np.uint32)
    mask[3 + 4, 6 + 9], mask[3 + 2, 6 + 10] = 1, 0x1000
    corner, steps = np.array([14 * 2e-5, 11 * 2e-5, 0.3]), np.array([-2e-5, -2e-5])
    if turned:
        frames, mask = frames[..., ::-1, :], mask[::-1]
        corner[1], steps[0] = -(21 - 11) * 2e-5, 2e-5
    with h5py.File(path, "w") as root:
        root["cxi_version"] = 160
        entry = root.create_group("entry_1")
        entry["data_1/data"], entry["instrument_1/detector_1/mask"] = frames, mask
        entry["instrument_1/source_1/energy"] = 1.2e-16
        entry["instrument_1/detector_1/corner_position"] = corner
        entry["instrument_1/detector_1/basis_vectors"] = [[0, steps[0], 0], [steps[1], 0, 0]]
        places = np.zeros((6, 3))
        places[:, 0], places[:, 1] = 1e-3 + 1e-7 * np.arange(6), [0, 0, 0, 2e-7, 2e-7, 2e-7]
        entry["sample_1/geometry_1/translation"] = places
    return frames


GIVEN = {
    "distance": 0.3,
    "pixel_size": 2e-5,
    "photons": 1e6,
    "outer_zone_width": 6e-8,
    "central_stop": 0.4,
    "defocus": 5e-6,
}


@pytest.mark.parametrize("turned", [False, True])
def test_frames_of_others_are_cut_about_the_beam(tmp_path: Path, turned: bool) -> None:
    recorded(tmp_path / "m.cxi", turned=turned)
    given = GIVEN | {"pixels": 16}
    found = read_measurement(tmp_path / "m.cxi", overrides=given).squeeze(drop=True)
    expected = letters(6) + np.float32(0.5)
    good = np.ones((16, 16))
    good[4, 9] = 0
    np.testing.assert_array_equal(found["counts"], expected * good)
    np.testing.assert_array_equal(found["detector_transmission"], good)
    np.testing.assert_allclose(found["position_x"], 1e3 * (np.arange(6) - 2.5), rtol=1e-9)
    np.testing.assert_allclose(found["position_y"], [0, 0, 0, 2e3, 2e3, 2e3])
    energy = 1.2e-16 / 1.602176634e-19
    assert found.attrs["energy"] == pytest.approx(energy)
    size = photon_wavelength(energy) * 0.3 / (16 * 2e-5)
    assert found.attrs["pixel_size"] == pytest.approx(size, rel=1e-6)
    assert found.attrs["defocus"] == pytest.approx(5e4)
    with pytest.raises(BadInputError, match=r"24 pixels .* expected 16 to 2[02]; give pixels"):
        read_measurement(tmp_path / "m.cxi", overrides=GIVEN | {"pixels": 24})


def test_what_lacks_is_said_at_once(tmp_path: Path) -> None:
    recorded(tmp_path / "m.cxi")
    with pytest.raises(BadInputError, match=r".*".join(GIVEN)):
        read_measurement(tmp_path / "m.cxi")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"photon": 1}, "did you mean 'photons'"),
        ({"photons": [1, 2]}, "expected one number"),
        ({"energy": "high"}, "expected a number in eV"),
        ({"entries": "entry_3"}, "did you mean 'entry_1'"),
        ({"pixel_size": 1e-6}, "turn the frames"),
    ],
)
def test_bad_numbers_are_refused(file: Path, told: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read_measurement(file, overrides=told)


def test_broken_files_are_refused(file: Path, tmp_path: Path) -> None:
    with h5py.File(file, "r+") as root:
        root["entry_1/instrument_1/detector_1/distance"].attrs["units"] = "parsec"
    with pytest.raises(BadInputError, match="'parsec'; expected one of m, cm"):
        read_measurement(file)
    with h5py.File(file, "r+") as root:
        root["entry_1/instrument_1/detector_1/distance"].attrs["units"] = "mm"
        for place in ("sample_1/geometry_1", "data_1", "instrument_1/detector_1"):
            del root[f"entry_1/{place}/translation"]
    with pytest.raises(BadInputError, match="no translations"):
        read_measurement(file)
    lost = one_scan()
    del lost.attrs["energy"]
    with pytest.raises(BadInputError, match="does not tell the energy"):
        write_measurement(lost, tmp_path / "no.cxi")
    assert not list(tmp_path.glob("*no*"))
