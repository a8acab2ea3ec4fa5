"""What is explained of a powder pattern so far, and what a candidate phase would add to it."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import gaussian_filter1d

from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.powder_pattern import PowderAcquisition, PowderPhase
from echolith.forward.powder_profile import (
    SCHERRER,
    AxialDivergence,
    gaussian_width,
    lorentzian_width,
)
from echolith.inverse.powder_fit import fit
from echolith.inverse.powder_lines import PhaseLines, pseudo_voigt
from echolith.inverse.powder_model import PatternModel
from echolith.inverse.powder_parameters import CELL_NAMES, Refined, Values, cell_of, start
from echolith.inverse.powder_start import nearest_cells, prominence
from echolith.inverse.rietveld import RietveldOptions, fit_limits, refine
from echolith.inverse.unexplained_lines import unexplained_lines

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

MODEL_ERROR = 0.05
"""Of the Bragg intensity of what is explained: texture, atoms and profile are not known better."""
WIDTH_AT = 40.0
"""2 theta in degrees, where the width of lines that nothing is known of is taken."""
SMOOTH = 2.0
"""Points, standard deviation."""


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A pattern and the phases that explain it so far.

    Attributes
    ----------
    angles, counts : array, (points,)
    instrument : PowderAcquisition
        As refined with the phases.
    refined : Refined
    parts : tuple of PowderPhase
        With their cells, sizes and strains.
    patterns : array, (points, phases)
        Mean counts of each phase.
    background : array, (points,)
    result : xarray.Dataset, optional
        Of the refinement of all.
    """

    angles: Array
    counts: Array
    instrument: PowderAcquisition
    refined: Refined
    parts: tuple[PowderPhase, ...]
    patterns: Array
    background: Array
    result: xr.Dataset | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the phases."""
        return tuple(part.phase.name for part in self.parts)

    @cached_property
    def bragg(self) -> Array:
        """Mean counts of all phases without the background, (points,)."""
        return np.asarray(self.patterns.sum(axis=1))

    @cached_property
    def variance(self) -> Array:
        """Of the counts about the model: of counting, and of what is not known of the phases."""
        # Where something is not explained yet its counts are the better mean.
        mean = np.maximum(self.bragg + self.background, gaussian_filter1d(self.counts, SMOOTH))
        mean = np.maximum(mean, 1.0)
        return np.asarray(mean + (MODEL_ERROR * self.bragg) ** 2)

    @cached_property
    def known(self) -> Array:
        """An orthonormal basis of what scales and background change, in standard deviations."""
        columns = np.column_stack([self.patterns, polynomials(self)])
        columns = columns[:, columns.any(axis=0)] / np.sqrt(self.variance)[:, None]
        return np.asarray(np.linalg.qr(columns / np.linalg.norm(columns, axis=0))[0])

    def without(self, index: int) -> "Explained":
        """Return the same less one phase; its counts are to be explained again."""
        return replace(
            self,
            parts=self.parts[:index] + self.parts[index + 1 :],
            patterns=np.delete(self.patterns, index, axis=1),
        )

    def standing_out(self, pattern: Array) -> float:
        """Return how many standard deviations a pattern is above 0, scales and background free.

        The square is by how much the weighted sum of squares falls with it.
        """
        root = np.sqrt(self.variance)
        own = pattern / root
        own = own - self.known @ (self.known.T @ own)
        left = (self.counts - self.bragg - self.background) / root
        return float(own @ left / max(np.linalg.norm(own), 1e-12))

    def misfit(self, mean: Array) -> float:
        """Return the weighted sum of squares about a mean."""
        return float(((self.counts - mean) ** 2 / self.variance).sum())


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
    """

    part: PowderPhase
    mean: Array
    significance: float


def polynomials(explained: Explained) -> Array:
    """Return the polynomials of the background, (points, polynomials)."""
    empty = PatternModel(
        angles=explained.angles, phases=(), names=(), background=explained.refined.background
    )
    return empty.polynomials


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
            )
        )
    return sorted(found, key=lambda addition: -addition.significance)


def added(explained: Explained, part: PowderPhase, *, iterations: int = 5) -> Addition:
    """Fit cell, scale, widths and background of a candidate on top of what is explained."""
    model, vector = candidate_model(explained, part)
    own = ("scale", "size_width", "strain_width", *CELL_NAMES)
    offsets = () if explained.parts else ("displacement", "zero")
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
    vector[place] = max(pattern @ left / max(pattern @ pattern, 1e-300), 1e-12)

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
        significance=explained.standing_out(pattern) if pattern.any() else 0.0,
    )


def with_parts(explained: Explained, parts: tuple[PowderPhase, ...]) -> Explained:
    """Return the pattern explained by phases, refined together from where they are."""
    instrument, refined = explained.instrument, explained.refined
    result = refine(
        xr.Dataset(
            {"counts": ("two_theta", explained.counts)}, coords={"two_theta": explained.angles}
        ),
        phases=parts,
        instrument=instrument,
        options=RietveldOptions(refined=refined, search=False),
    )
    first = start(parts, instrument, refined)
    model = PatternModel(
        angles=explained.angles,
        phases=tuple(
            PhaseLines(part=part, instrument=instrument, refined=refined) for part in parts
        ),
        names=first.names,
        background=refined.background,
    )
    vector = result["parameters"].values
    held = np.array([first.values.get(name, 0.0) for name in model.all_names])
    vector = np.where(np.isnan(vector), held, vector)
    values = model.values(vector)
    count = len(parts)
    scales = vector[len(first.names) : len(first.names) + count]
    return replace(
        explained,
        instrument=fitted_instrument(instrument, values),
        parts=tuple(fitted_part(part, instrument, values) for part in parts),
        patterns=model.linear(vector)[:, :count] * scales,
        background=result["background"].values,
        result=result,
    )


def fitted_instrument(instrument: PowderAcquisition, values: Values) -> PowderAcquisition:
    """Return an instrument with the offsets and widths of fitted values."""
    widths = {key: values[key] for key in ("u", "v", "w") if key in values}
    changes = {key: values[key] for key in ("zero", "displacement") if key in values}
    height = values.get("divergence")
    divergence = AxialDivergence(sample=height, slit=height) if height else instrument.divergence
    return instrument.model_copy(
        update={
            **changes,
            "widths": instrument.widths.model_copy(update=widths),
            "divergence": divergence,
        }
    )


def left_over(explained: Explained) -> xr.Dataset:
    """Return the lines that are not explained."""
    gaussian, lorentzian = (
        float(of(np.array([WIDTH_AT]), explained.instrument.widths, **more)[0])
        for of, more in (
            (gaussian_width, {}),
            (lorentzian_width, {"wavelength": explained.instrument.lines[0][0]}),
        )
    )
    width, _ = pseudo_voigt(gaussian, lorentzian)
    return unexplained_lines(
        explained.angles,
        explained.counts,
        explained.bragg + explained.background,
        explained.variance,
        width=float(width),
        wavelength=explained.instrument.lines[0][0],
    )


def fitted_part(part: PowderPhase, instrument: PowderAcquisition, values: Values) -> PowderPhase:
    """Return a phase with the cell, size and strain of fitted values."""
    name = part.phase.name
    phase = part.phase.model_copy(update={"cell": cell_of(part.phase, values)})
    width = np.radians(values.get(f"{name}.size_width", 0.0))
    size = SCHERRER * instrument.lines[0][0] / max(width, 1e-6)
    strain = np.radians(values.get(f"{name}.strain_width", 4 * part.strain)) / 4
    return part.model_copy(
        update={"phase": phase, "size": max(float(size), 20.0), "strain": float(strain)}
    )
