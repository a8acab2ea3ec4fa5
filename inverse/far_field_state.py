"""What far-field ptychography works on: frames, windows, object, probe, background."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyfftw
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.xray_probe import ZonePlate, zone_plate_probe

Array = npt.NDArray[Any]
NEEDED = ("energy", "pixel_size", "photons", "outer_zone_width", "central_stop", "defocus")


@dataclass(kw_only=True, eq=False)
class State:
    """Frames and the present estimate; the engines change it in place.

    Waves are in units of sqrt(photons); transforms are not normalised, so that modelled counts
    are |F[P O]|² / n².
    """

    counts: Array
    """(positions, n, n) float32, zero frequency first."""
    corners: Array
    """(positions, 2) first pixel of every window in the object."""
    ramps: Array
    """(positions, 2, n) complex64: moves the probe by the rest of a pixel."""
    transmission: Array
    spectrum: Array
    """Transform of the probe, complex64."""
    background: Array
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


def start(measurement: xr.Dataset, *, probe: Array | None = None) -> State:
    """Make the first state: an empty object and the probe of the zone plate.

    Raises
    ------
    BadInputError
        As `far_field_ptychography`.
    """
    counts, positions = _checked(measurement)
    size = counts.shape[1]
    step = float(measurement.attrs["pixel_size"])
    place = positions / step
    first = np.floor(place.min(axis=0)).astype(int)
    whole = np.floor(place).astype(np.int64)
    corners = whole - first
    rest = place - whole
    frequency = np.fft.fftfreq(size)
    ramps = np.exp(-2j * np.pi * frequency * rest[:, :, None]).astype(np.complex64)
    field = tuple(int(n) for n in corners.max(axis=0) + size + 1)
    wave = _first_probe(measurement, size, step) if probe is None else np.asarray(probe)
    if wave.shape != (size, size):
        raise BadInputError(f"probe of shape {wave.shape}; expected {(size, size)} as the frames")
    amplitude = np.sqrt(float(measurement.attrs["photons"])) / np.linalg.norm(wave)
    return State(
        counts=counts,
        corners=corners,
        ramps=ramps,
        transmission=np.ones(field, dtype=np.complex64),
        spectrum=np.fft.fft2(wave * amplitude).astype(np.complex64),
        background=np.zeros((size, size), dtype=np.float32),
        photons=float(measurement.attrs["photons"]),
        pixel_size=step,
        origin=(float(first[0] - size // 2) * step, float(first[1] - size // 2) * step),
    )


def _first_probe(measurement: xr.Dataset, size: int, step: float) -> Array:
    plate = ZonePlate(**{name: float(measurement.attrs[name]) for name in NEEDED[3:]})
    energy = float(measurement.attrs["energy"])
    return zone_plate_probe(plate, energy=energy, shape=(size, size), pixel_size=step)


def _checked(measurement: xr.Dataset) -> tuple[Array, Array]:
    missing = [name for name in NEEDED if name not in measurement.attrs]
    if missing or "counts" not in measurement:
        names = ", ".join([*missing, *(["counts"] if "counts" not in measurement else [])])
        raise BadInputError(f"the measurement lacks {names}; expected frames as `far_field_mean`")
    counts = measurement["counts"].transpose("position", "detector_y", "detector_x").values
    if counts.shape[1] != counts.shape[2] or counts.shape[1] % 2:
        raise BadInputError(f"frames of {counts.shape[1:]} pixels; expected square and even")
    if len(counts) < 4:
        raise BadInputError(f"{len(counts)} frames; expected 4 or more that overlap")
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise BadInputError("counts that are negative or not finite; expected photons per pixel")
    full = measurement.attrs.get("saturation")
    if full is not None and (counts >= full).any():
        raise BadInputError(
            f"{int((counts >= full).any(axis=(1, 2)).sum())} of {len(counts)} frames reach the "
            f"saturation of {full:g} photons; use an attenuator or leave these frames out"
        )
    positions = np.stack([measurement[f"position_{axis}"].values for axis in "yx"], axis=1)
    if not np.isfinite(positions).all():
        raise BadInputError("positions that are not finite; expected Å")
    spread = np.ptp(positions, axis=0).max() / float(measurement.attrs["pixel_size"])
    if spread > 20000:
        raise BadInputError(
            f"positions spread over {spread:.3g} pixels; expected Å, did you give them in pm or m?"
        )
    native = np.fft.ifftshift(counts, axes=(1, 2)).astype(np.float32)
    return np.ascontiguousarray(native), positions.astype(np.float64)
