"""Correlation coefficients of a length with time, as growth is often published."""

import numpy as np
import numpy.typing as npt
import xarray as xr

Array = npt.NDArray[np.float64]


def trend_correlations(time: Array, length: Array, *, smoothing: int) -> xr.DataArray:
    """Return Pearson's coefficient of a length with t and with t², raw and smoothed.

    They describe, they do not decide: smoothing lifts them with any law, since it makes errors of
    neighbours alike.

    Parameters
    ----------
    time : array (n,)
        From the start of growth where that is known, s.
    length : array (n,)
        Å, all finite.
    smoothing : int
        Lengths of the moving average; at most all of them.

    Examples
    --------
    >>> time = np.arange(50.0)
    >>> trend_correlations(time, time**2, smoothing=5).sel(power=2).round(6).values
    array([1., 1.])
    """
    window = np.ones(min(smoothing, len(time) - 2))
    smooth = [np.convolve(row, window / len(window), mode="valid") for row in (time, length)]
    # Of a smoothed t² the mean over a window is kept as well, so that exact laws give exactly 1.
    square = np.convolve(time**2, window / len(window), mode="valid")
    values = [
        [_pearson(time, length), _pearson(time**2, length)],
        [_pearson(smooth[0], smooth[1]), _pearson(square, smooth[1])],
    ]
    return xr.DataArray(
        np.array(values),
        coords={"series": ["raw", "smoothed"], "power": [1, 2]},
        dims=("series", "power"),
        attrs={"units": "1", "long_name": "Pearson's coefficient of the length with a power of t"},
    )


def _pearson(first: Array, second: Array) -> float:
    return float(np.corrcoef(first, second)[0, 1])
