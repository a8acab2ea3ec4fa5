"""Pictures of volumes: surfaces have the right area and colours, panels are labelled."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.validation.report import ReportContent, render_report
from echolith.validation.volume_figures import Chemistry, coloured, fullest, slices
from echolith.validation.volume_surfaces import (
    isosurface,
    particle_colours,
    particles,
    surfaces,
)


def ball(radius: float, *, size: int = 24, centre: tuple[float, ...] = (0, 0, 0)) -> xr.DataArray:
    """Return the filling of voxels of 10 Å by a ball, radius and centre (z, y, x) in voxels."""
    axes = {dim: (np.arange(size + n) - (size + n - 1) / 2) * 10.0 for n, dim in enumerate("zyx")}
    volume = xr.DataArray(
        np.zeros([len(axis) for axis in axes.values()]), dims=tuple("zyx"), coords=axes
    )
    away = sum((volume[dim] / 10 - c) ** 2 for dim, c in zip("zyx", centre, strict=True)) ** 0.5
    return (radius + 0.5 - away).clip(0, 1).transpose("z", "y", "x")


def report(**changes: Any) -> ReportContent:
    density = ball(7.0)
    share = (density["x"] > 0).astype(float).broadcast_like(density)
    truth = xr.Dataset(
        {
            "density": density,
            "composition": share.where(density > 0.99),
            "label": (density > 0.1).astype(np.int32),
        }
    )
    estimate = truth.assign(density=density * 0.9)
    content: dict[str, Any] = {"measurement": xr.Dataset(), "estimate": estimate, "truth": truth}
    return ReportContent(title="t", scenario="s", settings={}, summary={}, **(content | changes))


@settings(max_examples=12)
@given(radius=st.floats(5, 9), dy=st.floats(-1, 1), most=st.sampled_from([60_000, 700]))
def test_surface_of_a_ball(radius: float, dy: float, most: int) -> None:
    """Marching cubes cut corners off: the volume inside, by Gauss, is that of a ball to 3 %.

    Coarser surfaces lie where a smoothed density is low: outside, by a voxel or so.
    """
    found = isosurface(ball(radius, centre=(0, dy, 0.3)), most=most)
    assert found is not None
    a, b, c = np.moveaxis(found.corners / 10, 1, 0)
    volume = abs(np.einsum("ij,ij->i", a, np.cross(b, c)).sum()) / 6
    assert len(a) <= most
    if most == 60_000:
        assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.03)
        np.testing.assert_allclose(np.cross(b - a, c - a).sum(axis=0), 0, atol=1e-6)  # closed
    away = np.linalg.norm(found.corners.mean(axis=1) / 10 - [0, dy, 0.3], axis=1)
    outside = 0.5 if most == 60_000 else 1.5
    assert radius - 0.7 < away.min() < away.max() < radius + outside
    # Neither is it moved to one side, as by half a voxel by a filter of even width.
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    middle = np.average(found.corners.mean(axis=1) / 10, axis=0, weights=area)
    np.testing.assert_allclose(middle, [0, dy, 0.3], atol=0.4)


def test_colour_comes_from_inside() -> None:
    density = ball(7.0)
    found = isosurface(density)
    assert found is not None
    assert (density.values[tuple(found.voxel.T)] > 0.3).all()


def test_nothing_makes_no_surface() -> None:
    assert isosurface(ball(7.0) * 0) is None
    with pytest.raises(BadInputError, match="most = 0"):
        isosurface(ball(7.0), most=0)
    empty = report(estimate=xr.Dataset(), truth=None)
    assert slices(empty) is None
    assert surfaces(empty) is None
    assert particles(empty) is None
    flat = report().estimate.assign(density=ball(7.0) * 0)
    assert surfaces(report(estimate=flat, truth=None)) is None


def test_panels_say_what_they_are() -> None:
    figure = slices(report())
    assert figure is not None
    titles = [axes.get_title(loc="left") for axes in figure.axes[:6]]
    assert titles == [f"{what}, {axis} = 0 nm" for what in ("Truth", "Estimate") for axis in "zyx"]
    assert figure.axes[6].get_ylabel() == "fraction of FePO4"
    picture = surfaces(report())
    assert picture is not None
    assert [axes.get_title() for axes in picture.axes[:2]] == ["Truth", "Estimate"]
    assert picture.axes[0].get_xlabel() == "x (nm)"
    assert picture.axes[0].get_xlim() == picture.axes[1].get_xlim()


def test_slices_show_the_fullest_planes_with_density_as_opacity() -> None:
    assert fullest(ball(5.0, centre=(2.5, -3, 1))) == {"z": 14, "y": 9, "x": 13}
    colours = coloured(np.array([0.0, 1.0, np.nan, 0.5]), np.array([1.0, 0.4, 1.0, 0.0]))
    np.testing.assert_allclose(colours[:, 3], [1, 0.4, 0, 0])
    side = Chemistry.of(report().truth)
    assert side is not None
    rim = (side.density > 0.1) & (side.density < 0.9)
    assert np.isfinite(side.composition.values[rim.values]).all()  # carried to the rim


def test_matched_particles_have_one_colour_and_others_are_grey() -> None:
    truth = xr.DataArray(np.repeat([1, 2, 3, 0], 20)[None, None], dims=tuple("zyx"))
    found = xr.DataArray(np.repeat([0, 1, 2, 3], 20)[None, None], dims=tuple("zyx"))
    content = report(estimate=xr.Dataset({"label": found}), truth=xr.Dataset({"label": truth}))
    colours = particle_colours(content)
    np.testing.assert_array_equal(colours["Truth"][2], colours["Estimate"][1])
    np.testing.assert_array_equal(colours["Truth"][3], colours["Estimate"][2])
    np.testing.assert_array_equal(colours["Truth"][1], colours["Estimate"][3])  # both alone
    assert len({tuple(colour) for colour in colours["Truth"][1:]}) == 3


def test_a_report_shows_them() -> None:
    page = render_report(report())
    for words in (
        "Three slices of the composition",
        "coloured by composition",
        "a colour for each",
    ):
        assert words in page
