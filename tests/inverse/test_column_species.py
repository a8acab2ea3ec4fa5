"""Species from brightness alone: phase first, the dark field where phase does not decide."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.inverse.column_species import assign_species
from echolith.inverse.columns import find_columns
from echolith.validation.matching import match_columns
from tests.inverse.weak_phase import Field, haadf_image, reconstruction, true_columns

Array = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]

# Heights of M, O, Li columns relative to O, of the band-passed phase and of the dark field, as 2 nm
# of Li-rich oxide show them.
PHASE = {"M": 2.2, "O": 1.0, "Li": 0.45}
DARK = {"M": 10.0, "O": 1.0, "Li": 0.3}


def brightness(species: Names, heights: dict[str, float], scatter: float, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    mean = np.array([heights[name] for name in species.tolist()])
    return np.asarray(mean * np.exp(rng.normal(0, scatter, len(species))))


def mixture(metal: int, oxygen: int, lithium: int) -> Names:
    return np.repeat(["M", "O", "Li"], [metal, oxygen, lithium])


COUNTS = st.builds(mixture, st.integers(3, 40), st.integers(6, 80), st.integers(3, 40))


@given(COUNTS, st.integers(0, 2**32))
def test_three_species_by_phase(species: Names, seed: int) -> None:
    # Scatter of 8 %: neighbouring logarithms are 9 standard deviations apart.
    found = assign_species(brightness(species, PHASE, 0.08, seed), None)
    np.testing.assert_array_equal(found, species)


@given(COUNTS, st.integers(0, 2**32), st.floats(1e-4, 1e4), st.floats(1e-4, 1e4))
def test_order_and_scale_do_not_matter(
    species: Names, seed: int, phase_scale: float, dark_scale: float
) -> None:
    phase = brightness(species, PHASE, 0.15, seed)
    dark = brightness(species, DARK, 0.4, seed + 1)
    order = np.random.default_rng(seed).permutation(len(species))
    plain = assign_species(phase, dark)
    scaled = assign_species(phase_scale * phase[order], dark_scale * dark[order])
    np.testing.assert_array_equal(scaled, plain[order])


@pytest.mark.parametrize("scatter", [0.0, 0.05])
@pytest.mark.parametrize("dark", [False, True])
def test_fewer_species_are_not_made_three(scatter: float, dark: bool) -> None:
    two, one = mixture(30, 60, 0), mixture(0, 60, 0)
    for species in (two, one):
        phase = brightness(species, PHASE, scatter, 1)
        field = brightness(species, DARK, scatter, 2) if dark else None
        np.testing.assert_array_equal(assign_species(phase, field), species)


def test_the_dark_field_decides_where_phase_is_ambiguous() -> None:
    """M and O overlap in phase (thick or tilted), not in the dark field."""
    species = mixture(40, 80, 40)
    close = {"M": 1.65, "O": 1.0, "Li": 0.4}
    wrong = {"phase": 0, "both": 0}
    for seed in range(10):
        phase = brightness(species, close, 0.15, seed)
        dark = brightness(species, DARK, 0.3, seed + 100)
        wrong["phase"] += int((assign_species(phase, None) != species).sum())
        wrong["both"] += int((assign_species(phase, dark) != species).sum())
    # Half the distance in the logarithm is 1.7 (M-O) and 3 (O-Li) standard deviations in phase:
    # 4 % of M and O cross it. The dark field adds 3.8 more.
    assert wrong["phase"] > 0.02 * 10 * 120
    assert wrong["both"] < 0.004 * 10 * 160


def test_phase_decides_where_the_dark_field_is_ambiguous() -> None:
    """Single M columns that hold mostly lithium scatter as weakly as O into the dark field."""
    species = mixture(40, 80, 40)
    for seed in range(10):
        phase = brightness(species, PHASE, 0.1, seed)
        dark = brightness(species, DARK, 0.3, seed + 100)
        dark[:3] = DARK["O"]
        np.testing.assert_array_equal(assign_species(phase, dark), species)


def test_a_useless_dark_field_does_no_harm() -> None:
    species = mixture(40, 80, 40)
    phase = brightness(species, PHASE, 0.1, 0)
    rng = np.random.default_rng(1)
    for dark in (np.zeros(160), np.full(160, 7.0), rng.normal(0, 1, 160)):
        assert np.mean(assign_species(phase, dark) == species) > 0.97


def test_columns_at_the_border_are_named_but_do_not_teach() -> None:
    """Cut columns are dimmer: as a cluster of their own they would displace a species."""
    species = mixture(20, 40, 0)
    phase = brightness(species, PHASE, 0.05, 3)
    sure = np.ones(60, dtype=bool)
    sure[:8] = False
    phase[:8] *= 0.1
    found = assign_species(phase, None, sure=sure)
    np.testing.assert_array_equal(found[sure], species[sure])
    assert set(found[~sure]) == {"O"}
    assert "Li" in assign_species(phase, None)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_columns_are_named_too(count: int) -> None:
    phase = np.array([9.0, 3.0, 1.0])[:count]
    expected = [["O"], ["M", "O"], ["M", "O", "Li"]][count - 1]
    assert assign_species(phase, None).tolist() == expected


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("dose", [2.9e4, 8.1e4])
def test_species_on_noisy_images(dose: float, dark: bool) -> None:
    """Phase and dark field of the published doses; every column in the interior is named right."""
    for seed in range(3):
        spec = Field(dose=dose)
        truth = true_columns(spec)
        truth = truth.assign(edge=truth["edge"] | near_border(truth, spec))
        phase = reconstruction(spec, seed=seed)["phase"]
        found = find_columns(phase, haadf=haadf_image(spec, seed=seed) if dark else None)
        match = match_columns(found, truth)
        assert len(match.truth) == match.expected > 40
        np.testing.assert_array_equal(
            found["species"].values[match.estimate], truth["species"].values[match.truth]
        )


def near_border(columns: object, spec: Field, margin: float = 2.0) -> npt.NDArray[np.bool_]:
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)  # type: ignore[index]
    extent = np.array(spec.shape[::-1]) * spec.step - spec.step
    return np.asarray(((xy < margin) | (xy > extent - margin)).any(axis=1))
