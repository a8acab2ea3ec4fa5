"""A measurement in pyxem."""

import hyperspy.api as hs
import numpy as np

signal = hs.load("measurement.h5", file_format="HSPY", signal_type="electron_diffraction")
virtual = signal.get_virtual_image(hs.roi.CircleROI(cx=0, cy=0, r=1000))

# What only pyxem's own signal has.
assert signal.calibration.units == [axis.units for axis in signal.axes_manager.signal_axes]
array = signal.data
image = np.asarray(virtual.data)
axes = [
    (axis["scale"], axis["offset"], axis["units"])
    for axis in signal.axes_manager.as_dictionary().values()
]
