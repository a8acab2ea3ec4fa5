"""Plans of a peak, whose bound is width / sqrt(electrons), and of our own scenarios."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

import echolith as el
from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.noise import PoissonCounting, thin
from echolith.validation.bounds import cramer_rao
from echolith.validation.catalogue import own_scenarios
from echolith.validation.exposure import Exposure, PreparedInformation
from echolith.validation.information import Information
from echolith.validation.metrics import absolute_error
from echolith.validation.plan import Budget, Least, plan
from echolith.validation.plan_axes import Range, parse_axes
from echolith.validation.plan_effects import effects
from echolith.validation.plan_page import write_plan
from echolith.validation.plan_summary import plan_summary, planned_settings
from echolith.validation.plan_text import plan_table
from echolith.validation.plan_trial import planned_and_tried
from echolith.validation.scenario import Scenario

AXIS = np.arange(-16.0, 16.0, 0.25)
SHARE = 0.9
Z = float(norm.ppf((1 + SHARE) / 2))
ERRORS = st.floats(0.002, 0.2)
WIDTHS = st.lists(st.floats(0.5, 3), min_size=1, max_size=4, unique=True)
SMALL = {
    "li-rich-oxide": {"thickness": 8.6, "scan": {"shape": (60, 60), "step": 0.2}, "haadf": None},
    "lfp-tomography": {
        "pixels": 40,
        "plates": 3,
        "tilts": {"angles": list(range(-60, 61, 10))},
    },
    "li-hrtem": {"particle": {"size": 24.0}, "acquisition": {"shape": (128, 128)}},
}


class PeakSettings(Settings):
    electrons: float = 1e3
    width: float = 1.0
    frames: int = 1
    idle: float = 0.0


@dataclass
class Peaks:
    """Makes scenarios of a peak and counts how often one was asked for its information."""

    asked: list[float] = field(default_factory=list)

    def __call__(self, settings: PeakSettings) -> Scenario:
        if settings.width <= 0:
            raise BadInputError(f"width = {settings.width:g} Å; expected more than 0")
        total = settings.electrons * settings.frames

        def forward(position: float) -> xr.Dataset:
            shape = np.exp(-((AXIS - position) ** 2) / (2 * settings.width**2))
            return xr.Dataset({"counts": ("x", total * shape / shape.sum())})

        def information(_position: float) -> Information:
            self.asked.append(settings.width)
            return Information(
                names=("place",),
                matrix=np.array([[total / settings.width**2]]),
                gradients={"place": np.array([[1.0]])},
                units={"place": "Å"},
            )

        return Scenario(
            name="peak",
            settings=settings,
            build=lambda _seed: 0.0,
            truth=lambda position: xr.Dataset({"place": ((), position, {"units": "Å"})}),
            forward=forward,
            noise=PoissonCounting(),
            solver=centroid,
            gauge=lambda estimate, _truth: estimate,
            metrics=(absolute_error("place"),),
            quantities=("place",),
            information=information,
            exposure=Exposure(
                dose=total,
                dose_unit="e",
                values=len(AXIS),
                seconds=settings.frames / settings.width,
                published=1e5,
                proportional=("electrons",),
                limits=("too wide for the axis",) if settings.width > 4 else (),
            ),
        )


def centroid(measurement: xr.Dataset) -> xr.Dataset:
    counts = measurement["counts"].values.astype(float)
    return xr.Dataset({"place": ((), float(counts @ AXIS / counts.sum()), {"units": "Å"})})


def half_of_them(measurement: xr.Dataset) -> xr.Dataset:
    """A solver that uses every second electron, so that its errors are sqrt(2) bounds."""
    return centroid(thin(measurement, fraction=0.5, seed=5))


@pytest.fixture
def peaks() -> Peaks:
    return Peaks()


@given(error=ERRORS, widths=WIDTHS, frames=st.integers(1, 5), factor=st.floats(1, 3))
def test_a_plan_asks_for_the_dose_of_the_closed_form(
    error: float, widths: list[float], frames: int, factor: float
) -> None:
    make = Peaks()
    found = plan(
        make(PeakSettings(frames=frames)),
        over={"electrons": Range(1e-6, 1e12), "width": widths},
        target={"place": error},
        share=SHARE,
        budget=Budget(dose=1e15),
        factor=factor,
        make=make,
    )
    assert found.recommended is not None
    best = found.recommended.bound
    assert best.point["width"] == min(widths)
    expected = (factor * Z * min(widths) / error) ** 2 / frames
    assert best.point["electrons"] == pytest.approx(expected, rel=1e-6)
    assert best.bounds["place"] == pytest.approx(error / Z / factor, rel=1e-6)
    assert len(make.asked) == len(widths)  # electrons cost nothing
    assert [effect.felt for effect in effects(found, found.recommended)] == [len(widths) > 1]


@given(error=ERRORS, dose=st.floats(1, 1e7))
def test_nothing_is_recommended_that_breaks_the_budget_or_misses_the_target(
    error: float, dose: float
) -> None:
    make = Peaks()
    found = plan(
        make(PeakSettings()),
        over={"electrons": Range(1e-3, 1e9), "width": [1.0, 2.0]},
        target={"place": error},
        budget=Budget(dose=dose),
        make=make,
    )
    reachable = (Z / error) ** 2 <= dose
    assert (found.recommended is not None) == reachable
    assert found.nearest is not None
    exposure = found.nearest.bound.exposure
    assert exposure is not None
    assert exposure.dose <= dose * (1 + 1e-6)
    if not reachable:  # the best of the budget is all of it
        assert exposure.dose == pytest.approx(dose)
        assert found.nearest.excess == pytest.approx(Z / error / np.sqrt(dose))


def test_the_published_dose_is_the_limit_unless_another_is_given(peaks: Peaks) -> None:
    def at(budget: Budget | None) -> bool:
        found = plan(
            peaks(PeakSettings()),
            over={"electrons": [1e4, 2e5]},
            target={"place": 0.005},
            budget=budget,
            make=peaks,
        )
        return found.recommended is not None

    assert not at(None)
    assert at(Budget(dose=1e6))


def test_time_and_dose_may_want_different_settings(peaks: Peaks) -> None:
    def width(least: Least) -> float:
        found = plan(
            peaks(PeakSettings()),
            over={"electrons": Range(1, 1e9), "width": [1.0, 2.0]},
            target={"place": 0.02},
            least=least,
            make=peaks,
        )
        assert found.recommended is not None
        return float(found.recommended.bound.point["width"])

    assert (width(Least.DOSE), width(Least.TIME)) == (1.0, 2.0)


def test_what_cannot_be_used_is_left_out_with_its_reason(peaks: Peaks) -> None:
    found = plan(
        peaks(PeakSettings()),
        over={"width": [-1.0, 1.0, 5.0], "idle": [0.0, 1.0]},
        target={"place": 0.5},
        make=peaks,
    )
    reasons = {point.bound.point["width"]: point.reasons for point in found.points}
    assert "expected more than 0" in reasons[-1.0][0]
    assert reasons[1.0] == ()
    assert "too wide for the axis" in reasons[5.0]
    summary = plan_summary(found)
    assert "idle has no effect" in plan_table(summary)
    assert "left out: width = -1" in plan_table(summary)


def test_a_plan_broken_off_goes_on_where_it_was(peaks: Peaks, tmp_path: Path) -> None:
    def go(widths: list[float]) -> None:
        plan(
            peaks(PeakSettings()),
            over={"width": widths},
            target={"place": 0.1},
            make=peaks,
            store=tmp_path,
        )

    go([1.0, 2.0])
    go([1.0, 2.0, 3.0])
    assert peaks.asked == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("solver", "factor"), [(centroid, 1.0), (half_of_them, 2**0.5)])
def test_a_trial_finds_how_far_a_solver_stays_behind_and_mends_the_plan(
    solver: Callable[[xr.Dataset], xr.Dataset], factor: float, peaks: Peaks
) -> None:
    cases = 80
    found, tried = planned_and_tried(
        lambda times: plan(
            peaks(PeakSettings()),
            over={"electrons": Range(1, 1e9)},
            target={"place": 0.05},
            share=SHARE,
            factor=times,
            make=peaks,
        ),
        seeds=range(cases),
        solver=solver,
    )
    assert tried is not None
    assert found.recommended is not None
    # The standard deviation of a root mean square of n normal values is 1 / sqrt(2 n) of it.
    assert tried.factor == pytest.approx(factor, rel=4 / np.sqrt(2 * cases))
    low, high = tried.share
    assert low < tried.kept / cases < high
    assert high >= SHARE


def test_at_seven_tenths_of_the_dose_the_promise_is_broken(peaks: Peaks) -> None:
    found = plan(
        peaks(PeakSettings()),
        over={"electrons": Range(1, 1e9)},
        target={"place": 0.05},
        share=SHARE,
        make=peaks,
    )
    assert found.recommended is not None
    less = peaks(PeakSettings(electrons=0.7 * found.recommended.bound.point["electrons"]))
    errors = [float(centroid(less.simulate(seed=seed).measurement)["place"]) for seed in range(400)]
    kept = np.mean(np.abs(errors) < 0.05)
    assert kept < SHARE - 2 * np.sqrt(SHARE * (1 - SHARE) / len(errors))


@pytest.mark.parametrize("name", sorted(SMALL))
def test_bounds_follow_what_is_said_to_be_proportional(name: str) -> None:
    entry = own_scenarios()[name]
    base = el.scenario(name, **SMALL[name])
    assert base.exposure is not None
    assert base.exposure.proportional
    known = cramer_rao(base)
    for setting in base.exposure.proportional:
        found = plan(
            base,
            over={setting: [4 * _value(base.settings, setting)]},
            target={base.quantities[0]: 1.0},
            budget=Budget(dose=1e12),
            make=entry.make,
        )
        scaled = found.points[0].bound
        direct = cramer_rao(found.scenario_at(found.points[0]))
        assert scaled.exposure is not None
        assert scaled.exposure.dose == pytest.approx(4 * base.exposure.dose)
        for quantity, value in scaled.bounds.items():
            assert value == pytest.approx(float(known[quantity]) / 2)
            # Derivatives are found to 1e-3 (`fisher_information`).
            assert value == pytest.approx(float(direct[quantity]), rel=2e-3)


def _value(settings: Settings, name: str) -> float:
    inner: object = settings
    for part in name.split("."):
        inner = getattr(inner, part)
    assert isinstance(inner, int | float)
    return inner


def test_a_finer_scan_keeps_its_field_and_shares_the_dear_half_of_the_bound() -> None:
    base = el.scenario("li-rich-oxide", **SMALL["li-rich-oxide"])
    found = plan(base, over={"scan.step": [0.15, 0.25]}, target={"m_m": 0.1})
    for point in found.points:
        scan = found.scenario_at(point).settings.scan  # type: ignore[attr-defined]
        assert scan.extent == pytest.approx((12.0, 12.0))
        information = found.scenario_at(point).information
        assert isinstance(information, PreparedInformation)
        assert isinstance(base.information, PreparedInformation)
        assert information.steps[1].key == base.information.steps[1].key
    assert found.points[0].excess == pytest.approx(found.points[1].excess)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"over": {}}, "over is empty"),
        ({"over": {"widht": [1.0]}}, "did you mean 'width'"),
        ({"over": {"width": []}}, "expected a list of values"),
        ({"over": {"width": "12"}}, "expected a list of values"),
        ({"over": {"width": [-1.0]}}, "no point can be computed: width"),
        ({"target": {}}, "target is empty"),
        ({"target": {"plaec": 0.1}}, "did you mean 'place'"),
        ({"target": {"place": -1.0}}, "expected an error above 0"),
        ({"share": 1.0}, "expected 0.5 to below 1"),
        ({"factor": 0.5}, "no solver beats the bound"),
    ],
)
def test_bad_input_is_named(change: dict[str, object], words: str, peaks: Peaks) -> None:
    good: dict[str, object] = {"over": {"width": [1.0]}, "target": {"place": 0.1}, "make": peaks}
    with pytest.raises(BadInputError, match=words):
        plan(peaks(PeakSettings()), **{**good, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["dose", "dose=5", "=[1]", "dose=1..b", "dose=5..1", "dose=[1"])
def test_axes_that_cannot_be_read_are_named(text: str) -> None:
    with pytest.raises(BadInputError):
        parse_axes([text])


def test_a_written_plan_is_what_run_takes(peaks: Peaks, tmp_path: Path) -> None:
    found = plan(
        peaks(PeakSettings()),
        over={"electrons": Range(1, 1e9), "width": [1.0, 2.0]},
        target={"place": 0.02},
        make=peaks,
    )
    page = write_plan(plan_summary(found), tmp_path)
    assert "place to 0.02" in page.read_text(encoding="utf-8")
    name, settings = planned_settings(tmp_path / "plan.json")
    assert name == "peak"
    assert PeakSettings(**settings).width == 1.0
    content = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    content["recommended"] = None
    (tmp_path / "none.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "other.json").write_text("[1]", encoding="utf-8")
    for file, words in (("none", "recommends nothing"), ("other", "no plan"), ("no", "be read")):
        with pytest.raises(BadInputError, match=words):
            planned_settings(tmp_path / f"{file}.json")
