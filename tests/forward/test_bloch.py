"""Plane waves on the cell of a crystal against multislice on boxes that hold whole cells."""

import numpy as np
import pytest
import xarray as xr
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.acquisition import (
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
)
from echolith.forward.bloch import bloch_mean, prepare
from echolith.forward.bloch_haadf import annular_terms, incident_groups
from echolith.forward.bloch_harmonics import harmonics_of
from echolith.forward.bloch_waves import crystal_slices
from echolith.forward.oblique_potential import oblique_grid, reduce_cell
from echolith.forward.simulation import Engine, Simulation
from echolith.forward.stem import ProjectedPotential, stem_mean
from tests.forward.small_specimen import BEAM, PIXEL, SIMULATION, acquisition, crystal, specimen

ROUNDING = 2e-5
"""Relative to the peak: float32 waves through three slices, 2e-6 seen."""

FIRST, SECOND = 3.4, 4.1
OBLIQUE = np.array([[FIRST, 0.0, 0.0], [FIRST / 2, SECOND, 0.0], [0.0, 0.0, 6.0]])
"""Å. Two of its second vectors less one of its first make a right angle with it."""


def computed(atoms: Atoms, taken: StemAcquisition, engine: Engine, **changes: object) -> xr.Dataset:
    simulation = SIMULATION.model_copy(update={"engine": engine, **changes})
    lazy = stem_mean(atoms, acquisition=taken, simulation=simulation)
    return lazy.compute(scheduler="synchronous")


def largest_change(one: xr.DataArray, other: xr.DataArray) -> float:
    return float(np.abs(one - other).max() / other.max())


@pytest.mark.parametrize(
    "changes",
    [
        {"scan": Scan(shape=(3, 4), step=(0.25, 0.3), rotation=33)},
        {"detector": PixelDetector(shape=(20, 24), pixel_size=PIXEL, transpose=True)},
        {"detector": PixelDetector(shape=(8, 12), pixel_size=(7.5, 5.0), subpixels=(3, 2))},
        {"beam": BEAM.model_copy(update={"focal_spread": 30.0})},
        {"beam": BEAM.model_copy(update={"source_spread": 0.3})},
        {"beam": Beam(energy=80e3, semiangle=22.0), "haadf": AnnularDetector(inner=50, outer=80)},
    ],
    ids=["rotation", "transpose", "subpixels", "focal spread", "source spread", "80 kV"],
)
def test_equals_multislice_where_the_box_holds_whole_cells(changes: dict[str, object]) -> None:
    taken = acquisition(**changes)
    atoms = crystal(side=taken.beam.wavelength / (2e-3 * PIXEL))
    bloch, probes = (computed(atoms, taken, e) for e in (Engine.BLOCH, Engine.MULTISLICE))
    assert bloch.counts.shape == probes.counts.shape
    assert largest_change(bloch.counts, probes.counts) < ROUNDING
    if "haadf" in probes:
        np.testing.assert_allclose(bloch.haadf, probes.haadf, rtol=1e-4)


@settings(max_examples=6)
@given(
    places=st.sets(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=3
    ),
    symbol=st.sampled_from(["Li", "O", "Mn"]),
)
def test_an_oblique_cell_equals_multislice_on_a_right_angled_one(
    places: set[tuple[int, int, int]], symbol: str
) -> None:
    xyz = (np.array(sorted(places)) + 0.31) / 5
    atoms = Atoms([symbol] * len(xyz), scaled_positions=xyz, cell=OBLIQUE, pbc=[True, True, False])
    lam = BEAM.wavelength * 1e3
    # Three of the first vector by two rows, as square as can be.
    pixel = (lam / (2 * SECOND), lam / (3 * FIRST))
    taken = acquisition(detector=PixelDetector(shape=(16, 18), pixel_size=pixel))
    bloch = computed(atoms, taken, Engine.BLOCH)
    probes = computed(atoms, taken, Engine.MULTISLICE)
    # The potential is exponentiated on two different grids.
    assert largest_change(bloch.counts, probes.counts) < 1e-4
    np.testing.assert_allclose(bloch.haadf, probes.haadf, atol=2e-2 * float(probes.haadf.max()))


def test_the_scan_repeats_with_the_crystal() -> None:
    atoms = Atoms("Mn", positions=[[1.0, 2.0, 3.0]], cell=OBLIQUE, pbc=[True, True, False])
    taken = acquisition(scan=Scan(shape=(3, 41), step=(0.2, FIRST / 20)))
    frames = computed(atoms, taken, Engine.BLOCH)
    peak = float(frames.counts.max())
    np.testing.assert_allclose(
        frames.counts[:, :21], frames.counts[:, 20:], rtol=0, atol=1e-6 * peak
    )
    assert float(frames.counts.var("scan_x").max()) > 0


@given(
    a=st.tuples(st.floats(2, 6), st.floats(-3, 3)), b=st.tuples(st.floats(-9, 9), st.floats(2, 6))
)
def test_a_reduced_cell_is_the_same_lattice(a: tuple[float, float], b: tuple[float, float]) -> None:
    cell = np.array([a, b])
    if abs(np.linalg.det(cell)) < 1:
        return
    reduced = reduce_cell(cell)
    steps = reduced @ np.linalg.inv(cell)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    assert abs(np.linalg.det(np.rint(steps))) == pytest.approx(1)
    assert np.abs(reduced[0] @ reduced[1]) <= (reduced[0] @ reduced[0]) / 2 * (1 + 1e-6)


def test_the_grid_of_a_cell_holds_products_of_two_waves() -> None:
    grid = oblique_grid(OBLIQUE[:2, :2], 0.1)
    cutoff = 1 / (3 * grid.sampling)
    # A sum of two vectors inside the aperture, folded by the grid, is outside or the sum itself.
    inside = grid.indices[np.linalg.norm(grid.vectors, axis=-1) <= cutoff]
    rng = np.random.default_rng(0)
    sums = (
        inside[rng.integers(len(inside), size=4000)] + inside[rng.integers(len(inside), size=4000)]
    )
    folded = grid.indices[sums[:, 0] % grid.shape[0], sums[:, 1] % grid.shape[1]]
    alias = (folded != sums).any(axis=1)
    assert alias.any()
    assert (np.linalg.norm(folded[alias] @ grid.reciprocal, axis=1) > cutoff * 0.999).all()


def test_the_harmonics_hold_the_band_of_the_image() -> None:
    atoms = Atoms("Mn", positions=[[1.0, 2.0, 3.0]], cell=OBLIQUE, pbc=[True, True, False])
    slices = crystal_slices(atoms, energy=BEAM.energy, sampling=0.12, slice_thickness=2.0)
    vectors = harmonics_of(slices, BEAM).vectors
    radius = 2e-3 * BEAM.semiangle / BEAM.wavelength
    # One of each pair h and -h, and zero: as many as lattice points in the circle.
    i, j = np.meshgrid(np.arange(-40, 41), np.arange(-40, 41))
    lattice = np.stack([i.ravel(), j.ravel()], axis=1) @ slices.grid.reciprocal
    assert 2 * len(vectors) - 1 == (np.linalg.norm(lattice, axis=1) <= radius).sum()


def test_a_detector_that_does_not_fit_the_lattice_collects_the_same_ring() -> None:
    atoms = Atoms("Mn", positions=[[1.0, 2.0, 3.0]], cell=OBLIQUE, pbc=[True, True, False])
    slices = crystal_slices(atoms, energy=BEAM.energy, sampling=0.12, slice_thickness=2.0)
    beam = Beam(semiangle=12)
    harmonics = harmonics_of(slices, beam)
    where = np.random.default_rng(0).uniform(0, 5, (20, 2))
    signals = []
    # A lattice of the crystal's own, finer than the mesh that is laid where it does not fit.
    for side in ((28 * SECOND, 36 * FIRST), (28 * SECOND + 0.3, 36 * FIRST)):
        pixel = tuple(BEAM.wavelength / length * 1e3 for length in side)
        detector = PixelDetector(shape=(136, 136), pixel_size=(pixel[0], pixel[1]))
        groups = incident_groups(acquisition(beam=beam, detector=detector), slices)
        terms, incident = annular_terms(
            groups,
            detector=AnnularDetector(inner=40, outer=60),
            beam=beam,
            slices=slices,
            harmonics=harmonics,
            focal=0.0,
        )
        signals.append(harmonics.basis(where)[:, : len(terms)] @ terms / incident)
    lattice, mesh = signals
    assert not np.array_equal(lattice, mesh)
    # What the mesh promises, of the largest.
    np.testing.assert_allclose(mesh, lattice, rtol=0, atol=2e-3 * lattice.max())


def test_without_an_annular_detector() -> None:
    taken = acquisition(haadf=None)
    counts, haadf = bloch_mean(
        crystal(), acquisition=taken, sampling=0.12, slice_thickness=2.0, rows=slice(1, 3)
    )
    assert haadf is None
    operator = prepare(crystal(), acquisition=taken, sampling=0.12, slice_thickness=2.0)
    np.testing.assert_array_equal(counts, operator.rows()[0][1:3])


def test_sites_may_be_shared_between_elements() -> None:
    # Potentials mix; to first order, in a thin light specimen, so do the measurements.
    atoms = crystal()
    atoms.symbols[:] = "Li"
    atoms.set_array("spacegroup_kinds", np.zeros(len(atoms), dtype=int))
    whole, mixed, heavy = atoms.copy(), atoms.copy(), atoms.copy()
    mixed.info["occupancy"] = {"0": {"Li": 0.5, "Be": 0.5}}
    heavy.symbols[:] = "Be"
    one, half, other = (computed(a, acquisition(), Engine.BLOCH) for a in (whole, mixed, heavy))
    contrast = float(np.abs(one.counts - other.counts).max())
    average = (one.counts + other.counts) / 2
    assert float(np.abs(half.counts - average).max()) < 0.05 * contrast
    same = computed(mixed, acquisition(), Engine.MULTISLICE)
    assert largest_change(half.counts, same.counts) < ROUNDING


def test_bad_input_is_refused() -> None:
    arguments = {"sampling": 0.12, "slice_thickness": 2.0}
    taken = acquisition()
    with pytest.raises(BadInputError, match="not laterally periodic"):
        prepare(specimen(periodic=False), acquisition=taken, **arguments)
    with pytest.raises(BadInputError, match="would alias"):
        prepare(specimen(), acquisition=taken, sampling=0.3, slice_thickness=2.0)
    with pytest.raises(BadInputError, match="thinner than one slice"):
        prepare(specimen(), acquisition=taken, sampling=0.12, slice_thickness=7.0)
    hole = acquisition(
        beam=Beam(semiangle=1.0),
        detector=PixelDetector(shape=(2, 2), pixel_size=8.0, subpixels=(2, 2)),
        haadf=None,
    )
    with pytest.raises(BadInputError, match="no sample of the detector lies inside"):
        prepare(specimen(), acquisition=hole, **arguments)
    shared = specimen()
    shared.info["occupancy"] = {"0": {"Li": 1.0}}
    with pytest.raises(BadInputError, match="spacegroup_kinds"):
        prepare(shared, acquisition=taken, **arguments)
    spread = Simulation(engine=Engine.BLOCH, potential=ProjectedPotential.ABTEM)
    with pytest.raises(BadInputError, match="use potential = exact"):
        stem_mean(specimen(), acquisition=taken, simulation=spread)
