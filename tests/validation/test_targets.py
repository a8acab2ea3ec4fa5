"""Pictures of the truth lie where its measurement shows it, and hold as much."""

import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes

from echolith.errors import BadInputError
from echolith.sample_options import Target
from echolith.validation.catalogue import scenario
from echolith.validation.generation import Generation, sample
from echolith.validation.scenario import Sample
from echolith.validation.targets import (
    check_targets,
    column_heat_maps,
    target_names,
    with_targets,
)
from tests.validation.wave_scenario import WaveSettings, wave_scenario


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
        (["Li", "M"], ["M", "Li", "T"]),
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


def drawn(name: str, targets: list[Target], **settings: Any) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the mean measurement and the truth with its targets of a small case."""
    small = scenario(name, **settings)
    case = small.simulate(seed=3, noise_free=True)
    return case.measurement, with_targets(small, case, targets, width=0.4)


def flips(picture: Any) -> list[Any]:
    return [picture[::-1], picture[:, ::-1], picture[::-1, ::-1]]


def correlation(one: Any, other: Any) -> float:
    return float(np.corrcoef(np.ravel(one), np.ravel(other))[0, 1])


def test_columns_of_hrtem_are_bright_where_their_heat_map_is() -> None:
    measured, truth = drawn(
        "li-hrtem",
        [Target.HEAT_MAP, Target.MASK],
        particle={"size": 22.0, "zone_axis": (1, 1, 0)},
        acquisition={"shape": (160, 200)},
        offset=8.0,
    )
    image, spots = measured["counts"].values[0], truth["target.heat_map"].values[0]
    assert correlation(image, spots) > 0.5
    assert all(correlation(image, flip) < 0.3 for flip in flips(spots))
    mask = truth["target.mask"].values > 0
    _holds_what_is_seen(image, mask)
    np.testing.assert_array_equal(mask, binary_fill_holes(mask))


@pytest.mark.filterwarnings("ignore:scan step")  # coarse, to be quick
def test_columns_of_a_scan_scatter_where_their_heat_map_is() -> None:
    measured, truth = drawn(
        "li-rich-oxide",
        [Target.HEAT_MAP],
        occupation="ordered",
        scan={"shape": (16, 22), "step": 0.6, "rotation": 20.0},
        detector={"shape": (32, 32), "pixel_size": 2.4},
        haadf=None,
        simulation={"slice_thickness": 5.0, "minimum_box": 15.0},
        distortion={"drift": (60.0, 40.0)},
    )
    angle = np.hypot(measured["detector_y"], measured["detector_x"])
    image = measured["counts"].where(angle > 28, 0).sum(["detector_y", "detector_x"]).values
    spots = truth["target.heat_map"].values[0]
    assert correlation(image, spots) > 0.5
    # Half a turn is a symmetry of the crystal.
    assert all(correlation(image, flip) < 0.3 for flip in flips(spots)[:2])


def test_masks_of_movies_follow_what_grows_and_drifts() -> None:
    measured, truth = drawn(
        "li-growth",
        [Target.MASK],
        movie={
            "acquisition": {"shape": (180, 220), "frames": 2, "frame_time": 0.01},
            "drift": (-300.0, 500.0),
        },
        growth={"size": 60.0, "thickness": 12.0, "centre": (-25.0, 12.0)},
    )
    for image, mask in zip(measured["counts"].values, truth["target.mask"].values, strict=True):
        _holds_what_is_seen(image, mask > 0)
        for flip in flips(mask):
            with pytest.raises(AssertionError):
                _holds_what_is_seen(image, flip > 0)
    measured, truth = drawn(
        "li-whisker",
        [Target.MASK],
        acquisition={"frames": 2, "image_spread": 0.5, "aberrations": {"C10": 0.0}},
        whisker={"direction": 30.0, "start_length": 150.0, "width": 100.0},
        drift=(900.0, -600.0),
    )
    for image, mask in zip(measured["counts"].values, truth["target.mask"].values, strict=True):
        means = [image[mask == kind].mean() for kind in (0, 1, 2)]
        assert means[2] < means[1] < means[0]
        spread = np.mean([image[mask == kind].std() for kind in (0, 1, 2)])
        assert np.ptp(means) > 3 * spread
    assert json.loads(truth["target.mask"].attrs["classes"]) == ["none", "whisker", "base"]


def _holds_what_is_seen(image: Any, mask: Any) -> None:
    """Assert that contrast lies inside a mask, and hardly any outside."""
    away = image - np.median(image[~mask])
    inside = (away[mask] ** 2).mean()
    assert (away[~mask] ** 2).mean() < 0.1 * inside


def test_surface_phases_are_those_of_the_columns() -> None:
    turned = scenario("li-rich-surface", direction=25.0, vacuum=6.0, scan={"shape": (60, 90)})
    specimen = turned.build(3)
    case = Sample(specimen, turned.forward(specimen), turned.truth(specimen))
    truth = with_targets(turned, case, [Target.PHASE, Target.MASK], width=0.4)
    names = json.loads(truth["target.phase"].attrs["classes"])
    row, column = (np.rint(truth[axis].values / 0.27).astype(int) for axis in "yx")
    found = np.array(names)[truth["target.phase"].values[row, column]]
    depth = truth["depth"].values
    clear = abs(depth - float(truth["surface_depth"])) > 0.27
    np.testing.assert_array_equal(found[clear], truth["phase"].values[clear])
    vacuum = truth["target.mask"].values == 0
    # The vacuum lies towards +x and +y and is 6 Å wide at the corner of the scan.
    assert vacuum[-1, -1]
    assert not vacuum[0, 0]
    assert 0 < vacuum.mean() < 0.3


def test_what_a_truth_holds_is_not_held_twice() -> None:
    _, truth = drawn(
        "nmc622-sxdm",
        [Target.LABELS, Target.STRAIN, Target.TILT, Target.MASK],
        curve={"scan": (8, 10), "etas": 5, "pixels": (16, 16)},
    )
    assert [name for name in truth if str(name).startswith("target.")] == ["target.mask"]
    assert target_names(truth, Target.TILT) == ("tilt_x", "tilt_y")
    assert target_names(truth, Target.MASK) == ("target.mask",)
    assert target_names(truth, Target.HEAT_MAP) == ()
    np.testing.assert_array_equal(truth["target.mask"].values, truth["label"].values > 0)


def test_plates_are_labelled_where_there_is_phosphate() -> None:
    _, truth = drawn(
        "lfp-tomography",
        [Target.LABELS, Target.PHASE],
        pixels=32,
        plates=2,
        tilts={"angles": (0.0, 30.0)},
    )
    label, phase = truth["target.labels"].values, truth["target.phase"].values
    assert set(np.unique(label)) == {0, 1, 2}
    np.testing.assert_array_equal(label > 0, truth["density"].values > 0.5)
    known = np.isfinite(truth["composition"].values)
    np.testing.assert_array_equal(phase > 0, known)
    np.testing.assert_array_equal(phase[known] == 2, truth["composition"].values[known] >= 0.5)


def test_targets_that_there_are_not_are_refused_with_those_that_there_are() -> None:
    powder = scenario("linio2-powder", acquisition={"step": 0.5})
    with pytest.raises(BadInputError, match=r"no target 'mask'; it has composition, strain$"):
        check_targets(powder, [Target.STRAIN, Target.MASK], width=0.4)
    wave = Generation(
        scenario=wave_scenario(WaveSettings()),
        make=wave_scenario,
        vary={},
        n=1,
        targets=(Target.TILT,),
    )
    with pytest.raises(BadInputError, match="it has none"):
        wave.check_priors()
    with pytest.raises(BadInputError, match="width = -1 Å"):
        Generation(scenario=wave.scenario, make=wave_scenario, vary={}, n=1, width=-1)


def test_samples_hold_their_targets() -> None:
    small = scenario("lfp-xas", pixels=40, plates=2, energy_count=8)
    generation = Generation(
        scenario=small, make=lambda _: small, vary={}, n=2, targets=(Target.MASK,)
    )
    one = sample(generation, 1)
    mask = one.truth["target.mask"]
    assert mask.dims == ("target_y", "target_x")
    np.testing.assert_array_equal(mask.values > 0, np.isfinite(one.truth["composition"].values))
