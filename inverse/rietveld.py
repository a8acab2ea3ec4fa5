"""Rietveld refinement: from a powder pattern to cells, weights, profiles, with uncertainties."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.optimize import nnls

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.powder_pattern import PowderAcquisition, PowderPhase
from echolith.inverse.powder_checks import checked_pattern
from echolith.inverse.powder_fit import Fit, deviance, fit
from echolith.inverse.powder_lines import OFFSETS, PhaseLines
from echolith.inverse.powder_model import PatternModel
from echolith.inverse.powder_parameters import CELL_NAMES, Refined, start
from echolith.inverse.powder_result import refinement_result
from echolith.inverse.powder_start import nearest_cells, prominence

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

SEEN = 9.0
"""Standard deviations of a phase's scale, from which its cell and its lines are refined: the best
of thousands of cells meets noise to 6 or 8."""
LOWEST = {
    "u": -1.0, "v": -2.0, "w": 1e-5, "divergence": 1e-4, "size_width": 0.0, "strain_width": 0.0,
    "march": 0.15, "zero": -1.0, "displacement": -0.02, "displacement_along": -0.02,
    "b_iso": -2.0,
}  # fmt: skip
HIGHEST = {
    "u": 2.0, "v": 1.0, "w": 1.0, "divergence": 0.08, "size_width": 3.0, "strain_width": 5.0,
    "march": 6.0, "zero": 1.0, "displacement": 0.02, "displacement_along": 0.02,
    "b_iso": 10.0,
}  # fmt: skip
CELL_REACH = 0.03
"""Of a length from where its fit starts; degrees of an angle times 100."""


class RietveldOptions(Settings):
    """How a pattern is refined."""

    refined: Refined = Refined()
    search: bool = True
    """Look for the cells within 1.6 % of those given before fitting."""


def refine(
    measurement: xr.Dataset,
    *,
    phases: tuple[PowderPhase, ...],
    instrument: PowderAcquisition,
    options: RietveldOptions | None = None,
) -> xr.Dataset:
    """Refine a powder pattern.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (two_theta), photons; angles in degrees, increasing in equal steps.
    phases : tuple of PowderPhase
        What is there, with first values; their weights are not used.
    instrument : PowderAcquisition
        Lines of the source, geometry and polarisation as known, first values of the rest.
    options : RietveldOptions, optional

    Returns
    -------
    xarray.Dataset
        ``cell_length`` (phase, axis) in Å, ``cell_angle`` (phase, angle) in degrees,
        ``weight_fraction`` (phase), ``parameters`` (parameter) in the order of their names, each
        with ``_std``; ``correlation`` (parameter, other); ``calculated`` and ``background``
        (two_theta); ``r_weighted``, ``r_expected``, ``chi_squared``. Standard deviations are those
        of counting, times the root of ``chi_squared`` where it is above 1. NaN: not determined,
        ``attrs["undetermined"]`` says what.

    Raises
    ------
    BadInputError
        If the pattern is no pattern, or no line of any phase is seen in it.
    """
    options = options or RietveldOptions()
    angles, counts = checked_pattern(measurement)
    taken = instrument.model_copy(update={"start": angles[0], "stop": angles[-1]})
    lines = tuple(
        PhaseLines(part=part, instrument=taken, refined=options.refined) for part in phases
    )
    model, vector = first_model(angles, lines, instrument=taken, refined=options.refined)
    if options.search:
        vector = found_cells(model, counts, vector)
    vector = first_scales(model, counts, vector)
    seen = _seen(model, vector, _linear_information(model, vector))
    final = _staged(model, counts, vector, seen)
    fitted, seen = seen, _seen(model, final.vector, final.information)
    if not seen.any():
        raise BadInputError(
            f"no line of {', '.join(part.phase.name for part in phases)} is seen in the pattern; "
            "check the wavelength, the phases and their cells (within 1.6 %)"
        )
    if (seen != fitted).any():
        final = _staged(model, counts, final.vector, seen)
    return refinement_result(model, counts, final, free=_free(model, seen, _all), seen=seen)


def first_model(
    angles: Array,
    lines: tuple[PhaseLines, ...],
    *,
    instrument: PowderAcquisition,
    refined: Refined,
) -> tuple[PatternModel, Array]:
    """Return the model of a pattern and its vector of first values, scales and background 0."""
    first = start(tuple(part.part for part in lines), instrument, refined)
    model = PatternModel(
        angles=angles, phases=lines, names=first.names, background=refined.background
    )
    vector = np.zeros(len(model.all_names))
    vector[: len(first.names)] = [first.values[name] for name in first.names]
    return model, vector


def _all(_name: str) -> bool:
    return True


def found_cells(model: PatternModel, counts: Array, vector: Array) -> Array:
    """Put the best cell of every phase into the vector, the phase that explains most first."""
    explained = np.zeros(len(counts))
    waiting = list(range(len(model.phases)))
    while waiting:
        left = np.maximum(counts - explained, 0)
        standing_out = prominence(model.angles, left, explained=explained)
        values = model.values(vector)
        near = {
            index: nearest_cells(model.phases[index], values, model.angles, standing_out)
            for index in waiting
        }
        first = min(
            waiting, key=lambda i: _alone(model, left, _with(model, vector, near[i][0]), i)[1]
        )
        fits = [
            _cell_fit(model, counts, left, _with(model, vector, cell), first)
            for cell in near[first]
        ]
        vector = min(fits, key=lambda found: found.deviance).vector
        waiting.remove(first)
        if waiting:
            vector = _found_so_far(model, counts, vector, waiting)
            explained = model.linear(vector)[:, : len(model.phases)] @ _scales(model, vector)
    return vector


def _found_so_far(
    model: PatternModel, counts: Array, vector: Array, waiting: Sequence[int]
) -> Array:
    """Fit the phases that are found: what is left of them would be taken for the next one."""
    hidden = [model.phases[index].part.phase.name + "." for index in waiting]
    free = np.array(
        [
            name.rsplit(".", 1)[-1] in FIRST_FREE and not name.startswith(tuple(hidden))
            for name in model.all_names
        ]
    )
    limits = fit_limits(model, vector)
    return fit(model, counts, vector, free=free, limits=limits, iterations=6, enough=1.0).vector


def _scales(model: PatternModel, vector: Array) -> Array:
    return vector[len(model.names) : len(model.names) + len(model.phases)]


def _with(model: PatternModel, vector: Array, values: Mapping[str, float]) -> Array:
    changed = vector.copy()
    for name, value in values.items():
        changed[model.all_names.index(name)] = value
    return changed


def _alone(model: PatternModel, counts: Array, vector: Array, index: int) -> tuple[Array, float]:
    """Return the vector with one phase's best scale and background, and its deviance."""
    design = model.linear(vector, only=index)
    vector = first_scales(model, counts, vector, design=design)
    return vector, deviance(counts, design @ vector[len(model.names) :])


def _cell_fit(model: PatternModel, counts: Array, left: Array, vector: Array, index: int) -> Fit:
    """Fit a phase's cell and the background in a few steps, beside the phases found before.

    The first phase also tells the displacement.
    """
    scales = _scales(model, vector)
    alone, _ = _alone(model, left, vector, index)
    start = alone.copy()
    _scales(model, start)[:] = np.where(scales > 0, scales, _scales(model, alone))
    own = f"{model.phases[index].part.phase.name}."
    chosen = [own + name for name in (*CELL_NAMES, "scale", "size_width")]
    chosen += [] if scales.any() else ["displacement"]
    free = np.array([n in chosen or n.startswith("background") for n in model.all_names])
    limits = fit_limits(model, vector)
    return fit(model, counts, start, free=free, limits=limits, iterations=3)


def first_scales(
    model: PatternModel, counts: Array, vector: Array, *, design: Array | None = None
) -> Array:
    """Solve for scales and background with all else as it is; scales are 0 or more."""
    design = model.linear(vector) if design is None else design
    count = len(model.phases)
    root = 1 / np.sqrt(np.maximum(counts, 1.0))
    # The first polynomial is 1 and has its positive part; the others may have either sign.
    signed = np.concatenate([design, -design[:, count + 1 :]], axis=1) * root[:, None]
    unit = np.maximum(np.linalg.norm(signed, axis=0), 1e-300)
    solved = nnls(signed / unit, counts * root, maxiter=100 * signed.shape[1])[0] / unit
    linear = solved[: design.shape[1]].copy()
    linear[count + 1 :] -= solved[design.shape[1] :]
    changed = vector.copy()
    changed[len(model.names) :] = linear
    return changed


def _linear_information(model: PatternModel, vector: Array) -> Array:
    """Return the information of scales and background, in the places of the whole matrix."""
    design = model.linear(vector)
    count = len(model.names)
    mean = np.maximum(design @ vector[count:], 1.0)
    information = np.zeros((len(vector), len(vector)))
    information[count:, count:] = design.T @ (design / mean[:, None])
    return information


def _staged(model: PatternModel, counts: Array, vector: Array, seen: Mask) -> Fit:
    """Fit cells and offsets, then all: widths that start wrong would pull cells along."""
    limits = fit_limits(model, vector)
    coarse = fit(
        model,
        counts,
        vector,
        free=_free(model, seen, lambda name: name.rsplit(".", 1)[-1] in FIRST_FREE),
        limits=limits,
        iterations=10,
        enough=1.0,
    )
    return fit(model, counts, coarse.vector, free=_free(model, seen, _all), limits=limits)


FIRST_FREE = {*CELL_NAMES, *OFFSETS, "scale", "size_width"} | {f"background_{i}" for i in range(30)}


def _free(model: PatternModel, seen: Mask, wanted: Callable[[str], bool]) -> Mask:
    """Return which parameters are fitted: those wanted, without the lines of unseen phases."""
    hidden = {
        lines.part.phase.name for lines, found in zip(model.phases, seen, strict=True) if not found
    }
    return np.array(
        [
            wanted(name)
            and (name.split(".")[0] not in hidden or name.endswith(".scale") or "." not in name)
            for name in model.all_names
        ]
    )


def fit_limits(model: PatternModel, vector: Array) -> tuple[Array, Array]:
    """Return the lowest and highest values of a fit that starts at the vector."""
    low, high = np.full(len(vector), -np.inf), np.full(len(vector), np.inf)
    for index, name in enumerate(model.all_names):
        last = name.rsplit(".", 1)[-1]
        if last in CELL_NAMES:
            reach = CELL_REACH * (vector[index] if last in ("a", "b", "c") else 100)
            low[index], high[index] = vector[index] - reach, vector[index] + reach
        elif last in LOWEST:
            low[index], high[index] = LOWEST[last], HIGHEST[last]
    return low, high


def _seen(model: PatternModel, vector: Array, information: Array) -> Mask:
    """Return which phases' scales stand out of their noise, all else as it is."""
    count, phases = len(model.names), len(model.phases)
    linear = information[count:, count:]
    usable = np.diag(linear) > 0
    std = np.full(len(linear), np.inf)
    std[usable] = np.sqrt(np.diag(np.linalg.pinv(linear[np.ix_(usable, usable)])))
    return np.asarray(vector[count : count + phases] > SEEN * std[:phases])
