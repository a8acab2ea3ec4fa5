import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.projected_potential import check_specimen
from echolith.structures.column_composition import true_composition
from echolith.structures.columns import true_columns, true_distances
from echolith.structures.delithiation import delithiated
from echolith.structures.li_rich_oxide import PRISTINE, field_specimen, periodic_specimen
from echolith.structures.projected_cell import named_distances
from echolith.structures.specimen_shape import mistilted, slope_of_variation, wedge
from echolith.structures.surface_layers import SurfacePhase, surface_specimen, true_surface

B = 8.532
DIRECTIONS = st.floats(-360, 360)


def plate(layers: int = 12, field: tuple[float, float] = (20.0, 26.0), seed: int = 0) -> Atoms:
    return field_specimen(field=field, thickness=layers * B / 3 + 0.01, seed=seed)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 0.6), DIRECTIONS, st.floats(0, 1))
def test_a_wedge_keeps_what_is_under_its_face(slope: float, direction: float, left: float) -> None:
    atoms = delithiated(plate(), alkali_layer=left)
    cut = wedge(atoms, slope=slope, direction=direction)
    check_specimen(cut, 1.0)
    normal = np.array([np.cos(np.deg2rad(direction)), np.sin(np.deg2rad(direction))])
    corners = np.array([[0, 0], [26, 0], [0, 20], [26, 20]]) @ normal
    face = 4 * B - slope * (atoms.positions[:, :2] @ normal - corners.min())
    # Cations are cut by the ideal height of their sites, up to (2/3 - 0.6606) b = 0.052 Å off.
    sure = np.abs(atoms.positions[:, 2] - face) > 0.06
    rows = {tuple(p) for p in cut.positions.tolist()}
    kept = np.array([tuple(p) in rows for p in atoms.positions.tolist()])
    assert np.array_equal(kept[sure], (atoms.positions[:, 2] < face)[sure])
    assert len(rows) == kept.sum() == len(cut)
    assert np.array_equal(np.asarray(cut.cell), np.asarray(atoms.cell))


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 0.6), DIRECTIONS)
def test_a_full_wedge_has_no_vacancies(slope: float, direction: float) -> None:
    """Sites cut off are not taken for empty ones."""
    truth = true_composition(wedge(plate(), slope=slope, direction=direction))
    assert (truth["vacancy"] == 0).all()
    assert truth["n_sites"].values.min() >= 1


def test_mean_thickness_of_a_wedge() -> None:
    atoms = plate(layers=30, field=(20.0, 60.0))
    slope = slope_of_variation(atoms, 0.5)
    cut = wedge(atoms, slope=slope)
    n = true_composition(cut)
    # Straight line through the layers left in each column.
    fitted = np.polyfit(n["x"].values, n["n_sites"].values * B / 3, 1)
    # Whole layers of 2.84 Å round at random: 0.82 Å rms, over some 130 columns and 60 Å.
    assert fitted[0] == pytest.approx(-slope, abs=4.5 * 0.82 / np.sqrt(130) / 17)
    assert len(cut) / len(atoms) == pytest.approx(0.75, abs=0.01)


@settings(max_examples=20, deadline=None)
@given(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), st.booleans())
def test_a_mistilt_is_a_small_rotation(tilt: tuple[float, float], periodic: bool) -> None:
    atoms = periodic_specimen(thickness=4 * B) if periodic else plate()
    tilted = mistilted(atoms, tilt=tilt)
    check_specimen(tilted, 1.0)
    centre = np.asarray(atoms.cell).sum(axis=0) / 2
    x, y = 1e-3 * np.array(tilt)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    # Where a column crosses the middle stays; how it leans there is the rotation's to 2nd order.
    axis = (about_y @ about_x) @ np.array([0.0, 0.0, 1.0])
    lean = axis[:2] / axis[2]
    new = np.asarray(tilted.cell).sum(axis=0) / 2
    moved = (tilted.positions - new - (atoms.positions - centre))[:, :2]
    depth = atoms.positions[:, 2] - centre[2]
    largest = 1e-3 * np.hypot(*tilt)
    allowed = 2 * largest**2 * np.abs(depth).max() + 1e-12  # and rounding
    assert np.allclose(moved, np.outer(depth, lean), atol=allowed)
    assert np.array_equal(tilted.positions[:, 2], atoms.positions[:, 2])
    assert (tilted.numbers == atoms.numbers).all()


def test_a_mistilt_leaves_the_distances() -> None:
    """Every full column leans alike about its middle."""
    tilted = true_distances(true_columns(mistilted(plate(), tilt=(6.0, -4.0))))
    for name, length in named_distances(PRISTINE).items():
        # Even and odd columns have their atoms 1/2 layer apart in depth: 1.42 Å at 7 mrad.
        assert tilted[name].item() == pytest.approx(length, abs=1.42 * 7.3e-3)


def test_tilting_back_is_the_specimen_in_a_larger_box() -> None:
    atoms = plate()
    there = mistilted(atoms, tilt=(5.0, 9.0))
    back = mistilted(there, tilt=(-5.0, -9.0))
    shift = (np.asarray(back.cell) - np.asarray(atoms.cell)).sum(axis=0) / 2
    assert np.allclose(back.positions - shift, atoms.positions, atol=1e-12)


def test_shapes_keep_the_truth_of_a_surface() -> None:
    atoms = surface_specimen(
        PRISTINE,
        surface_parameters=PRISTINE,
        phase=SurfacePhase.LIMN2O4,
        depth=10,
        field=(20.0, 26.0),
        thickness=4 * B,
    )
    before = true_surface(atoms)
    after = true_surface(mistilted(atoms, tilt=(3.0, 4.0)))
    assert np.array_equal(before["phase"].values, after["phase"].values)
    # The place of a tilted column is that of half its depth, of sparse columns that of its atoms.
    assert np.allclose(before["depth"], after["depth"], atol=4e-3 * 2 * B)
    for name in ("tm_fraction", "li_fraction", "vacancy", "n_sites"):
        assert np.array_equal(before[name].values, after[name].values)


def test_crystals_without_labels_can_be_shaped_too() -> None:
    bare = Atoms("Mn5", positions=[[x, 5.0, 7.0] for x in (0.0, 2.0, 4.0, 6.0, 8.0)])
    bare.cell = np.diag([10.0, 10.0, 10.0])
    # 10 - 0.8 x is above 7 for x below 3.75.
    assert wedge(bare, slope=0.8).positions[:, 0].tolist() == [0, 2]
    assert wedge(bare, slope=0.8, direction=180.0).positions[:, 0].tolist() == [8]
    assert len(mistilted(bare, tilt=(1.0, 1.0))) == 5


def test_bad_input_is_refused() -> None:
    atoms = plate()
    with pytest.raises(BadInputError, match=r"slope = 20 Å/Å; .* give 2 % as 0\.02"):
        wedge(atoms, slope=20)
    with pytest.raises(BadInputError, match="leaves less than a layer"):
        wedge(atoms, slope=1.0, direction=30)
    with pytest.raises(BadInputError, match="periodic specimen cannot be a wedge"):
        wedge(periodic_specimen(thickness=B), slope=0.1)
    with pytest.raises(BadInputError, match="wedge already"):
        wedge(wedge(atoms, slope=0.1), slope=0.1)
    with pytest.raises(BadInputError, match="direction = inf°"):
        wedge(atoms, slope=0.1, direction=float("inf"))
    with pytest.raises(BadInputError, match="give them in mrad"):
        mistilted(atoms, tilt=(100, 0))
    with pytest.raises(BadInputError, match="expected two angles"):
        mistilted(atoms, tilt=(float("nan"), 0))
