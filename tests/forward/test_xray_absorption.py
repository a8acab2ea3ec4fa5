import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from echolith.errors import BadInputError
from echolith.forward.kramers_kronig import kramers_kronig
from echolith.forward.xray_absorption import (
    IronEdge,
    optical_constants,
    phosphate_response,
)
from echolith.forward.xray_factors import (
    ELECTRON_RADIUS,
    F2,
    PLANCK_TIMES_LIGHT,
    f1_at_high_energy,
    tabulated_f2,
)

EDGES = st.builds(
    IronEdge,
    peak=st.floats(1.2e-3, 2e-3),
    lithiated_ratio=st.floats(0.45, 0.6),
    delithiated_ratio=st.floats(1.9, 2.4),
    resolution=st.floats(0.1, 0.3),
    multiplet=st.floats(0.7, 1.0),
)


@given(EDGES)
def test_end_members_have_the_ratios_and_the_peak_asked_for(edge: IronEdge) -> None:
    response = phosphate_response(edge=edge).values
    assert np.isclose(response[0, 0], edge.peak, rtol=1e-9)
    for part, ratio in ((0.07, edge.lithiated_ratio), (0.98, edge.delithiated_ratio)):
        mixed = (1 - part) * response[0] + part * response[1]
        assert np.isclose(mixed[1] / mixed[0], ratio, rtol=1e-9)


@given(EDGES)
def test_absorption_is_positive_and_iron_in_fepo4_has_more_empty_states(edge: IronEdge) -> None:
    energies = np.arange(690.0, 760.0, 0.25)
    mu = optical_constants(tuple(energies), edge=edge).absorption.values
    assert (mu > 0).all()
    # Above what stands at 735 eV, both edges with their steps: 5/4 of the holes, 1.072 of the Fe;
    # the later step takes from FePO4 what stays below a tenth.
    areas = (mu[:2] - mu[:2, energies > 735].mean(axis=1, keepdims=True)).clip(0).sum(axis=1)
    assert 1.2 < areas[1] / areas[0] < 1.5


def test_polar_angles_are_the_published_ones() -> None:
    response = phosphate_response().values
    for part, angle in ((0.07, 27.48), (0.98, 65.0)):
        mixed = (1 - part) * response[0] + part * response[1]
        assert np.isclose(np.rad2deg(np.arctan2(mixed[1], mixed[0])), angle, atol=0.01)


@given(peak=st.floats(1.2e-3, 2e-3))
def test_refraction_of_lithium_iron_phosphate_is_that_of_tables(peak: float) -> None:
    # Tables give 6e-4 to 12e-4 at 708.2 eV.
    constants = optical_constants((708.2,), edge=IronEdge(peak=peak))
    assert 6e-4 < float(constants.delta.sel(species="LiFePO4")[0]) < 12e-4


@given(position=st.floats(300, 2000), width=st.floats(2, 60))
def test_kramers_kronig_closes_for_a_resonance(position: float, width: float) -> None:
    # f = E² / (E² - E0² + i Γ E): both parts in closed form, f1 to 1 at high energy.
    def resonance(e: np.ndarray) -> np.ndarray:
        return np.asarray(e**2 / (e**2 - position**2 + 1j * width * e))

    far = np.geomspace(1, 1e6, 3000)
    near = np.arange(position - 30 * width, position + 30 * width, width / 40)
    knots = np.unique(np.concatenate([far, near[near > 1]]))
    wanted = np.append(np.linspace(0.5, 1.5, 41) * position, knots[1500:1520])
    found = 1 + kramers_kronig(knots, -resonance(knots).imag, wanted)
    height = position / width
    assert np.allclose(found, resonance(wanted).real, atol=2e-3 * height + 2e-3)


# f1 of Chantler's tables, nuclear Thomson term left out, as tabulated by NIST FFAST.
@pytest.mark.parametrize(
    ("element", "energy", "f1"),
    [("O", 709.0, 8 - 0.61), ("O", 1000.0, 8 + 0.236), ("Fe", 565.86, 26 - 11.483),
     ("Fe", 1000.0, 26 - 3.83), ("Fe", 660.0, 26 - 15.05)],
)  # fmt: skip
def test_tables_of_f2_give_the_tabulated_f1(element: str, energy: float, f1: float) -> None:
    knots = np.unique(np.concatenate([np.geomspace(10, 1e5, 4000), F2[element][0]]))
    knots = knots[(knots >= 10) & (knots <= 1e5)]
    dispersion = kramers_kronig(knots, tabulated_f2(element, knots), np.array([energy]))
    # f2 is thinned to 2 %, and starts at 10 eV.
    assert np.isclose(f1_at_high_energy(element) + dispersion[0], f1, atol=0.35)


# Mass attenuation at 1 keV, cm²/g: Hubbell and Seltzer, NISTIR 5632 (1995), another
# calculation; for carbon the two differ by 7 %.
@pytest.mark.parametrize(
    ("element", "mass", "attenuation"),
    [("C", 12.011, 2211.0), ("O", 15.999, 4590.0), ("P", 30.974, 1913.0), ("Fe", 55.845, 9085.0)],
)
def test_attenuation_at_a_kiloelectronvolt(element: str, mass: float, attenuation: float) -> None:
    f2 = float(tabulated_f2(element, np.array([1000.0]))[0])
    area = 2 * ELECTRON_RADIUS * PLANCK_TIMES_LIGHT / 1000.0 * f2  # Å² per atom
    assert np.isclose(area * 1e-16 * 6.02214e23 / mass, attenuation, rtol=0.1)


def test_energies_and_elements_without_a_table_are_refused() -> None:
    with pytest.raises(BadInputError, match="energy = 900 eV; expected 680 to 780 eV"):
        optical_constants((900.0,))
    with pytest.raises(BadInputError, match="no table of the element 'Co'"):
        tabulated_f2("Co", np.array([700.0]))
    with pytest.raises(BadInputError, match="energy = 1 eV"):
        tabulated_f2("Fe", np.array([1.0]))
    with pytest.raises(BadInputError, match="increase"):
        kramers_kronig(np.array([2.0, 1.0]), np.ones(2), np.ones(1))


def test_edges_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"0\.016 per nm"):
        IronEdge(peak=0.016)
    with pytest.raises(ValidationError, match="not below"):
        IronEdge(lithiated=0.5, delithiated=0.4)
    with pytest.raises(ValidationError, match="white line below 0"):
        IronEdge(lithiated_ratio=0.05)
