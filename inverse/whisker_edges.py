"""What the optics make of the profile along a whisker: base, whisker and vacuum, with fringes.

In one dimension: base and whisker shift the phase and take intensity away, edges are sharp, the
tip moves while a frame is taken. Phase shifts, losses and focus are the movie's own; the places of
both edges and the electrons per pixel are each frame's.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.forward.optics import aberration_phase, wavelength

Array = npt.NDArray[np.float64]

FINER = 3
"""Points along a pixel."""
MARGIN = 100.0
"""Å at both ends, so that no fringe comes in from the opposite one."""
COMMON = ("phase", "phase_growth", "loss", "loss_growth", "base_phase", "base_loss", "defocus")
"""Of all frames: phase (rad) and loss of the whisker at the middle of the movie and their growth
over it, the base's, and the defocus beyond the stated one in units of `FOCUS`."""
OWN = ("base", "tip", "electrons")
"""Of each frame: places of both edges (pixels), electrons per pixel."""
FOCUS = 1000.0
"""Å."""


@dataclass(frozen=True, kw_only=True)
class EdgeOptics:
    """The one-dimensional image of a profile.

    Attributes
    ----------
    start : float
        First point, pixels along the axis.
    transfer : array of complex64 (points,)
        Of the wave.
    focus : array of complex64 (points,)
        Logarithm of what `FOCUS` of defocus does to it.
    passed : array of float32 (points // 2 + 1,)
        Of intensities: vibration, pixels, camera.
    index, part : array (bins,)
        Point before each bin, and the part of the way to the next.
    """

    start: float
    transfer: npt.NDArray[np.complex64]
    focus: npt.NDArray[np.complex64]
    passed: npt.NDArray[np.float32]
    index: npt.NDArray[np.int64]
    part: Array

    @classmethod
    def of(cls, acquisition: HrtemAcquisition, place: Array, *, blur: float) -> "EdgeOptics":
        """Make it for bins at some places (pixels).

        Parameters
        ----------
        acquisition : HrtemAcquisition
        place : array (bins,)
        blur : float
            Of the bins, pixels.
        """
        pixel = acquisition.pixel
        margin = int(np.ceil(MARGIN / pixel))
        start = float(place[0]) - margin
        points = fft.next_fast_len(FINER * int(np.ceil(place[-1] - place[0] + 2 * margin)))
        k = fft.fftfreq(points, pixel / FINER)
        half = fft.rfftfreq(points, pixel / FINER)
        lam = wavelength(acquisition.energy)
        chi = aberration_phase(
            k, np.zeros_like(k), aberrations=acquisition.aberrations, energy=acquisition.energy
        )
        inside = lam * np.abs(k) <= 1e-3 * acquisition.semiangle
        response = acquisition.response
        spread = np.hypot(acquisition.image_spread, blur * pixel)
        passed = np.exp(-2 * (np.pi * spread * half) ** 2) * np.sinc(half * pixel)
        if any(response.point_spread):
            passed = passed * response.mtf(half * pixel, 1)
        away = FINER * (place - start)
        index = np.floor(away).astype(np.int64)
        return cls(
            start=start,
            transfer=np.where(inside, np.exp(-1j * chi), 0).astype(np.complex64),
            focus=(1j * np.pi * lam * FOCUS * k**2).astype(np.complex64),
            passed=passed.astype(np.float32),
            index=index,
            part=away - index,
        )

    def intensity(self, own: Array, common: Array, when: Array, ways: Array) -> Array:
        """Return the intensity in every bin by that of the vacuum, (frames, bins).

        Parameters
        ----------
        own : array (frames, 3)
            `OWN`.
        common : array (7,)
            `COMMON`.
        when : array (frames,)
            From -1/2 (first frame) to 1/2 (last).
        ways : array (frames, moments)
            Of the tip while the frame is taken, pixels from its place.
        """
        # Of a point that an edge cuts the mean of the wave counts, not that of its phase.
        whisker = np.exp((1j * common[0] - common[2] / 2) + (1j * common[1] - common[3] / 2) * when)
        behind = np.exp(1j * common[4] - common[5] / 2)
        points = self.start + np.arange(len(self.transfer)) / FINER
        transfer = self.transfer * np.exp(common[6] * self.focus)
        base = np.clip((own[:, :1] - points) * FINER + 0.5, 0, 1)
        total = np.zeros((len(own), len(self.passed)), dtype=np.complex64)
        for way in ways.T:
            tip = np.clip((own[:, 1:2] + way[:, None] - points) * FINER + 0.5, 0, 1)
            wave = np.maximum(tip - base, 0) * (whisker[:, None] - 1) + (1 + base * (behind - 1))
            wave = wave.astype(np.complex64)
            image = fft.ifft(fft.fft(wave, axis=1) * transfer, axis=1)
            total += fft.rfft(image.real**2 + image.imag**2, axis=1)
        smooth = fft.irfft(total * (self.passed / ways.shape[1]), n=len(points), axis=1)
        low, high = smooth[:, self.index], smooth[:, self.index + 1]
        return np.asarray(np.maximum(low + (high - low) * self.part, 1e-3), dtype=np.float64)
