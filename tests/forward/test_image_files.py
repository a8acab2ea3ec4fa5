"""Images and movies in TIFF and MRC: ours in other programs, theirs in ours."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import mrcfile
import numpy as np
import pytest
import skimage.io
import tifffile
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from echolith.errors import BadInputError
from echolith.forward import image_stack
from echolith.forward.exporters import write_measurement
from echolith.forward.image_files import holds_images
from echolith.forward.importers import read_measurement
from tests.forward.frame_optics import OPTICS

F = np.zeros((20, 17), dtype=np.uint16)
F[1:19, 2], F[1, 2:10], F[7, 2:8] = 40, 60, 50
"""No mirror image nor transpose of it is itself."""
SUFFIXES = (".tif", ".mrc")
MOVIE: dict[str, Any] = {
    "kind": "movie",
    "gain": 1,
    "pixel_size": 0.2,
    **OPTICS,
}


def movie(values: Any = None, *, step: float = 0.2) -> xr.Dataset:
    """Frames of an F, (frame, y, x)."""
    counts = np.stack([n * F for n in range(1, 6)]) if values is None else values
    _, height, width = counts.shape
    return xr.Dataset(
        {"counts": (("frame", "y", "x"), counts, {"units": "electrons"})},
        coords={
            "frame": ("frame", 0.04 * (np.arange(len(counts)) + 0.5), {"units": "s"}),
            "y": ("y", np.arange(height) * step, {"units": "Å"}),
            "x": ("x", np.arange(width) * step, {"units": "Å"}),
        },
        attrs={"hrtem": json.dumps({"note": "a=b; Å {}"})},
    )


finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@st.composite
def stacks(draw: st.DrawFn) -> xr.Dataset:
    """Measurements of images over up to two other axes, of any type."""
    kind = draw(st.sampled_from(["u1", ">u2", "u4", "<i2", "i4", ">f4", "f8"]))
    dims = draw(
        st.sampled_from([("y", "x"), ("frame", "scan_y", "scan_x"), ("energy", "tilt", "y", "x")])
    )
    shape = draw(st.tuples(*(st.integers(1, 4) for _ in dims)))
    values = draw(hnp.arrays(kind, shape))
    places = draw(hnp.arrays("f8", shape[-1], elements=finite))
    labels = [draw(text) for _ in range(shape[0])]
    return xr.Dataset(
        {"counts": (dims, values), "incident": ((), draw(st.integers(0, 2**40)))},
        coords={dims[-1]: places, "label": (dims[0], np.array(labels, dtype=np.str_))},
        attrs={
            "a": draw(finite),
            "b": draw(text),
        },
    )


def _fits(values: Any) -> bool:
    """Whether 16 bits or single precision hold all values, which is what MRC has."""
    with np.errstate(over="ignore", invalid="ignore"):
        return any(
            np.array_equal(values.astype(kind).astype(values.dtype), values, equal_nan=kind == "f4")
            for kind in ("i2", "u2", "f4")
        )


@given(measurement=stacks())
def test_any_stack_comes_back_as_it_was(
    measurement: xr.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("stack")
    for suffix in SUFFIXES:
        path = folder / f"it{suffix}"
        if suffix == ".mrc" and not _fits(measurement["counts"].values):
            with pytest.raises(BadInputError, match=r"write \.tif"):
                write_measurement(measurement, path)
            continue
        write_measurement(measurement, path)
        found = read_measurement(path).compute()
        xr.testing.assert_identical(found, measurement)
        assert found["counts"].dtype == measurement["counts"].dtype.newbyteorder("=")


def test_other_programs_see_the_same_tiff(tmp_path: Path) -> None:
    path = tmp_path / "it.tif"
    write_measurement(movie().assign(counts=movie()["counts"].astype("u4")), path)
    expected = movie()["counts"].values
    np.testing.assert_array_equal(tifffile.imread(path), expected)
    np.testing.assert_array_equal(skimage.io.imread(path), expected)
    with Image.open(path) as picture:
        assert picture.size == (17, 20)
        for n in range(5):
            picture.seek(n)
            np.testing.assert_array_equal(np.asarray(picture), expected[n])
    with tifffile.TiffFile(path) as file:
        told = file.imagej_metadata or {}
        across, pixels = file.pages.first.tags["XResolution"].value
    assert (told["unit"], told["frames"]) == ("nm", 5)
    assert told["finterval"] == pytest.approx(0.04)
    assert across / pixels == pytest.approx(50)  # pixels a nm


def test_other_programs_see_the_same_mrc(tmp_path: Path) -> None:
    path = tmp_path / "it.mrc"
    write_measurement(movie(), path)
    with mrcfile.open(path) as file:
        np.testing.assert_array_equal(file.data, movie()["counts"].values)
        assert file.data.dtype == np.uint16
        assert file.is_image_stack()
        assert file.voxel_size.x == pytest.approx(0.2)
    remarks = io.StringIO()
    mrcfile.validate(path, print_file=remarks)
    # Codes of extended headers are registered names of programs; ours is none of them.
    assert "exttyp = 'ECHO'" in remarks.getvalue()
    assert len(remarks.getvalue().splitlines()) == 2


def _ours(path: Path, frames: Any) -> None:
    write_measurement(movie(frames), path)


def _imagej(path: Path, frames: Any) -> None:
    told = {"axes": "TYX", "unit": "nm", "finterval": 0.5}
    tifffile.imwrite(path, frames, imagej=True, resolution=(50, 50), metadata=told)


def _pillow(path: Path, frames: Any) -> None:
    first, *more = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=more, compression="tiff_adobe_deflate")


def _mrc(path: Path, frames: Any) -> None:
    with mrcfile.new(path) as file:
        file.set_data(frames)
        file.voxel_size = 0.2


THEIRS: dict[str, Callable[[Path, Any], Any]] = {
    "imagej.tif": _imagej,
    "pillow.tif": _pillow,
    "tiles.tiff": lambda path, frames: tifffile.imwrite(path, frames, tile=(16, 16)),
    "strips.tif": lambda path, frames: tifffile.imwrite(path, frames, rowsperstrip=5),
    "planes.tif": lambda path, frames: tifffile.imwrite(
        path, frames, planarconfig="separate", photometric="rgb"
    ),
    "ome.tif": lambda path, frames: tifffile.imwrite(path, frames, ome=True),
    "big.tif": lambda path, frames: tifffile.imwrite(path, frames, bigtiff=True, byteorder=">"),
    "stack.mrcs": _mrc,
    "volume.mrc": lambda path, frames: _mrc(path, frames.astype(np.float32)),
}


@pytest.mark.parametrize("name", THEIRS)
def test_files_of_other_programs_are_read(name: str, tmp_path: Path) -> None:
    frames = movie()["counts"].values
    THEIRS[name](tmp_path / name, frames)
    found = read_measurement(tmp_path / name, overrides=MOVIE)
    np.testing.assert_array_equal(found["counts"].values, frames)
    taken = json.loads(found.attrs["hrtem"])
    assert (taken["shape"], taken["frames"], taken["pixel"]) == ([20, 17], 5, 0.2)
    times = 0.02 + (0.5 if name == "imagej.tif" else 0.04) * np.arange(5)
    np.testing.assert_allclose(found["frame"].values, times)
    assert taken["dose_rate"] == pytest.approx(frames[0].mean() / 0.2**2 / 0.04)


@pytest.mark.parametrize("name", ["imagej.tif", "stack.mrcs"])
def test_pixels_that_a_file_tells_need_not_be_given(name: str, tmp_path: Path) -> None:
    THEIRS[name](tmp_path / name, movie()["counts"].values)
    given = {key: value for key, value in MOVIE.items() if key != "pixel_size"}
    found = read_measurement(tmp_path / name, overrides=given)
    assert float(found["x"][1]) == pytest.approx(0.2, rel=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_movies_go_through_in_blocks(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_stack, "BLOCK", 2 * F.nbytes)
    asked: list[int] = []

    def frame(block_info: Any = None) -> Any:
        asked.append(block_info[None]["array-location"][0][0])
        return np.full((1, *F.shape), asked[-1], dtype=np.uint16) + F

    frames = da.map_blocks(frame, chunks=((1,) * 5, *F.shape), dtype=np.uint16)
    write_measurement(movie(frames), tmp_path / f"it{suffix}")
    assert sorted(asked) == list(range(5))  # once each: its type needs no look beforehand
    found = read_measurement(tmp_path / f"it{suffix}")["counts"]
    assert max(found.chunksizes["frame"]) <= 2
    np.testing.assert_array_equal(found[3:].values, [F + 3, F + 4])


@given(gain=st.floats(0.1, 1e3), offset=st.floats(-1e3, 1e3))
def test_gain_and_offset_give_counts_back(
    gain: float, offset: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("gain") / "it.tif"
    frames = movie()["counts"].values
    tifffile.imwrite(path, frames * gain + offset, photometric="minisblack")
    # Dark pixels are at 0 but for rounding, which is no noise.
    given = MOVIE | {"gain": gain, "offset": offset, "readout": 1e-6}
    found = read_measurement(path, overrides=given)["counts"].values
    np.testing.assert_allclose(found, frames, atol=1e-9)


@pytest.mark.parametrize(
    ("values", "given", "message"),
    [
        (F - 3.0, {}, r"value -3, less offset = 0, by gain = 1 is -3, .* give the offset"),
        (F - 3.0, {"readout": 0.1}, "readout="),
        (np.where(F > 40, np.nan, F), {}, "14 values are not finite"),
        (F, {"gain": 0}, "gain = 0: Input should be greater than 0"),
        (F, {"semiangel": 10}, "no 'semiangel' to give; did you mean 'semiangle'"),
        (F, {"energy": 300}, "did you mean"),
        (F, {"pixel_size": -1}, "pixel = -1.0: Input should be greater than"),
        (F, {"kind": "movies"}, "kind = 'movies': did you mean 'movie'"),
        (F, {"kind": None}, "give kind, one of movie, diffraction"),
        (F, {"kind": "filtered"}, "there is no|does not tell unfiltered_dose"),
        (np.stack([F] * 3, axis=-1), {}, "3 values a pixel"),
        (F.astype(complex), {}, "expected real numbers"),
    ],
)
def test_what_is_no_movie_is_refused(
    values: Any, given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "it.tif"
    tifffile.imwrite(path, values)
    with pytest.raises(BadInputError, match=message):
        read_measurement(path, overrides=MOVIE | given)["counts"].compute()


def test_values_below_0_within_the_readout_noise_are_kept(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "it.tif", F - 3.0)
    found = read_measurement(tmp_path / "it.tif", overrides=MOVIE | {"readout": 1.0})
    assert found["counts"].values.min() == -3


def test_one_message_names_all_that_is_missing(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "it.tif", F)
    with pytest.raises(BadInputError) as caught:
        read_measurement(tmp_path / "it.tif", overrides={"kind": "movie", "energy": 80e3})
    message = str(caught.value)
    for name in set(MOVIE) - {"kind", "energy"}:
        assert f"{name} (" in message
    assert "energy (" not in message
    assert "--given name=value" in message


def test_our_own_files_take_nothing_besides(tmp_path: Path) -> None:
    write_measurement(movie(), tmp_path / "it.mrc")
    with pytest.raises(BadInputError, match="carries its own acquisition; leave out gain"):
        read_measurement(tmp_path / "it.mrc", overrides={"gain": 2})


def test_images_changed_afterwards_are_refused(tmp_path: Path) -> None:
    write_measurement(movie(), tmp_path / "it.tif")
    with tifffile.TiffFile(tmp_path / "it.tif") as file:
        told = file.imagej_metadata or {}
    ours = {"echolith": told["echolith"]}
    tifffile.imwrite(tmp_path / "cut.tif", F[2:], imagej=True, metadata=ours)
    with pytest.raises(BadInputError, match="were changed, or cut short"):
        read_measurement(tmp_path / "cut.tif")


@pytest.mark.filterwarnings("ignore")  # libraries remark on damage, each in its own way
@pytest.mark.parametrize("name", ["ours.tif", "ours.mrc", "pillow.tif", "imagej.tif", "stack.mrcs"])
def test_files_cut_short_lose_nothing_unsaid(name: str, tmp_path: Path) -> None:
    expected, path = movie()["counts"].values, tmp_path / name
    (THEIRS | {"ours.tif": _ours, "ours.mrc": _ours})[name](path, expected)
    content, refused = path.read_bytes(), 0
    for length in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:length])
        try:
            found = read_measurement(path, overrides={} if "ours" in name else MOVIE)
            np.testing.assert_array_equal(found["counts"].values, expected)
        except BadInputError:
            refused += 1
    assert refused >= 20


def test_scans_of_diffraction_patterns_are_no_images() -> None:
    dims = ("scan_y", "scan_x", "detector_y", "detector_x")
    assert not holds_images(xr.Dataset({"counts": (dims, np.zeros((2, 2, 3, 3)))}))
