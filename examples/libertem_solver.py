"""LiberTEM's single-sideband ptychography as a solver, in whatever environment it has."""

import json

import numpy as np
from columns_from_image import columns_and_distances
from libertem.api import Context
from libertem.executor.inline import InlineJobExecutor
from ptychography40.reconstruction.common import wavelength
from ptychography40.reconstruction.ssb import SSB_UDF


def solve(measurement):
    counts = np.asarray(measurement["counts"].values, dtype=np.float32)
    acquisition = json.loads(measurement.attrs["acquisition"])
    semiangle, energy = acquisition["beam"]["semiangle"], acquisition["beam"]["energy"]
    step, pixel = acquisition["scan"]["step"], acquisition["detector"]["pixel_size"][0]
    context = Context(executor=InlineJobExecutor())
    reconstruction = SSB_UDF(
        lamb=wavelength(energy * 1e-3),
        dpix=np.array(step) * 1e-10,
        semiconv=semiangle * 1e-3,
        semiconv_pix=semiangle / pixel,
        cy=counts.shape[2] // 2,
        cx=counts.shape[3] // 2,
    )
    data = context.load("memory", data=counts, sig_dims=2)
    phase = context.run_udf(dataset=data, udf=reconstruction)["phase"].data
    return columns_and_distances(np.asarray(phase), step=tuple(step))
