"""Plural scattering and mean free paths: sums, Poisson terms one by one, numbers of the books."""

import json
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from echolith.forward.energy_loss import (
    CARBON,
    LITHIUM,
    LITHIUM_OXIDE,
    OSCILLATORS,
    characteristic_angle,
    edge_cross_section,
    elastic_rate,
    half_square_velocity,
    inelastic_mean_free_path,
)
from echolith.forward.plural_scattering import (
    LossModel,
    loss_energies,
    plural_distribution,
    window_shares,
    window_weights,
)
from tests.peers import environment_with

MODEL = LossModel(energy=200e3, semiangle=10.0)
LENGTHS = st.tuples(*(st.floats(0, most) for most in (3000.0, 800.0, 500.0)))


@given(lengths=LENGTHS)
def test_all_electrons_are_at_some_energy_and_the_mean_is_that_of_single_losses(
    lengths: tuple[float, float, float],
) -> None:
    """The mean holds where nothing goes round the grid: to 1e-6 of the electrons times 512 eV."""
    kinds = MODEL.scatterings(np.array(lengths))
    found = plural_distribution(kinds, MODEL.singles)
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert found.min() > -1e-12
    assert found[0] == pytest.approx(np.exp(-kinds.sum()), abs=1e-6)
    mean = float(kinds @ (MODEL.singles @ loss_energies()))
    assert found @ loss_energies() == pytest.approx(mean, rel=1e-6, abs=1e-3)


@given(lengths=LENGTHS)
def test_losses_are_the_mean_free_paths_and_add_up(lengths: tuple[float, float, float]) -> None:
    each = [MODEL.scatterings(np.diag(lengths)[n]) for n in range(3)]
    both = MODEL.scatterings(np.array(lengths))
    assert np.sum(each, axis=0) == pytest.approx(both, abs=1e-12)
    assert both.sum() == pytest.approx(float((np.array(lengths) / MODEL.paths).sum()), abs=1e-12)


@pytest.mark.parametrize("tau", [0.2, 1.5])
def test_the_logarithm_is_the_sum_over_numbers_of_losses(tau: float) -> None:
    """Convolutions one after the other, cut after 12 losses: 1e-8 of the electrons have more."""
    single = MODEL.singles[0]
    term = np.zeros(len(single))
    term[0] = 1.0
    expected = np.zeros(len(single))
    for n in range(13):
        expected += poisson.pmf(n, tau) * term
        term = np.convolve(term, single)[: len(single)]
    found = plural_distribution(np.array([tau, 0, 0, 0]), MODEL.singles)
    assert found == pytest.approx(expected, abs=1e-7)


@given(
    low=st.floats(-10, 60), width=st.floats(0.5, 60), resolution=st.floats(0.2, 2),
    lengths=st.lists(LENGTHS, min_size=1, max_size=4),
)  # fmt: skip
def test_a_window_passes_what_the_distribution_holds_there(
    low: float, width: float, resolution: float, lengths: list[tuple[float, float, float]]
) -> None:
    kinds = MODEL.scatterings(np.array(lengths))
    weights = window_weights(low, low + width, resolution=resolution)
    found = window_shares(kinds, MODEL.singles, weights[None])[:, 0]
    for one, share in zip(kinds, found, strict=True):
        expected = float(plural_distribution(one, MODEL.singles) @ weights)
        assert share == pytest.approx(expected, abs=1e-10)
        # Rays are apart: the same alone as among others, however they are cut into blocks.
        alone = window_shares(one[None], MODEL.singles, weights[None])
        assert alone[0, 0] == pytest.approx(share, abs=1e-13)


def test_windows_side_by_side_pass_what_one_does() -> None:
    edges = [-20.0, 3.0, 40.0, 55.0, 90.0]
    kinds = MODEL.scatterings(np.array([[900.0, 60.0, 100.0]]))
    parts = [window_weights(a, b, resolution=0.4) for a, b in pairwise(edges)]
    whole = window_weights(edges[0], edges[-1], resolution=0.4)
    shares = window_shares(kinds, MODEL.singles, np.stack([*parts, whole]))[0]
    assert shares[:-1].sum() == pytest.approx(shares[-1], abs=1e-12)


def test_velocities_and_angles_are_those_of_the_books() -> None:
    """Egerton (2011), appendix: m v²/2 is 123.6 keV at 200 kV; theta_E of 100 eV is 0.29 mrad."""
    assert half_square_velocity(200e3) == pytest.approx(123.6e3, rel=1e-3)
    assert float(characteristic_angle(100.0, 200e3)) == pytest.approx(0.29, rel=0.02)


def test_mean_free_paths_fall_with_density_and_aperture_and_are_of_the_known_size() -> None:
    """Carbon at 200 kV: 160 nm for a large aperture, to the 10 % of the formula."""
    carbon = inelastic_mean_free_path(2.0, energy=200e3, semiangle=20.0)
    assert carbon == pytest.approx(1600, rel=0.1)
    assert inelastic_mean_free_path(2.0, energy=200e3, semiangle=5.0) > carbon
    assert inelastic_mean_free_path(0.534, energy=200e3, semiangle=20.0) > carbon
    assert inelastic_mean_free_path(2.0, energy=80e3, semiangle=20.0) < carbon
    assert (MODEL.paths[0], MODEL.lithium[0]) == pytest.approx((2469, 0.04633), rel=1e-3)
    assert MODEL.lithium[1] == pytest.approx(8 / 4.619**3, rel=0.01)  # of the crystal


def test_elastic_scattering_is_that_of_lenz() -> None:
    """Egerton (2011), eq. 3.5: 1.87e-24 m² Z^(4/3) c²/v²; a closed aperture passes nothing."""
    beta2 = 1 - 1 / (1 + 200e3 / 510999) ** 2
    expected = CARBON.number_density(6) * 1.87e-4 * 6 ** (4 / 3) / beta2
    assert elastic_rate(CARBON, energy=200e3, semiangle=1e-6) == pytest.approx(expected, rel=5e-3)
    rates = [elastic_rate(m, energy=200e3, semiangle=10.0) for m in (LITHIUM, LITHIUM_OXIDE)]
    assert 0 < rates[0] < rates[1]


def test_the_edge_starts_at_its_energy_and_holds_what_was_tabulated() -> None:
    e = np.array([54.9, 55.0, 64.0, 200.1])
    section = edge_cross_section(e, energy=200e3, semiangle=10.0)
    assert (section[[0, 3]] == 0).all()
    assert section[1] > section[2] > 0
    # 4 pi a0² R² / (E T) df/dE ln(1 + b²/th_E²), by hand at the edge.
    angle = 55 / (2 * (1 + 200e3 / 510999) * 123.6e3) * 1e3
    hand = 4 * np.pi * 0.529177**2 * 13.6057**2 / (55 * 123.6e3) * 0.0299
    assert section[1] == pytest.approx(hand * np.log(1 + (10 / angle) ** 2), rel=2e-3)


def test_oscillators_are_those_of_chantler() -> None:
    python = environment_with("xraydb")
    code = (
        "import json, sys, numpy as np, xraydb\n"
        "e = np.array(json.loads(sys.argv[1]))\n"
        "print(json.dumps((2 * xraydb.f2_chantler('Li', e) / (np.pi * e)).tolist()))"
    )
    command = [str(python), "-c", code, json.dumps(list(OSCILLATORS))]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert list(OSCILLATORS.values()) == pytest.approx(found, rel=0.01)
