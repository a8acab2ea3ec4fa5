"""SSB against its equation summed plainly, and the closed form of its transfer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.acquisition import PixelDetector, StemAcquisition
from echolith.inverse.ssb import MINIMUM_OVERLAP, ssb
from echolith.validation.strategies import aberrations
from tests.inverse.phase_sets import acquisition, acquisitions, frequencies, noise_set, spectrum
from tests.inverse.slow_sums import SlowSums
from tests.inverse.weak_phase import LIMIT, overlap

ROUNDING = 1e-5
"""Relative: spectra and kernels are float32, their sums float64 (5e-7 seen)."""


@given(acquisitions(), st.integers(0, 99))
def test_equals_the_plain_sums_for_any_counts(taken: StemAcquisition, seed: int) -> None:
    recorded = noise_set(taken, seed=seed)
    result = ssb(recorded)
    slow = SlowSums(measurement=recorded, taken=taken, aberrations=taken.beam.aberrations)
    phi, transfer, weight = slow.ssb()
    np.testing.assert_allclose(result["transfer"], transfer, atol=ROUNDING)
    kept = result["weight"].values > 0
    clear = np.abs(transfer - MINIMUM_OVERLAP) > ROUNDING
    clear[0, 0] = False
    assert (kept == (transfer > MINIMUM_OVERLAP))[clear].all()
    found = spectrum(result["phase"])
    assert np.abs(found - phi)[kept].max() < ROUNDING * np.abs(phi[kept]).max()
    assert np.abs(found[~kept]).max() < ROUNDING * np.abs(phi[kept]).max()
    np.testing.assert_allclose(result["weight"].values[kept], weight[kept], rtol=ROUNDING)


@given(aberrations(phase=2.0))
def test_aberrations_given_replace_those_of_the_metadata(chosen: object) -> None:
    told = acquisition(beam=acquisition().beam.model_copy(update={"aberrations": chosen}))
    recorded = noise_set(acquisition(), seed=1)
    by_argument = ssb(recorded, aberrations=told.beam.aberrations)
    by_metadata = ssb(recorded.assign_attrs(acquisition=told.model_dump_json()))
    for name in ("phase", "transfer", "weight"):
        assert np.array_equal(by_argument[name], by_metadata[name])


def test_transfer_is_the_area_of_the_two_sidebands() -> None:
    # Both lenses of two discs less the triple overlap, in units of the disc.
    taken = acquisition(
        beam=acquisition().beam.model_copy(update={"semiangle": 22.4}),
        scan=acquisition().scan.model_copy(update={"shape": (30, 34), "step": (0.27, 0.25)}),
        detector=PixelDetector(shape=(128, 128), pixel_size=(0.36, 0.36)),
    )
    qy, qx = frequencies(taken)
    radius = np.hypot(qy, qx)
    found = ssb(noise_set(taken, seed=0))["transfer"].values
    nyquist = np.zeros(found.shape, bool)
    nyquist[15], nyquist[:, 17] = True, True
    # The number of pixels in an area with a rim of n pixels scatters by about sqrt(n): with a disc
    # 124 pixels wide, some 40 of 12,000.
    np.testing.assert_allclose(found[~nyquist], overlap(radius)[~nyquist], atol=0.01)
    assert not found[nyquist].any()
    assert not found[radius >= LIMIT].any()


@given(st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_higher_cut_off_keeps_less_and_changes_nothing_else(one: float, other: float) -> None:
    low, high = sorted((one, other))
    recorded = noise_set(acquisition(), seed=2)
    more, less = ssb(recorded, minimum_overlap=low), ssb(recorded, minimum_overlap=high)
    kept = less["weight"].values > 0
    transfer = less["transfer"].values.copy()
    transfer[0, 0] = 0
    assert np.array_equal(kept, transfer > high)
    assert np.array_equal(more["weight"].values[kept], less["weight"].values[kept])
    # The images' spectra: equal but for double precision's rounding.
    np.testing.assert_allclose(
        spectrum(more["phase"])[kept], spectrum(less["phase"])[kept], atol=1e-12
    )


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_a_cut_off_out_of_range_is_refused(value: float) -> None:
    message = rf"minimum_overlap = {value:g}; expected a fraction of the disc, 0 to below 1"
    with pytest.raises(BadInputError, match=message):
        ssb(noise_set(acquisition(), seed=0), minimum_overlap=value)
