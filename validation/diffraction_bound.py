"""What the photons of one point tell of its peak: Fisher information in the space of Q."""

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError
from echolith.forward.goniometer import lean_slopes
from echolith.forward.noise import PoissonCounting
from echolith.forward.rocking_curve import (
    RockingCurve,
    beam_points,
    curve_voxels,
    peak_vectors,
    scan_places,
)
from echolith.structures.strained_crystals import StrainedMap
from echolith.validation.information import Information

Array = npt.NDArray[np.float64]

POINTS = 24
"""Of the map, whose mean variance is the bound of a point."""


def diffraction_information(specimen: StrainedMap, *, curve: RockingCurve) -> Information:
    """Return the information on strain and tilt of a point; its counts, widths, background unknown.

    Parameters
    ----------
    specimen : StrainedMap
    curve : RockingCurve

    Raises
    ------
    BadInputError
        If no point of the scan shows the particle.
    """
    places = np.rint(scan_places(specimen, curve)[:, :, curve.etas // 2]).astype(int)
    y, x = places.reshape(-1, 2).T
    shown = np.flatnonzero(specimen.intensity[y, x] > 0)
    if not len(shown):
        raise BadInputError("no point of the scan shows the particle; make the scan larger")
    chosen = shown[np.linspace(0, len(shown) - 1, min(POINTS, len(shown))).astype(int)]
    voxels = curve_voxels(curve, specimen.reference)
    flat, volumes = voxels.vectors.reshape(-1, 3), voxels.volumes.ravel()
    variances = np.mean(
        [_variances(specimen, curve, flat, volumes, (y[k], x[k])) for k in chosen], axis=0
    )
    names = ("strain", "tilt_x", "tilt_y")
    return Information(
        names=names,
        matrix=np.diag(1 / variances),
        gradients={name: row[None] for name, row in zip(names, np.eye(3), strict=True)},
        units={"strain": "ppm", "tilt_x": "°", "tilt_y": "°"},
        notes=(
            f"Of one point, the mean variance over {len(chosen)} of them, of the one peak that the "
            "beam sees there.",
        ),
    )


def _seen(
    specimen: StrainedMap, curve: RockingCurve, place: tuple[int, int]
) -> tuple[Array, Array, float]:
    """Return centre, widths and intensity of the peak that a beam sees, in Q and 1/Å."""
    offsets, weights = beam_points(curve, specimen)
    most = np.array(specimen.intensity.shape) - 1
    y, x = np.clip(np.rint(np.array(place) + offsets), 0, most).astype(int).T
    share = weights * specimen.intensity[y, x]
    intensity = float(share.sum())
    centres = peak_vectors(specimen.spacing[y, x], specimen.tilt[y, x])
    centre = share @ centres / intensity
    spread = share @ ((centres - centre) ** 2 + specimen.width[y, x] ** 2) / intensity
    return centre, np.sqrt(spread), intensity


def _variances(
    specimen: StrainedMap,
    curve: RockingCurve,
    vectors: Array,
    volumes: Array,
    place: tuple[int, int],
) -> Array:
    """Return the least variances of strain (ppm²) and of both tilts (degree²)."""
    centre, width, intensity = _seen(specimen, curve, place)
    away = (vectors - centre) / width
    shape = np.exp(-0.5 * (away**2).sum(axis=1)) * volumes
    shape /= (2 * np.pi) ** 1.5 * width.prod()
    peak = curve.counts * intensity * shape
    mean = peak + max(curve.background, 1e-6)
    slopes = np.concatenate(
        [
            peak[:, None] * away / width,
            peak[:, None] * (away**2 - 1) / width,
            shape[:, None],
            np.ones((len(mean), 1)),
        ],
        axis=1,
    )
    information = PoissonCounting().information(mean, slopes)
    unit = np.sqrt(np.diag(information))
    covariance = np.linalg.inv(information / unit[:, None] / unit) / unit[:, None] / unit
    length = np.linalg.norm(centre)
    direction = centre / length
    along = direction @ covariance[:3, :3] @ direction
    stretched = specimen.spacing[place] / specimen.reference
    slopes = lean_slopes(centre)
    across = np.diag(slopes @ covariance[:3, :3] @ slopes.T)
    return np.array([1e12 * along / length**2 * stretched**2, *across])
