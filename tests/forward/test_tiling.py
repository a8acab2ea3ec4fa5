import numpy as np
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from echolith.forward.stem_tasks import row_chunks
from echolith.forward.tiling import unique_positions


@given(
    shear=st.floats(-3, 3),
    shifts=st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=1, max_size=6),
    where=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5, unique=True
    ),
)
def test_positions_a_lattice_vector_apart_are_one(
    shear: float, shifts: list[tuple[int, int]], where: list[tuple[int, int]]
) -> None:
    cell = np.array([[2.5, 0.0], [shear, 4.7]])
    atoms = Atoms("Li", positions=[[0, 0, 1]], cell=[[*cell[0], 0], [*cell[1], 0], [0, 0, 2]])
    base = (np.array(where) + 0.25) / 10 @ cell
    images = (base[None] + (np.array(shifts) @ cell)[:, None]).reshape(-1, 2)
    unique, index = unique_positions(images, atoms)
    assert len(unique) == len(where)
    steps = (unique[index] - images) @ np.linalg.inv(cell)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)


@given(rows=st.integers(1, 300), chunk=st.integers(1, 300))
def test_chunks_cover_every_row_once(rows: int, chunk: int) -> None:
    covered = [row for part in row_chunks(rows, chunk) for row in range(part.start, part.stop)]
    assert covered == list(range(rows))
