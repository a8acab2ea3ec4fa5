"""Registration of multi-frame images: every frame on its own drift, all of them on one field.

First whole frames by correlation (`registration_rigid`), then every scan line: a distortion of a
scan is a function of time, so that a frame has two displacements for each of its lines and no more.
Frames are compared with the mean of the others by maximum likelihood for Poisson counts, the
displacements follow from a smooth drift in time and a jitter of lines (`registration_drift`), and
that is repeated until nothing moves.

References
----------
Jones et al., Adv. Struct. Chem. Imaging 1 (2015) 8 (rigid, then non-rigid by scan lines).
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.registration_drift import Continuity, DriftModel, Lines, Path, Sizes
from echolith.inverse.registration_rigid import Shifts, rigid_shifts
from echolith.inverse.registration_template import Sums, compared, templates
from echolith.inverse.whitening import scan_step
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

DIMS = ("frame", "scan_y", "scan_x")
LEAST_REAL = 0.05
"""Share of a line's information that is left at least after the template's noise is taken off."""
LEAST_COUNTS = 200
"""Counts of a frame below which nothing can be told of its place."""


class RegistrationOptions(Settings):
    """Options of the registration."""

    continuity: Continuity | None = None
    """By default continuous where the times of lines are known, else each frame by itself."""
    nodes: Annotated[int, Field(ge=2, le=256)] = 12
    """Of the drift's spline in each frame's duration."""
    largest_shift: Annotated[Angstrom, Field(gt=0)] | None = None
    """From one frame to the next: none is looked for beyond; by default half of the field. Below
    half a lattice vector it tells lattice vectors apart, and is taken by its word."""
    iterations: Annotated[int, Field(ge=1)] = 12
    tolerance: Annotated[Angstrom, Field(gt=0)] = 5e-3
    """Of the largest change of a line's smooth drift in the last iteration; or its mean standard
    deviation, where that is larger."""
    non_rigid: bool = True


def register_frames(
    measurement: xr.Dataset, *, name: str = "haadf", options: RegistrationOptions | None = None
) -> xr.Dataset:
    """Register a series of frames and add them up.

    Parameters
    ----------
    measurement : xarray.Dataset
        Counts (frame, scan_y, scan_x) with ``scan_y`` and ``scan_x`` in Å. Times of the lines,
        where known: ``line_time`` (frame, scan_y) in s, or dwell, flyback and pause in the
        attribute ``fast_frames`` (JSON).
    name : str
        Of the variable.
    options : RegistrationOptions, optional

    Returns
    -------
    xarray.Dataset
        ``<name>`` (scan_y, scan_x): mean counts of a sample, spread with a cubic B-spline of the
        pixel; ``weight``: how many samples it is the mean of; ``<name>_std``. ``displacement_x``,
        ``displacement_y`` (frame, scan_y): where a line was taken minus where it was meant to be,
        Å, of mean zero over the series, with ``_std``; ``drift_x``, ``drift_y`` with ``_std``:
        their smooth part; ``strain_std`` (axis x, y): standard deviation of the
        displacement per Å along the slow axis that all frames share, NaN where it is not
        determined (drifts by frame, or a shift ambiguous). ``shift_x``, ``shift_y`` (frame): of
        whole frames against the first; ``shift_ambiguous``: other shifts (lattice vectors) fit as
        well, and the one nearest to the drift so far was taken; ``shift_undecided``: the next is
        about as near. ``residual_drift``: rms standard deviation of the smooth drift over lines
        and frames; ``jitter_x``, ``jitter_y``: its estimated standard deviations.
        ``attrs["undetermined"]`` names what these data cannot
        tell, ``attrs["converged"]`` whether the last iteration changed less than the tolerance.

    Raises
    ------
    BadInputError
        If there are fewer than two frames, counts are not counts, or frames have nothing in
        common.
    """
    options = options or RegistrationOptions()
    data = _checked(measurement, name)
    step = scan_step(data)
    frames = np.ascontiguousarray(data.values, dtype=np.float32)
    extent = min(frames.shape[1] * step[0], frames.shape[2] * step[1])
    rigid = rigid_shifts(frames, step, largest=options.largest_shift or extent / 2)
    times = line_times(measurement, data.sizes)
    continuity = options.continuity or (
        Continuity.PER_FRAME if times is None else Continuity.CONTINUOUS
    )
    if times is None:
        if continuity is Continuity.CONTINUOUS:
            raise BadInputError(
                "a continuous drift needs the times of the lines: give line_time (frame, scan_y) "
                "in s, or the attribute fast_frames; or use Continuity.PER_FRAME"
            )
        times = np.tile(np.arange(frames.shape[1], dtype=float), (len(frames), 1))
    model = DriftModel.of(times, nodes=options.nodes, continuity=continuity)
    fit = _Fit(frames=frames, step=step, model=model)
    found = fit.run(rigid.shift, options)
    return _described(data, name, frames, step, rigid, found, continuity)


def line_times(measurement: xr.Dataset, sizes: Mapping[Any, int]) -> Array | None:
    """Return when every line begins, (frame, ny) in s, or None where it is not stated."""
    shape = (sizes["frame"], sizes["scan_y"])
    if "line_time" in measurement:
        times = np.asarray(measurement["line_time"].transpose("frame", "scan_y").values, float)
    elif "fast_frames" in measurement.attrs:
        stated = json.loads(measurement.attrs["fast_frames"])
        line = sizes["scan_x"] * stated["dwell"] + stated["flyback"]
        start = np.arange(shape[0]) * (shape[1] * line + stated["pause"])
        times = start[:, None] + np.arange(shape[1]) * line
    else:
        return None
    if times.shape != shape or not (np.diff(times.ravel()) > 0).all():
        raise BadInputError(
            f"line_time of shape {times.shape} does not increase from line to line and frame to "
            f"frame; expected {shape} in s"
        )
    return np.asarray(times)


class _Found(NamedTuple):
    displacement: Array
    path: Path
    sizes: Sizes
    converged: bool


class _Fit(NamedTuple):
    frames: Float32
    step: tuple[float, float]
    model: DriftModel

    @property
    def pixel(self) -> Array:
        """Step along x and y."""
        return np.array([self.step[1], self.step[0]])

    def run(self, shift: Array, options: RegistrationOptions) -> _Found:
        count, ny, _ = self.frames.shape
        centred = shift - shift.mean(axis=0)
        displacement = np.repeat(centred[:, None], ny, axis=1)
        sizes, converged, previous = Sizes(), not options.non_rigid, displacement
        for turn in range(options.iterations if options.non_rigid else 1):
            lines = self.lines(displacement)
            if turn in (1, 3) or turn == options.iterations - 1:
                sizes = self.model.sizes(lines, sizes)
            path = self.model.path(lines, sizes)
            if not options.non_rigid:
                break
            # Frames move towards the mean of the others, which move too: a whole step would be
            # too far by one part in (frames - 1), and two frames would only change places.
            wanted = path.displacement.reshape(count, ny, 2)
            displacement = displacement + (count - 1) / count * (wanted - displacement)
            smooth = path.smooth.reshape(count, ny, 2)
            change = float(np.abs(smooth - previous).max())
            previous = smooth
            # Moves well within what is not known are of no use.
            if turn > 3 and change < max(options.tolerance, float(path.smooth_std.mean())):
                converged = True
                break
        return _Found(displacement, path, sizes, converged)

    def lines(self, displacement: Array) -> Lines:
        """Compare all frames with the mean of the others."""
        ny = self.frames.shape[1]
        shifts = displacement / self.pixel
        template = templates(Sums.of(self.frames, shifts), self.step)
        sums = compared(self.frames, shifts, template)
        scales = sums[..., 7].sum(axis=1) / np.maximum(sums[..., 8].sum(axis=1), 1e-12)
        if np.abs(scales - 1).max() > 0.02:
            sums = compared(self.frames, shifts, template, scales=scales)
        flat = sums.reshape(-1, 9)
        # Noise of the template has slopes too: they raise the sums but follow no displacement.
        raised = flat[:, [0, 2]]
        noise = flat[:, 6:7] * template.noise_slope
        real = np.clip(1 - noise / np.maximum(raised, 1e-30), LEAST_REAL, 1)
        pixel = np.outer(self.pixel, self.pixel)
        information = np.stack([flat[:, [0, 1]], flat[:, [1, 2]]], axis=1) / pixel
        # The residual has the noise of frame and template.
        information = information * real[:, :, None] * real[:, None, :] / (1 + template.noise)
        gradient = real * flat[:, 3:5] / self.pixel / (1 + template.noise)
        z = np.einsum("nij,nj->ni", information, displacement.reshape(-1, 2)) + gradient
        row = np.rint(np.arange(ny) + shifts[..., 1]).astype(np.intp).ravel()
        return Lines(information=information, z=z, row=row - row.min())


def _checked(measurement: xr.Dataset, name: str) -> xr.DataArray:
    if name not in measurement:
        raise BadInputError(
            f"the measurement has no variable {name!r} (it has: {', '.join(map(str, measurement))})"
        )
    data = measurement[name]
    if set(data.dims) != set(DIMS):
        raise BadInputError(f"{name} has dims {data.dims}; expected {DIMS}; rename them")
    data = data.transpose(*DIMS)
    if data.sizes["frame"] < 2:
        raise BadInputError(
            f"{data.sizes['frame']} frame; expected 2 or more: a single one tells nothing of its "
            "drift; give the series"
        )
    if min(data.sizes["scan_y"], data.sizes["scan_x"]) < 16:
        raise BadInputError(f"frames of {data.shape[1:]} positions; expected 16 or more each way")
    values = np.asarray(data.values)
    bad = int((~np.isfinite(values)).sum() + (values < 0).sum())
    if bad:
        raise BadInputError(
            f"{bad} of {values.size} values of {name} are negative or not finite; expected counts"
        )
    least = values.sum(axis=(1, 2))
    if least.min() < LEAST_COUNTS:
        raise BadInputError(
            f"frame {int(least.argmin())} holds {least.min():.4g} counts; expected {LEAST_COUNTS} "
            "or more; leave it out"
        )
    return data


def _described(
    data: xr.DataArray,
    name: str,
    frames: Float32,
    step: tuple[float, float],
    rigid: Shifts,
    found: _Found,
    continuity: Continuity,
) -> xr.Dataset:
    count, ny, _ = frames.shape
    mean, weight = Sums.of(frames, found.displacement / np.array([step[1], step[0]])).mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        std = np.sqrt(np.where(weight > 0, np.nan_to_num(mean) / weight, np.nan))
    image, line = ("scan_y", "scan_x"), ("frame", "scan_y")
    variables: dict[str, Any] = {
        name: (image, mean, {"units": "1", "long_name": "mean counts of a position"}),
        f"{name}_std": (image, std, {"units": "1"}),
        "weight": (image, weight, {"units": "1"}),
        "shift_ambiguous": ("frame", rigid.ambiguous, {"units": "1"}),
        "shift_undecided": ("frame", rigid.undecided, {"units": "1"}),
        "correlation": ("frame", rigid.correlation, {"units": "1"}),
    }
    path, units = found.path, {"units": "Å"}
    for n, axis in enumerate("xy"):
        variables[f"shift_{axis}"] = ("frame", rigid.shift[:, n], units)
        variables[f"displacement_{axis}"] = (line, found.displacement[..., n], units)
        variables[f"displacement_{axis}_std"] = (line, path.std[:, n].reshape(count, ny), units)
        variables[f"drift_{axis}"] = (line, path.smooth[:, n].reshape(count, ny), units)
        variables[f"drift_{axis}_std"] = (line, path.smooth_std[:, n].reshape(count, ny), units)
    variables["jitter_x"] = ((), found.sizes.jitter_x, units)
    variables["jitter_y"] = ((), found.sizes.jitter_y, units)
    residual = float(np.sqrt((path.smooth_std**2).mean()))
    variables["residual_drift"] = ((), residual, units)
    # A strain of the frames all in common: Å of displacement per Å along the slow axis.
    unknown = continuity is Continuity.PER_FRAME or rigid.ambiguous.any()
    strain = np.nan if unknown else path.slope_std / step[0]
    variables["strain_std"] = ("axis", np.broadcast_to(strain, (2,)), {"units": "1"})
    coords: dict[str, Any] = {axis: data.coords[axis] for axis in image}
    coords["axis"] = ["x", "y"]
    attrs = {
        "undetermined": _undetermined(rigid, continuity),
        "converged": found.converged,
        "continuity": continuity.value,
    }
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def _undetermined(rigid: Shifts, continuity: Continuity) -> list[str]:
    names = ["a shift of all frames"]
    if continuity is Continuity.PER_FRAME:
        names.append("drift within a frame that is common to all frames (mean velocity)")
    if rigid.ambiguous.any():
        names.append(
            "shifts between frames: other lattice vectors fit as well; the slowest drift was "
            "taken, and displacements hold only where it is below half a lattice vector a frame"
        )
    if rigid.undecided.any():
        frames = ", ".join(map(str, np.flatnonzero(rigid.undecided)))
        names.append(
            f"shift of frame {frames}: two lattice vectors are about as near to where the drift "
            "leads, and with it the mean velocity; take frames faster, or give the largest drift "
            "from frame to frame as largest_shift"
        )
    return names
