"""Faces of a saved measurement hold its own numbers, in place, under the right calibration.

What other programs make of them is seen by `make test-readers`.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith import dataset, store
from echolith.cxi_geometry import cxi_entries, even_step
from echolith.dataset import content_hash, load, save
from echolith.validation.packing import SAMPLE

FRAME = ("detector_y", "detector_x")
RASTER = ("scan_y", "scan_x", *FRAME)
UNITS = {"scan": "Å", "detector": "mrad", "energy": "eV", "eta": "°"}


def measured(dims: tuple[str, ...], **coords: Any) -> xr.Dataset:
    """Counts whose every axis has another length and, where it is a raster's, another step."""
    shape = tuple(range(2, 2 + len(dims)))
    counts = np.random.default_rng(0).poisson(3, shape).astype(np.uint16)
    axes = {
        dim: (dim, 0.1 * size * np.arange(size) - 1, {"units": UNITS[dim.split("_")[0]]})
        for dim, size in zip(dims, shape, strict=True)
        if dim.split("_")[0] in UNITS
    }
    return xr.Dataset(
        {"counts": (dims, counts, {"units": "electrons"})},
        coords=axes | coords,
        attrs={"acquisition": '{"beam": {"energy": 2e5}}'},
    )


CASES = [
    RASTER,
    ("scan_y", "scan_x", "eta", *FRAME),
    ("frame", "y", "x"),
    ("energy", "y", "x"),
    ("two_theta",),
    FRAME,
]


@pytest.mark.parametrize("dims", CASES)
def test_faces_are_the_stored_array_itself(tmp_path: Path, dims: tuple[str, ...]) -> None:
    saved = measured(dims).assign(total=measured(dims)["counts"].sum(dims[-1]), seed=3)
    digest = save(saved, tmp_path / "m.h5")
    xr.testing.assert_identical(load(tmp_path / "m.h5").compute(), saved)
    assert digest == content_hash(saved)
    with h5py.File(tmp_path / "m.h5") as file:
        counts = file["measurement/counts"]
        assert file[f"{file.attrs['default']}/{file['entry_1'].attrs['default']}/counts"] == counts
        assert file["Experiments/scan/data"] == counts
        assert ("datacube_root" in file) == ("cxi_version" in file) == (dims == RASTER)
        if dims == RASTER:
            assert file["datacube_root/datacube/data"] == counts
        if len(dims) > 1:
            assert file["entry_1/total/total"] == file["measurement/total"]


def test_faces_cost_next_to_nothing(tmp_path: Path) -> None:
    save(measured(RASTER), tmp_path / "m.h5")
    store.write(measured(RASTER), tmp_path / "bare.h5", form=dataset.MEASUREMENT)
    sizes = [(tmp_path / name).stat().st_size for name in ("m.h5", "bare.h5")]
    assert sizes[0] - sizes[1] < 20_000


def test_a_raster_is_a_stack_of_frames_for_cxi(tmp_path: Path) -> None:
    saved = measured(RASTER)
    save(saved, tmp_path / "m.h5")
    (tmp_path / "m.h5").rename(tmp_path / "renamed.h5")
    with h5py.File(tmp_path / "renamed.h5") as file:
        detector = file["entry_1/instrument_1/detector_1"]
        np.testing.assert_array_equal(detector["data"], saved["counts"].values.reshape(6, 4, 5))
        assert file["entry_1/data_1/data"] == detector["data"]
        pixels = detector["y_pixel_size"][()], detector["x_pixel_size"][()]
        # Steps of 0.4 and 0.5 mrad, at 1 m.
        np.testing.assert_allclose(pixels, [0.4e-3, 0.5e-3])
        energy = file["entry_1/instrument_1/source_1/energy"][()]
        np.testing.assert_allclose(energy, 2e5 * 1.602176634e-19)
        # Row after row: x runs first, in steps of 0.3 Å; y in steps of 0.2 Å.
        places = file["entry_1/sample_1/geometry_1/translation"][...]
        np.testing.assert_allclose(places[4] - places[0], [0.3e-10, 0.2e-10, 0], atol=1e-20)


@pytest.mark.parametrize("energies", [("energy",), ()])
def test_each_scan_of_scattered_places_is_an_entry(
    tmp_path: Path, energies: tuple[str, ...]
) -> None:
    dims = (*energies, "position", *FRAME)
    saved = measured(dims)
    places = np.arange(saved.sizes["position"]) * 7.0
    saved = saved.assign_coords(
        position_y=("position", places, {"units": "Å"}),
        position_x=("position", -places, {"units": "Å"}),
    ).assign_attrs(energy=707.0, pixel_size=50.0)
    if energies:
        saved = saved.assign_coords(energy=("energy", [700.0, 710.0], {"units": "eV"}))
    save(saved, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        entries = sorted(name for name in file if name.startswith("entry_"))
        assert len(entries) == (2 if energies else 1)
        for index, name in enumerate(entries):
            stack = saved["counts"].isel(energy=index) if energies else saved["counts"]
            detector = file[f"{name}/instrument_1/detector_1"]
            np.testing.assert_array_equal(detector["data"], stack)
            np.testing.assert_allclose(
                file[f"{name}/sample_1/geometry_1/translation"][:, 1], 1e-10 * places
            )
            energy = float(saved["energy"][index]) if energies else 707.0
            side = detector["x_pixel_size"][()] * saved.sizes["detector_x"] * 50e-10
            np.testing.assert_allclose(side, 12398.41984e-10 / energy)


@pytest.mark.parametrize(
    "bad",
    [
        lambda d: d.drop_vars("scan_y"),
        lambda d: d.assign_coords(scan_y=("scan_y", [0, 1], {"units": "nm"})),
        lambda d: d.transpose("scan_x", ...),
        lambda d: d.rename(counts="frames"),
    ],
)
def test_frames_at_unknown_places_have_no_entry(bad: Any) -> None:
    assert cxi_entries(measured(RASTER))
    assert not cxi_entries(bad(measured(RASTER)))


def test_unknown_calibration_is_left_out(tmp_path: Path) -> None:
    bare = measured(RASTER).drop_vars(RASTER)
    save(bare.assign_attrs(acquisition="no JSON"), tmp_path / "m.h5")
    save(measured(RASTER).assign_attrs(acquisition="{}"), tmp_path / "n.h5")
    with h5py.File(tmp_path / "m.h5") as bare_file, h5py.File(tmp_path / "n.h5") as file:
        for held in (bare_file, file):
            # Pixels that are not square are no number that py4DSTEM could hold.
            told = held["datacube_root/metadatabundle/calibration"]
            assert (
                told["Q_pixel_units"].asstr()[()] == told["R_pixel_units"].asstr()[()] == "pixels"
            )
        assert "cxi_version" not in bare_file
        assert "source_1" not in file["entry_1/instrument_1"]
        assert list(bare_file["entry_1/data_1"].attrs["axes"]) == ["."] * 4


@pytest.mark.parametrize(
    "strange",
    [
        lambda d: d.assign_attrs(energy="200 kV", pixel_size=[1.0, 2.0]),
        lambda d: d.assign_attrs(energy=0.0, pixel_size="fine"),
        lambda d: d.assign_attrs(acquisition="[1]").assign_coords(energy="high"),
        lambda d: d.assign(data_1=d["counts"], instrument_1=d["scan_y"] * 2, sample_1=1),
        lambda d: d.assign_coords(scan_y=("scan_y", [np.nan, 0.0], {"units": "Å"})),
        lambda d: d.assign_coords(detector_y=[3, 1, 2, 0], scan_x=["a", "b", "c"]),
        lambda d: d.rename(counts="data"),
        lambda d: d.isel(scan_x=slice(0, 0)),
    ],
)
def test_strange_measurements_are_saved_as_ever(tmp_path: Path, strange: Any) -> None:
    saved = strange(measured(RASTER))
    assert save(saved, tmp_path / "m.h5") == content_hash(saved)
    xr.testing.assert_identical(load(tmp_path / "m.h5").compute(), saved)


def test_packs_of_samples_and_what_is_no_measurement_get_none(tmp_path: Path) -> None:
    pack = measured(RASTER).expand_dims({SAMPLE: 3})
    save(pack, tmp_path / "pack.h5", truth=measured(RASTER))
    save(xr.Dataset({"label": ("column", ["M", "O"]), "shift": 0.1}), tmp_path / "text.h5")
    for name in ("pack.h5", "pack.truth.h5", "text.h5"):
        with h5py.File(tmp_path / name) as file:
            assert len(file) == 1


def test_failing_faces_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(root: h5py.File, measurement: xr.Dataset, *, group: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "write_faces", fail)
    with pytest.raises(KeyboardInterrupt):
        save(measured(RASTER), tmp_path / "m.h5")
    assert not list(tmp_path.iterdir())


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e3), st.integers(2, 40), st.data())
def test_even_steps_are_found_and_others_are_not(
    start: float, step: float, size: int, data: st.DataObject
) -> None:
    values = start + step * np.arange(size)
    np.testing.assert_allclose(even_step(values) or 0, step, rtol=1e-6)
    np.testing.assert_allclose(even_step(values[::-1]) or 0, -step, rtol=1e-6)
    if size > 2:
        values[data.draw(st.integers(1, size - 2))] += 0.01 * step
        assert even_step(values) is None
