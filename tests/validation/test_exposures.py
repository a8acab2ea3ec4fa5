"""What measurements take: every scenario, held to what its exposure says of its information."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

import echolith as el
from echolith.forward.acquisition import Settings
from echolith.validation.bounds import bound_of
from echolith.validation.catalogue import own_scenarios
from echolith.validation.exposure import Prepared, PreparedInformation, Step
from echolith.validation.scenario import Scenario
from echolith.validation.settings import merge, nested, resolve

COARSE = {"thickness": 8.6, "simulation": {"sampling": 0.17}, "haadf": None}
STILL = {"random_drift": 0.0, "line_jitter": 0.0}
FEW_PLATES = {"pixels": 40, "plates": 2, "tilts": {"count": 13, "reach": 60}}
POWDER = {"acquisition": {"start": 20.0, "stop": 35.0, "step": 0.1}}
LAYERED = {"acquisition": {"start": 15.0, "stop": 60.0, "step": 0.1}}
SXDM = {"curve": {"scan": (4, 4), "background": 0.0}}
SMALL: dict[str, dict[str, Any]] = {
    "lfp-powder": POWDER,
    "lfp-ptychography": {
        "frames": {"shape": (3, 3)},
        "plates": 2,
        "slab": None,
        "energies": (708.2,),
    },
    "lfp-spectro-tomography": {},
    "lfp-tomography": FEW_PLATES,
    "lfp-xas": {"pixels": 16, "plates": 2},
    "li-growth": {"movie": {"acquisition": {"frames": 2}, "points": 1}},
    "li-hrtem": {"particle": {"size": 24.0}, "acquisition": {"shape": (128, 128)}},
    "li-oxide": {"movie": {"acquisition": {"frames": 2}}},
    "li-rich-damage": {"occupation": "ordered"},
    "li-rich-haadf-drift": {
        "thickness": 8.6,
        "frames": {"frames": 1, "shape": (64, 64), "step": 0.25},
        "simulation": {"minimum_box": 8.0},
        "distortion": STILL,
    },
    "li-rich-oxide": {**COARSE, "scan": {"shape": (60, 60), "step": 0.2}},
    "li-rich-redox": {},
    "li-rich-surface": {},
    "li-saed": {"acquisition": {"shape": (128, 128), "dark": 0.0, "camera_length": 200.0}},
    "li-thickness": {},
    "li-whisker": {"whisker": {"fluctuation": 0.0}, "acquisition": {"frames": 4}},
    "linio2-powder": LAYERED,
    "linio2-sxdm": SXDM,
    "nmc622-powder": LAYERED,
    "nmc622-sxdm": SXDM,
    "powder": POWDER,
}
"""Settings whose bounds take a second or less, and read-out and background that stay at zero."""
UNTOLD = {"lfp-spectro-tomography"}
"""Without a bound."""


@pytest.mark.parametrize("name", sorted(own_scenarios()))
def test_information_follows_what_is_said_to_be_proportional(name: str) -> None:
    base = el.scenario(name, **SMALL[name])
    if name in UNTOLD:
        assert base.information is None
        return
    exposure = base.exposure
    assert exposure is not None
    assert exposure.dose > 0
    assert exposure.values > 0
    if not exposure.proportional:
        return
    prepared = Prepared()
    known = bounds(base, prepared)
    assert any(np.isfinite(float(bound)) for bound in known.data_vars.values() if not bound.ndim)
    for setting in exposure.proportional:
        more = changed(base, {setting: 4 * value(base.settings, setting)})
        assert more.exposure is not None
        assert more.exposure.dose == pytest.approx(4 * exposure.dose)
        direct = bounds(more, prepared)
        for quantity, bound in known.data_vars.items():
            if not bound.ndim:
                # Derivatives are found to 1e-3 (`fisher_information`).
                expected = float(bound) / 2
                assert float(direct[quantity]) == pytest.approx(expected, rel=2e-3), quantity


def bounds(scenario: Scenario, prepared: Prepared) -> xr.Dataset:
    """Return the bound, waves and frames that serve several settings computed once."""
    information = scenario.information
    assert information is not None
    specimen = scenario.build(0)
    if isinstance(information, PreparedInformation):
        return bound_of(information.known(specimen, prepared))
    return bound_of(information(specimen))


def changed(base: Scenario, point: dict[str, Any]) -> Scenario:
    settings = base.settings.model_dump()
    for name, wanted in point.items():
        settings = merge(settings, nested(name, wanted))
    return own_scenarios()[base.name].make(resolve(type(base.settings), settings))


def value(settings: Settings, name: str) -> Any:
    inner: object = settings
    for part in name.split("."):
        inner = getattr(inner, part)
    return inner


@pytest.mark.parametrize(
    ("name", "noisy"),
    [
        ("li-hrtem", {"readout": 1.0}),
        ("li-growth", {"readout": 1.0}),
        ("li-oxide", {"readout": 1.0}),
        ("li-whisker", {"whisker": {"fluctuation": 5.0}}),
        ("li-saed", {"acquisition": {"dark": 1.0}}),
        ("li-rich-haadf-drift", {"distortion": {"line_jitter": 0.01}}),
        ("nmc622-sxdm", {"curve": {"background": 0.1}}),
        ("lfp-ptychography", {"frames": {"readout": 1.0}}),
    ],
)
def test_what_stays_when_the_dose_grows_is_not_proportional(
    name: str, noisy: dict[str, Any]
) -> None:
    exposure = el.scenario(name, **noisy).exposure
    assert exposure is not None
    assert not exposure.proportional


def test_waves_serve_every_defocus_and_change_no_bit() -> None:
    base = el.scenario("li-rich-oxide", **SMALL["li-rich-oxide"])
    other = changed(base, {"beam.aberrations.C10": 40.0, "beam.source_spread": 0.3, "dose": 1e4})
    first, second = base.information, other.information
    assert isinstance(first, PreparedInformation)
    assert isinstance(second, PreparedInformation)
    assert [a.key == b.key for a, b in zip(first.steps, second.steps, strict=True)] == [True, False]
    prepared = Prepared()
    bounds(base, prepared)
    assert bounds(other, prepared).equals(bounds(other, Prepared()))
    wider = changed(base, {"beam.semiangle": 25.0}).information
    assert isinstance(wider, PreparedInformation)
    assert wider.steps[0].key != first.steps[0].key


def test_what_is_large_and_old_is_given_up() -> None:
    done: list[int] = []

    def steps(n: int) -> tuple[Step, Step]:
        def large(_before: object, _specimen: object) -> Any:
            done.append(n)
            return np.zeros(100, dtype=np.uint8)

        return Step(n, large), Step(n, lambda before, specimen: (len(before), specimen))

    prepared = Prepared(most=250)
    for n in (0, 1, 0, 2, 1):
        assert prepared.result(steps(n), "seen") == (100, "seen")
    assert done == [0, 1, 2]  # the second results are small and kept
    for n in (2, 1, 0):
        assert len(prepared.result(steps(n)[:1], "seen")) == 100
    assert done == [0, 1, 2, 0]


def test_a_finer_step_keeps_field_time_and_sweep() -> None:
    growth = el.scenario("li-growth").exposure
    sxdm = el.scenario("nmc622-sxdm").exposure
    assert growth is not None
    assert sxdm is not None
    assert growth.follows["movie.acquisition.frame_time"](0.08) == {"movie.acquisition.frames": 24}
    assert sxdm.follows["curve.step"](600.0) == {"curve.scan": [20, 20]}
    assert sxdm.follows["curve.eta_step"](0.02) == {"curve.etas": 61}
