"""Whole-frame shifts of a series, one frame after the other, by correlation.

Lattice images correlate at every lattice vector nearly alike. Of all shifts that correlate as well
as the best one within noise, the one nearest to where the drift so far leads is taken (at first:
nowhere), and the frame is marked as ambiguous; as undecided where the next is about as near.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import maximum_filter

from echolith.errors import BadInputError

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

BLUR = 0.4
"""Å. Standard deviation of the smoothing before correlation: that of a column's image."""
COARSE = 0.2
"""Å. Frames are binned to about this step before correlation."""
LEAST_OVERLAP = 0.25
"""Share of the field that two frames must have in common."""
CERTAIN = 6.0
"""Standard deviations of chance correlation that a peak must exceed: less than one in 1e5 in the
largest of fields."""
ALIKE = 4.0
"""Standard deviations by which correlations may differ and still count as alike."""
UNEQUAL = 0.06
"""Difference of correlations that drift within the frames makes: it wanders less over the part that
two frames share after a large shift, so that these correlate better. For rms wander d the loss is
``d² / 4 / (width² + BLUR²)``; this is for 0.3 Å."""
UNDECIDED = 2 / 3
"""Of the distance to the next fitting shift from where the drift leads: where the nearest is as far
as that, which is right is a matter of chance."""


class Shifts(NamedTuple):
    """Shift of every frame against the first (frame, 2) xy in Å, and whether others fit as well.

    ``undecided``: whether another that fits is about as near to where the drift leads.
    """

    shift: Array
    ambiguous: npt.NDArray[np.bool_]
    undecided: npt.NDArray[np.bool_]
    correlation: Array


def rigid_shifts(frames: Float32, step: tuple[float, float], *, largest: float) -> Shifts:
    """Find the shift of every frame.

    Parameters
    ----------
    frames : array of float32, (frame, ny, nx)
    step : pair of float
        Å, y and x.
    largest : float
        Å. Largest shift from one frame to the next that is looked for.

    Returns
    -------
    Shifts
        Shift u: what frame n shows at X the first shows at X + u. ``correlation`` is that of a
        frame and the one before, 1 for the first.

    Raises
    ------
    BadInputError
        If two frames have nothing in common within the largest shift.
    """
    small, coarse = _prepared(frames, step)
    shifts, velocity = [np.zeros(2)], np.zeros(2)
    ambiguous, undecided, heights = [False], [False], [1.0]
    for n in range(1, len(small)):
        peaks = _peaks(small[n - 1], small[n], coarse, largest)
        best = float(peaks.height.max(initial=0))
        if best < CERTAIN * peaks.noise:
            raise BadInputError(
                f"frames {n - 1} and {n} have no features in common: their best correlation within "
                f"{largest:g} Å is {best:.3f}, chance gives up to {CERTAIN * peaks.noise:.3f}; the "
                "drift is larger than the field or the frames show different areas; leave out the "
                "frame, or raise largest_shift"
            )
        margin = ALIKE * np.sqrt(2) * peaks.noise * (1 - best**2) + UNEQUAL
        alike = peaks.shift[peaks.height > best - margin]
        away = np.hypot(*(alike - velocity).T)
        move = alike[away.argmin()]
        nearest, *others = np.sort(away)
        ambiguous.append(len(others) > 0)
        undecided.append(bool(others) and bool(nearest > UNDECIDED * others[0]))
        heights.append(best)
        velocity = move
        shifts.append(shifts[-1] + move)
    return Shifts(np.array(shifts), np.array(ambiguous), np.array(undecided), np.array(heights))


class _Peaks(NamedTuple):
    shift: Array
    height: Array
    noise: float


def _prepared(frames: Float32, step: tuple[float, float]) -> tuple[Float32, tuple[float, float]]:
    """Bin, smooth and take off the mean of frames."""
    bins = [max(1, round(COARSE / d)) for d in step]
    count, ny, nx = frames.shape
    ny, nx = ny // bins[0], nx // bins[1]
    cut = frames[:, : ny * bins[0], : nx * bins[1]]
    small = cut.reshape(count, ny, bins[0], nx, bins[1]).mean(axis=(2, 4))
    coarse = (step[0] * bins[0], step[1] * bins[1])
    qy, qx = fft.fftfreq(ny, coarse[0]), fft.rfftfreq(nx, coarse[1])
    blur = np.exp(-2 * (np.pi * BLUR) ** 2 * (qy[:, None] ** 2 + qx**2)).astype(np.float32)
    smooth = fft.irfft2(fft.rfft2(small) * blur, s=(ny, nx))
    return np.asarray(smooth - smooth.mean(axis=(1, 2), keepdims=True), np.float32), coarse


def _peaks(first: Float32, second: Float32, step: tuple[float, float], largest: float) -> _Peaks:
    """Return maxima of the correlation of what two frames have in common, for every shift."""
    ny, nx = first.shape
    shape = (fft.next_fast_len(2 * ny, real=True), fft.next_fast_len(2 * nx, real=True))
    ones = np.ones_like(first)
    a, aa, b, bb, o = (fft.rfft2(x, s=shape) for x in (first, first**2, second, second**2, ones))

    def correlated(f: npt.NDArray[np.complex64], g: npt.NDArray[np.complex64]) -> Float32:
        return np.asarray(fft.irfft2(f * np.conj(g), s=shape))

    overlap = np.maximum(correlated(o, o), 1)
    energy = np.sqrt(np.maximum(correlated(aa, o), 0) * np.maximum(correlated(o, bb), 0))
    value = correlated(a, b) / np.maximum(energy, 1e-6 * energy.max() + 1e-30)
    dy = fft.fftfreq(shape[0], 1 / shape[0])[:, None] * step[0]
    dx = fft.fftfreq(shape[1], 1 / shape[1])[None] * step[1]
    allowed = (np.hypot(dy, dx) <= largest) & (overlap >= LEAST_OVERLAP * ny * nx)
    correlation, value = value, np.where(allowed, value, -1)
    radius = [2 * max(1, round(BLUR / d)) + 1 for d in step]
    top = allowed & (value == maximum_filter(value, radius, mode="wrap"))
    row, column = np.nonzero(top)
    (up, rise), (right, gain) = (_vertex(correlation, row, column, axis) for axis in (0, 1))
    shift = np.stack([dx[0, column] + right * step[1], dy[row, 0] + up * step[0]], axis=-1)
    height = correlation[row, column] + rise + gain
    # Smoothed noise is independent between areas of 4 pi times the variance of the smoothing.
    independent = ny * nx * step[0] * step[1] / (4 * np.pi * BLUR**2)
    return _Peaks(shift, height.astype(float), 1 / np.sqrt(independent))


def _vertex(
    image: Float32, row: npt.NDArray[np.intp], column: npt.NDArray[np.intp], axis: int
) -> tuple[Array, Array]:
    """Return where between pixels the parabola through a maximum peaks, and by how much more."""
    move = (1, 0) if axis == 0 else (0, 1)
    ny, nx = image.shape
    before, after = (
        image[(row + sign * move[0]) % ny, (column + sign * move[1]) % nx].astype(float)
        for sign in (-1, 1)
    )
    bend = np.maximum(2 * image[row, column].astype(float) - before - after, 1e-9)
    place = np.clip((after - before) / (2 * bend), -0.5, 0.5)
    return place, (after - before) * place / 4
