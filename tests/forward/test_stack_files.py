"""Rocking curves of a raster are read the same from every layout of a beam line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.goniometer import Goniometer
from echolith.forward.importers import read_measurement
from echolith.forward.stack_files import read_stack
from echolith.forward.stack_quantities import QUANTITIES
from echolith.forward.stack_writer import write_stack
from echolith.forward.xray_factors import PLANCK_TIMES_LIGHT

Array = npt.NDArray[Any]

SHAPE = (3, 4, 5, 6, 7)
"""scan_y, scan_x, eta, detector_y, detector_x: no two alike."""
ETA = np.array([8.0, 8.1, 8.2, 8.3, 8.4])
X, Y = np.array([10.0, 10.5, 11.0, 11.5]), np.array([-1.0, 0.0, 1.0])
"""µm."""
FRAMES = np.random.default_rng(1).integers(0, 60_000, SHAPE).astype(np.uint16)
GONIOMETER = Goniometer(
    beam_energy=8500, phi=1.0, nu=2.0, delta=16.5, distance=16_000, centre=(120.5, 300.25)
)


def motors(entry: h5py.Group, *, eta: Any, x: Array, y: Array) -> None:
    """Write what a control system at a beam line would."""
    place = entry.create_group("instrument/positioners")
    for name, value in {
        "eta": eta, "phi": 1.0, "nu": 2.0, "delta": 16.5, "mononrj": 8.5, "pix": x[0],
    }.items():  # fmt: skip
        place[name] = value
    # Values before the scan, which are not to be taken.
    before = entry.create_group("instrument/positioners_start")
    before["nu"], before["eta"] = 77.0, 77.0
    for name, values in {"pix_position": x, "piy_position": y}.items():
        entry[f"instrument/{name}/value"] = values
    detector = entry.create_group("instrument/mpx1x4")
    for name, value in {
        "beam_center_x": 300.25, "beam_center_y": 120.5, "x_pixel_size": 55e-6,
        "y_pixel_size": 55e-6, "distance": 0.88,
    }.items():  # fmt: skip
        detector[name] = value


def points(order: str) -> tuple[Array, Array, Array]:
    """Return frames (points, eta, y, x) and places of the points, in an order of scanning."""
    index = np.arange(12).reshape(3, 4)
    if order == "to and fro":
        index[1] = index[1, ::-1]
    if order == "backwards":
        index = index[::-1, ::-1]
    if order == "columns first":
        index = index.T
    rows, columns = np.unravel_index(index.ravel(), (3, 4))
    return FRAMES[rows, columns], X[columns], Y[rows]


ORDERS = ("rows", "to and fro", "backwards", "columns first")


def angles_first(root: h5py.File, order: str, turn: Array) -> None:
    frames, x, y = points(order)
    root["scan/measurement/mpx1x4"] = frames[:, turn].swapaxes(0, 1)
    motors(root["scan"], eta=ETA[turn], x=x, y=y)


def angles_first_five_axes(root: h5py.File, order: str, turn: Array) -> None:
    frames, x, y = points(order)
    scan = (4, 3) if order == "columns first" else (3, 4)
    turned = frames[:, turn].swapaxes(0, 1)
    root["scan/measurement/mpx1x4"] = turned.reshape(5, *scan, 6, 7)
    motors(root["scan"], eta=ETA[turn], x=x, y=y)


def entry_for_each_angle(root: h5py.File, order: str, turn: Array) -> None:
    frames, x, y = points(order)
    for n, which in enumerate(turn, start=1):
        entry = root.create_group(f"{n}.1")
        entry["instrument/mpx1x4_frames/data"] = frames[:, which]
        entry["measurement/mpx1x4"] = h5py.SoftLink(f"/{n}.1/instrument/mpx1x4_frames/data")
        motors(entry, eta=ETA[which], x=x, y=y)
    # A broken link is no reason to stop.
    root["98.1"] = h5py.ExternalLink("gone.h5", "/1.1")


def master_of_links(root: h5py.File, order: str, turn: Array) -> None:
    with h5py.File(Path(root.filename).with_name("scans.h5"), "w") as scans:
        entry_for_each_angle(scans, order, turn)
    for n in range(1, 6):
        root[f"sample_{n}.1"] = h5py.ExternalLink("scans.h5", f"/{n}.1")


LAYOUTS: list[Callable[[h5py.File, str, Array], None]] = [
    angles_first, angles_first_five_axes, entry_for_each_angle, master_of_links,
]  # fmt: skip


def made(folder: Path, layout: Callable[[h5py.File, str, Array], None] = angles_first) -> Path:
    path = folder / "stack.h5"
    with h5py.File(path, "w") as root:
        layout(root, "rows", np.arange(5))
    return path


@given(
    layout=st.sampled_from(LAYOUTS),
    order=st.sampled_from(ORDERS),
    turn=st.permutations(range(5)),
    region=st.sampled_from([((0, 6), (0, 7)), ((1, 5), (2, 4))]),
)
def test_every_layout_is_the_same_measurement(
    tmp_path_factory: pytest.TempPathFactory,
    layout: Callable[[h5py.File, str, Array], None],
    order: str,
    turn: list[int],
    region: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    path = tmp_path_factory.mktemp("stack") / "stack.h5"
    with h5py.File(path, "w") as root:
        layout(root, order, np.array(turn))
    found = read_measurement(path, overrides={"region": region})
    (top, bottom), (left, right) = region
    assert found["counts"].chunks is not None
    assert found["counts"].chunks[0] == (1, 1, 1)
    np.testing.assert_array_equal(found["counts"], FRAMES[..., top:bottom, left:right])
    np.testing.assert_allclose(found["scan_x"], 1e4 * X)
    np.testing.assert_allclose(found["scan_y"], 1e4 * Y, atol=1e-9)
    np.testing.assert_allclose(found["eta"], ETA)
    goniometer = Goniometer.model_validate_json(found.attrs["goniometer"])
    centre = (GONIOMETER.centre[0] - top, GONIOMETER.centre[1] - left)
    expected = GONIOMETER.model_copy(update={"centre": centre}).model_dump()
    for name, value in goniometer.model_dump().items():
        assert value == pytest.approx(expected[name], rel=1e-12), name


def measured(**attributes: float) -> xr.Dataset:
    rng = np.random.default_rng(2)
    return xr.Dataset(
        {"counts": (("scan_y", "scan_x", "eta", "detector_y", "detector_x"), FRAMES)},
        coords={
            "scan_y": 1e4 * Y,
            "scan_x": 1e4 * X,
            "eta": ETA,
            "monitor": ("eta", np.array([0.9, 1.1, 1.0, 0.95, 1.05])),
            "valid": (("detector_y", "detector_x"), rng.random((6, 7)) < 0.9),
        },
        attrs={"goniometer": GONIOMETER.model_dump_json(), **attributes},
    )


@pytest.mark.parametrize("lazy", [False, True])
def test_what_is_written_comes_back(tmp_path: Path, lazy: bool) -> None:
    first = measured(saturation=4e4)
    first.attrs["reflection"] = '{"inclination": 3.0, "azimuth": -20.0}'
    path = tmp_path / "stack.nxs"
    write_stack(first.chunk(scan_y=2) if lazy else first, path)
    found = read_measurement(path)
    np.testing.assert_array_equal(found["counts"], FRAMES)
    assert found["counts"].dtype == np.uint16
    for name in ("scan_y", "scan_x", "eta", "monitor"):
        np.testing.assert_allclose(found[name], first[name], rtol=1e-12)
    np.testing.assert_array_equal(found["valid"], first["valid"])
    assert found.attrs["saturation"] == 4e4
    assert found.attrs["reflection"] == first.attrs["reflection"]


def test_a_plotting_program_finds_its_way(tmp_path: Path) -> None:
    write_stack(measured(), tmp_path / "stack.nxs")
    with h5py.File(tmp_path / "stack.nxs") as root:
        shown = root[root.attrs["default"]]
        shown = shown[shown.attrs["default"]]
        assert shown.attrs["NX_class"] == "NXdata"
        signal = shown[shown.attrs["signal"]]
        assert signal.shape == SHAPE
        for axis, name in enumerate(shown.attrs["axes"]):
            assert name == "." or shown[name].shape == (SHAPE[axis],)
        kinds = {group.attrs["NX_class"] for _, group in _groups(root) if "NX_class" in group.attrs}
    assert kinds >= {"NXentry", "NXinstrument", "NXdetector", "NXsample", "NXpositioner"}


def _groups(root: h5py.File) -> list[tuple[str, h5py.Group]]:
    found: list[tuple[str, h5py.Group]] = []
    root.visititems(
        lambda name, item: found.append((name, item)) if isinstance(item, h5py.Group) else None
    )
    return found


NEEDED = sorted(name for name, quantity in QUANTITIES.items() if quantity.needed)


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_motor_is_named_and_can_be_given(tmp_path: Path, name: str) -> None:
    path = made(tmp_path)
    with h5py.File(path, "a") as root:
        gone = [p for p in _paths(root) if set(p.lower().split("/")) & set(QUANTITIES[name].names)]
        value = root[next(p for p in gone if "_start" not in p)][()]
        for each in gone:
            del root[each]
        root["elsewhere/number"] = value
        if name == "energy":
            root["elsewhere/number"].attrs["units"] = "keV"
    with pytest.raises(BadInputError, match=f"does not tell {name} .*--given {name}="):
        read_stack(path)
    found = read_stack(path, motors={name: "/elsewhere/number"})
    xr.testing.assert_allclose(found, read_stack(made(tmp_path)))


def _paths(root: h5py.File) -> list[str]:
    found: list[str] = []
    root.visititems(
        lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None
    )
    return found


def test_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    path = made(tmp_path)
    with h5py.File(path, "a") as root:
        for name in ("nu", "delta"):
            del root[f"scan/instrument/positioners/{name}"]
        del root["scan/instrument/positioners_start"]
    with pytest.raises(BadInputError, match="does not tell nu, delta "):
        read_stack(path)
    found = read_stack(path, motors={"nu": 2, "delta": 16.5})
    assert '"delta":16.5' in found.attrs["goniometer"]


def test_units_are_read(tmp_path: Path) -> None:
    path = made(tmp_path)
    with h5py.File(path, "a") as root:
        entry = root["scan/instrument"]
        del entry["positioners/mononrj"], entry["mpx1x4/distance"], entry["positioners/eta"]
        entry["monochromator/wavelength"] = PLANCK_TIMES_LIGHT / 8500 / 10
        entry["monochromator/wavelength"].attrs["units"] = "nm"
        entry["mpx1x4/distance"] = 880.0
        entry["mpx1x4/distance"].attrs["units"] = np.bytes_("mm")
        entry["positioners/eta"] = np.radians(ETA)
        entry["positioners/eta"].attrs["units"] = "rad"
        for axis, value in {"x": 300.25, "y": 120.5}.items():
            del entry[f"mpx1x4/beam_center_{axis}"]
            entry[f"mpx1x4/beam_center_{axis}"] = value * 0.055
            entry[f"mpx1x4/beam_center_{axis}"].attrs["units"] = "mm"
    found = Goniometer.model_validate_json(read_stack(path).attrs["goniometer"])
    assert found.beam_energy == pytest.approx(8500)
    assert found.distance == pytest.approx(16_000)
    assert found.centre == pytest.approx(GONIOMETER.centre)
    np.testing.assert_allclose(read_stack(path)["eta"], ETA)
    with h5py.File(path, "a") as root:
        root["scan/instrument/positioners/nu"].attrs["units"] = "furlong"
    with pytest.raises(BadInputError, match="unit 'furlong'; expected one of deg"):
        read_stack(path)


def replaced(path: Path, **values: Any) -> Path:
    with h5py.File(path, "a") as root:
        for name, value in values.items():
            key = f"scan/instrument/{name.replace('__', '/')}"
            del root[key]
            root[key] = value
    return path


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    x, y = np.tile(X, 3), np.repeat(Y, 4)
    for values, told, message in (
        ({"positioners__nu": [2.0, 2.0, 2.1, 2.0, 2.0]}, {}, "nu is 2 to 2.1 °; expected one"),
        ({"positioners__eta": [8, 8, 8.1, 8.2, 8.3]}, {}, "different angles"),
        ({"mpx1x4__y_pixel_size": 75e-6}, {}, "5.5e-05 x 7.5e-05 m; expected square"),
        ({"positioners__mononrj": 0.001}, {}, "beam_energy = 1 eV"),
        ({"pix_position__value": np.where(x == X[0], X[1], x)}, {}, "no raster"),
        ({"piy_position__value": y[:7]}, {}, "7 values of scan_y"),
        ({}, {"delt": 3}, "did you mean 'delta'"),
        ({}, {"delta": "nowhere"}, "no dataset 'nowhere'"),
        ({}, {"delta": "/"}, "no dataset '/'"),
        ({"positioners__phi": "north"}, {"delta": "instrument/positioners/phi"}, "no numbers"),
        ({}, {"entries": 1.1}, "no entry '1.1'"),
        ({}, {"frames": 3}, "no detector frames"),
        ({}, {"delta": []}, r"delta = \[\]; expected a number"),
        ({}, {"region": [[0, 9], [0, 3]]}, "region = "),
        ({}, {"region": 3}, "region = 3"),
        ({}, {"entries": ["scam"]}, "did you mean 'scan'"),
        ({}, {"frames": "instrument"}, "no detector frames"),
        ({}, {"pixel_mask": np.zeros((2, 2))}, "pixel_mask of shape"),
        ({}, {"monitor": [1, 1, 0, 1, 1]}, "monitor = 0"),
        ({}, {"pixel_size": 0}, "pixel_size = 0 m"),
    ):
        path = replaced(made(tmp_path), **values)
        with pytest.raises(BadInputError, match=message):
            read_stack(path, motors=told)


def test_one_angle_is_no_rocking_curve(tmp_path: Path) -> None:
    path = tmp_path / "one.h5"
    with h5py.File(path, "w") as root:
        frames, x, y = points("rows")
        root["1.1/measurement/eiger"] = frames[:, 0]
        motors(root["1.1"], eta=8.0, x=x, y=y)
    with pytest.raises(BadInputError, match=r"shape \(12, 6, 7\)"):
        read_stack(path)


def test_entries_of_another_shape_are_left_out_and_told(tmp_path: Path) -> None:
    path = made(tmp_path, entry_for_each_angle)
    expected = read_stack(path)
    with h5py.File(path, "a") as root:
        root["99.1/measurement/mpx1x4"] = np.zeros((2, 6, 7), np.uint16)
        root["100.1/measurement/mpx1x4"] = np.zeros((2, 6, 7), np.uint16)
    with pytest.warns(BadInputWarning, match=r"frames of 100\.1, 99\.1 have another shape"):
        found = read_stack(path)
    xr.testing.assert_equal(found, expected)
    named = read_stack(path, motors={"entries": ["1.1", "2.1", "4.1"]})
    xr.testing.assert_equal(named, expected.isel(eta=[0, 1, 3]))


def test_places_of_rows_and_columns_are_enough(tmp_path: Path) -> None:
    path = made(tmp_path)
    expected = read_stack(path)
    replaced(path, pix_position__value=X, piy_position__value=Y)
    xr.testing.assert_equal(read_stack(path), expected)
    xr.testing.assert_allclose(
        read_stack(path, motors={"scan_x": 1e-6 * X, "scan_y": 1e-6 * Y}), expected
    )


def test_frames_in_files_that_are_missing_are_no_zeros(tmp_path: Path) -> None:
    path = made(tmp_path)
    layout = h5py.VirtualLayout((5, 12, 6, 7), np.uint16)
    layout[:] = h5py.VirtualSource("gone.h5", "frames", (5, 12, 6, 7))
    with h5py.File(path, "a") as root:
        del root["scan/measurement/mpx1x4"]
        root.create_virtual_dataset("scan/measurement/mpx1x4", layout)
    with pytest.raises(BadInputError, match=r"gone\.h5', which is missing"):
        read_stack(path)


def test_a_file_that_goes_away_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = made(tmp_path)
    found = read_stack(path)
    path.unlink()
    with pytest.raises(BadInputError, match="can no longer be read"):
        found.compute()


@given(keep=st.floats(0, 1))
def test_a_file_that_is_cut_short_gives_one_message(
    tmp_path_factory: pytest.TempPathFactory, keep: float
) -> None:
    path = made(tmp_path_factory.mktemp("stack"))
    data = path.read_bytes()
    path.write_bytes(data[: round(keep * (len(data) - 1))])
    with pytest.raises(BadInputError, match=r"stack\.h5"):
        read_stack(path)


def test_other_measurements_are_not_written(tmp_path: Path) -> None:
    for wrong, message in (
        (measured().isel(eta=0), "no counts over"),
        (measured().drop_attrs(), "goniometer is missing"),
    ):
        with pytest.raises(BadInputError, match=message):
            write_stack(wrong, tmp_path / "no.nxs")
    with pytest.raises(BadInputError, match="pixel_size = 0"):
        write_stack(measured(), tmp_path / "no.nxs", pixel_size=0)
    assert not list(tmp_path.iterdir())
