"""Rays through core, shell and support: volumes, a box by hand, shifts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.structures.coated_body import CoatedBody, hexagonal_prism, ray_lengths, turned
from echolith.structures.convex_bodies import ConvexBody
from echolith.structures.lithium_particles import MetalParticle, wulff_body


def box(x: float, y: float, z: float) -> ConvexBody:
    return ConvexBody(
        normals=np.concatenate([np.eye(3), -np.eye(3)]), offsets=np.array([x, y, z] * 2) / 2
    )


def test_a_box_in_its_shell_by_hand() -> None:
    """Rows are y: 8 wide along x, 4 along y, 6 high, a shell of 1; an F would not be flipped."""
    specimen = CoatedBody(core=box(8, 4, 6), shell=1.0, support=3.0, centre=(1.0, -2.0))
    core, shell, film = ray_lengths(specimen, shape=(12, 16), pixel=1.0)[:, 0]
    expected = np.zeros((12, 16))
    expected[5:9, 2:10] = 6
    assert (core == expected).all()
    rim = np.zeros((12, 16))
    rim[4:10, 1:11] = 8
    assert (shell == rim - expected).all()
    assert (film == 3).all()


@settings(max_examples=30)
@given(
    width=st.floats(200, 900), shell=st.floats(0, 60), angle=st.floats(0, 6.3),
    whisker=st.booleans(), points=st.sampled_from([2, 3]),
)  # fmt: skip
def test_lengths_add_up_to_the_volumes(
    width: float, shell: float, angle: float, whisker: bool, points: int
) -> None:
    """A sum over rays is an integral to the jumps at the outline: 3 % with 40 rays across."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    small = hexagonal_prism(0.5, 1.0) if whisker else wulff_body(MetalParticle(size=100.0))
    core = turned(small, turn, scale=width if whisker else width / 100)
    specimen = CoatedBody(core=core, shell=shell, support=0.0)
    pixel = width / 20
    lengths = ray_lengths(specimen, shape=(60, 56), pixel=pixel, points=points).mean(axis=1)
    assert lengths.min() >= 0
    volume = pixel**2 * lengths.sum(axis=(1, 2))
    assert volume[0] == pytest.approx(core.volume, rel=0.03)
    assert volume[:2].sum() == pytest.approx(specimen.whole.volume, rel=0.03)


def test_rays_of_a_pixel_lie_inside_it_and_on_lines_of_their_own() -> None:
    """Of a wedge's edge along a column, nine rays see nine places."""
    seen = []
    for place in np.linspace(0, 1, 91):
        specimen = CoatedBody(core=box(100, 100, 1), centre=(0.0, 50 + place))
        seen.append(
            float(ray_lengths(specimen, shape=(2, 2), pixel=1.0, points=3)[0, :, 0, 1].sum())
        )
    assert np.unique(np.round(seen)).tolist() == list(range(10))


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadInputError, match="shell = -1 Å"):
        CoatedBody(core=box(1, 1, 1), shell=-1.0)
