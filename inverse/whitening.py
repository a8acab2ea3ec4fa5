"""The whitened image: least squares on it is maximum likelihood.

The noise of a reconstruction is independent between spatial frequencies, with variance
``1 / weight(Q)`` of ``phi(Q) = mean_R phase(R) exp(-2 pi i Q R)``. The *whitened* image

``u(R) = N^(-1/2) sum_Q sqrt(weight) phi(Q) exp(2 pi i Q R)``

has ``sum_R u² = sum_Q weight |phi|²``, chi squared for Gaussian noise.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.inverse.scan_raster import raster_of

Array = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Whitening:
    """Frequencies of the half plane with noise weight, and how to go there and back.

    ``root`` is sqrt(weight), shape (rows, columns) over ``qy[rows]`` and ``qx[columns]`` of the
    half plane of a real transform; zero outside the support. ``stretch`` takes places on the
    raster as it was meant to true ones.
    """

    shape: tuple[int, int]
    step: tuple[float, float]
    rows: Indices
    columns: Indices
    qy: Array
    qx: Array
    root: Array
    absolute: bool
    stretch: Array

    @classmethod
    def of(cls, reconstruction: xr.Dataset, *, variance: float = 1.0) -> Self:
        """Read it from ``weight`` of a reconstruction.

        Without one every frequency with power counts alike, as of noise ``variance`` (rad²).
        """
        phase = reconstruction["phase"]
        shape = (phase.sizes["scan_y"], phase.sizes["scan_x"])
        step, raster = scan_step(phase), raster_of(reconstruction)
        absolute = "weight" in reconstruction
        weight = (
            np.asarray(reconstruction["weight"].values, dtype=float)
            if absolute
            else _support(np.asarray(phase.values, dtype=float)) / variance
        )
        if weight.shape != shape or not np.isfinite(weight).all() or (weight < 0).any():
            raise BadInputError(
                f"weight of shape {weight.shape}; expected finite values >= 0 of the scan's shape "
                f"{shape} in the order of numpy.fft.fftfreq"
            )
        # A real image has |phi(Q)| = |phi(-Q)|; frequencies without a partner are left out.
        weight = (weight + np.roll(weight[::-1, ::-1], (1, 1), axis=(0, 1))) / 2
        weight[0, 0] = 0
        for axis in (0, 1):
            if shape[axis] % 2 == 0:
                weight[(slice(None),) * axis + (shape[axis] // 2,)] = 0
        half = weight[:, : shape[1] // 2 + 1]
        rows, columns = np.flatnonzero(half.any(axis=1)), np.flatnonzero(half.any(axis=0))
        if not len(rows):
            raise BadInputError("weight is zero at every frequency; nothing can be fitted")
        return cls(
            shape=shape,
            step=step,
            rows=rows,
            columns=columns,
            qy=np.asarray(np.fft.fftfreq(shape[0], step[0])[rows], dtype=np.float64),
            qx=np.asarray(np.fft.rfftfreq(shape[1], step[1])[columns], dtype=np.float64),
            root=np.sqrt(half[np.ix_(rows, columns)]),
            absolute=absolute,
            stretch=np.eye(2) if raster is None else raster.stretch(step),
        )

    @property
    def size(self) -> int:
        """Number of scan positions."""
        return self.shape[0] * self.shape[1]

    @property
    def frequencies(self) -> int:
        """Independent real numbers in the support (both halves of the plane)."""
        return int((self.multiplicity * (self.root > 0)).sum())

    @property
    def multiplicity(self) -> Array:
        """How often each frequency of the half plane stands in the whole plane."""
        return np.asarray(np.tile(np.where(self.columns == 0, 1.0, 2.0), (len(self.rows), 1)))

    @property
    def radius(self) -> Array:
        """|Q| in 1/Å, on the true raster."""
        (xx, xy), (yx, yy) = np.linalg.inv(self.stretch).T
        qx, qy = self.qx[None], self.qy[:, None]
        return np.asarray(np.hypot(yx * qx + yy * qy, xx * qx + xy * qy))

    @property
    def area(self) -> float:
        """Area of the scan, Å²."""
        return float(self.size * self.step[0] * self.step[1] * np.linalg.det(self.stretch))

    def spectrum(self, image: Array) -> ComplexArray:
        """Transform an image to phi(Q) on the support."""
        whole = np.fft.rfft2(image) / self.size
        return np.asarray(whole[np.ix_(self.rows, self.columns)])

    def image(self, spectrum: ComplexArray) -> Array:
        """Return sum_Q spectrum exp(2 pi i Q R) over both halves of the plane."""
        whole = np.zeros((self.shape[0], self.shape[1] // 2 + 1), complex)
        whole[np.ix_(self.rows, self.columns)] = spectrum
        return np.asarray(np.fft.irfft2(whole, s=self.shape) * self.size)

    def whiten(self, spectrum: ComplexArray) -> Array:
        """Return the whitened image u(R) of phi(Q)."""
        return np.asarray(self.image(self.root * spectrum) / np.sqrt(self.size))

    def pull_back(self, image: Array) -> ComplexArray:
        """Return H(Q) with ``sum_R image u[phi] = Re sum_half H(Q) phi(Q)``."""
        back = np.conj(self.spectrum(image)) * np.sqrt(self.size)
        return np.asarray(back * self.root * self.multiplicity)


def scan_step(image: xr.DataArray) -> tuple[float, float]:
    """Read the scan step (y, x) in Å from the coordinates of an image.

    Raises
    ------
    BadInputError
        If an axis is missing, has fewer than 2 positions, or is not equally spaced.
    """
    steps = []
    for name in ("scan_y", "scan_x"):
        if name not in image.coords or image.sizes.get(name, 0) < 2:
            raise BadInputError(
                f"image of dims {image.dims} lacks the coordinate {name!r} in Å with 2 or more "
                "positions; give a DataArray over (scan_y, scan_x) with coordinates"
            )
        at = np.asarray(image.coords[name].values, dtype=float)
        spacing = np.diff(at)
        if not (spacing > 0).all() or not np.allclose(spacing, spacing[0], rtol=1e-3):
            raise BadInputError(
                f"coordinate {name!r} is not equally spaced and increasing; resample the image"
            )
        steps.append(float((at[-1] - at[0]) / (len(at) - 1)))
    return steps[0], steps[1]


def _support(image: Array) -> Array:
    power = np.abs(np.fft.fft2(image)) ** 2
    return np.asarray(power > 1e-12 * power.max(), dtype=np.float64)
