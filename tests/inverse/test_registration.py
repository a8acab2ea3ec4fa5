"""Registration of drifting frames against known displacements, and what it cannot tell."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from echolith.errors import BadInputError
from echolith.inverse.haadf_columns import fit_bright_columns
from echolith.inverse.haadf_reference import haadf_reference, metal_distances
from echolith.inverse.registration import RegistrationOptions, register_frames
from echolith.inverse.registration_drift import Continuity, DriftModel, Lines, Sizes
from echolith.inverse.registration_kernels import line_sums, spread_lines
from echolith.inverse.registration_rigid import rigid_shifts
from tests.inverse.lattice_frames import Series, simulate

Array = npt.NDArray[np.float64]

SERIES = Series()
SLOW = RegistrationOptions(largest_shift=1.2)
"""What is known of its drift beforehand: less than half a lattice vector from frame to frame."""
SEEDS = range(4)


@cache
def case(seed: int) -> tuple[xr.Dataset, Array, Array, xr.Dataset]:
    data, moved, smooth = simulate(SERIES, seed)
    return data, moved, smooth, haadf_reference(data, registration=SLOW)


def of(found: xr.Dataset, what: str, suffix: str = "") -> Array:
    parts = [found[f"{what}_{axis}{suffix}"].values for axis in "xy"]
    return np.stack(parts, axis=-1)


# --- displacements --------------------------------------------------------------------------


def test_residual_drift_is_below_two_picometres_and_as_stated() -> None:
    """The published target at the dose of fast frames, on a ninth of their area."""
    squares, stated = [], []
    for seed in SEEDS:
        _, _, smooth, found = case(seed)
        error = of(found, "drift") - smooth
        error = error - error.mean(axis=(0, 1))
        squares.append(np.mean(error**2))
        stated.append(float(found["residual_drift"]) ** 2)
        assert found.attrs["converged"]
    assert 100 * np.sqrt(np.mean(squares)) < 2
    # About 30 independent numbers (frames, axes, bends) in each of 4 runs: 4 sigma are 37 %.
    assert np.mean(squares) / np.mean(stated) == pytest.approx(1, abs=0.5)


def test_displacements_with_jitter_have_the_stated_errors() -> None:
    pulls = []
    for seed in SEEDS:
        _, moved, _, found = case(seed)
        error = of(found, "displacement") - moved
        pulls.append((error - error.mean(axis=(0, 1))) / of(found, "displacement", "_std"))
    # The jitter's size is estimated to about a third; most of the error is jitter left over.
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.5


def test_non_rigid_is_better_than_rigid() -> None:
    data, _, smooth, found = case(0)
    rigid = register_frames(data, options=RegistrationOptions(non_rigid=False))
    before = np.var(of(rigid, "displacement") - smooth)
    assert np.var(of(found, "drift") - smooth) < before / 10


def test_a_continuous_drift_fixes_the_mean_velocity_and_single_ones_do_not() -> None:
    """What all frames have in common shows in the shifts between them, not within them."""
    data, _, smooth, found = case(1)
    line = np.arange(smooth.shape[1]) - (smooth.shape[1] - 1) / 2

    def velocity(path: Array) -> Array:
        slope = np.einsum("n,fni->i", line, path) / (line**2).sum() / len(path)
        return np.asarray(slope / SERIES.step)

    true = velocity(smooth)
    error = velocity(of(found, "drift")) - true
    assert (np.abs(error) < 4.5 * found["strain_std"].values).all()
    assert np.abs(true).max() > 8 * found["strain_std"].values.max()
    alone = register_frames(data, options=RegistrationOptions(continuity=Continuity.PER_FRAME))
    assert np.abs(velocity(of(alone, "drift"))).max() < 0.1 * np.abs(true).max()
    assert np.isnan(alone["strain_std"].values).all()
    assert any("common to all frames" in text for text in alone.attrs["undetermined"])
    # What frames differ by is found either way.
    apart = (of(alone, "drift") - smooth) - (of(alone, "drift") - smooth).mean(axis=0)
    assert 100 * apart.std() < 2


def test_without_times_every_frame_drifts_by_itself() -> None:
    data = case(0)[0].drop_vars("line_time")
    assert register_frames(data).attrs["continuity"] == "per-frame"
    stated = data.assign_attrs(fast_frames='{"dwell": 1e-5, "flyback": 1e-4, "pause": 0.0}')
    assert register_frames(stated).attrs["continuity"] == "continuous"


def test_two_frames_are_enough() -> None:
    data, _, smooth = simulate(Series(frames=2), 5)
    found = register_frames(data)
    error = of(found, "drift") - smooth
    assert 100 * (error - error.mean(axis=(0, 1))).std() < 5


def test_frames_keep_their_axes() -> None:
    """Displacement along x alone on frames of unequal sides; the image is that of the nominal."""
    series = Series(drift=(2.0, 0.0), wander=0, jitter=0, frames=4, counts=600)
    data, moved, _ = simulate(series, 3)
    found = register_frames(data)
    assert found["haadf"].sizes == {"scan_y": 128, "scan_x": 144}
    assert of(found, "displacement")[..., 0] == pytest.approx(moved[..., 0], abs=0.03)
    assert np.abs(of(found, "displacement")[..., 1]).max() < 0.03


def test_the_mean_image_holds_all_counts() -> None:
    data, _, _, found = case(0)
    inner = {"scan_y": slice(20, -20), "scan_x": slice(20, -20)}
    weight = found["weight"].isel(inner)
    assert float(weight.mean()) == pytest.approx(SERIES.frames, rel=0.01)
    mean = float((found["haadf"].isel(inner) * weight).sum() / weight.sum())
    assert mean == pytest.approx(float(data["haadf"].isel(inner).mean()), rel=0.05)


# --- distances ------------------------------------------------------------------------------


def test_metal_distances_are_unbiased_and_their_errors_as_stated() -> None:
    a, c, _ = SERIES.vectors()
    true = {"m_m": a, "m_m_olio": c + 2 * a, "m_m_li": c}
    for name, vector in true.items():
        error = np.array([float(case(s)[3][name]) - np.hypot(*vector) for s in SEEDS])
        std = np.array([float(case(s)[3][f"{name}_std"]) for s in SEEDS])
        assert abs(error.mean()) < 4 * std.mean() / np.sqrt(len(SEEDS)), name
        assert np.abs(error / std).max() < 4.5, name
        assert std.max() < 0.02, name


def test_columns_have_the_stated_errors() -> None:
    found = case(2)[3]
    a, c, _ = SERIES.vectors()
    inner = found.isel(column=~found["edge"].values)
    xy = np.stack([inner["x"].values, inner["y"].values], axis=-1)
    index = np.rint((xy - [0.37, 0.21]) @ np.linalg.inv(np.stack([a, c])))
    error = xy - index @ np.stack([a, c])
    error = error - error.mean(axis=0)
    pull = error / np.stack([inner["x_std"].values, inner["y_std"].values], axis=-1)
    n = pull.size
    assert n > 40
    # Counting alone is stated; jitter and drift left over add some 5 % here.
    assert (pull**2).mean() < 1 + 4.5 * np.sqrt(2 / n) + 0.2
    assert (pull**2).mean() > 1 - 4.5 * np.sqrt(2 / n)


def test_distances_of_exact_columns_are_exact() -> None:
    a, c, _ = SERIES.vectors()
    n, m = np.meshgrid(np.arange(5), np.arange(4))
    xy = n.reshape(-1, 1) * a + m.reshape(-1, 1) * c
    columns = xr.Dataset(
        {"x": ("column", xy[:, 0]), "y": ("column", xy[:, 1]), "species": ("column", ["M"] * 20)}
    )
    found = metal_distances(columns)
    for name, vector in {"m_m": a, "m_m_olio": c + 2 * a, "m_m_li": c}.items():
        assert float(found[name]) == pytest.approx(np.hypot(*vector), abs=1e-12)
        assert float(found[f"{name}_std"]) == pytest.approx(0, abs=1e-9)
    strained = metal_distances(columns, strain_std=(0.0, 1e-3))
    assert float(strained["m_m_li_std"]) == pytest.approx(1e-3 * c[1] ** 2 / np.hypot(*c))


# --- parts ----------------------------------------------------------------------------------


def test_spreading_conserves_counts_and_centres() -> None:
    frame = np.zeros((24, 30), np.float32)
    frame[11, 9] = 5
    shift = np.tile([3.3, -2.6], (24, 1))
    total, weight = np.zeros_like(frame), np.zeros_like(frame)
    spread_lines(frame, shift, total, weight)
    assert total.sum() == pytest.approx(5, rel=1e-5)
    y, x = np.indices(frame.shape)
    assert (total * x).sum() / 5 == pytest.approx(12.3, abs=1e-4)
    assert (total * y).sum() / 5 == pytest.approx(8.4, abs=1e-4)
    np.testing.assert_allclose(weight[5:15, 8:20], 1, rtol=1e-5)


def test_line_sums_agree_with_finite_differences() -> None:
    """Gradient of the Poisson log-likelihood with respect to a line's displacement."""
    rng = np.random.default_rng(0)
    coefficients = (5 + rng.random((20, 20))).astype(np.float32)
    frame = rng.poisson(5.5, (20, 20)).astype(np.float32)
    valid, sums = np.ones((20, 20), bool), np.empty((20, 9))

    def evaluated(x: float, y: float) -> tuple[Array, Array, Array]:
        """Template on the inner positions of each line, by its sums over one-hot frames."""
        shift = np.tile([x, y], (20, 1))
        line_sums(frame, shift, coefficients, valid, 1.0, 0.0, sums)
        return sums[:, 8].copy(), sums[:, 3].copy(), sums[:, 6].copy()

    h = 1e-3
    (up, _, _), (down, _, _) = evaluated(0.3 + h, 0.4), evaluated(0.3 - h, 0.4)
    # With unit variance and a residual of one everywhere, sum g r / v is the slope of sum T.
    line_sums(frame, np.tile([0.3, 0.4], (20, 1)), coefficients, valid, 1.0, 1e9, sums)
    assert (sums[1:-2, 6] == 17).all()
    ones = np.empty((20, 9))
    flat = np.full((20, 20), 1e6, np.float32)
    line_sums(flat, np.tile([0.3, 0.4], (20, 1)), coefficients, valid, 1.0, 1e9, ones)
    slope = ones[:, 3] * 1e9 / 1e6
    np.testing.assert_allclose(slope[2:-3], (up - down)[2:-3] / (2 * h), atol=2e-3)


def test_the_sizes_of_jitter_and_bends_are_found_from_exact_lines() -> None:
    """Lines drawn from the model itself: the evidence knows its sizes."""
    rng = np.random.default_rng(1)
    times = np.arange(6 * 200.0).reshape(6, 200)
    model = DriftModel.of(times, nodes=8, continuity=Continuity.CONTINUOUS)
    size = model.basis.shape[1]
    bends = rng.normal(0, 0.03, (2, size - 2))
    path = np.cumsum(np.cumsum(bends, axis=1), axis=1)
    smooth = model.basis[:, 2:] @ path.T
    true = smooth + rng.normal(0, [0.02, 0.06], smooth.shape)
    precision = 1 / 0.03**2
    seen = true + rng.normal(0, 0.03, true.shape)
    information = np.tile(precision * np.eye(2), (len(true), 1, 1))
    row = np.tile(np.arange(200), 6)
    lines = Lines(information=information, z=precision * seen, row=row)
    sizes = model.sizes(lines, Sizes())
    # 1200 lines less 200 rows: a size is known to 1/sqrt(2 n) of the whole scatter.
    assert sizes.jitter_x == pytest.approx(0.02, rel=0.25)
    assert sizes.jitter_y == pytest.approx(0.06, rel=0.1)
    assert sizes.bend == pytest.approx(0.03, rel=0.3)
    found = model.path(lines, sizes)
    error = found.smooth - smooth
    pull = (error - error.mean(axis=0)) / found.smooth_std
    assert 0.5 < pull.std() < 1.5
    whole = found.displacement - true
    assert (whole - whole.mean(axis=0)).std() == pytest.approx(found.std.mean(), rel=0.15)


@pytest.mark.parametrize("shift", [(3, 5), (-4, 2)])
def test_whole_frame_shifts_have_the_right_sign(shift: tuple[int, int]) -> None:
    """An F-shaped object: what a frame shows at X the first shows at X + u."""
    image = np.zeros((64, 80), np.float32)
    image[15:45, 20:25] = image[15:20, 20:45] = image[27:32, 20:38] = 30
    rng = np.random.default_rng(0)
    frames = [image, np.roll(image, shift, axis=(0, 1))]
    noisy = np.stack([rng.poisson(frame + 1) for frame in frames]).astype(np.float32)
    found = rigid_shifts(noisy, (0.2, 0.25), largest=5)
    assert found.shift[1] == pytest.approx([-0.25 * shift[1], -0.2 * shift[0]], abs=0.1)
    assert not found.ambiguous.any()


def test_a_perfect_lattice_is_ambiguous_and_says_so() -> None:
    data, _, smooth = simulate(Series(unevenness=0, frames=3), 0)
    found = register_frames(data)
    assert found["shift_ambiguous"].values.tolist() == [False, True, True]
    assert any("lattice vectors" in text for text in found.attrs["undetermined"])
    # The drift being slow, the right one was taken.
    error = of(found, "drift") - smooth
    assert np.abs(error - error.mean(axis=(0, 1))).max() < 0.3


@pytest.mark.parametrize("seed", [0, 3, 5])
def test_no_lattice_jump_at_high_dose(seed: int) -> None:
    """Frames that share little correlate better: less of the wander within them is compared."""
    series = Series(unevenness=0, frames=4, shape=(256, 264), counts=3000, drift=(0.15, -0.1))
    data, _, smooth = simulate(series, seed)
    frames = data["haadf"].values.astype(np.float32)
    found = rigid_shifts(frames, (series.step, series.step), largest=19.0)
    true = smooth.mean(axis=1)
    # Half of the shortest lattice vector is 1.2 Å.
    assert np.abs(found.shift - (true - true[0])).max() < 0.3
    assert found.ambiguous[1:].all()
    assert not found.undecided.any()


def test_drift_of_half_a_lattice_vector_is_undecided_and_no_distance_is_given() -> None:
    series = Series(unevenness=0, frames=3, drift=(0.0, 0.0), wander=0.0)
    along = series.vectors()[0] / 2 / series.times[1, 0]
    data, _, _ = simulate(replace(series, drift=(along[0], along[1])), 1)
    found = haadf_reference(data)
    assert found["shift_undecided"].values[1]
    assert np.isnan(found["strain_std"].values).all()
    assert not {"m_m", "m_m_olio", "m_m_li", "m_m_std"} & set(found.data_vars)
    assert any("M-M distances" in text for text in found.attrs["undetermined"])
    assert any("shift of frame 1" in text for text in found.attrs["undetermined"])
    # Who knows that the drift is slower than that may say so, and is taken by his word.
    slow = RegistrationOptions(largest_shift=0.8 * np.hypot(*series.vectors()[0]))
    within = register_frames(data, options=slow)
    assert np.abs(within["shift_x"].diff("frame")).max() < 0.8 * 2.4685


def test_a_drift_beyond_the_field_is_refused() -> None:
    """Frames of different areas of something that does not repeat."""
    counts = np.random.default_rng(0).poisson(5.0, (2, 96, 96))
    data = xr.Dataset(
        {"haadf": (("frame", "scan_y", "scan_x"), counts)},
        coords={"scan_y": 0.15 * np.arange(96), "scan_x": 0.15 * np.arange(96)},
    )
    with pytest.raises(BadInputError, match="drift is larger than the field"):
        register_frames(data)


# --- bad input ------------------------------------------------------------------------------


def changed(values: Any) -> Any:
    return lambda d: d.assign(haadf=(d["haadf"].dims, values(d["haadf"].values)))


def unrelated(counts: Array) -> Array:
    result = counts.astype(float).copy()
    result[2] = np.random.default_rng(0).poisson(counts[2].mean(), counts[2].shape)
    return result


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.isel(frame=[0]), "1 frame; expected 2 or more"),
        (lambda d: d.rename(haadf="image"), "no variable 'haadf'"),
        (lambda d: d.isel(frame=0), "expected .'frame', 'scan_y', 'scan_x'."),
        (changed(lambda v: v * np.nan), "negative or not finite; expected counts"),
        (changed(lambda v: v.astype(float) - 5), "negative or not finite; expected counts"),
        (changed(lambda v: v * (np.arange(6) != 2)[:, None, None]), "frame 2 holds 0 counts"),
        (changed(unrelated), "frames 1 and 2 have no features in common"),
        (lambda d: d.isel(scan_y=slice(8)), "expected 16 or more each way"),
        (lambda d: d.assign(line_time=-d["line_time"]), "does not increase from line to line"),
    ],
)
def test_what_cannot_be_registered_is_refused(change: Any, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        register_frames(change(case(0)[0]))


def test_a_continuous_drift_needs_times() -> None:
    options = RegistrationOptions(continuity=Continuity.CONTINUOUS)
    with pytest.raises(BadInputError, match="needs the times of the lines"):
        register_frames(case(0)[0].drop_vars("line_time"), options=options)


def test_an_image_without_columns_is_refused() -> None:
    data, _, _, found = case(0)
    noise = np.random.default_rng(0).poisson(4.0, found["haadf"].shape)
    flat = found.assign(haadf=(found["haadf"].dims, noise.astype(float)))
    with pytest.raises(BadInputError, match="no bright columns"):
        fit_bright_columns(data, flat)


def test_too_few_columns_are_refused() -> None:
    few = xr.Dataset({"x": ("column", [0.0, 2.5]), "y": ("column", [0.0, 0.0])})
    with pytest.raises(BadInputError, match="2 M columns; expected 4 or more"):
        metal_distances(few.assign(species=("column", ["M", "M"])))
