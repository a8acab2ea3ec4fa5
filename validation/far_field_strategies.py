"""Strategies for far-field ptychography: scans that fit their probe, and smooth specimens."""

import numpy as np
import xarray as xr
from hypothesis import strategies as st

from echolith.forward.far_field import FarField
from echolith.forward.far_field_detector import CentralAttenuator
from echolith.forward.far_field_views import field_needed
from echolith.forward.tilts import centres
from echolith.forward.xray_probe import ZonePlate
from echolith.seeds import stream
from echolith.validation.plain_numbers import near


def attenuators() -> st.SearchStrategy[CentralAttenuator | None]:
    """Draw what is before the detector; it shrinks to nothing.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(attenuators(), lambda found: True) is None
    True
    """
    disc = st.builds(
        CentralAttenuator,
        radius=near(0.2, low=0.05, high=0.4, step=0.05),
        transmission=near(0.1, low=0, high=1, step=0.05),
    )
    return st.none() | disc


def small_scans() -> st.SearchStrategy[FarField]:
    """Draw scans of a few small frames that overlap; they shrink to three by three without jitter.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(small_scans(), lambda scan: True).shape
    (3, 3)
    """
    return st.builds(
        FarField,
        plate=st.builds(
            ZonePlate,
            central_stop=near(0.4, low=0, high=0.7, step=0.1),
            defocus=near(4e4, low=2e4, high=6e4, step=1e3),
        ),
        shape=st.tuples(st.integers(3, 5), st.integers(3, 5)),
        step=near(400.0, low=200, high=500, step=10),
        jitter=near(0.0, low=0, high=100, step=10),
        pixels=st.just(48),
        pixel_size=st.just(100.0),
        photons=near(1e5, low=1e4, high=1e6, step=1e4),
        background=near(0.0, low=0, high=0.2, step=0.01),
        attenuator=attenuators(),
    )


def smooth_transmission(scan: FarField, *, seed: int, strength: float = 0.5) -> xr.DataArray:
    """Return a specimen that holds a scan: random absorption and phase, smooth over some pixels.

    Parameters
    ----------
    scan : FarField
    seed : int
    strength : float
        Largest absorption (of the amplitude) and phase, rad.
    """
    fine = scan.pixel_size / scan.oversampling
    count = 2 * int(np.ceil(field_needed(scan) / fine))
    axis = centres(count, fine)
    rng = stream(seed, "smooth transmission")
    frequency = np.fft.fftfreq(count, fine)
    passed = np.exp(-((np.hypot(frequency[:, None], frequency) * 8 * scan.pixel_size) ** 2))
    maps = np.fft.ifft2(np.fft.fft2(rng.standard_normal((2, count, count))) * passed).real
    loss, phase = (m / np.abs(m).max() for m in maps)
    wave = np.exp(strength * (-(loss + 1) / 2 + 1j * phase))
    return xr.DataArray(wave, dims=("y", "x"), coords={"y": axis, "x": axis})
