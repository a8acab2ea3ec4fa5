"""Aberrations of the probe from the double overlaps of a 4D-STEM measurement.

1. S(K, Q) at the strongest spatial frequencies (`aberration_overlaps`).
2. A start by SVD of phase differences, which never need unwrapping (`aberration_start`).
3. Variable projection on S = a_Q Gamma(K, Q; C) with Poisson weights (`aberration_projection`).
4. The same with an amplitude for each sideband, taken where it explains significantly more: what is
   scattered twice acts as absorption, which would else be taken for defocus.

Nothing of the aberrations in the metadata is used. The specimen is taken to be thin, in one plane:
for one of some thickness, C10 refers to its middle, ``C10 + thickness / 2`` of a beam
whose C10 is stated at the entrance surface. That is the value which focuses SSB and WDD.
"""

import itertools
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field
from scipy import stats

from echolith.forward.acquisition import Beam, Settings
from echolith.inverse.aberration_basis import components
from echolith.inverse.aberration_covariance import covariance_of, misfits
from echolith.inverse.aberration_overlaps import (
    FloatArray,
    Overlaps,
    Window,
    overlaps_of,
    strongest_spectra,
)
from echolith.inverse.aberration_projection import Damping, Solution, refined
from echolith.inverse.aberration_report import LEAST_EXPLAINED, report
from echolith.inverse.aberration_start import starting_phases
from echolith.inverse.scan_transform import Streaming
from echolith.units import Angstrom

LOWEST, HIGHEST = 3, 5
"""Orders fitted where none is asked for: the first always, the second where it is significant."""
FALSE_ALARM = 1e-3
"""Chance of taking the higher order where there is none of it."""
COARSE = 30
"""Strongest Q used on the way; all are used at the end."""
COARSE_TURNS, TURNS = 8, 25
DEFOCUS_GUESSES = (0.0, -8.0, 8.0, -16.0, 16.0)
SPHERICAL_GUESSES = (0.0, -6.0, 6.0)
"""rad at the rim; tried only where nearby pixels differ by more than pi, so that none does from one
of these. Aberrations up to about twice as large are found (8 rad of C10 are 127 Å at 22.4 mrad)."""


class AberrationOptions(Settings):
    """Options of the aberration fit."""

    order: Annotated[int, Field(ge=1, le=5)] | None = None
    """Highest order fitted; by default 3, and 5 where that explains significantly more."""
    frequencies: Annotated[int, Field(ge=1, le=4096)] = 100
    """Most spatial frequencies used, the strongest ones."""
    significance: Annotated[float, Field(ge=1)] = 3.0
    """Least power of a spatial frequency beyond the noise, in its standard deviations."""
    window: Window | None = None
    """For the edges of the scan; by default none, and Hann's where that fits better."""
    thickness: Annotated[Angstrom, Field(ge=0)] = 0.0
    """Of the specimen, where known: it damps the sidebands towards the rim."""


def fit_aberrations(
    measurement: xr.Dataset,
    *,
    options: AberrationOptions | None = None,
    streaming: Streaming | None = None,
) -> xr.Dataset:
    """Determine the probe's aberrations from the measurement itself.

    Minimises ``sum |S(K, Q) - a_Q Gamma(K, Q; C)|² / N(K)`` over the pixels K of the double and
    triple overlaps of the strongest Q, N the electrons of a pixel.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `echolith.inverse.ssb.ssb`. Its focal spread is used, its aberrations are not.
    options : AberrationOptions, optional
    streaming : Streaming, optional
        Memory and threads.

    Returns
    -------
    xarray.Dataset
        ``C10``, ``C12``, ``phi12`` … as in `Aberrations` (Å, rad, specimen frame) and ``C12_a``,
        ``C12_b`` = C12 (cos, sin)(2 phi12) … (Å), each with ``_std``; ``covariance`` of C10, C12_a,
        C12_b … (component, component_2), Å²; ``singular_values`` (mode), 1/rad, of the linear
        problem at the solution, in rad at the rim; ``modes`` (component, mode);
        ``reduced_chi_squared`` in the overlaps, its ``_std``, and ``explained``, the share of the
        power beyond the noise that the model takes up; ``frequencies`` used.
        Attributes: ``order``; ``undetermined``, names of what the data do not determine, which is
        NaN; ``reasons``, one for each; ``determined``, 0 where that is everything; ``window``.

        ``absorbed``, share of the signal that takes an amplitude for each sideband, 0 where that
        is not significant. Where it is, the covariance holds a systematic term for what multiple
        scattering still leaves; where the reduced chi-squared shows that the model is not the
        data's, also the scatter between the Q (sandwich).

    Raises
    ------
    BadInputError
        For missing metadata, wrong shapes, NaN or negative counts, or empty frames.

    References
    ----------
    Golub & Pereyra, SIAM J. Numer. Anal. 10 (1973) 413; Kaufman, BIT 15 (1975) 49; Yang et al.,
    Nat. Commun. 7 (2016) 12532.
    """
    options = options or AberrationOptions()
    found = _best_window(measurement, options, streaming or Streaming())
    return report(found.solution, found.overlaps, found.order, absorbed=found.absorbed)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fit:
    overlaps: Overlaps
    order: int
    solution: Solution | None
    absorbed: float = 0.0


def _best_window(measurement: xr.Dataset, options: AberrationOptions, streaming: Streaming) -> _Fit:
    spectra = strongest_spectra(
        measurement,
        frequencies=options.frequencies,
        significance=options.significance,
        streaming=streaming,
    )
    if options.window is not None:
        return _fit(overlaps_of(spectra, options.window), options)
    plain = _fit(overlaps_of(spectra, Window.NONE), options)
    if plain.solution is None or not misfits(plain.solution.misfit):
        return plain
    tapered = _fit(overlaps_of(spectra, Window.HANN), options)
    return tapered if _explained(tapered.solution) > _explained(plain.solution) else plain


def _fit(overlaps: Overlaps, options: AberrationOptions) -> _Fit:
    order = options.order or LOWEST
    if not overlaps.chosen:
        return _Fit(overlaps=overlaps, order=order, solution=None)
    damping = _damping(overlaps.acquisition.beam, options.thickness)
    solution = _first(overlaps, min(order, LOWEST), damping)
    if _explained(solution) >= LEAST_EXPLAINED:
        solution, absorbed = _object(overlaps, solution.phases, order, damping)
        if options.order is None:
            higher = _descend(overlaps, solution.phases, HIGHEST, damping, absorbed > 0)
            if _significant(higher, len(solution.phases)):
                order, solution = HIGHEST, higher
    else:
        order, absorbed = min(order, LOWEST), 0.0
    return _Fit(overlaps=overlaps, order=order, solution=solution, absorbed=absorbed)


def _object(
    overlaps: Overlaps, start: FloatArray, order: int, damping: Damping
) -> tuple[Solution, float]:
    """Refine for a phase object, and where significantly better for one that absorbs; its share."""
    phase = _descend(overlaps, start, order, damping, False)
    both = _descend(overlaps, phase.phases, order, damping, True)
    gained = 2 * (phase.misfit.value - both.misfit.value)
    more = 2 * (phase.misfit.freedom - both.misfit.freedom)
    if gained <= stats.chi2.isf(FALSE_ALARM, more):
        return phase, 0.0
    return both, min((gained - more) / 2 / both.misfit.explained, 1.0)


def _damping(beam: Beam, thickness: float) -> Damping:
    """Return the phases at the rim of the focal spread and of half the thickness."""
    rim = np.pi * (beam.semiangle * 1e-3) ** 2 / beam.wavelength
    return Damping(focal=rim * beam.focal_spread, thick=rim * thickness / 2)


def _first(overlaps: Overlaps, order: int, damping: Damping) -> Solution:
    """Return a coarse solution: from no aberrations, and where that fails from the best guess."""
    best = _coarse(overlaps, np.zeros(len(components(order))), order, damping)
    if _explained(best) >= LEAST_EXPLAINED:
        return best
    names = [component.name for component in components(order)]
    for defocus, spherical in itertools.product(DEFOCUS_GUESSES, SPHERICAL_GUESSES):
        guess = np.zeros(len(names))
        guess[names.index("C10")] = defocus
        if "C30" in names:
            guess[names.index("C30")] = spherical
        trial = _coarse(overlaps, guess, order, damping)
        if _explained(trial) > _explained(best):
            best = trial
        if _explained(best) >= LEAST_EXPLAINED:
            break
    return best


def _coarse(overlaps: Overlaps, guess: FloatArray, order: int, damping: Damping) -> Solution:
    start = starting_phases(overlaps, order, guess=guess, most=COARSE)
    return refined(overlaps, start, order, damping, turns=COARSE_TURNS, most=COARSE)


def _descend(
    overlaps: Overlaps, start: FloatArray, order: int, damping: Damping, absorbing: bool
) -> Solution:
    """Refine a start of the same or a lower order with every Q."""
    phases = np.zeros(len(components(order)))
    phases[: len(start)] = start
    return refined(overlaps, phases, order, damping, turns=TURNS, absorbing=absorbing)


def _explained(solution: Solution | None) -> float:
    return solution.misfit.share if solution else 0.0


def _significant(solution: Solution, first: int) -> bool:
    """Say whether the components from one on are together beyond what noise makes of none."""
    covariance = covariance_of(solution.misfit).covariance[first:, first:]
    added = solution.phases[first:]
    wald = float(added @ np.linalg.solve(covariance, added))
    return bool(wald > stats.chi2.isf(FALSE_ALARM, len(added)))
