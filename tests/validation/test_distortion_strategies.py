"""Strategies of what goes wrong in an acquisition: plain first, varied, valid."""

import doctest
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.detector_response import DetectorResponse
from echolith.forward.fast_frames import FastFrames
from echolith.forward.scan_distortion import ScanDistortion
from echolith.forward.surface_growth import GrowthLaw, SurfaceGrowth
from echolith.validation import distortion_strategies, strategies


def test_the_examples_run() -> None:
    found = doctest.testmod(distortion_strategies)
    assert found.attempted > 5
    assert found.failed == 0


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (strategies.scan_distortions, ScanDistortion()),
        (strategies.fast_frames, FastFrames(frames=2, shape=(2, 2))),
        (strategies.detector_responses, DetectorResponse()),
        (strategies.detector_noises, DetectorNoise()),
        (strategies.surface_growths, SurfaceGrowth()),
    ],
)
def test_the_simplest_example_is_the_plain_one(
    make: Callable[[], st.SearchStrategy[Any]], expected: object
) -> None:
    assert find(make(), lambda _: True) == expected


@pytest.mark.parametrize(
    ("strategy", "condition"),
    [
        (strategies.scan_distortions(), lambda d: d.drift[0] < 0 < d.drift[1]),
        (strategies.scan_distortions(), lambda d: d.line_jitter > 0.05 and d.random_drift > 0.5),
        (strategies.fast_frames(), lambda f: f.frames == 4 and f.shape[0] > f.shape[1]),
        (strategies.fast_frames(), lambda f: f.pause > 0 and f.rotation == 17),
        (strategies.detector_responses(), lambda r: r.binning == (4, 1) and r.efficiency < 0.5),
        (strategies.detector_noises(), lambda n: n.saturation is not None and n.readout > 1),
        (strategies.surface_growths(), lambda g: g.law is GrowthLaw.LINEAR and g.initial > 5),
    ],
)
def test_what_matters_is_drawn(
    strategy: st.SearchStrategy[Any], condition: Callable[[Any], bool]
) -> None:
    quick = settings(phases=[Phase.generate], max_examples=2000, database=None)
    assert condition(find(strategy, condition, settings=quick))


@given(strategies.scan_distortions(jitter=0.02, drift=0.5))
def test_distortions_keep_to_their_limits(found: ScanDistortion) -> None:
    assert np.abs(found.drift).max() <= 0.5
    assert max(found.line_jitter, found.position_jitter) <= 0.02
    assert found.random_drift <= 0.5
    assert ScanDistortion.model_validate_json(found.model_dump_json()) == found


@given(strategies.fast_frames(frames=3, largest=5), strategies.detector_noises(saturation=9))
def test_frames_and_noises_keep_to_their_limits(found: FastFrames, noise: DetectorNoise) -> None:
    assert 2 <= found.frames <= 3
    assert max(found.shape) <= 5
    assert noise.saturation is None or noise.saturation >= 9
    assert FastFrames.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: strategies.scan_distortions(jitter=-1), "jitter = -1 Å; expected 0 Å or more"),
        (lambda: strategies.scan_distortions(drift=float("inf")), "drift = inf"),
        (lambda: strategies.fast_frames(frames=1), "frames = 1; expected 2"),
        (lambda: strategies.fast_frames(largest=1), "largest = 1; expected 2"),
        (lambda: strategies.detector_noises(saturation=0), "saturation = 0; expected 1"),
    ],
)
def test_bad_arguments_are_refused_at_once(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        make()
