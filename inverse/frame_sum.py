"""Frames of a movie added up, each moved back by whole pixels: the sum is one of counts."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class FrameSum:
    """Counts of frames that were moved back; grows by one frame at a time.

    Attributes
    ----------
    counts : array, (ny, nx)
    exposure : array, (ny, nx)
        Frames that saw each pixel.
    """

    def __init__(self, shape: tuple[int, ...], pixel: float) -> None:
        """Begin without a frame; ``pixel`` in Å."""
        self.counts, self.exposure = np.zeros(shape), np.zeros(shape)
        self._pixel, self._moves = pixel, np.zeros(2)
        self.frames = 0

    def add(self, image: npt.NDArray[np.floating], shift: Array) -> None:
        """Add a frame whose specimen has moved by a shift (y, x), Å."""
        moves = np.rint(shift / self._pixel).astype(int)
        (to_y, from_y), (to_x, from_x) = (
            (slice(max(-n, 0), size + min(-n, 0)), slice(max(n, 0), size + min(n, 0)))
            for n, size in zip(moves.tolist(), self.counts.shape, strict=True)
        )
        self.counts[to_y, to_x] += image[from_y, from_x]
        self.exposure[to_y, to_x] += 1
        self._moves = self._moves + moves
        self.frames += 1

    @property
    def offset(self) -> Array:
        """What to add to places (y, x) in the sum, Å, to have their mean over the frames."""
        return np.asarray(self._pixel * self._moves / max(self.frames, 1))

    def even(self) -> Array:
        """Return the counts as if every pixel had been seen by all frames."""
        mean = self.counts.sum() / max(self.exposure.sum(), 1)
        rate = np.full_like(self.counts, mean)
        np.divide(self.counts, self.exposure, out=rate, where=self.exposure > 0)
        return np.asarray(self.frames * rate)
