"""Any probe positions, and any source, from a regular raster around them.

Where every position costs a multislice and the source is wide, a displaced scan has no regular
neighbours to average over. So a larger raster is simulated, finer than the band needs if not than
the scan, and every position is drawn from it (`echolith.forward.position_interpolation`).
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from echolith.forward.acquisition import Beam, Scan, StemAcquisition
from echolith.forward.position_interpolation import Interpolation, Values, band_kernel

FloatArray = npt.NDArray[np.float64]

FINER = 0.7
"""Step of the raster in units of ``lambda / (4 alpha)``, however fine the scan."""
TOLERANCE = 1e-4
"""Of the interpolation along one axis."""


@dataclass(frozen=True, kw_only=True)
class ResampledScan:
    """A regular raster, and where on it the positions of a displaced scan lie."""

    raster: Scan
    """Centred where the scan is."""
    pixels: FloatArray = field(repr=False)
    """Of each position, (..., ny, nx, 2) fractional (y, x) on the raster."""
    interpolation: Interpolation

    def needed(self, rows: slice) -> slice:
        """Return the rows of the raster that some rows of the scan are drawn from."""
        y = self.pixels[rows, ..., 0]
        reach = self.interpolation.y.reach
        first, last = int(np.floor(y.min())) + 1 - reach, int(np.floor(y.max())) + 1 + reach
        return slice(max(first, 0), min(last, self.raster.shape[0]))

    def rows(self, rows: slice, values: Values) -> Values:
        """Return some rows of the scan.

        Parameters
        ----------
        rows : slice
            Of the scan.
        values : array of float32, (rows needed, raster nx, data)

        Returns
        -------
        array of float32, (rows, nx, data)
        """
        pixels = self.pixels[rows] - np.array([self.needed(rows).start, 0])
        drawn = self.interpolation.frames(values, pixels.reshape(-1, 2))
        return drawn.reshape(*pixels.shape[:-1], -1)


def resampled_scan(
    beam: Beam, scan: Scan, displacements: FloatArray, *, tolerance: float = TOLERANCE
) -> ResampledScan:
    """Choose the raster for a displaced scan.

    Parameters
    ----------
    beam : Beam
        Its semiangle sets the band, its source spread is part of the interpolation.
    scan : Scan
    displacements : array, (..., ny, nx, 2)
        xy in the scan frame, Å.
    tolerance : float
        Of the interpolation along one axis.
    """
    limit = 2e-3 * beam.semiangle / beam.wavelength
    pitch = FINER / (2 * limit)
    kernel = band_kernel(limit * pitch, beam.source_spread / pitch, tolerance)
    half = [(n - 1) * step / 2 for n, step in zip(scan.shape, scan.step, strict=True)]
    y, x = (np.arange(n) * step for n, step in zip(scan.shape, scan.step, strict=True))
    meant = np.stack(np.broadcast_arrays(y[:, None] - half[0], x - half[1]), axis=-1)
    pixels = (meant + displacements[..., ::-1]) / pitch
    far = np.abs(pixels).reshape(-1, 2).max(axis=0)
    # As many positions each side of the middle one as reach beyond the farthest point.
    sides = [int(np.ceil(f)) + kernel.reach + 1 for f in far]
    return ResampledScan(
        raster=Scan(
            shape=(2 * sides[0] + 1, 2 * sides[1] + 1),
            step=(pitch, pitch),
            rotation=scan.rotation,
        ),
        pixels=pixels + np.array(sides),
        interpolation=Interpolation(y=kernel, x=kernel),
    )


def on_raster(acquisition: StemAcquisition, raster: Scan) -> StemAcquisition:
    """Return an acquisition on another raster, with as many electrons at each position."""
    step = acquisition.scan.step
    share = step[0] * step[1] / (raster.step[0] * raster.step[1])
    return acquisition.model_copy(update={"scan": raster, "dose": acquisition.dose * share})
