"""Is what a solver returned an estimate at all?"""

from collections.abc import Iterable

import xarray as xr


def check_estimate(
    estimate: object, *, quantities: Iterable[str], truth: xr.Dataset | None = None
) -> None:
    """Raise if it is not (to be written)."""
