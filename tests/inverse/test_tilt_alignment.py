"""Alignment of a tilt series: spheres in closed form, displaced, turned, scaled and counted."""

import numpy as np
import pytest
import xarray as xr

from echolith.errors import BadInputError, BadInputWarning
from echolith.inverse.tilt_alignment import AlignmentOptions, Freedom, align_tilts, aligned
from echolith.validation.tilt_gauge import specimen_motion, standard_gauge
from tests.inverse.placed_spheres import SIZE, counted, placement, seen, spheres

N = 48
TILTS = np.arange(-80.0, 78.0, 2.0)
BODIES = spheres(N, 14, seed=3)
STRENGTHS = np.stack([np.ones(14), np.where(np.arange(14) % 3, 0.5, 2.0)])
"""Two kinds of spheres: what one energy shows strongly the other shows weakly."""
WHERE = placement(TILTS, 2, seed=4)
DATA = counted(seen(BODIES, STRENGTHS, WHERE, N), photons=400, seed=5)
FOUND = align_tilts(DATA)


@pytest.mark.parametrize(("name", "unit"), [("shift_x", SIZE), ("shift_y", SIZE)])
def test_shifts_are_found_within_what_they_state(name: str, unit: float) -> None:
    error = (standard_gauge(FOUND) - standard_gauge(WHERE))[name].values / unit
    # The target for noise of 400 photons; the start was 2.3 pixels off.
    assert np.sqrt((error**2).mean()) < 0.05
    pull = error / (FOUND[f"{name}_std"].values / unit)
    # 158 errors, some in common: 20 % around one, and stated uncertainties are no upper bounds.
    assert 0.65 < np.sqrt((pull**2).mean()) < 1.35


@pytest.mark.parametrize(("name", "drawn"), [("rotation", 0.173), ("scale", 0.00115)])
def test_rotation_and_scale_are_found(name: str, drawn: float) -> None:
    error = (standard_gauge(FOUND) - standard_gauge(WHERE))[name].values
    stated = FOUND[f"{name}_std"].values
    # Spheres turn only about each other: what is known is stated, and better than nothing is.
    assert np.sqrt(((error / stated) ** 2).mean()) < 1.5
    assert error.std() < 1.5 * np.sqrt((stated**2).mean())
    assert np.corrcoef(FOUND[name].values.ravel(), WHERE[name].values.ravel())[0, 1] > (
        0.5 * drawn / np.hypot(drawn, stated.mean())
    )


def test_the_axis_is_found() -> None:
    ours, truth = standard_gauge(FOUND), standard_gauge(WHERE)
    for name, target in (("axis_offset", 0.1 * SIZE), ("axis_tilt", 0.05)):
        error = abs(float(ours[name] - truth[name]))
        assert error < 4 * float(FOUND[f"{name}_std"])
        assert error < target


def test_both_energies_lie_in_one_frame() -> None:
    own = [specimen_motion(FOUND.isel(energy=[e]), WHERE.isel(energy=[e])) for e in range(2)]
    apart = np.array(own[1][:3]) - np.array(own[0][:3])
    assert np.abs(apart / SIZE).max() < 0.05
    assert abs(own[1].scale - own[0].scale) < 1e-3


def test_what_is_free_is_fixed_as_stated() -> None:
    fixed = standard_gauge(FOUND)
    for name in ("shift_x", "shift_y", "rotation", "scale", "axis_offset", "axis_tilt"):
        assert np.allclose(FOUND[name], fixed[name], atol=1e-6)
    assert FOUND.attrs["converged"] == 1


def test_aligned_images_are_those_of_a_series_without_jitter() -> None:
    still = WHERE.copy()
    for name, nothing in (("shift_x", 0.0), ("shift_y", 0.0), ("rotation", 0.0), ("scale", 1.0)):
        still[name] = xr.full_like(WHERE[name], nothing)
    still = still.assign(axis_offset=0.0, axis_tilt=0.0)
    ideal = seen(BODIES, STRENGTHS, still, N)
    moved = seen(BODIES, STRENGTHS, WHERE, N)
    warped = aligned(xr.Dataset({"optical_density": moved}), WHERE)["optical_density"]
    # Spheres end with a vertical slope: no interpolation follows it to better than a few percent.
    left, raw = (float(np.sqrt(((one - ideal) ** 2).mean())) for one in (warped, moved))
    assert left < 0.06 * float(ideal.std())
    assert left < 0.1 * raw


def test_noise_of_aligned_images_is_as_stated() -> None:
    empty = counted(seen(BODIES, 0 * STRENGTHS, WHERE, N), photons=400, seed=8)
    one = empty.isel(energy=[0])
    # An empty series is refused; with something in the middle the rest is noise.
    strong = one["counts"].copy()
    strong[..., 22:26, 22:26] = 100.0
    found = aligned(one.assign(counts=strong), WHERE.isel(energy=[0]))
    part = found.isel(y=slice(6, 14), x=slice(6, -6))
    stated = np.sqrt(float((part["optical_density_std"] ** 2).mean()))
    # Eight samples of a windowed sinc keep 0.91 of the variance of white noise along each axis on
    # average, and all of it at low frequencies, which is what is stated.
    assert 0.87 < float(part["optical_density"].std()) / stated < 0.96


def test_shifts_alone_leave_rotation_and_scale() -> None:
    where = placement(TILTS, 1, seed=14, turned=False)
    data = counted(seen(BODIES, STRENGTHS[:1], where, N), photons=400, seed=15).isel(energy=0)
    before = data.copy(deep=True)
    found = align_tilts(data, options=AlignmentOptions(freedom=Freedom.SHIFT), workers=1)
    assert data.identical(before)
    assert found["shift_x"].dims == ("tilt",)
    assert (found["scale"] == 1).all()
    assert (found["rotation"] == 0).all()
    error = standard_gauge(found)["shift_x"] - standard_gauge(where)["shift_x"].isel(energy=0)
    assert float(np.sqrt((error**2).mean())) / SIZE < 0.05
    again = align_tilts(data, options=AlignmentOptions(freedom=Freedom.SHIFT), workers=2)
    assert found.identical(again)


class TestBadInput:
    ONE = DATA.isel(energy=0)

    def test_too_few_tilts(self) -> None:
        with pytest.raises(BadInputError, match="5 tilts; expected 8 or more"):
            align_tilts(self.ONE.isel(tilt=slice(0, 5)))

    def test_projections_without_specimen(self) -> None:
        counts = self.ONE["counts"].copy()
        counts[17] = 400
        with pytest.raises(BadInputError, match=r"no specimen in 1 projections, .* tilt -46°"):
            align_tilts(self.ONE.assign(counts=counts))

    def test_a_specimen_that_left_the_field(self) -> None:
        counts = self.ONE["counts"].copy()
        counts[20, :, N // 2 :] = 400
        with pytest.warns(BadInputWarning, match="out of the field"):
            aligned(self.ONE.assign(counts=counts), WHERE.isel(energy=0))

    def test_images_that_were_aligned_already(self) -> None:
        with pytest.raises(BadInputError, match="have shift_x or axis_offset already"):
            align_tilts(self.ONE.assign(axis_offset=67.0))

    def test_missing_tilts(self) -> None:
        gone = np.arange(-20.0, 21.0, 2.0)
        with pytest.warns(BadInputWarning, match="no tilts between"):
            aligned(self.ONE.drop_sel(tilt=gone), WHERE.isel(energy=0).drop_sel(tilt=gone))

    def test_an_alignment_of_other_tilts(self) -> None:
        with pytest.raises(BadInputError, match="given for 78 tilts, the projections have 79"):
            aligned(self.ONE, WHERE.isel(energy=0, tilt=slice(1, None)))
