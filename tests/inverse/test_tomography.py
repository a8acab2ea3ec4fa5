"""Reconstruction of spheres of known projections by every algorithm; what is refused."""

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward import projection
from echolith.forward.tilts import Tilts
from echolith.inverse.tomography import reconstruct
from echolith.inverse.tomography_checks import check_rotation_sign
from echolith.inverse.tomography_options import Algorithm, TomographyOptions
from tests.inverse.sphere_projections import SIZE, counted, densities, error_of, series, truth_of

N, SLICES = 32, 20
TILTS = series(3.0)
PLAIN = TomographyOptions(draws=0)
TRUTH = truth_of(N, SLICES)


def exact(shift: float = 0.0, tilts: Tilts = TILTS) -> xr.Dataset:
    return xr.Dataset({"optical_density": densities(tilts, N, SLICES, shift)})


def with_noise(algorithm: Algorithm) -> TomographyOptions:
    return TomographyOptions(algorithm=algorithm, draws=0, iterations=30)


LIMITS = {
    # What these volumes allow: the faces of the spheres and the missing wedge.
    Algorithm.ART: 0.17,
    Algorithm.SART: 0.17,
    Algorithm.OS_SART: 0.17,
    Algorithm.SIRT: 0.25,
    Algorithm.CGLS: 0.30,
    Algorithm.TV: 0.17,
}


@pytest.mark.parametrize("algorithm", Algorithm)
def test_every_algorithm_finds_the_spheres(algorithm: Algorithm) -> None:
    data = counted(densities(TILTS, N, SLICES), photons=4e4, seed=1)
    found = reconstruct(data, options=PLAIN.model_copy(update={"algorithm": algorithm}))
    volume = found["absorption"]
    assert volume.dims == ("z", "y", "x")
    assert error_of(volume, TRUTH) < LIMITS[algorithm]
    # Any flip is worse by far.
    for axis in range(3):
        assert error_of(np.flip(volume.values, axis), TRUTH) > 0.8
    # Absorption, not density per voxel: the middle of the first sphere.
    assert float(volume.max()) == pytest.approx(TRUTH.max(), rel=0.5)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_slices_without_specimen_are_zero(algorithm: Algorithm) -> None:
    nothing = exact() * 0
    nothing["optical_density_std"] = nothing["optical_density"] + 0.05
    found = reconstruct(nothing, options=with_noise(algorithm))
    assert not found["absorption"].values.any()
    some = exact()
    some["optical_density"][:, :4] = 0
    some["optical_density_std"] = xr.full_like(some["optical_density"], 0.01)
    found = reconstruct(some, options=with_noise(algorithm).model_copy(update={"draws": 1}))
    assert np.isfinite(found["absorption"]).all()
    assert np.isfinite(found["absorption_std"]).all()
    if algorithm is not Algorithm.TV:  # which lets neighbouring slices know of each other
        assert not found["absorption"][:, :4].values.any()


def test_counts_and_densities_of_each_energy_give_the_same() -> None:
    density = densities(TILTS, N, SLICES)
    means = xr.Dataset({"counts": 1e4 * np.exp(-density), "incident": 1e4})
    both = xr.concat([means, means], "energy").assign_coords(energy=[708.2, 710.2])
    options = PLAIN.model_copy(update={"iterations": 2})
    found = reconstruct(both, options=options)
    assert found["absorption"].dims == ("energy", "z", "y", "x")
    assert found["energy"].values.tolist() == [708.2, 710.2]
    known = density.to_dataset(name="optical_density")
    known["optical_density_std"] = 1 / np.sqrt(1e4 * np.exp(-density))
    alone = reconstruct(known, options=options)["absorption"].values
    for volume in found["absorption"].values:
        np.testing.assert_allclose(volume, alone, atol=1e-4 * alone.max())


def test_a_stated_shift_and_offset_are_taken_back() -> None:
    moved = TILTS.model_copy(update={"axis_offset": 1.3 * SIZE})
    shift = np.random.default_rng(0).normal(0, 1.5 * SIZE, len(TILTS.angles))
    data = xr.Dataset({"optical_density": densities(moved, N, SLICES, shift)})
    good = data.assign(shift_x=("tilt", shift), axis_offset=1.3 * SIZE)
    straight = error_of(reconstruct(exact())["absorption"], TRUTH)
    assert error_of(reconstruct(good)["absorption"], TRUTH) < 1.1 * straight
    assert error_of(reconstruct(data)["absorption"], TRUTH) > 3 * straight


def test_a_start_is_gone_on_from() -> None:
    quick = PLAIN.model_copy(update={"iterations": 2})
    first = reconstruct(exact(), options=quick)["absorption"]
    second = reconstruct(exact(), options=quick, start=first)["absorption"]
    whole = reconstruct(exact(), options=PLAIN.model_copy(update={"iterations": 4}))["absorption"]
    np.testing.assert_array_equal(second, whole)


def test_neither_slabs_nor_workers_change_the_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    data = counted(densities(TILTS, N, SLICES), photons=400, seed=3)
    options = TomographyOptions(iterations=3, draws=1)
    before = data.copy(deep=True)
    whole = reconstruct(data, options=options, workers=1)
    monkeypatch.setattr(projection, "SLAB_BYTES", 0)
    cut = reconstruct(data, options=options, workers=1)
    for name in ("absorption", "absorption_std"):
        scale = float(whole[name].max())
        np.testing.assert_allclose(cut[name], whole[name], atol=1e-5 * scale)
    assert cut.identical(reconstruct(data, options=options, workers=2))
    assert data.identical(before)


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    reconstruct(exact(), options=PLAIN, progress=lambda done, of: told.append((done, of)))
    assert told[-1] == (20, 20)


def test_the_wrong_sign_of_rotation_is_noticed_beside_a_reference() -> None:
    right = reconstruct(exact(), options=PLAIN)["absorption"]
    negated = exact().assign_coords(tilt=-np.array(TILTS.angles))
    wrong = reconstruct(negated, options=PLAIN)["absorption"]
    assert check_rotation_sign(right, right.copy(data=TRUTH)) > 0.5
    with pytest.raises(BadInputError, match="the tilts have the wrong sign"):
        check_rotation_sign(wrong, right)


def changed(value: float) -> xr.Dataset:
    data = counted(densities(TILTS, N, SLICES), photons=400, seed=4)
    data["counts"][5, 3, 7] = value
    return data


BAD_INPUT: dict[str, tuple[Callable[[], xr.Dataset], str]] = {
    "NaN": (lambda: changed(np.nan), r"counts holds 1 NaN .* tilt -65°, row 3, column 7"),
    "negative": (lambda: changed(-3.0), "counts go down to -3; expected 0 or more"),
    "saturated": (
        lambda: changed(9e4).assign_attrs(saturation=65535),
        r"1 projections hold saturated pixels \(65535 counts .* -65°; leave them out",
    ),
    "no incident counts": (lambda: changed(5.0).drop_vars("incident"), "'counts' with 'incident'"),
    "dark": (lambda: changed(5.0).assign(incident=0.0), "incident counts go down to 0"),
    "one tilt": (lambda: exact().isel(tilt=[4]), "1 tilt; expected two or more"),
    "no angles": (lambda: exact().drop_vars("tilt"), "lack the coordinates tilt"),
    "oblong pixels": (
        lambda: exact().assign_coords(y=np.arange(SLICES) * 30.0),
        "expected square pixels",
    ),
    "unaligned": (
        lambda: exact().assign(shift_y=("tilt", np.full(len(TILTS.angles), 5.0))),
        "shift_y differs from 0, which mixes the rows",
    ),
    "dimensions": (lambda: exact().rename(y="row"), "has dimensions .* expected"),
    "dead noise": (
        lambda: exact().assign(optical_density_std=lambda d: d["optical_density"] * 0),
        "optical_density_std goes down to 0",
    ),
}


@pytest.mark.parametrize(("make", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_projections_are_refused(make: Callable[[], xr.Dataset], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        reconstruct(make(), options=PLAIN)


def test_what_needs_the_noise_says_so() -> None:
    with pytest.raises(BadInputError, match="TV needs the noise of the projections"):
        reconstruct(exact(), options=with_noise(Algorithm.TV))


def test_a_cut_field_is_warned_of() -> None:
    cut = exact().isel(x=slice(8, 24))
    with pytest.warns(BadInputWarning, match="the field of view is cut off"):
        reconstruct(cut, options=PLAIN)


def test_missing_tilts_are_warned_of() -> None:
    data = exact().isel(tilt=[*range(20), *range(30, len(TILTS.angles))])
    with pytest.warns(BadInputWarning, match=r"no tilts between -23° and 10°.* 18% of all"):
        reconstruct(data, options=PLAIN)
