"""A measurement in LiberTEM, which knows no calibration."""

import libertem.api as lt
import numpy as np
from libertem.udf.raw import PickUDF
from libertem.udf.sumsigudf import SumSigUDF

context = lt.Context.make_with("inline")
frames = context.load("hdf5", path="measurement.h5", ds_path="/measurement/counts")
summed = context.run_udf(dataset=frames, udf=SumSigUDF())["intensity"]

every = np.ones(frames.shape.nav, dtype=bool)
picked = context.run_udf(dataset=frames, udf=PickUDF(), roi=every)["intensity"]
array = picked.data.reshape(tuple(frames.shape))
image = summed.data
axes = None
