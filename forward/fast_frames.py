"""Multi-frame fast HAADF: many quick images of one field, each at a low dose, over a drift.

The HAADF signal as a function of the probe's position is band limited to ``2 alpha / lambda``. So
it is simulated once on a regular raster finer than ``lambda / (4 alpha)`` and evaluated at every
displaced position of every frame from there (`echolith.forward.position_interpolation`).
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field, field_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import AnnularDetector, Scan, ScanStep, Settings
from echolith.forward.displacement_field import Distortion
from echolith.forward.scan_distortion import ScanDistortion
from echolith.units import Degree, ElectronsPerSquareAngstrom, Second

FloatArray = npt.NDArray[np.float64]


class FastFrames(Settings):
    """A series of fast annular dark-field frames of one field. Pairs are (y, x)."""

    frames: Annotated[int, Field(ge=1, le=4096)] = 8
    shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (512, 512)
    step: ScanStep = (0.1, 0.1)
    rotation: Degree = 0.0
    dwell: Annotated[Second, Field(gt=0)] = 2e-6
    flyback: Annotated[Second, Field(ge=0)] = 1e-4
    """From the end of a line to the start of the next."""
    pause: Annotated[Second, Field(ge=0)] = 0.0
    """From the end of a frame to the start of the next."""
    dose: Annotated[ElectronsPerSquareAngstrom, Field(gt=0)] = 2e3
    """Of one frame."""
    detector: AnnularDetector = AnnularDetector()

    @field_validator("dwell")
    @classmethod
    def _plausible_dwell(cls, value: float) -> float:
        return ScanDistortion(dwell=value).dwell

    @property
    def scan(self) -> Scan:
        """The raster of every frame."""
        return Scan(shape=self.shape, step=self.step, rotation=self.rotation)

    @property
    def electrons_per_position(self) -> float:
        """Electrons falling on the specimen at each position of one frame."""
        return self.dose * self.step[0] * self.step[1]

    def starts(self) -> FloatArray:
        """Return when each frame begins, (frames,), s."""
        ny, nx = self.shape
        period = ny * (nx * self.dwell + self.flyback) + self.pause
        return np.asarray(np.arange(self.frames) * period, dtype=np.float64)


def frame_displacements(
    frames: FastFrames, distortion: ScanDistortion | Sequence[Distortion] | None
) -> FloatArray:
    """Return the displacements of every frame of a series.

    Parameters
    ----------
    frames : FastFrames
    distortion : ScanDistortion, sequence of distortions, or None
        One whose time runs through the frames (the dwell and flyback are those of the frames), or
        one for each frame.

    Returns
    -------
    array, (frames, ny, nx, 2)
        xy in the scan frame, Å. Of one distortion the mean over the whole series is taken off.
    """
    scan = frames.scan
    if distortion is None:
        return np.zeros((frames.frames, *scan.shape, 2))
    if isinstance(distortion, ScanDistortion):
        timed = distortion.model_copy(update={"dwell": frames.dwell, "flyback": frames.flyback})
        path = np.stack(
            [timed.path(scan, start=float(t), frame=n) for n, t in enumerate(frames.starts())]
        )
        return np.asarray(path - path.mean(axis=(0, 1, 2)))
    if len(distortion) != frames.frames:
        raise BadInputError(
            f"{len(distortion)} distortions for {frames.frames} frames; expected one for each, or "
            "one ScanDistortion whose time runs through them"
        )
    return np.stack([one.displacements(scan) for one in distortion])


def fast_frames_of(measurement: xr.Dataset) -> FastFrames:
    """Read how a series of fast frames was taken from its metadata.

    Raises
    ------
    BadInputError
        If the attribute ``fast_frames`` (JSON) is missing or cannot be read.
    """
    text = measurement.attrs.get("fast_frames")
    if text is None:
        raise BadInputError(
            "the measurement has no attribute 'fast_frames' (frames, shape, step, dwell, dose, "
            "detector); set it with FastFrames(...).model_dump_json()"
        )
    try:
        return FastFrames.model_validate_json(text)
    except ValueError as error:
        raise BadInputError(f"the attribute 'fast_frames' cannot be read: {error}") from error
