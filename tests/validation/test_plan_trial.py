"""Trials of a plan: one simulation for all doses, the same bits wherever and however it is run."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from dask import config
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

import echolith as el
from echolith.errors import BadInputError
from echolith.forward.detector_noise import DetectorNoise
from echolith.validation.dask_cases import scheduler_at
from echolith.validation.dose_ladder import DoseLadder, run_ladder
from echolith.validation.plan import Plan, plan
from echolith.validation.plan_axes import Range
from echolith.validation.plan_trial import planned_and_tried, share_kept_to, value_needed
from echolith.validation.scenario import Scenario
from echolith.validation.settings import setting_value
from tests.validation.plan_scenario import Peaks, PeakSettings

SMALL: dict[str, dict[str, Any]] = {
    "lfp-tomography": {"pixels": 40, "plates": 2, "tilts": {"angles": [-40, 0, 40]}},
    "lfp-powder": {"acquisition": {"start": 20.0, "stop": 35.0, "step": 0.1}},
    "nmc622-sxdm": {"curve": {"scan": (3, 3), "background": 0.0}},
    "li-hrtem": {"particle": {"size": 20.0}, "acquisition": {"shape": (96, 96), "pixel": 0.4}},
}
DWELLS, SEEDS = (2.0, 3.0, 9.0), range(6)


def told_at_once(measurement: xr.Dataset) -> xr.Dataset:
    """A solver of no use, except that every count changes what it tells."""
    counts = measurement["counts"].values.astype(float)
    told = counts @ np.linspace(0, 1, counts.size) / 1e6
    return xr.Dataset({"weight_LiFePO4": ((), told, {"units": "1"})})


def ladder(store: Path, values: tuple[float, ...] = DWELLS) -> DoseLadder:
    def at(dwell: float) -> Scenario:
        return el.scenario("lfp-powder", **SMALL["lfp-powder"], dwell=dwell)

    return DoseLadder(
        setting="dwell",
        base=(1.0, at(1.0)),
        rungs={v: at(v) for v in values},
        top=max(DWELLS),
        solver=told_at_once,
        store=store,
    )


def contents(store: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((store / "cases").iterdir())}


@pytest.fixture(scope="module")
def in_threads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The cases that a sweep in two threads keeps."""
    store = tmp_path_factory.mktemp("threads")
    with config.set(num_workers=2):
        run_ladder(ladder(store), SEEDS)
    found = contents(store)
    assert len(found) == len(set(found.values())) == len(DWELLS) * len(SEEDS)
    return found


def test_workers_of_a_scheduler_give_the_bits_of_threads(
    in_threads: dict[str, bytes], tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        ) as cluster,
        scheduler_at(cluster.scheduler_address),
    ):
        assert cluster.scheduler_address.startswith("tcp://")
        run_ladder(ladder(tmp_path), SEEDS)
    assert contents(tmp_path) == in_threads


def test_a_scheduler_that_does_not_answer_is_named() -> None:
    with pytest.raises(BadInputError, match="no Dask scheduler"), scheduler_at("nonsense://x"):
        pass


def test_a_sweep_killed_goes_on_to_the_same_bits(
    in_threads: dict[str, bytes], tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.validation.test_plan_trial import SEEDS, ladder, run_ladder\n"
        "run_ladder(ladder(Path(sys.argv[1])), SEEDS, announce=lambda name: input())\n"
    )
    sweep = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, text=True
    )
    assert sweep.stdin is not None
    sweep.stdin.write("\n\n")  # two cases, then it waits for the end
    sweep.stdin.flush()
    while sweep.poll() is None and len(list(tmp_path.glob("cases/*.json"))) < 2 * len(DWELLS):
        time.sleep(0.01)
    sweep.send_signal(signal.SIGKILL)
    sweep.stdin.close()
    assert sweep.wait() == -signal.SIGKILL
    kept = contents(tmp_path)
    assert kept.items() < in_threads.items()
    told: list[str] = []
    run_ladder(ladder(tmp_path), SEEDS, announce=told.append)
    assert len(told) == len(SEEDS) - 2
    assert contents(tmp_path) == in_threads


def test_rungs_beside_a_rung_do_not_change_it(in_threads: dict[str, bytes], tmp_path: Path) -> None:
    """One curve a seed: a dose added later is of the same electrons."""
    run_ladder(ladder(tmp_path, values=DWELLS[:1]), SEEDS)
    assert contents(tmp_path).items() < in_threads.items()


@pytest.mark.parametrize("name", sorted(SMALL))
def test_thinned_counts_say_what_a_simulation_at_the_dose_says(name: str) -> None:
    """Every mean of the ladder is the mean simulated, and no solver can tell them apart."""
    base = el.scenario(name, **SMALL[name])
    assert base.exposure is not None
    setting = base.exposure.proportional[0]
    own = setting_value(base.settings.model_dump(), setting)
    value = 3.0 * float(own)
    outer, _, leaf = setting.rpartition(".")
    changed = {**SMALL[name].get(outer, {}), leaf: type(own)(value)}
    rung = el.scenario(name, **{**SMALL[name], **({outer: changed} if outer else changed)})
    noise_free = replace(base, noise=NoNoise())
    seen: list[xr.Dataset] = []
    one = DoseLadder(
        setting=setting,
        base=(float(own), noise_free),
        rungs={value: rung},
        top=value,
        solver=lambda measurement: seen.append(measurement) or measurement,  # type: ignore[func-returns-value]
    )
    assert one.thins(0)
    one.cases(0)
    direct = rung.forward(rung.build(0)).compute()
    assert seen[0].attrs.keys() == direct.attrs.keys()
    for key, told in direct.attrs.items():
        assert _read(seen[0].attrs[key]) == _read(told), key
    xr.testing.assert_allclose(seen[0].drop_attrs(), direct.drop_attrs(), rtol=1e-5)


class NoNoise:
    """Passes the mean on (`Noise` protocol)."""

    scales_with_dose = True

    def sample(self, mean: xr.Dataset, *, seed: int) -> xr.Dataset:
        return mean

    def information(self, mean: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
        raise NotImplementedError


def _read(told: Any) -> Any:
    try:
        return json.loads(told)
    except (TypeError, ValueError):
        return told


def test_what_follows_from_a_setting_otherwise_is_not_thinned() -> None:
    """Times of frames follow from the time of one; thinned counts would tell wrong ones."""
    base = el.scenario("li-hrtem", **SMALL["li-hrtem"])
    taken = {**SMALL["li-hrtem"]["acquisition"], "frame_time": 0.08}
    longer = el.scenario("li-hrtem", **{**SMALL["li-hrtem"], "acquisition": taken})
    one = DoseLadder(
        setting="acquisition.frame_time", base=(0.04, base), rungs={0.08: longer}, top=0.08
    )
    assert not one.thins(0)


@given(n=st.integers(5, 200), share=st.floats(0.5, 0.95), confidence=st.floats(0.5, 0.95))
def test_the_promised_share_keeps_to_it_with_the_confidence(
    n: int, share: float, confidence: float
) -> None:
    """Whatever the law: the share below the k-th of n is beta(k, n - k + 1), so binomial."""
    errors = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    rank = share_kept_to(errors, share, confidence=confidence)
    sure = binom.cdf(rank - 1, n, share)
    assert sure >= confidence - 1e-12 or rank == n
    if rank > 1:
        assert binom.cdf(rank - 2, n, share) < confidence


@given(
    needed=st.floats(0.1, 50),
    values=st.lists(st.floats(0.2, 20), min_size=1, max_size=6, unique=True),
)
def test_the_dose_of_a_solver_on_its_shot_noise_is_found_from_any_doses(
    needed: float, values: list[float]
) -> None:
    tried = sorted(values)
    found = value_needed(tried, [float(np.sqrt(needed / v)) for v in tried])
    assert found == pytest.approx(np.clip(needed, tried[0] / 4, tried[-1] * 4), rel=1e-6)


def test_where_counts_cannot_be_thinned_every_point_is_simulated_for_itself() -> None:
    """Read-out noise of 0.3 in each pixel nearly doubles the variance of the place of a peak."""

    def make(settings: PeakSettings) -> Scenario:
        return replace(Peaks()(settings), noise=DetectorNoise(readout=0.3))

    def planned(factor: float) -> Plan:
        return plan(
            make(PeakSettings()),
            over={"electrons": Range(1, 1e9)},
            target={"place": 0.05},
            factor=factor,
            make=make,
        )

    found, tried = planned_and_tried(planned, seeds=range(60))
    assert found.recommended is not None
    assert tried is not None
    assert len(tried.doses) == 1
    assert 1.1 < tried.factor < 2.2  # sqrt(1.9), known to a tenth, and the margin of the promise
    assert tried.share[1] > 0.9


def test_where_nothing_is_found_more_is_tried() -> None:
    assert value_needed([1.0, 2.0], [np.inf, np.inf]) == 8.0
    assert 1.0 < value_needed([1.0, 2.0], [np.inf, 0.5]) < 2.0
