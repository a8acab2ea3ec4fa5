"""Strategies for how a measurement is taken: beams, aberrations, scans, detectors."""

import numpy as np
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.acquisition import (
    Aberrations,
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
)
from echolith.validation.plain_numbers import at_least, near, round_step

WAVELENGTH, RIM = 0.02508, 0.02
"""Å at 200 kV, and rad: where the phase of an aberration is stated."""
LARGEST_PIXEL = 20.0
"""mrad; what `PixelDetector` takes."""
SEMIANGLES = (10.0, 35.0)
"""mrad, of `beams`."""
REACH = 1.5
"""Most that a detector reaches beyond the disc."""
ROTATIONS = (0.0, 90.0, 17.0, -30.0)


def aberrations(*, phase: float = 1.0) -> st.SearchStrategy[Aberrations]:
    """Draw low-order aberrations; they shrink to none.

    Parameters
    ----------
    phase : float
        Largest phase of each at 20 mrad and 200 kV, rad.

    Raises
    ------
    BadInputError
        If the phase is negative or not finite.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(aberrations(), lambda found: found.C10 < -5).C10
    -5.1
    """
    at_least("phase", phase, 0, " rad")

    def coefficient(order: int) -> st.SearchStrategy[float]:
        largest = phase * WAVELENGTH / (2 * np.pi) * (order + 1) / RIM ** (order + 1)
        if not largest:
            return st.just(0.0)
        return near(0.0, low=-largest, high=largest, step=round_step(largest))

    azimuth = near(0.0, low=0, high=3.14, step=0.01)
    return st.builds(
        Aberrations,
        C10=coefficient(1),
        C12=coefficient(1),
        phi12=azimuth,
        C21=coefficient(2),
        phi21=azimuth,
        C23=coefficient(2),
        phi23=azimuth,
        C30=coefficient(3),
    )


def beams(*, phase: float = 1.0, coherent: bool = True) -> st.SearchStrategy[Beam]:
    """Draw beams of usual microscopes: 60 to 300 kV, 10 to 35 mrad; they shrink to the default.

    Parameters
    ----------
    phase : float
        Largest phase of each aberration at 20 mrad and 200 kV, rad; 0 for a perfect lens.
    coherent : bool
        False draws focal and source spread too.

    Raises
    ------
    BadInputError
        If the phase is negative or not finite.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(beams(), lambda beam: True) == Beam()
    True
    """
    none = st.just(0.0)
    return st.builds(
        Beam,
        energy=st.sampled_from([200e3, 300e3, 80e3, 60e3]),
        semiangle=near(22.4, low=SEMIANGLES[0], high=SEMIANGLES[1], step=0.1),
        aberrations=aberrations(phase=phase),
        focal_spread=none if coherent else near(0.0, low=0, high=100, step=1),
        source_spread=none if coherent else near(0.0, low=0, high=0.8, step=0.01),
    )


def scans(*, smallest: int = 2, largest: int = 16) -> st.SearchStrategy[Scan]:
    """Draw small rasters, square or not, at steps of 0.1 to 0.25 Å, at any rotation.

    Parameters
    ----------
    smallest, largest : int
        Positions along one axis.

    Raises
    ------
    BadInputError
        If the limits hold no raster.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(scans(), lambda scan: scan.shape[0] > 5).shape
    (6, 2)
    """
    return st.builds(
        Scan,
        shape=_shapes(smallest, largest),
        step=st.tuples(*2 * [near(0.2, low=0.1, high=0.25, step=0.001)]),
        rotation=st.sampled_from(ROTATIONS),
    )


def _shapes(smallest: int, largest: int) -> st.SearchStrategy[tuple[int, int]]:
    at_least("smallest", smallest, 1)
    if largest < smallest:
        raise BadInputError(f"largest = {largest}; expected smallest = {smallest} or more")
    size = st.integers(smallest, largest)
    return st.tuples(size, size)


def pixel_detectors(
    *, semiangle: float = 22.4, pixels: int = 16
) -> st.SearchStrategy[PixelDetector]:
    """Draw detectors that hold the disc and up to half as much again; pixels square or not.

    Parameters
    ----------
    semiangle : float
        Of the beam, mrad.
    pixels : int
        Along one axis, at least; up to six more.

    Raises
    ------
    BadInputError
        If that few pixels would have to be larger than 20 mrad.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(pixel_detectors(semiangle=20), lambda detector: True).shape
    (16, 16)
    """
    at_least("semiangle", semiangle, 0.1, " mrad")
    least = 2 + int(np.ceil(2 * REACH * semiangle / (LARGEST_PIXEL - 0.01)))
    at_least("pixels", pixels, max(least, 3))

    return _detector_parts(pixels).map(lambda parts: _detector(semiangle, *parts))


Axis = tuple[int, float]
"""Number of pixels, and how far they reach in units of the semiangle."""


def _detector_parts(
    pixels: int,
) -> st.SearchStrategy[tuple[Axis, Axis, tuple[int, int], bool]]:
    axis = st.tuples(st.integers(pixels, pixels + 6), near(1.2, low=1.1, high=REACH, step=0.01))
    return st.tuples(axis, axis, st.sampled_from([(1, 1), (2, 1), (1, 3)]), st.booleans())


def _detector(
    semiangle: float, rows: Axis, columns: Axis, subpixels: tuple[int, int], transpose: bool
) -> PixelDetector:
    # Two pixels fewer than there are span the disc, and sizes are rounded up: it is held.
    sizes = [np.ceil(200 * reach * semiangle / (n - 2)) / 100 for n, reach in (rows, columns)]
    return PixelDetector(
        shape=(rows[0], columns[0]),
        pixel_size=(float(sizes[0]), float(sizes[1])),
        subpixels=subpixels,
        transpose=transpose,
    )


def annular_detectors(*, inner: float = 72.8) -> st.SearchStrategy[AnnularDetector]:
    """Draw annular detectors; they shrink to one from `inner` to 1.4 times as far.

    Parameters
    ----------
    inner : float
        Usual inner angle, mrad; drawn from half to one and a half of it.

    Raises
    ------
    BadInputError
        If the angle is not positive.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(annular_detectors(inner=70), lambda ring: True)
    AnnularDetector(inner=70.0, outer=98.0)
    """
    at_least("inner", inner, 1, " mrad")
    return st.builds(
        lambda start, width: AnnularDetector(inner=start, outer=round(start * width, 2)),
        near(inner, low=inner / 2, high=1.5 * inner, step=0.1),
        near(1.4, low=1.1, high=3, step=0.1),
    )


def acquisitions(
    *,
    largest_scan: int = 12,
    pixels: int = 16,
    phase: float = 1.0,
    fully_sampled: bool = False,
    haadf: bool = False,
) -> st.SearchStrategy[StemAcquisition]:
    """Draw whole measurements whose detector holds the bright-field disc.

    Parameters
    ----------
    largest_scan : int
        Most positions along one axis.
    pixels : int
        Detector pixels along one axis, at least.
    phase : float
        Largest phase of each aberration at 20 mrad and 200 kV, rad.
    fully_sampled : bool
        True for steps within wavelength / (4 semiangle).
    haadf : bool
        True draws an annular detector for some of them.

    Raises
    ------
    BadInputError
        If an argument is outside what can be drawn.

    Examples
    --------
    >>> from hypothesis import find
    >>> taken = find(acquisitions(), lambda a: a.detector.transpose)
    >>> taken.beam == Beam(), taken.scan.shape, taken.dose
    (True, (2, 2), 81000.0)
    """
    at_least("largest_scan", largest_scan, 2)
    pixel_detectors(semiangle=SEMIANGLES[1], pixels=pixels)  # refuses too few of them
    share = near(0.9, low=0.6, high=0.99, step=0.01)
    return st.builds(
        _acquisition,
        beam=beams(phase=phase),
        scan=scans(largest=largest_scan),
        shares=st.tuples(share, share) if fully_sampled else st.none(),
        detector=_detector_parts(pixels),
        haadf=st.none() | annular_detectors() if haadf else st.none(),
        dose=near(8.1e4, low=1e3, high=1e6, step=1e3),
    )


def _acquisition(
    *,
    beam: Beam,
    scan: Scan,
    shares: tuple[float, float] | None,
    detector: tuple[Axis, Axis, tuple[int, int], bool],
    haadf: AnnularDetector | None,
    dose: float,
) -> StemAcquisition:
    """Put parts together; ``shares`` are steps in units of the largest that is fully sampled."""
    if shares is not None:
        finest = beam.wavelength / (4e-3 * beam.semiangle)
        scan = Scan(
            shape=scan.shape, step=(finest * shares[0], finest * shares[1]), rotation=scan.rotation
        )
    return StemAcquisition(
        beam=beam,
        scan=scan,
        detector=_detector(beam.semiangle, *detector),
        haadf=haadf,
        dose=dose,
    )
