"""Le Bail extraction: cells, profile and the intensity of every line, without any atoms.

Intensities I are non-negative and maximise the Poisson likelihood of the counts n with mean
mu_i = b_i + sum over lines of p_hi I_h. Le Bail's partition of the counts among overlapping lines,
I_h <- I_h sum_i (p_hi n_i / mu_i) / sum_i p_hi, is the step of expectation maximisation for it; it
alternates with the fit of cells, profile and background, and ends in a joint fit of all.

References
----------
Le Bail, Duroy and Fourquet, Mater. Res. Bull. 23 (1988) 447; Le Bail, Powder Diffr. 20 (2005) 316.
Shepp and Vardi, IEEE Trans. Med. Imaging 1 (1982) 113 (the step for Poisson counts).
"""

import warnings
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.acquisition import Settings
from echolith.forward.powder_pattern import PowderAcquisition, PowderPhase
from echolith.inverse.le_bail_model import FreeLines, free_lines
from echolith.inverse.le_bail_result import extraction_result
from echolith.inverse.powder_checks import checked_pattern
from echolith.inverse.powder_fit import LEAST_MEAN, Fit, deviance, fit
from echolith.inverse.powder_lines import PhaseLines
from echolith.inverse.powder_model import PatternModel
from echolith.inverse.powder_parameters import Refined
from echolith.inverse.powder_start import lower_part
from echolith.inverse.rietveld import first_model, fit_limits, found_cells

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

ROUNDS = 5
"""Of partition and fit at most."""
PARTITIONS = 10
"""Steps of the partition in a round."""
ENOUGH = 1.0
"""Decrease of the deviance in a round below which the joint fit takes over."""
LEAST_SHARE = 0.3
"""Of a line's area that must be in the range for its intensity to be free."""
JOINT = 15
"""Rounds of the joint fit at most; between them lines come to 0 and leave it."""
ENOUGH_JOINT = 0.1
"""Decrease of the deviance that is not worth another round."""
MOST_LEFT = 0.5


class LeBailOptions(Settings):
    """How lines are extracted."""

    refined: Refined = Refined()
    """Offsets, profile and background; what changes intensities only cannot be refined here."""
    search: bool = True
    """Look for the cells within 1.6 % of those given before fitting."""


def le_bail(
    measurement: xr.Dataset,
    *,
    phases: tuple[PowderPhase, ...],
    instrument: PowderAcquisition,
    options: LeBailOptions | None = None,
) -> xr.Dataset:
    """Extract the intensity of every line, and refine cells and profile with them.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (two_theta), photons; angles in degrees, increasing in equal steps.
    phases : tuple of PowderPhase
        Cells and space groups of what is there; their sites may be empty. Those with sites are
        searched for with them, and no more use is made of the atoms.
    instrument : PowderAcquisition
        Lines of the source and geometry as known, first values of the rest.
    options : LeBailOptions, optional

    Returns
    -------
    xarray.Dataset
        ``cell_length`` (phase, axis) in Å, ``cell_angle`` (phase, angle), ``parameters``
        (parameter), each with ``_std``; ``intensity`` (line) in photons with ``_std``, with the
        coordinates ``line_phase``, ``h``, ``k``, ``l``, ``d``, ``line_two_theta``, ``line_cluster``
        and with ``overlapped`` (line). Lines of one cluster are not told apart:
        ``cluster_intensity`` (cluster) with ``_std`` is determined. ``calculated``, ``background``
        (two_theta); ``r_weighted``, ``r_expected``, ``chi_squared``. Standard deviations are those
        of counting, times the root of ``chi_squared`` where it is above 1. NaN: not determined.

    Raises
    ------
    BadInputError
        If the pattern is no pattern, a phase has no line in the range, or what is to be refined
        needs atoms.

    Warns
    -----
    BadInputWarning
        If the lines explain less than half of what stands out of the background.
    """
    options = options or LeBailOptions()
    _check(options.refined)
    angles, counts = checked_pattern(measurement)
    taken = instrument.model_copy(update={"start": angles[0], "stop": angles[-1]})
    searched = tuple(_searched(part, taken, options.refined) for part in phases)
    pattern, vector = first_model(angles, searched, instrument=taken, refined=options.refined)
    if options.search:
        vector = found_cells(pattern, counts, vector)
    vector[len(pattern.names) : len(pattern.names) + len(phases)] = 1
    low = lower_part(angles, counts)
    vector[-pattern.background :] = np.linalg.lstsq(pattern.polynomials, low, rcond=None)[0]
    model = free_lines(pattern)
    found = _joint(model, counts, _alternated(model, counts, vector))
    _warn_of_little(counts, found, low)
    return extraction_result(model, counts, found)


def _warn_of_little(counts: Array, found: Fit, low: Array) -> None:
    """Say so if free intensities do not explain half of what stands out of the background."""
    left = max(found.deviance - len(counts), 0) / max(deviance(counts, low) - len(counts), 1.0)
    if left > MOST_LEFT:
        warnings.warn(
            f"lines of any intensity at these cells leave {left:.0%} of what stands out of the "
            "background; check the wavelength, the cells (within 1.6 %) and for other phases",
            BadInputWarning,
            stacklevel=3,
        )


def _check(refined: Refined) -> None:
    wrong = [
        name
        for name in ("orientation", "displacement_parameter", "occupancies", "positions")
        if getattr(refined, name)
    ]
    if wrong:
        raise BadInputError(
            f"{', '.join(wrong)} cannot be refined while every line has an intensity of its own; "
            "leave out, or refine the atoms with echolith.inverse.rietveld.refine"
        )


def _searched(part: PowderPhase, instrument: PowderAcquisition, refined: Refined) -> PhaseLines:
    """Return the lines of a phase; without atoms all |F|² are one."""
    lines = PhaseLines(part=part, instrument=instrument, refined=refined)
    if not len(lines.reflections.hkl):
        raise BadInputError(
            f"{part.phase.name} has no line between 2 theta = {instrument.start:g} and "
            f"{instrument.stop:g}°; check the wavelength"
        )
    if part.phase.sites:
        return lines
    even = np.full(len(lines.reflections.hkl), 1.0)
    return PhaseLines(part=part, instrument=instrument, refined=refined, intensities=even)


def _alternated(model: FreeLines, counts: Array, vector: Array) -> Array:
    """Alternate the partition of the counts with the fit of cells, profile and background.

    Returns
    -------
    array
        The pattern's vector, then the intensities.
    """
    pattern = model.pattern
    free, limits = _not_scales(pattern), fit_limits(pattern, vector)
    intensities, best = np.full(model.count, np.nan), np.inf
    for _ in range(ROUNDS):
        columns, share = model.columns(vector)
        below = np.maximum(pattern.polynomials @ vector[-pattern.background :], LEAST_MEAN)
        if not np.isfinite(best):
            excess = np.maximum(counts - below, 0).sum()
            intensities[:] = excess / columns.sum()
        columns[:, share < LEAST_SHARE] = 0
        intensities = partitioned(counts, columns, intensities, below)
        found = fit(
            model.at(intensities),
            counts,
            vector,
            free=free,
            limits=limits,
            iterations=4,
            enough=0.1,
        )
        gain, best, vector = best - found.deviance, found.deviance, found.vector
        if gain < ENOUGH:
            break
    return np.concatenate([vector, intensities])


def _not_scales(pattern: PatternModel) -> Mask:
    return ~np.array([name.endswith(".scale") for name in pattern.all_names])


def partitioned(
    counts: Array, columns: Array, intensities: Array, below: Array, *, steps: int = PARTITIONS
) -> Array:
    """Return intensities after steps of Le Bail's partition, which never lower the likelihood.

    Parameters
    ----------
    counts : array, (points,)
    columns : array, (points, lines)
        Counts of each line per intensity; a line of none gets no intensity.
    intensities : array, (lines,)
    below : array, (points,)
        Background, above 0.
    steps : int
    """
    area, found = columns.sum(axis=0), intensities
    for _ in range(steps):
        ratio = counts / (below + columns @ found)
        found = found * (ratio @ columns) / np.maximum(area, 1e-300)
    return found


def _joint(model: FreeLines, counts: Array, vector: Array) -> Fit:
    """Fit all together; lines at 0 that the counts do not pull up stay there."""
    pattern, lines = model.pattern, model.count
    own = len(vector) - lines
    low, high = fit_limits(pattern, vector[:own])
    limits = (
        np.concatenate([low, np.zeros(lines)]),
        np.concatenate([high, np.full(lines, np.inf)]),
    )
    every, best = np.ones(len(vector), dtype=bool), np.inf
    for _ in range(JOINT):
        mean, jacobian = model(vector, free=~every)
        reached = model.columns(vector[:own])[1] > LEAST_SHARE
        pulled = (counts / np.maximum(mean, LEAST_MEAN) - 1) @ jacobian[:, own:] > 0
        lifted = reached & ((vector[own:] > 0) | pulled)
        free = np.concatenate([_not_scales(pattern), lifted])
        found = fit(model, counts, vector, free=free, limits=limits, iterations=4)
        gain, best, vector = best - found.deviance, found.deviance, found.vector
        if gain < ENOUGH_JOINT:
            break
    # What is at 0 is uncertain too, and makes its neighbours so.
    mean, jacobian = model(vector, free=every)
    jacobian[:, ~np.concatenate([_not_scales(pattern), reached])] = 0
    information = jacobian.T @ (jacobian / np.maximum(mean, LEAST_MEAN)[:, None])
    return replace(found, information=information, converged=gain < ENOUGH_JOINT)
