"""High-resolution TEM: expected counts of the frames of a movie.

The image of a wave is averaged over the focal spread (an incoherent sum over foci, so that it holds
for any specimen) and over vibration. It is computed once. A frame is it moved by the drift, smeared
by what the specimen drifts while the frame is taken, summed over every pixel and seen by the
detector, all of which are products in the image's transform. The field repeats.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft

from echolith.errors import BadInputError
from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.forward.hrtem_exit_wave import ExitWave
from echolith.forward.optics import aberration_phase, wavelength

Array = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex64]

FOCI = 9
"""Points of the focal spread; more change no pixel by 1e-4 of the mean at the default optics."""
FRAMES_AT_ONCE = 8
DIMS = ("frame", "y", "x")


def hrtem_mean(
    wave: ExitWave, *, acquisition: HrtemAcquisition, drift: tuple[float, float] = (0.0, 0.0)
) -> xr.Dataset:
    """Return the expected counts of all frames.

    Parameters
    ----------
    wave : ExitWave
        Of the field of the acquisition, on a whole number of points for every pixel.
    acquisition : HrtemAcquisition
    drift : (float, float)
        Velocity of the specimen along y and x, Å/s. Nothing of it is recorded.

    Returns
    -------
    xarray.Dataset
        ``counts`` (frame, y, x), float32, lazy: memory does not grow with the movie. Coordinates
        ``frame`` (s, the middle of each), ``y`` and ``x`` (Å, middles of pixels). Attribute
        ``hrtem``: the acquisition (JSON).

    Raises
    ------
    BadInputError
        If field, grid or energy of the wave are not those of the acquisition.
    """
    frames = partial(
        drifting_frames,
        spectrum=image_spectrum(wave, acquisition=acquisition),
        finer=points_of_a_pixel(wave, acquisition),
        acquisition=acquisition,
        drift=drift,
    )
    return lazy_movie(frames, acquisition=acquisition)


def frame_times(acquisition: HrtemAcquisition) -> Array:
    """Return the middle of each frame, s."""
    return np.asarray((np.arange(acquisition.frames) + 0.5) * acquisition.frame_time)


def lazy_movie(
    frames: Callable[[Array], npt.NDArray[np.float32]], *, acquisition: HrtemAcquisition
) -> xr.Dataset:
    """Return a movie as from `hrtem_mean` of what a function makes of times of frames, s."""
    import dask.array as da
    from dask.delayed import delayed

    times = frame_times(acquisition)
    task = delayed(frames, traverse=False, pure=False)
    blocks = [times[n : n + FRAMES_AT_ONCE] for n in range(0, len(times), FRAMES_AT_ONCE)]
    series = [
        da.from_delayed(task(block), (len(block), *acquisition.shape), dtype=np.float32)
        for block in blocks
    ]
    axes = {
        name: (name, np.arange(n) * acquisition.pixel, {"units": "Å"})
        for name, n in zip(DIMS[1:], acquisition.shape, strict=True)
    }
    return xr.Dataset(
        {"counts": (DIMS, da.concatenate(series), {"units": "electrons"})},
        coords={"frame": ("frame", times, {"units": "s"}), **axes},
        attrs={"hrtem": acquisition.model_dump_json()},
    )


def image_spectrum(wave: ExitWave, *, acquisition: HrtemAcquisition) -> Spectrum:
    """Return the transform (ny, nx // 2 + 1) of the mean image of a specimen at rest.

    ``I(k) = F[sum_f w_f |F^-1[psi A exp(-i chi_f)]|²] exp(-2 pi² s² k²)``, f the foci of a Gaussian
    focal spread (Gauss-Hermite), s the image spread.

    Parameters
    ----------
    wave : ExitWave
    acquisition : HrtemAcquisition
        Its optics.
    """
    ky, kx = _frequencies(wave.values.shape, wave.sampling)
    k2: Array = ky**2 + kx**2
    lam = wavelength(acquisition.energy)
    chi = aberration_phase(kx, ky, aberrations=acquisition.aberrations, energy=acquisition.energy)
    transfer = np.where(lam * np.sqrt(k2) <= 1e-3 * acquisition.semiangle, np.exp(-1j * chi), 0)
    passed = fft.fft2(wave.values) * transfer.astype(np.complex64)
    image: npt.NDArray[np.float32] = np.zeros(wave.values.shape, dtype=np.float32)
    for focus, weight in zip(*_foci(acquisition.focal_spread), strict=True):
        turned = np.exp(-1j * np.pi * lam * focus * k2).astype(np.complex64)
        focused = fft.ifft2(passed * turned)
        image += np.float32(weight) * (focused.real**2 + focused.imag**2)
    half = k2[:, : wave.values.shape[1] // 2 + 1]
    spread = np.exp(-2 * (np.pi * acquisition.image_spread) ** 2 * half)
    return np.asarray(fft.rfft2(image) * spread.astype(np.float32))


def _foci(spread: float) -> tuple[Array, Array]:
    """Return changes of C10 (Å) and their weights."""
    if spread == 0:
        return np.zeros(1), np.ones(1)
    nodes, weights = np.polynomial.hermite_e.hermegauss(FOCI)
    return spread * nodes, weights / weights.sum()


def _frequencies(shape: tuple[int, ...], sampling: tuple[float, float]) -> tuple[Array, Array]:
    ky, kx = (fft.fftfreq(n, d) for n, d in zip(shape, sampling, strict=True))
    return ky[:, None], kx[None]


def points_of_a_pixel(wave: ExitWave, acquisition: HrtemAcquisition) -> int:
    """Return how many points of the wave lie along a pixel."""
    field = tuple(n * d for n, d in zip(wave.values.shape, wave.sampling, strict=True))
    if not np.allclose(field, acquisition.field, rtol=1e-6):
        raise BadInputError(
            f"the wave covers {field[0]:g} × {field[1]:g} Å (y, x), the frame "
            f"{acquisition.field[0]:g} × {acquisition.field[1]:g} Å; expected the same field"
        )
    if wave.energy != acquisition.energy:
        raise BadInputError(
            f"the wave is of {wave.energy:g} eV, the acquisition of {acquisition.energy:g} eV; "
            "expected the same energy"
        )
    times = [n / m for n, m in zip(wave.values.shape, acquisition.shape, strict=True)]
    if times[0] != times[1] or not times[0].is_integer():
        raise BadInputError(
            f"a wave of {wave.values.shape} points does not divide into {acquisition.shape} "
            "pixels; expected the same whole number of points for every pixel along both axes"
        )
    return int(times[0])


def drifting_frames(
    times: Array,
    *,
    spectrum: Spectrum,
    finer: int,
    acquisition: HrtemAcquisition,
    drift: tuple[float, float],
) -> npt.NDArray[np.float32]:
    """Return frames (n, y, x) about some times, s."""
    shape = tuple(n * finer for n in acquisition.shape)
    step = acquisition.pixel / finer
    ky, kx = fft.fftfreq(shape[0], step)[:, None], fft.rfftfreq(shape[1], step)[None]
    velocity = ky * drift[0] + kx * drift[1]
    pixel = np.sinc(ky * acquisition.pixel) * np.sinc(kx * acquisition.pixel)
    # A steady drift smears a frame over the way gone while it is taken.
    still = spectrum * (pixel * np.sinc(velocity * acquisition.frame_time)).astype(np.float32)
    electrons = np.float32(acquisition.dose * acquisition.pixel**2)
    frames = np.empty((len(times), *acquisition.shape), dtype=np.float32)
    for frame, time in zip(frames, times, strict=True):
        moved = still * np.exp(-2j * np.pi * velocity * time).astype(np.complex64)
        image = fft.irfft2(moved, s=shape)[::finer, ::finer]
        # Rounding may leave -1e-8 where hardly an electron falls.
        frame[...] = np.maximum(electrons * _detected(image, acquisition), 0)
    return frames


def _detected(
    image: npt.NDArray[np.float32], acquisition: HrtemAcquisition
) -> npt.NDArray[np.float32]:
    """Return what the detector makes of expected counts."""
    response = acquisition.response
    if not any(response.point_spread):
        return np.float32(response.efficiency) * image
    ny, nx = image.shape
    mtf = response.mtf(fft.fftfreq(ny), 0)[:, None] * response.mtf(fft.rfftfreq(nx), 1)
    seen = fft.rfft2(image) * (response.efficiency * mtf).astype(np.float32)
    return np.asarray(fft.irfft2(seen, s=image.shape), dtype=np.float32)
