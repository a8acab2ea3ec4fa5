"""What the places of spots tell: the camera constant, and how well a tilt fits."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.saed_spots import SingleCrystal, crystal_spots
from echolith.inverse.saed_camera import camera_of_spots
from echolith.inverse.saed_centre import FittedGeometry
from echolith.inverse.saed_crystals import CrystalOptions
from echolith.inverse.saed_geometry import Geometry
from echolith.inverse.saed_orientation_places import place_misfits
from echolith.inverse.saed_spots import FoundSpots, SpotCounts

DISTANCE = 11500.0
PHASES = tuple(crystal_phase(name) for name in ("Li", "Na"))


@given(seed=st.integers(0, 10**6), scale_std=st.floats(1e-5, 1e-2), tilt=st.floats(-0.1, 0.1))
def test_misfits_of_places_are_those_of_least_squares(
    seed: int, scale_std: float, tilt: float
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (6, 3))
    places, std = points[:, :2] + rng.normal(0, 1e-3, (6, 2)), rng.uniform(1e-4, 1e-3, 6)
    found = place_misfits(points, places, std, scale_std, np.array([[tilt, -tilt]]))
    x, y, _ = Rotation.from_rotvec([tilt, -tilt, 0.0]).apply(points).T
    design = np.concatenate([np.stack([-y, x], axis=1), np.stack([x, y], axis=1)]) / np.tile(
        std, 2
    ).reshape(-1, 1)
    rest = np.concatenate([places[:, 0] - x, places[:, 1] - y]) / np.tile(std, 2)
    design = np.vstack([design, [0.0, 1 / scale_std]])
    rest = np.append(rest, 0.0)
    best = np.linalg.lstsq(design, rest)[0]
    assert found[0] == pytest.approx(((rest - design @ best) ** 2).sum(), rel=1e-6, abs=1e-6)


@cache
def spots_of(name: str, seed: int) -> FoundSpots:
    """Return spots whose places have an error of 0.03 pixel."""
    rng = np.random.default_rng(seed)
    lean = Rotation.from_rotvec([*rng.normal(0, 1.0, 2), rng.uniform(-180, 180)], degrees=True)
    crystal = SingleCrystal(
        phase=crystal_phase(name), orientation=tuple(lean.as_rotvec(degrees=True).tolist())
    )
    spots = crystal_spots(crystal, energy=200e3, reach=0.02)
    strongest = np.argsort(-spots.share)[:12]
    places = DISTANCE * spots.tangent[strongest] + rng.normal(0, 0.03, (12, 2))
    electrons = 1e7 * spots.share[strongest]
    nothing = np.zeros((512, 512))
    geometry = FittedGeometry(
        geometry=Geometry(values=np.array([255.5, 255.5, 0.0, 0.0])),
        covariance=np.zeros((4, 4)),
        used=nothing == 0,
        seen=nothing == 0,
        stop=nothing > 0,
        excess=1.0,
    )
    return FoundSpots(
        places=places,
        place_std=np.full(12, 0.03),
        electrons=electrons,
        electrons_std=np.sqrt(electrons + 25),
        full=np.zeros(12, dtype=np.bool_),
        counts=SpotCounts(rest=nothing, variance=nothing + 1, fitted=geometry, width=1.3),
    )


def told(spots: FoundSpots, scale: float) -> tuple[float, float] | None:
    return camera_of_spots(
        spots,
        PHASES,
        energy=200e3,
        distance=DISTANCE / scale,
        scale_std=0.005,
        options=CrystalOptions(),
    )


@pytest.mark.parametrize("name", ["Li", "Na"])
def test_the_camera_constant_comes_back_from_places_alone(name: str) -> None:
    pulls = []
    for seed, scale in enumerate(np.linspace(0.988, 1.012, 8)):
        found = told(spots_of(name, seed), float(scale))
        assert found is not None
        pulls.append((found[0] - scale) / found[1])
        assert found[1] < 1e-3
    assert np.abs(pulls).max() < 3.5


def test_places_of_no_lattice_and_few_of_them_tell_no_camera_constant() -> None:
    spots = spots_of("Li", 1)
    rng = np.random.default_rng(1)
    anywhere = rng.uniform(-200, 200, spots.places.shape)
    assert told(with_places(spots, anywhere), 1.0) is None
    assert told(with_places(spots, spots.places[:3]), 1.0) is None


def with_places(spots: FoundSpots, places: np.ndarray) -> FoundSpots:
    count = len(places)
    return FoundSpots(
        places=places,
        place_std=spots.place_std[:count],
        electrons=spots.electrons[:count],
        electrons_std=spots.electrons_std[:count],
        full=spots.full[:count],
        counts=spots.counts,
    )
