import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.forward import engine_sizes as sizes_module
from echolith.forward.acquisition import PixelDetector, Scan
from echolith.forward.cost import estimate_cost, make_plan
from echolith.forward.phonons import Phonons
from echolith.forward.placement import scan_positions
from echolith.forward.simulation import Engine, ProjectedPotential
from echolith.forward.stem_tasks import measured_blocks
from tests.forward.small_specimen import BEAM, SIDE, SIMULATION, acquisition, crystal, specimen


@settings(max_examples=15)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    step=st.floats(0.02, 0.3),
    layers=st.integers(1, 8),
    periodic=st.booleans(),
    minimum_box=st.floats(5, 12),
)
def test_the_cheapest_exact_engine_is_taken(
    rows: int, columns: int, step: float, layers: int, periodic: bool, minimum_box: float
) -> None:
    taken = acquisition(scan=Scan(shape=(rows, columns), step=step))
    atoms = specimen(periodic=periodic).repeat((1, 1, layers))
    asked = SIMULATION.model_copy(update={"minimum_box": minimum_box})
    cost = estimate_cost(atoms, taken, asked)
    assert cost.seconds == min(cost.alternatives.values()) > 0
    assert cost.seconds == cost.alternatives[cost.engine]
    assert Engine.MULTISLICE in cost.alternatives
    assert (Engine.BLOCH in cost.alternatives) == periodic
    assert cost.slices == 3 * layers
    assert not {Engine.AUTO} & set(cost.alternatives)
    again = asked.model_copy(update={"engine": cost.engine})
    assert estimate_cost(atoms, taken, again) == cost


def test_prism_is_taken_for_more_probes_than_beams() -> None:
    thick = specimen(periodic=False).repeat((1, 1, 30))
    narrow = SIMULATION.model_copy(update={"minimum_box": 7.0})
    many = estimate_cost(thick, acquisition(scan=Scan(shape=(60, 60), step=0.02)), narrow)
    assert many.engine is Engine.PRISM
    assert many.waves < 3600
    few = estimate_cost(thick, acquisition(scan=Scan(shape=(6, 6), step=0.2)), narrow)
    assert few.engine is Engine.MULTISLICE
    assert few.waves == 36


def test_a_crystal_is_not_propagated_more_often_than_its_cell_has_positions() -> None:
    step = SIDE / 2 / 20
    taken = acquisition(scan=Scan(shape=(33, 47), step=step))
    tiled = estimate_cost(crystal(), taken, SIMULATION.model_copy(update={"engine": Engine.TILED}))
    assert tiled.waves == 400
    brute = np.asarray(scan_positions(taken.scan, np.asarray(crystal().cell))).reshape(-1, 2)
    folded = np.rint(brute / step - brute[0] / step).astype(int) % 20
    assert tiled.waves == len({tuple(one) for one in folded})
    assert tiled.alternatives[Engine.TILED] < tiled.alternatives[Engine.MULTISLICE] / 3


def test_an_endless_crystal_whose_box_has_a_seam_is_left_to_bloch() -> None:
    atoms = specimen()
    atoms.set_cell([SIDE + 0.7, SIDE, 6])
    seamed = estimate_cost(atoms, acquisition(), SIMULATION)
    assert seamed.engine is Engine.BLOCH
    # It is not the cheapest, only the cheapest of the exact ones.
    assert seamed.seconds > seamed.alternatives[Engine.MULTISLICE]
    spread = SIMULATION.model_copy(update={"potential": ProjectedPotential.ABTEM})
    assert estimate_cost(atoms, acquisition(), spread).engine is not Engine.BLOCH


def test_a_fourier_series_too_large_to_hold_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = specimen()
    atoms.set_cell([SIDE + 0.7, SIDE, 6])
    monkeypatch.setattr(sizes_module, "LARGEST_MATRIX", 1e4)
    assert estimate_cost(atoms, acquisition(), SIMULATION).engine is Engine.MULTISLICE


def test_configurations_and_defoci_are_counted() -> None:
    phonons = SIMULATION.model_copy(
        update={"phonons": Phonons(configurations=5), "engine": Engine.MULTISLICE}
    )
    static = SIMULATION.model_copy(update={"engine": Engine.MULTISLICE})
    one, five = (estimate_cost(specimen(), acquisition(), s) for s in (static, phonons))
    assert (one.configurations, five.configurations) == (1, 5)
    assert five.seconds == pytest.approx(5 * one.seconds)
    spread = acquisition(beam=BEAM.model_copy(update={"focal_spread": 30.0}))
    focal = estimate_cost(specimen(), spread, static)
    assert focal.seconds == pytest.approx(focal.defoci * one.seconds)
    assert focal.defoci == len(make_plan(specimen(), spread, static).beams) > 2


def test_source_spread_adds_margins_to_the_scan() -> None:
    taken = acquisition(beam=BEAM.model_copy(update={"source_spread": 0.2}))
    plan = make_plan(specimen(), taken, SIMULATION.model_copy(update={"engine": Engine.MULTISLICE}))
    margins = [filter_.margin for filter_ in plan.filters]
    assert plan.coherent.scan.shape == (3 + 2 * margins[0], 4 + 2 * margins[1])
    assert plan.cost.waves == np.prod(plan.coherent.scan.shape)
    cell = np.asarray(specimen().cell)
    inner = scan_positions(plan.coherent.scan, cell)[margins[0] : -margins[0]]
    np.testing.assert_allclose(inner[:, margins[1] : -margins[1]], scan_positions(taken.scan, cell))


@pytest.mark.parametrize("engine", [Engine.MULTISLICE, Engine.TILED, Engine.BLOCH, Engine.PRISM])
def test_rows_are_cut_into_tasks_that_fit_the_memory(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from echolith.forward import stem_tasks

    taken = acquisition(scan=Scan(shape=(50, 4), step=0.02))
    plan = make_plan(specimen(), taken, SIMULATION.model_copy(update={"engine": engine}))
    frame = 4 * 4 * 20 * 24
    monkeypatch.setattr(stem_tasks, "TASK_BYTES", 8.5 * frame)
    sizes = [rows for rows, _ in measured_blocks(specimen(), plan)]
    assert sum(sizes) == 50
    assert max(sizes) <= 8
    transposed = plan.acquisition.model_copy(
        update={"detector": PixelDetector(shape=(20, 24), pixel_size=2.5, transpose=True)}
    )
    assert transposed.detector.stored_shape == (24, 20)
