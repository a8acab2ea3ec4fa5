import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.forward.fixed_product import fixed_real_product
from echolith.forward.wave_transforms import IN_CACHE, wave_transforms

ROUNDING = 2e-6
"""Relative to the largest value: single precision through some log2(n) sums."""


@pytest.mark.parametrize("gpts", [(24, 30), (20, 22), (150, 150), (160, 150)])
@given(seed=st.integers(0, 99), low=st.integers(1, 10), above=st.integers(1, 10))
@settings(max_examples=3)
def test_transforms_are_numpys_in_double_precision(
    gpts: tuple[int, int], seed: int, low: int, above: int
) -> None:
    # (160, 150) is beyond the size at which the library changes.
    ny, nx = gpts
    assert ny * nx <= IN_CACHE or gpts == (160, 150)
    rng = np.random.default_rng(seed)
    full = np.zeros(gpts, dtype=complex)
    kept = np.r_[0:low, ny - above : ny]
    full[kept] = rng.normal(size=(len(kept), nx)) + 1j * rng.normal(size=(len(kept), nx))
    transforms = wave_transforms(gpts, low=low, high=ny - above)
    for _ in range(2):  # what a first wave leaves in the buffers does not reach the second
        transforms.bottom[...], transforms.top[...] = full[:low], full[ny - above :]
        transforms.back()
        plane = np.fft.ifft2(full, norm="forward")
        assert np.abs(transforms.wave - plane).max() < ROUNDING * np.abs(plane).max()
    wave = rng.normal(size=gpts) + 1j * rng.normal(size=gpts)
    transforms.wave[...] = wave
    transforms.forward()
    spectrum = np.fft.fft2(wave)
    ours = np.concatenate([transforms.bottom, transforms.top])
    assert np.abs(ours - spectrum[kept]).max() < ROUNDING * np.abs(spectrum).max()


@given(
    rows=st.integers(1, 7),
    summed=st.integers(0, 9),
    columns=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_a_real_times_a_complex_matrix(rows: int, summed: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(rows, summed)).astype(np.float32)
    right = rng.normal(size=(summed, columns, 2)).astype(np.float32) @ np.array([1, 1j])
    product = fixed_real_product(left, right.astype(np.complex64))
    np.testing.assert_allclose(product, left.astype(float) @ right, atol=1e-5)
