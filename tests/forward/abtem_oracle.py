"""Brute force by abTEM: its own probe, potential and multislice on the whole cell of a specimen."""

from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from echolith.forward.acquisition import StemAcquisition
from echolith.forward.placement import scan_positions

FloatArray = npt.NDArray[np.float64]


def abtem_frames(
    atoms: Atoms, taken: StemAcquisition, *, gpts: tuple[int, int], slice_thickness: float
) -> tuple[FloatArray, FloatArray]:
    """Return expected counts (ny, nx, dy, dx) as stored, and the annular signal (ny, nx).

    Parameters
    ----------
    atoms : ase.Atoms
        Its cell, orthogonal, is the box; the pixel of the detector is a whole number of
        ``wavelength / side``.
    taken : StemAcquisition
        Coherent, without subpixels.
    gpts : pair of int
        Grid of the box, (y, x).
    slice_thickness : float
    """
    positions = np.asarray(scan_positions(taken.scan, np.asarray(atoms.cell))).reshape(-1, 2)
    intensity = _exit_intensity(atoms, taken, positions, gpts, slice_thickness)
    detector, haadf = taken.detector, taken.haadf
    sides = np.diag(np.asarray(atoms.cell))[1::-1]
    box_pixel = taken.beam.wavelength / sides * 1e3
    multiple = np.rint(np.array(detector.pixel_size) / box_pixel).astype(int)
    steps = [np.rint(np.fft.fftfreq(n, 1 / n)).astype(int) for n in gpts]
    angle = np.hypot(steps[0][:, None] * box_pixel[0], steps[1][None] * box_pixel[1])
    on_lattice = (steps[0] % multiple[0] == 0)[:, None] & (steps[1] % multiple[1] == 0)[None]
    inside = angle <= taken.beam.semiangle
    intensity *= taken.electrons_per_position * inside.sum() / (inside & on_lattice).sum()
    rows, columns = (
        (np.arange(n) - n // 2) * m for n, m in zip(detector.shape, multiple, strict=True)
    )
    frames = intensity[:, rows[:, None] % gpts[0], columns[None] % gpts[1]]
    if detector.transpose:
        frames = frames.swapaxes(1, 2)
    ring = np.zeros_like(inside)
    if haadf is not None:
        ring = on_lattice & (angle >= haadf.inner) & (angle < haadf.outer)
    return (
        frames.reshape(*taken.scan.shape, *frames.shape[1:]),
        intensity[:, ring].sum(axis=1).reshape(taken.scan.shape),
    )


def _exit_intensity(
    atoms: Atoms,
    taken: StemAcquisition,
    positions: npt.NDArray[np.floating],
    gpts: tuple[int, int],
    slice_thickness: float,
) -> FloatArray:
    """Return the share of the electrons at each point of the spectrum, (n, y, x), FFT order."""
    import abtem

    beam = taken.beam
    with abtem.config.set({"fft": "numpy", "device": "cpu", "precision": "float32"}):
        potential = abtem.Potential(
            atoms,
            gpts=gpts[::-1],
            slice_thickness=slice_thickness,
            projection="infinite",
            parametrization="lobato",
        ).build(lazy=False)
        incident: Any = abtem.Probe(
            energy=beam.energy,
            semiangle_cutoff=beam.semiangle,
            soft=False,
            extent=tuple(np.diag(np.asarray(atoms.cell))[:2]),
            gpts=gpts[::-1],
            aberrations={k: v for k, v in beam.aberrations.model_dump().items() if v},
        ).build(scan=abtem.CustomScan(positions), lazy=False)
        leaving: Any = incident.multislice(potential)
    before, after = (np.abs(np.fft.fft2(waves.array)) ** 2 for waves in (incident, leaving))
    share = after / before.sum(axis=(1, 2), keepdims=True)
    return np.asarray(share.transpose(0, 2, 1), dtype=np.float64)
