"""Pictures of the truth lie where its measurement shows it, and hold as much."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.validation.targets import column_heat_maps


def frame(shape: tuple[int, int], step: tuple[float, float], *, prefix: str = "") -> xr.Dataset:
    axes = {
        prefix + name: (prefix + name, np.arange(n) * d, {"units": "Å"})
        for name, n, d in zip("yx", shape, step, strict=True)
    }
    return xr.Dataset({"counts": ((*axes,), np.zeros(shape, dtype=np.int32))}, coords=axes)


def columns(xy: list[tuple[float, float]], species: list[str] | None = None) -> xr.Dataset:
    x, y = np.array(xy, dtype=float).reshape(-1, 2).T
    found = xr.Dataset({"x": ("column", x), "y": ("column", y)})
    return found if species is None else found.assign(species=("column", species))


@given(
    st.lists(st.tuples(st.floats(-3, 12), st.floats(-3, 9), st.sampled_from(["M", "O", "Li"]))),
    st.floats(0.01, 3),
)
def test_heat_maps_sum_to_the_columns_inside(
    placed: list[tuple[float, float, str]], width: float
) -> None:
    measured = frame((20, 30), (0.3, 0.25), prefix="scan_")
    truth = columns([(x, y) for x, y, _ in placed], [kind for *_, kind in placed])
    maps = column_heat_maps(truth, measured, width=width, species=("M", "O", "Li"))
    assert maps.dims == ("species", "scan_y", "scan_x")
    for kind in ("M", "O", "Li"):
        inside = [
            kind == other and -0.125 <= x < 7.375 and -0.15 <= y < 5.85 for x, y, other in placed
        ]
        # float32 adds 600 pixels of up to so many columns.
        np.testing.assert_allclose(
            float(maps.sel(species=kind).sum(dtype=float)), sum(inside), rtol=1e-5, atol=1e-6
        )


@given(st.floats(2.5, 4.5), st.floats(4, 8), st.floats(0.2, 0.5))
def test_a_spot_lies_where_its_column_is(y: float, x: float, width: float) -> None:
    maps = column_heat_maps(columns([(x, y)]), frame((25, 60), (0.3, 0.2)), width=width)
    assert maps.species.values.tolist() == ["column"]
    spot = maps.isel(species=0).astype(float)
    # Five standard deviations are inside: the middle of the spot is the column's, its variance that
    # of the Gaussian and of a pixel.
    for name, place, step in (("y", y, 0.3), ("x", x, 0.2)):
        mean = float((spot * spot[name]).sum())
        assert abs(mean - place) < 1e-4
        variance = float((spot * (spot[name] - mean) ** 2).sum())
        assert abs(variance - width**2 - step**2 / 12) < 2e-3


def test_channels_do_not_change_with_what_a_sample_holds() -> None:
    measured = frame((4, 6), (0.5, 0.5))
    for held, told in (
        (["M"], ["M"]),
        (["O", "M"], ["M", "O", "Li"]),
        (["T"], ["M", "O", "Li", "T"]),
        (["Ni", "Mn"], ["Mn", "Ni"]),
    ):
        truth = columns([(1, 1)] * len(held), held)
        maps = column_heat_maps(truth, measured, width=0.5)
        assert maps.species.values.tolist() == told


def test_what_has_no_heat_map_is_told() -> None:
    measured = frame((4, 6), (0.5, 0.5))
    with pytest.raises(BadInputError, match="width = 0 Å"):
        column_heat_maps(columns([(1, 1)]), measured, width=0)
    with pytest.raises(BadInputError, match="holds no columns"):
        column_heat_maps(measured, measured, width=1)
    with pytest.raises(BadInputError, match="no image"):
        column_heat_maps(columns([(1, 1)]), xr.Dataset({"two_theta": ("x", [1.0])}), width=1)
