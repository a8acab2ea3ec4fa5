"""What a fit of columns to raw counts starts from, and what is known beforehand."""

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.acquisition import StemAcquisition, rotate
from echolith.inverse.column_problem import parity
from echolith.inverse.counts_columns import (
    COMMON,
    EVEN,
    KINDS,
    SHAPES,
    Array,
    ColumnState,
    Indices,
    Profiles,
)
from echolith.inverse.counts_likelihood import FINER, CountsModel
from echolith.inverse.counts_options import CountsOptions
from echolith.inverse.counts_propagation import Propagation, probe_box
from echolith.inverse.counts_start import site_count
from echolith.processors import threads

RIM_POSITION = 0.1
"""Å. Prior on columns supposed, around where the lattice puts them."""
RIM_STRENGTH = 0.3
"""Prior on the strength of those outside the field, relative."""
U_START = 0.003
"""Å²: 0.055 Å rms."""


@dataclass(frozen=True, kw_only=True)
class CountsProblem:
    """Model, start, and what is known beforehand."""

    model: CountsModel
    start: ColumnState
    names: tuple[str, ...]
    outside: Array
    """How far each column lies outside the field, Å; negative inside."""
    prior_std: Array
    """Of every parameter around its start; infinite: none, 0: not fitted."""
    options: CountsOptions

    @classmethod
    def of(
        cls,
        counts: xr.DataArray,
        acquisition: StemAcquisition,
        columns: xr.Dataset,
        options: CountsOptions,
    ) -> "CountsProblem":
        """Set the problem up."""
        state, names = _start_state(columns, acquisition, options)
        outside = _outside(columns, acquisition)
        prior_std = _prior(state, outside, _supposed(columns), options)
        values = np.asarray(counts.values)
        box = probe_box(acquisition, least_side=options.least_box, sampling=options.sampling)
        propagation = Propagation(acquisition=acquisition, box=box, slices=1)
        positions = acquisition.scan.positions().reshape(-1, 2)
        grid = propagation.field(positions)
        profiles = Profiles(
            grid=grid.finer(FINER),
            names=names,
            content=options.content,
            energy=acquisition.beam.energy,
        )
        model = CountsModel(
            counts=values.reshape(-1, *values.shape[2:]),
            positions=positions,
            propagation=propagation,
            profiles=profiles,
            grid=grid,
            free=prior_std > 0,
            reach=options.reach,
            workers=threads(),
        )
        problem = cls(
            model=model,
            start=state,
            names=names,
            outside=outside,
            prior_std=prior_std,
            options=options,
        )
        return problem.sliced_for(options.thickness)

    def sliced_for(self, thickness: float) -> "CountsProblem":
        """Return the problem with slices that suit a thickness, Å."""
        model = _sliced(self.model, thickness / self.options.slice_thickness)
        return replace(self, model=model)

    @property
    def free(self) -> Indices:
        """Parameters that are fitted."""
        return np.flatnonzero(self.prior_std > 0)

    @property
    def precision(self) -> Array:
        """Of the prior, free parameters alone."""
        return np.asarray(1 / self.prior_std[self.free] ** 2)

    @property
    def asked(self) -> npt.NDArray[np.bool_]:
        """Free parameters that must settle: those of columns inside the field."""
        asked = np.zeros(self.start.size, dtype=bool)
        asked[: len(KINDS) * len(self.outside)] = np.repeat(self.outside <= 0, len(KINDS))
        return asked[self.free]

    def probes(self, part: "Part") -> Indices:
        """Return a part of the probes, evenly spread."""
        shape = self.model.propagation.acquisition.scan.shape
        row, column = np.indices(shape)
        chosen = {
            Part.ALL: np.ones(shape, dtype=bool),
            Part.QUARTER: (row % 2 == 0) & (column % 2 == 0),
            Part.NINTH: (row % 3 == 1) & (column % 3 == 1),
            Part.SPARSE: (row % 5 == 2) & (column % 5 == 2),
        }[part]
        return np.flatnonzero(chosen)

    def with_usual_surroundings(self, state: ColumnState) -> tuple["CountsProblem", ColumnState]:
        """Centre the prior of strengths outside the field, and of the atoms of a full column.

        On the medians of the columns inside, now better known.
        """
        strength = state.strength.copy()
        inside = self.outside <= 0
        for group in set(state.group[inside].tolist()):
            mine = state.group == group
            strength[mine & ~inside] = np.median(strength[mine & inside])
        known = np.where(inside, self.start.strength, strength)
        species = np.array(self.names)[state.group[inside]]
        common = self.start.common.copy()
        common[COMMON.index("sites")] = site_count(strength[inside], species)
        start = replace(self.start, strength=known, common=common)
        fitted = np.where(self.outside <= self.options.rim, state.strength, strength)
        return replace(self, start=start), replace(state, strength=fitted)

    @property
    def leash(self) -> Array:
        """Farthest that a free parameter is moved at once: beyond, the model bends too much."""
        columns = np.tile([0.05, 0.05, np.inf], (len(self.start.x), 1))
        columns[:, 2] = 0.2 * np.maximum(self.start.strength, 0.5)
        shapes = np.tile([0.004] * EVEN + [3e-4] * (len(SHAPES) - EVEN), len(self.names))
        return np.concatenate([columns.ravel(), shapes, [0.1, 2.0, 5.0, 3.0]])[self.free]


def _sliced(model: CountsModel, slices: float) -> CountsModel:
    """Return a model with the next whole number of slices."""
    whole = max(1, int(np.ceil(slices - 1e-6)))
    return replace(model, propagation=replace(model.propagation, slices=whole))


class Part(Enum):
    """Probes used at a stage of the fit."""

    SPARSE = "sparse"
    NINTH = "ninth"
    QUARTER = "quarter"
    ALL = "all"


def _start_state(
    columns: xr.Dataset, acquisition: StemAcquisition, options: CountsOptions
) -> tuple[ColumnState, tuple[str, ...]]:
    names = tuple(sorted({str(name) for name in columns["species"].values}))
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1).astype(float)
    xy = rotate(xy, acquisition.scan.rotation)
    even = np.tile([U_START, 0.0, U_START], (len(names), 1))
    strength = np.asarray(columns["strength"].values, dtype=float)
    sites = site_count(strength, columns["species"].values)
    state = ColumnState(
        x=xy[:, 0],
        y=xy[:, 1],
        strength=strength,
        group=np.array([names.index(str(name)) for name in columns["species"].values]),
        parity=parity(columns),
        shape=np.concatenate([even, np.zeros((len(names), len(SHAPES) - EVEN))], axis=1),
        common=np.array([0.0, options.thickness, 0.0, sites]),
    )
    return state, names


def _outside(columns: xr.Dataset, acquisition: StemAcquisition) -> Array:
    """How far each column lies outside the scanned field, Å."""
    height, width = acquisition.scan.extent
    x, y = columns["x"].values, columns["y"].values
    return np.asarray(np.max([-x, -y, x - width, y - height], axis=0))


def _supposed(columns: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Say which columns nobody has seen yet."""
    if "supposed" not in columns:
        return np.zeros(columns.sizes["column"], dtype=bool)
    return np.asarray(columns["supposed"].values, dtype=bool)


def _prior(
    state: ColumnState,
    outside: Array,
    supposed: npt.NDArray[np.bool_],
    options: CountsOptions,
) -> Array:
    columns = np.full((len(state.x), len(KINDS)), np.inf)
    rim = outside > 0
    columns[rim | supposed, :2] = RIM_POSITION
    columns[rim, 2] = RIM_STRENGTH * state.strength[rim]
    columns[outside > options.rim] = 0
    shapes = np.zeros(state.shape.shape)
    shapes[:, :EVEN] = options.displacement_std
    for group in range(len(shapes)):
        if state.parity[state.group == group].any():
            shapes[group, EVEN:] = options.skewness_std
    sites = options.sites_std * state.common[3]
    common = [np.inf, options.thickness_std, options.defocus_std, sites]
    return np.concatenate([columns.ravel(), shapes.ravel(), common])
