from collections.abc import Sequence

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.structures.convex_bodies import PlacedBody
from echolith.structures.delithiation_fields import Delithiation, delithiation_field
from echolith.structures.phosphate_plates import PhosphateSpecimen, Plate, plate_body
from echolith.structures.phosphate_raster import true_volume
from echolith.validation.phosphate_strategies import phosphate_specimens

FIELD = 5040.0
"""Å; holds every specimen that the strategy draws."""


def one_plate(*, centre: tuple[float, float, float], kind: Delithiation) -> PhosphateSpecimen:
    """A box of 400 x 600 x 200 Å along x, y, z."""
    body = plate_body(length=600, width=400, thickness=200, corner=0, bevel=0)
    field = delithiation_field(body, kind=kind, mean=0.4, draw=np.random.default_rng(1))
    # a to x, b to z, c to -y.
    turned = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    placed = PlacedBody(body=body, centre=np.array(centre), rotation=turned)
    return PhosphateSpecimen(plates=(Plate(placed=placed, field=field, kind=kind),))


def on_voxels(specimen: PhosphateSpecimen, voxel: float, rays: int = 3) -> xr.Dataset:
    count = int(FIELD / voxel)
    return true_volume(specimen, voxel, (count, count, count), rays=rays)


def volume_error(bodies: Sequence[PlacedBody], spacing: float) -> float:
    """Bound on the volume that parallel rays along z miss, Å³.

    Half a spacing times the variation of the chord length: faces by how far they are upright.
    """
    upright = [
        float(b.body.face_areas @ np.hypot(*(b.body.normals @ b.rotation.T)[:, :2].T))
        for b in bodies
    ]
    return spacing / 2 * sum(upright)


@given(specimen=phosphate_specimens(), voxel=st.sampled_from([63.0, 84.0, 120.0]))
def test_volume_and_iron_are_conserved_whatever_the_orientation(
    specimen: PhosphateSpecimen, voxel: float
) -> None:
    volume = on_voxels(specimen, voxel, rays=8)
    truth = specimen.particles()
    error = volume_error([plate.placed for plate in specimen.plates], voxel / 8)
    phosphate = float(volume.density.sum(dtype=float)) * voxel**3
    reacted = float((volume.density * volume.composition).sum(dtype=float)) * voxel**3
    all_of_it = float(truth.volume.sum())
    # What two bodies share counts once.
    assert phosphate < all_of_it + error
    if not any(specimen.overlaps):
        assert abs(phosphate - all_of_it) < error
        assert abs(reacted - float(truth.volume @ truth.composition)) < error
        binder = float(volume.binder.sum(dtype=float)) * voxel**3
        missed = volume_error(specimen.binder, voxel / 8)
        assert abs(binder - sum(body.body.volume for body in specimen.binder)) <= missed
    assert float((volume.density + volume.binder).max()) < 1 + 1e-4
    inside = volume.density.values > 0
    assert volume.composition.values[inside].min() > 0.07 - 1e-4
    assert volume.composition.values[inside].max() < 0.98 + 1e-4
    assert (volume.composition.values[~inside] == 0).all()
    assert (volume.particle.values[~inside] == 0).all()


@given(specimen=phosphate_specimens(most=2))
def test_a_coarse_raster_is_the_mean_of_a_fine_one(specimen: PhosphateSpecimen) -> None:
    # 4 rays in a voxel of 120 Å are 2 rays in one of 60 Å, so nothing but rounding may differ;
    # along z compositions are read at other points, which shows where they have a kink.
    coarse, fine = on_voxels(specimen, 120.0, rays=4), on_voxels(specimen, 60.0, rays=2)
    density = fine.density.coarsen(z=2, y=2, x=2).mean().values
    assert np.allclose(coarse.density, density, atol=1e-5)
    reacted = (fine.density * fine.composition).coarsen(z=2, y=2, x=2).mean().values
    ours = (coarse.density * coarse.composition).values
    assert np.allclose(ours, reacted, atol=1e-3)
    assert abs(ours.sum() - reacted.sum()) < 2e-4 * reacted.sum() + 1e-3
    volume = on_voxels(specimen, 120.0, rays=1).density.values
    assert np.abs(volume - density).mean() < 0.01


@given(
    centre=st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9)),
    kind=st.sampled_from(Delithiation),
)
def test_a_box_lies_in_its_voxels_and_nowhere_else(
    centre: tuple[int, int, int], kind: Delithiation
) -> None:
    # Box of 10 x 15 x 5 voxels of 40 Å, its middle moved by whole and half voxels.
    x, y, z = (20.0 * c for c in centre)
    specimen = one_plate(centre=(x, y, z), kind=kind)
    volume = true_volume(specimen, 40.0, (20, 30, 40), rays=2)

    def part(dim: str, middle: float, size: float) -> xr.DataArray:
        edges = volume[dim] - middle
        inside = np.minimum(edges + 20, size / 2) - np.maximum(edges - 20, -size / 2)
        return xr.DataArray(inside).clip(0) / 40

    expected = part("z", z, 200) * part("y", y, 600) * part("x", x, 400)
    assert np.allclose(volume.density, expected.transpose("z", "y", "x"), atol=1e-5)


def test_compositions_are_those_at_points_of_small_voxels() -> None:
    for kind in Delithiation:
        specimen = one_plate(centre=(33.0, -41.0, 17.0), kind=kind)
        volume = true_volume(specimen, 10.0, (30, 70, 50), rays=2)
        z, y, x = (c.values for c in xr.broadcast(volume.z, volume.y, volume.x))
        points = np.stack([x, y, z], axis=-1)
        whole = volume.density.values > 0.999
        away = np.abs(volume.composition.values - specimen.composition(points))[whole]
        # The steepest slope of a front of 60 Å is 0.0167 per Å; by a kink of tau, as at a seed, a
        # voxel of 10 Å differs from its middle by up to 4 Å of it.
        assert away.max() < 0.067
        assert away.mean() < 2e-3


@settings(max_examples=12)
@given(specimen=phosphate_specimens(most=3), seed=st.integers(0, 2**16))
def test_voxels_hold_what_points_in_them_say_also_where_plates_overlap(
    specimen: PhosphateSpecimen, seed: int
) -> None:
    volume = on_voxels(specimen, 45.0, rays=2)
    edges = np.abs(volume.density.values - 0.5) < 0.499
    mixed = np.abs(volume.binder.values - 0.5) < 0.499
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(~edges & ~mixed))
    filled = chosen[(volume.density.values + volume.binder.values).ravel()[chosen] > 0.9][:3000]
    picked = np.unravel_index(np.append(filled, chosen[:1000]), volume.density.shape)
    points = np.stack(
        [volume[dim].values[i] for dim, i in zip("xyz", picked[::-1], strict=True)], axis=-1
    )
    # A corner may reach into a voxel between its four rays.
    same = volume.density.values[picked].round() == specimen.density(points)
    assert same.mean() > 0.998
    here = volume.density.values[picked] > 0.9
    owner = specimen.owner(points[here]) + 1
    # Where two plates meet a voxel may be full and yet of both.
    assert (volume.particle.values[picked][here] == owner).mean() > 0.97
    away = np.abs(volume.composition.values[picked] - specimen.composition(points))[here]
    # A logistic front of 60 Å curves by 4.3e-4 per Å² at most, so that the mean over a voxel of
    # 45 Å is up to 0.036 from its middle; fronts may fill a whole plate of cores and shells, where
    # facets meet the composition has an edge, but not in half of the voxels.
    assert np.median(away) < 0.036


@given(specimen=phosphate_specimens(most=3))
def test_particles_lie_where_the_truth_says(specimen: PhosphateSpecimen) -> None:
    truth = specimen.particles()
    volume = on_voxels(specimen, 60.0)
    for index, plate in enumerate(specimen.plates):
        here = volume.density.where(volume.particle == index + 1, 0.0)
        if any(index in of for of in specimen.overlaps) or specimen.overlaps[index]:
            continue
        centre = [float((here * here[axis]).sum() / here.sum()) for axis in "xyz"]
        # Voxels at a contact belong to one plate only.
        assert np.allclose(centre, truth.centre[index], atol=20)
        assert np.isclose(float(here.sum()) * 60.0**3, plate.volume, rtol=0.1)


@pytest.mark.parametrize(
    ("voxel", "shape", "rays", "message"),
    [
        (0.0, (4, 4, 4), 3, "voxel = 0 Å"),
        (60.0, (4, 4), 3, "three numbers of voxels"),
        (60.0, (4, 4, 4), 0, "rays = 0"),
    ],
)
def test_impossible_rasters_are_refused(
    voxel: float, shape: tuple[int, ...], rays: int, message: str
) -> None:
    specimen = one_plate(centre=(0, 0, 0), kind=Delithiation.FRONT)
    with pytest.raises(BadInputError, match=message):
        true_volume(specimen, voxel, shape, rays=rays)  # type: ignore[arg-type]
