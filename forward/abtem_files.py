"""Read 4D-STEM measurements that abTEM wrote.

abTEM's arrays are [x, y, kx, ky] with the zero frequency at pixel ``n // 2`` and k in 1/Å; ours are
(scan_y, scan_x, detector_y, detector_x) in Å and mrad. Its files hold energy and semiangle, but
neither aberrations nor dose nor the angles of annular detectors: pass what is known as overrides.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import BaseModel, ValidationError

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.acquisition import Beam, StemAcquisition
from echolith.forward.noise import counts_dtype

Array = npt.NDArray[Any]
Model = TypeVar("Model", bound=BaseModel)

HIGHEST_FRACTION = 1.01
"""Intensity fractions of a frame sum to 1 at most; a little more is abTEM's single precision."""


@dataclass(frozen=True, kw_only=True)
class _Patterns:
    """What an abTEM file holds, in our order of axes."""

    frames: Any
    """Dask array (scan_y, scan_x, detector_y, detector_x)."""
    image: Any
    """Dask array (scan_y, scan_x), or None."""
    metadata: Mapping[str, Any]
    step: tuple[float, float]
    frequency_step: tuple[float, float]
    """1/Å, (y, x)."""
    counted: bool
    """Whether the frames are counts of electrons, not fractions of the beam."""
    image_counted: bool


def read_abtem(path: Path, *, dose: float | None, overrides: Mapping[str, Any]) -> xr.Dataset:
    """Read a measurement by abTEM (see `echolith.forward.importers.read_measurement`)."""
    patterns = _read_patterns(path)
    settings = _merge(_settings(patterns, path, overrides), overrides)
    settings.setdefault("haadf", None)
    if settings["haadf"] is not None and patterns.image is None:
        raise BadInputError(f"'{path}' holds no image of the scan for the annular detector given")
    if dose is not None or "dose" not in settings:
        settings["dose"] = _assumed_dose(patterns, path) if dose is None else dose
    acquisition = _validated(StemAcquisition, settings, path)
    stored = (acquisition.scan.shape, acquisition.detector.stored_shape)
    if stored != (patterns.frames.shape[:2], patterns.frames.shape[2:]):
        raise BadInputError(
            f"'{path}' holds data of shape {patterns.frames.shape}, but the overrides make the "
            f"scan {stored[0]} and the frames {stored[1]}; leave shapes to the file"
        )
    return _measurement(patterns, acquisition)


def _validated(model: type[Model], values: Mapping[str, Any], path: Path) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or model.__name__}: {problem['msg']}"
            for problem in error.errors()
        )
        raise BadInputError(f"'{path}' with the overrides given: {problems}") from error


def _read_patterns(path: Path) -> _Patterns:
    import abtem

    try:
        loaded = abtem.from_zarr(str(path))
    except Exception as error:
        # zarr and abTEM raise many kinds here; all mean the same to who gave the path.
        raise BadInputError(
            f"'{path}' cannot be read as a measurement by abTEM: {error}"
        ) from error
    members = loaded if isinstance(loaded, list) else [loaded]
    patterns = [m for m in members if isinstance(m, abtem.measurements.DiffractionPatterns)]
    if len(patterns) != 1:
        kinds = ", ".join(type(member).__name__ for member in members)
        raise BadInputError(f"'{path}' holds {kinds}; expected one DiffractionPatterns")
    found = _average(patterns[0])
    scans = found.axes_metadata[:-2]
    if len(scans) != 2 or not all(type(axis).__name__ == "ScanAxis" for axis in scans):
        held = ", ".join(f"{type(axis).__name__} '{axis.label}'" for axis in scans)
        raise BadInputError(
            f"'{path}' has the axes ({held or 'none'}) beside the detector's; expected a 2D scan: "
            "select one entry of the others before saving"
        )
    frames = found.array
    if not found.fftshift:
        frames = da.fft.fftshift(frames, axes=(-2, -1))
    image = _image(members, frames.shape[:2], abtem)
    return _Patterns(
        frames=frames.transpose(1, 0, 3, 2),
        image=None if image is None else image.array.transpose(1, 0),
        counted=_is_counted(found),
        image_counted=image is not None and _is_counted(image),
        metadata=found.metadata,
        step=(scans[1].sampling, scans[0].sampling),
        frequency_step=found.sampling[::-1],
    )


def _average(patterns: Any) -> Any:
    """Take the mean over frozen phonons where abTEM left it to do."""
    kinds = [type(axis).__name__ for axis in patterns.axes_metadata]
    phonons = tuple(i for i, kind in enumerate(kinds) if kind == "FrozenPhononsAxis")
    return patterns.mean(axis=phonons) if phonons else patterns


def _is_counted(member: Any) -> bool:
    return bool(member.metadata.get("units") == "electrons")


def _image(members: list[Any], scan_shape: tuple[int, ...], abtem: Any) -> Any:
    for member in members:
        if isinstance(member, abtem.measurements.Images) and member.shape == scan_shape:
            return member
    return None


def _settings(patterns: _Patterns, path: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    beam = dict(overrides.get("beam", {}))
    for name, key in (("energy", "energy"), ("semiangle", "semiangle_cutoff")):
        value = patterns.metadata.get(key)
        if name not in beam and not isinstance(value, int | float):
            raise BadInputError(
                f"'{path}' does not tell the beam's {name} (abTEM's '{key}'); pass it: "
                f"read_measurement(path, overrides={{'beam': {{'{name}': ...}}}})"
            )
        beam.setdefault(name, value)
    milliradian = _validated(Beam, beam, path).wavelength * 1e3
    return {
        "beam": beam,
        "scan": {"shape": patterns.frames.shape[:2], "step": patterns.step},
        "detector": {
            "shape": patterns.frames.shape[2:],
            "pixel_size": tuple(step * milliradian for step in patterns.frequency_step),
        },
    }


def _assumed_dose(patterns: _Patterns, path: Path) -> float:
    if patterns.counted:
        per_position = float(patterns.frames.sum(axis=(2, 3)).mean().compute())
        dose = per_position / (patterns.step[0] * patterns.step[1])
        how = "that of the counts is taken, too low by the electrons that missed the detector"
    else:
        dose = float(StemAcquisition.model_fields["dose"].default)
        how = "a default is taken, and uncertainties hold for it alone"
    warnings.warn(
        f"'{path}' does not tell the dose; {how}: {dose:.4g} e/Å²; pass dose=...",
        BadInputWarning,
        stacklevel=4,
    )
    return dose


def _merge(settings: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(settings)
    for name, value in overrides.items():
        inner = merged.get(name)
        both = isinstance(value, Mapping) and isinstance(inner, dict)
        merged[name] = _merge(inner, value) if both and inner is not None else value
    return merged


def _measurement(patterns: _Patterns, acquisition: StemAcquisition) -> xr.Dataset:
    scan, frame = ("scan_y", "scan_x"), ("detector_y", "detector_x")
    variables = {
        "counts": xr.Variable(
            (*scan, *frame), _electrons(patterns.frames, acquisition, counted=patterns.counted)
        )
    }
    if acquisition.haadf is not None:
        image = _electrons(patterns.image, acquisition, counted=patterns.image_counted)
        variables["haadf"] = xr.Variable(scan, image)
    for variable in variables.values():
        variable.attrs["units"] = "e"
    detector = acquisition.detector
    angles = detector.angles()[::-1] if detector.transpose else detector.angles()
    steps = [
        np.arange(n) * d for n, d in zip(acquisition.scan.shape, acquisition.scan.step, strict=True)
    ]
    coords = {
        **{name: (name, values, {"units": "Å"}) for name, values in zip(scan, steps, strict=True)},
        **{
            name: (name, values, {"units": "mrad"})
            for name, values in zip(frame, angles, strict=True)
        },
    }
    attrs = {"acquisition": acquisition.model_dump_json(), "source": "abTEM"}
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def _electrons(data: Any, acquisition: StemAcquisition, *, counted: bool) -> Any:
    """Return counts, or expected counts, in blocks of whole scan rows."""
    electrons = acquisition.electrons_per_position
    dtype = counts_dtype(electrons) if counted else np.dtype(np.float32)
    whole = data.rechunk(dict.fromkeys(range(1, data.ndim), -1))
    meta = np.empty((0,) * data.ndim, dtype)
    if counted:
        return whole.map_blocks(partial(_counts, dtype=dtype), dtype=dtype, meta=meta)
    return whole.map_blocks(_expected, scale=electrons, dtype=dtype, meta=meta)


def _expected(fractions: Array, *, scale: float) -> Array:
    _refuse_negative(fractions)
    sums = fractions.sum(axis=(2, 3)) if fractions.ndim == 4 else fractions
    if sums.size and sums.max() > HIGHEST_FRACTION:
        raise BadInputError(
            f"the file's intensities sum to {sums.max():.4g} in one frame; expected fractions of "
            "the beam, up to 1, or counts by abTEM's poisson_noise (metadata units 'electrons')"
        )
    return np.asarray(fractions * scale, np.float32)


def _counts(values: Array, *, dtype: np.dtype[Any]) -> Array:
    _refuse_negative(values)
    if values.size and (values.max() > np.iinfo(dtype).max or (values != np.rint(values)).any()):
        raise BadInputError(
            f"the file says it holds counts, but its values (up to {values.max():g}) are not whole "
            f"or do not fit the dose given; check dose and metadata"
        )
    return values.astype(dtype)


def _refuse_negative(values: Array) -> None:
    if values.size and not (values.min() >= 0 and values.max() < np.inf):
        raise BadInputError(
            f"the file holds values from {values.min():g} to {values.max():g}; expected finite "
            "intensities of 0 or more"
        )
