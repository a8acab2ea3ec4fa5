"""Strategies for data: seeds, expected counts, counts, whole measurements."""

import numpy as np
import xarray as xr
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from echolith.errors import BadInputError
from echolith.forward.acquisition import StemAcquisition
from echolith.seeds import stream
from echolith.validation.acquisition_strategies import acquisitions
from echolith.validation.plain_numbers import at_least

DIMS = ("scan_y", "scan_x", "detector_y", "detector_x")
SMALL = (2, 3, 4, 5)
"""Every axis of another length, so that a transpose does not go unnoticed."""


def seeds(*, largest: int = 2**32 - 1) -> st.SearchStrategy[int]:
    """Draw seeds from 0; they shrink to 0.

    Parameters
    ----------
    largest : int

    Raises
    ------
    BadInputError
        If the largest is negative.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(seeds(), lambda seed: seed > 6)
    7
    """
    at_least("largest", largest, 0)
    return st.integers(0, largest)


def expected_counts(
    *, shape: tuple[int, ...] = SMALL, largest: float = 40.0
) -> st.SearchStrategy[xr.Dataset]:
    """Draw means, as a forward returns them: variable ``counts``; they shrink to zeros.

    Parameters
    ----------
    shape : tuple of int
        Two axes (scan) or four (scan and detector).
    largest : float
        Of one pixel.

    Raises
    ------
    BadInputError
        If the shape has other axes or an empty one, or the largest is negative.

    Examples
    --------
    >>> from hypothesis import find
    >>> float(find(expected_counts(), lambda mean: float(mean["counts"].sum()) > 2)["counts"].max())
    3.0
    """
    at_least("largest", largest, 0)
    values = hnp.arrays(
        np.float64,
        _checked(shape),
        elements=st.floats(0, largest, allow_subnormal=False),
        fill=st.just(0.0),
    )
    return values.map(_dataset)


def counts(*, shape: tuple[int, ...] = SMALL, largest: int = 50) -> st.SearchStrategy[xr.Dataset]:
    """Draw counts, variable ``counts`` of type uint16; they shrink to zeros.

    Parameters
    ----------
    shape : tuple of int
        Two axes (scan) or four (scan and detector).
    largest : int
        Of one pixel, up to 65535.

    Raises
    ------
    BadInputError
        If the shape has other axes or an empty one, or the largest does not fit.

    Examples
    --------
    >>> from hypothesis import find
    >>> int(find(counts(), lambda found: int(found["counts"].sum()) > 2)["counts"].sum())
    3
    """
    at_least("largest", largest, 0)
    if largest > np.iinfo(np.uint16).max:
        raise BadInputError(f"largest = {largest}; expected at most 65535, what uint16 holds")
    values = hnp.arrays(
        np.uint16, _checked(shape), elements=st.integers(0, largest), fill=st.just(0)
    )
    return values.map(_dataset)


def _checked(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) not in (2, 4) or min(shape) < 1:
        raise BadInputError(
            f"shape = {shape}; expected (scan_y, scan_x), maybe followed by (detector_y, "
            "detector_x), each 1 or more"
        )
    return tuple(shape)


def _dataset(values: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"counts": (DIMS[: values.ndim], values)})


def measurements(
    *, taken: st.SearchStrategy[StemAcquisition] | None = None, mean: float = 20.0
) -> st.SearchStrategy[xr.Dataset]:
    """Draw recorded data that show nothing: even counts with noise, and how they were taken.

    Parameters
    ----------
    taken : strategy, optional
        How; `acquisitions` by default.
    mean : float
        Counts per pixel.

    Returns
    -------
    strategy
        Datasets with ``counts`` over scan and detector, and the attribute ``acquisition``.

    Raises
    ------
    BadInputError
        If the mean is negative or too large for uint16.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(measurements(), lambda data: True)["counts"].shape
    (2, 2, 16, 16)
    """
    at_least("mean", mean, 0)
    if mean > 6e4:
        raise BadInputError(f"mean = {mean:g}; expected at most 6e4, so that uint16 holds it")
    return st.builds(
        lambda how, seed: _recorded(how, mean, seed),
        taken if taken is not None else acquisitions(),
        seeds(),
    )


def _recorded(taken: StemAcquisition, mean: float, seed: int) -> xr.Dataset:
    shape = (*taken.scan.shape, *taken.detector.stored_shape)
    drawn = stream(seed, "even counts").poisson(mean, shape).astype(np.uint16)
    return _dataset(drawn).assign_attrs(acquisition=taken.model_dump_json())
