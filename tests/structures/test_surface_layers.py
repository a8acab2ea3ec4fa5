import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.special import erfc

from echolith.errors import BadInputError
from echolith.forward.projected_potential import check_specimen
from echolith.structures.cation_sites import TRANSITION_METALS
from echolith.structures.columns import Rectangle, true_columns, true_distances
from echolith.structures.epitaxy import coherent_strain, interface, lattice_rows, surface_plane
from echolith.structures.li_rich_oxide import PRISTINE, field_specimen, named_distances
from echolith.structures.li_rich_states import ChargeState, Region, state_parameters
from echolith.structures.projected_cell import ProjectedParameters
from echolith.structures.surface_layers import SurfacePhase, surface_specimen, true_surface
from echolith.validation.specimen_strategies import projected_parameters

B = 8.532
BULK = state_parameters(ChargeState.CHARGED)
SURFACE = state_parameters(ChargeState.CHARGED, Region.SURFACE)
RECONSTRUCTED = [phase for phase in SurfacePhase if phase is not SurfacePhase.LAYERED]


def specimen(phase: SurfacePhase = SurfacePhase.LIMN2O4, **changes: object) -> Atoms:
    wanted: dict[str, object] = {
        "surface_parameters": SURFACE,
        "depth": 20.0,
        "field": (24.0, 50.0),
        "thickness": 2 * B,
        "phase": phase,
        **changes,
    }
    return surface_specimen(BULK, **wanted)  # type: ignore[arg-type]


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(SurfacePhase),
    st.floats(0, 60),
    st.floats(0.01, 6),
    st.sampled_from([0.0, 90.0, 180.0, 270.0, 35.0]),
    st.floats(0, 8),
    st.integers(0, 99),
)
def test_any_surface_can_be_simulated_and_has_a_truth(
    phase: SurfacePhase, depth: float, width: float, direction: float, vacuum: float, seed: int
) -> None:
    atoms = specimen(
        phase,
        depth=depth,
        interface_width=width,
        direction=direction,
        vacuum=vacuum,
        field=(22.0, 26.0),
        thickness=B,
        seed=seed,
    )
    check_specimen(atoms, 1.0)
    truth = true_surface(atoms)
    parts = truth["tm_fraction"] + truth["li_fraction"] + truth["vacancy"]
    assert np.allclose(parts, 1)
    assert truth["n_sites"].values.tolist() == [3] * truth.sizes["column"]
    # Nothing stands in the vacuum; the outermost columns are within a lattice spacing of it.
    outermost = float(truth["depth"].min())
    assert -1e-6 < outermost < 6
    cations = (atoms.numbers != 8).sum()
    assert ((1 - truth["vacancy"]) * truth["n_sites"]).sum().item() == pytest.approx(cations)


@pytest.mark.parametrize("phase", RECONSTRUCTED)
def test_the_interface_is_where_and_as_soft_as_asked(phase: SurfacePhase) -> None:
    """Share of the alkali layer's transition metals against depth, an error function."""
    depth, width = 22.0, 3.0
    truth = true_surface(
        specimen(phase, depth=depth, interface_width=width, field=(70.0, 60.0), seed=1)
    )
    alkali = truth.isel(column=np.flatnonzero(truth["species"].values == "Li"))
    full = {SurfacePhase.ROCK_SALT_DISORDERED: 0.5}.get(phase, 0.25)
    expected = full * erfc((alkali["depth"].values - depth) / (np.sqrt(2) * width)) / 2
    found, sites = alkali["tm_fraction"].values, alkali["n_sites"].values
    for low in range(0, 40, 5):
        here = (alkali["depth"].values >= low) & (alkali["depth"].values < low + 5)
        # Sites are drawn, and every second row of a spinel is empty: 4.5 binomial errors of
        # half columns.
        error = np.sqrt(max(expected[here].mean(), 0.005) / sites[here].sum())
        assert abs(found[here].mean() - expected[here].mean()) < 4.5 * error
    # A deep bulk without one metal there, and a surface with all of them.
    assert found[alkali["depth"].values > depth + 5 * width].max() == 0
    top = alkali["depth"].values < depth - 4 * width
    assert abs(found[top].mean() - full) < 4.5 * 0.5 / np.sqrt(sites[top].sum())


def test_only_two_phases_fill_tetrahedral_sites() -> None:
    for phase in SurfacePhase:
        truth = true_surface(specimen(phase, interface_width=0.01, field=(40.0, 50.0)))
        holes = truth.isel(column=np.flatnonzero(truth["species"].values == "T"))
        inner = holes.isel(column=np.flatnonzero(holes["depth"].values < 20))
        metal, lithium = inner["tm_fraction"].mean().item(), inner["li_fraction"].mean().item()
        # An eighth of all tetrahedral sites is 8a: a quarter of those in the alkali layer. Half
        # filled rows alternate with empty ones, so the field's border adds a few per cent.
        expected = {SurfacePhase.LIMN2O4: (0.0, 0.25), SurfacePhase.MN3O4: (0.25, 0.0)}
        assert (metal, lithium) == pytest.approx(expected.get(phase, (0.0, 0.0)), abs=0.03)
        assert truth["tetrahedral_occupancy"].item() == pytest.approx(metal + lithium)
        deep = holes.isel(column=np.flatnonzero(holes["depth"].values > 20.5))
        assert (deep["vacancy"] == 1).all()


def test_phase_labels_follow_the_depth() -> None:
    truth = true_surface(specimen(SurfacePhase.MN3O4, direction=90.0, field=(40.0, 24.0)))
    surface = truth["phase"].values == "mn3o4"
    assert np.array_equal(surface, truth["depth"].values < 20)
    # Upwards is the surface.
    assert truth["y"].values[surface].min() > truth["y"].values[~surface].max() - 1e-9
    assert truth["surface_depth"] == 20


def test_no_depth_is_the_plain_crystal() -> None:
    plain = field_specimen(BULK, field=(24.0, 50.0), thickness=2 * B, seed=3)
    bare = specimen(SurfacePhase.MN3O4, depth=0.0, seed=3)
    ours, theirs = (np.column_stack([a.positions.round(6) + 0.0, a.numbers]) for a in (bare, plain))
    # Columns right at the surface plane count as outside.
    assert set(map(tuple, ours.tolist())) <= set(map(tuple, theirs.tolist()))
    assert len(ours) > 0.98 * len(theirs)


def test_a_deeper_layer_converts_the_same_sites_and_more() -> None:
    """As exposure does: equal lattices, so that columns keep their places."""
    shallow, deep = (
        specimen(SurfacePhase.LIMN2O4, surface_parameters=BULK, depth=depth, seed=5)
        for depth in (12.0, 22.0)
    )

    def changed(atoms: Atoms) -> set[tuple[object, ...]]:
        kinds, labels = atoms.arrays["column_kind"], ("sign", "lattice_i", "lattice_j")
        here = (kinds == "T") | ((kinds == "Li") & np.isin(atoms.numbers, TRANSITION_METALS))
        rows = zip(
            kinds[here].tolist(),
            *(atoms.arrays[name][here].tolist() for name in labels),
            atoms.positions[here, 2].round(3).tolist(),
            atoms.numbers[here].tolist(),
            strict=True,
        )
        return set(rows)

    assert changed(shallow) < changed(deep)


CELLS = projected_parameters(spread=0.03)


@settings(max_examples=15, deadline=None)
@given(CELLS, CELLS, st.floats(0, 360))
def test_coherence_keeps_the_lines_along_the_interface(
    bulk: ProjectedParameters, layer: ProjectedParameters, direction: float
) -> None:
    angle = np.deg2rad(direction)
    normal, line = (
        np.array([np.cos(angle), np.sin(angle)]),
        np.array([-np.sin(angle), np.cos(angle)]),
    )
    strain = coherent_strain(bulk, layer, normal)
    gradient = np.eye(2) + np.outer(normal, strain)
    assert np.allclose(line @ gradient, line, atol=1e-12)
    # In the layer's own lattice, but for the stretch along the line: the distance between two
    # such lines is the layer's where the line is not stretched.
    free = np.linalg.inv(lattice_rows(bulk)) @ lattice_rows(layer)
    stretch = np.hypot(*(line @ free))
    area = np.linalg.det(lattice_rows(layer)) / np.linalg.det(lattice_rows(bulk))
    assert np.linalg.det(gradient) == pytest.approx(area / stretch)


@settings(max_examples=10, deadline=None)
@given(st.floats(1, 50), st.floats(0.05, 5), st.sampled_from([0.0, 90.0, 40.0]))
def test_displacement_is_the_integral_of_the_profile(
    depth: float, width: float, direction: float
) -> None:
    plane = surface_plane(np.array([60.0, 60.0]), direction=direction, vacuum=1.0)
    profile = interface(BULK, SURFACE, plane, depth=depth, width=width)
    for below in (0.0, depth / 2, depth, depth + width):
        depths = np.linspace(below, max(below, profile.depth) + 9 * width, 20001)
        integral = trapezoid(profile.share(depths), depths)
        found = profile.displacement(np.array([below]))[0]
        assert np.allclose(found, integral * profile.strain, atol=1e-6)
    # The surface ends up at its plane.
    at_surface = profile.displacement(np.zeros(1))[0] @ plane.normal + profile.plane.distance
    assert at_surface == pytest.approx(plane.distance)


def test_the_bulk_below_keeps_its_distances() -> None:
    atoms = specimen(SurfacePhase.ROCK_SALT_DISORDERED, field=(24.0, 60.0))
    inner = Rectangle(x_min=0, x_max=25, y_min=0, y_max=24)
    found = true_distances(true_columns(atoms), within=inner)
    for name, length in named_distances(BULK).items():
        assert found[name].item() == pytest.approx(length, abs=1e-6)


def test_a_surface_across_the_layers_has_the_surfaces_rows() -> None:
    """Normal along y: A is the bulk's, what lies across is the surface's with that A."""
    atoms = specimen(
        SurfacePhase.LAYERED, depth=45.0, interface_width=0.05, direction=90.0, field=(60.0, 24.0)
    )
    found = true_distances(
        true_columns(atoms), within=Rectangle(x_min=0, x_max=24, y_min=22, y_max=60)
    )
    # By hand: rows are the surface's height apart, and stacked so that Cx = -2A/3 of the one
    # becomes -2A/3 of the other.
    c = np.array([SURFACE.Cx + BULK.Cx * (1 - SURFACE.A / BULK.A), SURFACE.Cy])
    assert found["m_m"].item() == pytest.approx(BULK.A, abs=1e-6)
    assert found["m_m_li"].item() == pytest.approx(np.hypot(*c), abs=1e-6)
    fraction = np.linalg.solve(
        np.array([[SURFACE.A, SURFACE.Cx], [0, SURFACE.Cy]]), [SURFACE.Ox, SURFACE.Oy]
    )
    oxygen = fraction @ np.array([[BULK.A, 0], c])
    assert found["o_o_m"].item() == pytest.approx(2 * np.hypot(*oxygen), abs=1e-6)


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadInputError, match="depth = 80 Å"):
        specimen(depth=80.0)
    with pytest.raises(BadInputError, match="interface_width = 0 Å"):
        specimen(interface_width=0.0)
    with pytest.raises(BadInputError, match="vacuum = 60 Å"):
        specimen(vacuum=60.0)
    with pytest.raises(BadInputError, match="direction = nan°"):
        specimen(direction=float("nan"))
    with pytest.raises(BadInputError, match="no surface layer"):
        true_surface(field_specimen(PRISTINE, field=(12, 12), thickness=B))
