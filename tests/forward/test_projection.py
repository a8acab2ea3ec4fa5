"""Parallel projection against closed forms, a slow sum and another program's matrix."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from echolith.errors import BadInputError
from echolith.forward import projection
from echolith.forward.projection import SystemMatrix, backproject, project, system_matrix
from echolith.forward.tilts import Tilts, centres

Array = npt.NDArray[np.float64]

SERIES = Tilts(angles=(-80.0, -45.0, -20.5, 0.0, 30.0, 45.0, 77.0, 90.0), voxel_size=50.0)


def volume_of(seed: int, shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape, dtype=np.float32) * np.float32(1e-3)


@given(
    angles=st.lists(st.floats(-180, 180), min_size=2, max_size=6, unique=True),
    sizes=st.tuples(*4 * [st.integers(1, 12)]),
    offset=st.floats(-300, 300),
    seed=st.integers(0, 1000),
)
def test_back_projection_is_the_transpose(
    angles: list[float], sizes: tuple[int, int, int, int], offset: float, seed: int
) -> None:
    nz, ny, nx, pixels = sizes
    tilts = Tilts(angles=tuple(angles), voxel_size=50.0, axis_offset=offset)
    matrix = system_matrix(tilts, shape=(nz, nx), pixels=pixels)
    one = volume_of(seed, (nz, ny, nx)).astype(float)
    two = volume_of(seed + 1, (len(angles), ny, pixels)).astype(float)
    forth, back = project(one, matrix).astype(float), backproject(two, matrix).astype(float)
    # Sums of some hundred float32 terms, all positive.
    scale = np.linalg.norm(forth) * np.linalg.norm(two)
    assert abs(np.vdot(forth, two) - np.vdot(one, back)) <= 1e-5 * scale + 1e-30


def test_projection_is_linear() -> None:
    matrix = system_matrix(SERIES, shape=(9, 12))
    one, two = volume_of(1, (9, 5, 12)), volume_of(2, (9, 5, 12))
    both = project(2 * one - 3 * two, matrix)
    apart = 2 * project(one, matrix) - 3 * project(two, matrix)
    np.testing.assert_allclose(both, apart, atol=1e-5 * np.abs(apart).max())


def test_a_gaussian_is_seen_where_and_as_large_as_it_should() -> None:
    # A blob off the axis at (x, z), its rows of different weight: any flip or wrong sign of the
    # tilt, the shift or the offset moves it by many pixels.
    sigma, (x, z), size, n = 3.0, (11.0, -6.0), 50.0, 61
    at = centres(n, 1.0)
    rows = np.array([1.0, 0.2, 0.7])
    blob = np.exp(-((at - x) ** 2 + (at[:, None] - z) ** 2) / (2 * sigma**2))
    volume = blob[:, None, :] * rows[:, None] * 1e-3
    shift = np.linspace(-70, 90, len(SERIES.angles))
    tilts = SERIES.model_copy(update={"axis_offset": 120.0})
    seen = project(volume, system_matrix(tilts, shape=(n, n), shift_x=shift))
    t = tilts.radians[:, None]
    place = x * np.cos(t) + z * np.sin(t) + (120.0 + shift[:, None]) / size
    line = np.exp(-((at - place) ** 2) / (2 * sigma**2)) * np.sqrt(2 * np.pi) * sigma
    exact = 1e-3 * size * line[:, None] * rows[:, None]
    # Linear interpolation is off by up to an eighth of the curvature, 1 / sigma².
    np.testing.assert_allclose(seen, exact, atol=exact.max() / (8 * sigma**2))
    # It keeps the mass but for the same error.
    mass = volume.sum(axis=(0, 2)) * size
    np.testing.assert_allclose(seen.sum(axis=2), np.tile(mass, (len(t), 1)), rtol=2e-3)


def test_weights_are_those_of_a_slow_sum() -> None:
    volume = volume_of(3, (7, 2, 10)).astype(float)
    seen = project(volume, system_matrix(SERIES, shape=(7, 10), pixels=13))
    for t, angle in enumerate(SERIES.radians):
        for y in range(2):
            exact = slow_projection(volume[:, y], angle, 13) * SERIES.voxel_size
            np.testing.assert_allclose(seen[t, y], exact, rtol=1e-4, atol=1e-7)


def slow_projection(field: Array, angle: float, pixels: int) -> Array:
    """Sum rows (or columns, where rays run along them) interpolated linearly, voxels as unit."""
    c, s = np.cos(angle), np.sin(angle)
    if abs(c) < abs(s):
        field, c, s = field.T, s, c
    across, ray = centres(field.shape[1], 1.0), centres(pixels, 1.0)
    total = np.zeros(pixels)
    for depth, line in zip(centres(field.shape[0], 1.0), field, strict=True):
        place = (ray - depth * s) / c
        padded = np.concatenate([[across[0] - 1], across, [across[-1] + 1]])
        total += np.interp(place, padded, np.pad(line, 1), left=0, right=0)
    return np.asarray(total / abs(c))


def test_a_quarter_turn_of_the_specimen_is_one_of_the_tilt() -> None:
    volume = volume_of(4, (15, 3, 15))
    angles = (-60.0, -10.0, 25.0, 70.0)
    later = Tilts(angles=tuple(a + 90 for a in angles), voxel_size=50.0)
    turned = np.moveaxis(volume, 1, 2).transpose(1, 0, 2)[::-1].transpose(0, 2, 1)
    now = Tilts(angles=angles, voxel_size=50.0)
    np.testing.assert_allclose(
        project(volume, system_matrix(later, shape=(15, 15))),
        project(turned, system_matrix(now, shape=(15, 15))),
        rtol=1e-4,
    )


def test_neither_slabs_nor_workers_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, volume = system_matrix(SERIES, shape=(9, 12)), volume_of(5, (9, 40, 12))
    whole = project(volume, matrix, workers=1)
    monkeypatch.setattr(projection, "SLAB_BYTES", 0)
    assert len(projection.slabs(40, 108)) == 3
    cut = project(volume, matrix, workers=1)
    # Rounding alone: vectors of slices end elsewhere.
    np.testing.assert_allclose(cut, whole, rtol=1e-6)
    assert np.array_equal(cut, project(volume, matrix, workers=3))


def test_matrix_agrees_with_astra() -> None:
    astra = pytest.importorskip("astra", reason="the oracle astra-toolbox is not installed")
    n, angles = 24, np.array(SERIES.angles)
    geometry = astra.create_proj_geom("parallel", 1.0, n, np.deg2rad(angles))
    projector = astra.create_projector("linear", geometry, astra.create_vol_geom(n, n))
    theirs = astra.matrix.get(astra.projector.matrix(projector)) * SERIES.voxel_size
    ours: SystemMatrix = system_matrix(SERIES, shape=(n, n))
    volume = volume_of(6, (n, 1, n))
    # Their rows run against z.
    other = (theirs @ volume[::-1, 0].ravel()).reshape(len(angles), n)
    np.testing.assert_allclose(project(volume, ours)[:, 0], other, atol=1e-3 * other.max())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"angles": (3.0,)}, "1 tilt; expected two or more"),
        ({"angles": (3.0, 4.0, 3.0)}, "tilt 3° is given 2 times"),
        ({"angles": (0.0, 200.0)}, "tilt 200°; expected -180° to 180°"),
        ({"angles": tuple(np.linspace(-1.4, 1.3, 20))}, "did you give radians"),
        ({"voxel_size": 1e9}, "voxel_size = 1e.09 Å; expected 0.1 to 1e6 Å"),
    ],
)
def test_implausible_tilts_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Tilts.model_validate(settings)


def test_published_series() -> None:
    tilts = Tilts()
    assert (len(tilts.angles), tilts.angles[0], tilts.angles[-1]) == (158, -80, 77)
    assert tilts.missing_wedge == pytest.approx(23)


def test_arrays_that_do_not_fit_are_refused() -> None:
    matrix = system_matrix(SERIES, shape=(9, 12))
    with pytest.raises(BadInputError, match=r"expected 9 × any × 12 voxels"):
        project(np.zeros((9, 2, 11)), matrix)
    with pytest.raises(BadInputError, match=r"expected 8 × any × 12"):
        backproject(np.zeros((7, 2, 12)), matrix)
    with pytest.raises(BadInputError, match=r"shift_x of shape \(3,\) for 8 tilts"):
        system_matrix(SERIES, shape=(9, 12), shift_x=np.zeros(3))
