"""What far-field frames tell about pixels of the object, the probe known: Fisher information.

Mean m = |F[P_j O]|² + b. Information of a change d of the object: F d = sum over positions of
P_j* F⁻¹[T Re(T* F[P_j d])], T = 2 Psi / sqrt(m); a functional g of the object has the bound
g F⁻¹ g', by conjugate gradients (from below). No matrix of all pixels is ever made.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.forward.far_field import FarField, scan_positions
from echolith.forward.xray_probe import zone_plate_probe
from echolith.inverse.far_field_state import windows
from echolith.validation.information import Information

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complexfloating]
MOST_STEPS = 200
DARK = 0.01
"""Of the brightest pixel; of darker ones nothing is asked, they count as known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FarFieldView:
    """What frames were taken of: all on the pixels of the reconstruction."""

    wave: Complex
    """The object (rows, columns)."""
    probes: Complex
    """At each position, moved by the part of a pixel, (positions, n, n), in roots of photons."""
    corners: npt.NDArray[np.int64]
    """First pixel (y, x) of every window, (positions, 2)."""
    background: Array
    """(n, n), zero frequency first, photons."""
    repeats: int = 1
    """Scans of the same view."""


def view_of_frames(
    wave: Complex, settings: FarField, *, seed: int, background: Array, repeats: int
) -> FarFieldView:
    """Return what one scan's frames were taken of.

    Parameters
    ----------
    wave : array (n, n)
        On pixels of the reconstruction, the middle one at the origin.
    settings : FarField
    seed : int
        Of the scan's positions.
    background : array
        Incoherent share in every pixel of a frame, zero frequency in the middle.
    repeats : int
        Scans of the same view.
    """
    _, true = scan_positions(settings, seed=seed)
    place = true / settings.pixel_size + len(wave) // 2
    corners, ramps = windows(place, settings.pixels)
    probe = zone_plate_probe(
        settings.plate,
        energy=settings.energy,
        shape=(settings.pixels, settings.pixels),
        pixel_size=settings.pixel_size,
    )
    photons = settings.photons * settings.attenuation
    spectrum = np.sqrt(photons) * fft.fft2(probe)
    moved = spectrum * ramps[:, 0, :, None] * ramps[:, 1, None, :]
    return FarFieldView(
        wave=wave,
        probes=np.asarray(fft.ifft2(moved), dtype=np.complex64),
        corners=corners - settings.pixels // 2,
        background=np.fft.ifftshift(photons * background.astype(np.float64)),
        repeats=repeats,
    )


def far_field_information(
    view: FarFieldView,
    pixels: npt.NDArray[np.int64],
    *,
    passed: Array,
    field: tuple[slice, slice],
) -> Information:
    """Return the information about optical density and phase of some pixels, at a resolution.

    Parameters
    ----------
    view : FarFieldView
    pixels : array (count, 2)
        Row and column in the object.
    passed : array
        Share of each frequency that the images hold, of the shape of the object.
    field : tuple of slice
        The phase is counted from its mean there: a constant one is not told by any frame.

    Returns
    -------
    Information
        Parameters ``optical_density(row,column)`` and ``phase(row,column)``, every other pixel
        unknown too.
    """
    wave = fft.ifft2(fft.fft2(view.wave) * passed)
    steps = np.stack([_place(wave.shape, pixel) for pixel in pixels])
    mean = np.zeros(wave.shape, dtype=np.complex128)
    mean[field] = 1j / np.conj(wave[field]) / mean[field].size
    # OD = -2 ln |O|: Re(g* d) = -2 Re(d / O) at the pixel; the phase: Im(d / O), less its mean.
    density, phase = -2 * steps / wave.conj(), 1j * steps / wave.conj() - mean
    wanted = fft.ifft2(fft.fft2(np.concatenate([density, phase])) * passed)
    bright = _illumination(view)
    wanted = (wanted * (bright > DARK * bright.max())).astype(np.complex64)
    solved = np.stack([_solve(view, _told(view), bright, one) for one in wanted])
    covariance = np.array([[np.vdot(a, b).real for b in solved] for a in wanted]) / view.repeats
    covariance = (covariance + covariance.T) / 2
    count = len(pixels)
    names = [f"{what}({y},{x})" for what in ("optical_density", "phase") for y, x in pixels]
    rows = np.eye(2 * count)
    units = dict.fromkeys(names[:count], "1") | dict.fromkeys(names[count:], "rad")
    return Information(
        names=tuple(names),
        matrix=np.asarray(np.linalg.inv(covariance), dtype=np.float64),
        gradients={"optical_density": rows[:count], "phase": rows[count:]},
        units={**units, "optical_density": "1", "phase": "rad"},
        notes=(
            "Probe, background and positions are known, and pixels of less than 1 % of the "
            "illumination; every other pixel of the object is not.",
            f"Root mean square over {count} pixels of the field; phases from their mean there.",
        ),
    )


def _place(shape: tuple[int, ...], pixel: Array) -> Complex:
    found = np.zeros(shape, dtype=np.complex128)
    found[tuple(pixel)] = 1
    return found


def _apply(view: FarFieldView, told: Complex, change: Complex) -> Complex:
    """Return the information times a change of the object; ``told`` is 2 Psi / sqrt(m)."""
    size = view.probes.shape[-1]
    windows = np.empty_like(view.probes)
    places = [(slice(y, y + size), slice(x, x + size)) for y, x in view.corners]
    for window, probe, place in zip(windows, view.probes, places, strict=True):
        np.multiply(probe, change[place], out=window)
    moved = fft.fft2(windows, norm="ortho", overwrite_x=True)
    windows = fft.ifft2(told * (told.conj() * moved).real, norm="ortho", overwrite_x=True)
    found = np.zeros_like(change)
    for window, probe, place in zip(windows, view.probes, places, strict=True):
        found[place] += probe.conj() * window
    return found


def _illumination(view: FarFieldView) -> Array:
    """Return the photons on every pixel of the object."""
    size, bright = view.probes.shape[-1], np.zeros(view.wave.shape)
    for probe, (top, left) in zip(view.probes, view.corners, strict=True):
        bright[top : top + size, left : left + size] += np.abs(probe) ** 2
    return bright


def _told(view: FarFieldView) -> Complex:
    """Return 2 Psi / sqrt(m) of every frame."""
    size = view.probes.shape[-1]
    windows = [view.wave[y : y + size, x : x + size] for y, x in view.corners]
    waves = fft.fft2(view.probes * np.stack(windows), norm="ortho")
    mean = np.abs(waves) ** 2 + view.background
    return np.asarray(2 * waves / np.sqrt(np.maximum(mean, 1e-12)), dtype=np.complex64)


def _solve(
    view: FarFieldView,
    told: Complex,
    bright: Array,
    wanted: Complex,
    *,
    tolerance: float = 1e-2,
) -> Complex:
    """Return F⁻¹ g by conjugate gradients, preconditioned by the illumination."""
    scale = np.where(bright > DARK * bright.max(), 1 / np.maximum(2 * bright, 1e-12), 0)
    scale = scale.astype(np.float32)
    found, rest = np.zeros_like(wanted), wanted.copy()
    along = scale * rest
    power = np.vdot(rest, along).real
    start = power
    for _ in range(MOST_STEPS):
        image = _apply(view, told, along)
        length = np.float32(power / np.vdot(along, image).real)
        found = found + length * along
        rest = rest - length * image
        next_power = np.vdot(rest, scale * rest).real
        along = scale * rest + np.float32(next_power / power) * along
        power = next_power
        if power < tolerance**2 * start:
            break
    return found
