"""Fourier transforms of one wave between the rows of its spectrum that are not empty and the plane.

Bits must repeat: FFTW's measured plans differ from run to run, so that its plans are estimated.
Estimated plans are as fast as measured ones where they do not work in place and the wave stays in
the cache: there twice as fast as SciPy's transforms, which are faster for all others.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyfftw
from scipy import fft

Wave = npt.NDArray[np.complex64]

IN_CACHE = 150 * 150
"""Points of the largest wave that FFTW transforms (measured)."""


class WaveTransforms(Protocol):
    """Buffers of one wave, and the transforms between them, none of them normalised."""

    bottom: Wave
    """Rows of the spectrum up to the empty ones, (low, nx), FFT order."""
    top: Wave
    """Rows behind the empty ones, (ny - high, nx)."""
    wave: Wave
    """In the plane, (ny, nx)."""

    def back(self) -> None:
        """Transform the rows of the spectrum into the plane; nothing else is kept."""

    def forward(self) -> None:
        """Transform the plane into the rows of the spectrum; nothing else is kept."""


def wave_transforms(gpts: tuple[int, int], *, low: int, high: int) -> WaveTransforms:
    """Return the transforms of waves of a size.

    Parameters
    ----------
    gpts : pair of int
        Rows and columns of the wave.
    low, high : int
        Where the empty rows of the spectrum begin and where they end, FFT order.
    """
    small = gpts[0] * gpts[1] <= IN_CACHE
    return (_Fftw if small else _Scipy)(gpts, low=low, high=high)


class _Fftw:
    def __init__(self, gpts: tuple[int, int], *, low: int, high: int) -> None:
        ny, nx = gpts
        rows = pyfftw.empty_aligned((low + ny - high, nx), dtype="complex64")
        mixed = pyfftw.empty_aligned(gpts, dtype="complex64")  # spectrum along y only
        self.wave = pyfftw.empty_aligned(gpts, dtype="complex64")
        self.bottom, self.top, self._empty = rows[:low], rows[low:], mixed[low:high]
        parts = [(self.bottom, mixed[:low]), (self.top, mixed[high:])]
        self._back = [
            *(_plan(part, there, 1, "FFTW_BACKWARD") for part, there in parts),
            _plan(mixed, self.wave, 0, "FFTW_BACKWARD"),
        ]
        self._forward = [
            _plan(self.wave, mixed, 0, "FFTW_FORWARD"),
            *(_plan(there, part, 1, "FFTW_FORWARD") for part, there in parts),
        ]

    def back(self) -> None:
        self._empty[...] = 0
        for execute in self._back:
            execute()

    def forward(self) -> None:
        for execute in self._forward:
            execute()


def _plan(source: Wave, target: Wave, axis: int, direction: str) -> Callable[[], Any]:
    flags = ("FFTW_ESTIMATE", "FFTW_DESTROY_INPUT")
    plan = pyfftw.FFTW(source, target, axes=(axis,), direction=direction, flags=flags)
    return plan.execute  # type: ignore[no-any-return, unused-ignore]


class _Scipy:
    def __init__(self, gpts: tuple[int, int], *, low: int, high: int) -> None:
        self.wave = np.empty(gpts, dtype=np.complex64)
        self.bottom, self.top = self.wave[:low], self.wave[high:]
        self._empty = self.wave[low:high]

    def back(self) -> None:
        self._empty[...] = 0
        for rows in (self.bottom, self.top):
            _in_place(fft.ifft, rows, 1)
        _in_place(fft.ifft, self.wave, 0)

    def forward(self) -> None:
        _in_place(fft.fft, self.wave, 0)
        for rows in (self.bottom, self.top):
            _in_place(fft.fft, rows, 1)


def _in_place(transform: Callable[..., Any], wave: Wave, axis: int) -> None:
    norm = "forward" if transform is fft.ifft else "backward"
    done = transform(wave, axis=axis, norm=norm, overwrite_x=True, workers=1)
    if not np.may_share_memory(done, wave):  # SciPy may overwrite, it does not promise to
        wave[...] = done
