"""Zone axes of a cubic crystal: the frame in which the beam runs along [uvw].

A zone axis points towards the electron source, along -z (as in `project_structure`).
x runs along the shortest reflection of the body-centred lattice across it, a {110} where there is
one; so the rotation of an image is the angle of that reflection from x towards y.
"""

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError

Array = npt.NDArray[np.float64]
Zone = tuple[int, int, int]


def zone_reflections(zone_axis: Zone, *, largest: int = 6) -> npt.NDArray[np.int64]:
    """Return the reflections of a body-centred lattice across a zone axis, the shortest first.

    Parameters
    ----------
    zone_axis : (int, int, int)
    largest : int
        Of the indices h, k, l.

    Returns
    -------
    array of int, (reflections, 3)
        With h + k + l even; both of each Friedel pair.

    Raises
    ------
    BadInputError
        If the zone axis is not three integers, or all are 0.
    """
    axis = np.array(zone_axis)
    if axis.shape != (3,) or axis.dtype.kind != "i" or not axis.any():
        raise BadInputError(f"zone_axis = {zone_axis}; expected three integers, not all 0")
    line = np.arange(-largest, largest + 1)
    hkl = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    across = (hkl @ axis == 0) & (hkl.sum(axis=1) % 2 == 0) & hkl.any(axis=1)
    hkl = hkl[across]
    # Of equals the one with the largest first index leads, so that the frame is unique.
    order = np.lexsort([*(-hkl[:, ::-1].T), (hkl**2).sum(axis=1)])
    return np.asarray(hkl[order], dtype=np.int64)


def zone_frame(zone_axis: Zone) -> Array:
    """Return the rotation from crystal axes to (x, y, z), rows x, y and z.

    Examples
    --------
    >>> (zone_frame((0, 0, 1)) @ [1, 1, 0] / 2**0.5).round(6)
    array([1., 0., 0.])
    """
    x = zone_reflections(zone_axis)[0] / 1.0
    z = -np.array(zone_axis, dtype=float)
    x, z = x / np.linalg.norm(x), z / np.linalg.norm(z)
    return np.array([x, np.cross(z, x), z])


def projected_reflections(zone_axis: Zone, *, spacing: float, rotation: float) -> Array:
    """Return the reflections of an image, (n, 2) xy, 1/Å: one of each Friedel pair, shortest first.

    Parameters
    ----------
    zone_axis : (int, int, int)
    spacing : float
        Of the shortest reflection, Å.
    rotation : float
        Of the shortest reflection, degree from x towards y.
    """
    hkl = zone_reflections(zone_axis)
    places = (hkl @ zone_frame(zone_axis).T)[:, :2] / (spacing * np.linalg.norm(hkl[0]))
    half = places[hkl @ np.array([10_000, 100, 1]) > 0]
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    return np.asarray(half @ np.array([[c, s], [-s, c]]))


def rotation_period(zone_axis: Zone) -> float:
    """Return the angle (degree) by which a zone's reflections turn onto themselves.

    Examples
    --------
    >>> [rotation_period(zone) for zone in ((0, 0, 1), (1, 1, 0), (1, 1, 1))]
    [90.0, 180.0, 60.0]
    """
    hkl = zone_reflections(zone_axis, largest=4)
    places = (hkl @ zone_frame(zone_axis).T)[:, :2]
    # Index cubes are not round: only what every turn keeps inside them is compared.
    inner = places[np.hypot(*places.T) <= 4]
    for period in (60.0, 90.0):
        turn = np.radians(period)
        c, s = np.cos(turn), np.sin(turn)
        turned = inner @ np.array([[c, s], [-s, c]])
        distance = np.linalg.norm(turned[:, None] - inner[None], axis=-1).min(axis=1)
        if (distance < 1e-6).all():
            return period
    return 180.0
