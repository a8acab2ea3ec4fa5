import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial.transform import Rotation

from echolith.errors import BadInputError
from echolith.structures.convex_bodies import ConvexBody, PlacedBody, separation
from echolith.structures.phosphate_ensemble import fragment
from echolith.structures.phosphate_plates import CELL, plate_body
from echolith.validation.phosphate_strategies import plate_bodies

BODIES = st.one_of(
    plate_bodies(),
    st.integers(0, 999).map(lambda seed: fragment(300.0, np.random.default_rng(seed))),
)
SEEDS = st.integers(0, 2**16)


@given(BODIES)
def test_faces_close_and_give_the_volume(body: ConvexBody) -> None:
    size = body.face_areas.sum()
    assert np.allclose(body.face_areas @ body.normals, 0, atol=1e-7 * size)
    # Divergence theorem, which asks nothing of the hull's own volume.
    assert np.isclose(body.face_areas @ body.offsets / 3, body.volume, rtol=1e-7)


@given(BODIES)
def test_vertices_are_on_the_border_and_the_centroid_is_inside(body: ConvexBody) -> None:
    middle = body.centroid
    assert body.contains(middle)
    assert body.contains(middle + 0.999 * (body.vertices - middle)).all()
    assert not body.contains(middle + 1.001 * (body.vertices - middle)).any()


@given(length=st.floats(600, 2000), corner=st.floats(0.01, 0.15), thickness=st.floats(100, 300))
def test_corners_take_four_prisms_off_a_box(length: float, corner: float, thickness: float) -> None:
    body = plate_body(length=length, width=800, thickness=thickness, corner=corner, bevel=0)
    normal = np.array([1 / CELL[0], 1 / CELL[2]]) / np.hypot(1 / CELL[0], 1 / CELL[2])
    cut = corner * (normal @ [400, length / 2])
    lost = 4 * cut**2 / (2 * normal[0] * normal[1])
    assert np.isclose(body.volume, thickness * (800 * length - lost), rtol=1e-9)


@given(first=BODIES, second=BODIES, seed=SEEDS)
def test_separation_has_the_sign_that_linear_programming_finds(
    first: ConvexBody, second: ConvexBody, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    a = PlacedBody(body=first, centre=np.zeros(3), rotation=np.eye(3))
    turned = Rotation.random(rng=draw).as_matrix()
    b = PlacedBody(body=second, centre=draw.uniform(-800, 800, 3), rotation=turned)
    gap = separation(a, b)
    assert np.isclose(separation(b, a), gap, atol=1e-6)
    # Do the bodies, each swollen by half of what is left open, have a point in common?
    rows = np.concatenate([first.normals, second.normals @ turned.T])
    bounds = np.concatenate([first.offsets, second.offsets + second.normals @ turned.T @ b.centre])
    inside = linprog(
        np.append(np.zeros(3), 1.0),
        A_ub=np.column_stack([rows, -np.ones(len(rows))]),
        b_ub=bounds,
        bounds=[(None, None)] * 4,
    )
    assert inside.status == 0
    assert (gap > 0) == (inside.fun > 0)


@given(move=st.floats(-500, 500), seed=SEEDS)
def test_gap_of_two_boxes_side_by_side(move: float, seed: int) -> None:
    box = plate_body(length=1000, width=800, thickness=200, corner=0, bevel=0)
    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    a = PlacedBody(body=box, centre=np.ones(3), rotation=turn)
    # Side by side along b: never deeper in another direction than 200 Å and less.
    b = a.moved((200 + max(move, -150)) * turn[:, 1])
    assert np.isclose(separation(a, b), max(move, -150), atol=1e-6)


@pytest.mark.parametrize(
    ("normals", "offsets", "message"),
    [
        (np.eye(3), np.ones(3), "faces"),
        (2 * np.vstack([np.eye(3), -np.eye(3)]), np.ones(6), "length 2; expected 1"),
        (np.vstack([np.eye(3), -np.eye(3)]), -np.ones(6), "origin is inside"),
    ],
)
def test_what_bounds_no_body_is_refused(
    normals: np.ndarray, offsets: np.ndarray, message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        ConvexBody(normals=normals, offsets=offsets)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thickness": 0}, "sizes above 0"),
        ({"corner": 0.6}, "corner = 0.6"),
        ({"bevel": 1.5}, "bevel = 1.5"),
    ],
)
def test_impossible_plates_are_refused(change: dict[str, float], message: str) -> None:
    sizes = {"length": 1000.0, "width": 800.0, "thickness": 200.0}
    with pytest.raises(BadInputError, match=message):
        plate_body(**{**sizes, **change})
