"""Energy-filtered TEM: expected counts of an unfiltered image and of images through a slit.

Of the electrons that pass the objective aperture, ``I = dose exp(-sum mu_m t_m)``, a window passes
the share that plural scattering brings to its energies: through a slit about 0 eV hardly more than
``exp(-t/lambda)``. Diffraction contrast is left out: it is one factor of all images.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import gaussian_filter

from echolith.errors import BadInputError
from echolith.forward.detector_response import detected_mean
from echolith.forward.energy_loss import elastic_rate
from echolith.forward.filtered_acquisition import IMAGES, EnergyWindow, FilteredAcquisition
from echolith.forward.plural_scattering import LossModel, window_shares, window_weights
from echolith.structures.coated_body import CoatedBody, ray_lengths

Array = npt.NDArray[np.float64]

RIM = 4
"""Pixels about the field whose electrons the camera spreads into it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FilteredCase:
    """A specimen and what went wrong while its images were taken.

    Attributes
    ----------
    body : CoatedBody
    losses : LossModel
    slit : tuple of float
        How far the slit was from where it was meant to be, eV, of every image but the first.
    shifts : tuple of (float, float)
        Of the specimen along y and x, Å, in every image.
    """

    body: CoatedBody
    losses: LossModel
    slit: tuple[float, ...] = (0.0,) * 4
    shifts: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 5

    def __post_init__(self) -> None:
        """Refuse what does not fit five images."""
        if len(self.slit) != len(IMAGES) - 1 or len(self.shifts) != len(IMAGES):
            raise BadInputError(
                f"{len(self.slit)} positions of the slit and {len(self.shifts)} shifts; expected "
                f"{len(IMAGES) - 1} and {len(IMAGES)}, for {', '.join(IMAGES)}"
            )


def energy_filtered_mean(
    case: FilteredCase, *, acquisition: FilteredAcquisition, points: int = 3
) -> xr.Dataset:
    """Return the expected counts of all images.

    Parameters
    ----------
    case : FilteredCase
    acquisition : FilteredAcquisition
    points : int
        Rays of a pixel along each axis.

    Returns
    -------
    xarray.Dataset
        ``counts`` (image, y, x), electrons. Attribute ``energy_filtered``: the acquisition (JSON);
        nothing of slit, shifts and specimen is recorded.

    Raises
    ------
    BadInputError
        If losses are of another energy or aperture than the acquisition.
    """
    theirs = (case.losses.energy, case.losses.semiangle)
    ours = (acquisition.energy, acquisition.semiangle)
    if theirs != ours:
        raise BadInputError(
            f"losses are of {theirs[0]:g} eV and {theirs[1]:g} mrad, the acquisition of "
            f"{ours[0]:g} eV and {ours[1]:g} mrad; expected the same"
        )
    windows = (None, *acquisition.windows)
    offsets = (0.0, *case.slit)
    electrons = acquisition.pixel**2 * np.array(acquisition.doses)
    images = [
        dose * _image(case, acquisition, window, offset, shift, points)
        for dose, window, offset, shift in zip(
            electrons, windows, offsets, case.shifts, strict=True
        )
    ]
    frames = ("image", "detector_y", "detector_x")
    wide = xr.Dataset({"counts": (frames, np.stack(images), {"units": "electrons"})})
    seen = detected_mean(wide, acquisition.response)["counts"].values
    axes = {
        name: (name, np.arange(n) * acquisition.pixel, {"units": "Å"})
        for name, n in zip(("y", "x"), acquisition.shape, strict=True)
    }
    inside = seen[:, RIM:-RIM, RIM:-RIM]
    return xr.Dataset(
        {"counts": (("image", "y", "x"), inside, {"units": "electrons"})},
        coords={"image": list(IMAGES), **axes},
        attrs={"energy_filtered": acquisition.model_dump_json()},
    )


def _image(
    case: FilteredCase,
    acquisition: FilteredAcquisition,
    window: EnergyWindow | None,
    offset: float,
    shift: tuple[float, float],
    points: int,
) -> Array:
    """Return an image for one electron on a pixel."""
    y, x = (a + b for a, b in zip(case.body.centre, shift, strict=True))
    body = CoatedBody(
        core=case.body.core, shell=case.body.shell, support=case.body.support, centre=(y, x)
    )
    ny, nx = acquisition.shape
    shape = (ny + 2 * RIM, nx + 2 * RIM)
    lengths = ray_lengths(body, shape=shape, pixel=acquisition.pixel, points=points)
    rates = [
        elastic_rate(m, energy=acquisition.energy, semiangle=acquisition.semiangle)
        for m in case.losses.materials
    ]
    passed = np.exp(-np.tensordot(rates, lengths, axes=1))
    if window is None:
        return np.asarray(passed.mean(axis=0))
    weights = window_weights(
        window.low + offset, window.high + offset, resolution=acquisition.resolution
    )
    image = (passed * _share(lengths, case.losses, weights)).mean(axis=0)
    blur = acquisition.chromatic * acquisition.semiangle * 1e-3 / 2 * window.width / np.sqrt(12)
    # A standard deviation: of angles over a disc along one axis, of energies over the window.
    return np.asarray(gaussian_filter(image, blur / acquisition.energy / acquisition.pixel))


def _share(lengths: Array, losses: LossModel, weights: Array) -> Array:
    """Return which part of each ray's electrons a window passes; empty rays are computed once."""
    rays = lengths.reshape(3, -1).T
    inside = rays[:, :2].sum(axis=1) > 0
    bare = np.array([[0.0, 0.0, rays[0, 2]]])
    found = window_shares(
        losses.scatterings(np.concatenate([bare, rays[inside]])), losses.singles, weights[None]
    )[:, 0]
    share = np.full(len(rays), found[0])
    share[inside] = found[1:]
    return share.reshape(lengths.shape[1:])
