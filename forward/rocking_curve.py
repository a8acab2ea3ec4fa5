"""Rocking curves of a raster: detector frames at every scan point and angle eta, as mean counts.

Each point of the specimen has one peak, a Gaussian in the space of Q; a focused beam sees several
points at once. Between the eta scans the specimen drifts, as where the centre of rotation is off.
"""

from typing import Annotated, NamedTuple

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import delayed
from pydantic import Field, field_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.goniometer import (
    Goniometer,
    Reflection,
    bragg_setting,
    checked_energy,
    scattering_vectors,
    voxel_volumes,
)
from echolith.forward.peak_frames import add_peaks
from echolith.seeds import stream
from echolith.structures.strained_crystals import StrainedMap
from echolith.units import Angstrom, Degree, Electronvolt

Array = npt.NDArray[np.float64]
DIMS = ("scan_y", "scan_x", "eta", "detector_y", "detector_x")


class RockingCurve(Settings):
    """How a map of rocking curves is taken; the reflection meets the middle of the detector."""

    beam_energy: Electronvolt = 9000.0
    reflection: Reflection = Reflection()
    """Tilts of the specimen are from its direction towards e1 and e2."""
    phi: Annotated[Degree, Field(ge=-360, le=360)] = 0.0
    """Of the specimen about z; eta, nu and delta follow from it and the reflection."""
    distance: Annotated[float, Field(gt=100)] = 6000.0
    """From specimen to detector, in pixels."""
    scan: tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=2)]] = (40, 40)
    """Points (rows, columns)."""
    step: Annotated[Angstrom, Field(gt=0)] = 300.0
    etas: Annotated[int, Field(ge=5)] = 31
    eta_step: Annotated[Degree, Field(gt=0)] = 0.04
    pixels: tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]] = (32, 32)
    """Of the detector's region (rows, columns)."""
    counts: Annotated[float, Field(gt=0)] = 2000.0
    """Of the whole peak of a point of intensity 1."""
    background: Annotated[float, Field(ge=0)] = 0.02
    """In every pixel of every frame."""
    beam: Annotated[Angstrom, Field(ge=0)] = 60.0
    """Standard deviation of the focus."""
    drift: tuple[float, float] = (0.0, 0.0)
    """Steps (rows, columns) of the scan by which the specimen moves from one eta to the next."""
    monitor_noise: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Standard deviation of the beam's intensity from eta to eta, part of it; it is recorded."""
    dead: Annotated[int, Field(ge=0)] = 0
    """Pixels of the detector that count nothing; known."""
    hot: Annotated[int, Field(ge=0)] = 0
    """Pixels that count 20 photons in every frame; not known."""
    saturation: Annotated[int, Field(ge=1)] | None = None
    """Photons a pixel counts at most in a frame; None: any number."""

    @field_validator("beam_energy")
    @classmethod
    def _plausible(cls, value: float) -> float:
        return checked_energy(value)

    @property
    def etas_from_bragg(self) -> Array:
        """Angles, degree, from that of the unstrained lattice."""
        return np.asarray((np.arange(self.etas) - (self.etas - 1) / 2) * self.eta_step)


class CurveVoxels(NamedTuple):
    """Where the frames of a rocking curve lie: Q along e1, e2 and n of the reflection, 1/Å."""

    goniometer: Goniometer
    eta: Array
    vectors: Array
    volumes: Array


def curve_voxels(settings: RockingCurve, reference: Angstrom) -> CurveVoxels:
    """Return the voxels about a reflection, which meets the middle of the detector."""
    centre = ((settings.pixels[0] - 1) / 2, (settings.pixels[1] - 1) / 2)
    turned = Goniometer(
        beam_energy=settings.beam_energy,
        phi=settings.phi,
        distance=settings.distance,
        centre=centre,
    )
    goniometer, middle = bragg_setting(turned, reference, settings.reflection)
    eta = middle + settings.etas_from_bragg
    rows, columns = np.meshgrid(*(np.arange(n) for n in settings.pixels), indexing="ij")
    vectors = scattering_vectors(goniometer, eta=eta, rows=rows, columns=columns)
    local = vectors @ settings.reflection.axes
    return CurveVoxels(goniometer, eta, local, voxel_volumes(local))


def rocking_curve_mean(
    specimen: StrainedMap, *, settings: RockingCurve, seed: int = 0
) -> xr.Dataset:
    """Return the mean counts of all frames.

    Parameters
    ----------
    specimen : StrainedMap
    settings : RockingCurve
    seed : int
        Of the monitor and of dead and hot pixels.

    Returns
    -------
    xarray.Dataset
        ``counts`` (scan_y, scan_x, eta, detector_y, detector_x), float32, lazy, one chunk a row of
        the scan; coordinates ``eta`` in degrees, ``scan_y``, ``scan_x`` in Å, ``monitor`` (eta),
        ``valid`` (detector_y, detector_x); attributes ``goniometer``, ``reflection`` (JSON) and
        ``saturation``.

    Raises
    ------
    BadInputError
        If the scan and the drift reach beyond the specimen's grid.
    """
    goniometer, eta, vectors, volumes = curve_voxels(settings, specimen.reference)
    rng = stream(seed, "rocking curve")
    monitor = 1 + settings.monitor_noise * rng.standard_normal(settings.etas)
    dead, hot = _bad_pixels(settings, rng)
    places = scan_places(specimen, settings)
    offsets, weights = beam_points(settings, specimen)
    fields = _fields(specimen)
    task = delayed(_row, pure=False)
    shared = [delayed(one, traverse=False, pure=False) for one in (fields, vectors, volumes)]
    block = (1, settings.scan[1], settings.etas, *settings.pixels)
    series = [
        da.from_delayed(
            task(*shared, places[n], offsets, weights, monitor, dead, hot, settings),
            block,
            dtype=np.float32,
        )
        for n in range(settings.scan[0])
    ]
    axes = [(np.arange(n) - (n - 1) / 2) * settings.step for n in settings.scan]
    attrs: dict[str, str | float] = {
        "goniometer": goniometer.model_dump_json(),
        "reflection": settings.reflection.model_dump_json(),
    }
    if settings.saturation is not None:
        attrs["saturation"] = float(settings.saturation)
    return xr.Dataset(
        {"counts": (DIMS, da.concatenate(series), {"units": "photons"})},
        coords={
            "scan_y": ("scan_y", axes[0], {"units": "Å"}),
            "scan_x": ("scan_x", axes[1], {"units": "Å"}),
            "eta": ("eta", eta, {"units": "°"}),
            "monitor": ("eta", monitor, {"units": "1"}),
            "valid": (("detector_y", "detector_x"), ~dead),
        },
        attrs=attrs,
    )


def peak_vectors(spacing: Array, tilt: Array) -> Array:
    """Return Q of lattice planes, (..., 3), 1/Å: of length 2 pi / d along the leaning normal.

    Parameters
    ----------
    spacing : array, (...)
        Å.
    tilt : array, (..., 2)
        rad.
    """
    lean = np.hypot(tilt[..., 0], tilt[..., 1])
    along = np.sinc(lean / np.pi)[..., None] * tilt  # sin(lean) times the direction
    normal = np.concatenate([along, np.cos(lean)[..., None]], axis=-1)
    return np.asarray(2 * np.pi / spacing[..., None] * normal)


def scan_places(specimen: StrainedMap, settings: RockingCurve) -> Array:
    """Return the pixel of the specimen at every point and eta, (rows, columns, etas, 2)."""
    grid = np.stack(
        np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in settings.scan), indexing="ij"), axis=-1
    )
    turn = np.arange(settings.etas) - (settings.etas - 1) / 2
    moved = grid[:, :, None] + turn[:, None] * np.array(settings.drift)
    middle = (np.array(specimen.intensity.shape) - 1) / 2
    places = moved * settings.step / specimen.pixel + middle
    if (places < -0.5).any() or (places > 2 * middle + 0.5).any():
        raise BadInputError(
            f"the scan of {settings.scan} points of {settings.step:g} Å with a drift of "
            f"{settings.drift} steps from eta to eta reaches beyond the specimen of "
            f"{specimen.intensity.shape} pixels of {specimen.pixel:g} Å; make it smaller"
        )
    return np.asarray(places)


def beam_points(settings: RockingCurve, specimen: StrainedMap) -> tuple[Array, Array]:
    """Return nine points of a Gaussian focus, in pixels of the specimen, and their weights."""
    nodes = np.sqrt(3.0) * settings.beam / specimen.pixel * np.array([-1, 0, 1])
    parts = np.array([1, 4, 1]) / 6
    offsets = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    return offsets, np.outer(parts, parts).ravel()


def _bad_pixels(
    settings: RockingCurve, rng: np.random.Generator
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    count = settings.pixels[0] * settings.pixels[1]
    if settings.dead + settings.hot > count // 4:
        raise BadInputError(
            f"{settings.dead + settings.hot} bad pixels of {count}; expected a quarter at most"
        )
    chosen = rng.permutation(count)
    masks = np.zeros((2, count), dtype=bool)
    masks[0, chosen[: settings.dead]] = True
    masks[1, chosen[settings.dead : settings.dead + settings.hot]] = True
    return masks[0].reshape(settings.pixels), masks[1].reshape(settings.pixels)


def _fields(specimen: StrainedMap) -> Array:
    """Return intensity, Q and widths on the specimen's grid, (rows, columns, 7)."""
    q = peak_vectors(specimen.spacing, specimen.tilt)
    return np.concatenate([specimen.intensity[..., None], q, specimen.width], axis=-1)


HOT_COUNTS = 20.0


def _row(
    fields: Array,
    vectors: Array,
    volumes: Array,
    places: Array,
    offsets: Array,
    weights: Array,
    monitor: Array,
    dead: npt.NDArray[np.bool_],
    hot: npt.NDArray[np.bool_],
    settings: RockingCurve,
) -> npt.NDArray[np.float32]:
    """Return one row of the scan, (1, columns, etas, rows, columns of the detector)."""
    frames = np.zeros((len(places), *volumes.shape), dtype=np.float32)
    add_peaks(fields, vectors, volumes, places, offsets, weights, frames)
    frames *= np.float32(settings.counts) * monitor.astype(np.float32)[:, None, None]
    frames += np.float32(settings.background)
    frames[..., hot] += np.float32(HOT_COUNTS)
    frames[..., dead] = 0
    return frames[None]
