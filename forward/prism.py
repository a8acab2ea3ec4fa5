"""PRISM without interpolation: probes as sums of the aperture's plane waves.

``psi_K(R) = sum_k A(k) exp(-i chi(k)) exp(-2 pi i k R) S_k(K)`` (Ophus, Adv. Struct. Chem. Imag.
3 (2017) 13, eq. 7). One box holds the whole scan; every plane wave k of the aperture on its
reciprocal grid is propagated once, and only the detected K of its exit wave are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.forward.acquisition import Beam
from echolith.forward.diffraction_box import DiffractionBox, Readout
from echolith.forward.fixed_product import fixed_product
from echolith.forward.multislice import POINTS_AT_ONCE, Propagation, Slices
from echolith.forward.optics import aperture

FloatArray = npt.NDArray[np.float64]
ScatteringMatrix = npt.NDArray[np.complex64]
"""S_k(K), (plane waves, detected points): the detector's samples, then the annulus."""

PROBES_AT_ONCE = 64


def plane_waves(beam: Beam, box: DiffractionBox) -> npt.NDArray[np.int64]:
    """Return row and column in the box's spectrum of every plane wave of the aperture, (n, 2)."""
    inside = aperture(box.frequencies(1)[None], box.frequencies(0)[:, None], beam=beam) != 0
    return np.argwhere(inside)


def detected_points(readout: Readout) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return rows and columns in the spectrum of all detected points: samples, then annulus."""
    rows, columns = np.meshgrid(readout.rows, readout.columns, indexing="ij")
    ring = np.argwhere(readout.annulus)
    return (
        np.concatenate([rows.ravel(), ring[:, 0]]),
        np.concatenate([columns.ravel(), ring[:, 1]]),
    )


def scattering_rows(
    waves: npt.NDArray[np.int64], centre: FloatArray, *, slices: Slices, readout: Readout
) -> ScatteringMatrix:
    """Propagate some plane waves and keep what is detected.

    Parameters
    ----------
    waves : array of int, (n, 2)
        As `plane_waves` gives them.
    centre : array, (2,)
        xy of the middle of the box, Å.
    slices : Slices
    readout : Readout

    Returns
    -------
    array of complex64, (n, points)
    """
    band = slices.rows
    rows, columns = detected_points(readout)
    where = np.searchsorted(band, rows)
    corner = slices.corners(centre[None])
    matrix = np.empty((len(waves), len(where)), dtype=np.complex64)
    batch = -(-POINTS_AT_ONCE // int(np.prod(slices.box.gpts)))
    propagate = Propagation(slices)
    for start in range(0, len(waves), batch):
        some = waves[start : start + batch]
        spectra = np.zeros((len(some), len(band), slices.box.gpts[1]), dtype=np.complex64)
        spectra[np.arange(len(some)), np.searchsorted(band, some[:, 0]), some[:, 1]] = 1
        exit_waves = propagate(spectra, np.repeat(corner, len(some), axis=0))
        matrix[start : start + batch] = exit_waves[:, where, columns]
    return matrix


@dataclass(frozen=True, kw_only=True)
class Prism:
    """The scattering matrix of one configuration of the specimen."""

    matrix: ScatteringMatrix
    waves: npt.NDArray[np.int64]
    corner: FloatArray
    """xy of the first pixel of the box, Å."""
    readout: Readout

    def frames(
        self, positions: FloatArray, beams: Sequence[tuple[float, Beam]]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return stored frames (n, dy, dx) and annular counts (n,) of probes at (n, 2) xy, Å."""
        parts = [
            self._some(positions[start : start + PROBES_AT_ONCE], beams)
            for start in range(0, len(positions), PROBES_AT_ONCE)
        ]
        frames, haadf = zip(*parts, strict=True)
        return np.concatenate(frames), np.concatenate(haadf)

    def _some(
        self, positions: FloatArray, beams: Sequence[tuple[float, Beam]]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        box = self.readout.box
        ky, kx = box.frequencies(0)[self.waves[:, 0]], box.frequencies(1)[self.waves[:, 1]]
        x, y = (positions - self.corner).T
        ramps = np.exp(-2j * np.pi * (np.outer(x, kx) + np.outer(y, ky)))
        intensity = np.zeros((len(positions), self.matrix.shape[1]), dtype=np.float32)
        for weight, beam in beams:
            probe = aperture(kx, ky, beam=beam) / np.sqrt(len(self.waves))
            amplitude = fixed_product((ramps * probe).astype(np.complex64), self.matrix)
            intensity += np.float32(weight) * (amplitude.real**2 + amplitude.imag**2)
        rows, columns = len(self.readout.rows), len(self.readout.columns)
        samples, ring = intensity[:, : rows * columns], intensity[:, rows * columns :]
        haadf = ring.sum(axis=1, dtype=np.float64) * self.readout.scale
        frames = self.readout.frame(samples.reshape(-1, rows, columns))
        return frames, haadf.astype(np.float32)


def matrix_bytes(readout: Readout, beam: Beam) -> int:
    """Return the memory of one scattering matrix, estimated from areas."""
    py, px = readout.box.pixel
    waves = np.pi * beam.semiangle**2 / (py * px)
    return int(8 * waves * (readout.rows.size * readout.columns.size + readout.annulus.sum()))
