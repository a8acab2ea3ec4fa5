"""Blind finding: every column, no other, at any density, noise level, direction and place."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.inverse.columns import FindOptions, find_columns, fit_columns, revise_columns
from echolith.validation.matching import match_columns
from tests.inverse.weak_phase import (
    Cell,
    Field,
    haadf_image,
    overlap,
    reconstruction,
    true_columns,
)

Array = npt.NDArray[np.float64]

DOSES = [2.9e4, 8.1e4, 1e6]
"""e/Å²: the published range, and hardly any noise."""


def inside(columns: xr.Dataset, spec: Field, margin: float = 2.0) -> xr.Dataset:
    """Flag the columns within a margin of the border."""
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    far = np.array(spec.shape[::-1]) * spec.step - spec.step
    edge = ((xy < margin) | (xy > far - margin)).any(axis=1)
    return columns.assign(edge=columns["edge"] | edge)


def disorder(spec: Field, *, apart: float, seed: int) -> xr.Dataset:
    """Columns of any species at random places, none nearer than `apart` to another."""
    rng = np.random.default_rng(seed)
    extent = np.array(spec.shape[::-1]) * spec.step
    tried = rng.uniform(1 - spec.pad, extent + spec.pad - 1, (3000, 2))
    near = np.hypot(*(tried[:, None] - tried[None]).transpose(2, 0, 1)) < apart
    taken = np.zeros(len(tried), dtype=bool)
    for n in range(len(tried)):
        taken[n] = not (near[n] & taken).any()
    xy = tried[taken]
    return xr.Dataset(
        {
            "x": ("column", xy[:, 0]),
            "y": ("column", xy[:, 1]),
            "species": ("column", rng.choice(["M", "O", "Li"], len(xy))),
            "sign": ("column", np.zeros(len(xy), dtype=int)),
            "edge": ("column", ((xy < 0) | (xy >= extent)).any(axis=1)),
        }
    )


def assert_all_found(found: xr.Dataset, truth: xr.Dataset, *, near: float) -> None:
    match = match_columns(found, truth)
    assert match.unmatched == 0
    assert len(match.truth) == match.expected > 5
    off = np.hypot(
        *(found[n].values[match.estimate] - truth[n].values[match.truth] for n in ("x", "y"))
    )
    assert off.max() < near
    np.testing.assert_array_equal(
        found["species"].values[match.estimate], truth["species"].values[match.truth]
    )


# --- everything found, nothing else ---------------------------------------------------------


@pytest.mark.parametrize("dose", DOSES)
@pytest.mark.parametrize("scale", [0.85, 1.0, 1.25])
def test_crystals_of_any_density(scale: float, dose: float) -> None:
    """Columns 1.1 to 1.7 Å apart, in another direction for every seed."""
    base = Cell()
    for seed in range(3):
        cell = Cell(
            a=scale * base.a,
            c=(scale * base.c[0], scale * base.c[1]),
            o=(scale * base.o[0], scale * base.o[1]),
            rotation=41.0 * seed,
            origin=(0.3 * seed, 0.7),
        )
        spec = Field(cell=cell, dose=dose)
        found = find_columns(
            reconstruction(spec, seed=seed)["phase"], haadf=haadf_image(spec, seed=seed)
        )
        # A find is a start for fits: a tenth of an ångström is plenty (0.07 measured).
        assert_all_found(found, inside(true_columns(spec), spec), near=0.1)


@pytest.mark.parametrize("dose", DOSES)
@pytest.mark.parametrize("apart", [1.3, 1.6, 2.2, 3.0])
def test_disordered_columns_of_any_density(apart: float, dose: float) -> None:
    """No lattice, no symmetry; the noise is known."""
    for seed in range(2):
        spec = Field(dose=dose)
        truth = disorder(spec, apart=apart, seed=seed)
        data = reconstruction(spec, seed=seed, columns=truth)
        haadf = haadf_image(spec, seed=seed, columns=truth)
        found = find_columns(data["phase"], haadf=haadf, weight=data["weight"])
        assert_all_found(found, inside(truth, spec), near=0.1)


@pytest.mark.parametrize("known", [True, False])
def test_little_dose_costs_faint_columns_but_makes_none_up(known: bool) -> None:
    found, expected = 0, 0
    for seed in range(5):
        spec = Field(dose=2e3)
        data = reconstruction(spec, seed=seed)
        columns = find_columns(data["phase"], weight=data["weight"] if known else None)
        truth = inside(true_columns(spec), spec)
        assert match_columns(columns, truth).unmatched == 0
        bright = truth.isel(column=truth["species"].values == "M")
        match = match_columns(columns, bright)
        found, expected = found + len(match.truth), expected + match.expected
        assert columns.sizes["column"] < truth.sizes["column"]
    assert found == expected > 30


def pure_noise(seed: int, shape: tuple[int, int] = (80, 80)) -> xr.Dataset:
    spec = Field(shape=shape)
    nothing = true_columns(spec).isel(column=slice(0))
    return reconstruction(spec, seed=seed, columns=nothing)


@given(st.integers(0, 2**32))
def test_noise_alone_has_no_columns(seed: int) -> None:
    data = pure_noise(seed)
    for weight in (None, data["weight"]):
        with pytest.raises(BadInputError, match="no columns found"):
            find_columns(data["phase"], weight=weight)


def test_vacuum_beside_a_crystal_stays_empty() -> None:
    for seed in range(3):
        spec = Field()
        truth = true_columns(spec)
        truth = truth.isel(column=truth["x"].values < 8)
        data = reconstruction(spec, seed=seed, columns=truth)
        found = find_columns(data["phase"], weight=data["weight"])
        assert match_columns(found, inside(truth, spec)).unmatched == 0
        assert found["x"].max() < 8.2


# --- direction and place --------------------------------------------------------------------


@given(
    st.floats(0, 360),
    st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    st.sampled_from([(80, 80), (70, 96)]),
)
def test_any_direction_and_place(
    rotation: float, origin: tuple[float, float], shape: tuple[int, int]
) -> None:
    spec = Field(cell=Cell(rotation=rotation, origin=origin), shape=shape)
    found = find_columns(reconstruction(spec)["phase"], haadf=haadf_image(spec))
    # Without noise: what is left are tails of neighbours.
    assert_all_found(found, inside(true_columns(spec), spec), near=0.05)


def ordered(columns: xr.Dataset) -> tuple[Array, list[str]]:
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    order = np.lexsort(np.round(xy, 3).T)
    return xy[order], columns["species"].values[order].tolist()


@given(st.floats(-50, 50), st.floats(-50, 50), st.integers(0, 3))
def test_columns_move_with_the_axes(x0: float, y0: float, seed: int) -> None:
    phase = reconstruction(Field(shape=(60, 70)), seed=seed)["phase"]
    moved = phase.assign_coords(scan_x=phase["scan_x"] + x0, scan_y=phase["scan_y"] + y0)
    xy, species = ordered(find_columns(phase))
    found, names = ordered(find_columns(moved))
    np.testing.assert_allclose(found - [x0, y0], xy, atol=1e-9)
    assert names == species


def test_columns_turn_and_mirror_with_the_image() -> None:
    """Transpose and flips are exact: the search has no direction of its own."""
    spec = Field(shape=(60, 70))
    phase = reconstruction(spec, seed=1)["phase"]
    xy, species = ordered(find_columns(phase))
    far = [(n - 1) * spec.step for n in spec.shape[::-1]]
    swapped = xr.DataArray(
        phase.values.T,
        dims=("scan_y", "scan_x"),
        coords={"scan_y": phase["scan_x"].values, "scan_x": phase["scan_y"].values},
    )
    flipped = phase.copy(data=phase.values[::-1, ::-1])
    maps: list[tuple[xr.DataArray, Callable[[Array], Array]]] = [
        (swapped, lambda p: p[:, ::-1]),
        (flipped, lambda p: np.array(far) - p),
        (phase.transpose("scan_x", "scan_y"), lambda p: p),
    ]
    for image, back in maps:
        found = find_columns(image)
        there = back(np.stack([found["x"].values, found["y"].values], axis=-1))
        distance = np.hypot(*(there[:, None] - xy[None]).transpose(2, 0, 1))
        assert len(there) == len(xy)
        assert distance.min(axis=0).max() < 1e-9
        assert found["species"].values[distance.argmin(axis=0)].tolist() == species


def test_edge_flags_columns_in_the_margin() -> None:
    spec = Field()
    phase = reconstruction(spec)["phase"]
    for margin in (0.0, 2.0, 3.5):
        found = find_columns(phase, options=FindOptions(margin=margin))
        x, y = found["x"].values, found["y"].values
        inner = np.min([x, y, 15.8 - x, 15.8 - y], axis=0) >= margin
        np.testing.assert_array_equal(found["edge"], ~inner)


def test_no_two_columns_are_nearer_than_the_separation() -> None:
    found = find_columns(reconstruction(Field())["phase"], options=FindOptions(separation=1.5))
    xy = np.stack([found["x"].values, found["y"].values], axis=-1)
    distance = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1)) + 9 * np.eye(len(xy))
    assert 1.5 <= distance.min() < 2.5


# --- revision -------------------------------------------------------------------------------


def test_revision_restores_missed_columns_and_drops_false_ones() -> None:
    spec = Field()
    data = reconstruction(spec, seed=4)
    found = find_columns(data["phase"], haadf=haadf_image(spec, seed=4))
    xy = np.stack([found["x"].values, found["y"].values], axis=-1)

    def nearest(species: str, place: tuple[float, float]) -> int:
        far = np.hypot(*(xy - place).T) + 99 * (found["species"].values != species)
        return int(far.argmin())

    missed = [nearest("M", (4, 4)), nearest("O", (11, 5)), nearest("Li", (6, 11))]
    faulty = found[["x", "y", "species", "edge"]].drop_isel(column=missed)
    # A column where there is none: half way between two M in a row.
    false_x, false_y = xy[nearest("M", (11, 11))] + spec.cell.vectors()[0] / 2
    false = xr.Dataset(
        {
            "x": ("column", [false_x]),
            "y": ("column", [false_y]),
            "species": ("column", ["Li"]),
            "edge": ("column", [False]),
        }
    )
    current = xr.concat([faulty, false], dim="column")
    for _ in range(3):
        current = revise_columns(data, fit_columns(data, current))
    assert_all_found(current, inside(true_columns(spec), spec), near=0.05)


def test_revision_leaves_a_good_fit_alone() -> None:
    spec = Field()
    for seed in range(3):
        data = reconstruction(spec, seed=seed)
        fitted = fit_columns(data, find_columns(data["phase"]))
        assert revise_columns(data, fitted).sizes["column"] == fitted.sizes["column"]


# --- bad input ------------------------------------------------------------------------------


def flat(shape: tuple[int, int], step: float) -> Any:
    return xr.DataArray(
        np.zeros(shape),
        dims=("scan_y", "scan_x"),
        coords={"scan_y": np.arange(shape[0]) * step, "scan_x": np.arange(shape[1]) * step},
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (flat((40, 40), 0.2), "no columns found: the highest maximum"),
        (flat((40, 40), 0.2) + 3.0, "no columns found"),
        (flat((8, 40), 0.2), "expected 12 or more along each axis"),
        (flat((40, 40), 0.7), "scan step 0.7 Å cannot resolve"),
        (
            flat((40, 40), 0.2).where(flat((40, 40), 0.2)["scan_x"] > 1),
            "240 of 1600 values|not fin",
        ),
        (flat((40, 40), 0.2).drop_vars("scan_x"), "lacks the coordinate 'scan_x'"),
        (
            flat((40, 40), 0.2).assign_coords(scan_y=np.geomspace(1, 9, 40)),
            "'scan_y' is not equally spaced",
        ),
    ],
)
def test_images_that_show_no_columns_are_refused(image: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        find_columns(image)


def test_a_dark_field_of_another_scan_is_refused() -> None:
    phase = reconstruction(Field())["phase"]
    with pytest.raises(BadInputError, match="dark field recorded on the same scan"):
        find_columns(phase, haadf=haadf_image(Field())[:-1])


def test_the_helper_has_the_area_of_two_overlaps() -> None:
    """Guards the noise of the images above: 2 (lens(Q) - lens(2Q)), by counting points."""
    radius = 22.4e-3 / 0.0250793
    axis = np.linspace(-2.5 * radius, 2.5 * radius, 501)
    x, y = np.meshgrid(axis, axis)

    def disc(shift: float) -> npt.NDArray[np.bool_]:
        return np.hypot(x - shift, y) <= radius

    for q in (0.2, 0.7, 1.3):
        count = (disc(0) & disc(q) & ~disc(-q)).sum() + (disc(0) & disc(-q) & ~disc(q)).sum()
        assert overlap(np.array(q)) == pytest.approx(count / disc(0).sum(), abs=0.02)
