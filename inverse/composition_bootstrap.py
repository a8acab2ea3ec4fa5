"""Uncertainty of a composition by parametric bootstrap: model, smoothing and counting together.

The estimate is taken for a specimen: particles with sharper faces, on voxels of half the size, of
the composition found. Its projections are made with sub-rays in each pixel, drawn with the noise of
the data, and solved as the data were. As the new specimen is known, so are the errors: of counting,
of faces within a voxel, of missing tilts and of smoothing. Their squares are averaged over those
neighbours of a voxel that are as far inside a particle and as near to a front. What is finer than
the estimate can show is not in the new specimen, and so not in the uncertainty.

References
----------
Efron, Tibshirani, *An Introduction to the Bootstrap* (1993), chapter 6.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import distance_transform_cdt, maximum_filter, minimum_filter, uniform_filter

from echolith.forward.projection import SystemMatrix, project, system_matrix
from echolith.forward.tilts import Tilts
from echolith.inverse.tomography_input import DIMS, read_projections
from echolith.seeds import stream

Array = npt.NDArray[np.float32]
Kinds = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

STEEPER = 3.0
"""How much steeper faces are than those of the estimate, about where it is half filled: twice as
steep because voxels are half as large, and once and a half for its blur (set on two ensembles, by
the number of voxels wholly inside)."""
INSIDE = 0.98
"""Share of a voxel above which it lies inside a particle."""
DEEPEST = 3
"""Voxels from a face from which on all are alike."""
CONTRAST = (0.1, 0.3)
"""Ranges of composition among neighbours that part even, sloping and steep places."""
NEIGHBOURS = 3
"""Side, in voxels, of the box of neighbours."""
SHARED = 1.0
"""Voxels' worth of the average over all of a kind."""
ROWS = 16
"""Slices made finer at once."""
BLOCK = 8
"""Voxels along a side of blocks whose errors are taken as independent of each other."""


@dataclass(frozen=True, kw_only=True)
class Replica:
    """A known specimen like the estimate."""

    density: Array
    """Share of each voxel that is phosphate, (z, y, x)."""
    composition: Array
    """NaN without phosphate."""
    projections: list[Array]
    """Optical densities at each energy, (tilt, y, x)."""

    @property
    def state_of_charge(self) -> float:
        """Mean composition of the phosphate; NaN without any."""
        total = float(self.density.sum(dtype=np.float64))
        reacted = float(np.nansum(self.density * self.composition, dtype=np.float64))
        return reacted / total if total else float("nan")

    @property
    def kinds(self) -> Kinds:
        """Voxels that are as deep in a particle, in places where the composition is as steep."""
        deep = distance_transform_cdt(np.pad(self.density > INSIDE, 1), "chessboard")
        depths = np.where(self.density > 0, 1, 0)
        depths += np.minimum(deep[1:-1, 1:-1, 1:-1], DEEPEST)
        told = np.isfinite(self.composition)
        highest = maximum_filter(np.where(told, self.composition, -1), NEIGHBOURS)
        lowest = minimum_filter(np.where(told, self.composition, 2), NEIGHBOURS)
        steep = np.digitize(highest - lowest, CONTRAST) * told
        return np.asarray(depths + (DEEPEST + 2) * steep, dtype=np.intp)


def bootstrap_std(
    found: xr.Dataset,
    measurement: xr.Dataset,
    *,
    response: npt.NDArray[np.float64],
    again: Callable[[xr.Dataset], xr.Dataset],
    draws: int,
    seed: int,
) -> xr.Dataset:
    """Return standard deviations of density, composition and state of charge.

    Parameters
    ----------
    found : xarray.Dataset
        ``density`` and ``composition`` (z, y, x), NaN where there is none.
    measurement : xarray.Dataset
        What they were found from; with known noise.
    response : array, (energy, species)
        Absorption of the pure species, 1/Å.
    again : callable
        Solves a measurement as this one was solved.
    draws : int
        1 or more; each costs a solution.
    seed : int

    Returns
    -------
    xarray.Dataset
        ``density_std``, ``composition_std`` (infinite without composition) and
        ``state_of_charge_std``.
    """
    ordered = found.transpose("z", "y", "x")
    known = replica(ordered, measurement, response=response)
    squares = {name: np.zeros(known.density.shape) for name in ("density", "composition")}
    number = {name: np.zeros(known.density.shape) for name in squares}
    totals, scatter = [], []
    for draw in range(draws):
        solved = again(drawn(known, measurement, seed=seed, draw=draw)).transpose("z", "y", "x")
        for name, square in squares.items():
            error = solved[name].values - getattr(known, name)
            told = np.isfinite(error)
            square[told] += error[told] ** 2
            number[name] += told
        totals.append(float(solved["state_of_charge"]) - known.state_of_charge)
        scatter.append(_scatter(solved, known))
    kinds = known.kinds
    std = {name: np.sqrt(averaged(squares[name], number[name], kinds)) for name in squares}
    std["composition"][~np.isfinite(ordered["composition"].values)] = np.inf
    charge = _charge_std(np.array(totals), float(np.mean(scatter)))
    return xr.Dataset(
        {
            **{f"{name}_std": (("z", "y", "x"), v, {"units": "1"}) for name, v in std.items()},
            "state_of_charge_std": ((), charge, {"units": "1"}),
        },
        coords={name: ordered[name] for name in ("z", "y", "x")},
    )


def replica(
    found: xr.Dataset, measurement: xr.Dataset, *, response: npt.NDArray[np.float64]
) -> Replica:
    """Return a specimen with sharp faces like an estimate (z, y, x), and its projections."""
    told = np.isfinite(found["composition"].values)
    density = np.where(told, found["density"].values, 0).astype(np.float32)
    share = np.nan_to_num(found["composition"].values).clip(0, 1).astype(np.float32)
    # Faces are where the density, also of voxels too empty for a composition, is half.
    amounts = np.stack([found["density"].values.astype(np.float32), density, density * share])
    projectors = _projectors(measurement, density.shape)
    filled, reacted = np.empty_like(density), np.empty_like(density)
    images = [
        np.empty((p.tilts, density.shape[1], density.shape[2]), np.float32) for p in projectors
    ]
    for start in range(0, density.shape[1], ROWS):
        rows = slice(start, min(start + ROWS, density.shape[1]))
        fine = _sharp(amounts, rows)
        filled[:, rows], reacted[:, rows] = (_coarser(_coarser(part, 0), 2) for part in fine)
        for image, matrix, pure in zip(images, projectors, response, strict=True):
            mixed = np.float32(pure[0]) * (fine[0] - fine[1]) + np.float32(pure[1]) * fine[1]
            image[:, rows] = _coarser(project(mixed, matrix), 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Replica(density=filled, composition=reacted / filled, projections=images)


def _projectors(measurement: xr.Dataset, shape: tuple[int, ...]) -> list[SystemMatrix]:
    made: list[tuple[Tilts, npt.NDArray[np.float64], SystemMatrix]] = []
    for energy in range(2):
        seen = read_projections(measurement.isel(energy=energy))
        fine = seen.tilts.model_copy(update={"voxel_size": seen.tilts.voxel_size / 2})
        if made and made[0][0] == fine and (made[0][1] == seen.shift_x).all():
            made.append(made[0])
            continue
        doubled = (2 * shape[0], 2 * shape[2])
        made.append((fine, seen.shift_x, system_matrix(fine, shape=doubled, shift_x=seen.shift_x)))
    return [matrix for _, _, matrix in made]


def _sharp(amounts: Array, rows: slice) -> tuple[Array, Array]:
    """Return filling and reacted part of half voxels, (2 z, y, 2 x), means of two along y."""
    first, last = max(rows.start - 1, 0), min(rows.stop + 1, amounts.shape[2])
    part = amounts[:, :, first:last]
    for axis in (1, 2, 3):
        part = _finer(part, axis)
    part = part[:, :, 2 * (rows.start - first) :][:, :, : 2 * (rows.stop - rows.start)]
    filled: Array = (part[0] - np.float32(0.5)) * np.float32(STEEPER) + np.float32(0.5)
    filled = filled.clip(0, 1)
    share = np.divide(part[2], part[1], out=np.zeros_like(part[1]), where=part[1] > 0)
    share *= filled
    return _coarser(filled, 1), _coarser(share, 1)


def _finer(values: Array, axis: int) -> Array:
    """Return twice as many voxels along an axis, by linear interpolation."""
    own = np.moveaxis(values, axis, 0)
    before, after = np.concatenate([own[:1], own[:-1]]), np.concatenate([own[1:], own[-1:]])
    fine = np.empty((2 * len(own), *own.shape[1:]), dtype=np.float32)
    fine[0::2] = np.float32(0.75) * own + np.float32(0.25) * before
    fine[1::2] = np.float32(0.75) * own + np.float32(0.25) * after
    return np.moveaxis(fine, 0, axis)


def _coarser(values: Array, axis: int) -> Array:
    """Return means of every two along an axis."""
    own = np.moveaxis(values, axis, 0)
    means = (own[0::2] + own[1::2]) * np.float32(0.5)
    return np.moveaxis(means, 0, axis)


def drawn(known: Replica, measurement: xr.Dataset, *, seed: int, draw: int) -> xr.Dataset:
    """Return projections of a replica with the noise of a measurement."""
    rng = stream(seed, "bootstrap of composition", draw)
    density = np.stack(known.projections)
    dims = ("energy", *DIMS)
    if "optical_density" in measurement:
        std = measurement["optical_density_std"].transpose(*dims).values.astype(np.float32)
        density += std * rng.standard_normal(density.shape, dtype=np.float32)
        return measurement.assign(optical_density=(dims, density))
    incident = measurement["incident"].broadcast_like(measurement["counts"]).transpose(*dims)
    counts = rng.poisson(incident.values * np.exp(-density)).astype(np.float32)
    return measurement.assign(counts=(dims, counts, measurement["counts"].attrs))


def averaged(
    squares: npt.NDArray[np.float64], number: npt.NDArray[np.float64], kinds: Kinds
) -> npt.NDArray[np.float64]:
    """Return mean squares over neighbours of one kind, and some of all of that kind.

    Parameters
    ----------
    squares, number : array
        Sums of squares, and of how many.
    kinds : array of int
    """
    result = np.full(squares.shape, squares.sum() / max(number.sum(), 1))
    for kind in np.unique(kinds):
        own = kinds == kind
        if not number[own].sum():
            continue
        mean = squares[own].sum() / number[own].sum()
        total = uniform_filter(squares * own, NEIGHBOURS, mode="constant")[own]
        count = uniform_filter(number * own, NEIGHBOURS, mode="constant")[own]
        share = SHARED / NEIGHBOURS**squares.ndim
        # The running sums of the filter may end a rounding error below 0.
        result[own] = (total.clip(0) + share * mean) / (count.clip(0) + share)
    return result


def near_particles(composition: npt.NDArray[np.floating[Any]]) -> Mask:
    """Return the voxels that have a composition, and those next to them."""
    return np.asarray(maximum_filter(np.isfinite(composition), 3), dtype=bool)


def _scatter(solved: xr.Dataset, known: Replica) -> float:
    """Variance of the state of charge, errors of blocks being independent."""
    near = near_particles(solved["composition"].values)
    density = np.where(near, solved["density"].values, 0)
    found = np.where(near, solved["reacted"].values, 0) - density * float(solved["state_of_charge"])
    true = np.nan_to_num(known.composition * known.density) - known.density * known.state_of_charge
    blocks = found - true
    for axis in range(3):
        blocks = np.add.reduceat(blocks, np.arange(0, blocks.shape[axis], BLOCK), axis=axis)
    return float((blocks**2).sum() / max(float(density.sum()), 1e-30) ** 2)


def _charge_std(totals: npt.NDArray[np.float64], scatter: float) -> float:
    """Root of the scatter and of what the mean error is beyond its own scatter."""
    bias = float(totals.mean()) ** 2 - scatter / len(totals)
    return float(np.sqrt(scatter + max(bias, 0.0)))
