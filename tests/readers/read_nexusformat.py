"""A measurement in nexusformat, the library of NeXpy."""

from nexusformat.nexus import nxload

data = nxload("measurement.h5").get_default()
summed = data.sum(axis=(data.ndim - 2, data.ndim - 1))

array = data.nxsignal.nxdata
image = summed.nxsignal.nxdata
axes = [
    (axis.nxdata[1] - axis.nxdata[0], axis.nxdata[0], axis.attrs["units"]) for axis in data.nxaxes
]
