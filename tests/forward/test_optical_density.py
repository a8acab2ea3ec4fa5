import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.noise import PoissonCounting
from echolith.forward.optical_density import PixelMean, projected_counts, spectral_stack
from echolith.forward.phosphate_paths import View, pixel_means, ray_paths
from echolith.forward.projection import project, system_matrix
from echolith.forward.tilt_placement import UNITS, TiltJitter, tilt_placement
from echolith.forward.tilts import Tilts
from echolith.forward.xray_absorption import ENERGIES, optical_constants
from echolith.structures.body_rays import packed_bodies
from echolith.structures.phosphate_ensemble import PlateEnsemble, phosphate_ensemble
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.structures.phosphate_raster import true_volume
from echolith.structures.plate_packing import PackingRegion
from echolith.validation.phosphate_strategies import phosphate_specimens, views

PIXEL = 80.0
SHAPE = (78, 84)
"""Holds every specimen that the strategy draws, in every view."""

SPECIMEN = phosphate_ensemble(
    PlateEnsemble(
        count=5,
        binder=2,
        region=PackingRegion(height=4000, width=4500, depth=3000),
        state_of_charge=0.3,
        active_fraction=0.6,
    ),
    seed=4,
)
SMALL = (60, 70)
TILTS = Tilts(angles=(-80.0, -31.0, 0.0, 12.0, 77.0), voxel_size=PIXEL)


def totals(specimen: PhosphateSpecimen) -> np.ndarray:
    """Volumes of LiFePO4, FePO4 and binder, Å³."""
    truth = specimen.particles()
    reacted = float(truth.volume @ truth.composition)
    binder = sum(body.body.volume for body in specimen.binder)
    return np.array([float(truth.volume.sum()) - reacted, reacted, binder])


@given(specimen=phosphate_specimens(), view=views(), rays=st.sampled_from([3, 6, 9]))
def test_every_projection_holds_the_whole_volume(
    specimen: PhosphateSpecimen, view: View, rays: int
) -> None:
    bodies = packed_bodies(specimen)
    paths = ray_paths(bodies, view, shape=SHAPE, pixel_size=PIXEL, rays=rays)
    found = pixel_means(paths, rays).sum(axis=(1, 2), dtype=float) * PIXEL**2 / view.scale**2
    expected = totals(specimen)
    # Half a spacing times the variation of the chord length: faces by how far along the beam.
    beam = view.axes()[2]
    across = [
        b.body.face_areas @ np.sqrt(1 - (b.body.normals @ b.rotation.T @ beam).clip(-1, 1) ** 2)
        for b in specimen.bodies
    ]
    error = PIXEL / rays / view.scale / 2 * float(np.sum(across))
    assert found.sum() < expected.sum() + error
    if not any(specimen.overlaps):
        assert np.allclose(found, expected, atol=error, rtol=0)


def test_mass_is_kept_to_a_thousandth_at_most_tilts() -> None:
    bodies, expected = packed_bodies(SPECIMEN), totals(SPECIMEN)
    found = [
        ray_paths(bodies, View(tilt=tilt), shape=SMALL, pixel_size=PIXEL).sum(axis=(1, 2))
        for tilt in np.arange(-80.0, 78.0, 7.0)
    ]
    away = np.array(found) * (PIXEL / 3) ** 2 / expected - 1
    # Rays 27 Å apart; ends of rows of rays are as good as random where no face is along a row.
    assert np.abs(away.mean(axis=0)).max() < 1e-3
    assert np.sqrt((away**2).mean()) < 4e-3


@given(specimen=phosphate_specimens(most=3), view=views())
def test_the_middle_of_mass_appears_where_the_view_puts_it(
    specimen: PhosphateSpecimen, view: View
) -> None:
    if any(specimen.overlaps) or specimen.binder:
        return
    truth = specimen.particles()
    x, y, z = (truth.volume.values @ truth.centre.values / truth.volume.values.sum()).tolist()
    # The frames of the project, written out; no code of the simulator.
    t, a, r = np.deg2rad([view.tilt, view.axis_tilt, view.rotation])
    s = x * np.cos(t) + z * np.sin(t)
    s, h = s * np.cos(a) - y * np.sin(a) + view.axis_offset, s * np.sin(a) + y * np.cos(a)
    s, h = s * np.cos(r) - h * np.sin(r), s * np.sin(r) + h * np.cos(r)
    expected = [view.scale * s + view.shift_x, view.scale * h + view.shift_y]
    paths = ray_paths(packed_bodies(specimen), view, shape=SHAPE, pixel_size=PIXEL)
    image = pixel_means(paths, 3).sum(axis=0, dtype=float)
    rows, columns = ((np.arange(n) - (n - 1) / 2) * PIXEL for n in SHAPE)
    found = [image.sum(axis=0) @ columns, image.sum(axis=1) @ rows] / image.sum()
    assert np.allclose(found, expected, atol=5)


@given(specimen=phosphate_specimens(most=3))
def test_at_tilt_zero_a_projection_is_the_sum_of_the_true_volume(
    specimen: PhosphateSpecimen,
) -> None:
    voxel, count = 100.0, 50
    volume = true_volume(specimen, voxel, (count, count, count), rays=4)
    paths = ray_paths(
        packed_bodies(specimen), View(tilt=0.0), shape=(count, count), pixel_size=voxel, rays=4
    )
    lithiated, reacted, binder = pixel_means(paths, 4)
    # The same rays; rounding, and a ray along a face, may differ.
    for found, expected, error in (
        (lithiated + reacted, volume.density, 0.05),
        (reacted, volume.density * volume.composition, 0.2),
        (binder, volume.binder, 0.05),
    ):
        away = np.abs(found - voxel * expected.sum("z").values)
        assert (away < error).mean() > 0.999


def test_voxel_projector_and_rays_agree() -> None:
    energy, voxel = ENERGIES[:1], 40.0
    series = Tilts(angles=(-62.0, -20.0, 7.0, 45.0), voxel_size=voxel, axis_offset=25.0)
    counts = projected_counts(
        SPECIMEN, tilts=series, energies=energy, shape=(110, 130), incident=10**6
    ).counts[0]
    volume = true_volume(SPECIMEN, voxel, (130, 110, 130))
    mu = optical_constants(energy).absorption.values[:, 0]
    x = volume.composition.values
    absorption = volume.density.values * (mu[0] + x * (mu[1] - mu[0]))
    absorption = absorption + mu[2] * volume.binder.values
    matrix = system_matrix(series, shape=(130, 130))
    theirs = project(absorption, matrix)
    ours = -np.log(counts.values / 1e6)
    # Joseph's interpolation blurs by up to a voxel: edges differ, more so in a mean square.
    assert np.isclose(ours.sum(), theirs.sum(), rtol=2e-3)
    assert np.linalg.norm(ours - theirs) < 0.08 * np.linalg.norm(ours)
    shifted = np.linalg.norm(np.roll(ours, 1, axis=2) - theirs)
    assert np.linalg.norm(ours - theirs) < 0.5 * shifted


def test_counts_fall_as_beer_and_lambert_say() -> None:
    measurement = projected_counts(SPECIMEN, tilts=TILTS, shape=SMALL, incident=5000)
    assert measurement.counts.dims == ("energy", "tilt", "y", "x")
    assert measurement.counts.dtype == np.float32
    density = -np.log(measurement.counts / measurement.incident)
    mu = optical_constants().absorption.transpose("energy", "species").values
    expected = mu @ totals(SPECIMEN) / PIXEL**2
    found = density.sum(("y", "x")).values
    assert np.allclose(found, expected[:, None], rtol=0.01)
    # Nothing of the specimen at the border: every photon arrives.
    assert (measurement.counts[..., 0] == 5000).all()


@given(tilt=st.floats(-90, 90))
def test_a_stack_is_a_tilt_at_more_energies(tilt: float) -> None:
    energies = (700.0, 708.2, 710.2, 730.0)
    stack = spectral_stack(
        SPECIMEN, energies=energies, tilt=tilt, pixel_size=PIXEL, shape=SMALL, rays=2
    )
    pair = Tilts(angles=(tilt, tilt + 1), voxel_size=PIXEL)
    series = projected_counts(SPECIMEN, tilts=pair, energies=energies[1:3], shape=SMALL, rays=2)
    assert np.allclose(stack.counts[1:3], series.counts[:, 0], rtol=1e-6)
    # Every pixel's spectrum is a sum of those of the three species.
    spectra = optical_constants(energies).absorption.values
    density = -np.log(stack.counts / stack.incident).values.reshape(len(energies), -1)
    left = np.linalg.lstsq(spectra.T, density, rcond=None)[0]
    assert np.abs(spectra.T @ left - density).max() < 1e-4


def test_the_mean_transmission_is_never_below_that_of_the_mean_density() -> None:
    linear, camera = (
        projected_counts(SPECIMEN, tilts=TILTS, shape=SMALL, pixel_mean=mean).counts.values
        for mean in (PixelMean.OPTICAL_DENSITY, PixelMean.TRANSMISSION)
    )
    assert (camera >= linear * (1 - 1e-5)).all()
    assert (camera > 1.05 * linear).any()


def test_tilts_are_lazy_and_do_not_depend_on_the_others() -> None:
    whole = projected_counts(SPECIMEN, tilts=TILTS, shape=SMALL)
    assert whole.counts.chunks is not None
    assert whole.counts.chunks[1] == (1, 1, 1, 1, 1)
    two = TILTS.model_copy(update={"angles": TILTS.angles[1:3]})
    part = projected_counts(SPECIMEN, tilts=two, energies=(710.2,), shape=SMALL)
    assert np.array_equal(whole.counts[1:, 1:3].values, part.counts.values)


def test_counting_noise_leaves_the_incident_photons_alone() -> None:
    mean = projected_counts(SPECIMEN, tilts=TILTS, shape=SMALL, incident=400)
    drawn = PoissonCounting().sample(mean, seed=3)
    assert int(drawn.incident) == 400
    # Five tilts at two energies: the sum is Poisson, its deviation within 4 sigma.
    total = float(mean.counts.sum())
    assert abs(float(drawn.counts.sum()) - total) < 4 * np.sqrt(total)


@given(jitter=st.sampled_from([0.0, 250.0]), each=st.booleans(), seed=st.integers(0, 999))
def test_jitter_stays_within_its_bounds_and_with_its_index(
    jitter: float, each: bool, seed: int
) -> None:
    settings = TiltJitter(
        shift=jitter, rotation=0.5, scale=0.01, axis_offset=30, axis_tilt=0.2, each_energy=each
    )
    placement = tilt_placement(TILTS, settings, energies=ENERGIES, seed=seed)
    assert set(UNITS) == set(placement.data_vars)
    assert float(np.abs(placement.shift_x).max()) <= jitter
    assert float(np.abs(placement.rotation).max()) <= 0.5
    assert float(np.abs(placement.scale - 1).max()) <= 0.01
    assert float(placement.axis_offset) == 30
    same = np.array_equal(placement.rotation[0], placement.rotation[1])
    assert same != each
    first = TILTS.model_copy(update={"angles": TILTS.angles[:2]})
    shorter = tilt_placement(first, settings, energies=ENERGIES, seed=seed)
    assert np.array_equal(shorter.shift_y, placement.shift_y[:, :2])


def test_a_placement_moves_what_is_seen() -> None:
    placement = tilt_placement(TILTS, TiltJitter(), energies=ENERGIES)
    placement["shift_x"] = placement.shift_x + 3 * PIXEL
    placement["shift_y"] = placement.shift_y - 2 * PIXEL
    still = projected_counts(SPECIMEN, tilts=TILTS, shape=SMALL).counts.values
    moved = projected_counts(SPECIMEN, tilts=TILTS, shape=SMALL, placement=placement).counts.values
    # Whole pixels: rays are the same up to rounding, at a face by a ray.
    same = np.isclose(np.roll(still, (-2, 3), axis=(2, 3)), moved, rtol=1e-3)
    assert same.mean() > 0.999


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energies": ()}, "expected one or more"),
        ({"energies": (710.2, 710.2)}, "each once"),
        ({"energies": (0.7082,)}, "did you mean 708.2 eV"),
        ({"shape": (4, 0)}, "two numbers of pixels"),
        ({"incident": 0}, "incident = 0 photons"),
        ({"incident": 0.5}, "whole number"),
        ({"rays": 99}, "rays = 99"),
        ({"placement": xr.Dataset(coords={"tilt": [0.0]})}, "has 1 tilts, the series 5"),
    ],
)
def test_impossible_series_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        projected_counts(SPECIMEN, **{"tilts": TILTS, "shape": SMALL, **change})  # type: ignore[arg-type]


def test_a_stack_of_impossible_pixels_is_refused() -> None:
    with pytest.raises(BadInputError, match="pixel_size = 0 Å"):
        spectral_stack(SPECIMEN, energies=ENERGIES, pixel_size=0.0)


def test_a_placement_without_numbers_is_refused() -> None:
    placement = tilt_placement(TILTS, TiltJitter(), energies=ENERGIES)
    with pytest.raises(BadInputError, match=r"scale = 0 1 at tilt 0; .* above 0"):
        projected_counts(
            SPECIMEN, tilts=TILTS, placement=placement.assign(scale=placement.scale * 0)
        )
