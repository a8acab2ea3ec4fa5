"""Resolution from two halves of a tilt series, each reconstructed by itself.

Every other tilt goes to the other half. Their shells correlate as far as the specimen outweighs the
noise; thresholds in bits already know that both halves together hold more. What both halves have in
common without being true (missing tilts, a blur, smoothing by the same prior) correlates as well.

References
----------
Yu et al., Nat. Commun. 9, 921 (2018); van Heel & Schatz, J. Struct. Biol. 151, 250 (2005).
"""

from collections.abc import Callable

import numpy as np
import xarray as xr

from echolith.errors import BadInputError
from echolith.inverse.resolution import ShellCorrelation, shell_correlation

CONE = 30.0
"""Degrees: half opening of the cones about the axes."""
FEWEST = 8
"""Tilts that can be halved."""


def half_series(measurement: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the tilts of even and of odd rank in angle.

    Raises
    ------
    BadInputError
        If there are fewer than eight.
    """
    count = measurement.sizes.get("tilt", 0)
    if count < FEWEST:
        raise BadInputError(
            f"{count} tilts; expected {FEWEST} or more, to be halved; use the whole series"
        )
    order = np.argsort(measurement["tilt"].values)
    first, second = (measurement.isel(tilt=np.sort(order[half::2])) for half in (0, 1))
    return first, second


def half_series_resolution(
    measurement: xr.Dataset,
    solver: Callable[[xr.Dataset], xr.DataArray],
    *,
    options: ShellCorrelation | None = None,
) -> xr.Dataset:
    """Reconstruct two halves of a tilt series and correlate them, in all and in some directions.

    Parameters
    ----------
    measurement : xarray.Dataset
        With a dimension ``tilt``.
    solver : callable
        ``solver(measurement) -> volume`` (z, y, x).
    options : ShellCorrelation, optional
        Its cone and axis are not used.

    Returns
    -------
    xarray.Dataset
        As from `shell_correlation`, over ``direction``: "all", and cones of 30° about "z" (the
        beam at no tilt), "y" (the tilt axis) and "x".

    Raises
    ------
    BadInputError
        If there are too few tilts, or the volumes hold nothing.
    """
    volumes = [solver(half).transpose("z", "y", "x") for half in half_series(measurement)]
    return directed_correlation(volumes[0], volumes[1], options=options)


def directed_correlation(
    first: xr.DataArray, second: xr.DataArray, *, options: ShellCorrelation | None = None
) -> xr.Dataset:
    """Return the shell correlation of two volumes (z, y, x) over ``direction``."""
    chosen = options or ShellCorrelation()
    everywhere = {"cone": 90.0, "axis": 0}
    cones = [everywhere, *({"cone": CONE, "axis": axis} for axis in range(3))]
    each = [
        shell_correlation(first, second, options=chosen.model_copy(update=cone)) for cone in cones
    ]
    return xr.concat(each, xr.Variable("direction", ["all", "z", "y", "x"]))
