"""A measurement in silx, as ``silx view`` plots it."""

import silx.io
from silx.io.nxdata import get_default

with silx.io.open("measurement.h5") as file:
    plot = get_default(file)
    array = plot.signal[()]
    axes = [(axis[1] - axis[0], axis[0], axis.attrs["units"]) for axis in plot.axes]

image = array.sum(axis=(-2, -1))
