"""Single-sideband ptychography (SSB), in radians.

With ``psi = A exp(-i chi)`` and frames ``I(K, R)`` of a weak phase object, abTEM's signs,

    G(K, Q) = (1/N) sum_R I(K, R) exp(-2 pi i Q.R) = i n phi(Q) Gamma(K, Q),
    Gamma(K, Q) = psi*(K) psi(K - Q) - psi(K) psi*(K + Q),

where n is the mean number of electrons per position on the detector and ``sum_K |A(K)|² = 1`` over
its pixels. Least squares over the pixels of the bright-field disc give

    phi(Q) = sum_K G Gamma* / (i n sum_K |Gamma|²)      for 0 < |Q| < 2 alpha / lambda.

Γ is the sum over the sample points of each pixel (`PixelDetector.subpixels`) of a hard-edged
aperture, the same model as the simulator's.
"""

import numpy as np
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import Aberrations
from echolith.forward.optics import aperture_radius
from echolith.inverse.overlap_geometry import (
    aberration_turns,
    bright_field_disc,
    half_plane,
)
from echolith.inverse.overlap_kernels import project_overlaps
from echolith.inverse.phase_spectrum import reconstruction
from echolith.inverse.plain_overlaps import is_plain, project_plain_overlaps
from echolith.inverse.scan_raster import raster_of
from echolith.inverse.scan_transform import (
    Block,
    Streaming,
    Sums,
    checked_counts,
    project_spectra,
)

MINIMUM_OVERLAP = 5e-3
"""Default cut-off: at the paper's 22.4 mrad on 64 pixels, a dozen pixels of the disc."""


def ssb(
    measurement: xr.Dataset,
    *,
    aberrations: Aberrations | None = None,
    minimum_overlap: float = MINIMUM_OVERLAP,
    streaming: Streaming | None = None,
) -> xr.Dataset:
    """Reconstruct the projected phase by single-sideband ptychography.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (scan_y, scan_x, detector_y, detector_x), numpy or dask, and the attribute
        ``acquisition``; where the raster is another than meant, ``raster`` too
        (`echolith.inverse.scan_raster.with_raster`). The field is taken as periodic.
    aberrations : Aberrations, optional
        In place of those of the metadata.
    minimum_overlap : float
        Spatial frequencies whose ``transfer`` is below are dropped (least-pixel cut-off).
    streaming : Streaming, optional
        Memory and threads.

    Returns
    -------
    xarray.Dataset
        ``phase`` (scan_y, scan_x), rad, zero mean, flat inside the support, at the positions of
        the scan, whose coordinates are those meant;
        ``transfer`` (q_y, q_x): ``sum_K |Gamma|² / sum_K |A|⁴``, the area of the two sidebands in
        units of the disc, zero beyond ``2 alpha / lambda``;
        ``weight`` (q_y, q_x), 1/rad²: inverse of ``<|delta phi(Q)|²>`` for Poisson counts, with
        ``phi(Q) = mean_R phase exp(-2 pi i Q.R)``; zero outside the support.
        Partial coherence is not divided out: source and focal spread blur the phase.

    Raises
    ------
    BadInputError
        For missing metadata, wrong shapes, NaN or negative counts, empty frames, or a field
        without a spatial frequency that is transferred.

    References
    ----------
    Rodenburg, McCallum & Nellist, Ultramicroscopy 48 (1993) 304; Pennycook et al.,
    Ultramicroscopy 151 (2015) 160, eq. 5.
    """
    if not 0 <= minimum_overlap < 1:
        raise BadInputError(
            f"minimum_overlap = {minimum_overlap:g}; expected a fraction of the disc, 0 to below 1"
        )
    counts, acquisition = checked_counts(measurement)
    beam, scan, raster = acquisition.beam, acquisition.scan, raster_of(measurement)
    radius = aperture_radius(beam)
    plane = half_plane(scan, 2 * radius, raster=raster)
    disc = bright_field_disc(acquisition, rotation=plane.rotation)
    polynomial = aberration_turns(
        beam.aberrations if aberrations is None else aberrations,
        wavelength=beam.wavelength,
        rotation=plane.rotation,
    )

    plain = is_plain(disc.samples, polynomial)

    def project(spectra: Block, pixels: slice, sums: Sums) -> None:
        if plain:
            project_plain_overlaps(
                spectra, disc.kx[pixels, 0], disc.ky[pixels, 0],
                plane.rows, plane.qy, plane.starts, plane.counts, plane.offsets,
                plane.step, radius**2, sums,
            )  # fmt: skip
            return
        project_overlaps(
            spectra, disc.kx[pixels], disc.ky[pixels], disc.samples[pixels],
            plane.rows, plane.qy, plane.starts, plane.counts, plane.offsets,
            plane.step, radius**2, polynomial, sums,
        )  # fmt: skip

    result = project_spectra(
        counts, disc, plane, project, channels=4, streaming=streaming or Streaming()
    )
    positions = scan.shape[0] * scan.shape[1]
    real, imaginary, square, noise = result.sums
    transfer = square / float((disc.samples.astype(float) ** 2).sum())
    support = transfer > max(minimum_overlap, 0)
    support[(plane.row == 0) & (plane.column == 0)] = False
    # In the kernel G lacks 1/N and Gamma is per sample point, 1/area of the vacuum intensity.
    scale = result.electrons * positions / disc.area * np.where(support, square, 1)
    return reconstruction(
        (imaginary - 1j * real) / scale,
        transfer=transfer,
        variance=noise / scale**2,
        support=support,
        plane=plane,
        acquisition=acquisition,
        raster=raster,
        attrs={"method": "ssb", "minimum_overlap": minimum_overlap},
    )
