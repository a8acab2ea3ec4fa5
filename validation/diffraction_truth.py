"""What a map of rocking curves should find: fields as the beam sees them, and their labels."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import ndtr

from echolith.forward.goniometer import lean
from echolith.forward.rocking_curve import (
    RockingCurve,
    beam_points,
    curve_voxels,
    peak_vectors,
    scan_places,
)
from echolith.inverse.diffraction_frames import DIMS
from echolith.structures.strained_crystals import StrainedMap
from echolith.units import Angstrom
from echolith.validation.map_particle_metrics import map_particle_truth

Array = npt.NDArray[np.float64]

UNITS = {
    "strain": "1",
    "tilt_x": "°",
    "tilt_y": "°",
    "spacing": "Å",
    "c": "Å",
    "width_x": "1/Å",
    "width_y": "1/Å",
    "width_z": "1/Å",
}


def map_truth(
    specimen: StrainedMap, *, curve: RockingCurve, order: int = 3, inside: float = 0.995
) -> xr.Dataset:
    """Return what the beam sees on average at every point, NaN where it sees several domains.

    ``label`` is the domain that the beam sees most of, 0 where it sees none.

    Parameters
    ----------
    specimen : StrainedMap
    curve : RockingCurve
        How it is scanned; without its drift, in the middle of the rocking curve.
    order : int
        The lattice parameter c is so many times the spacing.
    inside : float
        Part of a peak that the frames must hold for its point to count in ``mean_strain``, which
        is that of all photons of such points.
    """
    still = curve.model_copy(update={"drift": (0.0, 0.0), "etas": 5})
    places = scan_places(specimen, still)[:, :, 0]
    offsets, weights = beam_points(still, specimen)
    index = np.floor(places[:, :, None] + offsets + 0.5).astype(int)
    index = np.clip(index, 0, np.array(specimen.intensity.shape) - 1)
    y, x = index[..., 0], index[..., 1]
    vectors = peak_vectors(specimen.spacing, specimen.tilt)[y, x]
    shares = weights * specimen.intensity[y, x]
    domain = specimen.domain[y, x]
    whole = (domain == domain[..., :1]).all(axis=-1) & (domain[..., 0] > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = shares / shares.sum(axis=2)[..., None]
    mean = (parts[..., None] * vectors).sum(axis=2)
    spread = (parts[..., None] * (vectors - mean[:, :, None]) ** 2).sum(axis=2)
    width = np.sqrt((parts[..., None] * specimen.width[y, x] ** 2).sum(axis=2) + spread)
    spacing = 2 * np.pi / np.linalg.norm(mean, axis=-1)
    tilt = lean(mean)
    values = {
        "strain": spacing / specimen.reference - 1,
        "tilt_x": tilt[..., 0],
        "tilt_y": tilt[..., 1],
        "spacing": spacing,
        "c": order * spacing,
        **{f"width_{axis}": width[..., n] for n, axis in enumerate("xyz")},
    }
    truth = xr.Dataset(
        {
            name: (DIMS[:2], np.where(whole, value, np.nan), {"units": UNITS[name]})
            for name, value in values.items()
        }
    )
    for name, steps in zip(("drift_y", "drift_x"), curve.drift, strict=True):
        truth[name] = ((), float(steps), {"units": "steps of the scan per step of eta"})
    label = _most_seen(domain, shares)
    alone = ((domain == label[..., None]) | (shares == 0)).all(axis=-1) & (label > 0)
    truth["label"] = (DIMS[:2], label, {"units": "1"})
    truth = truth.assign(
        map_particle_truth(label, np.where(alone, spacing, np.nan), specimen.reference, order=order)
    )
    held = held_part(mean, width, curve=curve, reference=specimen.reference)
    photons = np.where(held > inside, shares.sum(axis=2), 0)
    seen = photons > 0
    strain = 1e6 * np.average(values["strain"][seen], weights=photons[seen]) if seen.any() else 0.0
    return truth.assign(mean_strain=((), float(strain), {"units": "ppm"}))


def held_part(centre: Array, width: Array, *, curve: RockingCurve, reference: Angstrom) -> Array:
    """Return the part of Gaussian peaks that the frames of a rocking curve hold, (...).

    Parameters
    ----------
    centre, width : array, (..., 3)
        Q and standard deviations, 1/Å.
    curve : RockingCurve
        Its voxels are taken as evenly spaced, as they are in its middle.
    reference : float
        Spacing in the middle of the detector, Å.
    """
    few = curve.model_copy(update={"etas": 5, "pixels": (8, 8)})
    near = curve_voxels(few, reference).vectors[1:4, 3:5, 3:5]
    steps = [
        (near[2] - near[0]).mean(axis=(0, 1)) / 2,
        (near[:, 1] - near[:, 0]).mean(axis=(0, 1)),
        (near[:, :, 1] - near[:, :, 0]).mean(axis=(0, 1)),
    ]
    voxels = np.linalg.inv(np.stack(steps, axis=-1))
    place = (centre - near[1].mean(axis=(0, 1))) @ voxels.T
    spread = np.sqrt(width**2 @ (voxels**2).T)
    half = np.array([curve.etas, *curve.pixels]) / 2
    with np.errstate(invalid="ignore"):
        return np.asarray((ndtr((half - place) / spread) - ndtr((-half - place) / spread)).prod(-1))


def _most_seen(domain: npt.NDArray[np.integer], shares: Array) -> npt.NDArray[np.int32]:
    """Return the domain of most of the light of every point, 0 without any."""
    same = domain[..., :, None] == domain[..., None, :]
    most = (same * shares[..., None, :]).sum(axis=-1).argmax(axis=-1)
    found = np.take_along_axis(domain, most[..., None], axis=-1)[..., 0]
    return np.where(shares.sum(axis=-1) > 0, found, 0).astype(np.int32)
