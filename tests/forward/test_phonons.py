import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.acquisition import Scan
from echolith.forward.phonons import Phonons, displaced, rms_displacements
from echolith.forward.stem import Engine, Simulation, stem_mean
from tests.forward.small_specimen import SIMULATION, acquisition, specimen

MANY = 4000


def lattice(symbol: str = "Li", n: int = MANY) -> Atoms:
    positions = np.random.default_rng(0).uniform(0, 10, (n, 3))
    return (
        Atoms(symbol * 1, positions=positions[:1], cell=[10, 10, 10])
        if n == 1
        else Atoms([symbol] * n, positions=positions, cell=[10, 10, 10])
    )


def shifts(atoms: Atoms, phonons: Phonons, configuration: int) -> npt.NDArray[np.float64]:
    return np.asarray(displaced(atoms, phonons, configuration).positions - atoms.positions)


def settings(configurations: int, seed: int, **changes: object) -> Simulation:
    phonons = Phonons(configurations=configurations, displacement=0.1, seed=seed)
    update = {"phonons": phonons, "engine": Engine.MULTISLICE, **changes}
    return SIMULATION.model_copy(update=update)


def computed(atoms: Atoms, simulation: Simulation) -> xr.Dataset:
    taken = acquisition(scan=Scan(shape=(2, 3), step=0.25))
    mean = stem_mean(atoms, acquisition=taken, simulation=simulation)
    return mean.compute(scheduler="synchronous")


@given(rms=st.floats(0.01, 0.3), seed=st.integers(0, 2**31))
def test_displacements_are_normal_across_the_beam(rms: float, seed: int) -> None:
    phonons = Phonons(configurations=1, displacement=rms, seed=seed)
    moved = shifts(lattice(), phonons, 0)
    assert (moved[:, 2] == 0).all()
    sideways = moved[:, :2] / rms
    # Five standard deviations of the mean, the variance and the correlation of x and y.
    assert np.abs(sideways.mean(axis=0)).max() < 5 / np.sqrt(MANY)
    assert np.abs(sideways.var(axis=0) - 1).max() < 5 * np.sqrt(2 / MANY)
    assert abs((sideways[:, 0] * sideways[:, 1]).mean()) < 5 / np.sqrt(MANY)


def test_the_average_structure_factor_falls_as_debye_and_waller_say() -> None:
    rms, k = 0.12, np.array([0.9, -0.7])
    atoms = lattice()
    phonons = Phonons(configurations=1, displacement=rms, seed=2)
    moved = shifts(atoms, phonons, 0)[:, :2]
    average = np.exp(-2j * np.pi * moved @ k).mean()
    assert abs(average - np.exp(-2 * np.pi**2 * rms**2 * (k @ k))) < 5 / np.sqrt(MANY)


@given(n=st.integers(1, 40), more=st.integers(1, 40), seed=st.integers(0, 1000))
def test_an_atom_moves_by_its_place_seed_and_configuration_alone(
    n: int, more: int, seed: int
) -> None:
    phonons = Phonons(configurations=3, displacement=0.1, seed=seed)
    few, many = lattice(n=n), lattice(n=n + more)
    np.testing.assert_array_equal(shifts(few, phonons, 1), shifts(few, phonons, 1))
    np.testing.assert_allclose(
        shifts(few, phonons, 1), shifts(many, phonons, 1)[:n], rtol=0, atol=1e-14
    )
    fewer = phonons.model_copy(update={"configurations": 2})
    np.testing.assert_array_equal(shifts(few, phonons, 1), shifts(few, fewer, 1))
    other = phonons.model_copy(update={"seed": seed + 1})
    for different in (shifts(few, phonons, 0), shifts(few, other, 1)):
        assert np.abs(different - shifts(few, phonons, 1))[:, :2].min() > 0


def test_each_element_has_its_own_displacement() -> None:
    atoms = Atoms(["Li", "O"] * 2000, positions=np.zeros((4000, 3)), cell=[5, 5, 5])
    phonons = Phonons(configurations=1, displacement={"Li": 0.2, "O": 0.05})
    np.testing.assert_array_equal(rms_displacements(atoms, phonons)[:4], [0.2, 0.05] * 2)
    moved = shifts(atoms, phonons, 0)[:, :2]
    assert moved[0::2].std() == pytest.approx(0.2, rel=5 / np.sqrt(2 * MANY))
    assert moved[1::2].std() == pytest.approx(0.05, rel=5 / np.sqrt(2 * MANY))


def test_a_missing_element_is_named() -> None:
    phonons = Phonons(configurations=1, displacement={"Mn": 0.1, "O": 0.1, "Lu": 0.1})
    with pytest.raises(BadInputError, match=r"no value for Li; .*known: Lu, Mn, O"):
        rms_displacements(specimen(), phonons)


@pytest.mark.parametrize("engine", [Engine.MULTISLICE, Engine.TILED, Engine.PRISM, Engine.BLOCH])
def test_the_measurement_is_the_mean_of_its_configurations(engine: Engine) -> None:
    atoms = specimen()
    wanted = settings(3, 7, engine=engine, minimum_box=7.0)
    average = computed(atoms, wanted)
    static = wanted.model_copy(update={"phonons": Phonons()})
    each = [computed(displaced(atoms, wanted.phonons, n), static) for n in range(3)]
    counts = np.mean([one.counts.values for one in each], axis=0)
    # Sums of three in single precision.
    np.testing.assert_allclose(average.counts, counts, rtol=0, atol=2e-6 * counts.max())
    haadf = np.mean([one.haadf.values for one in each], axis=0)
    np.testing.assert_allclose(average.haadf, haadf, rtol=1e-5)
    assert np.abs(each[0].counts.values - counts).max() > 1e-3 * counts.max()


@pytest.mark.parametrize("engine", [Engine.MULTISLICE, Engine.PRISM])
def test_of_zero_displacement_they_equal_the_static_specimen(engine: Engine) -> None:
    static = SIMULATION.model_copy(update={"engine": engine, "minimum_box": 7.0})
    nowhere = {"Mn": 0.0, "O": 0.0, "Li": 0.0}
    still = static.model_copy(update={"phonons": Phonons(configurations=2, displacement=nowhere)})
    one, other = (computed(specimen(), s) for s in (static, still))
    np.testing.assert_allclose(other.counts, one.counts, rtol=1e-6)


def test_more_configurations_scatter_less_about_the_same_mean() -> None:
    atoms, trials, many = specimen(), 24, 6
    ones = np.stack([computed(atoms, settings(1, seed)).counts for seed in range(trials)])
    means = np.stack(
        [computed(atoms, settings(many, 1000 + seed)).counts for seed in range(trials)]
    )
    ratio = ones.var(axis=0, ddof=1).sum() / means.var(axis=0, ddof=1).sum()
    # A ratio of two variances of 24 values, each a sum over few independent motions: log-normal of
    # standard deviation up to sqrt(2 * 2 / 23) = 0.42.
    assert abs(np.log(ratio / many)) < 4 * 0.42
    assert ratio > 2
    scale = np.sqrt(ones.var(axis=0) / trials + means.var(axis=0) / trials)
    bright = ones.mean(axis=0) > 0.1 * ones.mean(axis=0).max()
    # Five standard errors, of Student's t with some 30 degrees of freedom, over 10³ pixels.
    assert (np.abs(ones.mean(axis=0) - means.mean(axis=0)) < 6 * scale)[bright].all()
