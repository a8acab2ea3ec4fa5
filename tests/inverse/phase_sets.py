"""Small thin-object data sets for the tests of SSB and WDD, and what they should come back as."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from hypothesis import strategies as st

from echolith.forward.acquisition import Beam, PixelDetector, Scan, StemAcquisition
from echolith.forward.phase_object import phase_object_mean
from echolith.validation.strategies import aberrations
from tests.inverse.weak_phase import Cell, Field, haadf_image, phase_image

Array = npt.NDArray[np.float64]

BEAM = Beam(semiangle=20.7)


def acquisition(**changes: Any) -> StemAcquisition:
    """Return a scan of 12 x 15 positions, transferred whole; the disc is 16 pixels wide."""
    settings: dict[str, Any] = {
        "beam": BEAM,
        "scan": Scan(shape=(12, 15), step=(0.29, 0.26)),
        "detector": PixelDetector(shape=(20, 22), pixel_size=(2.6, 2.5)),
        "haadf": None,
        "dose": 1e5,
    }
    return StemAcquisition(**(settings | changes))


def frequencies(taken: StemAcquisition) -> tuple[Array, Array]:
    """Return qy (n, 1) and qx (1, m) of the scan, 1/Å, in `numpy.fft.fft2` order."""
    (ny, nx), (step_y, step_x) = taken.scan.shape, taken.scan.step
    qy, qx = (np.fft.fftfreq(n, d).astype(np.float64) for n, d in ((ny, step_y), (nx, step_x)))
    return qy[:, None], qx[None]


def band_limited(image: Array, taken: StemAcquisition) -> Array:
    """Drop all beyond twice the semiangle, the mean, and the Nyquist frequency."""
    qy, qx = frequencies(taken)
    limit = 2e-3 * taken.beam.semiangle / taken.beam.wavelength
    kept = np.hypot(qy, qx) < limit
    for q, step in zip((qy, qx), taken.scan.step, strict=True):
        kept = kept & (np.abs(q) * 2 * step < 1 - 1e-9)
    kept[0, 0] = False
    return np.asarray(np.fft.ifft2(np.fft.fft2(image) * kept).real)


def random_phase(taken: StemAcquisition, *, seed: int, rms: float = 0.01) -> Array:
    """Return a phase image with random, band-limited spectrum; no symmetry whatsoever."""
    image = np.random.default_rng(seed).normal(size=taken.scan.shape)
    image = band_limited(image, taken)
    spread = image.std()
    return image * (rms / spread) if spread else image


@cache
def li_rich_oxide(*, weak: bool, split: bool = True) -> xr.Dataset:
    """Return noise-free frames and HAADF of one layer of Li-rich oxide, 0.33 rad from peak to peak.

    The dose stated is so high that the columns' fit rests on the data, not on its priors.
    """
    field = Field(layers=1, cell=Cell(split=split))
    taken = StemAcquisition(
        scan=Scan(shape=field.shape, step=(field.step, field.step)),
        detector=PixelDetector(shape=(50, 50), pixel_size=(0.95, 0.95)),
        haadf=None,
        dose=1e8,
    )
    frames = phase_object_mean(phase_image(field), acquisition=taken, weak=weak)
    return frames.assign(haadf=haadf_image(field))


def spectrum(image: Any) -> npt.NDArray[np.complex128]:
    """Return phi(Q) = mean_R phase exp(-2 pi i Q.R)."""
    values = np.asarray(image)
    return np.asarray(np.fft.fft2(values) / values.size)


def correlation(estimate: Any, truth: Any) -> float:
    """Return Pearson's correlation."""
    return float(np.corrcoef(np.ravel(estimate), np.ravel(truth))[0, 1])


def slope(estimate: Any, truth: Any) -> float:
    """Return the slope of estimate against truth by least squares."""
    x = np.ravel(truth) - np.mean(truth)
    return float(np.ravel(estimate) @ x / (x @ x))


def noise_set(taken: StemAcquisition, *, seed: int, mean: float = 20.0) -> xr.Dataset:
    """Return counts that are no object's, for what holds for any counts."""
    shape = (*taken.scan.shape, *taken.detector.stored_shape)
    counts = np.random.default_rng(seed).poisson(mean, shape).astype(np.uint16)
    return measurement(counts, taken)


def measurement(counts: Any, taken: StemAcquisition) -> xr.Dataset:
    """Wrap stored counts (scan_y, scan_x, detector_y, detector_x)."""
    return xr.Dataset(
        {"counts": (("scan_y", "scan_x", "detector_y", "detector_x"), counts)},
        attrs={"acquisition": taken.model_dump_json()},
    )


@st.composite
def acquisitions(draw: st.DrawFn, *, rim_phase: float = 1.5) -> StemAcquisition:
    """Draw fully sampled, coherent measurements: any scan raster and rotation, any detector.

    Parameters
    ----------
    draw : callable
        Given by Hypothesis.
    rim_phase : float
        Largest phase of one aberration at 20 mrad and 200 kV, rad; 0 for none.
    """
    beam = Beam(
        energy=draw(st.sampled_from([60e3, 80e3, 200e3, 300e3])),
        semiangle=draw(st.sampled_from([12.0, 20.0, 22.4, 28.7])),
        aberrations=draw(aberrations(phase=rim_phase)) if rim_phase else {},
    )
    finest = beam.wavelength / (4e-3 * beam.semiangle)
    fraction = st.floats(0.6, 0.99).map(lambda value: round(value, 3))
    radius = st.sampled_from([4.0, 5.0, 6.3])
    margin = st.integers(1, 3)
    pixel = (beam.semiangle / draw(radius), beam.semiangle / draw(radius))
    rows, columns = (
        2 * int(np.ceil(beam.semiangle / size)) + draw(margin) + draw(margin) for size in pixel
    )
    return StemAcquisition(
        beam=beam,
        scan=Scan(
            shape=(draw(st.integers(5, 10)), draw(st.integers(5, 10))),
            step=(finest * draw(fraction), finest * draw(fraction)),
            rotation=draw(st.sampled_from([0.0, 90.0, -30.0, 137.0])),
        ),
        detector=PixelDetector(
            shape=(rows, columns),
            pixel_size=pixel,
            subpixels=draw(st.sampled_from([(1, 1), (2, 1), (1, 3)])),
            transpose=draw(st.booleans()),
        ),
        haadf=None,
        dose=1e5,
    )
