"""Orientations of crystals from their spots: accuracy, doubts, two grains, too few spots."""

from functools import cache, partial

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.transform import Rotation

from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.noise import PoissonCounting
from echolith.forward.saed import SaedAcquisition, SaedSpecimen, saed_mean
from echolith.forward.saed_spots import SingleCrystal, Theory, crystal_spots
from echolith.inverse.saed_centre import FittedGeometry
from echolith.inverse.saed_crystals import CrystalOptions, crystal_evidence
from echolith.inverse.saed_geometry import Geometry
from echolith.inverse.saed_measured_spots import MeasuredSpots, spot_vectors
from echolith.inverse.saed_orientation import Orientation, find_orientation
from echolith.inverse.saed_spot_crystal import SpotCrystal, misorientation, spot_crystal
from echolith.inverse.saed_spots import FoundSpots, find_spots
from echolith.validation.scenarios.li_saed import ROTATIONS

CAMERA = partial(SaedAcquisition, beam_stop=None, background=((2e-6, 0.5),), electrons=2e7)
CENTRE = (255.5, 255.5)
ARRAY = np.ndarray


@cache
def candidate(name: str) -> SpotCrystal:
    return spot_crystal(crystal_phase(name), energy=200e3, reach=1.3)


def drawn(rng: np.random.Generator, name: str = "Li") -> SingleCrystal:
    rotation = Rotation.from_rotvec([*rng.normal(0, 1.5, 2), 0.0], degrees=True)
    rotation *= Rotation.from_rotvec([0, 0, float(rng.uniform(-180, 180))], degrees=True)
    rotation *= Rotation.from_matrix(ROTATIONS[int(rng.integers(24))])
    return SingleCrystal(
        phase=crystal_phase(name),
        orientation=tuple(rotation.as_rotvec(degrees=True).tolist()),
        thickness=float(rng.uniform(120, 250)),
        share=0.5,
    )


def spots_of(*crystals: SingleCrystal, seed: int, saturation: float = 1e9) -> FoundSpots:
    """Return the spots of a pattern whose centre and background are known."""
    acquisition = CAMERA()
    mean = saed_mean(SaedSpecimen(crystals=crystals), acquisition=acquisition)
    counts = np.minimum(PoissonCounting().sample(mean, seed=seed)["counts"].values, saturation)
    seen = counts < saturation
    geometry = FittedGeometry(
        geometry=Geometry(values=np.array([*CENTRE, 0.0, 0.0])),
        covariance=np.zeros((4, 4)),
        used=seen,
        seen=seen,
        stop=np.hypot(*(np.indices(counts.shape) - CENTRE[0])) < 12,
        excess=1.0,
    )
    return find_spots(counts.astype(float), geometry)


def evidence(spots: FoundSpots) -> tuple[dict[str, xr.DataArray], dict[str, float], list[str]]:
    reasons: list[str] = []
    names = ("Li", "Na")
    found = crystal_evidence(
        spots,
        [crystal_phase(name) for name in names],
        energy=200e3,
        distance=CAMERA().distance,
        scale_std=1e-4,
        options=CrystalOptions(),
        undetermined=reasons,
    )
    return found.variables, dict(zip(names, found.probability.tolist(), strict=True)), reasons


def nearest(found: dict[str, xr.DataArray], names: tuple[str, ...], truth: ARRAY) -> float:
    there = [found[name].values for name in names if name in found]
    return min((misorientation(one, truth, ROTATIONS) for one in there), default=180.0)


def test_orientations_come_back_or_are_said_to_be_doubtful() -> None:
    rng = np.random.default_rng(7)
    errors, pulls = [], []
    for seed in range(8):
        crystal = drawn(rng, "Na" if seed == 3 else "Li")
        found, _, reasons = evidence(spots_of(crystal, seed=seed))
        angle = nearest(found, ("orientation", "orientation_other"), crystal.rotation)
        errors.append(angle)
        if not reasons:
            std = np.hypot(float(found["tilt_std"]), float(found["turn_std"]))
            pulls.append(angle / std)
    assert np.median(errors) < 0.05
    assert len(pulls) >= 3
    # Three components of one standard deviation each: four is rarer than 1 in 1000.
    assert max(pulls) < 4


@pytest.mark.parametrize("seed", [23, 27])
def test_two_crystals_are_both_told(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pair = drawn(rng), drawn(rng)
    found, probability, _ = evidence(spots_of(*pair, seed=1))
    assert probability["Li"] > 0.99
    names = ("orientation", "orientation_other"), ("orientation_2", "orientation_other_2")
    for crystal in pair:
        assert min(nearest(found, some, crystal.rotation) for some in names) < 0.05


def test_two_crystals_that_are_not_told_apart_are_said_not_to_be() -> None:
    rng = np.random.default_rng(21)
    found, _, reasons = evidence(spots_of(drawn(rng), drawn(rng), seed=1))
    assert "orientation" in found or any("crystals explain" in reason for reason in reasons)


def test_the_kind_of_crystal_is_told_with_its_probability() -> None:
    rng = np.random.default_rng(2)
    for name, other in (("Li", "Na"), ("Na", "Li")):
        _, probability, _ = evidence(spots_of(drawn(rng, name), seed=4))
        assert probability[name] > 0.99
        assert probability[other] < 0.01


def test_spots_that_are_full_are_left_out_and_named() -> None:
    crystal = drawn(np.random.default_rng(7))
    found, _, reasons = evidence(spots_of(crystal, seed=0, saturation=2000))
    assert any("saturated or cut" in reason for reason in reasons)
    assert nearest(found, ("orientation", "orientation_other"), crystal.rotation) < 1


def test_few_spots_fix_no_orientation_and_the_reason_says_how_many() -> None:
    rng = np.random.default_rng(3)
    spots = spots_of(drawn(rng), seed=2)
    few = FoundSpots(
        places=spots.places[:3],
        place_std=spots.place_std[:3],
        electrons=spots.electrons[:3],
        electrons_std=spots.electrons_std[:3],
        full=spots.full[:3],
        counts=spots.counts,
    )
    found, probability, reasons = evidence(few)
    assert "orientation" not in found
    assert reasons[-1] == "orientation: 3 spots, 4 are needed"
    assert probability == {"Li": 0.5, "Na": 0.5}


@pytest.mark.parametrize(("line", "why"), [(False, "no crystal"), (True, "all on one line")])
def test_spots_of_no_lattice_or_on_one_line_are_no_crystal(line: bool, why: str) -> None:
    spots = spots_of(drawn(np.random.default_rng(3)), seed=2)
    rng = np.random.default_rng(5)
    places = rng.uniform(-200, 200, spots.places.shape)
    if line:
        places[:, 1] = 0.3 * places[:, 0]
    anywhere = FoundSpots(
        places=places,
        place_std=spots.place_std,
        electrons=spots.electrons,
        electrons_std=spots.electrons_std,
        full=spots.full,
        counts=spots.counts,
    )
    found, _, reasons = evidence(anywhere)
    assert "orientation" not in found
    assert any(reason.startswith("orientation:") and why in reason for reason in reasons)


@pytest.mark.parametrize("uvw", [(1, 1, 1), (0, 1, 2)])
def test_half_a_turn_that_no_spot_tells_is_given_as_the_other_answer(
    uvw: tuple[int, int, int],
) -> None:
    upright, _ = Rotation.align_vectors([[0.0, 0.0, -1.0]], [np.array(uvw, dtype=float)])
    rotation = Rotation.from_rotvec([0.8, -0.5, 0], degrees=True) * upright
    crystal = SingleCrystal(
        phase=crystal_phase("Li"), orientation=tuple(rotation.as_rotvec(degrees=True).tolist())
    )
    found = oriented(crystal)
    assert found is not None
    assert found.other is not None
    angles = [
        misorientation(one, rotation.as_matrix(), ROTATIONS) for one in (found.matrix, found.other)
    ]
    assert min(angles) < 0.05
    assert max(angles) > 20


def oriented(crystal: SingleCrystal) -> Orientation | None:
    """Return what spots without noise tell."""
    spots = crystal_spots(crystal, energy=200e3, reach=0.03)
    li, distance = candidate("Li"), 11500.0
    vectors = spot_vectors(distance * spots.tangent, k=li.k, distance=distance)
    seen = (np.hypot(*vectors[:, :2].T) < 0.85) & (spots.share > 2e-5)
    order = np.argsort(-spots.share * seen)[: seen.sum()]

    def measure(g: ARRAY) -> tuple[ARRAY, ARRAY]:
        away = np.linalg.norm(g[:, None, :2] - vectors[None, :, :2], axis=-1)
        near = away < 0.003
        electrons = (near * spots.share).sum(axis=1) * 1e7
        std = np.where(np.hypot(g[:, 0], g[:, 1]) < 0.85, np.sqrt(electrons + 25), np.inf)
        return electrons, std

    electrons = 1e7 * spots.share[order]
    return find_orientation(
        li,
        MeasuredSpots(
            vectors=vectors[order],
            vector_std=np.full(len(order), 3e-4),
            electrons=electrons,
            electrons_std=np.sqrt(electrons + 25),
            full=np.zeros(len(order), dtype=np.bool_),
            taken=np.empty((0, 3)),
            scale_std=1e-4,
            measure=measure,
        ),
    )


def test_a_theory_that_does_not_hold_widens_the_standard_deviation() -> None:
    crystal = drawn(np.random.default_rng(11))
    right = oriented(crystal)
    wrong = oriented(crystal.model_copy(update={"theory": Theory.KINEMATIC, "thickness": 300.0}))
    assert right is not None
    assert wrong is not None
    assert wrong.chi_squared > 2 * right.chi_squared
    assert wrong.tilt_std > right.tilt_std
