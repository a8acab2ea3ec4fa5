"""Measurements written by abTEM come in with every axis, unit and value in its place."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from ase import Atoms

from echolith.dataset import save
from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.acquisition import AnnularDetector, acquisition_of
from echolith.forward.importers import read_measurement
from echolith.forward.optics import wavelength
from echolith.inverse.virtual_images import annular_dark_field, center_of_mass

Array = npt.NDArray[Any]

LETTER = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]], float)
"""An F: no flip or transpose leaves it as it is."""
DOSE = 1e4
STEP = (0.3, 0.5)
FREQUENCY_STEP = (0.25, 0.2)
BEAM = {"energy": 200e3, "semiangle_cutoff": 10.0}
SIZES = [((4, 3), (9, 11)), ((3, 5), (10, 8)), ((2, 2), (12, 9))]


def letters(scan: tuple[int, int], frame: tuple[int, int]) -> Array:
    """Fractions (y, x, ky, kx): an F in the frame, brighter along another F of the scan."""
    field = np.zeros(frame)
    field[2:7, 3:6] = LETTER
    light = 1 + np.arange(np.prod(scan)).reshape(scan)
    return np.asarray(light[..., None, None] * field / (light.max() * field.sum()))


def patterns(
    fractions: Array,
    *,
    fftshift: bool = True,
    metadata: dict[str, Any] | None = None,
    first_axes: tuple[Any, ...] = (),
) -> Any:
    import abtem
    from abtem.core.axes import ScanAxis

    array = fractions.swapaxes(-4, -3).swapaxes(-2, -1)
    if not fftshift:
        array = np.fft.ifftshift(array, axes=(-2, -1))
    return abtem.measurements.DiffractionPatterns(
        array.astype(np.float32),
        sampling=FREQUENCY_STEP[::-1],
        fftshift=fftshift,
        ensemble_axes_metadata=[
            *first_axes,
            ScanAxis(label="x", sampling=STEP[1], units="Å"),
            ScanAxis(label="y", sampling=STEP[0], units="Å"),
        ],
        metadata=BEAM if metadata is None else metadata,
    )


def expected(fractions: Array) -> Array:
    return fractions * DOSE * STEP[0] * STEP[1]


@pytest.mark.parametrize(("scan", "frame"), SIZES)
@pytest.mark.parametrize("name", ["m.zarr", "m.zip"])
@pytest.mark.parametrize("fftshift", [True, False])
def test_an_f_stays_an_f(
    tmp_path: Path, scan: tuple[int, int], frame: tuple[int, int], name: str, fftshift: bool
) -> None:
    fractions = letters(scan, frame)
    patterns(fractions, fftshift=fftshift).to_zarr(str(tmp_path / name), progress_bar=False)
    found = read_measurement(tmp_path / name, dose=DOSE)
    assert found["counts"].dims == ("scan_y", "scan_x", "detector_y", "detector_x")
    assert found["counts"].chunks is not None
    # abTEM stores single precision.
    np.testing.assert_allclose(found["counts"], expected(fractions), rtol=1e-6)


@pytest.mark.parametrize(("scan", "frame"), SIZES)
def test_axes_have_units_and_the_beam_is_at_zero(
    tmp_path: Path, scan: tuple[int, int], frame: tuple[int, int]
) -> None:
    source = patterns(letters(scan, frame))
    source.to_zarr(str(tmp_path / "m.zarr"), progress_bar=False)
    found = read_measurement(tmp_path / "m.zarr", dose=DOSE)
    x, y = source.angular_coordinates
    for name, theirs in (("detector_x", x), ("detector_y", y)):
        np.testing.assert_allclose(found[name], theirs, rtol=1e-6, atol=1e-9)
        assert found[name].attrs["units"] == "mrad"
        assert float(found[name][found.sizes[name] // 2]) == 0
    acquisition = acquisition_of(found)
    assert acquisition.scan.step == STEP
    assert acquisition.detector.pixel_size == pytest.approx(
        [step * wavelength(200e3) * 1e3 for step in FREQUENCY_STEP], rel=1e-7
    )
    assert (acquisition.beam.energy, acquisition.beam.semiangle) == (200e3, 10)
    assert acquisition.dose == DOSE
    assert acquisition.haadf is None
    np.testing.assert_allclose(found["scan_y"], np.arange(scan[0]) * STEP[0])
    assert found["counts"].attrs["units"] == "e"


def test_simulated_data_deflect_towards_the_atom(tmp_path: Path) -> None:
    """A whole simulation by abTEM: place of the atom and direction of the deflection."""
    import abtem

    atoms = Atoms("Au", positions=[(3.0, 1.2, 1.0)], cell=[5.0, 4.0, 2.0], pbc=True)
    scan = abtem.GridScan(start=(0, 0), end=(5, 4), gpts=(10, 8))
    with abtem.config.set({"fft": "numpy", "diagnostics.progress_bar": False}):
        probe = abtem.Probe(energy=100e3, semiangle_cutoff=20)
        simulated: Any = probe.scan(
            abtem.Potential(atoms, sampling=0.1, slice_thickness=2),
            scan=scan,
            detectors=[abtem.PixelatedDetector(max_angle=60), abtem.AnnularDetector(40, 80)],
        )
        simulated.to_zarr(str(tmp_path / "m.zarr"))
    annulus = {"inner": 40, "outer": 80}
    found = read_measurement(tmp_path / "m.zarr", dose=1e5, overrides={"haadf": annulus})
    assert acquisition_of(found).haadf == AnnularDetector(inner=40, outer=80)
    for image in (found["haadf"], annular_dark_field(found, inner=40)):
        brightest = image.compute().argmax(dim=["scan_y", "scan_x"])
        # 1.2 Å / 0.5 Å = 2.4 and 3.0 Å / 0.5 Å = 6.
        assert (int(brightest["scan_y"]), int(brightest["scan_x"])) == (2, 6)
    moment = center_of_mass(found).compute()
    at = moment.isel(scan_y=2)
    assert at.sel(component="x", scan_x=2.5) > 1 > -1 > at.sel(component="x", scan_x=3.5)
    at = moment.isel(scan_x=6)
    assert at.sel(component="y", scan_y=0.5) > 1 > -1 > at.sel(component="y", scan_y=2.0)


def counted(tmp_path: Path) -> Array:
    source = patterns(letters((4, 3), (9, 11))).poisson_noise(dose_per_area=DOSE, seed=1)
    source.to_zarr(str(tmp_path / "m.zarr"), progress_bar=False)
    return np.asarray(source.array.transpose(1, 0, 3, 2))


def test_counts_are_kept_as_they_are(tmp_path: Path) -> None:
    counts = counted(tmp_path)
    found = read_measurement(tmp_path / "m.zarr", dose=DOSE)
    assert found["counts"].dtype == np.uint16
    np.testing.assert_array_equal(found["counts"], counts)


def test_without_a_dose_there_is_a_warning(tmp_path: Path) -> None:
    patterns(letters((4, 3), (9, 11))).to_zarr(str(tmp_path / "f.zarr"), progress_bar=False)
    with pytest.warns(BadInputWarning, match="does not tell the dose; a default"):
        assert acquisition_of(read_measurement(tmp_path / "f.zarr")).dose == 8.1e4
    counts = counted(tmp_path)
    with pytest.warns(BadInputWarning, match="too low by the electrons that missed"):
        found = read_measurement(tmp_path / "m.zarr")
    dose = counts.sum(axis=(2, 3)).mean() / (STEP[0] * STEP[1])
    assert acquisition_of(found).dose == pytest.approx(dose, rel=1e-6)


@pytest.mark.parametrize(("name", "key"), [("energy", "energy"), ("semiangle", "semiangle_cutoff")])
def test_missing_metadata_are_named_and_can_be_given(tmp_path: Path, name: str, key: str) -> None:
    metadata = {other: value for other, value in BEAM.items() if other != key}
    source = patterns(letters((4, 3), (9, 11)), metadata=metadata)
    source.to_zarr(str(tmp_path / "m.zarr"), progress_bar=False)
    with pytest.raises(BadInputError, match=f"beam's {name}.*overrides="):
        read_measurement(tmp_path / "m.zarr", dose=DOSE)
    beam = {name: BEAM[key], "aberrations": {"C10": -50.0}}
    found = read_measurement(tmp_path / "m.zarr", dose=DOSE, overrides={"beam": beam})
    assert acquisition_of(found).beam.aberrations.C10 == -50
    assert getattr(acquisition_of(found).beam, name) == BEAM[key]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"beam": {"energy": 200}}, "did you mean 200e3"),
        ({"beam": {"energie": 200e3}}, "energie"),
        ({"beam": {"semiangle": 60.0}}, "cuts the bright-field disc"),
        ({"scan": {"shape": (9, 9)}}, "leave shapes to the file"),
        ({"haadf": {"inner": 40, "outer": 80}}, "no image"),
    ],
)
def test_bad_overrides_are_refused(tmp_path: Path, overrides: dict[str, Any], message: str) -> None:
    patterns(letters((4, 3), (9, 11))).to_zarr(str(tmp_path / "m.zarr"), progress_bar=False)
    with pytest.raises(BadInputError, match=message):
        read_measurement(tmp_path / "m.zarr", dose=DOSE, overrides=overrides)


@pytest.mark.parametrize(
    ("value", "metadata", "message"),
    [
        (np.nan, BEAM, "finite"),
        (-0.1, BEAM, "0 or more"),
        (40.0, BEAM, "expected fractions"),
        (0.5, {**BEAM, "units": "electrons"}, "not whole"),
    ],
)
def test_bad_values_are_refused(
    tmp_path: Path, value: float, metadata: dict[str, Any], message: str
) -> None:
    fractions = letters((4, 3), (9, 11))
    fractions[1, 1, 3, 3] = value
    source = patterns(fractions, metadata=metadata)
    source.to_zarr(str(tmp_path / "m.zarr"), progress_bar=False)
    with pytest.raises(BadInputError, match=message):
        read_measurement(tmp_path / "m.zarr", dose=DOSE).compute()


def test_phonons_are_averaged_and_other_axes_refused(tmp_path: Path) -> None:
    from abtem.core.axes import FrozenPhononsAxis, ThicknessAxis

    one = letters((4, 3), (9, 11))
    both = np.stack([one, 0.5 * one])
    source = patterns(both, first_axes=(FrozenPhononsAxis(),))
    source.to_zarr(str(tmp_path / "p.zarr"), progress_bar=False)
    found = read_measurement(tmp_path / "p.zarr", dose=DOSE)
    np.testing.assert_allclose(found["counts"], expected(0.75 * one), rtol=1e-6)
    source = patterns(both, first_axes=(ThicknessAxis(values=(10.0, 20.0)),))
    source.to_zarr(str(tmp_path / "t.zarr"), progress_bar=False)
    with pytest.raises(BadInputError, match=r"ThicknessAxis.*select one"):
        read_measurement(tmp_path / "t.zarr", dose=DOSE)


def test_own_files_are_loaded(tmp_path: Path) -> None:
    own = xr.Dataset({"counts": ("x", [1, 2])})
    save(own, tmp_path / "m.h5")
    xr.testing.assert_identical(read_measurement(tmp_path / "m.h5").compute(), own)
    with pytest.raises(BadInputError, match="carries its own"):
        read_measurement(tmp_path / "m.h5", dose=1.0)


def test_other_files_are_refused(tmp_path: Path) -> None:
    import abtem
    import zarr

    with pytest.raises(BadInputError, match="no file or folder"):
        read_measurement(tmp_path / "none.zarr")
    (tmp_path / "m.png").touch()
    with pytest.raises(BadInputError, match="no known kind"):
        read_measurement(tmp_path / "m.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.zip").touch()
    zarr.open_group(str(tmp_path / "other.zarr"), mode="w")
    for name in ("folder", "empty.zip", "other.zarr"):
        with pytest.raises(BadInputError, match="cannot be read as a measurement by abTEM"):
            read_measurement(tmp_path / name)
    image = abtem.measurements.Images(np.ones((3, 4), np.float32), sampling=0.1)
    image.to_zarr(str(tmp_path / "image.zarr"), progress_bar=False)
    with pytest.raises(BadInputError, match="holds Images"):
        read_measurement(tmp_path / "image.zarr")
