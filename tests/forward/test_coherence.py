import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.forward.acquisition import Beam, Scan
from echolith.forward.coherence import focal_beams, source_filter
from echolith.forward.stem import Engine, stem_mean
from tests.forward.small_specimen import BEAM, SIMULATION, acquisition, specimen


@given(spread=st.floats(0, 100), semiangle=st.floats(5, 40))
def test_focal_quadrature_is_exact_for_every_dephasing(spread: float, semiangle: float) -> None:
    beam = Beam(semiangle=semiangle, focal_spread=spread)
    weights, beams = zip(*focal_beams(beam), strict=True)
    c10 = np.array([one.aberrations.C10 for one in beams])
    assert sum(weights) == pytest.approx(1)
    assert all(one.focal_spread == 0 for one in beams)
    for phase in np.linspace(0, np.pi * (semiangle * 1e-3) ** 2 / beam.wavelength, 7):
        wanted = np.exp(-((phase * spread) ** 2) / 2)
        # 1e-6 on the module's grid of phases, twice that in between.
        assert np.dot(weights, np.cos(phase * c10)) == pytest.approx(wanted, abs=2e-6)


@given(spread=st.floats(0.01, 0.8), share=st.floats(0.3, 0.95))
def test_source_filter_is_gaussian_inside_the_passband(spread: float, share: float) -> None:
    beam = Beam(source_spread=spread)
    limit = 2e-3 * beam.semiangle / beam.wavelength
    step = share / (2 * limit)
    filter_ = source_filter(beam, step)
    q = np.linspace(0, limit, 40)
    shifts = np.arange(1, filter_.margin + 1) * step
    response = filter_.taps[0] + 2 * np.cos(2 * np.pi * np.outer(q, shifts)) @ filter_.taps[1:]
    wanted = np.exp(-2 * (np.pi * spread * q) ** 2)
    assert filter_.taps[0] + 2 * filter_.taps[1:].sum() == pytest.approx(1)
    # The stated error is on 201 frequencies; 1e-5 is reached unless the step is nearly too coarse.
    assert np.abs(response - wanted).max() <= 1.1 * filter_.error + 1e-7
    if share < 0.8 and spread < 8 * step:
        assert filter_.error < 1e-5


def test_source_spread_is_a_gaussian_average_over_positions() -> None:
    spread, step = 0.2, 0.22
    atoms = specimen()
    settings = SIMULATION.model_copy(update={"engine": Engine.MULTISLICE})
    blurred = acquisition(
        beam=BEAM.model_copy(update={"source_spread": spread}), scan=Scan(shape=(1, 1), step=step)
    )
    mean = stem_mean(atoms, acquisition=blurred, simulation=settings).compute()
    # The oracle: a direct sum over a finer grid of positions, to 4.5 standard deviations.
    fine = acquisition(scan=Scan(shape=(19, 19), step=0.1))
    sharp = stem_mean(atoms, acquisition=fine, simulation=settings).compute()
    offset = (np.arange(19) - 9) * 0.1
    weight = np.exp(-(offset**2) / (2 * spread**2))
    weight /= weight.sum()
    ratio = (step / 0.1) ** 2  # electrons per position
    expected = np.einsum("y,x,yxij->ij", weight, weight, sharp.counts.values) * ratio
    # 1e-5 of the filter, 1e-5 of the Gaussian cut at 4.5 sigma.
    assert np.abs(mean.counts.values[0, 0] - expected).max() < 5e-5 * expected.max()
    ring = np.einsum("y,x,yx->", weight, weight, sharp.haadf.values) * ratio
    assert float(mean.haadf[0, 0]) == pytest.approx(float(ring), rel=1e-4)


def test_source_spread_conserves_the_total() -> None:
    taken = acquisition(beam=BEAM.model_copy(update={"source_spread": 0.3}))
    settings = SIMULATION.model_copy(update={"engine": Engine.MULTISLICE})
    sharp, blurred = (
        stem_mean(specimen(), acquisition=one, simulation=settings).counts.compute()
        for one in (acquisition(), taken)
    )
    assert blurred.shape == sharp.shape
    # Totals over a frame differ from position to position only by what leaves the detector.
    totals = [one.sum(("detector_y", "detector_x")).mean() for one in (sharp, blurred)]
    assert float(totals[1]) == pytest.approx(float(totals[0]), rel=1e-3)
    assert float(blurred.min()) >= 0


def test_focal_spread_is_a_gaussian_average_over_defocus() -> None:
    spread = 30.0
    settings = SIMULATION.model_copy(update={"engine": Engine.MULTISLICE})
    scan = Scan(shape=(1, 2), step=0.25)
    beam = BEAM.model_copy(update={"focal_spread": spread})
    mean = stem_mean(
        specimen(), acquisition=acquisition(beam=beam, scan=scan), simulation=settings
    ).counts.compute()
    x = np.linspace(-5, 5, 61)
    weights = np.exp(-(x**2) / 2) / np.exp(-(x**2) / 2).sum()
    expected = np.zeros(mean.shape)
    for shift, weight in zip(x * spread, weights, strict=True):
        c10 = BEAM.aberrations.C10 + shift
        aberrations = BEAM.aberrations.model_copy(update={"C10": c10})
        one = acquisition(beam=BEAM.model_copy(update={"aberrations": aberrations}), scan=scan)
        counts = stem_mean(specimen(), acquisition=one, simulation=settings).counts
        expected += weight * counts.compute(scheduler="synchronous").values
    # 1e-6 of either sum, float32 in both.
    assert np.abs(mean.values - expected).max() < 2e-5 * expected.max()
