"""Hypothesis strategies, one per noun: draw plausible beams, scans, detectors, column lattices."""

from hypothesis import strategies as st

from echolith.forward.acquisition import Aberrations, Beam, PixelDetector, Scan, StemAcquisition
from echolith.structures.li_rich_oxide import ProjectedParameters


@st.composite
def aberrations(draw: st.DrawFn, *, phase: float = 1.0) -> Aberrations:
    """Draw low-order aberrations, each of at most ``phase`` rad at 20 mrad and 200 kV.

    Parameters
    ----------
    draw : callable
        Given by Hypothesis.
    phase : float
        Largest phase of one aberration at the rim, rad.
    """
    wavelength, rim = 0.02508, 0.02

    def coefficient(order: int) -> float:
        largest = phase * wavelength / (2 * 3.1416) * (order + 1) / rim ** (order + 1)
        return round(draw(st.floats(-1, 1)), 3) * largest

    azimuth = st.floats(0, 3.14).map(lambda value: round(value, 2))
    return Aberrations(
        C10=coefficient(1),
        C12=coefficient(1),
        phi12=draw(azimuth),
        C21=coefficient(2),
        phi21=draw(azimuth),
        C23=coefficient(2),
        phi23=draw(azimuth),
        C30=coefficient(3),
    )


def beams() -> st.SearchStrategy[Beam]:
    """Draw beams of usual microscopes: 60 to 300 kV, 10 to 35 mrad, mild aberrations."""
    return st.builds(
        Beam,
        energy=st.sampled_from([60e3, 80e3, 200e3, 300e3]),
        semiangle=st.floats(10, 35).map(lambda value: round(value, 1)),
        aberrations=aberrations(),
    )


def scans(*, largest: int = 16) -> st.SearchStrategy[Scan]:
    """Draw small rasters, square or not, at steps of 0.1 to 0.25 Å, at any rotation."""
    size = st.integers(2, largest)
    step = st.floats(0.1, 0.25).map(lambda value: round(value, 3))
    return st.builds(
        Scan,
        shape=st.tuples(size, size),
        step=st.tuples(step, step),
        rotation=st.sampled_from([0.0, 17.0, 90.0, -30.0]),
    )


@st.composite
def acquisitions(draw: st.DrawFn, *, largest_scan: int = 12, pixels: int = 16) -> StemAcquisition:
    """Draw whole measurements whose detector holds the bright-field disc.

    Parameters
    ----------
    draw : callable
        Given by Hypothesis.
    largest_scan : int
        Most positions along one axis.
    pixels : int
        Detector pixels along one axis, at least.
    """
    beam = draw(beams())
    rows, columns = draw(st.integers(pixels, pixels + 6)), draw(st.integers(pixels, pixels + 6))
    reach = draw(st.floats(1.1, 1.5)) * beam.semiangle
    return StemAcquisition(
        beam=beam,
        scan=draw(scans(largest=largest_scan)),
        detector=PixelDetector(
            shape=(rows, columns),
            pixel_size=(2 * reach / (rows - 2), 2 * reach / (columns - 2)),
            transpose=draw(st.booleans()),
        ),
        haadf=None,
        dose=draw(st.floats(1e3, 1e6)),
    )


def projected_parameters() -> st.SearchStrategy[ProjectedParameters]:
    """Draw projected cells of Li-rich oxide within some 5 % of the published states."""

    def around(value: float, spread: float = 0.05) -> st.SearchStrategy[float]:
        return st.floats(-spread, spread).map(lambda part: round(value * (1 + part), 4))

    return st.builds(
        ProjectedParameters,
        A=around(2.52),
        Cx=around(-1.69),
        Cy=around(4.92),
        Ox=around(0.86),
        Oy=around(1.11),
    )
