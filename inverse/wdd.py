"""Wigner distribution deconvolution (WDD) without a transform of the data per Q, in radians.

For each Q the data are the object's ``D(K, Q) = O(K + Q) O*(K)`` convolved along K with the
probe's ``Gamma_A(K, Q) = psi(K - Q) psi*(K)``. With the transform along K written ^, the object is
read off at K = 0, where ``D = O(Q) O*(0)`` is i phi(Q) for a weak phase:

    Y(Q) = mean_r [ Gamma_A^* / (|Gamma_A^|² + epsilon N_A²) ] G^(r, Q) = sum_K w(Q, K) G(K, Q)

by Parseval, with ``N_A = sum_K |A|²``, the largest value |Gamma_A^| can take. ``w`` depends on the
probe only. Y(-Q)* sees phi(Q) through the other sideband; for a real phase ``[w(Q) - w*(-Q)] / 2``
takes both. Its response to ``G = i Gamma`` (unit spectrum) is WDD's own transfer, which is divided
out:

    phi(Q) = sum_K w G / (i n sum_K w Gamma).

Bright-field pixels only; beyond the disc a weak phase object gives nothing.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft

from echolith.errors import BadInputError
from echolith.forward.acquisition import Aberrations, StemAcquisition, rotate
from echolith.forward.diffraction_box import sample_angles
from echolith.forward.optics import aperture_radius
from echolith.inverse.overlap_geometry import (
    Disc,
    FloatArray,
    HalfPlane,
    aberration_turns,
    bright_field_disc,
    half_plane,
)
from echolith.inverse.overlap_kernels import fill_wigner, overlap_transfer, project_weights
from echolith.inverse.phase_spectrum import reconstruction
from echolith.inverse.plain_overlaps import fill_both_sidebands, is_plain, plain_transfer
from echolith.inverse.scan_raster import ScanRaster, raster_of
from echolith.inverse.scan_transform import (
    PIXELS_PER_TASK,
    Block,
    Streaming,
    Sums,
    checked_counts,
    project_spectra,
)

MINIMUM_TRANSFER = 5e-3
"""Default floor of the transfer in units of its largest value."""
FREQUENCIES_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class WddWeights:
    """WDD's weights w(Q, K) for one probe, scan raster and detector; reusable for a series.

    ``values`` (pixels, 1 or 2, Q): real and, with aberrations, imaginary part; ``transfer`` (Q,):
    response to a unit spectrum.
    """

    acquisition: StemAcquisition
    aberrations: Aberrations
    epsilon: float
    disc: Disc
    plane: HalfPlane
    raster: ScanRaster | None
    values: Block
    transfer: npt.NDArray[np.complex128]


def wdd_weights(
    acquisition: StemAcquisition,
    epsilon: float = 1e-2,
    *,
    aberrations: Aberrations | None = None,
    raster: ScanRaster | None = None,
    streaming: Streaming | None = None,
) -> WddWeights:
    """Compute WDD's weights for a probe; they need no data.

    Parameters
    ----------
    acquisition : StemAcquisition
        Beam, scan and detector; the dose does not matter.
    epsilon : float
        Regularisation in units of the largest |Gamma_A^|², above 0.
    aberrations : Aberrations, optional
        In place of those of the acquisition.
    raster : ScanRaster, optional
        In place of that of the acquisition.
    streaming : Streaming, optional
        Threads.

    Raises
    ------
    BadInputError
        If epsilon is not above 0.
    """
    if not 0 < epsilon < np.inf:
        raise BadInputError(
            f"epsilon = {epsilon:g}; expected above 0, in units of the largest squared Wigner "
            "function; 1e-2 at 1e4 e/Å², 1e-3 for clean data"
        )
    chosen = acquisition.beam.aberrations if aberrations is None else aberrations
    radius = aperture_radius(acquisition.beam)
    plane = half_plane(acquisition.scan, 2 * radius, raster=raster)
    disc = bright_field_disc(acquisition, rotation=plane.rotation)
    wigner = _Wigner(acquisition, chosen, disc, epsilon)
    values = np.empty((disc.pixels.size, wigner.parts, plane.size), np.float32)
    qx, qy = plane.vectors()
    q = rotate(np.stack([qx, qy], axis=-1), plane.rotation)
    polynomial = aberration_turns(
        chosen, wavelength=acquisition.beam.wavelength, rotation=plane.rotation
    )

    def fill(batch: slice) -> None:
        wigner.fill_both_sidebands(q[batch], values[:, :, batch])

    plain = is_plain(disc.samples, polynomial)

    def respond(pixels: slice) -> Sums:
        sums = np.zeros((2, plane.size))
        if plain:
            plain_transfer(
                values[pixels, 0], disc.kx[pixels, 0], disc.ky[pixels, 0],
                plane.qy, plane.starts, plane.counts, plane.offsets, plane.step, radius**2, sums[0],
            )  # fmt: skip
            return sums
        overlap_transfer(
            values[pixels], disc.kx[pixels], disc.ky[pixels], disc.samples[pixels],
            plane.qy, plane.starts, plane.counts, plane.offsets, plane.step, radius**2,
            polynomial, sums,
        )  # fmt: skip
        return sums

    with ThreadPoolExecutor((streaming or Streaming()).threads()) as pool:
        list(pool.map(fill, _slices(plane.size, FREQUENCIES_AT_ONCE)))
        parts = pool.map(respond, _slices(disc.pixels.size, PIXELS_PER_TASK))
        sums = sum(parts, np.zeros((2, plane.size)))
    return WddWeights(
        acquisition=acquisition,
        aberrations=chosen,
        epsilon=epsilon,
        disc=disc,
        plane=plane,
        raster=raster,
        values=values,
        transfer=np.asarray(sums[0] + 1j * sums[1]),
    )


def wdd(
    measurement: xr.Dataset,
    *,
    epsilon: float = 1e-2,
    aberrations: Aberrations | None = None,
    minimum_transfer: float = MINIMUM_TRANSFER,
    weights: WddWeights | None = None,
    streaming: Streaming | None = None,
) -> xr.Dataset:
    """Reconstruct the projected phase by Wigner distribution deconvolution.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `echolith.inverse.ssb.ssb`.
    epsilon : float
        Regularisation in units of the largest |Gamma_A^|².
    aberrations : Aberrations, optional
        In place of those of the metadata.
    minimum_transfer : float
        Spatial frequencies whose ``transfer`` is below are dropped.
    weights : WddWeights, optional
        From `wdd_weights` for the same beam, scan raster and detector; then ``epsilon`` and
        ``aberrations`` are theirs.
    streaming : Streaming, optional
        Memory and threads.

    Returns
    -------
    xarray.Dataset
        ``phase``, ``transfer``, ``weight`` as `echolith.inverse.ssb.ssb` returns them;
        ``transfer`` is the modulus of WDD's response in units of its largest value.

    Raises
    ------
    BadInputError
        For missing metadata, wrong shapes, NaN or negative counts, empty frames, or weights of
        another probe.

    References
    ----------
    Rodenburg & Bates, Phil. Trans. R. Soc. A 339 (1992) 521, eqs 15-22; Li et al.,
    Ultramicroscopy 147 (2014) 187.
    """
    if not 0 <= minimum_transfer < 1:
        raise BadInputError(
            f"minimum_transfer = {minimum_transfer:g}; expected a fraction of the largest "
            "transfer, 0 to below 1"
        )
    counts, acquisition = checked_counts(measurement)
    raster = raster_of(measurement)
    if weights is None:
        weights = wdd_weights(
            acquisition, epsilon, aberrations=aberrations, raster=raster, streaming=streaming
        )
    elif raster != weights.raster or not _same_probe(acquisition, weights.acquisition):
        raise BadInputError(
            "the weights are for another beam, scan raster or detector than the measurement's; "
            "make them with wdd_weights(acquisition_of(measurement), raster=raster_of(measurement))"
        )
    plane, values = weights.plane, weights.values

    def project(spectra: Block, pixels: slice, sums: Sums) -> None:
        project_weights(spectra, values[pixels], plane.rows, plane.counts, plane.offsets, sums)

    result = project_spectra(
        counts, weights.disc, plane, project, channels=3, streaming=streaming or Streaming()
    )
    real, imaginary, noise = result.sums
    size = np.abs(weights.transfer)
    size[(plane.row == 0) & (plane.column == 0)] = 0
    transfer = size / size.max() if size.any() else size
    support = transfer > max(minimum_transfer, 0)
    # In the kernel G lacks 1/N and Gamma is per sample point, 1/area of the vacuum intensity.
    positions = acquisition.scan.shape[0] * acquisition.scan.shape[1]
    scale = result.electrons * positions / weights.disc.area
    response = scale * np.where(support, weights.transfer, 1)
    return reconstruction(
        (imaginary - 1j * real) / response,
        transfer=transfer,
        variance=noise / np.abs(response) ** 2,
        support=support,
        plane=plane,
        acquisition=acquisition,
        raster=raster,
        attrs={
            "method": "wdd",
            "epsilon": weights.epsilon,
            "minimum_transfer": minimum_transfer,
        },
    )


class _Wigner:
    """The probe's Wigner function at some Q, on the detector's pixels, and its deconvolution."""

    def __init__(
        self, acquisition: StemAcquisition, aberrations: Aberrations, disc: Disc, epsilon: float
    ) -> None:
        beam, detector = acquisition.beam, acquisition.detector
        self.shape, self.bins = detector.shape, detector.subpixels
        self.ky, self.kx = (a * 1e-3 / beam.wavelength for a in sample_angles(acquisition))
        self.square = aperture_radius(acquisition.beam) ** 2
        self.polynomial = aberration_turns(aberrations, wavelength=beam.wavelength)
        self.parts = 2 if self.polynomial.size else 1
        self.floor = np.float32(epsilon * disc.area**2)
        self.grid = disc.grid
        iy, ix = np.divmod(disc.grid, self.shape[1])
        opposite = [(2 * (n // 2) - i) % n for i, n in zip((iy, ix), self.shape, strict=True)]
        self.opposite = opposite[0] * self.shape[1] + opposite[1]

    def fill_both_sidebands(self, q: FloatArray, out: Block) -> None:
        """Write [w(Q) - w*(-Q)] / 2 at the disc's pixels to out (pixels, 1 or 2, batch)."""
        weights = self._weights(q)
        if self.parts == 1:
            # Without aberrations Gamma_A(K, -Q) = Gamma_A(-K, Q), and all is real.
            fill_both_sidebands(weights, self.grid, self.opposite, out[:, 0])
            return
        other = self._weights(-q)
        pair = (weights[:, self.grid] - other[:, self.grid].conj()).T / 2
        out[:, 0], out[:, 1] = pair.real, pair.imag

    def _weights(self, q: FloatArray) -> npt.NDArray[Any]:
        """Return w(Q, K) = mean_r W(r) exp(-2 pi i K r) on the whole detector, flattened."""
        out = np.empty((len(q), *self.shape, self.parts), np.float32)
        fill_wigner(
            q[:, 0], q[:, 1], self.ky, self.kx, *self.bins, self.square, self.polynomial, out
        )
        if self.parts == 1:
            spectrum = fft.rfft2(out[..., 0])
            spectrum /= spectrum.real**2 + spectrum.imag**2 + self.floor
            weights = fft.irfft2(spectrum, s=self.shape)
        else:
            spectrum = fft.fft2(out.view(np.complex64)[..., 0])
            spectrum /= spectrum.real**2 + spectrum.imag**2 + self.floor
            weights = fft.ifft2(spectrum, overwrite_x=True).conj()
        return np.asarray(weights.reshape(len(q), -1))


def _slices(size: int, length: int) -> Iterator[slice]:
    return (slice(first, min(first + length, size)) for first in range(0, size, length))


def _same_probe(one: StemAcquisition, other: StemAcquisition) -> bool:
    return (one.beam, one.scan, one.detector) == (other.beam, other.scan, other.detector)
