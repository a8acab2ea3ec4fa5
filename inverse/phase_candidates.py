"""What a candidate phase would add to what is explained of a powder pattern."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.powder_pattern import PowderPhase
from echolith.inverse.explained_pattern import Explained, fitted_part
from echolith.inverse.powder_fit import fit
from echolith.inverse.powder_lines import OFFSETS, PhaseLines
from echolith.inverse.powder_model import PatternModel
from echolith.inverse.powder_parameters import CELL_NAMES, start
from echolith.inverse.powder_start import nearest_cells, prominence
from echolith.inverse.rietveld import fit_limits

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A candidate on top of what is explained.

    Attributes
    ----------
    part : PowderPhase
        With the cell that meets most.
    mean : array, (points,)
        Counts of all, the background refitted.
    significance : float
        Standard deviations, as of `Explained.standing_out`.
    met : float
        Part, as of `Explained.met`.
    """

    part: PowderPhase
    mean: Array
    significance: float
    met: float


def candidate_model(explained: Explained, part: PowderPhase) -> tuple[PatternModel, Array]:
    """Return the model of a candidate alone, and its vector with scale 1 and the background."""
    first = start((part,), explained.instrument, explained.refined)
    lines = PhaseLines(part=part, instrument=explained.instrument, refined=explained.refined)
    model = PatternModel(
        angles=explained.angles,
        phases=(lines,),
        names=first.names,
        background=explained.refined.background,
    )
    below = np.linalg.lstsq(model.polynomials, explained.background, rcond=None)[0]
    return model, np.array([*(first.values[name] for name in first.names), 1.0, *below])


def has_lines(explained: Explained, phase: CrystalPhase) -> bool:
    """Return whether a candidate has a line in the range."""
    model, vector = candidate_model(explained, PowderPhase(phase=phase))
    place = model.phases[0].two_theta(model.values(vector))[0]
    return bool(((place > explained.angles[0]) & (place < explained.angles[-1])).any())


def best_additions(
    explained: Explained, candidates: list[CrystalPhase], *, fitted: int
) -> list[Addition]:
    """Return what every candidate would add, the most significant first.

    The best ``fitted`` ones with their cells fitted, others with the best of a search.
    """
    likely = [likely_parts(explained, phase) for phase in candidates]
    likely.sort(key=lambda found: -found[0].significance)
    tried = [
        max((added(explained, one.part) for one in found), key=lambda a: a.significance)
        for found in likely[:fitted]
    ]
    return sorted([*tried, *(found[0] for found in likely[fitted:])], key=lambda a: -a.significance)


def likely_parts(explained: Explained, phase: CrystalPhase) -> list[Addition]:
    """Return a candidate with cells near its own that meet most, the most significant first."""
    part = PowderPhase(phase=phase)
    model, vector = candidate_model(explained, part)
    left = np.maximum(explained.counts - explained.bragg, 0)
    standing_out = prominence(explained.angles, left)
    cells = nearest_cells(model.phases[0], model.values(vector), explained.angles, standing_out)
    found = []
    for cell in cells:
        moved = vector.copy()
        for name, value in cell.items():
            moved[model.all_names.index(name)] = value
        pattern = model.linear(moved)[:, 0]
        found.append(
            Addition(
                part=fitted_part(part, explained.instrument, model.values(moved)),
                mean=explained.bragg + explained.background + pattern,
                significance=explained.standing_out(pattern),
                met=explained.met(pattern),
            )
        )
    return sorted(found, key=lambda addition: -addition.significance)


def added(explained: Explained, part: PowderPhase, *, iterations: int = 5) -> Addition:
    """Fit cell, scale, widths and background of a candidate on top of what is explained."""
    model, vector = candidate_model(explained, part)
    own = ("scale", "size_width", "strain_width", *CELL_NAMES)
    offsets = () if explained.parts else OFFSETS
    free = np.array(
        [
            name.rsplit(".", 1)[-1] in own or name in offsets or name.startswith("background")
            for name in model.all_names
        ]
    )
    below, place = explained.bragg, len(model.names)
    # The scale that meets the counts, to begin with.
    pattern = model.linear(vector)[:, 0]
    left = explained.counts - below - explained.background
    vector[place] = max(float(pattern @ left) / max(float(pattern @ pattern), 1e-300), 1e-12)

    def on_top(vector: Array, *, free: Mask) -> tuple[Array, Array]:
        mean, jacobian = model(vector, free=free)
        return mean + below, jacobian

    low, high = fit_limits(model, vector)
    low[place] = 0
    found = fit(
        on_top, explained.counts, vector, free=free, limits=(low, high), iterations=iterations
    )
    background = model.polynomials @ found.vector[place + 1 :]
    pattern = found.mean - below - background
    return Addition(
        part=fitted_part(part, explained.instrument, model.values(found.vector)),
        mean=found.mean,
        significance=explained.standing_out(pattern),
        met=explained.met(pattern),
    )
