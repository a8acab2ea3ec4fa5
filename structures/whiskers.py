"""Whiskers of lithium that grow out of a base: hexagonal prisms in a shell of oxide.

Type I speeds up, L = a t² / 2; type II is steady, L = v t (Nat. Commun. 2020, growth kinetics of
lithium metal: a = 2.56 nm/s² over 0.6 to 5.6 s, v = 85 nm/s of 60 to 100 nm/s over 0 to 5.8 s).
The shell thickens on the outside as a layer that its metal must cross: s² = s0² + k t.
"""

from enum import Enum
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field

from echolith.seeds import stream
from echolith.units import Angstrom, Degree, Second, Unit

Array = npt.NDArray[np.float64]

STEPS = 20
"""Of a fluctuation in its correlation time."""


class WhiskerGrowth(Enum):
    """How a whisker grows; the values are those of the laws that describe it."""

    ACCELERATED = "accelerated"
    """Type I: a t² / 2."""
    STEADY = "linear"
    """Type II: v t."""
    SWITCHED = "piecewise linear"
    """First one velocity, after a change another."""


class Whisker(BaseModel):
    """What a whisker is, how it grows and where it lies; a given whisker has one truth."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    growth: WhiskerGrowth = WhiskerGrowth.ACCELERATED
    acceleration: Annotated[float, Unit("Å/s²"), Field(ge=0, le=1e5)] = 25.6
    """Of type I."""
    velocity: Annotated[float, Unit("Å/s"), Field(ge=0, le=1e5)] = 850.0
    """Of type II; of a switched one after its change."""
    first_velocity: Annotated[float, Unit("Å/s"), Field(ge=0, le=1e5)] = 60.0
    """Of a switched whisker before its change."""
    change_time: Second = 2.5
    """Of a switched whisker, from the start of the recording."""
    delay: Annotated[Second, Field(ge=0, le=1e4)] = 0.6
    """How long a type I whisker has grown when the recording starts."""
    start_length: Annotated[Angstrom, Field(ge=0, le=1e5)] = 0.0
    """Of what is there before it grows."""
    width: Annotated[Angstrom, Field(ge=20, le=1e4)] = 200.0
    """Between opposite side faces of the metal."""
    roll: Degree = 0.0
    """About its axis; at 0 two side faces lie across the beam."""
    direction: Degree = 0.0
    """Of its axis, from x towards y."""
    shell: Annotated[Angstrom, Field(ge=0, le=1000)] = 0.0
    """Of oxide, when the recording starts."""
    shell_growth: Annotated[float, Unit("Å²/s"), Field(ge=0, le=1e5)] = 0.0
    """k of the parabolic law."""
    fluctuation: Annotated[Angstrom, Field(ge=0, le=1000)] = 0.0
    """Standard deviation of the length about its law."""
    fluctuation_time: Annotated[Second, Field(gt=0, le=100)] = 0.1
    """In which a fluctuation forgets all but 1/e of itself."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the fluctuation."""

    def law_length(self, time: npt.ArrayLike) -> Array:
        """Return the length that the law asks for at times of the recording (s), Å.

        Examples
        --------
        >>> Whisker().law_length([0.0, 5.0]).round(1)
        array([  4.6, 401.4])
        """
        t = np.asarray(time, dtype=float)
        if self.growth is WhiskerGrowth.ACCELERATED:
            grown = self.acceleration * (t + self.delay) ** 2 / 2
        elif self.growth is WhiskerGrowth.STEADY:
            grown = self.velocity * t
        else:
            late = np.maximum(t - self.change_time, 0)
            grown = self.first_velocity * (t - late) + self.velocity * late
        return np.asarray(self.start_length + grown)

    def length(self, time: npt.ArrayLike) -> Array:
        """Return the length with its fluctuation, at least 0, Å."""
        t = np.asarray(time, dtype=float)
        return np.maximum(self.law_length(t) + self.fluctuation * self._flicker(t), 0)

    def shell_thickness(self, time: npt.ArrayLike) -> Array:
        """Return the thickness of the oxide, Å."""
        return np.sqrt(self.shell**2 + self.shell_growth * np.asarray(time, dtype=float))

    def _flicker(self, time: Array) -> Array:
        """Return a stationary Gauss-Markov process of variance 1; longer movies only add to it."""
        if not self.fluctuation:
            return np.zeros_like(time)
        step = self.fluctuation_time / STEPS
        draws = stream(self.seed, "whisker flicker").normal(size=int(time.max() / step) + 2)
        kept = np.exp(-1 / STEPS)
        state = np.empty_like(draws)
        state[0] = draws[0]
        for n in range(1, len(draws)):
            state[n] = kept * state[n - 1] + np.sqrt(1 - kept**2) * draws[n]
        return np.interp(time, step * np.arange(len(draws)), state)


def hexagon_corners(width: float, roll: float) -> Array:
    """Return the corners of a cross-section, (6, 2): across the axis and along the beam, Å.

    Parameters
    ----------
    width : float
        Between opposite sides, Å.
    roll : float
        Degree; at 0 two sides lie across the beam.
    """
    angles = np.radians(roll + 60 * np.arange(6))
    return width / 3**0.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def whisker_truth(whisker: Whisker, time: npt.ArrayLike) -> xr.Dataset:
    """Return what is known of a whisker at times of the recording, s.

    Returns
    -------
    xarray.Dataset
        ``length``, ``width`` and ``shell`` (frame; Å, width and length with the shell),
        ``supported`` (the law) and its numbers: ``acceleration`` (Å/s²), ``velocity`` (piece;
        Å/s), ``change_time`` (change; s), as far as the law has them.
    """
    t = np.asarray(time, dtype=float)
    shell = whisker.shell_thickness(t)
    lengths = {
        "length": whisker.length(t),
        "width": whisker.width + 2 * shell,
        "shell": shell,
    }
    truth = xr.Dataset({name: ("frame", row, {"units": "Å"}) for name, row in lengths.items()})
    truth["supported"] = ((), whisker.growth.value)
    if whisker.growth is WhiskerGrowth.ACCELERATED:
        truth["acceleration"] = ((), whisker.acceleration, {"units": "Å/s²"})
        return truth
    velocities = [whisker.velocity]
    if whisker.growth is WhiskerGrowth.SWITCHED:
        velocities = [whisker.first_velocity, whisker.velocity]
        truth["change_time"] = ("change", [whisker.change_time], {"units": "s"})
    truth["velocity"] = ("piece", velocities, {"units": "Å/s"})
    return truth
