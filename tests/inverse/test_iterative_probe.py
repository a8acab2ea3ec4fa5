"""Aberrations from a wrong defocus and positions from jitter, in objects simulated plainly."""

import numpy as np
import numpy.typing as npt
import pytest

from echolith.forward.acquisition import (
    Aberrations,
    Beam,
    Scan,
    StemAcquisition,
    acquisition_of,
    rotate,
)
from echolith.forward.diffraction_box import sample_angles
from echolith.forward.optics import aperture
from echolith.inverse.iterative_ptychography_options import (
    PositionCorrection,
    ProbeCorrection,
    PtychographyOptions,
)
from echolith.inverse.multislice_ptychography import multislice_ptychography
from tests.inverse.phase_sets import Array, acquisition, measurement
from tests.inverse.test_iterative_ptychography import smooth_phase

JITTER = 0.05
"""Å, standard deviation."""
pytestmark = pytest.mark.filterwarnings("ignore:scan step")


def frames_at(phase: Array, taken: StemAcquisition, xy: npt.NDArray[np.floating]) -> Array:
    """Return frames of ``exp(i phase)`` at positions (n, 2) in the scan frame, by direct sums."""
    q = np.stack(
        np.meshgrid(
            *(np.fft.fftfreq(n, d) for n, d in zip(phase.shape, taken.scan.step, strict=True)),
            indexing="ij",
        )[::-1],
        axis=-1,
    ).reshape(-1, 2)
    spectrum = (np.fft.fft2(np.exp(1j * phase)) / phase.size).ravel()
    ky, kx = (a * 1e-3 / taken.beam.wavelength for a in sample_angles(taken))
    k = np.stack(np.meshgrid(kx, ky), axis=-1).reshape(-1, 2)
    turned = rotate(q, taken.scan.rotation)
    moved = k[:, None] - turned
    probe = aperture(moved[..., 0], moved[..., 1], beam=taken.beam) * spectrum
    waves = probe @ np.exp(2j * np.pi * q @ xy.T)
    area = (aperture(k[:, 0], k[:, 1], beam=taken.beam) != 0).sum()
    frames = (np.abs(waves) ** 2).T.reshape(len(xy), *taken.detector.shape)
    return np.asarray(frames * taken.electrons_per_position / area)


def test_the_probe_is_found_from_a_wrong_defocus() -> None:
    true = Aberrations(C10=-60, C12=20, phi12=0.4)
    taken = acquisition(
        beam=Beam(semiangle=20.7, aberrations=true),
        scan=Scan(shape=(16, 16), step=(0.4, 0.4)),
        dose=1e6,
    )
    raster = np.stack(np.meshgrid(np.arange(16) * 0.4, np.arange(16) * 0.4), -1).reshape(-1, 2)
    phase = smooth_phase(taken, seed=2, rms=0.15)
    counts = frames_at(phase, taken, raster).reshape(16, 16, *taken.detector.shape)
    told = taken.model_copy(update={"beam": Beam(semiangle=20.7, aberrations={"C10": -30})})
    options = PtychographyOptions(iterations=16, minimum_box=15, probe=ProbeCorrection())
    found = multislice_ptychography(measurement(counts, told), options=options)
    probe = acquisition_of(found).beam.aberrations
    # A box of 19 Å cuts off 1 % of the probe: 0.2 Å seen.
    assert pytest.approx(-60, abs=0.5) == probe.C10
    vector = probe.C12 * np.exp(2j * probe.phi12)
    assert abs(vector - 20 * np.exp(0.8j)) < 0.5
    assert 0 < found.attrs["C10_std"] < 0.5
    assert found["deviance"][-1] < 0.05 * found["deviance"][0]


@pytest.mark.parametrize("rotation", [0.0, 40.0])
def test_positions_are_found_within_their_stated_spread(rotation: float) -> None:
    taken = acquisition(
        beam=Beam(semiangle=20.7, aberrations=Aberrations(C10=-60)),
        scan=Scan(shape=(14, 15), step=(0.35, 0.35), rotation=rotation),
        dose=1e5,
    )
    rng = np.random.default_rng(0)
    raster = np.stack(np.meshgrid(np.arange(15) * 0.35, np.arange(14) * 0.35), -1).reshape(-1, 2)
    moved = raster + rng.normal(0, JITTER, raster.shape)
    frames = frames_at(smooth_phase(taken, seed=0, rms=0.3), taken, moved)
    counts = rng.poisson(frames).reshape(14, 15, *taken.detector.shape).astype(np.uint16)
    options = PtychographyOptions(
        iterations=16, minimum_box=20, positions=PositionCorrection(spread=JITTER)
    )
    found = multislice_ptychography(measurement(counts, taken), options=options)
    error = found["position"].values.reshape(-1, 2) - moved
    error -= error.mean(axis=0)
    pulls = error / found["position_std"].values.reshape(-1, 2)
    # The object is held fixed in the stated spread, which costs a fifth: pulls of 1.2 seen; their
    # spread is known to 4 sigma = 4 / sqrt(2 * 420).
    assert pulls.std() < 1.3 + 4 / np.sqrt(2 * pulls.size)
    assert pulls.std() > 1 - 4 / np.sqrt(2 * pulls.size)
    assert error.std() < 0.35 * JITTER
