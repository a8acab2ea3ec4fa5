"""Whether a powder pattern was taken at the wavelength it is said to be of."""

from dataclasses import replace

import numpy as np

from echolith.errors import BadInputError
from echolith.forward.crystal_phase import CrystalPhase
from echolith.inverse.explained_pattern import Explained
from echolith.inverse.phase_candidates import best_additions, has_lines

ANODES = {
    "Cr": (2.28970, 2.29361),
    "Fe": (1.93604, 1.93998),
    "Co": (1.78897, 1.79285),
    "Cu": (1.54056, 1.54439),
    "Mo": (0.70930, 0.71359),
    "Ag": (0.55941, 0.56380),
}
"""K alpha 1 and 2, Å: International Tables for Crystallography C (2004), table 4.2.2.4."""
ENOUGH = 0.5
"""Part of what stands out of the background; from there on the wavelength is not doubted."""
BETTER = 0.3
"""By which another anode must explain more."""
ALIKE = 0.01
"""Relative difference of wavelengths that are one."""


def check_anode(nothing: Explained, found: Explained, candidates: tuple[CrystalPhase, ...]) -> None:
    """Look whether a candidate explains a pattern at the wavelength of another anode.

    Raises
    ------
    BadInputError
        If little is explained, and one candidate explains far more at another wavelength.
    """
    here = explained_share(nothing, found.bragg + found.background)
    if here > ENOUGH:
        return
    ours = nothing.instrument.lines[0][0]
    trials = [
        (*_best_at(nothing, candidates, lines), anode, lines)
        for anode, lines in ANODES.items()
        if abs(lines[0] / ours - 1) > ALIKE
    ]
    share, name, anode, (first, second) = max(trials)
    if share > here + BETTER:
        raise BadInputError(
            f"no candidate explains the pattern at {ours:g} Å (what fits is {here:.0%} of it), but "
            f"{name} explains {share:.0%} with K alpha of {anode}; "
            f"set lines=(({first:g}, 1.0), ({second:g}, 0.5)), or add what is there as candidate"
        )


def explained_share(nothing: Explained, mean: np.ndarray) -> float:
    """Return how much of what stands out of the background a mean explains, 0 to 1."""
    points = len(nothing.counts)
    before = nothing.misfit(nothing.background) - points
    return float(np.clip(1 - (nothing.misfit(mean) - points) / max(before, 1.0), 0, 1))


def _best_at(
    nothing: Explained, candidates: tuple[CrystalPhase, ...], lines: tuple[float, float]
) -> tuple[float, str]:
    source = ((lines[0], 1.0), (lines[1], 0.5))
    other = replace(nothing, instrument=nothing.instrument.model_copy(update={"lines": source}))
    usable = [phase for phase in candidates if has_lines(other, phase)]
    additions = best_additions(other, usable, fitted=2)
    if not additions:
        return 0.0, ""
    return explained_share(nothing, additions[0].mean), additions[0].part.phase.name
