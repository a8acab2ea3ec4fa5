"""Powder patterns: unit lines, weights, offsets, and what an ensemble of plates shows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.optimize import nnls

from echolith.errors import BadInputError
from echolith.forward.crystal_phases import crystal_phase, ensemble_powder
from echolith.forward.powder_pattern import (
    PowderAcquisition,
    PowderGeometry,
    PowderPhase,
    march_dollase,
    phase_pattern,
    powder_mean,
)
from echolith.forward.powder_profile import AxialDivergence, axial_curve, line
from echolith.forward.structure_factors import allowed_reflections
from echolith.structures.phosphate_ensemble import PlateEnsemble, phosphate_ensemble
from echolith.structures.plate_packing import PackingRegion

NARROW = PowderAcquisition(start=15, stop=60, step=0.05, background=(0.0,))
divergences = st.builds(
    AxialDivergence,
    sample=st.floats(0, 0.06),
    slit=st.floats(0, 0.06),
)


@given(
    centre=st.floats(10, 160),
    gaussian=st.floats(0.05, 0.3),
    lorentzian=st.floats(0, 0.1),
    divergence=divergences,
)
def test_a_line_has_unit_area(
    centre: float, gaussian: float, lorentzian: float, divergence: AxialDivergence
) -> None:
    # What is beyond +-200 degree is lorentzian / (200 pi): below 2e-4.
    angles = np.arange(centre - 200, centre + 200, 0.02)
    values = line(angles, centre, gaussian=gaussian, lorentzian=lorentzian, divergence=divergence)
    assert np.sum(values) * 0.02 == pytest.approx(1, abs=3e-4)
    assert (values >= 0).all()


@given(centre=st.floats(20, 85), divergence=divergences)
def test_axial_divergence_widens_to_lower_angles_and_beyond_a_right_angle_to_higher(
    centre: float, divergence: AxialDivergence
) -> None:
    shifts, weights = axial_curve(centre, divergence)
    mirrored, again = axial_curve(180 - centre, divergence)
    assert weights.sum() == pytest.approx(1)
    assert (shifts <= 1e-9).all()
    assert np.allclose(mirrored @ again, -(shifts @ weights), atol=1e-9)
    # cot(2 theta) times the mean of h² / 2, h being the sum of two uniform heights (small ones)
    second = (divergence.sample**2 + divergence.slit**2) / 3
    expected = -np.degrees(second / 2 / np.tan(np.radians(centre)))
    assert shifts @ weights == pytest.approx(expected, rel=0.15, abs=1e-9)


@given(weight=st.floats(0.05, 20), size=st.sampled_from([None, 400.0]))
def test_weights_come_back_from_scales_by_zmv(weight: float, size: float | None) -> None:
    """Hill and Howard, J. Appl. Cryst. 20 (1987) 467: w = S Z M V / sum."""
    sample = (
        PowderPhase(phase=crystal_phase("LiFePO4"), weight=weight, size=size),
        PowderPhase(phase=crystal_phase("FePO4"), size=size),
    )
    measured = powder_mean(sample, acquisition=NARROW)["counts"].values
    squares = [part.phase.volume**2 * phase_pattern(part, NARROW) for part in sample]
    scales, misfit = nnls(np.stack(squares, axis=1), measured)
    parts = scales * [part.phase.mass * part.phase.volume for part in sample]
    assert misfit < 1e-6 * np.linalg.norm(measured)
    assert parts[0] / parts[1] == pytest.approx(weight, rel=1e-6)


@given(
    zero=st.floats(-0.3, 0.3),
    displacement=st.floats(-2e-3, 2e-3),
    geometry=st.sampled_from(PowderGeometry),
)
def test_offsets_move_lines_as_their_formula_says(
    zero: float, displacement: float, geometry: PowderGeometry
) -> None:
    sharp = {"start": 30, "stop": 40, "step": 0.01, "lines": ((1.54056, 1.0),), "background": (0,)}
    sample = (PowderPhase(phase=crystal_phase("Li")),)  # one line in the range, 110
    middle = []
    for offsets in ({}, {"zero": zero, "displacement": displacement}):
        taken = PowderAcquisition.model_validate({**sharp, "geometry": geometry, **offsets})
        counts = powder_mean(sample, acquisition=taken)["counts"]
        top = counts.where(counts > 0.2 * counts.max(), 0)
        middle.append(float((top * counts.two_theta).sum() / top.sum()))
    angle = np.radians(middle[0])
    of_sample = (
        -2 * displacement * np.cos(angle / 2)
        if geometry is PowderGeometry.BRAGG_BRENTANO
        else displacement * np.cos(angle)
    )
    assert middle[1] - middle[0] == pytest.approx(zero + np.degrees(of_sample), abs=2e-3)


@given(march=st.floats(0.2, 4))
def test_preferred_orientation_keeps_the_mean_over_all_directions(march: float) -> None:
    # The function is normalised over the sphere; many reflections of a cubic cell sample it.
    part = PowderPhase(phase=crystal_phase("Li2O"), march=march, march_axis=(1, 1, 1))
    alpha = np.linspace(0, 1, 20001)
    value = (march**2 * alpha**2 + (1 - alpha**2) / march) ** -1.5
    assert np.trapezoid(value, alpha) == pytest.approx(1, abs=1e-4)
    found = march_dollase(part, np.array([[1, 1, 1], [2, 2, 2]]))
    # (111) is seen at the axis itself once in four, and at cos = 1/3 three times
    expected = (march**-3 + 3 * (march**2 / 9 + 8 / (9 * march)) ** -1.5) / 4
    assert np.allclose(found, expected)


def test_plates_lying_flat_show_their_basal_planes() -> None:
    phase = crystal_phase("LiNiO2")
    hkl = allowed_reflections(phase, d_min=1.9).hkl
    flat = march_dollase(PowderPhase(phase=phase, march=0.7), hkl)
    basal = (hkl[:, :2] == 0).all(axis=1)
    assert flat[basal].min() > 1 > flat[~basal].max()


def test_an_ensemble_shows_its_end_members() -> None:
    region = PackingRegion(height=6000, width=6000, depth=4000)
    plates = PlateEnsemble(count=6, region=region, active_fraction=0.5, state_of_charge=0.3)
    specimen = phosphate_ensemble(plates, seed=3)
    poor, rich = ensemble_powder(specimen)
    volumes = np.array([part.weight / part.phase.density for part in (poor, rich)])
    mean = volumes @ [0.07, 0.98] / volumes.sum()
    assert mean == pytest.approx(specimen.state_of_charge, abs=1e-9)
    taken = PowderAcquisition(start=15, stop=35)
    assert powder_mean((poor, rich), acquisition=taken)["counts"].max() == pytest.approx(
        3100, rel=1e-6
    )


def test_what_makes_no_pattern_is_refused() -> None:
    sample = (PowderPhase(phase=crystal_phase("Li")),)
    with pytest.raises(BadInputError, match="no phase"):
        powder_mean((), acquisition=NARROW)
    with pytest.raises(BadInputError, match="no reflection"):
        powder_mean(sample, acquisition=PowderAcquisition(start=1, stop=5))
    with pytest.raises(BadInputError, match="background = "):
        powder_mean(sample, acquisition=PowderAcquisition(background=(10, -20)))
    with pytest.raises(ValidationError, match="at least ten steps"):
        PowderAcquisition(start=30, stop=20)
    with pytest.raises(ValidationError, match="wavelength"):
        PowderAcquisition(lines=((8047.0, 1.0),))
    with pytest.raises(BadInputError, match="march_axis"):
        march_dollase(
            PowderPhase(phase=crystal_phase("Li"), march=0.5, march_axis=(0, 0, 0)),
            np.array([[1, 1, 0]]),
        )
