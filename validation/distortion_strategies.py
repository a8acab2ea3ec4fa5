"""Strategies for what goes wrong in an acquisition: drift, jitter, detectors, damage."""

from hypothesis import strategies as st

from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.detector_response import DetectorResponse
from echolith.forward.fast_frames import FastFrames
from echolith.forward.scan_distortion import ScanDistortion
from echolith.forward.surface_growth import GrowthLaw, SurfaceGrowth
from echolith.validation.acquisition_strategies import ROTATIONS
from echolith.validation.plain_numbers import at_least, near

LARGEST_SEED = 2**32 - 1


def scan_distortions(
    *, jitter: float = 0.1, drift: float = 1.0
) -> st.SearchStrategy[ScanDistortion]:
    """Draw distortions of a slow scan; they shrink to none.

    Parameters
    ----------
    jitter : float
        Largest standard deviation of lines and positions, Å.
    drift : float
        Largest speed along each axis, Å/s, and standard deviation of the random drift, Å.

    Raises
    ------
    BadInputError
        If a limit is negative or not finite.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(scan_distortions(), lambda found: found.drift[0] > 0.5).drift
    (0.51, 0.0)
    """
    at_least("jitter", jitter, 0, " Å")
    at_least("drift", drift, 0, " Å/s")
    speed = near(0.0, low=-drift, high=drift, step=0.01)
    deviation = near(0.0, low=0, high=jitter, step=0.001)
    return st.builds(
        ScanDistortion,
        drift=st.tuples(speed, speed),
        random_drift=near(0.0, low=0, high=drift, step=0.01),
        correlation_time=near(1.0, low=0.01, high=100, step=0.01),
        line_jitter=deviation,
        position_jitter=deviation,
        dwell=st.sampled_from([1 / 7500, 1e-6, 1e-3]),
        flyback=st.sampled_from([0.0, 1e-4, 0.01]),
        seed=st.integers(0, LARGEST_SEED),
    )


def fast_frames(*, frames: int = 4, largest: int = 16) -> st.SearchStrategy[FastFrames]:
    """Draw short series of small, fast frames; they shrink to two frames of 2 x 2 positions.

    Parameters
    ----------
    frames : int
        Most frames.
    largest : int
        Most positions along one axis.

    Raises
    ------
    BadInputError
        If there are fewer than two frames or positions.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(fast_frames(), lambda found: found.shape[1] > 4).shape
    (2, 5)
    """
    at_least("frames", frames, 2)
    at_least("largest", largest, 2)
    size, step = st.integers(2, largest), near(0.1, low=0.05, high=0.25, step=0.001)
    return st.builds(
        FastFrames,
        frames=st.integers(2, frames),
        shape=st.tuples(size, size),
        step=st.tuples(step, step),
        rotation=st.sampled_from(ROTATIONS),
        dwell=st.sampled_from([2e-6, 1e-5]),
        flyback=st.sampled_from([1e-4, 0.0]),
        pause=st.sampled_from([0.0, 1.0]),
        dose=near(2e3, low=1e3, high=1e4, step=100),
    )


def detector_responses() -> st.SearchStrategy[DetectorResponse]:
    """Draw responses of pixelated detectors, binned or not; they shrink to a perfect one.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(detector_responses(), lambda found: found.binning[0] > 1).binning
    (2, 1)
    """
    spread = near(0.0, low=0, high=2, step=0.1)
    binning = st.sampled_from([1, 2, 4])
    return st.builds(
        DetectorResponse,
        point_spread=st.tuples(spread, spread),
        binning=st.tuples(binning, binning),
        efficiency=near(1.0, low=0.05, high=1, step=0.01),
    )


def detector_noises(*, saturation: int = 4) -> st.SearchStrategy[DetectorNoise]:
    """Draw noise of detectors that saturate or are read out with noise; it shrinks to counting.

    Parameters
    ----------
    saturation : int
        Least number of electrons at which some of them saturate.

    Raises
    ------
    BadInputError
        If it is below 1.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(detector_noises(), lambda found: found.readout > 1)
    DetectorNoise(readout=1.1, saturation=None, variables=('counts',))
    """
    at_least("saturation", saturation, 1)
    return st.builds(
        DetectorNoise,
        readout=near(0.0, low=0, high=10, step=0.1),
        saturation=st.none() | st.integers(saturation, 10 * saturation).map(float),
    )


def surface_growths() -> st.SearchStrategy[SurfaceGrowth]:
    """Draw laws of how a damaged layer grows; they shrink to the default.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(surface_growths(), lambda found: True) == SurfaceGrowth()
    True
    """
    return st.builds(
        SurfaceGrowth,
        law=st.sampled_from([GrowthLaw.SATURATING, GrowthLaw.LINEAR]),
        initial=near(0.0, low=0, high=20, step=0.1),
        rate=near(2.5e-4, low=0, high=1e-3, step=1e-6),
        final=near(40.0, low=21, high=100, step=1),
    )
