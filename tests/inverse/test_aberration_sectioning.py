"""Defocus per region: found in each, calibrated, and refused where the series does not hold it."""

import numpy as np
import pytest
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import Aberrations, PixelDetector, Scan, StemAcquisition
from echolith.inverse.optical_sectioning import SectioningOptions, tune_defocus
from echolith.inverse.ssb import ssb
from tests.inverse.aberrated_sets import acquisition, drawn, mean_of
from tests.inverse.phase_sets import correlation, random_phase

SIDE = 40
OPTIONS = SectioningOptions(span=40, steps=17, patch=1.8)
LEFT, RIGHT = 20.0, -15.0
"""Å, C10 of the two halves."""


def taken(defocus: float) -> StemAcquisition:
    return acquisition(
        Aberrations(C10=defocus),
        scan=Scan(shape=(SIDE, SIDE), step=0.27),
        detector=PixelDetector(shape=(20, 20), pixel_size=2.4),
        dose=3e5,
    )


def halves() -> tuple[xr.Dataset, np.ndarray]:
    """Return a field whose left and right half are in focus at different C10, and its phase."""
    phase = random_phase(taken(0), seed=1, rms=0.05)
    left, right = (mean_of(taken(value), phase=phase) for value in (LEFT, RIGHT))
    at = left["counts"].dims.index("scan_x")
    assert at == 1
    counts = left["counts"].values.copy()
    counts[:, SIDE // 2 :] = right["counts"].values[:, SIDE // 2 :]
    return left.assign(counts=(left["counts"].dims, counts)), phase


def test_each_half_finds_its_own_defocus() -> None:
    mean, phase = halves()
    result = tune_defocus(drawn(mean, seed=1), options=OPTIONS)
    found, quarter = result["C10"].values, SIDE // 4
    # In the middle of a half, 5.4 Å wide, the other half is 1.5 to 3 patches away and delocalised
    # by up to 2 Å: at most an eighth of the difference.
    assert np.abs(found[:, quarter] - LEFT).max() < (LEFT - RIGHT) / 4
    assert np.abs(found[:, 3 * quarter] - RIGHT).max() < (LEFT - RIGHT) / 4
    single = ssb(drawn(mean, seed=1), aberrations=Aberrations(C10=float(result["C10_overall"])))
    assert correlation(result["phase"], phase) > correlation(single["phase"], phase)


def test_errors_are_as_large_as_stated() -> None:
    mean = mean_of(taken(12.0), seed=3)
    results = [tune_defocus(drawn(mean, seed=s), options=OPTIONS) for s in range(20)]
    overall = np.array([
        (float(r["C10_overall"]) - 12.0) / float(r["C10_overall_std"]) for r in results
    ])  # fmt: skip
    assert abs(overall.mean()) < 4 / np.sqrt(20)
    assert overall.std(ddof=1) == pytest.approx(1, abs=4 / np.sqrt(2 * 19))
    # Positions 10 Å² apart are about independent: a field of 117 Å² has some 9 regions.
    local = np.array([(r["C10"] - 12.0) / r["C10_std"] for r in results])
    assert np.sqrt(np.nanmean(local**2)) == pytest.approx(1, abs=4 / np.sqrt(2 * 20 * 9) + 0.15)


def test_an_even_field_gives_the_image_of_its_own_defocus() -> None:
    mean = mean_of(taken(10.0), seed=3)
    result = tune_defocus(mean, options=OPTIONS)
    assert float(result["C10_overall"]) == pytest.approx(10, abs=0.5)
    expected = ssb(mean, aberrations=Aberrations(C10=10))["phase"]
    assert correlation(result["phase"], expected) > 0.999


def test_layout() -> None:
    result = tune_defocus(mean_of(taken(5.0)), options=OPTIONS)
    assert result["phase"].dims == result["C10"].dims == ("scan_y", "scan_x")
    assert result["defocus_series"].values.tolist() == np.linspace(-40, 40, 17).tolist()
    units = {name: result[name].attrs["units"] for name in ("phase", "C10", "C10_std", "scan_x")}
    assert units == {"phase": "rad", "C10": "Å", "C10_std": "Å", "scan_x": "Å"}


def test_a_field_out_of_the_series_is_refused() -> None:
    with pytest.raises(BadInputError, match="no C10 from -20 to 20 Å brings the field into focus"):
        tune_defocus(mean_of(taken(60.0)), options=SectioningOptions(span=20, patch=1.8))


def test_empty_regions_are_not_determined() -> None:
    phase = random_phase(taken(0), seed=1, rms=0.05)
    y, x = np.indices(phase.shape) * 0.27
    phase = phase * np.exp(-((x - 5.4) ** 2 + (y - 5.4) ** 2) / 2 / 0.7**2) * 4
    result = tune_defocus(drawn(mean_of(taken(10.0), phase=phase), seed=2), options=OPTIONS)
    assert np.isnan(result["C10"].values[:2, :2]).all()  # four patches away
    assert float(result["C10"][20, 20]) == pytest.approx(
        10, abs=4 * float(result["C10_std"][20, 20])
    )
    assert np.isfinite(result["phase"]).all()
    assert (np.isnan(result["C10"]) == np.isnan(result["C10_std"])).all()


def test_a_patch_larger_than_the_field_is_refused() -> None:
    with pytest.raises(BadInputError, match="patch = 5 Å; expected up to a quarter"):
        tune_defocus(mean_of(taken(0.0)), options=SectioningOptions(patch=5))
