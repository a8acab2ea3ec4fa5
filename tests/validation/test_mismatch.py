"""What deviates is simulated, kept as truth, and told by nothing in the measurement."""

import re
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.acquisition import Aberrations
from echolith.forward.optics import aberration_phase, wavelength
from echolith.sample_options import Mismatch
from echolith.validation.catalogue import entry, own_scenarios, scenario
from echolith.validation.generation import Generation, Made, sample
from echolith.validation.mismatch import TABLES, aberrations, deviating, mismatch
from echolith.validation.priors import choice, normal, parse_priors, uniform
from echolith.validation.settings import resolve, with_values
from tests.validation.wave_scenario import WaveSettings, wave_scenario

SMALL: dict[str, dict[str, Any]] = {
    "li-rich-oxide": {
        "occupation": "ordered",
        "scan": {"shape": (12, 14), "step": 0.9},
        "detector": {"shape": (24, 24), "pixel_size": 2.4},
        "haadf": None,
        "simulation": {"slice_thickness": 5.0, "minimum_box": 15.0},
    },
    "li-hrtem": {"particle": {"size": 20.0}, "acquisition": {"shape": (128, 144)}},
    "lfp-tomography": {
        "pixels": 32,
        "plates": 1,
        "state_of_charge": 0.1,
        "active_fraction": 0.0,
        "tilts": {"angles": (0.0, 30.0)},
    },
    "nmc622-sxdm": {"curve": {"scan": (6, 8), "etas": 5, "pixels": (16, 16)}},
    "linio2-powder": {"acquisition": {"step": 0.5}},
}


def made(name: str, **fields: Any) -> Made:
    small = scenario(name, **SMALL[name])
    return sample(Generation(scenario=small, make=entry(name).make, vary={}, n=1, **fields), 0)


@pytest.mark.filterwarnings("ignore:scan step")  # coarse, to be quick
@pytest.mark.parametrize("name", SMALL)
def test_a_measurement_tells_nothing_of_what_deviates(name: str) -> None:
    usual = mismatch(scenario(name, **SMALL[name]), Mismatch.MODERATE)
    off, plain = made(name, untold=usual), made(name)
    counts = [str(n) for n, v in off.measurement.data_vars.items() if v.dtype.kind == "u"]
    xr.testing.assert_identical(
        off.measurement.drop_vars(counts), plain.measurement.drop_vars(counts)
    )
    for one in counts:
        assert off.measurement[one].attrs == plain.measurement[one].attrs
        assert (off.measurement[one].values != plain.measurement[one].values).any()
    held = {n: float(off.truth[f"mismatch.{n}"]) for n in usual}
    told = {float(n) for n in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", str(off.measurement.attrs))}
    settings = scenario(name, **SMALL[name]).settings.model_dump()
    simulated = deviating(settings, held).values()
    assert not told & {*held.values(), *(value for value in simulated if value)}


@given(st.floats(-60, 60), st.floats(0, 30))
def test_what_deviates_is_simulated(off: float, more: float) -> None:
    """Counts add up to the strength that is simulated, not to the one that is told."""
    generation = Generation(
        scenario=wave_scenario(WaveSettings(length=9)),
        make=wave_scenario,
        vary={"strength": choice([1e4])},
        untold={"strength": choice([100 * off + more])},
        n=1,
    )
    one = sample(generation, 0)
    assert float(one.truth["setting.strength"]) == 1e4
    deviation = float(one.truth["mismatch.strength"])
    x, phase = one.measurement["x"].values, float(one.truth["phase"])
    expected = (1e4 + deviation) * (1 + np.cos(x + phase)).sum()
    assert abs(one.measurement["counts"].values.sum() - expected) < 6 * np.sqrt(expected)


@pytest.mark.parametrize("name", own_scenarios())
def test_every_scenario_takes_every_tier(name: str) -> None:
    chosen = scenario(name)
    plain = chosen.settings.model_dump()
    tiers = [mismatch(chosen, tier) for tier in Mismatch]
    for setting, severe in tiers[-1].items():
        for value in severe.extremes:
            off = deviating(plain, {setting: value})
            resolve(type(chosen.settings), with_values(plain, off))
    spans = [
        [float(tier[setting].extremes[1]) for setting in tier if not setting.endswith("seed")]
        for tier in tiers
    ]
    assert all(mild <= usual <= severe for mild, usual, severe in zip(*spans, strict=True))
    assert sum(spans[0]) < sum(spans[1]) < sum(spans[2])


def test_tables_are_of_scenarios_that_there_are() -> None:
    assert set(TABLES) == set(own_scenarios())


@given(st.floats(5, 40), st.sampled_from([80e3, 200e3, 300e3]))
def test_aberrations_are_an_eighth_of_a_wave_at_the_edge(angle: float, energy: float) -> None:
    edge = np.array([1e-3 * angle / wavelength(energy)])
    for name, prior in aberrations("beam", energy=energy, angle=angle, size=1.0).items():
        if ".C" in name:
            std = prior.extremes[1] / 4
            alone = Aberrations(**{name.removeprefix("beam."): std})
            phase = aberration_phase(edge, np.zeros(1), aberrations=alone, energy=energy)
            np.testing.assert_allclose(abs(phase), np.pi / 4, rtol=1e-6)


def test_one_of_a_pair_deviates() -> None:
    off = deviating({"drift": (1.0, 2.0), "dose": 3}, {"drift.1": 0.5, "dose": 1})
    assert with_values({"drift": (1.0, 2.0), "dose": 3}, off) == {"drift": (1.0, 2.5), "dose": 4}


@pytest.mark.parametrize(
    ("untold", "told"),
    [
        ({"strenght": normal(0, 1)}, "strength"),
        ({"kind": choice(["other"])}, "kind = 'plain' cannot deviate"),
        ({"strength": choice(["much"])}, "strength = 'much' cannot deviate"),
        ({"strength": uniform(-500, 0)}, "strength = uniform.* draws -500: .*greater than 0"),
        ({"point_spread": uniform(0, 1)}, "detector_y"),
        ({"length": choice([2])}, "sizes .* cannot be kept untold"),
    ],
)
def test_what_cannot_deviate_is_told(untold: dict[str, Any], told: str) -> None:
    def one() -> None:
        generation = Generation(
            scenario=wave_scenario(WaveSettings()), make=wave_scenario, vary={}, untold=untold, n=1
        )
        generation.check_priors()
        sample(generation, 0)

    with pytest.raises(BadInputError, match=told):
        one()


def test_scenarios_without_a_tier_are_told_those_with() -> None:
    with pytest.raises(BadInputError, match="no severe mismatch of 'wave', only of li-rich-oxide"):
        mismatch(wave_scenario(WaveSettings()), Mismatch.SEVERE)
    assert parse_priors(["drift.0=normal(0, 1)"])["drift.0"].extremes == (-4, 4)
