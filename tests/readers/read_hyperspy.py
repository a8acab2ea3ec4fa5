"""A measurement in HyperSpy."""

import hyperspy.api as hs

signal = hs.load("measurement.h5", file_format="HSPY")
summed = signal.sum(axis=signal.axes_manager.signal_axes)

array = signal.data
image = summed.data
axes = [
    (axis["scale"], axis["offset"], axis["units"])
    for axis in signal.axes_manager.as_dictionary().values()
]
