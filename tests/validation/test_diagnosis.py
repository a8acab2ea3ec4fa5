"""What a wrong reconstruction looks like: each fault is named, and an honest one is left alone."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from echolith.forward.acquisition import acquisition_of
from echolith.validation.catalogue import scenario
from echolith.validation.diagnosis import Finding, diagnose_columns
from echolith.validation.run import run_once
from echolith.validation.scenario import Scenario
from echolith.validation.strategies import column_lattice, column_lattices, seeds

Array = npt.NDArray[np.float64]

STEP = 0.2
FIELD = (18.0, 22.0)
"""Height and width, Å: not square, so that no exchange of axes goes unnoticed."""
WEIGHT = {"M": 0.5, "O": 0.25, "Li": 0.12}
SCATTER = 0.004
"""Å; what single columns of the reference solver scatter by at 8.1e4 e/Å²."""
HALF_PIXEL = STEP / 2


CORNER = (1.9, 0.6)
"""Of the field in a larger one, xy in Å: so that no two-fold axis is in the middle."""


def truth() -> xr.Dataset:
    """Columns of a part of a crystal, those near its border flagged."""
    height, width = FIELD
    columns = column_lattice(field=(height + 4, width + 4))[["x", "y", "species"]]
    columns = columns.assign(x=columns["x"] - CORNER[0], y=columns["y"] - CORNER[1])
    inset = np.minimum(columns["x"], width - columns["x"])
    inset = np.minimum(inset, np.minimum(columns["y"], height - columns["y"]))
    inside = np.flatnonzero(inset > 0)
    return columns.assign(edge=inset < 2).isel(column=inside)


def phase(columns: xr.Dataset) -> xr.DataArray:
    """Atoms as bright spots, the mean over the field zero, as every phase image has it."""
    y, x = (STEP * np.arange(round(length / STEP)) for length in FIELD)
    image = np.zeros((len(y), len(x)))
    for species, weight in WEIGHT.items():
        mine = columns["species"].values == species
        for cx, cy in zip(columns["x"].values[mine], columns["y"].values[mine], strict=True):
            across = [np.exp(-((axis - c) ** 2) / 0.25) for axis, c in ((y, cy), (x, cx))]
            image += weight * np.outer(*across)
    return xr.DataArray(
        image - image.mean(), dims=("scan_y", "scan_x"), coords={"scan_y": y, "scan_x": x}
    )


TRUTH = truth()
TRUE_PHASE = phase(TRUTH)


def honest(
    *,
    seed: int = 0,
    scatter: float = SCATTER,
    missing: float = 0.0,
    columns: xr.Dataset | None = None,
) -> xr.Dataset:
    """An estimate without any fault: the true columns with scatter, some of them not found."""
    draw = np.random.default_rng(seed)
    found = (columns if columns is not None else TRUTH)[["x", "y", "species", "edge"]]
    found = found.isel(column=np.flatnonzero(draw.random(found.sizes["column"]) >= missing))
    n = found.sizes["column"]
    found = found.assign({a: found[a] + draw.normal(0, scatter, n) for a in ("x", "y")})
    return found if columns is not None else found.assign(phase=TRUE_PHASE)


def moved(estimate: xr.Dataset, matrix: Any, shift: Any = (0.0, 0.0)) -> xr.Dataset:
    """Columns at ``matrix (x, y) + shift``; the image stays."""
    xy = np.stack([estimate["x"].values, estimate["y"].values])
    x, y = np.asarray(matrix) @ xy + np.asarray(shift)[:, None]
    return estimate.assign(x=("column", x), y=("column", y))


def transposed(estimate: xr.Dataset) -> xr.Dataset:
    image = estimate["phase"].transpose("scan_x", "scan_y")
    swapped = image.rename({"scan_x": "scan_y", "scan_y": "scan_x"})
    return moved(estimate.drop_vars(["phase", "scan_x", "scan_y"]), [[0, 1], [1, 0]]).assign(
        phase=swapped
    )


def mirrored(estimate: xr.Dataset, *, along: str) -> xr.Dataset:
    axis = estimate["phase"][f"scan_{along}"]
    flipped = estimate["phase"].isel({axis.name: slice(None, None, -1)})
    sign, end = (-1, 1), float(axis[-1])
    turn = np.diag(sign if along == "x" else sign[::-1])
    shift = (end, 0) if along == "x" else (0, end)
    image = flipped.assign_coords({axis.name: axis})
    return moved(estimate, turn, shift).assign(phase=image)


def quarter_turn(estimate: xr.Dataset) -> xr.Dataset:
    """Turned by 90° from x towards y: (x, y) becomes (height - y, x)."""
    return mirrored(transposed(estimate), along="x")


def turned_back(estimate: xr.Dataset) -> xr.Dataset:
    """Turned by 90° from y towards x: (x, y) becomes (y, width - x)."""
    return mirrored(transposed(estimate), along="y")


def half_turn(estimate: xr.Dataset) -> xr.Dataset:
    return mirrored(mirrored(estimate, along="x"), along="y")


def rotated(estimate: xr.Dataset, *, degree: float) -> xr.Dataset:
    c, s = np.cos(np.deg2rad(degree)), np.sin(np.deg2rad(degree))
    return moved(estimate, [[c, -s], [s, c]])


def dark_atoms(estimate: xr.Dataset) -> xr.Dataset:
    return estimate.assign(phase=-estimate["phase"])


Fault = Callable[[xr.Dataset], xr.Dataset]
FAULTS: Mapping[str, tuple[Fault, str, str]] = {
    "phase sign": (dark_atoms, "phase sign", "wrong sign: atoms are dark"),
    "transpose": (transposed, "transposed", "x and y are exchanged"),
    "mirror in x": (partial(mirrored, along="x"), "mirrored in x", "mirrored left to right"),
    "mirror in y": (partial(mirrored, along="y"), "mirrored in y", "mirrored top to bottom"),
    "quarter turn": (quarter_turn, "rotated by 90°", "rotated by 90° from x towards y"),
    "quarter turn back": (turned_back, "rotated by -90°", "rotated by 90° from y towards x"),
    "half turn": (half_turn, "rotated by 180°", "x and y both run the wrong way"),
    "half-pixel shift": (
        lambda e: moved(e, np.eye(2), (HALF_PIXEL, HALF_PIXEL)),
        "shift",
        "scan pixels; half a pixel",
    ),
    "1 % too long": (lambda e: moved(e, 1.01 * np.eye(2)), "scale", "% too long"),
    "1 % too short": (lambda e: moved(e, 0.99 * np.eye(2)), "scale", "% too short"),
    "0.5° rotation": (partial(rotated, degree=0.5), "rotation", "everything is rotated by +0."),
    "-0.5° rotation": (partial(rotated, degree=-0.5), "rotation", "everything is rotated by -0."),
    "unequal steps": (lambda e: moved(e, np.diag([1.01, 1])), "aspect", "check the two scan steps"),
}


def named(found: list[Finding], name: str) -> Finding:
    matching = [finding for finding in found if finding.name == name]
    assert matching, [finding.words for finding in found]
    return matching[0]


@pytest.mark.parametrize("fault", FAULTS)
@settings(max_examples=6)
@given(seed=seeds())
def test_every_fault_is_caught_and_named(fault: str, seed: int) -> None:
    break_it, name, words = FAULTS[fault]
    finding = named(diagnose_columns(break_it(honest(seed=seed)), TRUTH), name)
    assert words in finding.words


@pytest.mark.parametrize(
    ("fault", "others"),
    [
        ("phase sign", set()),
        ("transpose", set()),
        ("mirror in x", set()),
        ("quarter turn", set()),
        ("half turn", set()),
        ("half-pixel shift", set()),
        ("1 % too long", set()),
        ("0.5° rotation", set()),
        # The mean of 1 % along x and none along y is a scale of 0.5 %.
        ("unequal steps", {"scale"}),
    ],
)
def test_nothing_else_is_blamed(fault: str, others: set[str]) -> None:
    break_it, name, _ = FAULTS[fault]
    found = {finding.name for finding in diagnose_columns(break_it(honest()), TRUTH)}
    assert found == {name} | others


@given(seeds(), st.floats(0.004, 0.02), st.sampled_from([-1, 1]))
def test_the_size_of_a_scale_is_within_its_error(seed: int, size: float, sign: int) -> None:
    wrong = moved(honest(seed=seed), (1 + sign * size) * np.eye(2))
    finding = named(diagnose_columns(wrong, TRUTH), "scale")
    assert finding.value is not None
    assert finding.std is not None
    assert abs(finding.value - sign * size) < 6 * finding.std
    assert finding.std < 2e-4  # 0.4 pm over some 5 Å from the middle, over 100 columns


@given(seeds(), st.floats(0.3, 1.2), st.sampled_from([-1, 1]))
def test_the_size_of_a_rotation_is_within_its_error(seed: int, size: float, sign: int) -> None:
    wrong = rotated(honest(seed=seed), degree=sign * size)
    finding = named(diagnose_columns(wrong, TRUTH), "rotation")
    assert finding.value is not None
    assert finding.std is not None
    assert abs(finding.value - sign * size) < 6 * finding.std + 1e-4 * size


@given(seeds(), st.floats(0.03, 0.2), st.floats(0, 2 * np.pi))
def test_the_size_of_a_shift_is_within_its_error(seed: int, size: float, angle: float) -> None:
    shift = (size * np.cos(angle), size * np.sin(angle))
    finding = named(diagnose_columns(moved(honest(seed=seed), np.eye(2), shift), TRUTH), "shift")
    assert finding.value is not None
    assert finding.std is not None
    assert abs(finding.value - size) < 6 * finding.std


def test_honest_estimates_raise_no_alarm() -> None:
    """500 estimates of up to 2 pm of scatter, 10 % of the columns missing: not one alarm.

    None in 500 bounds the rate of false alarms to 0.6 % (one-sided 95 %, binomial).
    """
    draw, draws = np.random.default_rng(7), 500
    alarms: list[str] = []
    for seed in range(draws):
        estimate = honest(seed=seed, scatter=draw.uniform(0, 0.02), missing=0.1)
        noise = draw.normal(0, 0.05, TRUE_PHASE.shape)
        estimate = estimate.assign(phase=TRUE_PHASE + noise)
        alarms += [finding.words for finding in diagnose_columns(estimate, TRUTH)]
    assert alarms == []
    bound = stats.binomtest(len(alarms), draws, alternative="less").proportion_ci(0.95).high
    assert bound < 0.0061


@settings(max_examples=15)
@given(column_lattices(largest=24.0), seeds(), st.floats(0, 0.02))
def test_honest_columns_of_any_cell_raise_no_alarm(
    columns: xr.Dataset, seed: int, scatter: float
) -> None:
    estimate = honest(seed=seed, scatter=scatter, missing=0.1, columns=columns)
    assert diagnose_columns(estimate, columns) == []


def test_a_wrong_sign_is_seen_in_a_transposed_image_too() -> None:
    found = diagnose_columns(dark_atoms(transposed(honest())), TRUTH)
    assert {finding.name for finding in found} == {"phase sign", "transposed"}


def test_a_two_fold_axis_hides_which_way_an_image_is_mirrored() -> None:
    """With the axis in the middle of the field both mirrors give the same picture."""
    columns = column_lattice(field=FIELD)[["x", "y", "species", "edge"]]
    estimate = honest(columns=columns)
    wrong = moved(estimate, np.diag([-1, 1]), (FIELD[1], 0))
    (finding,) = diagnose_columns(wrong, columns)
    assert finding.name in ("mirrored in x", "mirrored in y")
    assert "or just as well mirrored in" in finding.words
    (finding,) = diagnose_columns(mirrored(honest(), along="x"), TRUTH)
    assert "just as well" not in finding.words


def test_too_little_to_judge_is_left_alone() -> None:
    estimate = honest()
    few = estimate.isel(column=slice(0, 4))
    assert diagnose_columns(moved(few, 1.01 * np.eye(2)), TRUTH) == []
    assert diagnose_columns(estimate.isel(column=slice(0, 0)), TRUTH) == []
    assert diagnose_columns(xr.Dataset({"rate": 1.0}), TRUTH) == []
    lost = estimate.assign(x=estimate["x"] * np.nan)
    assert [finding.name for finding in diagnose_columns(lost, TRUTH)] == []


# One cell thick, perfect, on a coarse detector and a small box: some seconds.
SMALL: dict[str, Any] = {
    "occupation": "ordered",
    "thickness": 5.7,
    "scan": {"shape": [60, 64], "step": 0.25},
    "detector": {"shape": [32, 32], "pixel_size": 1.6},
    "haadf": {"outer": 80.0},
    "simulation": {"minimum_box": 14.0},
}


@pytest.fixture(scope="module")
def simulated() -> Scenario:
    """The scenario li-rich-oxide, small, its mean kept."""
    small = scenario("li-rich-oxide", **SMALL)
    mean = small.forward(small.build(0)).compute()
    return replace(small, forward=lambda _specimen: mean)


def miscalibrated(measurement: xr.Dataset, *, step: tuple[float, float]) -> xr.Dataset:
    """The same data with scan steps that are (y, x) times the true ones."""
    taken = acquisition_of(measurement)
    wrong = tuple(a * b for a, b in zip(taken.scan.step, step, strict=True))
    scan = taken.scan.model_copy(update={"step": wrong})
    told = taken.model_copy(update={"scan": scan}).model_dump_json()
    scaled = {
        axis: measurement[axis] * factor
        for axis, factor in zip(("scan_y", "scan_x"), step, strict=True)
    }
    return measurement.assign_coords(scaled).assign_attrs(acquisition=told)


BROKEN: Mapping[str, tuple[Fault, Fault, set[str], str]] = {
    "nothing": (lambda m: m, lambda e: e, set(), ""),
    "phase sign": (lambda m: m, dark_atoms, {"phase sign"}, "atoms are dark"),
    "transpose": (lambda m: m, transposed, {"transposed"}, "x and y are exchanged"),
    "mirror": (
        lambda m: m,
        partial(mirrored, along="x"),
        # A two-fold axis is in the middle of this scan, so both are named, in either order.
        {"mirrored in x", "mirrored in y"},
        "just as well mirrored in",
    ),
    "half-pixel shift": (
        lambda m: m,
        lambda e: moved(e, np.eye(2), (0.125, 0.125)),
        {"shift"},
        "half a pixel",
    ),
    "1 % scale": (partial(miscalibrated, step=(1.01, 1.01)), lambda e: e, {"scale"}, "too long"),
    "unequal steps": (
        partial(miscalibrated, step=(1.0, 1.01)),
        lambda e: e,
        {"aspect"},
        "x is stretched against y by +",
    ),
    "0.5° rotation": (
        lambda m: m,
        partial(rotated, degree=0.5),
        {"rotation"},
        "rotated by +0.",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_solver_is_described_in_the_summary(simulated: Scenario, fault: str) -> None:
    before, after, names, words = BROKEN[fault]

    def solver(measurement: xr.Dataset) -> xr.Dataset:
        return after(simulated.solver(before(measurement)))

    found = run_once(simulated, seed=1, solver=solver).summary["diagnosis"]
    told = [finding["words"] for finding in found if finding["name"] in names]
    assert len(told) == min(len(names), 1), found
    assert words in "".join(told)
    if not names:
        assert found == []
