"""The raster of a scan as two step vectors, for a scan that drifts or is not square.

Position (iy, ix) lies at ``R = R0 + ix fast + iy slow``. With the matrix ``M = [fast slow]`` the
spatial frequency of the scan index m = (mx / nx, my / ny) is ``Q = M^-T m``. The origin R0 shifts
an image and nothing else; it is left out.

In the raster's own frame, whose y axis lies along ``slow``, ``fast`` is (a, c), ``slow`` is (0, d)
and ``Q = (mx / (nx a) - my c / (ny a d), my / (ny d))``. One scan frequency my is then a line along
x, as it is without drift; only where it begins is shifted.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import model_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import Scan, Settings, acquisition_of
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]

ATTRIBUTE = "raster"
LARGEST_STRAIN = 0.5
"""By which a raster may differ from the one the acquisition states."""


class ScanRaster(Settings):
    """Step vectors of a scan, (x, y) in the scan frame.

    ``fast`` leads from a position to the next along a line, ``slow`` from a line to the next.
    """

    fast: tuple[Angstrom, Angstrom]
    slow: tuple[Angstrom, Angstrom]

    @model_validator(mode="after")
    def _two_directions(self) -> Self:
        if self.area <= 1e-3 * np.hypot(*self.fast) * np.hypot(*self.slow):
            raise ValueError(
                f"fast = {self.fast} Å and slow = {self.slow} Å are parallel or left-handed; "
                "expected slow on the side of fast on which y is of x; give (x, y)"
            )
        return self

    @classmethod
    def of(cls, scan: Scan, *, strain: npt.ArrayLike = ((0.0, 0.0), (0.0, 0.0))) -> Self:
        """Return the raster of a scan whose probe is displaced by ``strain @ X``.

        Parameters
        ----------
        scan : Scan
            As it was meant.
        strain : array, (2, 2)
            ``d u_i / d x_j``, axes in the order x, y.

        Examples
        --------
        >>> scan = Scan(shape=(100, 100), step=0.2)
        >>> ScanRaster.of(scan, strain=[[0.0, 0.05], [0.0, 0.0]]).slow
        (0.010000000000000002, 0.2)
        """
        steps = (np.eye(2) + np.asarray(strain, dtype=float)) @ np.diag(scan.step[::-1])
        (fast_x, slow_x), (fast_y, slow_y) = steps.tolist()
        return cls(fast=(fast_x, fast_y), slow=(slow_x, slow_y))

    @property
    def vectors(self) -> Array:
        """Return ``M = [fast slow]``, (2, 2), Å per index."""
        return np.array([self.fast, self.slow]).T

    @property
    def area(self) -> float:
        """Return the area of one position, Å²."""
        return self.fast[0] * self.slow[1] - self.fast[1] * self.slow[0]

    def stretch(self, step: tuple[float, float]) -> Array:
        """Return F, (2, 2), with ``R = F X`` for X on the raster of a step (y, x) in Å."""
        return np.asarray(self.vectors / np.array([step[1], step[0]]))


@dataclass(frozen=True, kw_only=True)
class RasterFrame:
    """A raster in the frame whose y axis lies along the slow vector.

    ``rotation``: degrees from this frame to the specimen's; ``step``: (d, a), and ``shear``: c / a,
    of the module's equation.
    """

    rotation: float
    step: tuple[float, float]
    shear: float


def raster_frame(scan: Scan, raster: ScanRaster | None) -> RasterFrame:
    """Return the frame of a raster; without one that of the scan as it was meant."""
    if raster is None:
        return RasterFrame(rotation=scan.rotation, step=scan.step, shear=0.0)
    slow = float(np.hypot(*raster.slow))
    turn = np.rad2deg(np.arctan2(-raster.slow[0], raster.slow[1]))
    along = float(np.dot(raster.fast, raster.slow)) / slow
    across = raster.area / slow
    return RasterFrame(
        rotation=scan.rotation + float(turn), step=(slow, across), shear=along / across
    )


def with_raster(measurement: xr.Dataset, raster: ScanRaster) -> xr.Dataset:
    """Return the measurement with the raster in its metadata.

    SSB, WDD, the fit of aberrations and that of columns read it there. Images stay on the scan's
    indices, with the coordinates of the scan as it was meant, and so do columns, which lie where
    the image shows them; `corrected_columns` gives their true places. The counts are not touched.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `echolith.inverse.ssb.ssb`.
    raster : ScanRaster
        Such as `echolith.inverse.drift_calibration.drift_raster` finds.

    Raises
    ------
    BadInputError
        If the raster is not nearly the one that the acquisition states.
    """
    step = acquisition_of(measurement).scan.step
    strain = np.abs(raster.stretch(step) - np.eye(2)).max()
    if strain > LARGEST_STRAIN:
        raise BadInputError(
            f"fast = {raster.fast} Å and slow = {raster.slow} Å differ by {strain:.3g} of "
            f"a step from those of the acquisition, ({step[1]:g}, 0) and (0, {step[0]:g}) Å; "
            f"expected at most {LARGEST_STRAIN:g}; give (x, y) in Å, or correct scan.step"
        )
    return measurement.assign_attrs({ATTRIBUTE: raster.model_dump_json()})


def raster_of(data: xr.Dataset) -> ScanRaster | None:
    """Return the raster in the metadata of a measurement or reconstruction, None if as meant."""
    stated = data.attrs.get(ATTRIBUTE)
    return None if stated is None else ScanRaster.model_validate_json(stated)


def corrected_columns(columns: xr.Dataset, raster: ScanRaster, *, scan: Scan) -> xr.Dataset:
    """Return columns where they are, from where the image of a drifting scan shows them.

    Parameters
    ----------
    columns : xarray.Dataset
        ``x``, ``y`` (Å) over dim ``column`` on the raster as it was meant, with ``x_std``,
        ``y_std`` and ``xy_covariance`` (column, axis, axis_) where known.
    raster : ScanRaster
    scan : Scan
        As it was meant.

    Returns
    -------
    xarray.Dataset
        The same with these variables on the true raster: ``R = F X``, covariance ``F C F'``.
        Where only standard deviations are known, errors along x and y count as independent.
    """
    stretch = raster.stretch(scan.step)
    x, y = stretch @ np.stack([columns["x"].values, columns["y"].values])
    result = columns.assign(x=columns["x"].copy(data=x), y=columns["y"].copy(data=y))
    if "xy_covariance" in columns:
        given = columns["xy_covariance"].transpose("column", "axis", "axis_")
        covariance = stretch @ given.values @ stretch.T
        result["xy_covariance"] = given.copy(data=covariance)
    elif {"x_std", "y_std"} <= set(columns):
        variance = np.stack([columns["x_std"].values, columns["y_std"].values], axis=-1) ** 2
        covariance = (stretch * variance[:, None]) @ stretch.T
    else:
        return result
    for n, name in enumerate(("x_std", "y_std")):
        result[name] = ("column", np.sqrt(covariance[:, n, n]), {"units": "Å"})
    return result
