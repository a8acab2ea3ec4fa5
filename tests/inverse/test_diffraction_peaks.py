"""One Bragg peak: pulls of both methods, tilts on any reflection, bad pixels and frames."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputWarning
from echolith.forward.goniometer import (
    Goniometer,
    Reflection,
    bragg_setting,
    lean_slopes,
    scattering_vectors,
    voxel_volumes,
)
from echolith.forward.rocking_curve import RockingCurve, curve_voxels, peak_vectors
from echolith.inverse.diffraction_map import DiffractionMap, recover_map
from echolith.inverse.diffraction_peaks import PeakMethod

Array = npt.NDArray[np.float64]

SPACING = 4.743
WIDTH = np.array([2.2e-3, 2.0e-3, 1.6e-3])
CURVE = RockingCurve(etas=27, pixels=(30, 34), counts=2000.0, background=0.01)


def mean_frames(
    centre: Array, vectors: Array, volumes: Array, *, width: Array = WIDTH, counts: float = 2000.0
) -> Array:
    """Return the photons of a Gaussian peak on a background of 0.01."""
    square = (((vectors - centre) / width) ** 2).sum(axis=-1)
    height = counts / ((2 * np.pi) ** 1.5 * width.prod())
    return np.asarray(height * volumes * np.exp(-0.5 * square) + 0.01)


def measured(
    mean: Array, goniometer: Goniometer, eta: Array, *, points: int, seed: int = 0, **attrs: Any
) -> xr.Dataset:
    """Draw the frames of some points that all see the same."""
    counts = np.random.default_rng(seed).poisson(mean, size=(1, points, *mean.shape))
    dims = ("scan_y", "scan_x", "eta", "detector_y", "detector_x")
    return xr.Dataset(
        {"counts": (dims, counts.astype(np.uint32))},
        coords={"eta": eta, "scan_y": [0.0], "scan_x": np.arange(float(points))},
        attrs={"goniometer": goniometer.model_dump_json(), **attrs},
    )


def one_peak(points: int, tilt: tuple[float, float] = (0.02, -0.03), **attrs: Any) -> xr.Dataset:
    """Return a specular peak of some strain and tilt (°) seen by many points."""
    voxels = curve_voxels(CURVE, SPACING)
    centre = peak_vectors(np.array(1.0004 * SPACING), np.radians(tilt))
    mean = mean_frames(centre, voxels.vectors, voxels.volumes)
    return measured(mean, voxels.goniometer, voxels.eta, points=points, **attrs)


TRUTH = {
    "strain": 4e-4,
    "tilt_x": 0.02,
    "tilt_y": -0.03,
    "width_x": WIDTH[0],
    "width_y": WIDTH[1],
    "width_z": WIDTH[2],
    "peak_counts": 2000.0,
}


def pulls(maps: xr.Dataset, name: str) -> Array:
    error = maps[name].values - TRUTH[name]
    return np.asarray(error / maps[f"{name}_std"].values).ravel()


def still(**settings: Any) -> DiffractionMap:
    return DiffractionMap(reference=SPACING, drift=(0.0, 0.0), **settings)


@pytest.mark.parametrize("method", list(PeakMethod))
def test_errors_are_as_large_as_stated(method: PeakMethod) -> None:
    points = 400
    maps = recover_map(one_peak(points), options=still(method=method))
    for name in TRUTH:
        found = pulls(maps, name)
        # The standard deviation of n pulls is known to 1 / sqrt(2 n); widths found by either
        # method lean by less than a third of their error.
        assert found.std() == pytest.approx(1, abs=4 / np.sqrt(2 * points)), name
        assert abs(found.mean()) < 0.3 + 4 / np.sqrt(points), name
    # Floors of a peak without background: sigma / (|Q| sqrt(N)).
    length = 2 * np.pi / SPACING
    floor = WIDTH[2] / length / np.sqrt(2000)
    assert floor < float(maps.strain_std.median()) < 1.15 * floor
    chi = (maps.chi_square - 1) / maps.chi_square_std
    # Moments are not where chi square is least: a few more of sixty, each 0.1 of the spread.
    assert -0.5 < float(chi.mean()) < (0.5 if method is PeakMethod.LIKELIHOOD else 1.5)
    assert float(chi.std()) == pytest.approx(1, abs=0.2)


def test_two_peaks_at_one_point_do_not_look_like_one() -> None:
    voxels = curve_voxels(CURVE, SPACING)
    two = np.mean(
        [
            mean_frames(peak_vectors(np.array(SPACING), np.radians(t)), *voxels[2:])
            for t in ((0.15, 0.0), (-0.15, 0.0))
        ],
        axis=0,
    )
    maps = recover_map(measured(two, voxels.goniometer, voxels.eta, points=20), options=still())
    assert (maps.chi_square > 1 + 4 * maps.chi_square_std).all()
    assert maps.several_peaks.all()


@given(
    tilt=st.floats(-4, np.log10(15)).map(lambda power: 10**power),
    azimuth=st.floats(-180, 180),
    reflection=st.builds(Reflection, inclination=st.floats(0, 35), azimuth=st.floats(-180, 180)),
    turn=st.floats(-25, 25),
    single=st.booleans(),
)
def test_tilts_of_any_size_are_recovered_on_any_reflection(
    tilt: float, azimuth: float, reflection: Reflection, turn: float, single: bool
) -> None:
    lean = np.radians(tilt) * np.array([np.cos(np.radians(azimuth)), np.sin(np.radians(azimuth))])
    centre = peak_vectors(np.array(SPACING), lean)
    nominal, _ = bragg_setting(
        Goniometer(phi=reflection.azimuth + turn, distance=6000), SPACING, reflection
    )
    # A large detector, of which the region about the peak is read out; eta is driven there too.
    tilted = reflection.axes @ (centre / np.linalg.norm(centre))
    towards = Reflection(
        inclination=float(np.degrees(np.arctan2(np.hypot(*tilted[:2]), tilted[2]))),
        azimuth=float(np.degrees(np.arctan2(tilted[1], tilted[0]))),
    )
    own, middle = bragg_setting(nominal, SPACING, towards)
    row, column = pixel_of(own, nominal)
    goniometer = nominal.model_copy(update={"centre": (14.5 - row, 16.5 - column)})
    eta = middle + CURVE.etas_from_bragg
    grid = np.meshgrid(np.arange(30), np.arange(34), indexing="ij")
    vectors = scattering_vectors(goniometer, eta=eta, rows=grid[0], columns=grid[1])
    vectors = vectors @ reflection.axes
    data = measured(
        mean_frames(centre, vectors, voxel_volumes(vectors), width=np.full(3, 2e-3)),
        goniometer,
        eta,
        points=6,
        seed=int(1e6 * tilt),
        reflection=reflection.model_dump_json(),
    )
    if single:
        data = data.assign_coords(eta=data.eta.astype(np.float32))
        data["counts"] = data["counts"].astype(np.float32)
    maps = recover_map(data, options=still())
    error = np.stack(
        [(maps.tilt_x - np.degrees(lean[0])).values, (maps.tilt_y - np.degrees(lean[1])).values]
    )
    std = np.stack([maps.tilt_x_std.values, maps.tilt_y_std.values])
    assert (np.abs(error) < 5.5 * std).all()
    assert abs(float((maps.tilt - tilt).mean())) < 5.5 * float(std.max())
    # The floor sigma / (|Q| sqrt(N)), along e1 and e2 by the geometry of the lean.
    floor = 2e-3 / np.sqrt(2000) * np.linalg.norm(lean_slopes(centre), axis=1)
    assert (std.mean(axis=(1, 2)) > 0.9 * floor).all()
    assert (std.mean(axis=(1, 2)) < 1.2 * floor).all()


def pixel_of(faced: Goniometer, goniometer: Goniometer) -> tuple[float, float]:
    """Return the pixel of a detector that sees what the middle of another one would."""
    seen = scattering_vectors(
        faced.model_copy(update={"phi": 0.0, "centre": (0.0, 0.0)}),
        eta=np.zeros(1),
        rows=np.zeros(1),
        columns=np.zeros(1),
    )[0, 0]
    beam = seen / faced.wavenumber + np.array([1.0, 0.0, 0.0])
    nu, delta = np.radians([goniometer.nu, goniometer.delta])
    c, s = np.cos(nu), np.sin(nu)
    beam = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ beam
    c, s = np.cos(delta), np.sin(delta)
    beam = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ beam
    return -goniometer.distance * beam[2] / beam[0], goniometer.distance * beam[1] / beam[0]


def test_bad_pixels_and_missing_frames_do_not_lean_the_peak() -> None:
    data = one_peak(200)
    bright = data.counts.sum(("scan_y", "scan_x"))
    eta, row, column = np.unravel_index(int(bright.values.argmax()), bright.shape)
    holed = data.copy(deep=True)
    holed["counts"][..., row, column] = 0
    holed["counts"][..., row + 2, column - 1] = 0
    options = still()
    found = {"dead pixels": recover_map(holed, options=options)}
    assert int(found["dead pixels"].dead) == 2
    left = np.delete(np.arange(data.sizes["eta"]), [eta + 1, eta + 2])
    found["steps left out"] = recover_map(data.isel(eta=left), options=options)
    empty = data.copy(deep=True)
    empty["counts"][:, :, eta - 1] = 0
    with pytest.warns(BadInputWarning, match="taken as missing"):
        found["empty frame"] = recover_map(empty, options=options)
    full = data.copy(deep=True).assign_attrs(saturation=5.0)
    full["counts"] = full.counts.clip(max=5)
    with pytest.warns(BadInputWarning, match="counted 5 photons, all they can"):
        found["saturated"] = recover_map(full, options=options)
    assert int(found["saturated"].saturated) == int((full.counts >= 5).sum()) > 0
    for what, maps in found.items():
        for name in ("strain", "tilt_x", "tilt_y"):
            error = pulls(maps, name)
            assert abs(error.mean()) < 0.2 + 4 / np.sqrt(200), (what, name)
            assert error.std() < 1.05 + 4 / np.sqrt(400), (what, name)


def test_a_peak_outside_the_region_is_told() -> None:
    data = one_peak(12, tilt=(0.3, 0.0))
    with pytest.warns(BadInputWarning, match="12 of 12 points have photons outside the region"):
        maps = recover_map(data, options=still(region=((0, 8), (0, 30), (0, 34))))
    assert np.isnan(maps.strain.values).all()
    assert np.isinf(maps.strain_std.values).all()
    with pytest.warns(BadInputWarning, match="less than 99.5% of their peak"):
        recover_map(one_peak(12, tilt=(0.5, 0.0)), options=still())
