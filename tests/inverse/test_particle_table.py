"""The table of particles against analytic plates: sizes, attitude, chemistry, uncertainties."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.inverse.particle_borders import border_faces
from echolith.inverse.particle_segmentation import segment_particles
from echolith.inverse.particle_table import ParticleTableOptions, particle_table
from echolith.structures.delithiation_fields import Delithiation
from echolith.structures.phosphate_ensemble import PlateEnsemble, phosphate_ensemble
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.structures.phosphate_raster import true_volume
from echolith.structures.plate_packing import PackingRegion

VOXEL = 67.0
SHAPE = (40, 42, 44)
COUNTING_ONLY = ParticleTableOptions(scale_error=0, composition_error=0, border=0)


def plate(seed: int, *, kind: Delithiation = Delithiation.SOLID_SOLUTION) -> PhosphateSpecimen:
    ensemble = PlateEnsemble(
        count=1,
        region=PackingRegion(height=2500.0, width=2500.0, depth=2500.0),
        facet_area=6e5,
        facet_spread=0.3,
        active_fraction=1.0,
        state_of_charge=0.4,
        kinds=(kind,),
        binder=0,
    )
    return phosphate_ensemble(ensemble, seed=seed)


def whole(volume: xr.Dataset) -> xr.DataArray:
    return (volume["density"] > 0.1).astype(np.int32)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16), kind=st.sampled_from(Delithiation))
def test_a_plate_on_voxels_has_its_own_sizes(seed: int, kind: Delithiation) -> None:
    """Thickness to 1 % though it is two to four voxels; the bevels lessen volume over thickness.

    A bevel of 40 % of the half thickness of the thickest and smallest plate takes 7 %.
    """
    specimen = plate(seed, kind=kind)
    volume = true_volume(specimen, VOXEL, SHAPE)
    truth, found = specimen.particles(), particle_table(volume, whole(volume))
    ratio = {name: float(found[name][0] / truth[name][0]) for name in ("volume", "thickness")}
    assert ratio == {name: pytest.approx(1, abs=0.01) for name in ratio}
    assert 0.93 < float(found.facet_area[0] / truth.facet_area[0]) < 1.01
    np.testing.assert_allclose(found.centre[0], truth.centre[0], atol=3.0)
    b = specimen.plates[0].placed.rotation[:, 1]
    assert abs(float(found.normal[0].values @ b)) > np.cos(np.deg2rad(2))
    assert float(found.composition[0]) == pytest.approx(float(truth.composition[0]), abs=0.01)
    assert float(found.phase_fraction.sum()) == pytest.approx(1)


def test_pulls_from_counting() -> None:
    """40 noisy draws each of two plates, all other parts of the uncertainty put to 0.

    Composition, volume: variance of the pulls 1 ± 4 sqrt(2 / 80).
    """
    pulls: dict[str, list[float]] = {"composition": [], "volume": []}
    for seed in (1, 2):
        volume = true_volume(plate(seed), VOXEL, SHAPE)
        labels, draw = whole(volume), np.random.default_rng(seed)
        exact = particle_table(volume, labels, options=COUNTING_ONLY)
        volume["density_std"] = xr.full_like(volume.density, 0.03)
        volume["composition_std"] = xr.full_like(volume.density, 0.06)
        for _ in range(40):
            noisy = volume.assign(
                density=volume.density + draw.normal(0, 0.03, SHAPE),
                composition=volume.composition + draw.normal(0, 0.06, SHAPE),
            )
            found = particle_table(noisy, labels, options=COUNTING_ONLY)
            for name, values in pulls.items():
                error = float(found[name][0] - exact[name][0])
                values.append(error / float(found[f"{name}_std"][0]))
    for name, values in pulls.items():
        assert np.square(values).mean() == pytest.approx(1, abs=0.63), name


def test_what_has_no_composition_is_guessed_and_said() -> None:
    """Core and shell differ: without the rim the mean is off, and its uncertainty says so.

    The rim is taken for a draw of what is known; a shell is the worst case, all on one side.
    """
    specimen = plate(3, kind=Delithiation.CORE_SHELL)
    volume = true_volume(specimen, VOXEL, SHAPE)
    cut = volume.assign(composition=volume.composition.where(volume.density > 0.6))
    found = particle_table(cut, whole(volume), options=COUNTING_ONLY)
    error = abs(float(found.composition[0] - specimen.particles().composition[0]))
    assert 0.01 < error < 3 * float(found.composition_std[0]) < 0.2
    nothing = volume.assign(composition=volume.composition * np.nan)
    found = particle_table(nothing, whole(volume))
    assert np.isnan(found.composition).all()
    assert np.isinf(found.composition_std).all()


def boxes(*heights: float) -> tuple[xr.Dataset, xr.DataArray]:
    """Return two boxes of 4 x 10 x 10 voxels on each other, with these compositions."""
    axes = {dim: (dim, (np.arange(20) - 9.5) * 10.0) for dim in "zyx"}
    labels = xr.DataArray(np.zeros((20, 20, 20), dtype=np.int32), dims=tuple("zyx"), coords=axes)
    labels[4:8, 5:15, 5:15] = 1
    labels[8:12, 5:15, 5:15] = 2
    composition = heights[0] + (heights[1] - heights[0]) * (labels == 2)
    volume = xr.Dataset({"density": (labels > 0).astype(float), "composition": composition})
    return volume, labels


@given(border=st.floats(0, 2), low=st.floats(0, 0.2), high=st.floats(0.8, 1))
def test_a_border_that_may_lie_elsewhere(border: float, low: float, high: float) -> None:
    """100 faces of 400 voxels: moved by a voxel, a quarter of the volume changes sides."""
    volume, labels = boxes(low, high)
    options = ParticleTableOptions(border=border, scale_error=0, composition_error=0, rim=0)
    found = particle_table(volume, labels, options=options)
    expected = {
        "volume": 400e3 * border / 4,
        "facet_area": 10e3 * border / 4,
        "composition": (high - low) * border / 4,
    }
    for name, std in expected.items():
        np.testing.assert_allclose(found[f"{name}_std"], std, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.thickness, 40)
    np.testing.assert_allclose(found.facet_area, 10e3)
    np.testing.assert_allclose(found.phase_fraction, [[1, 0, 0], [0, 0, 1]])


def test_faces_are_counted_along_every_axis() -> None:
    _, labels = boxes(0, 1)
    assert border_faces(labels.values) == {(1, 2): 100}
    draw = np.random.default_rng(0)
    numbers = draw.integers(0, 4, (5, 6, 7)).astype(np.int32)
    slow: dict[tuple[int, int], int] = {}
    for place in np.ndindex(numbers.shape):
        for axis in range(3):
            other = tuple(np.add(place, np.eye(3, dtype=int)[axis]).tolist())
            if other[axis] < numbers.shape[axis]:
                pair = sorted((int(numbers[place]), int(numbers[other])))
                if 0 < pair[0] < pair[1]:
                    slow[pair[0], pair[1]] = slow.get((pair[0], pair[1]), 0) + 1
    assert border_faces(numbers) == slow


def test_no_particles_give_an_empty_table() -> None:
    volume, labels = boxes(0, 1)
    found = particle_table(volume, labels * 0)
    assert found.sizes["particle"] == 0
    assert found.volume.attrs["units"] == "Å³"


def test_bad_input_is_refused() -> None:
    volume, labels = boxes(0, 1)
    with pytest.raises(BadInputError, match="holds density; expected density and composition"):
        particle_table(volume[["density"]], labels)
    with pytest.raises(BadInputError, match="expected the labels that segment_particles gives"):
        particle_table(volume, labels.isel(z=slice(5)))
    for bad in (volume.drop_vars("z"), volume.assign_coords(z=volume.z * 2)):
        with pytest.raises(BadInputError, match="voxels are not equal cubes"):
            particle_table(bad, labels)


def test_touching_plates_keep_their_sizes() -> None:
    """Segmented, with noise: sizes within 4 of their own uncertainties."""
    ensemble = PlateEnsemble(
        count=3,
        region=PackingRegion(height=2500.0, width=2500.0, depth=2500.0),
        facet_area=5e5,
        facet_spread=0.2,
        touching=1.0,
        active_fraction=1.0,
        state_of_charge=0.5,
        binder=0,
    )
    specimen = phosphate_ensemble(ensemble, seed=4)
    volume = true_volume(specimen, VOXEL, SHAPE)
    draw = np.random.default_rng(4)
    noisy = volume.assign(density=volume.density + draw.normal(0, 0.02, SHAPE))
    labels = segment_particles(noisy)
    found, truth = particle_table(noisy, labels), specimen.particles()
    assert found.sizes["particle"] == 3
    for n in range(3):
        away = np.linalg.norm(truth.centre.values - found.centre.values[n], axis=1)
        true = truth.isel(particle=int(away.argmin()))
        for name in ("volume", "thickness", "facet_area", "composition"):
            pull = (float(found[name][n]) - float(true[name])) / float(found[f"{name}_std"][n])
            assert abs(pull) < 4, name
