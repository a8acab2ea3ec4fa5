"""The linear components against the aberration function, and Gamma against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.forward.acquisition import Aberrations, Beam
from echolith.forward.optics import aberration_phase, wavelength
from echolith.inverse.aberration_basis import (
    components,
    exponents,
    fill_basis,
    from_aberrations,
    scales,
    to_aberrations,
)
from echolith.inverse.aberration_kernels import fill_overlap

NAMES = [name for name in Aberrations.model_fields if name.startswith("C")]


@st.composite
def any_aberrations(draw: st.DrawFn) -> Aberrations:
    """Draw every coefficient up to 2 rad at the rim of 22.4 mrad, and every azimuth."""
    unit = dict(zip((c.name for c in components(5)), scales(5, Beam(semiangle=22.4)), strict=True))
    found = {}
    for name in NAMES:
        found[name] = draw(st.floats(-2, 2)) * unit.get(name, unit.get(f"{name}_a", 0.0))
        if name[2] != "0":
            found[f"phi{name[1:]}"] = draw(st.floats(-3, 3))
    return Aberrations(**found)


@given(any_aberrations(), st.floats(-1, 1), st.floats(-1, 1))
def test_components_sum_to_the_aberration_function(chosen: Aberrations, x: float, y: float) -> None:
    beam = Beam(semiangle=22.4)
    basis = np.empty(len(components(5)))
    fill_basis(x, y, exponents(5), basis)
    radius = 22.4e-3 / beam.wavelength
    expected = aberration_phase(
        np.array(x * radius), np.array(y * radius), aberrations=chosen, energy=beam.energy
    )
    found = basis @ (from_aberrations(chosen) / scales(5, beam))
    assert found == pytest.approx(float(expected), abs=1e-9)


@given(any_aberrations())
def test_there_and_back_is_the_same_aberration_function(chosen: Aberrations) -> None:
    again = to_aberrations(from_aberrations(chosen), 5)
    k = np.random.default_rng(0).uniform(-0.8, 0.8, (2, 50))
    one, other = (
        aberration_phase(*k, aberrations=aberrations, energy=200e3)
        for aberrations in (chosen, again)
    )
    np.testing.assert_allclose(one, other, atol=1e-8)
    assert all(getattr(again, name) >= 0 for name in NAMES if name[2] != "0")


def test_components_follow_the_order_of_the_coefficients() -> None:
    assert [c.name for c in components(3)] == [
        "C10", "C12_a", "C12_b", "C21_a", "C21_b", "C23_a", "C23_b",
        "C30", "C32_a", "C32_b", "C34_a", "C34_b",
    ]  # fmt: skip
    assert [len(components(n)) for n in range(1, 6)] == [3, 7, 12, 18, 25]


def test_one_radian_of_defocus_is_lambda_over_pi_alpha_squared() -> None:
    expected = wavelength(200e3) / (np.pi * 22.4e-3**2)
    assert scales(1, Beam(semiangle=22.4))[0] == pytest.approx(expected)


@given(any_aberrations(), st.integers(0, 99))
def test_gamma_is_that_of_its_definition(chosen: Aberrations, seed: int) -> None:
    beam = Beam(semiangle=22.4, aberrations=chosen)
    random = np.random.default_rng(seed)
    samples = random.integers(1, 4, 30)
    x, y = random.uniform(-0.7, 0.7, (2, 30, 3))
    q = random.uniform(-1.2, 1.2, 2)
    phases = from_aberrations(chosen) / scales(5, beam)
    bands, jacobian = np.empty((2, 30), complex), np.empty((2, 30, 25), complex)
    fill_overlap(x, y, samples, q[0], q[1], 1.0, exponents(5), phases, 0.0, 0.0, bands, jacobian)
    radius = 22.4e-3 / beam.wavelength

    def psi(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        chi = aberration_phase(x * radius, y * radius, aberrations=chosen, energy=beam.energy)
        return np.where(np.hypot(x, y) <= 1, np.exp(-1j * chi), 0)

    expected = np.stack(
        [
            psi(x, y).conj() * psi(x - q[0], y - q[1]),
            -psi(x, y) * psi(x + q[0], y + q[1]).conj(),
        ]
    )
    expected = (expected * (np.arange(3) < samples[:, None])).sum(axis=-1)
    np.testing.assert_allclose(bands, expected, atol=1e-8)


@given(st.integers(0, 999), st.sampled_from([0.0, 0.7]), st.sampled_from([0.0, 0.9]))
def test_derivatives_are_differences(seed: int, focal: float, thick: float) -> None:
    random = np.random.default_rng(seed)
    x, y = random.uniform(-0.7, 0.7, (2, 20, 2))
    samples, phases = np.full(20, 2), random.normal(size=12)
    q = random.uniform(-1.2, 1.2, 2)

    def fill(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bands, jacobian = np.empty((2, 20), complex), np.empty((2, 20, 12), complex)
        fill_overlap(
            x, y, samples, q[0], q[1], 1.0, exponents(3), at, focal, thick, bands, jacobian
        )
        return bands, jacobian

    step = 1e-5
    _, jacobian = fill(phases)
    for j in range(12):
        ahead, behind = (fill(phases + sign * step * np.eye(12)[j])[0] for sign in (1, -1))
        # Truncation step² times the third derivative, at most 8; rounding 1e-16 / step.
        np.testing.assert_allclose(jacobian[..., j], (ahead - behind) / (2 * step), atol=1e-8)
