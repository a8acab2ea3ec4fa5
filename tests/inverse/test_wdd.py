"""WDD against its equation summed plainly, its regularisation, and the reuse of its weights."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.acquisition import Aberrations, PixelDetector, Scan, StemAcquisition
from echolith.forward.phase_object import phase_object_mean
from echolith.inverse.ssb import ssb
from echolith.inverse.wdd import MINIMUM_TRANSFER, wdd, wdd_weights
from tests.inverse.phase_sets import (
    BEAM,
    acquisition,
    acquisitions,
    noise_set,
    random_phase,
    spectrum,
)
from tests.inverse.slow_sums import SlowSums

ROUNDING = 1e-5
"""Relative: spectra and weights are float32, their sums float64 (6e-7 seen)."""
epsilons = st.floats(-4, 0).map(lambda power: 10**power)


@given(acquisitions() | acquisitions(rim_phase=0), epsilons, st.integers(0, 99))
def test_equals_the_plain_sums_for_any_counts(
    taken: StemAcquisition, epsilon: float, seed: int
) -> None:
    recorded = noise_set(taken, seed=seed)
    result = wdd(recorded, epsilon=epsilon)
    slow = SlowSums(measurement=recorded, taken=taken, aberrations=taken.beam.aberrations)
    phi, transfer, weight = slow.wdd(epsilon)
    np.testing.assert_allclose(result["transfer"], transfer, atol=ROUNDING)
    kept = result["weight"].values > 0
    clear = np.abs(transfer - MINIMUM_TRANSFER) > ROUNDING
    assert (kept == (transfer > MINIMUM_TRANSFER))[clear].all()
    # What is divided by a small transfer has the rounding of the largest.
    tolerance = ROUNDING / transfer[kept].min()
    found = spectrum(result["phase"])
    assert np.abs(found - phi)[kept].max() < tolerance * np.abs(phi[kept]).max()
    assert np.abs(found[~kept]).max() < tolerance * np.abs(phi[kept]).max()
    np.testing.assert_allclose(result["weight"].values[kept], weight[kept], rtol=tolerance)


@given(epsilons, st.integers(0, 99))
def test_regularisation_does_not_touch_the_scale(epsilon: float, seed: int) -> None:
    phase = random_phase(acquisition(), seed=seed)
    recorded = phase_object_mean(phase, acquisition=acquisition(), weak=True)
    result = wdd(recorded, epsilon=epsilon)
    kept = result["weight"].values > 0
    difference = np.abs(spectrum(result["phase"]) - spectrum(phase))[kept]
    assert difference.max() < 1e-4 * phase.std()


def test_no_linear_method_is_less_noisy_than_least_squares_in_vacuum() -> None:
    # Gauss-Markov: even noise on the disc, both without bias; so SSB's weight bounds WDD's.
    taken = acquisition(beam=BEAM.model_copy(update={"aberrations": Aberrations(C10=60, C12=30)}))
    vacuum = phase_object_mean(np.zeros(taken.scan.shape), acquisition=taken)
    least_squares = ssb(vacuum)["weight"].values
    for epsilon in (1e-4, 1e-2, 1.0):
        weight = wdd(vacuum, epsilon=epsilon)["weight"].values
        both = (weight > 0) & (least_squares > 0)
        assert both.sum() > 60
        assert (weight[both] <= least_squares[both] * (1 + 1e-4)).all()
        assert (weight[both] < 0.99 * least_squares[both]).any()


@given(st.floats(1e-3, 0.5))
def test_frequencies_below_the_least_transfer_are_dropped(least: float) -> None:
    result = wdd(noise_set(acquisition(), seed=3), minimum_transfer=least)
    assert np.array_equal(result["weight"].values > 0, result["transfer"].values > least)
    assert result["transfer"].values.max() == 1
    dropped = result["weight"].values == 0
    assert np.abs(spectrum(result["phase"])[dropped]).max() < 1e-12


@pytest.mark.parametrize("told", [None, Aberrations(C10=50, C21=200, phi21=0.3)])
def test_weights_serve_a_whole_series(told: Aberrations | None) -> None:
    weights = wdd_weights(acquisition(dose=1.0), 0.05, aberrations=told)
    for seed in range(2):
        recorded = noise_set(acquisition(), seed=seed)
        once = wdd(recorded, weights=weights)
        again = wdd(recorded, epsilon=0.05, aberrations=told)
        assert once.identical(again)
        assert once.attrs["epsilon"] == 0.05


@pytest.mark.parametrize(
    "other",
    [
        {"beam": BEAM.model_copy(update={"semiangle": 20.8})},
        {"beam": BEAM.model_copy(update={"aberrations": Aberrations(C10=10)})},
        {"scan": Scan(shape=(12, 15), step=(0.29, 0.26), rotation=1)},
        {"detector": PixelDetector(shape=(20, 22), pixel_size=(2.6, 2.4))},
    ],
    ids=["semiangle", "aberrations", "rotation", "pixel size"],
)
def test_weights_of_another_probe_are_refused(other: dict[str, Any]) -> None:
    weights = wdd_weights(acquisition(**other))
    with pytest.raises(BadInputError, match="another beam, scan raster or detector"):
        wdd(noise_set(acquisition(), seed=0), weights=weights)


@pytest.mark.parametrize("value", [0.0, -1e-2, float("nan"), float("inf")])
def test_a_regularisation_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(BadInputError, match=f"epsilon = {value:g}; expected above 0"):
        wdd(noise_set(acquisition(), seed=0), epsilon=value)


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_a_least_transfer_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(BadInputError, match=f"minimum_transfer = {value:g}; expected a fraction"):
        wdd(noise_set(acquisition(), seed=0), minimum_transfer=value)
