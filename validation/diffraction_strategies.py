"""Strategies for nano-beam diffraction: strained particles, and how rocking curves are taken.

Maps are small, so that a test can draw many; they shrink to an unstrained crystal.
"""

from typing import Any

from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.rocking_curve import RockingCurve
from echolith.structures.crystal_table import CRYSTALS
from echolith.structures.strained_crystals import (
    MapSize,
    StrainedMap,
    crystal_cluster,
    single_crystal,
)
from echolith.structures.strained_fields import SpacingGradient
from echolith.structures.strained_particles import particle_diameters, particle_field
from echolith.validation.plain_numbers import near

SPACING = CRYSTALS["NMC622"].cell[2] / 3


def spacing_gradients() -> st.SearchStrategy[SpacingGradient]:
    """Draw how the spacing changes through a particle; it shrinks to no change.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(spacing_gradients(), lambda found: found.radial > 0.002)
    SpacingGradient(radial=0.003, linear=0.0, direction=0.0)
    """
    part = near(0.0, low=-0.01, high=0.01, step=0.001)
    return st.builds(
        SpacingGradient,
        radial=part,
        linear=part,
        direction=near(0.0, low=-180, high=180, step=15),
    )


def strained_maps(*, largest: int = 60) -> st.SearchStrategy[StrainedMap]:
    """Draw a cracked crystal, a cluster of grains or several particles; it shrinks to the first.

    Parameters
    ----------
    largest : int
        Pixels along the longest side, 30 or more.

    Raises
    ------
    BadInputError
        If the largest side is too short.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(strained_maps().map(lambda found: found.domain.shape), lambda shape: shape[0] > 35)
    (36, 30)
    """
    if largest < 30:
        raise BadInputError(f"largest = {largest}; expected 30 pixels or more")
    side = st.integers(30, largest)
    common: dict[str, st.SearchStrategy[Any]] = {
        "size": st.builds(
            MapSize, shape=st.tuples(side, side), pixel=near(100.0, low=50, high=200, step=10)
        ),
        "reference": near(SPACING, low=4.6, high=4.9, step=0.01),
        "strain": near(0.0, low=0, high=5e-3, step=1e-4),
        "tilt": near(0.0, low=0, high=0.2, step=0.01),
        "width": near(1.5e-3, low=1e-3, high=3e-3, step=1e-4),
        "gradient": spacing_gradients(),
        "seed": st.integers(0, 2**16),
    }
    turn = near(0.0, low=0, high=15, step=0.1)
    return st.one_of(
        st.builds(single_crystal, domains=st.integers(1, 5), step=turn, **common),
        st.builds(crystal_cluster, grains=st.integers(2, 12), orientation=turn, **common),
        st.builds(
            _particles,
            count=st.integers(1, 3),
            orientation=turn,
            between=near(0.0, low=0, high=5e-3, step=1e-4),
            **common,
        ),
    )


def _particles(count: int, *, size: MapSize, seed: int, **rest: Any) -> StrainedMap:
    mean = min(size.shape) * size.pixel / 5
    diameters = particle_diameters(count, mean=mean, spread=mean / 20, seed=seed)
    return particle_field(size, diameters=diameters, seed=seed, **rest)


def rocking_curves(specimen: StrainedMap | None = None) -> st.SearchStrategy[RockingCurve]:
    """Draw how a small map of rocking curves is taken; it shrinks to one without drift.

    Parameters
    ----------
    specimen : StrainedMap, optional
        What is scanned, of 30 pixels or more each way; the scan then stays on it.

    Examples
    --------
    >>> from hypothesis import find
    >>> found = find(rocking_curves(), lambda curve: curve.etas > 10)
    >>> found.scan, found.etas, found.drift
    ((2, 2), 11, (0.0, 0.0))
    """
    pixel = 100.0 if specimen is None else specimen.pixel
    drift = near(0.0, low=-0.1, high=0.1, step=0.05)
    return st.builds(
        RockingCurve,
        beam_energy=near(9000.0, low=6000, high=20000, step=500),
        scan=st.tuples(st.integers(2, 6), st.integers(2, 6)),
        step=near(2 * pixel, low=pixel, high=2 * pixel, step=pixel / 4),
        etas=near(9.0, low=5, high=13, step=1).map(int),
        pixels=st.tuples(st.integers(8, 20), st.integers(8, 20)),
        counts=near(2000.0, low=100, high=5000, step=100),
        background=st.sampled_from([0.02, 0.0, 0.2]),
        beam=near(pixel / 2, low=0, high=pixel, step=pixel / 4),
        drift=st.tuples(drift, drift),
        monitor_noise=st.sampled_from([0.0, 0.05]),
        dead=st.integers(0, 3),
        hot=st.integers(0, 3),
    )
