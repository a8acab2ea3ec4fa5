"""Slow-scan distortion: drift and jitter that move the probe itself over the specimen.

All in the scan frame, as the probe's motion against the specimen: a specimen that drifts by +y
is a probe that drifts by -y. Position (iy, ix) of a scan is taken at
``start + iy (nx dwell + flyback) + ix dwell``.
"""

from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import Scan, Settings
from echolith.forward.displacement_field import (
    COLUMN,
    AffineDecomposition,
    Distortion,
    affine_part,
    image_to_true,
    true_to_image,
)
from echolith.seeds import stream
from echolith.units import Angstrom, Second, Unit

__all__ = [
    "AffineDecomposition",
    "AffineDistortion",
    "AngstromPerSecond",
    "Distortion",
    "ScanDistortion",
    "affine_part",
    "image_to_true",
    "true_to_image",
]

FloatArray = npt.NDArray[np.float64]
AngstromPerSecond = Annotated[float, Unit("Å/s")]

KERNEL_REACH = 6
"""Nodes each side of a time that its random drift is made from; the next has e^-18 of a share."""
LARGEST_STRAIN = 0.9


class AffineDistortion(Settings):
    """A probe displaced by ``strain @ X``: a raster of another step, angle or shear."""

    strain: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))
    """``d u_i / d x_j``, axes in the order x, y."""

    def displacements(self, scan: Scan, /) -> FloatArray:
        """Return the displacements, (ny, nx, 2) xy in Å, of mean zero."""
        y, x = (np.arange(n) * step for n, step in zip(scan.shape, scan.step, strict=True))
        grid = np.stack(np.broadcast_arrays(x - x.mean(), (y - y.mean())[:, None]), axis=-1)
        return np.asarray(grid @ np.array(self.strain).T)


class ScanDistortion(Settings):
    """Drift and jitter of a slow scan; nothing by default. Pairs are (y, x)."""

    drift: tuple[AngstromPerSecond, AngstromPerSecond] = (0.0, 0.0)
    """Constant velocity of the probe against the specimen."""
    random_drift: Annotated[Angstrom, Field(ge=0)] = 0.0
    """Standard deviation along each axis of a smooth Gaussian process in time, correlation
    ``exp(-t²/(2 correlation_time²))``."""
    correlation_time: Annotated[Second, Field(gt=0)] = 1.0
    line_jitter: Annotated[Angstrom, Field(ge=0)] = 0.0
    """Standard deviation along each axis, one draw for each scan line."""
    position_jitter: Annotated[Angstrom, Field(ge=0)] = 0.0
    """Standard deviation along each axis, one draw for each position."""
    dwell: Annotated[Second, Field(gt=0)] = 1 / 7500
    flyback: Annotated[Second, Field(ge=0)] = 0.0
    """From the end of a line to the start of the next."""
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("dwell")
    @classmethod
    def _plausible_dwell(cls, value: float) -> float:
        if not 1e-8 <= value <= 60:
            raise ValueError(f"dwell = {value:g} s; expected 1e-8 to 60 s; give it in seconds")
        return value

    @field_validator("random_drift", "line_jitter", "position_jitter")
    @classmethod
    def _plausible_jitter(cls, value: float) -> float:
        if value > 1000:
            raise ValueError(f"{value:g} Å; expected 0 to 1000 Å; give it in Å")
        return value

    @classmethod
    def from_strain(cls, scan: Scan, *, strain: tuple[float, float], **settings: Any) -> Self:
        """Return a distortion whose drift strains an image by so much along the slow axis.

        Parameters
        ----------
        scan : Scan
        strain : pair of float
            Drift (y, x) for each Å along y: (0.05, 0) stretches what the probe covers by 5 %,
            (0, 0.05) shears it.
        **settings
            The other fields.

        Raises
        ------
        BadInputError
            If the strain is 0.9 or more, or a drift is given too.

        Examples
        --------
        >>> scan = Scan(shape=(100, 100), step=0.2)
        >>> drifting = ScanDistortion.from_strain(scan, strain=(0.05, 0.0))
        >>> drifting.linear_strain(scan).round(4).tolist()
        [[0.0, 0.0], [0.0005, 0.05]]
        """
        if not np.abs(strain).max() < LARGEST_STRAIN:
            raise BadInputError(
                f"strain = {strain}; expected less than {LARGEST_STRAIN} (0.05 for drift of 5 %)"
            )
        if "drift" in settings:
            raise BadInputError("drift and strain are two names for one thing; give one of them")
        still = cls(**settings)
        y, x = (float(s) * scan.step[0] / still.line_time(scan) for s in strain)
        return cls(**settings, drift=(y, x))

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        return not (
            any(self.drift) or self.random_drift or self.line_jitter or self.position_jitter
        )

    def line_time(self, scan: Scan) -> float:
        """Return the time from one scan line to the next, s."""
        return scan.shape[1] * self.dwell + self.flyback

    def frame_time(self, scan: Scan) -> float:
        """Return the time a scan takes, s."""
        return scan.shape[0] * self.line_time(scan)

    def times(self, scan: Scan, *, start: float = 0.0) -> FloatArray:
        """Return when each position is taken, (ny, nx), s."""
        ny, nx = scan.shape
        line = np.arange(ny)[:, None] * self.line_time(scan)
        return np.asarray(start + line + np.arange(nx) * self.dwell)

    def linear_strain(self, scan: Scan) -> FloatArray:
        """Return ``d u_i / d x_j`` of the constant drift, (2, 2), axes in the order x, y.

        The strain of the whole field, random drift and jitter included, is
        ``affine_part(self.displacements(scan), scan).strain``.
        """
        per_angstrom = np.array([self.dwell / scan.step[1], self.line_time(scan) / scan.step[0]])
        return np.outer(self.drift[::-1], per_angstrom)

    def displacements(self, scan: Scan, /) -> FloatArray:
        """Return where the probe is minus where it was meant to be.

        Parameters
        ----------
        scan : Scan

        Returns
        -------
        array, (ny, nx, 2)
            xy in the scan frame, Å; its mean is taken off, so that the field stays centred.
        """
        path = self.path(scan)
        return np.asarray(path - path.mean(axis=(0, 1)))

    def path(self, scan: Scan, *, start: float = 0.0, frame: int = 0) -> FloatArray:
        """Return the displacements since time 0, mean and all, of one frame of a series.

        Parameters
        ----------
        scan : Scan
        start : float
            Of the frame, s. Drift is a function of time: frames continue each other.
        frame : int
            Counted from 0; each has its own jitter.

        Returns
        -------
        array, (ny, nx, 2)
            xy in the scan frame, Å.
        """
        if start < 0:
            raise BadInputError(f"start = {start:g} s; expected 0 s or later")
        times = self.times(scan, start=start)
        path = times[..., None] * np.array(self.drift[::-1])
        if self.random_drift:
            path = path + self.random_drift * self._process(times)
        if self.line_jitter:
            lines = stream(self.seed, "line jitter", frame).standard_normal((scan.shape[0], 2))
            path = path + self.line_jitter * lines[:, None]
        if self.position_jitter:
            path = path + self.position_jitter * self._shaken(scan, frame)
        return np.asarray(path)

    def _process(self, times: FloatArray) -> FloatArray:
        """Return a smooth process of unit variance at times >= 0: white noise times a Gaussian.

        Noise sits on nodes ``correlation_time / sqrt(2)`` apart, numbered from time 0, so the
        same seed gives the same drift however long it is looked at. Nodes that far apart make the
        variance vary by 1e-4.
        """
        x = times / (self.correlation_time / np.sqrt(2))
        node = np.floor(x).astype(np.int64)
        count = int(node.max()) + 2 * KERNEL_REACH + 2
        noise = stream(self.seed, "random drift").standard_normal((count, 2))
        process = np.zeros((*times.shape, 2))
        for n in range(-KERNEL_REACH, KERNEL_REACH + 2):
            weight = np.exp(-((x - node - n) ** 2) / 2)
            process += weight[..., None] * noise[node + n + KERNEL_REACH]
        return np.asarray(process / np.pi**0.25)

    def _shaken(self, scan: Scan, frame: int) -> FloatArray:
        ny, nx = scan.shape
        return np.stack(
            [
                stream(self.seed, "position jitter", frame, line).standard_normal((nx, 2))
                for line in range(ny)
            ]
        )

    def true_to_image(self, xy: FloatArray, scan: Scan, *, width: float = COLUMN) -> FloatArray:
        """Return where points of the specimen appear in the image; see the function."""
        return true_to_image(xy, self.displacements(scan), scan, width=width)

    def image_to_true(self, xy: FloatArray, scan: Scan, *, width: float = COLUMN) -> FloatArray:
        """Return which points of the specimen appear where; see the function."""
        return image_to_true(xy, self.displacements(scan), scan, width=width)
