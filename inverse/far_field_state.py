"""What far-field ptychography works on: frames, windows, object, probe, background."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyfftw
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.xray_probe import ZonePlate, zone_plate_probe
from echolith.inverse.far_field_frames import NEEDED, checked_frames, detector_share
from echolith.inverse.far_field_options import FarFieldSolver

Array = npt.NDArray[Any]


@dataclass(kw_only=True, eq=False)
class State:
    """Frames and the present estimate; the engines change it in place.

    Waves are in units of sqrt(photons); transforms are not normalised, so that modelled counts
    are |F[P O]|² / n².
    """

    counts: Array
    """(positions, n, n) float32, zero frequency first, below 0 where unknown."""
    recorded: Array
    """(positions, 2) as (y, x), in pixels from object pixel (0, 0) to the middle of the probe."""
    positions: Array
    """The same as they are believed to be."""
    corners: Array
    """(positions, 2) first pixel of every window in the object."""
    ramps: Array
    """(positions, 2, n) complex64: moves the probe by the rest of a pixel."""
    transmission: Array
    spectrum: Array
    """Transform of the probe, complex64."""
    background: Array
    reaching: Array
    """(n, n) share of photons that reaches a pixel, zero frequency first; 0: unknown."""
    offset: Any
    """float32, added to counts and model: the variance of the read-out."""
    photons: float
    """In the probe; fixes what a factor between object and probe would leave free."""
    pixel_size: float
    origin: tuple[float, float]
    """Coordinate (y, x) in Å of object pixel (0, 0)."""

    @property
    def size(self) -> int:
        """Pixels along a frame."""
        return int(self.counts.shape[1])

    @property
    def probe(self) -> Array:
        """The probe, centred on pixel n // 2."""
        return np.asarray(np.fft.ifft2(self.spectrum), dtype=np.complex64)


class Transforms:
    """In-place transforms of one aligned buffer; plans are estimated, so that bits repeat."""

    def __init__(self, size: int) -> None:
        self.wave = pyfftw.empty_aligned((size, size), dtype="complex64")
        flags = ("FFTW_ESTIMATE",)
        self._forward = pyfftw.FFTW(self.wave, self.wave, axes=(0, 1), flags=flags)
        self._back = pyfftw.FFTW(
            self.wave, self.wave, axes=(0, 1), direction="FFTW_BACKWARD", flags=flags
        )

    def forward(self) -> None:
        """Transform the buffer."""
        self._forward.execute()

    def back(self) -> None:
        """Transform the buffer back, without the factor 1 / n²."""
        self._back.execute()


def start(measurement: xr.Dataset, options: FarFieldSolver, *, probe: Array | None = None) -> State:
    """Make the first state: an empty object and the probe of the zone plate.

    Raises
    ------
    BadInputError
        As `far_field_ptychography`.
    """
    counts, positions = checked_frames(measurement, options)
    size = counts.shape[1]
    step = float(measurement.attrs["pixel_size"])
    place = positions / step
    correct = options.positions_after is not None
    spare = int(np.ceil(5 * options.position_spread / step)) if correct else 0
    first = np.floor(place.min(axis=0)).astype(int) - spare
    recorded = place - first
    corners, ramps = windows(recorded, size)
    field = tuple(int(n) for n in corners.max(axis=0) + size + 1 + spare)
    wave = _first_probe(measurement, size, step) if probe is None else np.asarray(probe)
    if wave.shape != (size, size):
        raise BadInputError(f"probe of shape {wave.shape}; expected {(size, size)} as the frames")
    amplitude = np.sqrt(float(measurement.attrs["photons"])) / np.linalg.norm(wave)
    return State(
        counts=counts,
        recorded=recorded,
        positions=recorded,
        corners=corners,
        ramps=ramps,
        transmission=np.ones(field, dtype=np.complex64),
        spectrum=np.fft.fft2(wave * amplitude).astype(np.complex64),
        background=np.zeros((size, size), dtype=np.float32),
        reaching=detector_share(measurement, size),
        offset=np.float32(float(measurement.attrs.get("readout", 0.0)) ** 2),
        photons=float(measurement.attrs["photons"]),
        pixel_size=step,
        origin=(float(first[0] - size // 2) * step, float(first[1] - size // 2) * step),
    )


def windows(positions: Array, size: int) -> tuple[Array, Array]:
    """Return the first pixel of every window, and what moves the probe by the rest of a pixel.

    Parameters
    ----------
    positions : array (positions, 2)
        Pixels, 0 or more.
    size : int
        Along a window.
    """
    whole = np.floor(positions).astype(np.int64)
    rest = positions - whole
    frequency = np.fft.fftfreq(size)
    return whole, np.exp(-2j * np.pi * frequency * rest[:, :, None]).astype(np.complex64)


def _first_probe(measurement: xr.Dataset, size: int, step: float) -> Array:
    plate = ZonePlate(**{name: float(measurement.attrs[name]) for name in NEEDED[3:]})
    energy = float(measurement.attrs["energy"])
    return zone_plate_probe(plate, energy=energy, shape=(size, size), pixel_size=step)


def illumination(state: State) -> Array:
    """Return the photons that fell on every pixel of the object, (rows, columns)."""
    total = np.zeros(state.transmission.shape, dtype=np.float32)
    bright = np.abs(state.probe) ** 2
    for top, left in state.corners:
        total[top : top + state.size, left : left + state.size] += bright
    return total
