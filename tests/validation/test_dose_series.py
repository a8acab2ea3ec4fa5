"""Dose series on a transmission, whose spread and bound are known in closed form."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from scipy import stats

from echolith.errors import BadInputError
from echolith.forward.acquisition import Scan, Settings, StemAcquisition, acquisition_of
from echolith.forward.noise import PoissonCounting
from echolith.protocols import Noise
from echolith.units import ElectronsPerSquareAngstrom
from echolith.validation.dose_figure import COLOURS, dose_figure, shared_names
from echolith.validation.dose_series import dose_series
from echolith.validation.information import Information
from echolith.validation.metrics import absolute_error
from echolith.validation.round_trip import round_trip
from echolith.validation.scenario import Scenario
from echolith.validation.statistics import Residuals
from echolith.validation.strategies import seeds

SHAPE, POSITIONS = (4, 5), 20
AREA = 0.04
"""Å² of one scan position."""
TRANSMISSION = 0.7
DOSE = 1e4


class DoseSettings(Settings):
    dose: ElectronsPerSquareAngstrom = DOSE


class UnknownDose(Settings):
    rate: float = 1.0


class ReadOut:
    """Normal noise of one count in every pixel (`Noise` protocol): thinning it would be wrong."""

    def sample(self, mean: xr.Dataset, *, seed: int) -> xr.Dataset:
        draw = np.random.default_rng(seed).normal(size=mean["counts"].shape)
        return mean.assign(counts=mean["counts"] + draw)

    def information(self, mean: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
        return np.asarray(jacobian.T @ jacobian, dtype=float)


def transmission(
    dose: float = DOSE, *, noise: Noise | None = None, states_dose: bool = True
) -> Scenario:
    """Electrons per position, each a measure of the same transmission, unknown one by one."""
    counting = noise or PoissonCounting()
    taken = StemAcquisition(scan=Scan(shape=SHAPE, step=AREA**0.5), dose=dose)

    def forward(specimen: float) -> xr.Dataset:
        mean = np.full(SHAPE, specimen * taken.electrons_per_position, dtype=np.float32)
        attrs = {"acquisition": taken.model_dump_json()} if states_dose else {}
        return xr.Dataset({"counts": (("scan_y", "scan_x"), mean)}, attrs=attrs)

    def solver(measurement: xr.Dataset) -> xr.Dataset:
        electrons = acquisition_of(measurement).electrons_per_position
        each = measurement["counts"].values / electrons
        return xr.Dataset(
            {
                "transmission": each.mean(),
                "transmission_std": np.sqrt(each.mean() / electrons / POSITIONS),
                "each": ("position", each.ravel()),
            }
        )

    def residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
        error = estimate["each"].values - float(truth["transmission"])
        unknown = np.full(POSITIONS, np.nan)
        found = Residuals(key=np.arange(POSITIONS), error=error, std=unknown, unit="1")
        return {"transmission": found}

    def information(specimen: float) -> Information:
        electrons = taken.electrons_per_position
        mean, each = np.full(POSITIONS, specimen * electrons), np.eye(POSITIONS)
        return Information(
            names=tuple(f"t{n}" for n in range(POSITIONS)),
            matrix=counting.information(mean, electrons * each),
            gradients={
                "transmission": np.full((1, POSITIONS), 1 / POSITIONS),
                "transmission_single": each,
            },
        )

    return Scenario(
        name="transmission",
        settings=DoseSettings(dose=dose) if states_dose else UnknownDose(),
        build=lambda seed: TRANSMISSION,
        truth=lambda specimen: xr.Dataset({"transmission": specimen}),
        forward=forward,
        noise=counting,
        solver=solver,
        gauge=lambda estimate, truth: estimate,
        metrics=(absolute_error("transmission", unit="1", scale=1.0),),
        quantities=("transmission",),
        information=information,
        residuals=residuals,
    )


def closed_form(dose: float) -> float:
    """Standard deviation of the transmission at one position."""
    return float(np.sqrt(TRANSMISSION / (dose * AREA)))


SEEDS = st.lists(seeds(), min_size=2, max_size=3, unique=True)


@settings(max_examples=8)  # a few cases each
@given(SEEDS)
def test_at_the_scenarios_own_dose_it_is_the_round_trip(seeds: list[int]) -> None:
    """Thinning to the same dose changes nothing: not a bit."""
    series = dose_series(transmission(), doses=[DOSE], seeds=seeds).squeeze()
    expected = round_trip(transmission(), seeds=seeds).summary["statistics"]["transmission"]
    for name in ("bias", "spread", "rmse", "bound", "efficiency", "coverage95", "single_spread"):
        assert float(series[name]) == expected[name], name
    assert float(series["singles"]) == POSITIONS * len(seeds)


@settings(max_examples=8)
@given(SEEDS, st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3, unique=True))
def test_lower_doses_do_not_touch_the_highest(seeds: list[int], parts: list[float]) -> None:
    alone = dose_series(transmission(), doses=[DOSE], seeds=seeds)
    doses = [DOSE, *(DOSE * part for part in parts)]
    series = dose_series(transmission(), doses=doses, seeds=seeds)
    assert series["dose"].values.tolist() == sorted(doses)
    xr.testing.assert_identical(series.sel(dose=[DOSE]).drop_attrs(), alone.drop_attrs())


def test_spread_falls_with_the_root_of_the_dose_and_stays_on_the_bound() -> None:
    doses, seeds = np.geomspace(3e2, 3e5, 5), range(30)
    series = dose_series(transmission(), doses=doses, seeds=seeds).sel(quantity="transmission")
    freedom = POSITIONS * (len(seeds) - 1)
    closed = np.array([closed_form(dose) for dose in doses])
    assert series["single_bound"].values == pytest.approx(closed, rel=1e-6)
    assert series["bound"].values == pytest.approx(closed / np.sqrt(POSITIONS), rel=1e-6)
    low, high = np.sqrt(stats.chi2.ppf([1e-5, 1 - 1e-5], freedom) / freedom)
    ratio = series["single_spread"].values / closed
    assert (low < ratio).all()
    assert (ratio < high).all()
    # The logarithm of a spread has the standard error 1 / sqrt(2 freedom).
    x = np.log(doses) - np.log(doses).mean()
    slope = float(x @ np.log(series["single_spread"].values) / (x @ x))
    assert abs(slope + 0.5) < 4 / np.sqrt(2 * freedom) / np.sqrt(x @ x)


def test_electrons_of_a_lower_dose_are_among_those_of_a_higher() -> None:
    seen: list[xr.Dataset] = []

    def watching(measurement: xr.Dataset) -> xr.Dataset:
        seen.append(measurement)
        return transmission().solver(measurement)

    # Some ten electrons a position: two draws of their own would cross in one position of ten.
    doses = [500.0, 300.0, 400.0]
    dose_series(transmission(), doses=doses, seeds=range(5), solver=watching, bound=False)
    for start in range(0, len(seen), 3):
        mine = seen[start : start + 3]
        assert [acquisition_of(m).dose for m in mine] == pytest.approx([300, 400, 500])
        low, middle, high = (m["counts"].values.astype(int) for m in mine)
        assert (low <= middle).all()
        assert (middle <= high).all()
        assert low.sum() < middle.sum() < high.sum()


def test_one_simulation_serves_all_doses() -> None:
    calls: list[str] = []
    scenario = transmission()

    def build(seed: int) -> float:
        calls.append("build")
        return float(scenario.build(seed))

    def forward(specimen: Any) -> xr.Dataset:
        calls.append("forward")
        return scenario.forward(specimen)

    watched = replace(scenario, build=build, forward=forward)
    dose_series(watched, doses=[1e3, 1e4, 1e5], seeds=range(4), bound=False)
    assert calls == ["build", "forward"]


def test_data_that_cannot_be_thinned_are_simulated_at_every_dose() -> None:
    with pytest.raises(BadInputError, match="give at_dose"):
        dose_series(transmission(noise=ReadOut()), doses=[1e3, 1e4], seeds=range(3))
    series = dose_series(
        transmission(noise=ReadOut()),
        doses=[1e3, 1e4],
        seeds=range(3),
        at_dose=lambda dose: transmission(dose, noise=ReadOut()),
    )
    for dose in (1e3, 1e4):
        alone = round_trip(transmission(dose, noise=ReadOut()), seeds=range(3))
        expected = alone.summary["statistics"]["transmission"]
        found = series.sel(dose=dose, quantity="transmission")
        assert float(found["spread"]) == expected["spread"]
        # The read-out noise stays as the dose falls, so the bound goes with the dose itself.
        assert float(found["single_bound"]) == pytest.approx(1 / (dose * AREA))


def test_a_dose_too_low_for_the_solver_is_recorded() -> None:
    def needs_light(measurement: xr.Dataset) -> xr.Dataset:
        if acquisition_of(measurement).dose < 5e3:
            raise RuntimeError("too dark")
        return transmission().solver(measurement)

    series = dose_series(transmission(), doses=[1e3, 1e4], seeds=range(3), solver=needs_light)
    assert series["cases"].values.tolist() == [0, 3]
    assert series["failed"].values.tolist() == [3, 0]
    assert "dose 1000, seed 0: RuntimeError: too dark" in series.attrs["failures"]
    assert np.isnan(series["spread"].sel(dose=1e3)).all()
    assert np.isfinite(series["spread"].sel(dose=1e4)).all()
    assert np.isfinite(dose_figure(series).axes[0].dataLim.get_points()).all()


@pytest.mark.parametrize(
    ("doses", "seeds", "message"),
    [
        ([], [0], "doses is empty"),
        ([1e3], [], "seeds is empty"),
        ([0.0], [0], "dose = 0; expected more than 0"),
        ([-1.0, 1e3], [0], "dose = -1"),
        ([float("nan")], [0], "dose = nan"),
        ([float("inf")], [0], "dose = inf"),
    ],
)
def test_bad_doses_are_refused(doses: list[float], seeds: list[int], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        dose_series(transmission(), doses=doses, seeds=seeds)


def test_a_scenario_without_a_dose_is_refused() -> None:
    with pytest.raises(BadInputError, match="add a number 'dose' to its settings"):
        dose_series(transmission(states_dose=False), doses=[1e3], seeds=[0])


def made_up(names: list[str], *, single: bool = True) -> xr.Dataset:
    """A series of some quantities, the spread twice the bound."""
    doses = np.array([1e3, 1e4, 1e5])
    bound = np.outer(doses**-0.5, 1 + np.arange(len(names)))
    both = {"bound": bound, "spread": 2 * bound}
    both |= {f"single_{n}": 3 * v if single else np.nan * v for n, v in both.items()}
    variables: dict[str, Any] = {n: (("dose", "quantity"), v) for n, v in both.items()}
    variables["singles"] = (("dose", "quantity"), np.full(bound.shape, 90.0))
    variables["cases"] = ("dose", [9, 9, 9])
    coords = {
        "dose": ("dose", doses, {"units": "e/Å²"}),
        "quantity": names,
        "unit": ("quantity", ["Å"] * len(names)),
    }
    return xr.Dataset(variables, coords=coords)


def test_the_figure_shows_spread_and_bound_in_pm_a_colour_a_quantity() -> None:
    names = ["m_m", "m_m_li", "o_o_m"]
    series = made_up(names)
    figure = dose_figure(series)
    assert len(figure.axes) == 2
    for axes, part in zip(figure.axes, ("", "single_"), strict=True):
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert axes.get_ylabel() == "standard deviation (pm)"
        lines = [line for line in axes.lines if line.get_linestyle() == "-"]
        for name, line, points in zip(names, lines, axes.containers, strict=True):
            bound = 100 * series[f"{part}bound"].sel(quantity=name).values
            assert np.asarray(line.get_ydata()) == pytest.approx(bound)
            assert np.asarray(points[0].get_ydata()) == pytest.approx(2 * bound)
            assert to_hex(line.get_color()) == COLOURS[names.index(name)]
    assert len(dose_figure(made_up(names, single=False)).axes) == 1


def test_many_quantities_share_the_colours_of_their_names() -> None:
    names = ["m_m", "m_m_li", "m_m_olio", "o_o_m", "o_o_li"]
    lines = [line for line in dose_figure(made_up(names)).axes[0].lines if len(line.get_xdata())]  # type: ignore[arg-type]
    colours = [to_hex(line.get_color()) for line in lines if line.get_linestyle() == "-"]
    assert colours == [COLOURS[0]] * 3 + [COLOURS[1]] * 2


def test_groups_can_be_given() -> None:
    figure = dose_figure(made_up(["a", "b"]), groups={"a": "both", "b": "both"})
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["both", "spread", "bound"]


@settings(max_examples=50)
@given(st.lists(st.text("ab_", min_size=1, max_size=4), max_size=6, unique=True))
def test_every_name_has_a_group_with_a_name(names: list[str]) -> None:
    groups = shared_names(names)
    assert list(groups) == names
    assert all(groups.values())
