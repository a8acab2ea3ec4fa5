"""Mean transmitted counts of a tilt series at several energies, straight from the specimen.

The fast mode of the ptychographic experiment: ``counts = incident exp(-sum of mu L)`` with the path
lengths L of `phosphate_paths`, so without probe, diffraction and depth of focus.
"""

from enum import Enum

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.delayed import delayed

from echolith.errors import BadInputError
from echolith.forward.phosphate_paths import View, pixel_means, ray_paths
from echolith.forward.tilt_placement import TiltJitter, tilt_placement, view_of
from echolith.forward.tilts import Tilts, centres
from echolith.forward.xray_absorption import ENERGIES, IronEdge, optical_constants
from echolith.structures.body_rays import PackedBodies, packed_bodies
from echolith.structures.phosphate_plates import PhosphateSpecimen

Singles = npt.NDArray[np.float32]


class PixelMean(Enum):
    """What is averaged over a pixel: projections add up in one, a camera's pixel has the other."""

    OPTICAL_DENSITY = "optical density"
    TRANSMISSION = "transmission"


def projected_counts(
    specimen: PhosphateSpecimen,
    *,
    tilts: Tilts = Tilts(),  # noqa: B008
    energies: tuple[float, ...] = ENERGIES,
    shape: tuple[int, int] = (128, 128),
    incident: int | tuple[int, ...] = 1000,
    edge: IronEdge = IronEdge(),  # noqa: B008
    placement: xr.Dataset | None = None,
    rays: int = 3,
    pixel_mean: PixelMean = PixelMean.OPTICAL_DENSITY,
) -> xr.Dataset:
    """Return the mean counts of every projection.

    Parameters
    ----------
    specimen : PhosphateSpecimen
    tilts : Tilts
        Angles, and the pixel size.
    energies : tuple of float
        eV, 680 to 780.
    shape : (int, int)
        Pixels (y, x).
    incident : int or tuple of int
        Photons per pixel, view and energy, one number or one for each energy; whole, so that
        counting noise leaves it alone.
    edge : IronEdge
        What the phases absorb.
    placement : xarray.Dataset, optional
        Where projections lie, as from `tilt_placement`; by default where they should.
    rays : int
        Along each side of a pixel, 1 to 16.
    pixel_mean : PixelMean
        TRANSMISSION: the mean of ``exp(-OD)`` over a pixel. At edges of thick plates its logarithm
        is below the mean of the optical density, which no linear model knows.

    Returns
    -------
    xarray.Dataset
        ``counts`` over (energy, tilt, y, x), lazy, one chunk a tilt, float32, and ``incident``.
        ``attrs["tilts"]`` is that of the series (JSON). Of the placement nothing is said.

    Raises
    ------
    BadInputError
        If energies, shape, photons or rays make no measurement.
    """
    _check(energies, shape, incident, rays)
    absorption = optical_constants(energies, edge=edge).absorption.transpose("energy", "species")
    if placement is None:
        placement = tilt_placement(tilts, TiltJitter(), energies=energies)
    if placement.sizes.get("tilt") != len(tilts.angles):
        raise BadInputError(
            f"the placement has {placement.sizes.get('tilt', 0)} tilts, the series "
            f"{len(tilts.angles)}; draw it for this series"
        )
    task = delayed(_tilt, pure=False)
    bodies = delayed(packed_bodies(specimen), traverse=False, pure=False)
    block = (len(energies), *shape)
    optics = absorption.values
    images = [
        da.from_delayed(
            task(
                bodies,
                [view_of(placement, e, t) for e in range(len(energies))],
                optics,
                shape,
                tilts.voxel_size,
                rays,
                pixel_mean,
                incident,
            ),
            block,
            dtype=np.float32,
        )
        for t in range(len(tilts.angles))
    ]
    counts, dims = da.stack(images, axis=1), ("energy", "tilt", "y", "x")
    measurement = _labelled(counts, dims, energies, tilts.voxel_size, incident)
    angles = np.array(tilts.angles, dtype=float)
    measurement = measurement.assign_coords(tilt=("tilt", angles, {"units": "°"}))
    measurement.attrs["tilts"] = tilts.model_dump_json()
    return measurement


def spectral_stack(
    specimen: PhosphateSpecimen,
    *,
    energies: tuple[float, ...],
    tilt: float = 0.0,
    pixel_size: float = 67.0,
    shape: tuple[int, int] = (128, 128),
    incident: int = 1000,
    edge: IronEdge = IronEdge(),  # noqa: B008
    rays: int = 3,
    pixel_mean: PixelMean = PixelMean.OPTICAL_DENSITY,
) -> xr.Dataset:
    """Return the mean counts of one view at many energies: an absorption spectrum in each pixel.

    Parameters
    ----------
    specimen : PhosphateSpecimen
    energies : tuple of float
        eV, 680 to 780.
    tilt : float
        Degree.
    pixel_size : float
        Å.
    shape, incident, edge, rays, pixel_mean
        As for `projected_counts`.

    Returns
    -------
    xarray.Dataset
        ``counts`` over (energy, y, x), float32, in memory, and ``incident``.

    Raises
    ------
    BadInputError
        If energies, shape, photons, pixels or rays make no measurement.
    """
    _check(energies, shape, incident, rays)
    if not 0.1 <= pixel_size <= 1e6:
        raise BadInputError(f"pixel_size = {pixel_size:g} Å; expected 0.1 to 1e6 Å; give it in Å")
    mu = optical_constants(energies, edge=edge).absorption.transpose("energy", "species").values
    views = [View(tilt=tilt)] * len(energies)
    bodies = packed_bodies(specimen)
    counts = _tilt(bodies, views, mu, shape, pixel_size, rays, pixel_mean, incident)
    return _labelled(counts, ("energy", "y", "x"), energies, pixel_size, incident)


def _tilt(
    bodies: PackedBodies,
    views: list[View],
    absorption: npt.NDArray[np.float64],
    shape: tuple[int, int],
    pixel_size: float,
    rays: int,
    pixel_mean: PixelMean,
    incident: int | tuple[int, ...],
) -> Singles:
    """Return the counts of one tilt, (energy, y, x); views that are equal are traced once."""
    counts = np.empty((len(views), *shape), dtype=np.float32)
    photons = np.broadcast_to(incident, len(views)).tolist()
    paths, traced = np.empty(0, dtype=np.float32), None
    for e, view in enumerate(views):
        if view != traced:
            paths = ray_paths(bodies, view, shape=shape, pixel_size=pixel_size, rays=rays)
            if pixel_mean is PixelMean.OPTICAL_DENSITY:
                paths = pixel_means(paths, rays)
            traced = view
        transmitted = np.exp(-np.tensordot(absorption[e].astype(np.float32), paths, axes=1))
        if pixel_mean is PixelMean.TRANSMISSION:
            transmitted = pixel_means(transmitted, rays)
        counts[e] = photons[e] * transmitted
    return counts


def _check(
    energies: tuple[float, ...],
    shape: tuple[int, int],
    incident: int | tuple[int, ...],
    rays: int,
) -> None:
    if not energies or len(set(energies)) < len(energies):
        raise BadInputError(f"energies = {energies} eV; expected one or more, each once")
    if len(shape) != 2 or min(shape) < 1:
        raise BadInputError(f"shape = {shape}; expected two numbers of pixels (y, x)")
    photons = np.atleast_1d(incident)
    if photons.shape not in ((1,), (len(energies),)):
        raise BadInputError(
            f"{photons.size} numbers of incident photons for {len(energies)} energies; expected "
            "one in all or one each"
        )
    for number in photons.tolist():
        if number % 1 or not 0 < number <= 1e12:
            raise BadInputError(
                f"incident = {number:g} photons per pixel; expected a whole number of 1 to 1e12"
            )
    if not 1 <= rays <= 16:
        raise BadInputError(f"rays = {rays}; expected 1 to 16 along each side of a pixel")


def _labelled(
    counts: da.Array | Singles,
    dims: tuple[str, ...],
    energies: tuple[float, ...],
    size: float,
    incident: int | tuple[int, ...],
) -> xr.Dataset:
    return xr.Dataset(
        {
            "counts": (dims, counts, {"units": "photons"}),
            "incident": (
                ("energy",) if isinstance(incident, tuple) else (),
                np.asarray(incident, dtype=np.int64),
                {"units": "photons"},
            ),
        },
        coords={
            "energy": ("energy", np.array(energies, dtype=float), {"units": "eV"}),
            "y": ("y", centres(counts.shape[-2], size), {"units": "Å"}),
            "x": ("x", centres(counts.shape[-1], size), {"units": "Å"}),
        },
    )
