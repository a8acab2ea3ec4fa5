"""Images of the scan by virtual detectors: bright and dark fields, phase contrast.

Directions come out in the scan frame, and everything is lazy where the measurement is lazy. Several
images are cheapest together, in one pass: see `virtual_images`.
"""

from enum import Enum
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import acquisition_of
from echolith.inverse.virtual_detectors import SCAN, Annulus, VirtualDetector, virtual_images

__all__ = [
    "Annulus",
    "Edges",
    "VirtualDetector",
    "annular_bright_field",
    "annular_dark_field",
    "bright_field",
    "center_of_mass",
    "differential_phase_contrast",
    "incoherent_bright_field",
    "integrated_differential_phase_contrast",
    "virtual_images",
]

Floats = npt.NDArray[np.float64]


class Edges(Enum):
    """What an integration over the scan assumes beyond its edges."""

    PERIODIC = "periodic"
    """The scan repeats: exact for a whole number of crystal cells."""
    MIRROR = "mirror"
    """The phase is mirrored: for any other scan; avoids the jump between opposite edges."""


def bright_field(measurement: xr.Dataset, *, outer: float | None = None) -> xr.DataArray:
    """Bright-field image: the central part of the disc, up to `outer` mrad (half the semiangle).

    Parameters and errors as for `virtual_images`; returns (scan_y, scan_x) in electrons.
    """
    alpha = _semiangle(measurement)
    return _image(measurement, "bright_field", 0.0, alpha / 2 if outer is None else outer)


def annular_bright_field(
    measurement: xr.Dataset, *, inner: float | None = None, outer: float | None = None
) -> xr.DataArray:
    """Annular bright-field image: the outer part of the disc.

    Collects from half the semiangle to the semiangle by default, as Findlay et al.,
    *Ultramicroscopy* 110 (2010) 903. Returns (scan_y, scan_x) in electrons.
    """
    alpha = _semiangle(measurement)
    low, high = alpha / 2 if inner is None else inner, alpha if outer is None else outer
    return _image(measurement, "annular_bright_field", low, high)


def incoherent_bright_field(measurement: xr.Dataset) -> xr.DataArray:
    """Incoherent bright-field image: the whole disc, complementary to the dark field.

    Returns (scan_y, scan_x) in electrons.
    """
    return _image(measurement, "incoherent_bright_field", 0.0, _semiangle(measurement))


def annular_dark_field(
    measurement: xr.Dataset, *, inner: float | None = None, outer: float = np.inf
) -> xr.DataArray:
    """Annular dark-field image, from `inner` (the semiangle) to `outer` mrad (the frame's corner).

    Returns (scan_y, scan_x) in electrons.
    """
    low = _semiangle(measurement) if inner is None else inner
    return _image(measurement, "annular_dark_field", low, outer)


def center_of_mass(measurement: xr.Dataset, *, outer: float = np.inf) -> xr.DataArray:
    """Centre of mass of every frame, in mrad, scan frame.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `virtual_images`.
    outer : float
        Angles used, mrad; the whole frame by default. The theorem that ties the centre of mass to
        the phase gradient needs all electrons.

    Returns
    -------
    xarray.DataArray
        (component, scan_y, scan_x) with component ``"x"``, ``"y"``. Frames without electrons carry
        no information and get 0.
    """
    within = Annulus(outer=outer)
    moments: dict[str, VirtualDetector] = {
        "total": within,
        "x": lambda x, y: x * within(x, y),
        "y": lambda x, y: y * within(x, y),
    }
    images = virtual_images(measurement, moments)
    return _vector(images["x"], images["y"], images["total"], "center_of_mass")


def differential_phase_contrast(measurement: xr.Dataset, *, inner: float = 0.0) -> xr.DataArray:
    """Differential phase contrast: differences of opposite halves of a split detector, in mrad.

    ``(right - left) / total`` along the scan frame's x and likewise y, of all beyond `inner`, times
    ``pi (alpha^2 - inner^2) / (4 alpha)``: a small rigid shift of a uniform disc of
    semiangle alpha comes out in mrad. `center_of_mass` is the first moment instead, and right for
    any frame.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `virtual_images`.
    inner : float
        Hole of the detector, mrad, below the semiangle.

    Returns
    -------
    xarray.DataArray
        (component, scan_y, scan_x) with component ``"x"``, ``"y"``. Frames without electrons carry
        no information and get 0.

    References
    ----------
    Dekkers and de Lang, *Optik* 41 (1974) 452.
    """
    alpha = _semiangle(measurement)
    if not 0 <= inner < alpha:
        raise BadInputError(
            f"inner = {inner:g} mrad; expected 0 or more and less than the "
            f"semiangle, {alpha:g} mrad"
        )
    beyond = Annulus(inner=inner)
    halves: dict[str, VirtualDetector] = {
        "total": beyond,
        "x": lambda x, y: np.sign(x) * beyond(x, y),
        "y": lambda x, y: np.sign(y) * beyond(x, y),
    }
    images = virtual_images(measurement, halves)
    factor = np.pi * (alpha**2 - inner**2) / (4 * alpha)
    name = "differential_phase_contrast"
    return _vector(images["x"] * factor, images["y"] * factor, images["total"], name)


def integrated_differential_phase_contrast(
    measurement: xr.Dataset, *, edges: Edges = Edges.PERIODIC
) -> xr.DataArray:
    """Phase image from the centre of mass, in radians.

    For a thin object exp(i phase) the centre of mass, in 1/Å, is
    ``gradient(phase (*) |probe|^2) / (2 pi)``, (*) the cross-correlation; its integral in Fourier
    space, ``P(Q) = -i Q . COM(Q) / Q^2``, is therefore the phase blurred by the probe's intensity,
    up to a constant: the mean is set to 0. The transfer is that blur (the transform of the probe's
    intensity); it is not divided out.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `virtual_images`; the frames must hold all electrons, and the scan step must be
        below wavelength / (4 semiangle).
    edges : Edges
        What is beyond the scan.

    Returns
    -------
    xarray.DataArray
        (scan_y, scan_x), rad.

    References
    ----------
    Lazić, Bosch and Lazar, *Ultramicroscopy* 160 (2016) 265, eqs. 14 and 20.
    """
    acquisition = acquisition_of(measurement)
    moments = center_of_mass(measurement)
    # mrad to 1/Å
    scale = 1e-3 / acquisition.beam.wavelength
    data: Any = moments.data
    if isinstance(moments.data, da.Array):
        phase = data.rechunk(-1).map_blocks(
            _integrate,
            drop_axis=0,
            dtype=float,
            meta=np.empty((0, 0)),
            scale=scale,
            step=acquisition.scan.step,
            edges=edges,
        )
    else:
        phase = _integrate(data, scale=scale, step=acquisition.scan.step, edges=edges)
    image = moments.isel(component=0, drop=True).copy(data=phase)
    return image.rename("phase").assign_attrs(
        units="rad", long_name="integrated differential phase contrast"
    )


def _integrate(moments: Floats, *, scale: float, step: tuple[float, float], edges: Edges) -> Floats:
    x, y = moments * scale
    shape = x.shape
    if edges is Edges.MIRROR:
        x = np.block([[x, -x[:, ::-1]], [x[::-1], -x[::-1, ::-1]]])
        y = np.block([[y, y[:, ::-1]], [-y[::-1], -y[::-1, ::-1]]])
    q_y = np.fft.fftfreq(x.shape[0], step[0])[:, None]
    q_x = np.fft.rfftfreq(x.shape[1], step[1])
    square = q_y**2 + q_x**2
    square[0, 0] = np.inf
    spectrum = -1j * (q_x * np.fft.rfft2(x) + q_y * np.fft.rfft2(y)) / square
    phase = np.fft.irfft2(spectrum, x.shape)[: shape[0], : shape[1]]
    return np.asarray(phase - phase.mean())


def _semiangle(measurement: xr.Dataset) -> float:
    return acquisition_of(measurement).beam.semiangle


def _image(measurement: xr.Dataset, name: str, inner: float, outer: float) -> xr.DataArray:
    image = virtual_images(measurement, {name: Annulus(inner=inner, outer=outer)})[name]
    return image.assign_attrs(long_name=name.replace("_", " "))


def _vector(x: xr.DataArray, y: xr.DataArray, total: xr.DataArray, name: str) -> xr.DataArray:
    lit = total > 0
    both = xr.concat([x, y], dim=xr.Variable("component", ["x", "y"]))
    vector = (both / total.where(lit, 1.0)).where(lit, 0.0).transpose("component", *SCAN)
    return vector.rename(name).assign_attrs(units="mrad", long_name=name.replace("_", " "))
