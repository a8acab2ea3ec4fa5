"""Strategies: valid by construction, varied, shrinking to the plain, refusing bad arguments."""

import doctest
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from ase import Atoms
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.acquisition import (
    Aberrations,
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    Settings,
    StemAcquisition,
    acquisition_of,
)
from echolith.forward.optics import aberration_phase, wavelength
from echolith.structures.crystals import crystal_names
from echolith.structures.li_rich_oxide import PRISTINE, ProjectedParameters, named_distances
from echolith.structures.occupation import Occupation
from echolith.validation import strategies
from echolith.validation.catalogue import entry, own_scenarios
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios.li_rich_oxide import LiRichOxideSettings

MODULES = (
    "plain_numbers",
    "acquisition_strategies",
    "specimen_strategies",
    "measurement_strategies",
    "scenario_strategies",
    "strategies",
)
FEW = settings(max_examples=8)  # each builds a whole specimen or scenario


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"echolith.validation.{module}"))
    assert found.attempted > 1
    assert found.failed == 0


def test_every_strategy_is_documented_with_an_example() -> None:
    for name in strategies.__all__:
        text = getattr(strategies, name).__doc__
        assert text, name
        assert ">>>" in text or name == "column_lattice", name


PLAIN: dict[str, tuple[Callable[[], st.SearchStrategy[Any]], Any]] = {
    "aberrations": (strategies.aberrations, Aberrations()),
    "incoherent beams": (lambda: strategies.beams(coherent=False), Beam()),
    "scans": (strategies.scans, Scan(shape=(2, 2), step=0.2)),
    "annular detectors": (strategies.annular_detectors, AnnularDetector(outer=101.92)),
    "occupations": (strategies.occupations, Occupation.ORDERED),
    "seeds": (strategies.seeds, 0),
    "settings": (lambda: strategies.settings_of(Scan), Scan()),
    "crystals": (lambda: strategies.crystals().map(len), 2),
    "counts": (lambda: strategies.counts().map(lambda c: int(c["counts"].sum())), 0),
    "means": (lambda: strategies.expected_counts().map(lambda m: float(m["counts"].sum())), 0.0),
}


@pytest.mark.parametrize("name", PLAIN)
def test_the_simplest_example_is_the_plain_one(name: str) -> None:
    make, expected = PLAIN[name]
    assert find(make(), lambda _: True) == expected


def test_a_failure_shrinks_to_what_it_is_about() -> None:
    """One aberration at fault: everything else comes out plain."""
    found = find(strategies.beams(), lambda beam: abs(beam.aberrations.C21) > 100)
    assert found.model_copy(update={"aberrations": Aberrations()}) == Beam()
    assert found.aberrations == Aberrations(C21=110)
    cell = find(strategies.projected_parameters(), lambda cell: cell.Ox > 0.85)
    assert cell.Ox == 0.851
    for name in ("A", "Cx", "Cy", "Oy"):
        assert getattr(cell, name) == round(getattr(PRISTINE, name), 3)


@pytest.mark.parametrize(
    ("strategy", "condition"),
    [
        (strategies.beams(), lambda b: b.energy == 60e3 and b.semiangle > 30),
        (strategies.beams(coherent=False), lambda b: b.focal_spread > 50 and b.source_spread > 0.4),
        (strategies.scans(), lambda s: s.shape[0] > s.shape[1] and s.rotation == 17),
        (strategies.scans(), lambda s: s.step[0] > s.step[1]),
        (strategies.pixel_detectors(), lambda d: d.transpose and d.shape[0] != d.shape[1]),
        (strategies.pixel_detectors(), lambda d: d.subpixels == (1, 3) and d.shape[0] % 2 == 1),
        (strategies.acquisitions(haadf=True), lambda a: a.haadf is not None),
        (strategies.acquisitions(), lambda a: a.dose > 5e5),
        (strategies.crystals(), lambda atoms: "occupancy" in atoms.info),
        (strategies.occupations(), lambda o: o is Occupation.DISORDERED),
        (strategies.counts(), lambda c: int(c["counts"].max()) == 50),
        (strategies.settings_of("li-rich-oxide"), lambda s: s.state.value == "discharged"),
        (strategies.settings_of("li-rich-oxide"), lambda s: s.haadf is None),
    ],
)
def test_what_matters_is_drawn(
    strategy: st.SearchStrategy[Any], condition: Callable[[Any], bool]
) -> None:
    quick = settings(phases=[Phase.generate], max_examples=2000, database=None)
    assert condition(find(strategy, condition, settings=quick))


@given(st.floats(0, 3), st.data())
def test_an_aberration_stays_below_its_phase(phase: float, data: st.DataObject) -> None:
    found = data.draw(strategies.aberrations(phase=phase))
    rim = 0.02 / wavelength(200e3)
    for name, value in found.model_dump().items():
        if not name.startswith("C"):
            continue
        alone = Aberrations(**{name: value})
        chi = aberration_phase(np.array([rim]), np.array([0.0]), aberrations=alone, energy=200e3)
        assert abs(float(chi[0])) <= phase * (1 + 1e-3)  # the wavelength there has four digits


@given(strategies.acquisitions(haadf=True))
def test_acquisitions_are_valid(taken: StemAcquisition) -> None:
    assert StemAcquisition.model_validate_json(taken.model_dump_json()) == taken
    assert 2 <= min(taken.scan.shape) <= max(taken.scan.shape) <= 12
    assert min(taken.detector.shape) >= 16
    for angles, size in zip(taken.detector.angles(), taken.detector.pixel_size, strict=True):
        assert angles.max() + size / 2 >= taken.beam.semiangle
        assert -angles.min() + size / 2 >= taken.beam.semiangle


@given(strategies.acquisitions(fully_sampled=True))
def test_full_sampling_loses_nothing(taken: StemAcquisition) -> None:
    taken.warn_if_undersampled()  # a warning is an error here
    assert taken.sampling_loss() == 0


@given(st.floats(1, 60), st.integers(13, 40), st.data())
def test_a_detector_holds_the_disc(semiangle: float, pixels: int, data: st.DataObject) -> None:
    found = data.draw(strategies.pixel_detectors(semiangle=semiangle, pixels=pixels))
    assert isinstance(found, PixelDetector)
    StemAcquisition(beam=Beam(semiangle=semiangle), detector=found)
    assert pixels <= min(found.shape) <= max(found.shape) <= pixels + 6


@given(strategies.scans(smallest=3, largest=5))
def test_scans_keep_to_their_limits(scan: Scan) -> None:
    assert {3, 4, 5} >= set(scan.shape)
    assert all(0.1 <= step <= 0.25 for step in scan.step)


@FEW
@given(strategies.crystals())
def test_crystals_are_whole(atoms: Atoms) -> None:
    assert atoms.pbc.all()
    assert atoms.cell.volume > 0
    gaps = atoms.get_all_distances(mic=True) + 10 * np.eye(len(atoms))
    # Half-filled sites of lithium in the garnet are 0.76 Å apart; the shortest bond, C-O, is 1.27.
    assert gaps.min() > 0.7


def test_only_the_crystals_named_are_drawn() -> None:
    drawn = find(strategies.crystals(names=["LiF"]), lambda _: True)
    assert set(drawn.symbols) == {"Li", "F"}
    assert len(crystal_names()) > 10


@given(st.floats(0, 0.3), st.data())
def test_projected_parameters_keep_to_their_spread(spread: float, data: st.DataObject) -> None:
    found = data.draw(strategies.projected_parameters(spread=spread))
    for name, value in found.model_dump().items():
        plain = round(getattr(PRISTINE, name), 3)
        assert abs(value - plain) <= spread * abs(plain) + 1e-9


@FEW
@given(st.data())
def test_column_lattices_have_the_distances_of_their_cell(data: st.DataObject) -> None:
    cells: list[ProjectedParameters] = []

    def keep(cell: ProjectedParameters) -> ProjectedParameters:
        cells.append(cell)
        return cell

    drawn = strategies.column_lattices(parameters=strategies.projected_parameters().map(keep))
    columns = data.draw(drawn)
    expected = named_distances(cells[-1])
    assert {name: float(columns[name]) for name in expected} == pytest.approx(expected, abs=1e-6)
    names = columns["pair_name"].values
    assert set(names.tolist()) == set(expected)
    for name, length in expected.items():
        assert columns["pair_distance"].values[names == name] == pytest.approx(length, abs=1e-6)


@FEW
@given(strategies.column_lattices(largest=18))
def test_columns_near_the_border_are_flagged(columns: xr.Dataset) -> None:
    x, y, edge = (columns[name].values for name in ("x", "y", "edge"))
    assert edge.any()
    assert not edge.all()
    low, high = 2.0, 18.0 - 2.0
    assert (x[~edge] >= low).all()
    assert (y[~edge] >= low).all()
    assert (x[~edge] <= high).all()
    assert (y[~edge] <= high).all()


@given(strategies.measurements(mean=7.0))
def test_measurements_fit_their_acquisition(data: xr.Dataset) -> None:
    taken = acquisition_of(data)
    assert data["counts"].shape == (*taken.scan.shape, *taken.detector.stored_shape)
    assert data["counts"].dtype == np.uint16
    values = data["counts"].values
    assert abs(values.mean() - 7.0) < 6 * np.sqrt(7.0 / values.size)


@given(strategies.counts(shape=(2, 3), largest=9), strategies.expected_counts(shape=(2, 3)))
def test_counts_and_means_keep_to_their_limits(drawn: xr.Dataset, mean: xr.Dataset) -> None:
    assert drawn["counts"].dims == mean["counts"].dims == ("scan_y", "scan_x")
    assert 0 <= int(drawn["counts"].min()) <= int(drawn["counts"].max()) <= 9
    assert np.issubdtype(drawn["counts"].dtype, np.integer)
    assert 0 <= float(mean["counts"].min()) <= float(mean["counts"].max()) <= 40


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(strategies.settings_of("li-rich-oxide", thickness=st.sampled_from([8.6, 20.0]), dose=5e4))
def test_settings_are_valid_and_keep_what_is_fixed(chosen: LiRichOxideSettings) -> None:
    assert LiRichOxideSettings.model_validate_json(chosen.model_dump_json()) == chosen
    assert chosen.thickness in (8.6, 20.0)
    assert chosen.dose == 5e4
    assert chosen.acquisition.detector == chosen.detector
    default = LiRichOxideSettings()
    slices = chosen.simulation.slice_thickness / default.simulation.slice_thickness
    assert 0.5 <= slices <= 2
    assert 0 < chosen.solver.epsilon < 1


def test_settings_shrink_to_the_defaults() -> None:
    found = find(strategies.settings_of("li-rich-oxide"), lambda _: True)
    default = LiRichOxideSettings()
    for name in ("state", "thickness", "occupation", "structure", "beam", "dose", "solver"):
        assert getattr(found, name) == getattr(default, name), name
    assert found.simulation == default.simulation


class Narrow(Settings):
    whole: int = 7
    share: float = 0.5
    name: str = "as it is"


def test_settings_of_any_class_can_be_drawn() -> None:
    assert find(strategies.settings_of(Narrow), lambda n: n.whole > 10) == Narrow(whole=11)
    assert find(strategies.settings_of(Narrow), lambda n: n.share < 0.4) == Narrow(share=0.399)


@FEW
@given(strategies.scenarios())
def test_scenarios_are_made_with_settings_of_their_own(scenario: Scenario) -> None:
    assert scenario.name in own_scenarios()
    assert isinstance(scenario.settings, entry(scenario.name).settings)
    assert scenario.quantities


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: strategies.aberrations(phase=-1), "phase = -1 rad; expected 0 rad or more"),
        (lambda: strategies.beams(phase=float("nan")), "phase = nan"),
        (lambda: strategies.scans(largest=1), "largest = 1; expected smallest = 2 or more"),
        (lambda: strategies.scans(smallest=0), "smallest = 0; expected 1"),
        (lambda: strategies.pixel_detectors(semiangle=30, pixels=4), "pixels = 4; expected 7"),
        (lambda: strategies.pixel_detectors(semiangle=0), "semiangle = 0 mrad"),
        (lambda: strategies.annular_detectors(inner=0), "inner = 0 mrad"),
        (lambda: strategies.acquisitions(largest_scan=1), "largest_scan = 1"),
        (lambda: strategies.acquisitions(pixels=6), "pixels = 6; expected 8 or more"),
        (lambda: strategies.acquisitions(phase=-1), "phase = -1"),
        (lambda: strategies.crystals(names=["LiFePO"]), "did you mean 'LiFePO4'"),
        (lambda: strategies.crystals(names=[]), "names is empty"),
        (lambda: strategies.projected_parameters(spread=0.5), "spread = 0.5; expected at most"),
        (lambda: strategies.projected_parameters(spread=-0.1), "spread = -0.1"),
        (lambda: strategies.column_lattices(largest=5), "largest = 5 Å; expected 16 Å"),
        (lambda: strategies.column_lattice(field=(20, 5)), "field = 5 Å"),
        (lambda: strategies.seeds(largest=-1), "largest = -1"),
        (lambda: strategies.counts(shape=(2, 3, 4)), r"shape = \(2, 3, 4\)"),
        (lambda: strategies.counts(largest=70000), "what uint16 holds"),
        (lambda: strategies.expected_counts(shape=(0, 3)), "each 1 or more"),
        (lambda: strategies.measurements(mean=-1), "mean = -1"),
        (lambda: strategies.measurements(mean=1e5), "expected at most 6e4"),
        (lambda: strategies.settings_of("li-rich-oxid"), "did you mean 'li-rich-oxide'"),
        (lambda: strategies.settings_of("li-rich-oxide", dos=1.0), "did you mean 'dose'"),
        (lambda: strategies.settings_of("li-rich-oxide", dose=-1.0), "greater than 0"),
        (lambda: strategies.scenarios("none"), "no scenario 'none'"),
        (lambda: strategies.near(5, low=6, high=7, step=1), "expected finite numbers, low <="),
        (lambda: strategies.near(5, low=4, high=7, step=0), "a positive step"),
    ],
)
def test_bad_arguments_are_refused_at_once(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        make()


@given(st.floats(-1e3, 1e3), st.floats(0, 1e3), st.floats(0, 1e3), st.data())
def test_numbers_lie_on_their_grid(
    plain: float, below: float, above: float, data: st.DataObject
) -> None:
    plain, low, high = round(plain, 1), plain - below - 0.1, plain + above + 0.1
    found = data.draw(strategies.near(plain, low=low, high=high, step=0.1))
    assert low <= found <= high
    assert found == round(found, 1)
