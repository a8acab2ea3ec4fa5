"""The scenario li-rich-redox, and li-rich-oxide with drift and residual aberrations."""

import warnings
from functools import cache
from typing import Any

import pytest
import xarray as xr

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError
from echolith.exposures import take_exposure
from echolith.inverse.redox import Calibration, RedoxSolver, recover_redox
from echolith.structures.redox_models import Reading, RedoxModel, model_changes
from echolith.validation.catalogue import scenario
from echolith.validation.scenario import Sample, Scenario
from echolith.validation.scenarios.li_rich_redox import MODELS

SMALL: dict[str, Any] = {
    "occupation": "ordered",
    "thickness": 8.6,
    "scan": {"shape": (62, 62), "step": 0.26},
    "detector": {"shape": (24, 24), "pixel_size": 2.0},
    "haadf": None,
    "frames": {"shape": (160, 160), "step": 0.16, "dose": 2e4, "detector": {"inner": 50.0}},
}


@cache
def small() -> tuple[Scenario, Sample]:
    """One small case of every part."""
    chosen = scenario("li-rich-redox", **SMALL)
    return chosen, chosen.simulate(seed=0)


@cache
def solved() -> xr.Dataset:
    """Its estimate."""
    chosen, (_, measurement, _) = small()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return chosen.solver(measurement)


def test_the_truth_is_the_change_of_the_model() -> None:
    """Both come from the same cell, by different ways."""
    _, (_, _, truth) = small()
    for name, change in model_changes(RedoxModel.O2, Reading.PLANE).items():
        assert float(truth[f"change_{name}"]) == pytest.approx(change, abs=1e-9)


def test_a_redox_model_is_recovered_end_to_end() -> None:
    """Drift of 5 % and residual aberrations are undone, and the true model is found."""
    chosen, (_, _, truth) = small()
    scores = chosen.score(solved(), truth)
    assert scores["model_found"].value == 1
    assert scores["model_wrong"].value == 0
    # Single changes scatter by 1 pm here; drift left in would show as 10 pm and more.
    for name in LONG_NAMES:
        error = abs(float(solved()[f"change_{name}"] - truth[f"change_{name}"]))
        assert error < 0.03 + 3 * float(solved()[f"change_{name}_std"])


def test_without_calibration_the_drift_stays() -> None:
    """What the reference is for: 5 % of drift are many pm."""
    _, (_, measurement, truth) = small()
    options = RedoxSolver(calibration=Calibration.NONE, correct_aberrations=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = recover_redox(measurement, models=MODELS, options=options)
    worst = max(abs(float(raw[f"change_{n}"] - truth[f"change_{n}"])) for n in LONG_NAMES)
    assert worst > 0.10


def test_nothing_of_the_truth_is_recorded() -> None:
    """Neither drift nor residual aberrations are in the metadata; they are there to be found."""
    chosen, (_, measurement, _) = small()
    assert chosen.settings.model_dump()["residual"]["C12"] == 50
    assert '"C12":0.0' in measurement.attrs["acquisition"].replace(" ", "")
    assert not any("drift" in str(value) for value in measurement.attrs.values())
    assert take_exposure(measurement, "charged")["counts"].dims[0] == "scan_y"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"exposures": ("charged", "pristine")}, "expected pristine, then"),
        ({"exposures": ("pristine",)}, "expected pristine, then"),
        ({"model": "pristine"}, "expected a charged one"),
        ({"model": "o3"}, "model"),
        ({"detector": {"shape": (8, 8)}}, "cuts the bright-field"),
    ],
)
def test_settings_that_cannot_be_are_refused(overrides: dict[str, Any], message: str) -> None:
    """One clear message, before anything is simulated."""
    with pytest.raises(BadInputError, match=message):
        scenario("li-rich-redox", **overrides)


def test_one_exposure_tells_no_change() -> None:
    """Said by the solver, for data that are not ours."""
    _, (_, measurement, _) = small()
    with pytest.raises(BadInputError, match="expected two or more"):
        recover_redox(measurement.isel(exposure=[0]), models=MODELS)


def test_columns_are_true_where_the_image_shows_them() -> None:
    """Drift moves the picture of the columns; the distances asked for stay those of the crystal."""
    common = {name: SMALL[name] for name in ("occupation", "thickness", "detector", "haadf")}
    raster: dict[str, Any] = {"scan": {"shape": (48, 52), "step": 0.25}}
    still = scenario("li-rich-oxide", **common, **raster)
    drifting = scenario("li-rich-oxide", **common, **raster, distortion={"drift": (1.5, 0.0)})
    _, measurement, truth = drifting.simulate(seed=0)
    unmoved = still.truth(still.build(0))
    assert float(truth["o_o_mli"]) == pytest.approx(float(unmoved["o_o_mli"]), abs=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimate = drifting.solver(measurement)
    scores = drifting.score(estimate, truth)
    assert scores["found_m"].value == 1
    # The bound at this dose and thickness is about 1 pm.
    assert scores["column_rms_o"].value < 3
    # Against the columns of a still probe the drift of 4 % shows.
    assert drifting.score(estimate, unmoved)["column_rms_o"].value > 5
