import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.acquisition import (
    Aberrations,
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
    acquisition_of,
    rotate,
)
from echolith.forward.optics import aberration_phase, interaction_constant, wavelength
from echolith.forward.placement import from_scan_frame, scan_positions, to_scan_frame
from echolith.validation.strategies import acquisitions, scans

CELL = np.diag([12.0, 9.0, 5.0])


@given(acquisitions())
def test_metadata_survives_the_attribute(acquisition: StemAcquisition) -> None:
    data = xr.Dataset(attrs={"acquisition": acquisition.model_dump_json()})
    assert acquisition_of(data) == acquisition


def test_missing_metadata_is_named() -> None:
    with pytest.raises(BadInputError, match="no attribute 'acquisition'"):
        acquisition_of(xr.Dataset())


def test_unreadable_metadata_is_named() -> None:
    with pytest.raises(BadInputError, match="cannot be read"):
        acquisition_of(xr.Dataset(attrs={"acquisition": '{"beam": 3}'}))


@given(scans(), st.floats(-20, 20), st.floats(-20, 20))
def test_frames_there_and_back(scan: Scan, x: float, y: float) -> None:
    point = np.array([x, y])
    assert np.allclose(from_scan_frame(to_scan_frame(point, scan, CELL), scan, CELL), point)


@given(scans())
def test_the_scan_is_centred_on_the_cell(scan: Scan) -> None:
    positions = scan_positions(scan, CELL)
    assert positions.shape == (*scan.shape, 2)
    assert np.allclose(positions.mean(axis=(0, 1)), [6.0, 4.5])


@given(scans())
def test_scan_pixels_are_at_their_steps_in_the_scan_frame(scan: Scan) -> None:
    xy = to_scan_frame(scan_positions(scan, CELL), scan, CELL)
    y, x = np.indices(scan.shape)
    assert np.allclose(xy[..., 0], x * scan.step[1], atol=1e-9)
    assert np.allclose(xy[..., 1], y * scan.step[0], atol=1e-9)


def test_rotation_is_from_x_towards_y() -> None:
    assert np.allclose(rotate(np.array([1.0, 0.0]), 90), [0, 1])


# Kirkland, Advanced Computing in Electron Microscopy, 2nd ed., table 5.1 and eq. 2.5
@pytest.mark.parametrize(
    ("energy", "angstrom"), [(100e3, 0.0370), (200e3, 0.0251), (300e3, 0.0197)]
)
def test_wavelength_as_published(energy: float, angstrom: float) -> None:
    assert wavelength(energy) == pytest.approx(angstrom, abs=5e-5)


def test_optics_agree_with_abtem() -> None:
    from abtem.core.energy import energy2sigma, energy2wavelength

    for energy in (60e3, 200e3, 300e3):
        assert wavelength(energy) == pytest.approx(energy2wavelength(energy), rel=1e-6)
        assert interaction_constant(energy) == pytest.approx(energy2sigma(energy), rel=1e-5)


@given(acquisitions())
def test_aberration_phase_agrees_with_abtem(acquisition: StemAcquisition) -> None:
    from abtem.transfer import CTF

    values = acquisition.beam.aberrations
    kx, ky = np.meshgrid(np.linspace(-0.5, 0.5, 7), np.linspace(-0.4, 0.4, 5))
    lam = acquisition.beam.wavelength
    ctf = CTF(energy=acquisition.beam.energy, semiangle_cutoff=150, **values.model_dump())
    alpha, phi = lam * np.hypot(kx, ky), np.arctan2(ky, kx)
    theirs = ctf._evaluate_from_angular_grid(alpha, phi)
    ours = np.exp(
        -1j * aberration_phase(kx, ky, aberrations=values, energy=acquisition.beam.energy)
    )
    # abTEM evaluates in float32.
    assert np.allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Beam(energy=80), "did you mean 80e3 eV"),
        (lambda: Beam(semiangle=0.0224), "did you mean 22.4 mrad"),
        (lambda: Beam(energy=float("nan")), "finite number"),
        (lambda: Scan(step=(0.0, 0.2)), "expected 0.001 to 100 Å"),
        (lambda: Scan(shape=(0, 4)), "greater than or equal to 1"),
        (lambda: PixelDetector(pixel_size=1e-5), "give it in mrad"),
        (lambda: AnnularDetector(inner=80, outer=60), "is not below outer"),
        (lambda: StemAcquisition(detector=PixelDetector(shape=(16, 64))), "cuts the bright-field"),
        (lambda: StemAcquisition(dose=-1), "greater than 0"),
        (lambda: Beam(energi=2e5), "Extra inputs"),  # type: ignore[call-arg]
    ],
)
def test_implausible_values_are_refused(build: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build()  # type: ignore[operator]


def test_a_step_beyond_the_limit_warns_with_the_transfer_lost() -> None:
    acquisition = StemAcquisition(scan=Scan(step=0.4))
    with pytest.warns(BadInputWarning, match=r"0\.4 Å is beyond .* 0\.280 Å: \d+% of the transfer"):
        acquisition.warn_if_undersampled()


@given(st.floats(0.05, 0.9))
def test_transfer_lost_is_a_growing_share(step: float) -> None:
    lost = StemAcquisition(scan=Scan(step=(step, step))).sampling_loss()
    more = StemAcquisition(scan=Scan(step=(step * 1.1, step * 1.1))).sampling_loss()
    assert 0 <= lost <= more <= 1
    if step <= 0.2799:
        assert lost == 0


def test_aberration_terms_are_all_there() -> None:
    terms = Aberrations(C12=3.0, phi12=0.5, C50=7.0).terms()
    assert (1, 2, 3.0, 0.5) in terms
    assert (5, 0, 7.0, 0.0) in terms
    assert len(terms) == 14
