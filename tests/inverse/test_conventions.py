"""Signs, rotations and transposes of SSB and WDD, against data made by abTEM alone.

The object is an F, periodic as abTEM's cell is. The scanned fields are lattice vectors of the F's
square lattice, (2, 1) and (-1, 2) times its period for the tilted one, so that they are periodic
too and nothing is cut off. Where a pixel or position lies is written out here once more.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from echolith.forward.acquisition import Aberrations, Beam, PixelDetector, Scan, StemAcquisition
from echolith.forward.phase_object import phase_object_mean
from echolith.inverse.ssb import ssb
from echolith.inverse.wdd import wdd
from tests.inverse.phase_sets import Array, band_limited, correlation, measurement, slope

PERIOD = 3.6
"""Å."""
CELL, GRID = 2 * PERIOD, 40
ENERGY, SEMIANGLE = 200e3, 22.4
WAVELENGTH, INTERACTION = 0.0250793, 7.2884e-4
"""Å and rad/(V Å) at 200 kV: Kirkland, Advanced Computing in Electron Microscopy, eqs 2.5, 5.6."""
HEIGHT = 0.05
"""rad; terms of higher order in the phase are some per cent of it at most."""
WIDTH = 0.24
STEM = [(0.9, 0.5 + 0.25 * i) for i in range(11)]
BARS = [(0.9 + 0.25 * i, 3.0) for i in range(1, 7)] + [(0.9 + 0.25 * i, 1.9) for i in range(1, 5)]
"""Points of the letter, xy in Å; no flip, turn or transpose leaves it as it is."""
RIM_PHASE = 2.0
"""rad, of each aberration at the rim: enough for a wrong sign to spoil the image."""
TILT = math.degrees(math.atan2(1, 2))
SCANS = {
    "along x": Scan(shape=(15, 28), step=(PERIOD / 15, 2 * PERIOD / 28)),
    "quarter turn back": Scan(shape=(28, 15), step=(2 * PERIOD / 28, PERIOD / 15), rotation=-90),
    "tilted": Scan(
        shape=(30, 33),
        step=(5**0.5 * PERIOD / 30, 5**0.5 * PERIOD / 33),
        rotation=TILT,
    ),
}
SOLVERS: dict[str, Callable[..., xr.Dataset]] = {"ssb": ssb, "wdd": wdd}
SPOILT = 0.2
"""Relative error above which an image is clearly wrong; right ones stay below 0.03, the least wrong
one here (a rotation of 27 degrees left out, SSB) has 0.27."""
COEFFICIENTS = [name for name in Aberrations.model_fields if name.startswith("C")]


def letter(x: Array, y: Array) -> Array:
    """Phase of the periodic F at points of the specimen frame, rad."""
    phase = np.zeros(np.broadcast(x, y).shape)
    for px, py in STEM + BARS:
        dx, dy = ((d + PERIOD / 2) % PERIOD - PERIOD / 2 for d in (x - px, y - py))
        phase += np.exp(-(dx**2 + dy**2) / (2 * WIDTH**2))
    return np.asarray(phase * HEIGHT / 3.2)


def positions(scan: Scan) -> Array:
    """Return where the probe is, (ny, nx, 2) xy in Å: R(rotation) (ix step_x, iy step_y)."""
    iy, ix = np.indices(scan.shape)
    along, across = ix * scan.step[1], iy * scan.step[0]
    c, s = math.cos(math.radians(scan.rotation)), math.sin(math.radians(scan.rotation))
    return np.stack([c * along - s * across, s * along + c * across], axis=-1)


def truth(taken: StemAcquisition) -> Array:
    """Band-limited phase at the scan positions, rad."""
    xy = positions(taken.scan)
    return band_limited(letter(xy[..., 0], xy[..., 1]), taken)


def relative_error(image: Any, phase: Array) -> float:
    """Return the rms deviation in units of the phase's own rms."""
    return float(np.sqrt(np.mean((np.asarray(image) - phase) ** 2) / np.mean(phase**2)))


def one_aberration(name: str, sign: int) -> Aberrations:
    """Return one aberration, along an azimuth that is no symmetry of the scan."""
    order, symmetry = int(name[1]), int(name[2])
    per_radian = WAVELENGTH / (2 * math.pi) * (order + 1) / (SEMIANGLE * 1e-3) ** (order + 1)
    azimuth = {f"phi{name[1:]}": 0.4} if symmetry else {}
    return Aberrations(**{name: sign * RIM_PHASE * per_radian}, **azimuth)


def acquisition(
    scan: str,
    aberrations: Aberrations | None = None,
    *,
    transpose: bool = False,
    frame: tuple[int, int] = (16, 18),
) -> StemAcquisition:
    return StemAcquisition(
        beam=Beam(energy=ENERGY, semiangle=SEMIANGLE, aberrations=aberrations or Aberrations()),
        scan=SCANS[scan],
        detector=PixelDetector(
            shape=frame,
            pixel_size=(1e3 * WAVELENGTH / CELL, 1e3 * WAVELENGTH / CELL),
            transpose=transpose,
        ),
        haadf=None,
        dose=1e5,
    )


@cache
def frames_by_abtem(scan: str, aberrations: Aberrations) -> npt.NDArray[np.float32]:
    """Frames (y, x, ky, kx) by abTEM's probe, transmission function and diffraction patterns."""
    import abtem

    axis = np.arange(GRID) * CELL / GRID
    phase = letter(axis[:, None], axis[None])  # abTEM's arrays are (x, y)
    with abtem.config.set({"fft": "numpy"}):
        potential = abtem.PotentialArray(
            (phase / INTERACTION).astype(np.float32)[None],
            slice_thickness=1e-4,
            extent=(CELL, CELL),
        )
        probe = abtem.Probe(
            energy=ENERGY,
            semiangle_cutoff=SEMIANGLE,
            soft=False,
            extent=CELL,
            gpts=GRID,
            aberrations={k: v for k, v in aberrations.model_dump().items() if v},
        )
        where = abtem.CustomScan(positions(SCANS[scan]).reshape(-1, 2))
        waves: Any = probe.build(scan=where, lazy=False).multislice(potential)
        patterns = waves.diffraction_patterns(max_angle=None)
    frames = np.asarray(patterns.array).swapaxes(1, 2)
    return frames.reshape(*SCANS[scan].shape, *frames.shape[1:])


def by_abtem(taken: StemAcquisition, scan: str) -> xr.Dataset:
    frames = frames_by_abtem(scan, taken.beam.aberrations) * taken.electrons_per_position
    # abTEM puts the undiffracted beam of n pixels at n // 2, as we do.
    top, left = (
        n // 2 - m // 2 for n, m in zip(frames.shape[2:], taken.detector.shape, strict=True)
    )
    frames = frames[..., top : top + taken.detector.shape[0], left : left + taken.detector.shape[1]]
    return measurement(frames.swapaxes(2, 3) if taken.detector.transpose else frames, taken)


@pytest.mark.parametrize("transpose", [False, True], ids=["", "transposed"])
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("sign", [1, -1], ids=["+", "-"])
@pytest.mark.parametrize("name", COEFFICIENTS)
def test_every_aberration_keeps_its_sign_and_axes(
    name: str, sign: int, scan: str, transpose: bool
) -> None:
    taken = acquisition(scan, one_aberration(name, sign), transpose=transpose)
    recorded, phase = by_abtem(taken, scan), truth(taken)
    opposite = one_aberration(name, -sign)
    for solver in SOLVERS.values():
        image = solver(recorded)["phase"]
        assert correlation(image, phase) >= 0.999
        assert 0.97 <= slope(image, phase) <= 1.03
        assert relative_error(solver(recorded, aberrations=opposite)["phase"], phase) > SPOILT


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("name", [name for name in COEFFICIENTS if int(name[2])])
def test_an_azimuth_goes_from_x_towards_y(name: str, scan: str) -> None:
    taken = acquisition(scan, one_aberration(name, 1))
    recorded, phase = by_abtem(taken, scan), truth(taken)
    mirrored = one_aberration(name, 1).model_copy(update={f"phi{name[1:]}": -0.4})
    for solver in SOLVERS.values():
        assert relative_error(solver(recorded)["phase"], phase) < 0.03
        assert relative_error(solver(recorded, aberrations=mirrored)["phase"], phase) > SPOILT


@pytest.mark.parametrize("method", SOLVERS)
@pytest.mark.parametrize("transpose", [False, True], ids=["", "transposed"])
@pytest.mark.parametrize("scan", SCANS)
def test_an_f_comes_back_as_an_f(scan: str, transpose: bool, method: str) -> None:
    taken = acquisition(scan, transpose=transpose)
    image = SOLVERS[method](by_abtem(taken, scan))["phase"].values
    phase = truth(taken)
    assert correlation(image, phase) >= 0.999
    assert 0.97 <= slope(image, phase) <= 1.03
    # What a flip or a turn the wrong way would show, wherever it lies in the field.
    for wrong in (phase[::-1], phase[:, ::-1], phase[::-1, ::-1], -phase):
        assert best_match(image, wrong) < 0.9


def best_match(image: Array, other: Array) -> float:
    """Return the correlation with another image at the best of all cyclic shifts."""
    product = np.fft.ifft2(np.fft.fft2(image) * np.fft.fft2(other).conj()).real
    return float(product.max() / np.sqrt((image**2).sum() * (other**2).sum()))


@pytest.mark.parametrize("method", SOLVERS)
@pytest.mark.parametrize(
    "change",
    [
        {"scan": {"rotation": -TILT}},
        {"scan": {"rotation": 0.0}},
        {"scan": {"rotation": TILT + 180}},
        {"detector": {"transpose": True}},
    ],
    ids=str,
)
def test_wrong_metadata_spoil_the_f(change: dict[str, dict[str, Any]], method: str) -> None:
    # A square frame, so that its shape does not give the transpose away.
    taken = acquisition("tilted", frame=(16, 16))
    recorded, phase = by_abtem(taken, "tilted"), truth(taken)
    told = taken.model_copy(
        update={
            name: getattr(taken, name).model_copy(update=fields) for name, fields in change.items()
        }
    )
    assert relative_error(SOLVERS[method](recorded)["phase"], phase) < 0.03
    mistaken = recorded.assign_attrs(acquisition=told.model_dump_json())
    assert relative_error(SOLVERS[method](mistaken)["phase"], phase) > SPOILT


@pytest.mark.parametrize("transpose", [False, True], ids=["", "transposed"])
@pytest.mark.parametrize("scan", SCANS)
def test_the_thin_object_simulator_equals_abtem(scan: str, transpose: bool) -> None:
    aberrations = Aberrations(C10=-40, C12=20, phi12=0.4, C21=300, phi21=1.0)
    taken = acquisition(scan, aberrations, transpose=transpose)
    theirs = by_abtem(taken, scan)["counts"].values
    ours = phase_object_mean(field_of(taken), acquisition=taken)["counts"].values
    assert ours.shape == theirs.shape
    # abTEM's waves are float32: 4e-6 seen.
    assert np.abs(ours - theirs).max() < 2e-5 * theirs.max()


def field_of(taken: StemAcquisition) -> Array:
    """Phase over the scanned field on a grid three times as fine as the scan, scan frame."""
    ny, nx = taken.scan.shape
    fine = taken.scan.model_copy(
        update={
            "shape": (3 * ny, 3 * nx),
            "step": (taken.scan.step[0] / 3, taken.scan.step[1] / 3),
        }
    )
    xy = positions(fine)
    return letter(xy[..., 0], xy[..., 1])
