"""Joint inversion of two energies: the cone, the minimum, noise, and the stated uncertainty."""

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from echolith.errors import BadInputError
from echolith.forward.projection import system_matrix
from echolith.forward.tilts import Tilts
from echolith.inverse.composition_volume import (
    CompositionSolver,
    Method,
    recover_composition,
)
from echolith.inverse.joint_composition import Channel, JointComposition, iterates
from echolith.inverse.joint_composition_kernels import nearest_in_cone
from tests.inverse.sphere_projections import ABSORPTION, SPHERES, densities, series, truth_of

Array = npt.NDArray[np.float64]

MATRIX = np.array([[1.0, 0.45], [0.52, 1.15]]) * ABSORPTION
"""1/Å, (energy, species)."""
ENERGIES = [708.2, 710.2]
SHARES = (0.05, 0.5, 0.95)
"""Composition of the three spheres."""


def response() -> xr.DataArray:
    return xr.DataArray(
        MATRIX.T, dims=("species", "energy"), coords={"species": ["a", "b"], "energy": ENERGIES}
    )


@given(
    point=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    angles=st.tuples(st.floats(0.0, 0.7), st.floats(0.75, np.pi / 2)),
)
def test_nearest_amounts_are_those_of_least_squares(
    point: tuple[float, float], angles: tuple[float, float]
) -> None:
    """Lawson and Hanson's active sets find the same point of the cone."""
    directions = np.array([np.cos(angles), np.sin(angles)])
    amounts, _ = nnls(directions, np.array(point))
    found = nearest_in_cone(*point, tuple(directions.T.ravel()))
    assert found == pytest.approx(directions @ amounts, abs=1e-9)


def energy(channels: list[Channel], s: Array, strength: float) -> float:
    """What is to be minimised, as it is written down."""
    total = 0.0
    for values, channel in zip(s, channels, strict=True):
        density = channel.matrix.forward @ (values / channel.root)
        total += float((channel.incident * np.exp(-density) + channel.counts * density).sum())
    nz, nx = channels[0].matrix.shape
    volume = s.reshape(2, nz, nx, -1)
    slopes = [np.diff(volume, axis=a, append=np.take(volume, [-1], axis=a)) for a in (1, 2, 3)]
    noise = float(np.sqrt(np.mean([c.noise**2 for c in channels])))
    return total + strength * noise * float(np.sqrt(np.sum(np.square(slopes), axis=(0, 1))).sum())


def test_nothing_nearby_is_better() -> None:
    """The objective is convex: a point that no direction improves is its minimum."""
    rng = np.random.default_rng(0)
    matrix = system_matrix(Tilts(angles=tuple(range(-80, 80, 10)), voxel_size=1.0), shape=(6, 6))
    amounts = rng.random((2, 36, 3)) * (rng.random((2, 36, 3)) < 0.5)
    pure = np.array([[0.1, 0.04], [0.05, 0.11]])
    channels = []
    for mu in np.tensordot(pure, amounts, axes=1):
        counts = rng.poisson(300 * np.exp(-(matrix.forward @ mu))).astype(np.float32)
        channels.append(
            Channel(
                matrix=matrix,
                counts=counts,
                incident=np.full_like(counts, 300),
                root=200.0,
                noise=0.1,
            )
        )
    options = JointComposition(strength=0.7, inner=20)
    steps = iterates(
        channels,
        np.zeros((2, 36, 3), dtype=np.float32),
        response=pure,
        options=options,
        workers=1,
    )
    for _ in range(400):
        found = next(steps).astype(np.float64)
    inverse = np.linalg.inv(200 * pure)
    assert np.tensordot(inverse, found, axes=1).min() > -1e-6
    least = energy(channels, found, 0.7)
    for size in (0.5, 0.05):
        for _ in range(100):
            change = rng.normal(0, size / 200, amounts.shape) * (rng.random((1, 36, 3)) < 0.1)
            moved = np.tensordot(inverse, found, axes=1) + change
            near = 200 * np.tensordot(pure, np.maximum(moved, 0), axes=1)
            # Single precision leaves 1e-6 of a sum of about 3e4.
            assert energy(channels, near, 0.7) > least - 0.03


def measured(photons: float, seed: int) -> tuple[xr.Dataset, Array, Array]:
    """Counts at both energies behind three spheres, their density and composition on voxels."""
    n, slices, tilts = 32, 20, series(3.0)
    single = [one_sphere(k, n, slices, tilts) for k in range(3)]
    rng = np.random.default_rng(seed)
    counts = []
    for row in MATRIX / ABSORPTION:
        density = sum(
            one * (row[0] * (1 - x) + row[1] * x)
            for (one, _), x in zip(single, SHARES, strict=True)
        )
        counts.append(density.copy(data=rng.poisson(photons * np.exp(-density.values)) * 1.0))
    data = xr.Dataset({"counts": xr.concat(counts, xr.Variable("energy", ENERGIES))})
    filled = np.sum([volume for _, volume in single], axis=0)
    reacted = np.sum([v * x for (_, v), x in zip(single, SHARES, strict=True)], axis=0)
    with np.errstate(invalid="ignore"):
        return data.assign(incident=photons), filled, reacted / filled


def one_sphere(k: int, n: int, slices: int, tilts: Tilts) -> tuple[xr.DataArray, Array]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.inverse.sphere_projections.SPHERES", SPHERES[k : k + 1])
        return densities(tilts, n, slices), truth_of(n, slices) / ABSORPTION


@pytest.fixture(scope="module")
def spheres() -> tuple[xr.Dataset, Array, Array]:
    return measured(300, 1)


@pytest.mark.parametrize("method", Method)
def test_errors_are_as_stated(spheres: tuple[xr.Dataset, Array, Array], method: Method) -> None:
    """About 500 voxels lie inside; their errors are correlated over some voxels, say ten.

    So the rms of pulls has a standard error of 0.1, and the share within one of 0.065.
    """
    data, filled, composition = spheres
    found = recover_composition(
        data, response=response(), options=CompositionSolver(method=method)
    ).transpose("z", "y", "x")
    inside = filled > 0.999
    pull = ((found.composition - composition) / found.composition_std).values[inside]
    assert 0.7 < np.sqrt(np.mean(pull**2)) < 1.3
    assert 0.55 < np.mean(np.abs(pull) < 1) < 0.82
    true = float(np.nansum(filled * composition) / filled.sum())
    assert abs(float(found.state_of_charge) - true) < 4 * float(found.state_of_charge_std)
    assert 0 < float(found.state_of_charge_std) < 0.03


def test_both_at_once_are_better(spheres: tuple[xr.Dataset, Array, Array]) -> None:
    data, filled, composition = spheres
    inside = filled > 0.999
    errors = {}
    for method in Method:
        options = CompositionSolver(method=method, draws=0)
        found = recover_composition(data, response=response(), options=options)
        assert "composition_std" not in found
        error = (found.composition.transpose("z", "y", "x").values - composition)[inside]
        errors[method] = float(np.sqrt(np.mean(error**2)))
    assert errors[Method.JOINT] < 0.8 * errors[Method.SEQUENTIAL]


def test_optical_densities_say_the_same(spheres: tuple[xr.Dataset, Array, Array]) -> None:
    data = spheres[0]
    options = CompositionSolver(method=Method.JOINT, draws=0)
    counted = recover_composition(data, response=response(), options=options)
    density = np.log(data.incident / (data.counts + 0.5))
    given_density = xr.Dataset(
        {"optical_density": density, "optical_density_std": 1 / np.sqrt(data.counts + 0.5)}
    )
    found = recover_composition(given_density, response=response(), options=options)
    change = (found.composition - counted.composition).values
    # The half count of the density is 1/600 of 300 counts.
    assert np.nanstd(change) < 0.01
    unknown = given_density.drop_vars("optical_density_std")
    with pytest.raises(BadInputError, match="needs the noise"):
        recover_composition(unknown, response=response(), options=options)


def test_order_of_energies_and_of_turning_does_not_matter(
    spheres: tuple[xr.Dataset, Array, Array],
) -> None:
    data = spheres[0]
    options = CompositionSolver(method=Method.JOINT, draws=0, joint={"iterations": 5})
    one = recover_composition(data, response=response(), options=options)
    other = recover_composition(data.isel(energy=[1, 0]), response=response(), options=options)
    np.testing.assert_allclose(one.density, other.density, atol=1e-3)
