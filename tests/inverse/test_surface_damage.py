"""What is told of a growing surface layer, from tables of exposures drawn one by one."""

import numpy as np
import pytest
import xarray as xr

from echolith.errors import BadInputError
from echolith.inverse.surface_damage import ALIKE, compare_exposures, recover_damage


def surface(*, depth: float | None, scattering: float, std: float, seed: int) -> xr.Dataset:
    """As `recover_surface` returns it; without depth where no phase could be told."""
    drawn = np.random.default_rng(seed).normal(scattering, std)
    found = xr.Dataset(
        {
            "alkali_scattering": ((), drawn),
            "alkali_scattering_std": ((), std),
            "surface_phase": ((), "cannot tell" if depth is None else "limn2o4"),
        },
        attrs={"undetermined": "surface_depth: no phase" if depth is None else ""},
    )
    if depth is None:
        return found
    return found.assign(surface_depth=((), depth), surface_depth_std=((), 1.0))


def test_changes_are_last_against_first() -> None:
    depths = (8.0, 12.0, 15.0)
    found = compare_exposures(
        {
            str(n): surface(depth=d, scattering=0.3 + 0.1 * n, std=0.0, seed=n)
            for n, d in enumerate(depths)
        }
    )
    assert found["surface_depth"].values.tolist() == list(depths)
    assert float(found["growth"]) == pytest.approx(7.0)
    assert float(found["growth_std"]) == pytest.approx(np.sqrt(2))
    assert float(found["alkali_contrast"]) == pytest.approx(0.5 / 0.3)
    assert found.attrs["undetermined"] == []


def test_contrast_has_the_stated_error() -> None:
    """Errors of two exposures are correlated: of one crystal, through one response."""
    pulls = []
    shared = np.random.default_rng(0).normal(0, 0.04 * np.sqrt(ALIKE), 200)
    for seed, common in enumerate(shared):
        own = 0.04 * np.sqrt(1 - ALIKE)
        before, after = (
            surface(depth=depth, scattering=w + common, std=own, seed=2 * seed + n).assign(
                alkali_scattering_std=((), 0.04)
            )
            for n, (depth, w) in enumerate(((8.0, 0.4), (12.0, 0.6)))
        )
        found = compare_exposures({"1": before, "2": after})
        error = float(found["alkali_contrast"]) - 1.5
        pulls.append(error / float(found["alkali_contrast_std"]))
    # 4 sigma of the rms of 200 are 20 %; the ratio of means known to 10 % is a little skew.
    assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(1, abs=0.25)


def test_what_is_not_determined_is_left_out_with_its_reason() -> None:
    known = surface(depth=8.0, scattering=0.4, std=0.01, seed=0)
    unsure = surface(depth=None, scattering=0.4, std=0.01, seed=1)
    found = compare_exposures({"1": known, "2": unsure})
    assert not {"growth", "growth_std"} & set(found.data_vars)
    assert np.isnan(found["surface_depth"].values).tolist() == [False, True]
    assert found.attrs["undetermined"] == ["exposure 2: surface_depth: no phase"]
    nothing = surface(depth=8.0, scattering=0.0, std=0.2, seed=2)
    assert "alkali_contrast" not in compare_exposures({"1": nothing, "2": known})


def test_one_exposure_is_refused() -> None:
    with pytest.raises(BadInputError, match="0 exposures; expected two or more of one field"):
        recover_damage(xr.Dataset())
