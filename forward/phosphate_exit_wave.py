"""Exit waves of LiFePO4 plates in one view: projection approximation and multislice.

Signs (wave along +z as exp(2 pi i z / lambda), n = 1 - delta + i mu lambda / 4 pi):

    projection   T = exp(-sum of (mu / 2 + 2 pi i delta / lambda) L)
    free space   F[psi(z)] = F[psi(0)] exp(-pi i lambda z k²)

The same as those of `zone_plate_probe`. The wave of unit illumination is multiplied by the probe in
`far_field_mean`: allowed while the probe is far wider than its spread within the specimen.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.phosphate_paths import View, pixel_means, slab_paths
from echolith.forward.tilts import centres
from echolith.forward.xray_absorption import IronEdge, optical_constants
from echolith.forward.xray_probe import photon_wavelength
from echolith.structures.body_rays import PackedBodies, packed_bodies
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.units import Angstrom, Electronvolt

Floats = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]


def exit_waves(
    specimen: PhosphateSpecimen,
    view: View,
    *,
    energies: tuple[float, ...],
    shape: tuple[int, int],
    pixel_size: Angstrom,
    edge: IronEdge = IronEdge(),  # noqa: B008
    slab: Angstrom | None = None,
    rays: int = 2,
) -> xr.DataArray:
    """Return the wave behind the specimen for a plane wave of amplitude 1, at each energy.

    Parameters
    ----------
    specimen : PhosphateSpecimen
    view : View
        Tilt, and where the projection lies on the detector.
    energies : tuple of float
        eV, 680 to 780.
    shape : (int, int)
        Pixels (y, x); for `far_field_mean` of ``pixel_size / oversampling``.
    pixel_size : float
        Å.
    edge : IronEdge
    slab : float, optional
        Thickness of the slabs of multislice, Å; by default the projection approximation, one phase
        and absorption for each ray. The wave is then brought back to the plane through the tilt
        axis, where the projection is in focus.
    rays : int
        Along each side of a pixel, whose mean wave is returned.

    Returns
    -------
    xarray.DataArray
        Complex (energy, y, x), coordinates in eV and in Å from the middle of the field.

    Raises
    ------
    BadInputError
        If the specimen reaches beyond the field, or pixels, rays or slabs make no wave.
    """
    bodies = packed_bodies(specimen)
    _check(bodies, view, shape, pixel_size, slab, rays)
    constants = optical_constants(energies, edge=edge).transpose("energy", "species")
    edges = _slab_edges(bodies, view, slab)
    paths = slab_paths(bodies, view, edges=edges, shape=shape, pixel_size=pixel_size, rays=rays)
    waves = np.empty((len(energies), *shape), dtype=np.complex128)
    for e, energy in enumerate(energies):
        length = photon_wavelength(energy)
        loss = constants["absorption"].values[e] / 2
        turn = 2 * np.pi / length * constants["delta"].values[e]
        slabs = (_transmission(part, loss + 1j * turn, rays) for part in paths)
        waves[e] = next(slabs)
        for n, transmitted in enumerate(slabs, start=1):
            step = (edges[n + 1] - edges[n - 1]) / 2
            waves[e] = transmitted * propagate(
                waves[e], step, wavelength=length, pixel_size=pixel_size
            )
        if slab is not None:
            back = -(edges[-1] + edges[-2]) / 2
            waves[e] = propagate(waves[e], back, wavelength=length, pixel_size=pixel_size)
    return xr.DataArray(
        waves,
        dims=("energy", "y", "x"),
        coords={
            "energy": ("energy", np.array(energies, dtype=float), {"units": "eV"}),
            "y": ("y", centres(shape[0], pixel_size), {"units": "Å"}),
            "x": ("x", centres(shape[1], pixel_size), {"units": "Å"}),
        },
        attrs={"units": "1"},
    )


def exit_wave(
    specimen: PhosphateSpecimen,
    view: View,
    *,
    energy: Electronvolt,
    shape: tuple[int, int],
    pixel_size: Angstrom,
    edge: IronEdge = IronEdge(),  # noqa: B008
    slab: Angstrom | None = None,
    rays: int = 2,
) -> xr.DataArray:
    """Return the wave at one energy, (y, x); see `exit_waves`."""
    waves = exit_waves(
        specimen,
        view,
        energies=(energy,),
        shape=shape,
        pixel_size=pixel_size,
        edge=edge,
        slab=slab,
        rays=rays,
    )
    return waves.isel(energy=0)


def propagate(
    wave: Complex, distance: Angstrom, *, wavelength: Angstrom, pixel_size: Angstrom
) -> Complex:
    """Carry a wave through free space by the paraxial angular spectrum.

    Parameters
    ----------
    wave : array (y, x)
        Periodic beyond its border.
    distance : float
        Along the beam, Å; negative: back.
    wavelength, pixel_size : float
        Å.

    References
    ----------
    Goodman, Introduction to Fourier Optics (2005), equation 4-21.
    """
    ky, kx = (np.fft.fftfreq(n, pixel_size) for n in wave.shape)
    phase = np.pi * wavelength * distance * (ky[:, None] ** 2 + kx**2)
    return np.asarray(np.fft.ifft2(np.fft.fft2(wave) * np.exp(-1j * phase)))


def depth_of_focus(resolution: Angstrom, *, wavelength: Angstrom) -> float:
    """Return the thickness within which a projection is sharp, 5.4 resolution² / wavelength, Å.

    Parameters
    ----------
    resolution : float
        Half period, Å.
    wavelength : float
        Å.

    References
    ----------
    Tsai et al., Opt. Express 24, 29089 (2016).

    Examples
    --------
    >>> round(depth_of_focus(110.0, wavelength=photon_wavelength(708.2)))
    3732
    """
    return 5.4 * resolution**2 / wavelength


def _transmission(paths: npt.NDArray[np.float32], optics: Complex, rays: int) -> Complex:
    """Return the mean wave of every pixel behind one slab."""
    return pixel_means(np.exp(-np.tensordot(optics, paths, axes=1)), rays)


def _depths(bodies: PackedBodies, view: View) -> Floats:
    return np.asarray(bodies.vertices @ view.axes()[2])


def _slab_edges(bodies: PackedBodies, view: View, slab: float | None) -> Floats:
    """Return planes from the first to the last corner; without slabs two that hold all."""
    depths = _depths(bodies, view) if len(bodies.vertices) else np.zeros(1)
    low, high = float(depths.min()) - 1.0, float(depths.max()) + 1.0
    count = 1 if slab is None else int(np.ceil((high - low) / slab))
    return np.linspace(low, high, count + 1)


def _check(
    bodies: PackedBodies,
    view: View,
    shape: tuple[int, int],
    pixel_size: float,
    slab: float | None,
    rays: int,
) -> None:
    if len(shape) != 2 or min(shape) < 2:
        raise BadInputError(f"shape = {shape}; expected two numbers of pixels (y, x), 2 or more")
    if not 0.1 <= pixel_size <= 1e6:
        raise BadInputError(f"pixel_size = {pixel_size:g} Å; expected 0.1 to 1e6 Å; give it in Å")
    if not 1 <= rays <= 16:
        raise BadInputError(f"rays = {rays}; expected 1 to 16 along each side of a pixel")
    if slab is not None and not 1 <= slab <= 1e6:
        raise BadInputError(f"slab = {slab:g} Å; expected 1 to 1e6 Å; give it in Å")
    if not len(bodies.vertices):
        return
    to_detector = view.matrix()
    seen = bodies.vertices @ view.axes()[:2].T @ to_detector[:, :2].T + to_detector[:, 2]
    reach = np.abs(seen).max(axis=0)
    half = np.array(shape[::-1]) * pixel_size / 2
    if (reach > half).any():
        axis = int(np.argmax(reach - half))
        raise BadInputError(
            f"the specimen reaches to {'xy'[axis]} = {reach[axis]:.0f} Å, the field to "
            f"{half[axis]:.0f} Å; a wave cut off at the border is no exit wave; take "
            f"{int(np.ceil(2 * reach[axis] / pixel_size))} pixels or more along {'xy'[axis]}"
        )
