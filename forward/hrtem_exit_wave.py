"""The wave behind a specimen lit by a plane wave, by multislice.

Transmission ``exp(i sigma V)`` and propagation ``exp(-i pi lambda dz k²)`` with abTEM's conventions
(Kirkland, *Advanced Computing in Electron Microscopy*, 2nd ed., eq. 6.92); scattering factors of
Lobato and Van Dyck (Acta Cryst. A70 (2014) 636). Thermal motion damps the potential by its
Debye-Waller factor ``exp(-2 pi² u² k²)``: the mean over configurations of weak scatterers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.special import i0

from echolith.errors import BadInputError
from echolith.forward.diffraction_box import antialias
from echolith.forward.optics import interaction_constant, wavelength
from echolith.forward.projected_potential import check_specimen, slice_count, slice_of_atoms

if TYPE_CHECKING:
    from ase import Atoms

Wave = npt.NDArray[np.complex64]
Array = npt.NDArray[np.float64]

SPREAD = 12
"""Points of the grid along each axis that an atom is spread over ..."""
SHARPNESS = 0.6 * np.pi * SPREAD
"""... by a Kaiser-Bessel window: 1e-5 of exact sums at 0.9 of the grid's largest frequency, far
less below (Beatty et al., IEEE Trans. Med. Imaging 24 (2005) 799)."""


@dataclass(frozen=True, kw_only=True)
class ExitWave:
    """A wave behind the specimen, of intensity 1 where there was none.

    Attributes
    ----------
    values : array of complex64, (ny, nx)
    sampling : (float, float)
        Of rows and columns, Å.
    energy : float
        eV.
    """

    values: Wave
    sampling: tuple[float, float]
    energy: float


def exit_wave(
    atoms: "Atoms",
    *,
    gpts: tuple[int, int],
    energy: float,
    slice_thickness: float = 2.0,
    displacements: Mapping[str, float] | None = None,
) -> ExitWave:
    """Take a plane wave through a specimen.

    Parameters
    ----------
    atoms : ase.Atoms
        Beam along +z in an upright box, which repeats laterally.
    gpts : (int, int)
        Points of the wave along y and x.
    energy : float
        eV.
    slice_thickness : float
        Largest, Å.
    displacements : mapping of str to float, optional
        Root mean square thermal displacement of an element along one axis, Å; 0 where left out.

    Raises
    ------
    BadInputError
        If the specimen is empty, tilted or has atoms outside.
    """
    check_specimen(atoms, slice_thickness)
    cell = np.asarray(atoms.cell)
    if abs(cell[0, 1]) + abs(cell[1, 0]) > 1e-6:
        raise BadInputError(
            f"the specimen's cell {cell[:2, :2].tolist()} Å is skewed; expected a rectangle in x, y"
        )
    sampling = (float(cell[1, 1]) / gpts[0], float(cell[0, 0]) / gpts[1])
    ky, kx = (
        np.asarray(fft.fftfreq(n, d), dtype=np.float64) for n, d in zip(gpts, sampling, strict=True)
    )
    k2 = ky[:, None] ** 2 + kx[None] ** 2
    slices = slice_count(atoms, slice_thickness)
    step = float(cell[2, 2]) / slices
    passed = antialias(ky, kx, max(sampling))
    kernel = (np.exp(-1j * np.pi * wavelength(energy) * step * k2) * passed).astype(np.complex64)
    project = _Projection(atoms, gpts=gpts, sampling=sampling, displacements=displacements or {})
    labels = slice_of_atoms(atoms, slices)
    sigma = np.float32(interaction_constant(energy))
    passed = passed.astype(np.float32)
    wave = np.ones(gpts, dtype=np.complex64)
    for n in range(slices):
        phase = sigma * project(labels == n)
        grating = fft.fft2(np.cos(phase) + np.complex64(1j) * np.sin(phase))
        wave = fft.ifft2(fft.fft2(wave * fft.ifft2(grating * passed)) * kernel)
    return ExitWave(values=wave, sampling=sampling, energy=energy)


class _Projection:
    """Projected potential of some atoms: the inverse transform of f(k) times their phases.

    Phases at all frequencies come from atoms spread over the grid by a window, over the window's
    own transform.
    """

    def __init__(
        self,
        atoms: "Atoms",
        *,
        gpts: tuple[int, int],
        sampling: tuple[float, float],
        displacements: Mapping[str, float],
    ) -> None:
        from abtem.parametrizations import LobatoParametrization

        self.gpts = gpts
        self.pixels = atoms.positions[:, 1::-1] / np.array(sampling)
        self.symbols = np.array(list(atoms.symbols))
        k2 = (
            fft.fftfreq(gpts[0], sampling[0])[:, None] ** 2
            + fft.rfftfreq(gpts[1], sampling[1]) ** 2
        )
        window = np.outer(
            _window_transform(fft.fftfreq(gpts[0])), _window_transform(fft.rfftfreq(gpts[1]))
        )
        lobato: Any = LobatoParametrization()
        self.factors = {
            symbol: (
                lobato.projected_scattering_factor(symbol)(k2)
                * np.exp(-2 * (np.pi * displacements.get(symbol, 0.0)) ** 2 * k2)
                / (sampling[0] * sampling[1] * window)
            ).astype(np.float32)
            for symbol in map(str, np.unique(self.symbols))
        }

    def __call__(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        spectrum = np.zeros((self.gpts[0], self.gpts[1] // 2 + 1), dtype=np.complex64)
        for symbol, factor in self.factors.items():
            mine = self.pixels[chosen & (self.symbols == symbol)]
            if len(mine):
                spectrum += (factor * fft.rfft2(self._spread(mine))).astype(np.complex64)
        return np.asarray(fft.irfft2(spectrum, s=self.gpts), dtype=np.float32)

    def _spread(self, pixels: Array) -> Array:
        """Return atoms at pixels (n, 2) yx, each as a window on the grid, which repeats."""
        first = np.floor(pixels).astype(int) - SPREAD // 2 + 1
        index = first[:, :, None] + np.arange(SPREAD)
        away = 2 * (index - pixels[:, :, None]) / SPREAD
        weight = i0(SHARPNESS * np.sqrt(np.maximum(1 - away**2, 0))) / i0(SHARPNESS)
        ny, nx = self.gpts
        places = (index[:, 0, :, None] % ny) * nx + index[:, 1, None] % nx
        values = weight[:, 0, :, None] * weight[:, 1, None]
        # In double precision: what the window damps most is enlarged most.
        grid = np.bincount(places.ravel(), weights=values.ravel(), minlength=ny * nx)
        return np.asarray(grid.reshape(ny, nx), dtype=float)


def _window_transform(frequency: Array) -> Array:
    """Return the transform of the window at frequencies in cycles per point."""
    root = np.sqrt(SHARPNESS**2 - (np.pi * SPREAD * frequency) ** 2)
    return np.asarray(SPREAD * np.sinh(root) / (root * i0(SHARPNESS)))
