"""Lattice of one frame: recovery with calibrated uncertainty, noise, verdicts, what is refused."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import fft

from echolith.errors import BadInputError
from echolith.inverse.image_filters import background_subtracted
from echolith.inverse.lattice import LatticeSearch, Verdict, recover_lattice
from echolith.inverse.lattice_detection import noise_power, windows
from echolith.zone_axes import Zone, rotation_period
from tests.inverse.dome_lattice import LI110, PIXEL, SHAPE, lattice, movie


@pytest.mark.parametrize("zone", [(0, 0, 1), (1, 1, 0), (1, 1, 1)])
def test_spacing_and_rotation_come_back_with_the_uncertainty_they_have(zone: Zone) -> None:
    draw = np.random.default_rng(sum(zone))
    pulls = []
    for seed in range(8):
        spacing, rotation = LI110 * draw.uniform(0.98, 1.02), draw.uniform(0, 180)
        image = movie(0.9 * lattice(zone, spacing, rotation), seed=seed)
        found = recover_lattice(image)
        assert found.attrs["verdict"] == Verdict.LATTICE.value
        assert tuple(found["zone_axis"].values) == zone
        away = float(found["rotation"]) - rotation
        away -= rotation_period(zone) * np.rint(away / rotation_period(zone))
        pulls += [
            (float(found["spacing"]) - spacing) / float(found["spacing_std"]),
            away / float(found["rotation_std"]),
        ]
    # The standard deviation of 16 pulls is 1 within 1 / sqrt(32); 4 of these.
    assert 1 - 4 / np.sqrt(32) < np.sqrt(np.mean(np.square(pulls))) < 1 + 4 / np.sqrt(32)
    assert abs(np.mean(pulls)) < 4 / np.sqrt(len(pulls))


def rings(seed: int) -> Any:
    """Speckle of an amorphous film seen by a camera that blurs."""
    ky, kx = fft.fftfreq(SHAPE[0], PIXEL)[:, None], fft.fftfreq(SHAPE[1], PIXEL)
    k = np.hypot(ky, kx)
    shape = np.exp(-0.5 * ((k - 0.4) / 0.08) ** 2) + np.exp(-0.5 * ((k - 0.75) / 0.1) ** 2)
    noise = np.random.default_rng(seed).standard_normal(SHAPE)
    film = fft.ifft2(fft.fft2(noise) * shape * np.exp(-2 * k**2)).real
    return 0.3 * film / film.std()


@pytest.mark.parametrize("carbon", [False, True])
def test_noise_is_no_lattice(carbon: bool) -> None:
    probabilities = []
    for seed in range(12):
        found = recover_lattice(movie(rings(seed) if carbon else 0 * rings(0), seed=seed))
        probabilities.append(float(found["noise_probability"]))
        assert "spacing" not in found or probabilities[-1] <= 0.01
    # A bound on a probability: below p at most as often as p.
    assert np.sum(np.array(probabilities) <= 0.2) <= 7
    assert np.sum(np.array(probabilities) <= 0.01) <= 1


def test_background_subtraction_alone_finds_a_lattice_in_noise() -> None:
    image = movie(0 * rings(0), seed=3)
    counts = image["counts"].values[0].astype(float)
    filtered = np.abs(fft.fft2(background_subtracted(counts) - counts.mean()))
    # Its spectrum has peaks of five times the average amplitude, which looks like a lattice ...
    assert filtered.max() > 5 * filtered.mean()
    assert recover_lattice(image).attrs["verdict"] == Verdict.NOT_DETECTED.value


def test_two_lattices_are_told_and_one_strong_lattice_is_one() -> None:
    zone = (1, 1, 1)
    strong = movie(0.9 * lattice(zone, LI110, 10.0), seed=1, electrons=200)
    assert recover_lattice(strong).attrs["verdict"] == Verdict.LATTICE.value
    both = 0.7 * lattice(zone, LI110, 10.0) + 0.7 * lattice(zone, LI110, 33.0)
    found = recover_lattice(movie(both, seed=1, electrons=40))
    assert found.attrs["verdict"] == Verdict.OVERLAPPING.value
    assert "spacing" not in found
    assert "second lattice" in found.attrs["undetermined"]


def test_windows_cover_the_frame() -> None:
    groups = list(windows((100, 60), 1.0, smallest=15.0))
    assert len(groups) == 4
    y, x = np.mgrid[0:100, 0:60]
    for group in groups:
        away = [np.hypot(y - w.centre[0], x - w.centre[1]) / w.radius for w in group]
        assert np.min(away, axis=0).max() < 1


def test_the_power_of_noise_is_told_beside_a_lattice() -> None:
    noisy = movie(0.7 * lattice((1, 1, 1), LI110, 5.0), seed=0)["counts"].values[0]
    radii, power = noise_power(noisy.astype(float), PIXEL)
    # The variance of counts is their mean. 2000 independent values; a median has 1.2 times the
    # spread of a mean.
    found = power[radii > 0.2].mean()
    assert found == pytest.approx(noisy.mean(), rel=4 * 1.2 / np.sqrt(2000))


def test_frames_that_hold_no_image_are_not_determined() -> None:
    good = movie(0.9 * lattice((1, 1, 1), LI110, 10.0), seed=0, electrons=40)
    clipped = good.assign(counts=np.minimum(good.counts, 41))
    cases = {
        Verdict.BLANK: (0 * good.counts, "every pixel holds 0"),
        Verdict.SATURATED: (clipped.counts, "the detector saturates"),
    }
    for verdict, (counts, why) in cases.items():
        found = recover_lattice(good.assign(counts=counts))
        assert found.attrs["verdict"] == verdict.value
        assert why in found.attrs["undetermined"]
        assert "spacing" not in found
        assert float(found["noise_probability"]) == 1


def test_what_is_no_frame_is_refused() -> None:
    good = movie(0 * rings(0), seed=0)
    wrong = {
        "not finite": good.assign(counts=good.counts.where(good.counts != good.counts.max())),
        "expected a movie": good.drop_vars("counts"),
        "attribute 'hrtem'": xr.Dataset(good.data_vars),
    }
    for message, bad in wrong.items():
        with pytest.raises(BadInputError, match=message):
            recover_lattice(bad)
    with pytest.raises(BadInputError, match="counted from 0"):
        recover_lattice(good, options=LatticeSearch(frame=3))
    with pytest.raises(ValueError, match="zone_axis"):
        LatticeSearch(zone_axes=((0, 0, 0),))
