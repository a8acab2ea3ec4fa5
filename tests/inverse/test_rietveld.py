"""Refinement of powder patterns: what was simulated by a richer model, and a measured one."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.noise import PoissonCounting
from echolith.forward.powder_pattern import PowderAcquisition, PowderPhase, powder_mean
from echolith.forward.powder_profile import AxialDivergence
from echolith.inverse.powder_kernels import FAR, add_lines, divergence_nodes
from echolith.inverse.powder_lines import PhaseLines
from echolith.inverse.powder_model import PatternModel
from echolith.inverse.powder_parameters import OccupancyShift, Refined, start
from echolith.inverse.rietveld import RietveldOptions, refine
from echolith.structures.crystal_table import CrystalData, Site

REAL = Path(__file__).resolve().parents[3] / "shared" / "real" / "LiCoO2_CuKa.dat"
LITHIATED, DELITHIATED = crystal_phase("LiFePO4"), crystal_phase("FePO4")
TAKEN = PowderAcquisition(
    start=14,
    stop=80,
    step=0.03,
    displacement=3e-4,
    divergence=AxialDivergence(sample=0.02, slit=0.015),
    background=(150, -60, 30),
)


def stretched(phase: CrystalPhase, *parts: float) -> CrystalPhase:
    lengths = np.array(phase.cell[:3]) * (1 + np.array(parts))
    return phase.model_copy(update={"cell": (*lengths.tolist(), *phase.cell[3:])})


def mixture(weight: float, seed: int, *, stop: float = 80.0) -> xr.Dataset:
    sample = (
        PowderPhase(phase=LITHIATED, weight=weight + 1e-9, size=600, strain=5e-4),
        PowderPhase(phase=DELITHIATED, weight=1 - weight + 1e-9, size=500, strain=1e-3),
    )
    taken = TAKEN.model_copy(update={"stop": stop})
    return PoissonCounting().sample(powder_mean(sample, acquisition=taken), seed=seed).compute()


def test_two_phases_come_back_from_cells_one_percent_off() -> None:
    first = (
        PowderPhase(phase=stretched(LITHIATED, 0.01, -0.009, 0.008)),
        PowderPhase(phase=stretched(DELITHIATED, -0.007, 0.01, 0.009)),
    )
    found = refine(mixture(0.6, seed=5), phases=first, instrument=PowderAcquisition())
    truth = np.array([LITHIATED.cell[:3], DELITHIATED.cell[:3]])
    error = found.cell_length.values - truth
    assert np.abs(error / truth).max() < 4e-4
    assert np.abs(error / found.cell_length_std.values).max() < 4
    weight, std = (float(found[name][0]) for name in ("weight_fraction", "weight_fraction_std"))
    assert abs(weight - 0.6) < 4 * std < 0.02
    assert float(found.chi_squared) == pytest.approx(1, abs=0.15)
    assert found.attrs["converged"]
    assert not found.attrs["undetermined"]
    assert float(found.r_weighted) == pytest.approx(float(found.r_expected), rel=0.08)


def test_a_phase_that_is_not_there_is_said_to_be_undetermined() -> None:
    phases = (PowderPhase(phase=LITHIATED), PowderPhase(phase=DELITHIATED))
    found = refine(mixture(0.0, seed=6, stop=45), phases=phases, instrument=PowderAcquisition())
    assert np.isnan(found.cell_length.values[0]).all()
    assert np.isfinite(found.cell_length.values[1]).all()
    assert abs(float(found.weight_fraction[0])) < 4 * float(found.weight_fraction_std[0])
    assert "LiFePO4.a" in found.attrs["undetermined"]


def test_exchange_of_lithium_and_nickel_comes_back() -> None:
    clean = crystal_phase("LiNiO2")
    exchange = {"Li1": -1.0, "Ni1": 1.0, "Ni2": -1.0, "Li2": 1.0}
    shares = {"Li1": 0.95, "Ni1": 0.05, "Ni2": 0.95, "Li2": 0.05}
    phase = crystal_phase(
        "LiNiO2",
        CrystalData(
            spacegroup=166,
            cell=clean.cell,
            sites=(
                Site(wyckoff="3a", position=(0, 0, 0), content={"Li": 0.95, "Ni": 0.05}),
                Site(wyckoff="3b", position=(0, 0, 0.5), content={"Ni": 0.95, "Li": 0.05}),
                Site(wyckoff="6c", position=(0, 0, 0.2415), content={"O": 1.0}),
            ),
        ),
    )
    assert {s.label: s.occupancy for s in phase.sites if s.label in shares} == shares
    taken = TAKEN.model_copy(update={"stop": 120.0, "step": 0.02})
    mean = powder_mean((PowderPhase(phase=phase, size=800),), acquisition=taken)
    measured = PoissonCounting().sample(mean, seed=1).compute()
    none = tuple(
        s.model_copy(update={"occupancy": {"Li1": 1, "Ni2": 1}.get(s.label, 0.0)})
        if s.label in shares
        else s
        for s in phase.sites
    )
    shift = OccupancyShift(name="exchange", phase="LiNiO2", slopes=exchange)
    found = refine(
        measured,
        phases=(PowderPhase(phase=phase.model_copy(update={"sites": none})),),
        instrument=PowderAcquisition(),
        options=RietveldOptions(refined=Refined(occupancies=(shift,))),
    )
    value = found.sel(parameter="LiNiO2.exchange")
    assert float(value.parameters_std) < 0.005
    assert abs(float(value.parameters) - 0.05) < 4 * float(value.parameters_std)


def test_the_jacobian_is_that_of_the_model() -> None:
    phases = (PowderPhase(phase=LITHIATED), PowderPhase(phase=DELITHIATED))
    refined = Refined(zero=True, orientation=True, displacement_parameter=True)
    first = start(phases, TAKEN, refined)
    lines = tuple(PhaseLines(part=p, instrument=TAKEN, refined=refined) for p in phases)
    model = PatternModel(angles=TAKEN.angles, phases=lines, names=first.names, background=2)
    vector = np.array([*(first.values[name] for name in first.names), 80, 60, 100, 5])
    jacobian = model(vector)[1]
    for index, name in enumerate(model.all_names):
        # Steps far beyond rounding: lines end at a number of widths, so the model is in steps.
        step = {"scale": 0.02, "displacement": 3e-6}.get(name.rsplit(".")[-1], 3e-4)
        moved = np.array([vector, vector])
        moved[:, index] += [step, -step]
        slope = (model(moved[0])[0] - model(moved[1])[0]) / (2 * step)
        across = np.linalg.norm(slope - jacobian[:, index]) / np.linalg.norm(slope)
        assert across < 0.05, name


@given(
    width=st.floats(0.05, 0.4),
    mixing=st.floats(0.05, 0.95),
    skew=st.floats(-0.5, 0.5),
    centre=st.floats(12.0, 28.0),
)
def test_lines_are_what_a_fine_quadrature_gives(
    width: float, mixing: float, skew: float, centre: float
) -> None:
    angles, shift = 10 + 0.02 * np.arange(1001), skew * width
    height = (np.arange(2000) + 0.5) / 1000  # 0 to 2
    density, moved = 2 - height, shift * 1.5 * height**2
    away = np.subtract.outer(angles - centre, moved) / width
    gauss = 2 * np.sqrt(np.log(2) / np.pi) * np.exp(-4 * np.log(2) * away**2)
    both = mixing * 2 / (np.pi * (1 + 4 * away**2)) + (1 - mixing) * gauss
    expected = 3 * both @ density / density.sum() / width
    pattern = np.zeros(len(angles))
    table = np.array([[centre, 3.0, width, mixing, shift]])
    add_lines(10.0, 0.02, table, np.zeros((1, 0, 5)), pattern, np.zeros((0, len(angles))))
    within = np.abs(angles - centre - shift) < FAR * width - 0.1
    assert np.abs(pattern - expected)[within].max() < 3e-3 * expected.max()


@pytest.mark.parametrize("count", [2, 8])
def test_nodes_of_divergence_have_the_moments_of_two_heights(count: int) -> None:
    nodes, weights = divergence_nodes(count)
    for power in range(2 * count):
        # Of h^(2 n) with density (2 - h) / 2 between 0 and 2, in units of the mean 2/3 of h².
        moment = 2 ** (2 * power + 1) / ((2 * power + 1) * (2 * power + 2)) * 1.5**power
        assert weights @ nodes**power == pytest.approx(moment, rel=1e-9)


def test_what_is_known_of_the_instrument_is_used() -> None:
    taken = TAKEN.model_copy(update={"divergence": AxialDivergence(sample=0.03, slit=0.01)})
    refined = Refined(gaussian=False, divergence=False)
    part = PowderPhase(phase=LITHIATED)
    known, free = (
        PhaseLines(part=part, instrument=instrument, refined=refined).table(values)
        for instrument, values in ((taken, {}), (TAKEN, {"divergence": np.sqrt(5e-4)}))
    )
    assert known == pytest.approx(free, rel=1e-9)


def test_what_is_no_pattern_is_refused() -> None:
    phases = (PowderPhase(phase=LITHIATED),)
    good = mixture(1.0, seed=1)
    wrong = {
        "does not increase": good.isel(two_theta=slice(None, None, -1)),
        "equal ones": good.isel(two_theta=np.r_[0:900, 1000:2201]),
        "0 or more": good.assign(counts=good.counts - 5000.0),
        "nothing to refine": good.assign(counts=0 * good.counts),
        "expected a powder pattern": good.rename(counts="intensity"),
        "degrees": good.assign_coords(two_theta=np.radians(good.two_theta)),
    }
    for message, bad in wrong.items():
        with pytest.raises(BadInputError, match=message):
            refine(bad, phases=phases, instrument=PowderAcquisition())
    shift = OccupancyShift(name="x", phase="LiFePO4", slopes={"Li9": 1})
    options = RietveldOptions(refined=Refined(occupancies=(shift,)))
    with pytest.raises(BadInputError, match="no site 'Li9'"):
        refine(good, phases=phases, instrument=PowderAcquisition(), options=options)


def test_a_flat_pattern_has_no_phase() -> None:
    angles = TAKEN.angles
    flat = xr.Dataset(
        {"counts": ("two_theta", np.random.default_rng(1).poisson(500, len(angles)))},
        coords={"two_theta": angles},
    )
    with pytest.raises(BadInputError, match="check the wavelength"):
        refine(flat, phases=(PowderPhase(phase=LITHIATED),), instrument=PowderAcquisition())


@pytest.mark.skipif(not REAL.exists(), reason="needs the measured pattern of LiCoO2")
def test_a_measured_pattern_refines_from_a_cell_half_a_percent_off() -> None:
    first, step, _, *counts = (float(value) for value in REAL.read_text().split())
    measured = xr.Dataset(
        {"counts": ("two_theta", np.array(counts))},
        coords={"two_theta": first + step * np.arange(len(counts))},
    )
    data = CrystalData(
        spacegroup=166,
        cell=(2.83, 2.83, 14.12, 90, 90, 120),
        sites=(
            Site(wyckoff="3a", position=(0, 0, 0), content={"Li": 1.0}),
            Site(wyckoff="3b", position=(0, 0, 0.5), content={"Co": 1.0}),
            Site(wyckoff="6c", position=(0, 0, 0.2405), content={"O": 1.0}),
        ),
    )
    tube = PowderAcquisition(lines=((1.5406, 1.0), (1.54443, 0.514)))
    refined = Refined(displacement_parameter=True, orientation=True, background=10)
    found = refine(
        measured,
        phases=(PowderPhase(phase=crystal_phase("LiCoO2", data)),),
        instrument=tube,
        options=RietveldOptions(refined=refined),
    )
    # A single-crystal refinement gives 2.8150(3) and 14.0516(6) Å.
    assert found.cell_length.values[0, [0, 2]] == pytest.approx([2.8150, 14.0516], rel=2e-4)
    assert float(found.r_weighted) < 0.1
