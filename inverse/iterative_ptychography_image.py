"""From the object's raster to images on the scan: what iterative ptychography returns."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.acquisition import Scan, rotate
from echolith.forward.optics import aperture_radius
from echolith.inverse.iterative_ptychography_descent import Problem, State
from echolith.inverse.iterative_ptychography_frames import Array, Grid, Volume

POINTS_AT_ONCE = 4096


def scan_images(phase: Volume, grid: Grid, scan: Scan, radius: float) -> Array:
    """Return phases (slices, y, x) at the scan's raster, (slices, scan_y, scan_x).

    The trigonometric polynomial through the object's pixels, cut at a radius in 1/Å and, so that
    nothing aliases, at the scan's Nyquist frequency along its axes.
    """
    fy, fx = (
        np.asarray(np.fft.fftfreq(n, d), dtype=np.float64)
        for n, d in zip(grid.shape, grid.box.sampling, strict=True)
    )
    spectra = np.fft.fft2(phase.astype(float)) / np.prod(grid.shape)
    spectra *= _kept(fy, fx, scan, radius)
    xy = scan.positions().reshape(-1, 2)
    y, x = xy[:, 1] - grid.origin[0], xy[:, 0] - grid.origin[1]
    images = np.empty((len(phase), len(xy)))
    for first in range(0, len(xy), POINTS_AT_ONCE):
        here = slice(first, first + POINTS_AT_ONCE)
        rows = np.exp(2j * np.pi * y[here, None] * fy)
        columns = np.exp(2j * np.pi * x[here, None] * fx)
        for image, spectrum in zip(images, spectra, strict=True):
            image[here] = np.einsum("pk,pk->p", rows @ spectrum, columns).real
    return images.reshape(len(phase), *scan.shape)


def _kept(fy: Array, fx: Array, scan: Scan, radius: float) -> npt.NDArray[np.bool_]:
    q = np.stack(np.broadcast_arrays(fx[None], fy[:, None]), axis=-1)
    kept = np.hypot(q[..., 0], q[..., 1]) < radius
    along = np.abs(rotate(q, -scan.rotation)) * 2
    return np.asarray(
        kept & (along[..., 0] * scan.step[1] < 1) & (along[..., 1] * scan.step[0] < 1)
    )


def support(scan: Scan, radius: float) -> Array:
    """Return 1 at the scan's spatial frequencies (q_y, q_x) an image holds, else 0."""
    qy, qx = (np.fft.fftfreq(n, d) for n, d in zip(scan.shape, scan.step, strict=True))
    kept = (np.hypot(qy[:, None], qx[None]) < radius).astype(float)
    kept[0, 0] = 0
    return np.asarray(kept)


def estimate(
    problem: Problem,
    state: State,
    *,
    deviance: list[float],
    position_std: Array | None,
    aberration_std: dict[str, float],
) -> xr.Dataset:
    """Build the dataset that `multislice_ptychography` describes."""
    acquisition, options = problem.frames.acquisition, problem.options
    scan, radius = acquisition.scan, 2 * aperture_radius(acquisition.beam)
    slices = scan_images(state.phase, problem.grid, scan, radius)
    slices -= slices.mean(axis=(1, 2), keepdims=True)
    axes = ("scan_y", "scan_x")
    variables: dict[str, Any] = {
        "phase": (axes, slices.sum(axis=0), {"units": "rad", "long_name": "phase"}),
        "slice_phase": (("depth", *axes), slices, {"units": "rad", "long_name": "phase of slices"}),
        "transfer": (("q_y", "q_x"), support(scan, radius), {"units": "1"}),
        "deviance": ("iteration", np.array(deviance), {"units": "1"}),
        "log_likelihood": ((), -0.5 * deviance[-1] * problem.frames.pixels, {"units": "1"}),
    }
    if position_std is not None:
        variables |= _positions(state, position_std, scan)
    coords = {
        "scan_y": ("scan_y", np.arange(scan.shape[0]) * scan.step[0], {"units": "Å"}),
        "scan_x": ("scan_x", np.arange(scan.shape[1]) * scan.step[1], {"units": "Å"}),
        "q_y": ("q_y", np.fft.fftfreq(scan.shape[0], scan.step[0]), {"units": "1/Å"}),
        "q_x": ("q_x", np.fft.fftfreq(scan.shape[1], scan.step[1]), {"units": "1/Å"}),
        "depth": ("depth", np.arange(options.slices) * options.distance, {"units": "Å"}),
        "iteration": ("iteration", np.arange(1, len(deviance) + 1), {"units": "1"}),
        "axis": ["x", "y"],
    }
    found = acquisition.beam.model_copy(update={"aberrations": state.aberrations})
    attrs = {
        "acquisition": acquisition.model_copy(update={"beam": found}).model_dump_json(),
        "options": options.model_dump_json(),
        "method": "multislice ptychography" if options.slices > 1 else "iterative ptychography",
        "electrons_per_intensity": state.scale,
        **{f"{name}_std": value for name, value in aberration_std.items()},
    }
    used = {dim for _, variable in xr.Dataset(variables).data_vars.items() for dim in variable.dims}
    return xr.Dataset(variables, {k: v for k, v in coords.items() if k in used}, attrs)


def _positions(state: State, std: Array, scan: Scan) -> dict[str, Any]:
    """Positions in the scan frame; the spread along its axes is that of the detector's rotated."""
    dims, shape = ("scan_y", "scan_x", "axis"), (*scan.shape, 2)
    c, s = np.cos(np.deg2rad(scan.rotation)), np.sin(np.deg2rad(scan.rotation))
    turned = np.sqrt(std**2 @ np.array([[c**2, s**2], [s**2, c**2]]))
    here = rotate(state.positions, -scan.rotation).reshape(shape)
    return {
        "position": (dims, here, {"units": "Å", "long_name": "probe position in the scan frame"}),
        "position_std": (dims, turned.reshape(shape), {"units": "Å"}),
    }
