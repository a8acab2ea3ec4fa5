"""Which pixels, frequencies and phases the double overlaps are summed over."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.forward.acquisition import (
    Aberrations,
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
    rotate,
)
from echolith.forward.optics import aberration_phase
from echolith.forward.phase_object import phase_object_mean
from echolith.inverse.overlap_geometry import aberration_turns, bright_field_disc, half_plane
from echolith.inverse.scan_transform import PIXELS_PER_TASK, pixel_groups
from echolith.inverse.ssb import ssb
from echolith.inverse.wdd import wdd
from tests.inverse.phase_sets import acquisitions, random_phase, spectrum

COEFFICIENTS = [name for name in Aberrations.model_fields if name.startswith("C")]


@given(
    st.dictionaries(st.sampled_from(COEFFICIENTS), st.floats(-3, 3), min_size=1),
    st.floats(-3.1, 3.1),
    st.floats(-180, 180),
)
def test_the_polynomial_is_chi_in_the_scan_frame(
    rim_phases: dict[str, float], azimuth: float, rotation: float
) -> None:
    beam, rim = Beam(semiangle=25), 0.025
    values = {
        name: phase * beam.wavelength / (2 * np.pi) * (int(name[1]) + 1) / rim ** (int(name[1]) + 1)
        for name, phase in rim_phases.items()
    }
    azimuths = {f"phi{name[1:]}": azimuth for name in values if name[2] != "0"}
    aberrations = Aberrations(**values, **azimuths)
    turns = aberration_turns(aberrations, wavelength=beam.wavelength, rotation=rotation)
    rng = np.random.default_rng(0)
    scan_frame = rng.uniform(-1, 1, (40, 2)) * rim / beam.wavelength
    specimen = rotate(scan_frame, rotation)
    chi = aberration_phase(
        specimen[:, 0], specimen[:, 1], aberrations=aberrations, energy=beam.energy
    )
    powers = turns if turns.size else np.zeros((1, 1))
    ours = np.polynomial.polynomial.polyval2d(scan_frame[:, 0], scan_frame[:, 1], powers)
    np.testing.assert_allclose(2 * np.pi * ours, chi, atol=1e-9)


def test_no_aberration_is_no_polynomial() -> None:
    assert aberration_turns(Aberrations(phi12=1.0), wavelength=0.025).size == 0


@given(st.integers(1, 17), st.integers(1, 17), st.floats(0.1, 0.4), st.floats(0.1, 0.4))
def test_the_half_plane_and_its_mirror_are_all_frequencies_but_nyquist(
    ny: int, nx: int, step_y: float, step_x: float
) -> None:
    radius = 1.7
    plane = half_plane(Scan(shape=(ny, nx), step=(step_y, step_x)), radius)
    qy, qx = np.meshgrid(np.fft.fftfreq(ny, step_y), np.fft.fftfreq(nx, step_x), indexing="ij")
    inside = np.hypot(qy, qx) < radius
    for n, axis in ((ny, 0), (nx, 1)):
        if n % 2 == 0:
            np.moveaxis(inside, axis, 0)[n // 2] = False
    assert np.array_equal(plane.full(np.ones(plane.size)) > 0, inside)
    x, y = plane.vectors()
    np.testing.assert_allclose(plane.full(y**2 + x**2), np.where(inside, qy**2 + qx**2, 0))
    assert (x >= 0).all()


@given(acquisitions(), st.integers(1, 200))
def test_groups_of_pixels_cover_the_detector_once(taken: StemAcquisition, most: int) -> None:
    disc = bright_field_disc(taken)
    frame = taken.detector.stored_shape
    groups = pixel_groups(disc, frame, most=most)
    firsts, lasts, starts, stops = zip(*groups, strict=True)
    assert (firsts[0], *lasts) == (*firsts, disc.pixels.size)
    assert (starts[0], *stops) == (*starts, frame[0] * frame[1])
    for first, last, start, stop in groups:
        inside = (disc.pixels >= start) & (disc.pixels < stop)
        assert np.array_equal(np.flatnonzero(inside), np.arange(first, last))
        # A group is a detector row at least.
        one_row = stop - start == frame[1]
        assert last - first <= max(most, PIXELS_PER_TASK) or one_row


@pytest.mark.parametrize(
    ("energy", "semiangle", "pixel", "positions"),
    [(200e3, 20, 2.5, 40), (300e3, 30, 2.5, 60), (80e3, 25, 2.5, 48), (200e3, 20, 2.0, 50)],
)
def test_samples_on_the_rim_are_inside_for_all(
    energy: float, semiangle: float, pixel: float, positions: int
) -> None:
    # Round numbers put samples K, and with a field of 1/pixel also K - Q, on the rim itself. One
    # rounding inside and the other outside once cost 2 % of the phase, single Q 16 %.
    beam = Beam(energy=energy, semiangle=semiangle)
    side = beam.wavelength / (pixel * 1e-3)
    count = 2 * round(semiangle / pixel) + 2
    taken = StemAcquisition(
        beam=beam,
        scan=Scan(shape=(positions, positions), step=(side / positions, side / positions)),
        detector=PixelDetector(shape=(count, count), pixel_size=(pixel, pixel)),
        haadf=None,
    )
    y, x = np.indices((count, count)) - count // 2
    disc = x**2 + y**2 <= round(semiangle / pixel) ** 2
    assert np.array_equal(bright_field_disc(taken).pixels, np.flatnonzero(disc))
    phase = random_phase(taken, seed=1)
    recorded = phase_object_mean(phase, acquisition=taken, weak=True)
    for solver in (ssb, wdd):
        result = solver(recorded)
        kept = result["weight"].values > 0
        difference = np.abs(spectrum(result["phase"]) - spectrum(phase))[kept]
        assert difference.max() < 1e-4 * phase.std()
