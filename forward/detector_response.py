"""What a pixelated detector makes of the expected counts: point spread and efficiency.

An electron is counted with probability `efficiency`, in the pixel it fell on or in one nearby. Each
lands somewhere independently, so counts stay Poisson: the response acts on the mean alone
(Kingman, *Poisson Processes* (1993), sections 5.1 and 5.2), and noise is a layer on top
(`echolith.forward.detector_noise`). Read-out noise and saturation are not of that kind; they are
there.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.ndimage import correlate1d
from scipy.stats import norm

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings, acquisition_of
from echolith.units import Unit

FloatArray = npt.NDArray[np.float64]
Pixels = Annotated[float, Unit("pixel")]

WIDEST_SPREAD = 16.0
REACH = 6.0
"""Standard deviations; 2e-9 of the electrons land beyond."""


class DetectorResponse(Settings):
    """A counting detector; perfect by default. Pairs are (y, x), before any transpose."""

    point_spread: tuple[Annotated[Pixels, Field(ge=0)], Annotated[Pixels, Field(ge=0)]] = (0.0, 0.0)
    """Standard deviation of where an electron is counted, in the detector's own pixels."""
    binning: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (1, 1)
    """The detector's own pixels in one recorded pixel; (4, 1) for 64 x 264 of 256 x 264."""
    efficiency: Annotated[float, Unit("1"), Field(gt=0, le=1)] = 1.0
    """Probability that an electron is counted."""

    def kernel(self, axis: int) -> FloatArray:
        """Return the probability to be counted n recorded pixels away, n = -m ... m.

        Electrons fall evenly over the pixel they are meant for:
        ``K_n = integral over pixel n of (pixel 0 convolved with the Gaussian)``, the second
        difference of ``s phi(t/s) - t Phi(-t/s)``. Behind a rim inside a binned pixel they do
        not: that is the error of a response to frames already binned.

        Parameters
        ----------
        axis : int
            0 for y, 1 for x.

        Raises
        ------
        BadInputError
            If the spread is beyond 16 pixels.
        """
        own = self.point_spread[axis]
        if own > WIDEST_SPREAD:
            raise BadInputError(
                f"point_spread = {own:g} pixels; expected 0 to {WIDEST_SPREAD:g}; give it in the "
                "detector's own pixels"
            )
        spread = own / self.binning[axis]
        if spread == 0:
            return np.ones(1)
        reach = int(np.ceil(REACH * spread)) + 1
        t = np.arange(reach + 2) / spread
        excess = spread * (norm.pdf(t) - t * norm.sf(t))  # E max(0, x - t), to t + E max at -t
        away = np.maximum(np.diff(excess, 2), 0)
        here = 1 - 2 * (excess[0] - excess[1])
        return np.concatenate([away[::-1], [here], away])

    def mtf(self, frequency: npt.ArrayLike, axis: int) -> FloatArray:
        """Return the modulation transfer at frequencies in cycles per recorded pixel.

        ``sum_n K_n cos(2 pi f n)``: between a mean that is even over each pixel and its image.
        """
        kernel = self.kernel(axis)
        n = np.arange(len(kernel)) - len(kernel) // 2
        return np.asarray(np.cos(2 * np.pi * np.multiply.outer(frequency, n)) @ kernel)

    def dqe(
        self, frequency: npt.ArrayLike, axis: int, *, electrons: float, readout: float = 0.0
    ) -> FloatArray:
        """Return the detective quantum efficiency.

        ``DQE(f) = efficiency MTF(f)² / (1 + readout² / (efficiency electrons))``: the noise of
        counted electrons and of the read-out is white. Below saturation.

        Parameters
        ----------
        frequency : array_like
            Cycles per recorded pixel.
        axis : int
            0 for y, 1 for x.
        electrons : float
            Incident on a recorded pixel and frame, above 0.
        readout : float
            Standard deviation of the read-out, electrons.

        References
        ----------
        McMullan et al., Ultramicroscopy 109 (2009) 1126, eqs. 1 to 4.

        Examples
        --------
        >>> DetectorResponse(efficiency=0.8).dqe(0.0, 0, electrons=5.0, readout=2.0)
        array(0.4)
        """
        noise = 1 + readout**2 / (self.efficiency * electrons)
        return np.asarray(self.efficiency * self.mtf(frequency, axis) ** 2 / noise)


def detected_mean(mean: xr.Dataset, response: DetectorResponse) -> xr.Dataset:
    """Return the expected counts that a detector records.

    Parameters
    ----------
    mean : xarray.Dataset
        Expected counts as of a perfect detector. Variables with detector axes are changed, others
        (an annular signal) are not. Dask arrays stay lazy.
    response : DetectorResponse

    Returns
    -------
    xarray.Dataset
        The attribute ``detector_response`` (JSON) added: a detector is calibrated. Electrons
        that spread beyond the edge of the frame are lost.

    Raises
    ------
    BadInputError
        If there is no variable with axes ``detector_y`` and ``detector_x``.
    """
    axes = ("detector_y", "detector_x")
    names = [name for name, v in mean.data_vars.items() if set(axes) <= set(map(str, v.dims))]
    if not names:
        raise BadInputError(
            "no variable with the axes detector_y and detector_x; a detector's response needs "
            "frames"
        )
    transposed = "acquisition" in mean.attrs and acquisition_of(mean).detector.transpose
    kernels = [response.kernel(axis) for axis in ((1, 0) if transposed else (0, 1))]
    kernels[0] = kernels[0] * response.efficiency
    seen = {
        name: xr.apply_ufunc(
            _spread,
            mean[name],
            kwargs={"rows": kernels[0], "columns": kernels[1]},
            input_core_dims=[axes],
            output_core_dims=[axes],
            dask="parallelized",
            dask_gufunc_kwargs={"allow_rechunk": True},
            output_dtypes=[mean[name].dtype],
            keep_attrs=True,
        ).transpose(*mean[name].dims)
        for name in names
    }
    return mean.assign(seen).assign_attrs(detector_response=response.model_dump_json())


def _spread(
    frames: npt.NDArray[np.floating], *, rows: FloatArray, columns: FloatArray
) -> npt.NDArray[np.floating]:
    """Convolve frames (..., dy, dx), each line by itself, nothing beyond the edges."""
    along_y = frames * rows[0] if len(rows) == 1 else _along(frames, rows, -2)
    spread = along_y if len(columns) == 1 else _along(along_y, columns, -1)
    return np.asarray(spread, dtype=frames.dtype)


def _along(
    frames: npt.NDArray[np.floating], kernel: FloatArray, axis: int
) -> npt.NDArray[np.floating]:
    return np.asarray(correlate1d(frames, kernel, axis=axis, mode="constant", output=np.float64))
