"""Several exposures in one measurement."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.exposures import join_exposures, take_exposure, take_frames


def scan(value: float, *, acquisition: str = "{}") -> xr.Dataset:
    """A tiny 4D set."""
    dims = ("scan_y", "scan_x", "detector_y", "detector_x")
    return xr.Dataset(
        {
            "counts": (dims, np.full((2, 3, 4, 5), value)),
            "haadf": (dims[:2], np.full((2, 3), value)),
        },
        coords={"scan_y": [0.0, 0.2], "scan_x": [0.0, 0.2, 0.4]},
        attrs={"acquisition": acquisition, "engine_error": value},
    )


def frames(value: float) -> xr.Dataset:
    """A tiny series of frames on another raster."""
    return xr.Dataset(
        {"haadf": (("frame", "scan_y", "scan_x"), np.full((3, 4, 6), value))},
        coords={"scan_y": 0.1 * np.arange(4), "scan_x": 0.1 * np.arange(6)},
        attrs={"fast_frames": "{}"},
    )


@given(st.lists(st.floats(0, 9), min_size=1, max_size=4))
def test_what_is_joined_can_be_taken_out_again(values: list[float]) -> None:
    """Neither the sets nor the frames change, but for attributes that differ."""
    sets = {f"state {n}": scan(value) for n, value in enumerate(values)}
    series = {f"state {n}": frames(value + 1) for n, value in enumerate(values)}
    joined = join_exposures(sets, frames=series)
    for name in sets:
        xr.testing.assert_equal(take_exposure(joined, name), sets[name])
        xr.testing.assert_equal(take_frames(joined, name), series[name])
        assert take_exposure(joined, name).attrs["acquisition"] == "{}"
        assert take_frames(joined, name).attrs["fast_frames"] == "{}"


def test_lazy_exposures_stay_lazy() -> None:
    """Joining computes nothing."""
    joined = join_exposures({"one": scan(1).chunk(), "two": scan(2).chunk()})
    assert joined["counts"].chunks is not None


def test_what_does_not_belong_together_is_refused() -> None:
    """Each reason has its own message."""
    with pytest.raises(BadInputError, match="no exposure"):
        join_exposures({})
    with pytest.raises(BadInputError, match="differ in 'acquisition'"):
        join_exposures({"one": scan(1), "two": scan(2, acquisition="other")})
    with pytest.raises(BadInputError, match="give both of each"):
        join_exposures({"one": scan(1)}, frames={"two": frames(1)})
    joined = join_exposures({"pristine": scan(1)})
    with pytest.raises(BadInputError, match="did you mean 'pristine'"):
        take_exposure(joined, "pristin")
    with pytest.raises(BadInputError, match="no fast annular"):
        take_frames(joined, "pristine")
