"""Write measurements for other programs."""

from pathlib import Path

import xarray as xr

from echolith.forward.powder_writers import write_powder
from echolith.forward.stack_writer import write_stack


def write_measurement(measurement: xr.Dataset, path: Path) -> None:
    """Write a powder pattern or rocking curves of a raster; the suffix says how.

    Parameters
    ----------
    measurement : xarray.Dataset
    path : Path
        ``.nxs``, ``.h5`` for rocking curves (`write_stack`), else as `write_powder` says.

    Raises
    ------
    BadInputError
        If the suffix is none of these or the measurement of another kind.
    """
    if path.suffix.lower() in (".nxs", ".h5"):
        write_stack(measurement, path)
    else:
        write_powder(measurement, path)
