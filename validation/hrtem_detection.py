"""How probable it is that a lattice is detected, by dose: for planning, without noise drawn.

The detector's statistic (`echolith.inverse.lattice_detection`) is a sum over reflections,
``log L = sum_g [w_g P_g - log(1 + r_g)]``. The power of a reflection of a lattice is noncentral
chi-square distributed with mean ``1 + s_g`` and variance ``1 + 2 s_g``, and s_g, the power of the
expected image over noise, grows with the dose. So the statistic of the best template is normal
about that of the expected powers with variance ``sum_g w_g² (1 + 2 s_g)``.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import ndtr

from echolith.forward.hrtem_acquisition import hrtem_acquisition_of
from echolith.inverse.lattice import LatticeSearch
from echolith.inverse.lattice_detection import expected_ratio
from echolith.zone_axes import zone_reflections

Array = npt.NDArray[np.float64]


def detection_probability(
    mean: xr.Dataset, doses: npt.ArrayLike, *, options: LatticeSearch | None = None
) -> Array:
    """Return the probability that the lattice of one frame is detected, for each dose.

    Parameters
    ----------
    mean : xarray.Dataset
        Expected counts as from `echolith.forward.hrtem.hrtem_mean`; its first frame counts.
    doses : array, (n,)
        e/Å² in a frame: dose rate times frame time.
    options : LatticeSearch, optional
        Candidates, and the false-alarm probability that decides.
    """
    options = options or LatticeSearch()
    acquisition = hrtem_acquisition_of(mean)
    image = np.asarray(mean["counts"].isel(frame=0).values, dtype=float)
    spacings = [
        (zone, options.lattice / float(np.linalg.norm(zone_reflections(zone)[0])))
        for zone in options.zone_axes
    ]
    told = [
        expected_ratio(
            image * dose / acquisition.dose,
            pixel=acquisition.pixel,
            spacings=spacings,
            tolerance=options.tolerance,
            smallest=options.smallest,
        )
        for dose in np.atleast_1d(np.asarray(doses, dtype=float))
    ]
    middle, spread = np.array(told).T
    return np.asarray(ndtr((middle + np.log(options.false_alarm)) / np.maximum(spread, 1e-9)))
