"""By how much a lattice has moved from frame to frame, from the phases of its reflections."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from echolith.inverse.lattice_maps import Complex

Array = npt.NDArray[np.float64]

ROUGH = 33
"""Places along each axis at which the phases are compared first."""
ROUNDS = 4
"""Of Newton's method after that."""
NEARER = 0.1
"""Of the height of the peak: what a shift by a column more is behind one by a column less."""
FORGET = 0.2
"""Of the velocity, by every frame."""
STEP = 0.1
"""Å. By how much a step differs from the one before, until it is known."""
SURE = 3.0
"""Standard deviations of the expected place that must fit into half a column's distance."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Where a lattice is expected. Pairs are (y, x).

    Attributes
    ----------
    reference : array of complex, (reflections,)
        Amplitudes of the frames so far, each moved back, with phases at the particle's middle.
    frames : int
        In the reference.
    expected, velocity : array, (2,)
        Å since the start, and Å by frame.
    surprise : float
        Mean square of what a frame was off, Å².
    gap : int
        Frames since the lattice was seen.
    ambiguous : str
        Why shifts are not determined any more.
    """

    reference: Complex
    frames: int
    expected: Array
    velocity: Array
    surprise: float
    gap: int = 0
    column: float
    ambiguous: str = ""

    @classmethod
    def at_rest(cls, amplitudes: Complex, reflections: Array) -> "Shift":
        """Start from the amplitudes of a lattice found.

        Parameters
        ----------
        amplitudes : array of complex, (reflections,)
        reflections : array, (reflections, 2)
            xy, 1/Å.
        """
        return cls(
            reference=amplitudes,
            frames=0,
            expected=np.zeros(2),
            velocity=np.zeros(2),
            surprise=STEP**2,
            # The least distance of two columns is at least the largest spacing.
            column=1 / float(np.hypot(*reflections.T).min()),
        )

    def waited(self) -> "Shift":
        """Return what is expected a frame later."""
        return replace(
            self, expected=self.expected + self.velocity, gap=self.gap + (self.frames > 0)
        )


@dataclass(frozen=True, kw_only=True)
class Told:
    """The shift of one frame (y, x) with standard deviations, Å; NaN with the reason."""

    values: Array
    std: Array
    reason: str = ""


def measured_shift(
    shift: Shift, amplitudes: Complex, variance: Array, reflections: Array
) -> tuple[Shift, Told]:
    """Measure the shift of a frame; return what is expected from then on, and the shift.

    Standard deviations are of the frame alone: what the reference is off is common to all frames.

    Parameters
    ----------
    shift : Shift
        What is expected in this frame.
    amplitudes : array of complex, (reflections,)
        With phases at the expected place of the particle's middle.
    variance : array, (reflections,)
        Of the amplitudes.
    reflections : array, (reflections, 2)
        xy, 1/Å.
    """
    cross = shift.reference.conj() * amplitudes / variance
    g = reflections[:, ::-1]
    away = _greatest(cross, g, shift.column)
    turned = cross * np.exp(2j * np.pi * g @ away)
    information = 8 * np.pi**2 * np.einsum("g,gi,gj->ij", np.maximum(turned.real, 0), g, g)
    std = np.sqrt(np.diag(np.linalg.pinv(information)))
    unsure = np.sqrt(shift.surprise) * shift.gap
    why = shift.ambiguous
    if not why and shift.gap > 1 and unsure * SURE > shift.column / 2:
        why = f"after a gap of {shift.gap - 1} frames it may have moved on by whole columns"
    found = shift.expected + away
    moved_back = amplitudes * np.exp(2j * np.pi * g @ away)
    weight = 1 / (shift.frames + 1)
    steps = max(shift.gap, 1)
    after = replace(
        shift,
        reference=(1 - weight) * shift.reference + weight * moved_back,
        frames=shift.frames + 1,
        expected=found,
        velocity=shift.velocity + FORGET * away / steps,
        surprise=(1 - FORGET) * shift.surprise + FORGET * float((away**2).mean()) / steps,
        gap=0,
        ambiguous=why,
    )
    nothing = np.full(2, np.nan)
    if why:
        return after, Told(values=nothing, std=nothing, reason=why)
    return after, Told(values=found, std=std)


def _greatest(cross: Complex, g: Array, column: float) -> Array:
    """Return the shift (y, x) at which all phases agree best, of equals the least."""
    line = np.linspace(-column, column, ROUGH)
    places = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    heights = (np.exp(2j * np.pi * places @ g.T) @ cross).real
    distance = (places**2).sum(axis=1) / column**2
    away = places[np.argmax(heights - NEARER * np.abs(heights).max() * distance)]
    for _ in range(ROUNDS):
        turned = cross * np.exp(2j * np.pi * g @ away)
        slope = -2 * np.pi * turned.imag @ g
        bend = 4 * np.pi**2 * np.einsum("g,gi,gj->ij", np.maximum(turned.real, 0), g, g)
        away = away + np.linalg.pinv(bend) @ slope
    return np.asarray(away)
