"""Far-field frames of X-ray ptychography: the mean counts of every scan position.

I_j(k) = D(k) (N a |F[P(r - r_j) O(r)]|² + background), summed over the points of an incoherent
source; D is what an attenuator over the centre of the frames lets through.
"""

from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy import fft

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.far_field_detector import (
    CentralAttenuator,
    background_shape,
    detector_transmission,
)
from echolith.forward.xray_probe import ZonePlate, zone_plate_probe
from echolith.seeds import stream
from echolith.units import Angstrom, Electronvolt

Complex = npt.NDArray[np.complex128]
Array = npt.NDArray[np.float64]


class FarField(Settings):
    """How far-field frames are taken."""

    energy: Electronvolt = 708.2
    plate: ZonePlate = ZonePlate(defocus=1.2e5)
    shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (20, 20)
    """Scan positions (rows, columns)."""
    step: Annotated[Angstrom, Field(gt=0)] = 700.0
    jitter: Annotated[Angstrom, Field(ge=0)] = 100.0
    """Standard deviation of recorded offsets from the raster, against its own artefacts."""
    position_error: Annotated[Angstrom, Field(ge=0)] = 0.0
    """Standard deviation of offsets that are not recorded."""
    pixels: Annotated[int, Field(ge=16)] = 128
    """Along each side of a frame."""
    pixel_size: Annotated[Angstrom, Field(gt=0)] = 67.0
    """Of the reconstruction: 1 / (pixels times the frequency step of the detector)."""
    photons: Annotated[float, Field(gt=0)] = 9e5
    """Per frame without the specimen, before the attenuator."""
    attenuation: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of photons that an attenuator in the beam lets through."""
    attenuator: CentralAttenuator | None = None
    """Before the detector, over the centre of every frame."""
    readout: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of the read-out noise of a pixel, photons. Said to the solver; drawn by
    `echolith.forward.detector_noise.DetectorNoise`."""
    saturation: Annotated[int, Field(ge=1)] | None = None
    """Photons a pixel counts at most; likewise."""
    background: Annotated[float, Field(ge=0)] = 0.0
    """Incoherent counts in a frame as a share of the photons through an empty specimen."""
    source_spread: Annotated[Angstrom, Field(ge=0)] = 0.0
    """Standard deviation of the incoherent source in the specimen's plane."""
    oversampling: Annotated[int, Field(ge=1, le=8)] = 2
    """Simulated pixels along each reconstructed one."""


def scan_positions(settings: FarField, *, seed: int) -> tuple[Array, Array]:
    """Return recorded and true positions, each (positions, 2) as (y, x) in Å, mean of raster 0."""
    rows, columns = settings.shape
    y, x = np.meshgrid(np.arange(rows) - (rows - 1) / 2, np.arange(columns) - (columns - 1) / 2)
    raster = settings.step * np.stack([y.T.ravel(), x.T.ravel()], axis=1)
    rng = stream(seed, "far-field", "positions")
    recorded = raster + settings.jitter * rng.standard_normal(raster.shape)
    true = recorded + settings.position_error * rng.standard_normal(raster.shape)
    return recorded, true


def far_field_mean(transmission: xr.DataArray, *, settings: FarField, seed: int = 0) -> xr.Dataset:
    """Return the mean counts of all frames.

    Parameters
    ----------
    transmission : xarray.DataArray
        Complex exit wave for unit illumination, dims (y, x), coordinates in Å around 0 with pixels
        of ``settings.pixel_size / settings.oversampling``.
    settings : FarField
    seed : int
        Of the positions.

    Returns
    -------
    xarray.Dataset
        ``counts`` (position, detector_y, detector_x), float32, zero frequency at n // 2; recorded
        ``position_y``, ``position_x`` in Å; with an attenuator ``detector_transmission``
        (detector_y, detector_x), a coordinate; attributes to invert it: ``energy``,
        ``pixel_size``, ``photons``, those of the plate, ``readout`` and ``saturation``.

    Raises
    ------
    BadInputError
        If pixels do not fit or positions reach beyond the object.
    """
    fine = settings.pixel_size / settings.oversampling
    size = settings.pixels * settings.oversampling
    values, origin = _object(transmission, fine)
    recorded, true = scan_positions(settings, seed=seed)
    corner = true / fine - origin - size // 2
    _check_inside(corner, size, values.shape, true)
    probe = zone_plate_probe(
        settings.plate, energy=settings.energy, shape=(size, size), pixel_size=fine
    )
    photons = settings.photons * settings.attenuation
    frames = np.empty((len(true), settings.pixels, settings.pixels), dtype=np.float32)
    for index, place in enumerate(corner):
        frames[index] = photons * _frame(probe, values, place, settings)
    frames += np.float32(photons) * incoherent_background(settings)
    return _labelled(frames, recorded, settings)


def _labelled(frames: npt.NDArray[np.float32], recorded: Array, settings: FarField) -> xr.Dataset:
    """Put the attenuator before the frames and name what inverts them."""
    behind = detector_transmission(settings.attenuator, settings.pixels)
    coords: dict[str, tuple[str | tuple[str, str], npt.NDArray[Any], dict[str, str]]] = {
        "position_y": ("position", recorded[:, 0], {"units": "Å"}),
        "position_x": ("position", recorded[:, 1], {"units": "Å"}),
    }
    if settings.attenuator is not None:
        frames *= behind
        coords["detector_transmission"] = (("detector_y", "detector_x"), behind, {"units": "1"})
    return xr.Dataset(
        {"counts": (("position", "detector_y", "detector_x"), frames, {"units": "photons"})},
        coords=coords,
        attrs=frame_attributes(settings),
    )


def frame_attributes(settings: FarField) -> dict[str, float]:
    """Return what a solver is told of the frames: photons, pixels, zone plate, detector."""
    attrs = {
        "energy": settings.energy,
        "pixel_size": settings.pixel_size,
        "photons": settings.photons * settings.attenuation,
        "outer_zone_width": settings.plate.outer_zone_width,
        "central_stop": settings.plate.central_stop,
        "defocus": settings.plate.defocus,
    }
    if settings.readout:
        attrs["readout"] = settings.readout
    if settings.saturation is not None:
        attrs["saturation"] = float(settings.saturation)
    return attrs


def incoherent_background(settings: FarField) -> npt.NDArray[np.float32]:
    """Return the share of the photons that scatters incoherently into every pixel of a frame."""
    return np.asarray(settings.background * background_shape(settings.pixels), dtype=np.float32)


def _object(transmission: xr.DataArray, fine: float) -> tuple[Complex, Array]:
    """Return values and the (fractional) pixel of coordinate 0 times -1."""
    if transmission.dims != ("y", "x"):
        raise BadInputError(f"transmission has dims {transmission.dims}; expected (y, x)")
    steps = [float(np.diff(transmission[dim].values[:2])[0]) for dim in ("y", "x")]
    if not np.allclose(steps, fine, rtol=1e-6):
        raise BadInputError(
            f"transmission has pixels of {steps[0]:g} and {steps[1]:g} Å; expected "
            f"pixel_size / oversampling = {fine:g} Å"
        )
    origin = np.array([float(transmission[dim].values[0]) for dim in ("y", "x")]) / fine
    return np.asarray(transmission.values, dtype=np.complex128), origin


def _check_inside(corner: Array, size: int, shape: tuple[int, ...], true: Array) -> None:
    outside = (corner < 0).any(axis=1) | (np.ceil(corner) + size > np.array(shape)).any(axis=1)
    if outside.any():
        y, x = true[np.flatnonzero(outside)[0]]
        raise BadInputError(
            f"{int(outside.sum())} of {len(true)} positions reach beyond the object, e.g. y = "
            f"{y:g} Å, x = {x:g} Å; make the object larger or the scan smaller"
        )


def _frame(probe: Complex, values: Complex, place: Array, settings: FarField) -> Array:
    whole = np.floor(place).astype(int)
    size = len(probe)
    window = values[whole[0] : whole[0] + size, whole[1] : whole[1] + size]
    total = np.zeros((settings.pixels, settings.pixels))
    fine = settings.pixel_size / settings.oversampling
    for weight, offset in _source_points(settings.source_spread / fine):
        wave = window * _moved(probe, place - whole + offset)
        spectrum = fft.fftshift(fft.fft2(wave, norm="ortho"))
        cut = (size - settings.pixels) // 2
        kept = spectrum[cut : cut + settings.pixels, cut : cut + settings.pixels]
        total += weight * np.abs(kept) ** 2
    return total


def _moved(probe: Complex, shift: Array) -> Complex:
    """Move the probe by a part of a pixel through its spectrum."""
    ramps = [
        np.exp(-2j * np.pi * np.fft.fftfreq(n) * s) for n, s in zip(probe.shape, shift, strict=True)
    ]
    return np.asarray(fft.ifft2(fft.fft2(probe) * ramps[0][:, None] * ramps[1]))


def _source_points(spread: float) -> list[tuple[float, Array]]:
    """Return weights and offsets of a Gaussian source: three by three points, exact to order 5."""
    if spread == 0:
        return [(1.0, np.zeros(2))]
    nodes = np.sqrt(3.0) * spread * np.array([-1, 0, 1])
    weights = np.array([1, 4, 1]) / 6
    return [
        (float(a * b), np.array([y, x]))
        for a, y in zip(weights, nodes, strict=True)
        for b, x in zip(weights, nodes, strict=True)
    ]
