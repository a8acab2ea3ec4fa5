"""What is explained of a powder pattern so far, and what is left of it."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import gaussian_filter1d

from echolith.forward.powder_pattern import PowderAcquisition, PowderPhase
from echolith.forward.powder_profile import (
    SCHERRER,
    AxialDivergence,
    gaussian_width,
    lorentzian_width,
)
from echolith.inverse.le_bail_model import free_lines
from echolith.inverse.powder_lines import OFFSETS, PhaseLines, pseudo_voigt
from echolith.inverse.powder_model import PatternModel
from echolith.inverse.powder_parameters import Refined, Values, cell_of, start
from echolith.inverse.rietveld import RietveldOptions, refine
from echolith.inverse.unexplained_lines import unexplained_lines

Array = npt.NDArray[np.float64]

MODEL_ERROR = (0.03, 0.15)
"""Of the Bragg intensity of what is explained, at least and at most: profiles are not known better,
and what is worse is another phase."""
WIDTH_AT = 40.0
"""2 theta in degrees, where the width of lines that nothing is known of is taken."""
NEAR = 2.0
"""Widths of a line, about which its tails are not known better."""
STRONG = 0.1
"""Of the highest of a pattern in standard deviations, from which it is looked at."""
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
    changes : tuple of arrays, (points, changes)
        For each phase, what free intensities of its lines and its parameters change; last, what
        offsets and widths of the instrument change.
    background : array, (points,)
    model_error : float
        Of the mean counts of all phases, as a part of them.
    result : xarray.Dataset, optional
        Of the refinement of all.
    """

    angles: Array
    counts: Array
    instrument: PowderAcquisition
    refined: Refined
    parts: tuple[PowderPhase, ...]
    patterns: Array
    changes: tuple[Array, ...] = ()
    background: Array
    model_error: float = MODEL_ERROR[0]
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
        return np.asarray(mean + (self.model_error * self.near) ** 2)

    @cached_property
    def near(self) -> Array:
        """Mean counts of all phases, or what they are next to; profiles are wrong there too."""
        width = NEAR * line_width(self.instrument) / (self.angles[1] - self.angles[0])
        return np.asarray(np.maximum(self.bragg, gaussian_filter1d(self.bragg, width)))

    @cached_property
    def left(self) -> Array:
        """What the phases cannot explain however strong their lines are, in standard deviations."""
        left = (self.counts - self.bragg - self.background) / np.sqrt(self.variance)
        return np.asarray(left - self.known @ (self.known.T @ left))

    def with_error(self) -> "Explained":
        """Return the same with the error of the model that is seen where its phases are."""
        there = self.near > self.background
        excess = ((self.left**2 - 1) * self.variance)[there].sum() / max(
            (self.near[there] ** 2).sum(), 1e-300
        )
        error = np.sqrt(max(self.model_error**2 + excess, 0.0))
        return replace(self, model_error=float(np.clip(error, *MODEL_ERROR)))

    @cached_property
    def known(self) -> Array:
        """An orthonormal basis of what phases and background can change, in standard deviations.

        Every line may be stronger or weaker: texture and atoms fake no other phase.
        """
        columns = np.column_stack([*self.changes, polynomials(self)])
        columns = columns[:, columns.any(axis=0)] / np.sqrt(self.variance)[:, None]
        return np.asarray(np.linalg.qr(columns / np.linalg.norm(columns, axis=0))[0])

    def without(self, index: int) -> "Explained":
        """Return the same less one phase; its counts are to be explained again."""
        return replace(
            self,
            parts=self.parts[:index] + self.parts[index + 1 :],
            patterns=np.delete(self.patterns, index, axis=1),
            changes=self.changes[:index] + self.changes[index + 1 :],
        )

    def standing_out(self, pattern: Array) -> float:
        """Return how many standard deviations a pattern is above 0, beside what is known.

        The square is by how much the weighted sum of squares falls with it.
        """
        return float(self._tested(pattern) @ self.left)

    def met(self, pattern: Array) -> float:
        """Return which part of what is left, where a pattern has its lines, the pattern explains.

        Little where a few of many lines meet those of something else by chance.
        """
        own = self._tested(pattern)
        there = np.abs(own) > STRONG * np.abs(own).max()
        before = (self.left[there] ** 2 - 1).sum()
        after = ((self.left - (own @ self.left) * own)[there] ** 2 - 1).sum()
        return float(1 - after / before) if before > 0 else 0.0

    def _tested(self, pattern: Array) -> Array:
        """Return the part of a pattern that nothing known can be, of unit length."""
        own = pattern / np.sqrt(self.variance)
        own = own - self.known @ (self.known.T @ own)
        return np.asarray(own / max(float(np.linalg.norm(own)), 1e-12))

    def misfit(self, mean: Array) -> float:
        """Return the weighted sum of squares about a mean."""
        return float(((self.counts - mean) ** 2 / self.variance).sum())


def polynomials(explained: Explained) -> Array:
    """Return the polynomials of the background, (points, polynomials)."""
    empty = PatternModel(
        angles=explained.angles, phases=(), names=(), background=explained.refined.background
    )
    return empty.polynomials


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
    lines = free_lines(model)
    columns, _ = lines.columns(vector)
    slopes = model(vector)[1][:, : len(first.names)]
    own_names = [part.phase.name + "." for part in parts]
    changes = [
        np.column_stack(
            [columns[:, np.unique(line)], slopes[:, [n.startswith(own) for n in first.names]]]
        )
        for own, line in zip(own_names, lines.line, strict=True)
    ]
    # Last, so that it stays when a phase is taken out.
    changes.append(slopes[:, ["." not in name for name in first.names]])
    return replace(
        explained,
        instrument=fitted_instrument(instrument, values),
        parts=tuple(fitted_part(part, instrument, values) for part in parts),
        patterns=model.linear(vector)[:, :count] * scales,
        changes=tuple(changes),
        background=result["background"].values,
        model_error=MODEL_ERROR[0],
        result=result,
    ).with_error()


def fitted_instrument(instrument: PowderAcquisition, values: Values) -> PowderAcquisition:
    """Return an instrument with the offsets and widths of fitted values."""
    widths = {key: values[key] for key in ("u", "v", "w") if key in values}
    changes = {key: values[key] for key in OFFSETS if key in values}
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
    return unexplained_lines(
        explained.angles,
        explained.left,
        np.sqrt(explained.variance),
        width=line_width(explained.instrument),
        wavelength=explained.instrument.lines[0][0],
    )


def line_width(instrument: PowderAcquisition) -> float:
    """Return the full width of a line of the instrument in the middle of patterns, degree."""
    middle = np.array([WIDTH_AT])
    gaussian = gaussian_width(middle, instrument.widths)
    lorentzian = lorentzian_width(middle, instrument.widths, wavelength=instrument.lines[0][0])
    return float(pseudo_voigt(gaussian, lorentzian)[0][0])


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
