"""Which of many candidate phases a powder pattern shows, which cannot be told, what is left over.

Phases are taken in one by one. What a candidate would add is the fall of the weighted sum of
squares with its scale, others' scales and background free, its cell being looked for within 1.6 %
of the one given; the best is taken in while it stands out, and all are refined together. Then every
phase is tried for by every other candidate in its place.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.powder_pattern import PowderAcquisition, PowderPhase
from echolith.inverse.anodes import check_anode
from echolith.inverse.explained_pattern import Explained, left_over, with_parts
from echolith.inverse.phase_candidates import added, best_additions, has_lines, likely_parts
from echolith.inverse.phase_search_result import search_result
from echolith.inverse.powder_checks import checked_pattern
from echolith.inverse.powder_parameters import Refined
from echolith.inverse.powder_start import lower_part


class PhaseSearchOptions(Settings):
    """How phases are looked for."""

    refined: Refined = Refined()
    """In the fits of what is found."""
    significance: float = 8.0
    """Standard deviations from which a phase is there; cells are searched, so far more than 5."""
    margin: float = 25.0
    """Difference of the weighted sums of squares below which two candidates cannot be told."""
    most: int = 6
    """Phases taken in at most."""
    fitted: int = 5
    """Candidates whose cells are fitted in each round: those that stand out most."""


MET = 0.3
"""Part of what is left at its lines that a phase explains at least."""
REACH = 0.025
"""Of a number of the cell, by which a phase may differ from its candidate after refinement."""
LIKE = 0.6
"""Of the significance of a phase, from which a candidate is tried in its place."""


def search_phases(
    measurement: xr.Dataset,
    *,
    candidates: Sequence[CrystalPhase],
    instrument: PowderAcquisition,
    options: PhaseSearchOptions | None = None,
) -> xr.Dataset:
    """Say which of the candidates a powder pattern shows.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (two_theta), photons; angles in degrees, increasing in equal steps.
    candidates : sequence of CrystalPhase
        Their cells are right within 1.6 %.
    instrument : PowderAcquisition
        Lines of the source, geometry and polarisation as known, first values of the rest.
    options : PhaseSearchOptions, optional

    Returns
    -------
    xarray.Dataset
        ``present`` (candidate), ``significance`` (candidate): standard deviations by which the
        pattern asks for the candidate beside the phases found; ``cannot_tell`` (candidate, other):
        of two, the pattern shows one, and either explains it; ``weight_fraction``,
        ``cell_length`` and ``cell_angle`` with ``_std`` of those found, NaN for others;
        ``calculated`` and ``background`` (two_theta); ``explained``, the part of what stands out of
        the background; the lines left over as `unexplained_lines` gives them; ``r_weighted``,
        ``r_expected``, ``chi_squared`` where a phase was found. ``attrs["verdict"]``: the same in
        words.

    Raises
    ------
    BadInputError
        If the pattern is no pattern or holds no line, names of candidates are not unique, none has
        a line in the range, or a candidate explains the pattern at the wavelength of another anode.
    """
    options = options or PhaseSearchOptions()
    angles, counts = checked_pattern(measurement)
    taken = instrument.model_copy(update={"start": angles[0], "stop": angles[-1]})
    nothing = Explained(
        angles=angles,
        counts=counts,
        instrument=taken,
        refined=options.refined,
        parts=(),
        patterns=np.zeros((len(angles), 0)),
        background=lower_part(angles, counts),
    )
    if not left_over(nothing).sizes["unexplained"]:
        raise BadInputError(
            f"no line stands out of the background of {counts.mean():.0f} counts; "
            "there is nothing to search; count longer"
        )
    usable = _usable(nothing, candidates)
    found, significance = _collected(nothing, usable, options)
    check_anode(nothing, found, usable)
    found, rivals = _compared(found, usable, options)
    return search_result(nothing, found, candidates, significance, rivals)


def _usable(nothing: Explained, candidates: Sequence[CrystalPhase]) -> tuple[CrystalPhase, ...]:
    names = [phase.name for phase in candidates]
    if not names or len(set(names)) < len(names):
        raise BadInputError(
            f"candidates = {names or 'none'}; expected one or more, each with a name of its own"
        )
    usable = tuple(phase for phase in candidates if has_lines(nothing, phase))
    if not usable:
        raise BadInputError(
            f"no candidate has a line between 2 theta = {nothing.angles[0]:g} and "
            f"{nothing.angles[-1]:g}°; check the wavelength"
        )
    return usable


def _collected(
    nothing: Explained, candidates: tuple[CrystalPhase, ...], options: PhaseSearchOptions
) -> tuple[Explained, dict[str, float]]:
    """Take in phases while one stands out; return them and what each candidate came to last."""
    found, refused = nothing, set[str]()
    significance: dict[str, float] = {}
    while True:
        waiting = [c for c in candidates if c.name not in (*found.names, *refused)]
        additions = best_additions(found, waiting, fitted=options.fitted)
        significance |= {addition.part.phase.name: addition.significance for addition in additions}
        likely = [a for a in additions if a.significance > options.significance and a.met > MET]
        if not likely or len(found.parts) == options.most:
            return found, significance
        best = likely[0].part
        trial = _standing((*found.parts, best), found, candidates, options.significance)
        if best.phase.name in trial.names:
            found = trial
        else:
            refused.add(best.phase.name)


def _standing(
    parts: tuple[PowderPhase, ...],
    before: Explained,
    candidates: tuple[CrystalPhase, ...],
    least: float,
) -> Explained:
    """Refine phases together, less those that others explain or whose cells leave their own."""
    given = {phase.name: np.array(phase.cell) for phase in candidates}
    while parts:
        try:
            found = with_parts(before, parts)
        except BadInputError:  # none of them is seen
            break
        rests = [found.without(k) for k in range(len(parts))]
        alone = [
            rest.standing_out(pattern)
            if rest.met(pattern) > MET
            and np.abs(part.phase.cell / given[part.phase.name] - 1).max() < REACH
            else 0.0
            for rest, pattern, part in zip(rests, found.patterns.T, found.parts, strict=True)
        ]
        weakest = int(np.argmin(alone))
        if alone[weakest] >= least:
            return found
        parts = found.parts[:weakest] + found.parts[weakest + 1 :]
    return before


def _compared(
    found: Explained, candidates: tuple[CrystalPhase, ...], options: PhaseSearchOptions
) -> tuple[Explained, list[tuple[str, str]]]:
    """Put every other candidate in the place of every phase.

    Returns
    -------
    found : Explained
        With better candidates in place of those they beat.
    rivals : list of pairs of names
        A phase that was found and a candidate that explains the pattern as well in its place.
    """
    for _ in range(len(found.parts) + 1):
        trials = [
            (index, *trial)
            for index in range(len(found.parts))
            for trial in _in_place(found, index, candidates)
        ]
        best = min(trials, key=lambda trial: trial[2], default=None)
        if best is None or best[2] > -options.margin:
            break
        parts = [*found.parts]
        parts[best[0]] = best[1]
        found = with_parts(found, tuple(parts))
    return found, [
        (found.names[index], part.phase.name)
        for index, part, worse in trials
        if worse < options.margin
    ]


def _in_place(
    found: Explained, index: int, candidates: tuple[CrystalPhase, ...]
) -> list[tuple[PowderPhase, float]]:
    """Return candidates in place of a phase, with the rise of the weighted sum of squares."""
    rest = found.without(index)
    needed = rest.standing_out(found.patterns[:, index])
    own = found.misfit(added(rest, found.parts[index], iterations=12).mean)
    # Where the model does not meet the counts, differences of the misfit count for less.
    unit = max(1.0, own / len(found.counts))
    trials = []
    for phase in candidates:
        if phase.name not in found.names:
            best = likely_parts(rest, phase)[0]
            if best.significance > LIKE * needed:
                addition = added(rest, best.part, iterations=12)
                trials.append((addition.part, (found.misfit(addition.mean) - own) / unit))
    return trials
