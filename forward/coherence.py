"""Partial coherence of the probe: focal spread and source spread.

Focal spread is a sum over defoci by Gauss-Hermite quadrature. Source spread is a convolution of
the measurement over probe positions; the measurement as a function of position is band limited
to ``2 alpha / lambda``, so a filter along the two scan axes is exact where the step resolves it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.errors import BadInputError
from echolith.forward.acquisition import Beam, Scan, StemAcquisition

FloatArray = npt.NDArray[np.float64]

FOCAL_ERROR = 1e-6
"""Largest error of the quadrature in the intensity at any position, relative to the mean."""
MOST_DEFOCI = 256
SOURCE_ERROR = 1e-5
"""Largest error of the filter's response inside the passband, where the step resolves it."""
LONGEST_FILTER = 32
"""Positions each side."""


def focal_beams(beam: Beam) -> list[tuple[float, Beam]]:
    """Return coherent beams and the weights their intensities are added with.

    The standard deviation is over C10. Two waves of the aperture dephase by at most
    ``phi = pi alpha² sigma / lambda`` per standard deviation; the number of nodes is the least
    that brings the quadrature of ``cos(phi x)`` within 1e-6 of ``exp(-phi²/2)``.

    Parameters
    ----------
    beam : Beam

    Returns
    -------
    list of (weight, Beam)
        Without focal and source spread; weights sum to 1.

    Raises
    ------
    BadInputError
        If the spread would need more than 256 defoci.
    """
    coherent = beam.model_copy(update={"focal_spread": 0.0, "source_spread": 0.0})
    if beam.focal_spread == 0:
        return [(1.0, coherent)]
    phi = np.pi * (beam.semiangle * 1e-3) ** 2 * beam.focal_spread / beam.wavelength
    x, weights = _hermite(float(phi))
    c10 = beam.aberrations.C10 + beam.focal_spread * x
    return [
        (
            float(weight),
            coherent.model_copy(
                update={"aberrations": beam.aberrations.model_copy(update={"C10": float(value)})}
            ),
        )
        for weight, value in zip(weights, c10, strict=True)
    ]


def _hermite(phi: float) -> tuple[FloatArray, FloatArray]:
    phases = np.linspace(0, phi, 50 + int(40 * phi))
    wanted = np.exp(-(phases**2) / 2)
    for count in range(max(1, int(0.3 * phi**2)), MOST_DEFOCI + 1):
        x, weights = np.polynomial.hermite_e.hermegauss(count)
        weights = weights / weights.sum()
        if np.abs(np.cos(np.outer(phases, x)) @ weights - wanted).max() < FOCAL_ERROR:
            return x, weights
    raise BadInputError(
        f"focal_spread dephases the rim of the aperture by {phi:.3g} rad and would need more than "
        f"{MOST_DEFOCI} defoci; use a smaller focal_spread (standard deviation, Å) or semiangle"
    )


@dataclass(frozen=True, kw_only=True)
class SourceFilter:
    """A symmetric filter along one scan axis."""

    taps: FloatArray
    """Response at 0, 1, 2 … positions; the two-sided sum is 1."""
    error: float
    """Largest deviation of the response from the Gaussian's inside the passband."""

    @property
    def margin(self) -> int:
        """Positions needed beyond each end of the scan."""
        return len(self.taps) - 1

    def apply(self, values: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
        """Filter along an axis; the result is shorter by the margin at each end."""
        moved = np.moveaxis(values, axis, 0)
        n, m = len(moved) - 2 * self.margin, self.margin
        total = moved[m : m + n] * np.float32(self.taps[0])
        for shift in range(1, m + 1):
            both = moved[m + shift : m + shift + n] + moved[m - shift : m - shift + n]
            total += both * np.float32(self.taps[shift])
        return np.moveaxis(total, 0, axis)


def source_filter(beam: Beam, step: float) -> SourceFilter:
    """Return the filter for the source spread along a scan axis.

    Fitted by least squares to ``exp(-2 pi² sigma² q²)`` for ``|q| <= 2 alpha / lambda`` (up to
    the Nyquist frequency where the step is too coarse), exactly 1 at q = 0.

    Parameters
    ----------
    beam : Beam
    step : float
        Between positions, Å.
    """
    if beam.source_spread == 0:
        return SourceFilter(taps=np.ones(1), error=0.0)
    limit = min(2e-3 * beam.semiangle / beam.wavelength * step, 0.5)
    cycles = np.linspace(0, limit, 201)
    wanted = np.exp(-2 * (np.pi * beam.source_spread / step * cycles) ** 2)
    best = SourceFilter(taps=np.ones(1), error=float(np.abs(1 - wanted).max()))
    for margin in range(1, LONGEST_FILTER + 1):
        waves = 2 * (np.cos(2 * np.pi * np.outer(cycles, np.arange(1, margin + 1))) - 1)
        sides = np.linalg.lstsq(waves, wanted - 1, rcond=1e-7)[0]
        taps = np.concatenate([[1 - 2 * sides.sum()], sides])
        error = float(np.abs(waves @ sides + 1 - wanted).max())
        if error < best.error:
            best = SourceFilter(taps=taps, error=error)
        if best.error < SOURCE_ERROR:
            break
    return best


def with_margins(acquisition: StemAcquisition, margins: tuple[int, int]) -> StemAcquisition:
    """Return the same acquisition by a coherent beam with extra positions around the scan.

    The scan keeps its centre, so the positions inside are unchanged.
    """
    shape = (
        acquisition.scan.shape[0] + 2 * margins[0],
        acquisition.scan.shape[1] + 2 * margins[1],
    )
    scan = Scan(shape=shape, step=acquisition.scan.step, rotation=acquisition.scan.rotation)
    beam = acquisition.beam.model_copy(update={"focal_spread": 0.0, "source_spread": 0.0})
    return acquisition.model_copy(update={"scan": scan, "beam": beam})
