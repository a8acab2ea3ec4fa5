"""What projections tell of their own faults: a cut field of view, missing tilts; handedness."""

import warnings

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.tilts import Tilts

BORDER = 0.2
"""Mean optical density of the outermost columns, in units of that of all, that is much."""
GAP = 3.5
"""Largest gap between tilts in units of the median step."""


def warn_of_border(density: npt.NDArray[np.floating]) -> None:
    """Warn where the specimen, or a wrong incident intensity, reaches the borders along x."""
    columns = np.abs(density.mean(axis=(0, 1), dtype=np.float64))
    border = float(columns[[0, -1]].max())
    if border > BORDER * columns.mean() and border > 0.01:
        warnings.warn(
            f"the optical density at the borders of x is {border:.2g}, "
            f"{border / columns.mean():.0%} of the mean: the field of view is cut off, or the "
            "incident counts are wrong; what lies outside is smeared over the volume; widen the "
            "field or correct the incident counts",
            BadInputWarning,
            stacklevel=2,
        )


def warn_of_gaps(tilts: Tilts) -> None:
    """Warn where tilts are missing inside the range."""
    angles = np.sort(tilts.angles)
    steps = np.diff(angles)
    worst = int(steps.argmax())
    if steps[worst] > GAP * np.median(steps):
        warnings.warn(
            f"no tilts between {angles[worst]:g}° and {angles[worst + 1]:g}°, where others are "
            f"{np.median(steps):.3g}° apart: {steps[worst] / 180:.0%} of all directions are not "
            "measured; what varies along them is blurred",
            BadInputWarning,
            stacklevel=2,
        )


def check_rotation_sign(estimate: xr.DataArray, reference: xr.DataArray) -> float:
    """Compare a volume with a reference and with its mirror image in z.

    Projections with all tilts negated are those of the mirrored specimen, so that no tilt series
    tells the sign of its rotation by itself. A volume of known handedness does: one of another
    energy, of another series, or of markers.

    Parameters
    ----------
    estimate, reference : xarray.DataArray, (z, y, x)

    Returns
    -------
    float
        Correlation with the reference less that with its mirror image.

    Raises
    ------
    BadInputError
        If the mirror image fits better.
    """
    volume, other = (field.transpose("z", "y", "x").values for field in (estimate, reference))
    own, mirrored = (
        float(np.corrcoef(volume.ravel(), field.ravel())[0, 1]) for field in (other, other[::-1])
    )
    if mirrored > own:
        raise BadInputError(
            f"the volume correlates by {mirrored:.3f} with the mirror image of the reference in z "
            f"and by {own:.3f} with itself; the tilts have the wrong sign: negate them (tilt turns "
            "the specimen right-handed about +y)"
        )
    return own - mirrored
