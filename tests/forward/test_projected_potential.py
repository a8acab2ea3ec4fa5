from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.diffraction_box import antialias
from echolith.forward.oblique_potential import oblique_grid, slice_transmissions
from echolith.forward.optics import interaction_constant
from echolith.forward.projected_potential import (
    MARGIN,
    Region,
    atoms_in,
    check_specimen,
    region_around,
    slice_count,
    slice_of_atoms,
    transmission,
)
from echolith.forward.simulation import ProjectedPotential
from tests.forward.small_specimen import crystal, specimen

ENERGY = 200e3
SIGMA = interaction_constant(ENERGY)
EXACT = ProjectedPotential.EXACT


def whole_cell(atoms: Atoms, ny: int, nx: int) -> Region:
    width, height = np.diag(np.asarray(atoms.cell))[:2]
    return Region(origin=(0.0, 0.0), shape=(ny, nx), sampling=(height / ny, width / nx), wraps=True)


def slabs(
    atoms: Atoms, region: Region, slices: int, method: ProjectedPotential = EXACT
) -> npt.NDArray[np.complex64]:
    return transmission(atoms, region=region, slices=slices, energy=ENERGY, method=method)


def band_limited(wave: npt.NDArray[np.complex128], region: Region) -> npt.NDArray[np.complex128]:
    """Cut a wave on a finer grid off at the antialias aperture of a region, onto its grid."""
    rows, columns = (np.rint(np.fft.fftfreq(n, 1 / n)).astype(int) for n in region.shape)
    ky, kx = (np.fft.fftfreq(n, d) for n, d in zip(region.shape, region.sampling, strict=True))
    spectrum = np.fft.fft2(wave)[rows[:, None], columns[None]]
    scale = np.prod(region.shape) / wave.size
    passed = antialias(ky, kx, max(region.sampling))
    return np.asarray(np.fft.ifft2(spectrum * passed * scale))


@pytest.mark.parametrize("symbol", ["Li", "O", "Mn"])
def test_one_atom_anywhere_has_the_published_projected_potential(symbol: str) -> None:
    from abtem.parametrizations import LobatoParametrization

    xy = np.array([3.13, 4.41])
    atoms = Atoms(symbol, positions=[[*xy, 1.0]], cell=[8.0, 9.0, 2.0])
    region = whole_cell(atoms, 90, 80)
    ours = slabs(atoms, region, 1)[0]
    # The closed form in real space, K0 and K1 functions of the distance, on a grid 8 times finer.
    finer = 8
    y = np.arange(90 * finer) * 0.1 / finer - xy[1]
    x = np.arange(80 * finer) * 0.1 / finer - xy[0]
    r = np.hypot(y[:, None], x[None])
    lobato: Any = LobatoParametrization()
    potential = np.asarray(lobato.projected_potential(symbol)(np.maximum(r, 1e-3).ravel()))
    wave = band_limited(np.exp(1j * SIGMA * potential.reshape(r.shape)), region)
    phase = np.angle(ours / ours[0, 0])
    wanted = np.angle(wave / wave[0, 0])
    # Tails that the box folds back, the grid of twice the sampling, float32.
    np.testing.assert_allclose(phase, wanted, atol=5e-3 * wanted.max() + 1e-5)


def test_abtem_projection_is_abtem_itself() -> None:
    import abtem

    atoms = specimen()
    region = whole_cell(atoms, 80, 90)
    ours = slabs(atoms, region, 3, ProjectedPotential.ABTEM)
    built = abtem.Potential(atoms, gpts=(90, 80), slice_thickness=2.0, projection="infinite").build(
        lazy=False
    )
    for slab, potential in zip(ours, np.asarray(built.array), strict=True):
        wanted = band_limited(np.exp(1j * SIGMA * potential.T.astype(float)), region)
        np.testing.assert_allclose(slab, wanted, atol=1e-4)


def test_exact_projection_converges_to_that_of_abtem() -> None:
    atoms = crystal()
    errors = []
    for n in (40, 80, 160):
        region = whole_cell(atoms, n, n)
        ours, theirs = (slabs(atoms, region, 2, m) for m in ProjectedPotential)
        spectra = np.fft.fft2(ours - theirs, norm="forward")
        k = np.fft.fftfreq(n, region.sampling[0])
        near = np.hypot(k[:, None], k[None]) < 2.4  # what the coarsest grid holds
        errors.append(float(np.sqrt((np.abs(spectra[:, near]) ** 2).sum())))
    # The spread over four pixels is an error of second order in the pixel.
    assert errors[1] < errors[0] / 3
    assert errors[2] < errors[1] / 3


@settings(max_examples=10)
@given(y=st.integers(-30, 30), x=st.integers(-30, 30))
def test_a_shift_by_pixels_is_a_roll(y: int, x: int) -> None:
    atoms = crystal()
    region = whole_cell(atoms, 48, 40)
    moved = atoms.copy()
    moved.positions[:, :2] += np.array([x * region.sampling[1], y * region.sampling[0]])
    one, other = slabs(atoms, region, 2), slabs(moved, region, 2)
    np.testing.assert_allclose(other, np.roll(one, (y, x), axis=(1, 2)), atol=2e-5)


def test_a_region_is_filled_with_the_images_of_a_crystal() -> None:
    atoms = crystal()
    cell = whole_cell(atoms, 42, 42)
    (dy, dx), period = cell.sampling, slabs(atoms, cell, 2)
    wide = Region(origin=(-50 * dy, 10 * dx), shape=(256, 240), sampling=(dy, dx), wraps=False)
    filled = slabs(atoms, wide, 2)
    rows, columns = (np.arange(256) - 50) % 42, (np.arange(240) + 10) % 42
    tiled = period[:, rows][:, :, columns]
    inner = slice(60, 180)  # beyond the margin that is thrown away
    np.testing.assert_allclose(filled[:, inner, inner], tiled[:, inner, inner], atol=2e-3)
    assert np.abs(filled - tiled).max() > 1e-2  # at the edges images are missing


@settings(max_examples=15)
@given(
    shear=st.floats(-2, 2),
    origin=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    shape=st.tuples(st.integers(20, 90), st.integers(20, 90)),
)
def test_all_images_inside_a_region_are_found_once(
    shear: float, origin: tuple[float, float], shape: tuple[int, int]
) -> None:
    atoms = crystal()
    cell = np.array([[5.0, 0.0], [shear, 4.0]])
    atoms.set_cell([[*cell[0], 0], [*cell[1], 0], [0, 0, 6]], scale_atoms=True)
    atoms.positions[:, 0] += 17.0  # atoms need not be inside the cell
    region = Region(origin=origin, shape=shape, sampling=(0.2, 0.2), wraps=False)
    xy, index = atoms_in(atoms, region)
    steps = np.arange(-40, 41)
    shifts = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2) @ cell
    expected = 0
    for n, position in enumerate(atoms.positions[:, :2]):
        pixel = region.pixel_of(position + shifts)
        inside = ((pixel >= 0) & (pixel < np.array(shape))).all(axis=1)
        expected += int(inside.sum())
        images = xy[index == n]
        assert len(images) == inside.sum()
        whole = (images - position) @ np.linalg.inv(cell)
        np.testing.assert_allclose(whole, np.rint(whole), atol=1e-6)
        assert len(np.unique(np.rint(whole), axis=0)) == len(whole)
    assert len(xy) == expected


@settings(max_examples=15)
@given(
    positions=st.lists(st.tuples(st.floats(-9, 30), st.floats(-9, 30)), min_size=1, max_size=5),
    side=st.tuples(st.floats(4, 20), st.floats(4, 20)),
)
def test_the_region_holds_a_box_around_every_position(
    positions: list[tuple[float, float]], side: tuple[float, float]
) -> None:
    region = region_around(specimen(periodic=False), np.array(positions), side, (0.13, 0.11))
    assert not region.wraps
    yx = np.array(positions)[:, ::-1]
    low = np.array(region.origin)
    high = low + np.array(region.shape) * np.array(region.sampling)
    half = np.array(side) / 2 + MARGIN
    assert (yx.min(axis=0) - half >= low).all()
    assert (yx.max(axis=0) + half <= high).all()
    # Its pixels are at multiples of the sampling, wherever the scan: the same bits for all chunks.
    pixel = low / np.array(region.sampling)
    np.testing.assert_allclose(pixel, np.rint(pixel), atol=1e-6)


def test_the_region_of_a_crystal_of_whole_pixels_is_its_cell() -> None:
    atoms = crystal()
    width, height = np.diag(np.asarray(atoms.cell))[:2]
    where = np.array([[1.0, 1.0]])
    fits = region_around(atoms, where, (10.0, 10.0), (height / 50, width / 40))
    assert fits.wraps
    assert fits.shape == (50, 40)
    assert not region_around(atoms, where, (10.0, 10.0), (height / 50.4, width / 40)).wraps


@given(
    thickness=st.floats(1, 60), wanted=st.floats(0.5, 5), z=st.floats(0, 1), slip=st.floats(-1, 1)
)
def test_every_atom_lies_in_one_slice_no_thicker_than_asked(
    thickness: float, wanted: float, z: float, slip: float
) -> None:
    atoms = Atoms("Li", positions=[[1, 1, z * thickness]], cell=[2, 2, thickness])
    slices = slice_count(atoms, wanted)
    assert thickness / slices <= wanted * (1 + 1e-5)
    assert slices == 1 or thickness / (slices - 1) > wanted * (1 - 1e-5)
    (label,) = slice_of_atoms(atoms, slices)
    assert 0 <= label < slices
    low, high = label * thickness / slices, (label + 1) * thickness / slices
    assert low - 2e-6 <= z * thickness <= high + 2e-6
    on_edge = Atoms("Li", positions=[[1, 1, low + 5e-7 * slip]], cell=[2, 2, thickness])
    assert slice_of_atoms(on_edge, slices)[0] == label


def test_an_empty_slice_is_vacuum_and_slices_add_up() -> None:
    atoms = Atoms("MnLi", positions=[[2, 3, 0.5], [4, 1, 4.5]], cell=[6, 7, 6])
    region = whole_cell(atoms, 70, 60)
    three = slabs(atoms, region, 3)
    np.testing.assert_allclose(three[1], 1, atol=1e-5)
    mn, li = (slabs(atoms[[n]], region, 1)[0] for n in range(2))
    np.testing.assert_allclose(three[0], mn, atol=1e-5)
    np.testing.assert_allclose(three[2], li, atol=1e-5)


def test_both_grids_give_the_same_slices() -> None:
    atoms = crystal()
    region = whole_cell(atoms, 48, 48)
    oblique = slice_transmissions(
        atoms,
        grid=oblique_grid(np.asarray(atoms.cell)[:2, :2], region.sampling[0]),
        slices=3,
        energy=ENERGY,
    )
    # Its first axis is along the first cell vector.
    np.testing.assert_allclose(oblique.swapaxes(1, 2), slabs(atoms, region, 3), atol=2e-5)


@pytest.mark.parametrize("method", list(ProjectedPotential))
def test_shared_sites_mix_potentials(method: ProjectedPotential) -> None:
    atoms = crystal()
    atoms.symbols[:] = "Mn"
    atoms.set_array("spacegroup_kinds", np.arange(len(atoms)) % 2)
    region = whole_cell(atoms, 48, 48)
    shared = atoms.copy()
    shared.info["occupancy"] = {"0": {"Li": 0.3, "Mn": 0.6}}
    got = slabs(shared, region, 1, method)[0]
    even, odd = atoms[::2], atoms[1::2]
    light = even.copy()
    light.symbols[:] = "Li"
    # Phases before the cut-off add; vacancies leave a tenth of the sites empty.
    phases = [np.angle(slabs(part, region, 1, method)[0]) for part in (light, even, odd)]
    wanted = np.exp(1j * (0.3 * phases[0] + 0.6 * phases[1] + phases[2]))
    assert np.abs(got - wanted).max() < 0.05
    assert np.abs(got - slabs(atoms, region, 1, method)[0]).max() > 0.15


def test_a_specimen_thinner_than_a_slice_is_refused() -> None:
    thin = Atoms("Li", positions=[[1, 1, 0.5]], cell=[3, 3, 1.9])
    with pytest.raises(BadInputError, match=r"1\.9 Å thick, thinner than one slice of 2 Å"):
        check_specimen(thin, 2.0)
    check_specimen(thin, 1.9)
