"""4D-STEM of one thin phase object, exactly: for tests and for teaching."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import Beam, StemAcquisition, rotate
from echolith.forward.diffraction_box import sample_angles
from echolith.forward.optics import aperture, aperture_radius

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]


def phase_object_mean(
    phase: npt.NDArray[np.floating],
    *,
    acquisition: StemAcquisition,
    pixel_size: float | tuple[float, float] | None = None,
    weak: bool = False,
    dtype: npt.DTypeLike = np.float32,
) -> xr.Dataset:
    """Return the expected counts of a thin object ``O(r) = exp(i phase)`` that fills the scan.

    ``psi(K, R) = sum_Q O(Q) psi(K - Q) exp(-2 pi i (K - Q).R)`` is summed directly at every sample
    point of the detector, which need not lie on any grid of the object.

    Parameters
    ----------
    phase : array, (my, mx)
        rad, in the scan frame: pixel (0, 0) is scan position (0, 0). One period of a periodic
        object, as large as the scanned field; any number of pixels.
    acquisition : StemAcquisition
        Coherent: source and focal spread must be 0. The annular detector is not simulated.
    pixel_size : float or pair (y, x), optional
        Å; checked against the field.
    weak : bool
        Keep the first order in the phase only (for exact tests of linear methods; counts may then
        be negative).
    dtype : float32 or float64
        Of the counts; the sums are always in double precision.

    Returns
    -------
    xarray.Dataset
        ``counts`` (scan_y, scan_x, detector_y, detector_x). In vacuum they add up to
        ``acquisition.electrons_per_position``.

    Raises
    ------
    BadInputError
        If the phase is not a finite 2-D array over the scanned field, or the beam is partially
        coherent.
    """
    values = np.asarray(phase, dtype=np.float64)
    _check(values, acquisition, pixel_size)
    beam, scan = acquisition.beam, acquisition.scan
    spectrum = 1j * values if weak else np.exp(1j * values)
    q = _Frequencies(np.fft.fft2(spectrum) / values.size, acquisition)
    counts = np.zeros((*scan.shape, *acquisition.detector.shape), dtype=dtype)
    bins = acquisition.detector.subpixels
    angles = [a * 1e-3 / beam.wavelength for a in sample_angles(acquisition)]
    inside = aperture(angles[1][None, :], angles[0][:, None], beam=beam) != 0
    scale = acquisition.electrons_per_position / inside.sum()
    intensity = q.weak_intensity if weak else q.intensity
    for y, row in enumerate(counts.transpose(2, 3, 0, 1)):
        for x, pixel in enumerate(row):
            pixel[:] = scale * sum(
                intensity(kx, ky)
                for ky in angles[0][y * bins[0] : (y + 1) * bins[0]]
                for kx in angles[1][x * bins[1] : (x + 1) * bins[1]]
            )
    return _dataset(counts, acquisition)


class _Frequencies:
    """The object's spectrum on its own frequencies, and how they fold onto the scan's."""

    def __init__(self, spectrum: ComplexArray, acquisition: StemAcquisition) -> None:
        scan = acquisition.scan
        self.beam, self.shape, self.spectrum = acquisition.beam, scan.shape, spectrum.ravel()
        m = [np.fft.fftfreq(n, 1 / n).astype(int) for n in spectrum.shape]
        qy, qx = np.meshgrid(m[0] / scan.extent[0], m[1] / scan.extent[1], indexing="ij")
        # The specimen frame, where the detector and the aberrations are.
        self.q = rotate(np.stack([qx, qy], axis=-1).reshape(-1, 2), scan.rotation)
        folded = (m[0] % scan.shape[0])[:, None] * scan.shape[1] + (m[1] % scan.shape[1])[None]
        self.folded = folded.ravel()

    def _image(self, chosen: npt.NDArray[np.int64], values: ComplexArray) -> ComplexArray:
        """Return sum_Q values exp(2 pi i Q.R) on the scan positions R."""
        where, size = self.folded[chosen], self.shape[0] * self.shape[1]
        plane = np.bincount(where, values.real, size) + 1j * np.bincount(where, values.imag, size)
        return np.asarray(np.fft.ifft2(plane.reshape(self.shape)) * size)

    def _probe(self, kx: FloatArray, ky: FloatArray) -> ComplexArray:
        return np.asarray(aperture(kx, ky, beam=self.beam), dtype=np.complex128)

    def _reaching(self, kx: float, ky: float) -> npt.NDArray[np.int64]:
        distance = np.hypot(kx - self.q[:, 0], ky - self.q[:, 1])
        return np.flatnonzero(distance <= aperture_radius(self.beam))

    def intensity(self, kx: float, ky: float) -> FloatArray:
        """Return |psi(K, R)|² over the scan, in units of the bright-field disc in vacuum."""
        chosen = self._reaching(kx, ky)
        probe = self._probe(kx - self.q[chosen, 0], ky - self.q[chosen, 1])
        return np.asarray(np.abs(self._image(chosen, self.spectrum[chosen] * probe)) ** 2)

    def weak_intensity(self, kx: float, ky: float) -> FloatArray:
        """Return the intensity to first order; the spectrum is that of i phase."""
        here = complex(self._probe(np.array(kx), np.array(ky)))
        if not here:
            return np.zeros(self.shape)
        chosen = self._reaching(kx, ky)
        probe = self._probe(kx - self.q[chosen, 0], ky - self.q[chosen, 1])
        wave = self._image(chosen, self.spectrum[chosen] * probe)
        return np.asarray(1 + 2 * (np.conj(here) * wave).real)


def _check(
    phase: FloatArray,
    acquisition: StemAcquisition,
    pixel_size: float | tuple[float, float] | None,
) -> None:
    if phase.ndim != 2 or not phase.size or not np.isfinite(phase).all():
        raise BadInputError(
            f"phase of shape {phase.shape} is not a finite image; expected (y, x) in rad"
        )
    beam: Beam = acquisition.beam
    if beam.focal_spread or beam.source_spread:
        raise BadInputError(
            f"focal_spread = {beam.focal_spread:g} Å, source_spread = {beam.source_spread:g} Å; "
            "the thin phase object is simulated coherently; set both to 0"
        )
    if pixel_size is None:
        return
    pair = pixel_size if isinstance(pixel_size, tuple) else (pixel_size, pixel_size)
    covered = tuple(n * size for n, size in zip(phase.shape, pair, strict=True))
    if not np.allclose(covered, acquisition.scan.extent, rtol=1e-6, atol=0):
        raise BadInputError(
            f"the phase covers {covered[0]:g} × {covered[1]:g} Å, the scan "
            f"{acquisition.scan.extent[0]:g} × {acquisition.scan.extent[1]:g} Å; expected one "
            "period as large as the scanned field; change pixel_size or the scan"
        )


def _dataset(counts: npt.NDArray[np.floating], acquisition: StemAcquisition) -> xr.Dataset:
    scan, detector = acquisition.scan, acquisition.detector
    rows, columns = detector.angles()
    if detector.transpose:
        counts, rows, columns = counts.swapaxes(2, 3), columns, rows
    return xr.Dataset(
        {
            "counts": (
                ("scan_y", "scan_x", "detector_y", "detector_x"),
                np.ascontiguousarray(counts),
                {"units": "e"},
            )
        },
        coords={
            "scan_y": ("scan_y", np.arange(scan.shape[0]) * scan.step[0], {"units": "Å"}),
            "scan_x": ("scan_x", np.arange(scan.shape[1]) * scan.step[1], {"units": "Å"}),
            "detector_y": ("detector_y", rows, {"units": "mrad"}),
            "detector_x": ("detector_x", columns, {"units": "mrad"}),
        },
        attrs={
            "acquisition": acquisition.model_dump_json(),
            "engine": "thin phase object",
            "engine_error": 0.0,
        },
    )
