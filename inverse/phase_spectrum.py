"""From the spectrum of a phase to its image, transfer and noise: what SSB and WDD return."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft

from echolith.errors import BadInputError
from echolith.forward.acquisition import StemAcquisition
from echolith.inverse.overlap_geometry import HalfPlane
from echolith.inverse.scan_raster import ATTRIBUTE, ScanRaster


def reconstruction(
    spectrum: npt.NDArray[np.complexfloating],
    *,
    transfer: npt.NDArray[np.float64],
    variance: npt.NDArray[np.float64],
    support: npt.NDArray[np.bool_],
    plane: HalfPlane,
    acquisition: StemAcquisition,
    raster: ScanRaster | None = None,
    attrs: dict[str, Any],
) -> xr.Dataset:
    """Build the dataset of a phase reconstruction.

    Parameters
    ----------
    spectrum : array of complex, (Q,)
        phi(Q), rad, on the half plane.
    transfer : array, (Q,)
        The method's own transfer, already divided out.
    variance : array, (Q,)
        Noise variance <|delta phi(Q)|²>, rad².
    support : array of bool, (Q,)
        Where the spectrum is trusted; zero elsewhere.
    plane : HalfPlane
    acquisition : StemAcquisition
    raster : ScanRaster, optional
        Recorded, where it is another than the acquisition states.
    attrs : dict
        Attributes to add.

    Returns
    -------
    xarray.Dataset
        ``phase`` (scan_y, scan_x) in rad; ``transfer`` and ``weight`` (q_y, q_x).

    Raises
    ------
    BadInputError
        If nothing is transferred.
    """
    (ny, nx), (step_y, step_x) = plane.shape, acquisition.scan.step
    if not support.any():
        height, width = acquisition.scan.extent
        raise BadInputError(
            f"{ny} × {nx} scan positions over {height:.4g} × {width:.4g} Å: no spatial frequency "
            f"of this field is transferred (at most {transfer.max(initial=0):.2g}); scan a larger "
            "field with 3 positions or more along an axis, or lower the cut-off"
        )
    kept = np.where(support, spectrum, 0)
    phase = fft.irfft2(plane.half(kept) * (ny * nx), s=plane.shape)
    recorded = {} if raster is None else {ATTRIBUTE: raster.model_dump_json()}
    weight = np.where(support, 1 / np.where(support, variance, 1), 0)
    return xr.Dataset(
        {
            "phase": (("scan_y", "scan_x"), phase, {"units": "rad", "long_name": "phase"}),
            "transfer": (("q_y", "q_x"), plane.full(transfer), {"units": "1"}),
            "weight": (("q_y", "q_x"), plane.full(weight), {"units": "1/rad²"}),
        },
        coords={
            "scan_y": ("scan_y", np.arange(ny) * step_y, {"units": "Å"}),
            "scan_x": ("scan_x", np.arange(nx) * step_x, {"units": "Å"}),
            "q_y": ("q_y", np.fft.fftfreq(ny, step_y), {"units": "1/Å"}),
            "q_x": ("q_x", np.fft.fftfreq(nx, step_x), {"units": "1/Å"}),
        },
        attrs={"acquisition": acquisition.model_dump_json(), **recorded, **attrs},
    )
