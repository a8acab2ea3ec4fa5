"""Both energies and both species at once: Poisson likelihood, joint total variation, positivity.

With the amounts c_k >= 0 of the species in each voxel, mu_E = sum_k M_Ek c_k, minimised is

    sum_E,i (I_Ei exp(-(A mu_E)_i) + n_Ei (A mu_E)_i) + lambda sum_j |(grad s_1, grad s_2)_j|,

s_E = sqrt(L_E) mu_E, with L_E the curvature of the likelihood at energy E. In s the likelihood is
as curved along both energies and its noise is as large, so that the ill-conditioned response is in
the constraint alone, the cone s = sqrt(L) M c, c >= 0, and slows nothing down. One length of both
slopes has edges of the two species in the same places, and shrinks a particle towards nothing, not
towards another composition.

References
----------
Beck, Teboulle, SIAM J. Imaging Sci. 2 (2009) 183 (FISTA); Bresson, Chan, Inverse Probl. Imaging 2
(2008) 455 (vectorial total variation); Erdogan, Fessler, Phys. Med. Biol. 44 (1999) 2835
(likelihood of transmission).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.projection import SystemMatrix, as_block, as_images, slabs, system_matrix
from echolith.forward.projection_kernels import multiply
from echolith.forward.tilts import centres
from echolith.inverse.joint_composition_kernels import (
    joint_dual_step,
    joint_primal,
    transmitted_less,
)
from echolith.inverse.least_variation import Spread, less_varied, momentum, spreading
from echolith.inverse.tomography_input import Projections, read_projections
from echolith.inverse.tomography_problem import problem
from echolith.inverse.tomography_sweeps import subsets, sweeps
from echolith.processors import threads

Array = npt.NDArray[np.float32]

SUBSETS = 32
"""Of tilts, in the sweeps to begin with."""


class JointComposition(Settings):
    """How amounts of both species are found at once."""

    strength: Annotated[float, Field(gt=0)] = 0.5
    """Of total variation, in units of the noise of the likelihood's slope in a voxel; so it need
    not follow the dose."""
    iterations: Annotated[int, Field(ge=1, le=10_000)] = 60
    """Steps along the slope of all data."""
    warm: Annotated[int, Field(ge=1, le=100)] = 5
    """Sweeps of OS-SART to begin with: steps are as long as the curvature near the data allows."""
    inner: Annotated[int, Field(ge=1, le=100)] = 4
    """Steps towards less variation in each iteration."""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """What was counted at one energy, as blocks (rays, slices), and its scale."""

    matrix: SystemMatrix
    counts: Array
    incident: Array
    root: float
    """Square root of the curvature of the likelihood."""
    noise: float
    """Of the slope in a voxel over that root, as a root mean square."""


def joint_absorption(
    measurement: xr.Dataset,
    *,
    response: npt.NDArray[np.float64],
    options: JointComposition | None = None,
    workers: int | None = None,
) -> xr.Dataset:
    """Reconstruct the absorption at both energies, as two species of no negative amount have it.

    Parameters
    ----------
    measurement : xarray.Dataset
        Projections at two energies with known noise, see `read_projections`.
    response : array, (energy, species)
        Absorption of the pure species, 1/Å.
    options : JointComposition, optional
    workers : int, optional
        Threads; the result does not depend on them.

    Returns
    -------
    xarray.Dataset
        ``absorption`` (energy, z, y, x), 1/Å.

    Raises
    ------
    BadInputError
        If the projections cannot be used, or their noise is unknown.
    """
    chosen = options or JointComposition()
    number = threads(workers)
    energies = [measurement.isel(energy=i) for i in range(2)]
    read = [read_projections(part) for part in energies]
    if any(seen.std is None for seen in read):
        raise BadInputError(
            "the joint method needs the noise of the projections, which is unknown; give counts "
            "with incident, or optical_density_std; or use the sequential method"
        )
    channels, starts = [], []
    for part, seen in zip(energies, read, strict=True):
        channel, start = _channel(part, seen, chosen.warm)
        channels.append(channel)
        starts.append(start)
    begin = np.stack(starts)
    volume = begin
    steps = iterates(channels, begin, response=response, options=chosen, workers=number)
    for _ in range(chosen.iterations):
        volume = next(steps)
    width = channels[0].matrix.shape[1]
    images = np.stack(
        [as_images(v, width) / np.float32(c.root) for v, c in zip(volume, channels, strict=True)]
    )
    return _labelled(images, measurement)


def _channel(part: xr.Dataset, seen: Projections, warm: int) -> tuple[Channel, Array]:
    matrix = system_matrix(seen.tilts, shape=(seen.density.shape[2],) * 2, shift_x=seen.shift_x)
    counts, incident = _counted(part, seen)
    a = matrix.forward
    paths = np.asarray(a.sum(axis=1), dtype=np.float32).ravel()
    curvature = max(
        float((a.T @ (counts[:, piece] * paths[:, None])).max())
        for piece in slabs(counts.shape[1], a.shape[1])
    )
    noise = float(np.sqrt((a.multiply(a).T @ counts.mean(axis=1)).mean() / curvature))
    root = math.sqrt(curvature)
    task = problem(matrix, seen.density, seen.std, None)
    start = task.start
    swept = sweeps(task, subsets(matrix, SUBSETS), relaxation=1.0, lowest=0.0)
    for _ in range(warm):
        start = next(swept)
    channel = Channel(matrix=matrix, counts=counts, incident=incident, root=root, noise=noise)
    return channel, start * np.float32(root)


def _counted(part: xr.Dataset, seen: Projections) -> tuple[Array, Array]:
    """Return counts and incident counts; of optical densities those of the same noise."""
    if "optical_density" in part:
        assert seen.std is not None
        counts = as_block(1 / seen.std**2)
        return counts, counts * np.exp(as_block(seen.density))
    dims = ("tilt", "y", "x")
    counts = as_block(part["counts"].transpose(*dims).values)
    incident = part["incident"].broadcast_like(part["counts"]).transpose(*dims).values
    return counts, as_block(incident)


def iterates(
    channels: list[Channel],
    begin: Array,
    *,
    response: npt.NDArray[np.float64],
    options: JointComposition,
    workers: int,
) -> Iterator[Array]:
    """Yield both channels s (2, voxels, slices) after each step of FISTA."""
    directions = np.array([[c.root] for c in channels]) * response
    directions /= np.linalg.norm(directions, axis=0)
    if np.linalg.det(directions) < 0:
        directions = directions[:, ::-1]
    cone = tuple(np.float32(value) for value in directions.T.ravel())
    mu = options.strength * math.sqrt(sum(c.noise**2 for c in channels) / 2)
    shape = (2, *channels[0].matrix.shape, begin.shape[2])
    dual = np.zeros((6, *shape[1:]), dtype=np.float32)
    ahead, volume, t = begin.copy(), begin.copy(), 1.0

    def primal(near: Array, dual: Array, start: int, stop: int, out: Array) -> None:
        joint_primal(near, dual, np.float32(mu), cone, start, stop, out)

    with spreading(workers) as spread:
        while True:
            for values, channel in zip(ahead, channels, strict=True):
                _descend(channel, values, spread)
            fresh = less_varied(
                ahead.reshape(shape),
                size=mu,
                dual=dual,
                inner=options.inner,
                primal=primal,
                dual_step=joint_dual_step,
                spread=spread,
            ).reshape(volume.shape)
            further, t = momentum(t)
            np.subtract(fresh, volume, out=ahead)
            ahead *= further
            ahead += fresh
            volume = fresh
            yield volume


def _descend(channel: Channel, values: Array, spread: Spread) -> None:
    """Take a step of 1 along the slope, in place."""
    a, b = channel.matrix.forward, channel.matrix.backward
    scale = np.float32(1 / channel.root)

    def one(part: slice) -> None:
        block = values[:, part] * scale
        counts = np.ascontiguousarray(channel.counts[:, part])
        incident = np.ascontiguousarray(channel.incident[:, part])
        left, line = np.empty_like(counts), np.empty(counts.shape[1], dtype=np.float32)
        transmitted_less(a.indptr, a.indices, a.data, block, counts, incident, line, left)
        multiply(b.indptr, b.indices, b.data, left, block)
        block *= scale
        values[:, part] -= block

    spread(one, slabs(values.shape[1], a.shape[1]))


def _labelled(images: Array, measurement: xr.Dataset) -> xr.Dataset:
    x, y = measurement["x"].values, measurement["y"].values
    z = centres(images.shape[1], float((y[-1] - y[0]) / (len(y) - 1)))
    at = {"z": z, "y": y, "x": x}
    return xr.Dataset(
        {"absorption": (("energy", "z", "y", "x"), images, {"units": "1/Å"})},
        coords={
            "energy": measurement["energy"],
            **{name: (name, values, {"units": "Å"}) for name, values in at.items()},
        },
    )
