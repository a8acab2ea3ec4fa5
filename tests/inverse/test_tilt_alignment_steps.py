"""The parts of tilt alignment: warping, the step of an image, what volumes tell of each other."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from echolith.inverse.tilt_alignment_fit import normal_equations
from echolith.inverse.tilt_alignment_iterations import extrapolated
from echolith.inverse.tilt_alignment_link import volume_link
from echolith.inverse.tilt_alignment_motion import Motion
from echolith.inverse.tilt_alignment_warp import warped

Array = npt.NDArray[np.float64]
SHAPE = (40, 48)
SPOTS = ((-6.0, 4.0, 3.0), (8.0, -5.0, 2.5), (3.0, 9.0, 4.0))
"""x, y and width, pixels."""
shifts = st.floats(-3, 3)
angles = st.floats(-0.05, 0.05)


def spots(affine: Array | None = None) -> Array:
    """Return Gaussian spots, read where a map of (x, y) says."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in SHAPE)
    at = np.stack(np.broadcast_arrays(x[None, :], y[:, None]))
    if affine is not None:
        at = np.einsum("ij,jyx->iyx", affine[:, :2], at) + affine[:, 2, None, None]
    total = np.zeros(SHAPE)
    for x0, y0, width in SPOTS:
        total += np.exp(-((at[0] - x0) ** 2 + (at[1] - y0) ** 2) / (2 * width**2))
    return total


@given(shifts, shifts, angles, angles)
def test_warping_reads_images_where_the_map_says(
    x: float, y: float, angle: float, growth: float
) -> None:
    motion = Motion.of(np.array([[x, y, angle, growth]]))
    read = warped(spots()[None], motion.affine(), shape=SHAPE)[0]
    # Eight samples of a windowed sinc follow spots of 2.5 pixels to a few thousandths.
    assert np.abs(read - spots(motion.affine()[0]))[4:-4, 4:-4].max() < 5e-3


@given(st.floats(-2, 2), st.floats(-2, 2))
def test_two_motions_in_turn_are_one(x: float, angle: float) -> None:
    first = Motion.of(np.array([[1.5, -0.7, 0.2 * angle, 0.05]]))
    step = np.array([[1e-4 * x, 2e-4, 1e-4, -1e-4]])
    small = Motion.of(step)
    point = np.array([5.0, -7.0])

    def of(motion: Motion, at: Array) -> Array:
        return np.asarray(motion.linear[0] @ at + motion.shift[0])

    # Up to the square of the step times the reach.
    both, turned = first.followed(step), of(first, of(small, point))
    assert np.allclose(of(both, point), turned, atol=1e-6)


@given(
    st.tuples(*[st.floats(-0.08, 0.08)] * 2, *[st.floats(-4e-3, 4e-3)] * 2),
    st.floats(0.8, 1.25),
    st.floats(-0.02, 0.02),
)
def test_a_step_leads_to_where_an_image_lies(
    motion: tuple[float, float, float, float], strength: float, background: float
) -> None:
    wanted = np.array([motion])
    # An image that lies off by the motion shows at X what the model has at the place before it.
    x, y, angle, growth = motion
    inverse = np.array([[1 - growth, angle, -x], [-angle, 1 - growth, -y]])
    image = strength * spots(inverse) + background
    information, slope = normal_equations(
        image[None].astype(np.float32), spots()[None].astype(np.float32), np.array([1e-4])
    )
    step = np.linalg.solve(information, slope[..., None])[..., 0]
    # The strength also scales the slopes, by as much as it differs from 1.
    tolerance = 0.02 + 1.1 * abs(strength - 1)
    reach = np.array([1, 1, 10, 10])
    assert np.abs((step - wanted) * reach).max() < tolerance * max(
        np.abs(wanted * reach).max(), 5e-3
    )


def test_stated_information_is_the_scatter_of_steps() -> None:
    model = 0.5 * spots()[None].astype(np.float32)
    rng = np.random.default_rng(1)
    noise = np.sqrt(np.exp(model) / 400)
    many = (model + noise * rng.standard_normal((300, *SHAPE))).astype(np.float32)
    information, slope = normal_equations(
        many, np.repeat(model, 300, axis=0), np.full(300, 1 / 400)
    )
    steps = np.linalg.solve(information, slope[..., None])[..., 0]
    stated = np.sqrt(np.diag(np.linalg.inv(information[0])))
    # 300 draws: 4 % of a standard deviation; four of them.
    assert np.allclose(steps.std(axis=0) / stated, 1, atol=0.17)
    assert (np.abs(steps.mean(axis=0)) < 4 * stated / np.sqrt(300)).all()


@given(st.integers(0, 1000))
def test_extrapolation_solves_what_is_linear(seed: int) -> None:
    rng = np.random.default_rng(seed)
    answer = np.eye(4) - 0.9 * np.diag([1.0, 0.5, 0.2, -0.3])
    target = rng.normal(size=4)
    places: list[Array] = [np.zeros(4)]
    steps = [answer @ (target - places[0])]
    for _ in range(5):
        places.append(extrapolated(places, steps))
        steps.append(answer @ (target - places[-1]))
    # Plain steps would still be off by 0.9 to the fifth power.
    assert np.abs(places[-1] - target).max() < 1e-3 * np.abs(target).max()


def test_volumes_of_other_chemistry_are_laid_on_each_other() -> None:
    rng = np.random.default_rng(7)
    n, moved = 48, np.array([0.35, -0.2, 0.15])
    at = np.meshgrid(*[np.arange(n) - (n - 1) / 2] * 3, indexing="ij")
    first, second = np.zeros((n,) * 3), np.zeros((n,) * 3)
    for k in range(40):
        centre, half = rng.uniform(-15, 15, 3), rng.uniform(1.5, 4, 3)

        def box(off: Array, centre: Array = centre, half: Array = half) -> Array:
            sides = [
                np.clip(h + 0.5 - np.abs(x - c - o), 0, 1)
                for x, c, h, o in zip(at, centre, half, off, strict=True)
            ]
            return np.asarray(sides[0] * sides[1] * sides[2])

        # A third has a front: one half absorbs twice as much, the other half as much, and all
        # fronts face the same way, which pulls a plain correlation by a tenth of a voxel and more.
        front = np.where(at[0] > centre[0], 2.0, 0.5) if k % 3 == 0 else 0.5
        later = np.where(at[0] - moved[0] > centre[0], 2.0, 0.5) if k % 3 == 0 else 0.5
        first += box(np.zeros(3)) * (2.5 - front)
        second += box(moved) * later
    noise = 0.02 * rng.standard_normal((2, n, n, n))
    smooth = [
        gaussian_filter(v + e, 0.5).astype(np.float32)
        for v, e in zip((first, second), noise, strict=True)
    ]
    found = volume_link(smooth[0], smooth[1])
    assert np.abs(found.shift - moved).max() < 0.05
    assert (np.abs(found.shift - moved) < 5 * found.std[:3] + 0.01).all()
    assert abs(found.growth) < 2e-3
