"""The lattice of a layered oxide in a phase image, from its spectrum and a nominal cell.

No column need be named: orientation and lengths maximise the power at the reciprocal lattice of
the nominal cell, ``sum_g w_g |phi(g)|²``, and the origin is where the image correlates best with
columns of the nominal contents. So it also holds where a reconstructed surface has mixed up the
brightnesses of columns.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.optimize import minimize

from echolith.inverse.projected_lattice import ProjectedLattice
from echolith.inverse.whitening import scan_step

Array = npt.NDArray[np.float64]

NOMINAL = np.array([[2.4685, 0.0], [-1.6755, 4.7427], [0.8198, 1.0654]])
"""A, C and O of Li2MnO3, Å; Strobel & Lambert-Andron, J. Solid State Chem. 75 (1988) 90."""
CONTENTS = (1.7, 0.3, 0.9, 0.9)
"""Scattering factors of M, Li, O, O at 0.7 1/Å."""
LARGEST = 1.0
"""1/Å; of the reciprocal lattice vectors used."""
STRAIN = 0.04
"""Scale of the deviation from the nominal cell that is looked for."""


def search_lattice(phase: xr.DataArray) -> ProjectedLattice:
    """Find the lattice of a layered oxide along [010] in any orientation, also mirrored.

    Parameters
    ----------
    phase : xarray.DataArray
        (scan_y, scan_x), rad, with coordinates in Å.

    Returns
    -------
    ProjectedLattice
        In the scan frame; the sign of all vectors is arbitrary.
    """
    phase = phase.transpose("scan_y", "scan_x")
    image = _windowed(np.asarray(phase.values, dtype=float))
    step = scan_step(phase)
    y, x = (np.arange(n) * d for n, d in zip(image.shape, step, strict=True))
    best: tuple[float, Array] | None = None
    for mirror in (1.0, -1.0):
        cell = NOMINAL * [1.0, mirror]
        basis = _oriented(image, x, y, cell)
        lattice = np.vstack([basis, cell[2] @ np.linalg.inv(cell[:2]) @ basis])
        height, origin = _placed(image, x, y, lattice)
        if best is None or height > best[0]:
            best = height, np.vstack([lattice, origin])
    assert best is not None
    a, c, o, origin = best[1]
    start = np.array([float(phase["scan_x"].values[0]), float(phase["scan_y"].values[0])])
    return ProjectedLattice(a=a, c=c, o=o, origin=origin + start)


def _windowed(image: Array) -> Array:
    rows, columns = (np.hanning(n + 2)[1:-1] for n in image.shape)
    return np.asarray((image - image.mean()) * rows[:, None] * columns)


def _indices(cell: Array) -> Array:
    """Return (h, k) of one half of the reciprocal lattice up to `LARGEST`."""
    h, k = (n.ravel() for n in np.meshgrid(np.arange(-6, 7), np.arange(-6, 7)))
    index = np.stack([h, k], axis=-1)
    length = np.hypot(*(index @ np.linalg.inv(cell[:2]).T).T)
    half = (h > 0) | ((h == 0) & (k > 0))
    return np.asarray(index[(length < LARGEST) & half], dtype=float)


def _spectrum(image: Array, x: Array, y: Array, q: Array) -> npt.NDArray[np.complex128]:
    rows = np.exp(-2j * np.pi * np.outer(q[:, 1], y)) @ image
    return np.asarray((rows * np.exp(-2j * np.pi * np.outer(q[:, 0], x))).sum(axis=1))


def _oriented(image: Array, x: Array, y: Array, cell: Array) -> Array:
    """Return the basis whose reciprocal lattice has the greatest power."""
    index = _indices(cell)
    weight = np.abs(_structure(index, cell[2] @ np.linalg.inv(cell[:2]))) ** 2
    weight /= weight.max()

    def power(basis: Array) -> float:
        q = index @ np.linalg.inv(basis).T
        return float(weight @ np.abs(_spectrum(image, x, y, q)) ** 2)

    def turned(angle: float) -> Array:
        c, s = np.cos(angle), np.sin(angle)
        return np.asarray(cell[:2] @ np.array([[c, s], [-s, c]]))

    angles = np.deg2rad(np.arange(0, 180, 1.0))
    powers = np.array([power(turned(angle)) for angle in angles])
    results: list[tuple[float, Array]] = []
    for n in np.argsort(powers)[::-1][:4]:
        first = turned(angles[n])

        def loss(strain: Array, first: Array = first) -> float:
            return -power(first @ (np.eye(2) + strain.reshape(2, 2)))

        simplex = np.vstack([np.zeros(4), STRAIN / 2 * np.eye(4)])
        found = minimize(
            loss,
            np.zeros(4),
            method="Nelder-Mead",
            options={"initial_simplex": simplex, "xatol": 1e-4, "fatol": 1e-6 * powers.max()},
        )
        strained = first @ (np.eye(2) + np.asarray(found.x).reshape(2, 2))
        results.append((-float(found.fun), np.asarray(strained)))
    return np.asarray(max(results, key=lambda one: one[0])[1])


def _structure(index: Array, oxygen: Array) -> npt.NDArray[np.complex128]:
    """Return the structure factor of the nominal contents, origin on M."""
    at = np.array([[0.0, 0.0], [0.0, 0.5], oxygen, -oxygen])
    return np.asarray(np.exp(-2j * np.pi * index @ at.T) @ np.array(CONTENTS))


def _placed(image: Array, x: Array, y: Array, lattice: Array) -> tuple[float, Array]:
    """Return the best correlation with the nominal columns, and the origin that has it."""
    index = _indices(lattice[:2])
    q = index @ np.linalg.inv(lattice[:2]).T
    factor = _structure(index, lattice[2] @ np.linalg.inv(lattice[:2]))
    # Form factors fall off; without them the few strong reflections would not decide alone.
    damped = factor / (1 + 4 * (q**2).sum(axis=1))
    product = _spectrum(image, x, y, q) * damped.conj()
    u, v = (n.ravel() for n in np.meshgrid(np.arange(0, 1, 0.02), np.arange(0, 1, 0.02)))
    shift = np.stack([u, v], axis=-1)
    heights = (np.exp(2j * np.pi * shift @ index.T) @ product).real
    best = int(heights.argmax())
    norm = np.sqrt((np.abs(damped) ** 2).sum())
    return float(heights[best] / norm), shift[best] @ lattice[:2]
