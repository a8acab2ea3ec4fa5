"""The bound of composition against numerical differentiation of the counts, and how it scales."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.forward.noise import PoissonCounting
from echolith.forward.projection import project, system_matrix
from echolith.forward.tilts import Tilts, centres
from echolith.forward.xray_absorption import ENERGIES, phosphate_response
from echolith.validation.bounds import bound_of
from echolith.validation.composition_bound import composition_information
from echolith.validation.information import Parameters, fisher_information

Array = npt.NDArray[np.float64]

TILTS = Tilts(angles=tuple(range(-70, 80, 10)))
SHAPE = (6, 2, 6)
HALF = system_matrix(TILTS.model_copy(update={"voxel_size": 33.5}), shape=(12, 12))


def specimen(seed: int) -> xr.Dataset:
    """Four voxels in each of two slices, one of them half full, and one of binder."""
    rng = np.random.default_rng(seed)
    density, binder = np.zeros(SHAPE), np.zeros(SHAPE)
    density[2:4, :, 2:4] = 1
    density[3, :, 3] = 0.5
    binder[4, :, 4] = 1
    share = np.where(density > 0, rng.uniform(0.05, 0.95, SHAPE), 0)
    dims = ("z", "y", "x")
    values = {"density": density, "composition": share, "binder": binder, "inside": density > 0.9}
    coords = {dim: centres(n, 67.0) for dim, n in zip(dims, SHAPE, strict=True)}
    return xr.Dataset({name: (dims, v) for name, v in values.items()}, coords=coords)


def mean_counts(first: Array, second: Array, other: Array, incident: float) -> xr.DataArray:
    """Counts through amounts of two species on voxels, by half voxels and two rays a pixel."""
    pure = phosphate_response().transpose("energy", "species").values
    images = []
    for row in pure:
        fine = np.kron(row[0] * first + row[1] * second + other, np.ones((2, 1, 2)))
        density = project(fine, HALF).astype(np.float64)
        images.append(incident * np.exp(-density.reshape(*density.shape[:2], 6, 2).mean(axis=3)))
    dims = ("energy", "tilt", "y", "x")
    return xr.DataArray(np.stack(images), dims=dims, coords={"energy": list(ENERGIES)})


def bound(truth: xr.Dataset, incident: float) -> xr.Dataset:
    amount = truth["density"].values * truth["composition"].values
    counts = mean_counts(
        truth["density"].values - amount, amount, 1e-4 * truth["binder"].values, incident
    )
    return bound_of(
        composition_information(counts, truth, tilts=TILTS, response=phosphate_response())
    )


def test_numerical_differentiation_gives_the_same() -> None:
    """Amounts of both species in every voxel that holds anything, one by one."""
    truth = specimen(1)
    density, share = truth["density"].values, truth["composition"].values
    held = [tuple(at) for at in np.argwhere((density + truth["binder"].values) > 0)]
    start = {f"{k}.{at}": 0.0 for k in (0, 1) for at in held}

    def amounts(values: Mapping[str, float]) -> list[Array]:
        both = [density * (1 - share), density * share]
        for k in (0, 1):
            both[k] = both[k].copy()
            for at in held:
                both[k][at] += values[f"{k}.{at}"]
        return both

    def mean(values: Mapping[str, float]) -> xr.Dataset:
        first, second = amounts(values)
        return xr.Dataset({"c": mean_counts(first, second, 1e-4 * truth["binder"].values, 400)})

    def quantities(values: Mapping[str, float]) -> dict[str, float]:
        first, second = amounts(values)
        phosphate = density > 0
        total = first[phosphate].sum() + second[phosphate].sum()
        each = {str(at): second[at] / (first[at] + second[at]) for at in held if density[at] > 0.9}
        return {"state_of_charge": second[phosphate].sum() / total, **each}

    oracle = bound_of(
        fisher_information(
            Parameters(
                values=start,
                # Single precision of the projection asks for steps that are felt.
                scales=dict.fromkeys(start, 0.5),
                mean=mean,
                quantities=quantities,
            ),
            PoissonCounting(),
            tolerance=1e-2,
        )
    )
    found = bound(truth, 400)
    single = [float(oracle[str(at)]) ** 2 for at in held if density[at] > 0.9]
    assert float(found["composition"]) == pytest.approx(np.sqrt(np.mean(single)), rel=0.02)
    charge = float(oracle["state_of_charge"])
    assert float(found["state_of_charge"]) == pytest.approx(charge, rel=0.02)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1.5, 30))
def test_bound_falls_as_the_root_of_the_dose(seed: int, factor: float) -> None:
    truth = specimen(seed)
    one, more = bound(truth, 300.0), bound(truth, 300.0 * factor)
    for name in ("composition", "state_of_charge"):
        assert float(one[name]) == pytest.approx(float(more[name]) * np.sqrt(factor), rel=1e-6)


def test_more_unknown_voxels_tell_less() -> None:
    truth = specimen(2)
    blurred = truth.assign(binder=truth["binder"].where(truth["density"] > 0, 1.0))
    amount = truth["density"].values * truth["composition"].values
    counts = mean_counts(truth["density"].values - amount, amount, np.zeros(SHAPE), 300)
    known, unknown = (
        bound_of(composition_information(counts, t, tilts=TILTS, response=phosphate_response()))
        for t in (truth, blurred)
    )
    assert float(unknown["composition"]) > 1.2 * float(known["composition"])
