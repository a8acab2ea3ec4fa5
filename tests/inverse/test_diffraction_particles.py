"""Crystals of a diffraction map: told apart whatever bends inside, with true error bars."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.inverse.diffraction_particles import (
    MapParticles,
    map_particle_table,
    recover_map_particles,
)
from echolith.inverse.diffraction_segmentation import DIMS, MapSegmentation, segment_map

STEP = 300.0
NOISE = {"strain": 3e-5, "tilt_x": 0.003, "tilt_y": 0.003}
FEW = settings(max_examples=20)


def noisy(seed: int, *, noise: float = 1.0, **true: np.ndarray) -> xr.Dataset:
    """Return maps of given strain and tilts with as much noise as they say; the rest is 0."""
    rng = np.random.default_rng(seed)
    shape = next(iter(true.values())).shape
    maps = xr.Dataset(
        coords={d: (d, np.arange(n) * STEP) for d, n in zip(DIMS, shape, strict=True)}
    )
    for name, std in NOISE.items():
        stds = noise * std * rng.uniform(0.5, 2, shape)
        value = true.get(name, np.zeros(shape)) + stds * rng.standard_normal(shape)
        maps[name] = (DIMS, value)
        maps[f"{name}_std"] = (DIMS, np.where(np.isfinite(value), stds, np.inf))
    maps["spacing"], maps["spacing_std"] = 4.743 * (1 + maps["strain"]), 4.743 * maps["strain_std"]
    return maps


def whole(maps: xr.Dataset) -> xr.DataArray:
    return xr.DataArray(np.ones(maps["strain"].shape, dtype=np.int32), dims=DIMS)


@FEW
@given(
    seed=st.integers(0, 1000),
    bend=st.floats(0, 0.05),
    jump=st.floats(0.15, 10),
    azimuth=st.floats(0, 360),
    mixed=st.booleans(),
)
def test_a_jump_parts_two_crystals_and_bending_does_not(
    seed: int, bend: float, jump: float, azimuth: float, mixed: bool
) -> None:
    """Bent by up to 0.05° a point, so that both ends of a crystal lie further apart than a jump."""
    shape = (14, 20)
    turn = np.radians(azimuth)
    part = np.clip(np.arange(20) - 9, 0, 1) * np.ones(shape)
    if mixed:  # one column shows both
        part[:, 10] = 0.5
    bent = bend * np.arange(14)[:, None] + bend * np.arange(20)
    maps = noisy(
        seed,
        tilt_x=bent + jump * np.cos(turn) * part,
        tilt_y=-bent + jump * np.sin(turn) * part,
        strain=1e-4 * np.arange(20) * np.ones(shape),
    )
    labels = segment_map(maps).values
    assert labels.max() == 2
    # Beside the border, above all at the column that shows both, a point may go to either side.
    left, right = labels[:, : 10 - mixed], labels[:, 11 + mixed :]
    assert left[7, 0] != right[7, -1]
    assert (left == left[7, 0]).mean() > 0.98
    assert (right == right[7, -1]).mean() > 0.98
    one = segment_map(maps, options=MapSegmentation(misorientation=4 * jump)).values
    assert (one == 1).all()


@pytest.mark.parametrize(("noise", "most"), [(1.0, 0), (30.0, 1)])
def test_noise_alone_parts_nothing(noise: float, most: int) -> None:
    """Even where it is far above the jump asked for, since its size is known; 40 maps."""
    parted = 0
    for seed in range(40):
        labels = segment_map(noisy(seed, noise=noise, strain=np.zeros((16, 18)))).values
        assert labels.min() == 1
        parted += labels.max() > 1
    assert parted <= most


def test_points_without_data_part_crystals_and_small_ones_are_nothing() -> None:
    strain = np.zeros((12, 20))
    strain[:, 11] = np.nan
    strain[:5, 15:] = np.nan
    strain[2, 17] = 0.0
    labels = segment_map(noisy(1, strain=strain)).values
    assert (labels[:, :11] == 1).all()
    assert labels[2, 17] == 0
    assert (labels[np.isfinite(strain) & (np.arange(20) > 11)] != 1).all()
    assert set(np.unique(labels)) == {0, 1, 2}


def test_a_step_of_the_spacing_parts_grains_of_one_orientation() -> None:
    strain = np.where(np.arange(16) < 9, 0.0, 2e-3) * np.ones((12, 16))
    found = recover_map_particles(noisy(2, strain=strain))
    assert int(found.particles) == 2
    c = found.particle_c.values
    assert c[1] - c[0] == pytest.approx(3 * 4.743 * 2e-3, rel=0.01)
    # Points beside the other grain are not averaged.
    assert found.particle_points.values.tolist() == [12 * 8, 12 * 6]
    assert found.particle_area.values.tolist() == [12 * 9 * STEP**2, 12 * 7 * STEP**2]
    assert found.particle_c_histogram.sum("c_bin").values.tolist() == [12 * 8, 12 * 6]
    peak = found.c_bin.values[found.particle_c_histogram.values.argmax(axis=1)]
    assert peak == pytest.approx(c, abs=2e-3 * 3 * 4.743 / 4)


@pytest.mark.parametrize("spread", [0.0, 3e-5, 1e-3])
def test_means_and_spreads_are_as_uncertain_as_they_say(spread: float) -> None:
    """Of 100 draws of the noise on one and the same crystal; the noise is 1.5e-5 to 6e-5."""
    rng = np.random.default_rng(5)
    true: dict[str, np.ndarray] = {
        "strain": spread * rng.standard_normal((15, 16)),
        "tilt_x": 0.01 * rng.standard_normal((15, 16)),
    }
    pulls = []
    for seed in range(100):
        maps = noisy(seed, noise=1.0, **true)
        maps["c"], maps["c_std"] = 3 * maps["spacing"], 3 * maps["spacing_std"]
        row = map_particle_table(maps, whole(maps)).isel(particle=0)
        wanted = {
            "c": 3 * 4.743 * (1 + true["strain"].mean()),
            "tilt_x": true["tilt_x"].mean(),
            "strain_spread": true["strain"].std(ddof=1),
            "tilt_spread": true["tilt_x"].std(ddof=1),
        }
        pulls.append([float((row[n] - v) / row[f"{n}_std"]) for n, v in wanted.items()])
    found = np.array(pulls)
    # The mean of n pulls is known to 1 / sqrt(n), their standard deviation to 1 / sqrt(2 n).
    slack = 4 / np.sqrt(2 * len(found))
    wide = slice(None) if spread else slice(0, 2)  # the root of what is 0 has one side
    assert np.abs(found.mean(axis=0)[wide]).max() < 4 / np.sqrt(len(found))
    assert found.std(axis=0)[wide] == pytest.approx(1, abs=slack)
    within = (np.abs(found) < 1 + 1e-9).mean(axis=0)
    assert (within > 0.683 - 4 * np.sqrt(0.683 * 0.317 / len(found))).all()


def test_discs_have_their_area() -> None:
    """Of points counted on a lattice, as Kendall (1948) found it for circles: 0.676 sqrt(R)."""
    rng = np.random.default_rng(3)
    pulls = []
    for _ in range(120):
        radius = rng.uniform(5, 9)
        y, x = np.indices((24, 24)) - 11.5 - rng.uniform(-0.5, 0.5, (2, 1, 1))
        strain = np.where(np.hypot(y, x) < radius, 0.0, np.nan)
        maps = noisy(0, strain=strain)
        maps["c"], maps["c_std"] = maps["spacing"], maps["spacing_std"]
        label = xr.DataArray(np.isfinite(strain).astype(np.int32), dims=DIMS)
        row = map_particle_table(maps, label).isel(particle=0)
        pulls.append(float((row["area"] - np.pi * (radius * STEP) ** 2) / row["area_std"]))
    assert abs(np.mean(pulls)) < 4 / np.sqrt(120)
    assert np.std(pulls) == pytest.approx(1, abs=4 / np.sqrt(240))


def test_nothing_has_no_number() -> None:
    empty = recover_map_particles(noisy(1, strain=np.full((9, 9), np.nan)))
    assert int(empty.particles) == 0
    assert empty.sizes["particle"] == 0
    lone = np.full((9, 9), np.nan)
    lone[4, 4] = 0.0
    options = MapParticles(segmentation=MapSegmentation(smallest=1))
    found = recover_map_particles(noisy(1, strain=lone), options=options).isel(particle=0)
    assert np.isfinite(float(found.particle_c))
    assert np.isnan(float(found.particle_c_spread))
    assert np.isinf(float(found.particle_c_spread_std))


def test_what_is_no_map_is_refused() -> None:
    maps = noisy(1, strain=np.zeros((9, 9)))
    for bad in (maps.drop_vars("tilt_x_std"), maps.assign(tilt_x_std=0.1)):
        with pytest.raises(BadInputError, match=r"no map of tilt_x_std; expected tilt_x, .*scan_y"):
            segment_map(bad)
