"""What measurements take: every scenario, held to what its exposure says of its information."""

from typing import Any

import pytest

import echolith as el
from echolith.forward.acquisition import Settings
from echolith.validation.bounds import bound_of, cramer_rao
from echolith.validation.catalogue import own_scenarios
from echolith.validation.exposure import Prepared, PreparedInformation, Step
from echolith.validation.scenario import Scenario
from echolith.validation.settings import merge, nested, resolve

COARSE = {"thickness": 8.6, "simulation": {"sampling": 0.17}, "haadf": None}
STILL = {"random_drift": 0.0, "line_jitter": 0.0}
FEW_PLATES = {"pixels": 24, "plates": 2, "tilts": {"angles": list(range(-60, 61, 20))}}
POWDER = {"acquisition": {"start": 15.0, "stop": 40.0, "step": 0.1}}
SXDM = {"curve": {"scan": (4, 4), "background": 0.0}}
SMALL: dict[str, dict[str, Any]] = {
    "lfp-powder": POWDER,
    "lfp-ptychography": {"frames": {"shape": (4, 4)}, "plates": 2, "slab": None},
    "lfp-spectro-tomography": {},
    "lfp-tomography": FEW_PLATES,
    "lfp-xas": {"pixels": 16, "plates": 2},
    "li-growth": {"movie": {"acquisition": {"frames": 3}, "points": 1}},
    "li-hrtem": {"particle": {"size": 24.0}, "acquisition": {"shape": (128, 128)}},
    "li-oxide": {"movie": {"acquisition": {"frames": 2}}},
    "li-rich-damage": {"occupation": "ordered"},
    "li-rich-haadf-drift": {
        "thickness": 8.6,
        "frames": {"frames": 2, "shape": (64, 64)},
        "distortion": STILL,
    },
    "li-rich-oxide": {**COARSE, "scan": {"shape": (60, 60), "step": 0.2}},
    "li-rich-redox": {},
    "li-rich-surface": {},
    "li-saed": {"acquisition": {"shape": (128, 128), "dark": 0.0, "camera_length": 200.0}},
    "li-thickness": {},
    "li-whisker": {"whisker": {"fluctuation": 0.0}, "acquisition": {"frames": 4}},
    "linio2-powder": POWDER,
    "linio2-sxdm": SXDM,
    "nmc622-powder": POWDER,
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
    known = cramer_rao(base)
    for setting in exposure.proportional:
        more = changed(base, {setting: 4 * value(base.settings, setting)})
        assert more.exposure is not None
        assert more.exposure.dose == pytest.approx(4 * exposure.dose)
        direct = cramer_rao(more)
        for quantity, bound in known.data_vars.items():
            if not bound.ndim:
                # Derivatives are found to 1e-3 (`fisher_information`).
                expected = float(bound) / 2
                assert float(direct[quantity]) == pytest.approx(expected, rel=2e-3), quantity


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
