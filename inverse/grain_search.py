"""Where in an image a crystal shows its reflections, and how likely noise shows as much.

Within a Gaussian window the power at a reflection over its expectation in noise, q, is
exponentially distributed. The log likelihood ratio of free amplitudes is ``T = sum_g q_g``; its
largest value over rotations exceeds x with a probability of at most

    Q(n, x) + R sqrt(m / pi) x^(n - 1/2) exp(-x) / Gamma(n),   m = 2 pi² sigma² g²,

n reflections, R the range of rotations, sigma of the window: a process of chi squares with 2 n
degrees of freedom crosses x upwards so often (Davies, Biometrika 74 (1987) 33, eq. 3.4).

A facet, or a lattice of another crystal, can put any power into one reflection. So what is left
without the strongest one, n - 1 for n, must be as unlikely too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.special import gammaincc, gammaln

from echolith.inverse.grain_templates import Template

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

CUT = 3.5
"""Standard deviations of a window's transform kept to each side."""
TABLE = 2000
"""Points between which probabilities of many heights are interpolated."""
STEP = 0.5
"""Of rotations, in standard deviations of a peak at the outermost reflection."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The least likely place: template, rotation (degree), place (y, x) in Å, log probability."""

    template: Template
    rotation: float
    place: tuple[float, float]
    window: float
    log_probability: float


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is looked for, and in windows of which standard deviations (Å)."""

    templates: Sequence[Template]
    windows: Sequence[float]
    pixel: float

    def log_probabilities(self, image: Array, level: tuple[Array, Array]) -> tuple[Array, Found]:
        """Return a map (y, x) of log probabilities of noise, and the least likely place.

        Parameters
        ----------
        image : array, (ny, nx)
            Without its mean.
        level : (array, array)
            Radii (1/Å) and expected power of the noise, of a window of unit sum of squares.
        """
        spectrum = fft.fft2(image)
        best, lowest = None, np.zeros(image.shape)
        trials = np.log(len(self.templates) * len(self.windows))
        for window in self.windows:
            for one in self.templates:
                coarse, angles = _logs(spectrum, one, window, self.pixel, level)
                coarse = np.minimum(coarse + trials, 0.0)
                n, i, j = np.unravel_index(int(coarse.argmin()), coarse.shape)
                here = Found(
                    template=one,
                    rotation=float(angles[n]),
                    place=(
                        float(i * image.shape[0] * self.pixel / coarse.shape[1]),
                        float(j * image.shape[1] * self.pixel / coarse.shape[2]),
                    ),
                    window=window,
                    log_probability=float(coarse[n, i, j]),
                )
                if best is None or here.log_probability < best.log_probability:
                    best = here
                lowest = np.minimum(lowest, _spread(coarse.min(axis=0), image.shape))
        assert best is not None
        return lowest, best


def log_noise_probability(
    heights: Array, *, reflections: int, largest: float, window: float, degrees: float
) -> Array:
    """Return logarithms of the probability that noise exceeds ``T`` at any rotation.

    Parameters
    ----------
    heights : array
        T.
    reflections : int
        Summed in T.
    largest : float
        Length of the outermost of them, 1/Å.
    window : float
        Standard deviation, Å.
    degrees : float
        Range of rotations.
    """
    if heights.size > TABLE:
        table = np.linspace(0, np.sqrt(heights.max()), TABLE) ** 2
        told = log_noise_probability(
            table, reflections=reflections, largest=largest, window=window, degrees=degrees
        )
        return np.asarray(np.interp(heights, table, told))
    x = np.maximum(heights, 1e-9)
    rate = np.radians(degrees) * np.sqrt(2 * np.pi) * window * largest
    with np.errstate(divide="ignore"):
        alone = np.log(gammaincc(reflections, x))
    crossings = np.log(rate) + (reflections - 0.5) * np.log(x) - x - gammaln(reflections)
    # Left of its peak the number of crossings says nothing: all rotations may lie above.
    crossings = np.where(x < reflections - 0.5, 0.0, crossings)
    return np.asarray(np.minimum(np.logaddexp(alone, crossings), 0.0))


def _logs(
    spectrum: Complex, one: Template, window: float, pixel: float, level: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Return log probabilities (rotations, y, x) on a coarse grid, and the rotations."""
    lengths = np.hypot(*one.g.T)
    largest = float(lengths.max())
    step = np.degrees(STEP / (2 * np.pi * window * largest))
    angles = np.arange(0, one.period, one.period / np.ceil(one.period / step))
    expected = np.asarray(np.interp(lengths, *level))
    places = np.stack([one.at(float(angle)) for angle in angles])
    power = _powers(spectrum, places.reshape(-1, 2), window, pixel)
    power = power.reshape(len(angles), len(lengths), *power.shape[1:])
    q = power / expected[:, None, None]
    total, strongest = q.sum(axis=1), q.max(axis=1)
    tell = partial(log_noise_probability, largest=largest, window=window, degrees=one.period)
    logs = tell(total, reflections=len(lengths))
    if len(lengths) > 1:
        logs = np.maximum(logs, tell(total - strongest, reflections=len(lengths) - 1))
    return logs, angles


def _powers(spectrum: Complex, places: Array, window: float, pixel: float) -> Array:
    """Return the power in windows all over the image at places (n, 2) xy of its transform."""
    steps = np.array([1 / (n * pixel) for n in spectrum.shape])
    sharp = 1 / (2 * np.pi * window)
    half = np.ceil(CUT * sharp / steps).astype(int)
    rows, columns = (np.arange(-n, n + 1) for n in half)
    # A Gaussian of unit sum of squares has this transform.
    norm = 2 * np.sqrt(np.pi) * window / pixel
    scale = norm * (2 * rows[-1] + 1) * (2 * columns[-1] + 1) / spectrum.size
    middle = np.rint(places[:, ::-1] / steps).astype(int)
    ky, kx = (middle[:, :1] + rows, middle[:, 1:] + columns)
    along_y, along_x = (
        np.exp(-0.5 * ((k * step - place[:, None]) / sharp) ** 2)
        for k, step, place in zip((ky, kx), steps, places.T[::-1], strict=True)
    )
    cut = spectrum[ky[:, :, None] % spectrum.shape[0], kx[:, None] % spectrum.shape[1]]
    # Where the cut begins turns phases alone.
    part = scale * fft.ifft2(cut * along_y[:, :, None] * along_x[:, None])
    return np.asarray(part.real**2 + part.imag**2)


def _spread(coarse: Array, shape: tuple[int, ...]) -> Array:
    """Return a coarse map on the pixels of a frame, each the nearest place's value."""
    rows, columns = (
        np.rint(np.arange(n) * m / n).astype(int) % m
        for n, m in zip(shape, coarse.shape, strict=True)
    )
    return np.asarray(coarse[rows[:, None], columns])
