"""A probe that is displaced: the same measurement as a scan that goes there on purpose."""

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.aberration_sum import added
from echolith.forward.acquisition import Aberrations, Scan, StemAcquisition, acquisition_of
from echolith.forward.cost import make_plan
from echolith.forward.displaced_scan import displaced_positions
from echolith.forward.displacement_field import Distortion
from echolith.forward.optics import aberration_phase
from echolith.forward.scan_distortion import AffineDistortion, ScanDistortion
from echolith.forward.simulation import Engine
from echolith.forward.stem import stem_mean
from echolith.validation.strategies import aberrations
from tests.forward.small_specimen import BEAM, SIDE, SIMULATION, acquisition, crystal, specimen

ROUNDING = 2e-5
"""Relative to the peak: float32 waves through three slices, as in the tests of the engines."""
ENGINES = [Engine.MULTISLICE, Engine.PRISM, Engine.BLOCH]
SCAN = Scan(shape=(3, 4), step=(0.25, 0.3), rotation=25)
MOVING = ScanDistortion.from_strain(
    SCAN,
    strain=(0.05, -0.03),
    random_drift=0.3,
    correlation_time=1e-3,
    line_jitter=0.1,
    position_jitter=0.05,
    seed=4,
)


def computed(
    taken: StemAcquisition,
    engine: Engine,
    *,
    distortion: Distortion | None = None,
    residual: Aberrations | None = None,
    **changes: object,
) -> xr.Dataset:
    simulation = SIMULATION.model_copy(update={"engine": engine, "minimum_box": 7.0, **changes})
    mean = stem_mean(
        specimen(),
        acquisition=taken,
        simulation=simulation,
        distortion=distortion,
        residual=residual,
    )
    return mean.compute(scheduler="synchronous")


def largest_change(one: xr.Dataset, other: xr.Dataset) -> float:
    return max(
        float(np.abs(one[name].values - other[name].values).max() / other[name].max())
        for name in ("counts", "haadf")
    )


class Shift:
    """Every probe displaced by the same vector."""

    def __init__(self, *shift: float) -> None:
        self.shift = shift

    def displacements(self, scan: Scan) -> npt.NDArray[np.float64]:
        return np.broadcast_to(np.array(self.shift), (*scan.shape, 2))


@pytest.mark.parametrize("engine", ENGINES)
def test_no_distortion_and_no_residual_leave_every_bit_alone(engine: Engine) -> None:
    plain = computed(acquisition(scan=SCAN), engine)
    still = computed(
        acquisition(scan=SCAN), engine, distortion=ScanDistortion(), residual=Aberrations()
    )
    xr.testing.assert_identical(still, plain)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_constant_displacement_is_a_scan_somewhere_else(engine: Engine) -> None:
    wide = computed(acquisition(scan=Scan(shape=(5, 6), step=SCAN.step, rotation=25)), engine)
    shifted = computed(acquisition(scan=SCAN), engine, distortion=Shift(0.3, -0.25))
    # From the middle of the wide scan, one column on and one row back.
    wanted = wide.isel(scan_y=slice(0, 3), scan_x=slice(2, 6))
    assert largest_change(shifted, wanted) < ROUNDING
    assert largest_change(computed(acquisition(scan=SCAN), engine), wanted) > 1e-2


@pytest.mark.parametrize("engine", ENGINES)
def test_an_affine_displacement_is_a_scan_of_other_steps_and_angle(engine: Engine) -> None:
    turn, stretch = np.deg2rad(12), np.diag([1.03, 0.9])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    strain = rotation @ stretch - np.eye(2)
    distortion = AffineDistortion(strain=(tuple(strain[0]), tuple(strain[1])))
    moved = computed(acquisition(scan=SCAN), engine, distortion=distortion)
    meant = Scan(shape=SCAN.shape, step=(0.25 * 0.9, 0.3 * 1.03), rotation=25 + 12)
    # The dose belongs to the steps: the same electrons at each position.
    dose = 1e4 / (1.03 * 0.9)
    there = computed(acquisition(scan=meant, dose=dose), engine)
    assert largest_change(moved, there) < ROUNDING


@pytest.mark.parametrize(
    ("engine", "spread"), [(Engine.PRISM, 0.0), (Engine.BLOCH, 0.0), (Engine.BLOCH, 0.15)]
)
def test_engines_agree_on_a_drifting_scan(engine: Engine, spread: float) -> None:
    beam = BEAM.model_copy(update={"source_spread": spread})
    scan = Scan(shape=(3, 4), step=(0.15, 0.18), rotation=25)
    taken = acquisition(scan=scan, beam=beam)
    probes = computed(taken, Engine.MULTISLICE, distortion=MOVING)
    other = computed(taken, engine, distortion=MOVING)
    assert largest_change(other, computed(taken, engine)) > 1e-2
    # The spread is exact by plane waves, a fitted filter by the others. Its error is stated for
    # one Fourier component; those of a pixel add up to some three times its largest value.
    stated = probes.attrs["source_spread_error"]
    assert stated < 2e-4
    assert largest_change(other, probes) < ROUNDING + 3 * stated


@pytest.mark.parametrize("engine", ENGINES)
def test_bits_do_not_depend_on_chunks_or_workers(engine: Engine) -> None:
    beam = BEAM.model_copy(update={"source_spread": 0.15})
    taken = acquisition(scan=Scan(shape=(7, 2), step=0.1), beam=beam)
    distortion = ScanDistortion(
        drift=(20, 10), line_jitter=0.02, position_jitter=0.02, random_drift=0.1
    )
    every = []
    for chunk, workers in ((1, 1), (1, 2), (4, 2), (7, 1)):
        settings_ = SIMULATION.model_copy(
            update={"engine": engine, "chunk_rows": chunk, "minimum_box": 5.0, "sampling": 0.16}
        )
        lazy = stem_mean(
            crystal(),
            acquisition=taken.model_copy(update={"haadf": None}),
            simulation=settings_,
            distortion=distortion,
        )
        every.append(lazy.counts.compute(scheduler="threads", num_workers=workers).values)
    for other in every[1:]:
        np.testing.assert_array_equal(other, every[0])


@pytest.mark.parametrize("engine", [Engine.MULTISLICE, Engine.BLOCH])
def test_only_what_was_meant_is_recorded(engine: Engine) -> None:
    residual = Aberrations(C10=30, C12=20, phi12=0.5, C21=200, phi21=1, C23=200, phi23=0.2)
    taken = acquisition(scan=SCAN)
    mean = computed(taken, engine, distortion=MOVING, residual=residual)
    plain = computed(taken, engine)
    assert acquisition_of(mean) == taken
    assert set(mean.attrs) == set(plain.attrs)
    for name in set(mean.attrs) - {"engine_error"}:
        assert mean.attrs[name] == plain.attrs[name]
    xr.testing.assert_identical(mean.coords.to_dataset(), plain.coords.to_dataset())
    beam = BEAM.model_copy(update={"aberrations": added(BEAM.aberrations, residual)})
    known = computed(acquisition(scan=SCAN, beam=beam), engine, distortion=MOVING)
    np.testing.assert_array_equal(mean.counts, known.counts)
    assert largest_change(mean, computed(taken, engine, distortion=MOVING)) > 1e-2


@given(aberrations(phase=3.0), aberrations(phase=3.0), st.floats(-1, 1), st.floats(-1, 1))
def test_phases_of_aberrations_add(
    one: Aberrations, other: Aberrations, x: float, y: float
) -> None:
    kx, ky = (np.array([0.8 * value]) for value in (x, y))
    total, first, second = (
        aberration_phase(kx, ky, aberrations=a, energy=200e3)
        for a in (added(one, other), one, other)
    )
    np.testing.assert_allclose(total, first + second, atol=1e-9)


def test_a_residual_too_small_to_see_is_no_change() -> None:
    assert added(BEAM.aberrations, Aberrations()) == BEAM.aberrations
    assert added(Aberrations(), BEAM.aberrations) == BEAM.aberrations


def test_positions_follow_the_rotation_of_the_scan() -> None:
    scan = Scan(shape=(2, 3), step=0.3, rotation=90)
    cell = np.diag([SIDE, SIDE, 6])
    one = displaced_positions(scan, cell, None)
    other = displaced_positions(scan, cell, np.full((2, 3, 2), [0.1, 0.0]))
    np.testing.assert_allclose(other - one, np.full((2, 3, 2), [0.0, 0.1]), atol=1e-12)


def test_a_drifting_scan_is_never_tiled() -> None:
    taken = acquisition(scan=Scan(shape=(2, 8), step=(0.25, SIDE / 32)))
    tiled = SIMULATION.model_copy(update={"engine": Engine.TILED})
    with pytest.raises(BadInputError, match="positions that repeat"):
        stem_mean(specimen(), acquisition=taken, simulation=tiled, distortion=MOVING)
    plan = make_plan(specimen(), taken, SIMULATION, MOVING.displacements(taken.scan))
    assert Engine.TILED not in plan.cost.alternatives


@pytest.mark.parametrize("drift", [(4000.0, 0.0), (0.0, -4000.0)])
def test_drift_larger_than_the_field_is_refused(drift: tuple[float, float]) -> None:
    with pytest.raises(BadInputError, match="drift larger than the field: the probe wanders"):
        computed(acquisition(scan=SCAN), Engine.BLOCH, distortion=ScanDistortion(drift=drift))


def test_a_probe_that_leaves_the_specimen_is_refused() -> None:
    scan = Scan(shape=(40, 40), step=SIDE / 40)
    atoms = specimen(periodic=False)
    taken = acquisition(scan=scan.model_copy(update={"step": (0.2, 0.2)}))
    inside = ScanDistortion(drift=(5.0, 0.0))
    stem_mean(atoms, acquisition=taken, simulation=SIMULATION, distortion=inside)
    with pytest.raises(BadInputError, match=r"drift larger than the specimen.*leaves its cell"):
        stem_mean(
            atoms,
            acquisition=acquisition(scan=scan),
            simulation=SIMULATION,
            distortion=ScanDistortion(drift=(30.0, 0.0)),
        )


class Broken:
    def __init__(self, value: float, *shape: int) -> None:
        self.field = np.full(shape, value)

    def displacements(self, scan: Scan) -> npt.NDArray[np.float64]:
        return self.field


def test_displacements_that_are_none_are_refused() -> None:
    with pytest.raises(BadInputError, match="shape"):
        computed(acquisition(scan=SCAN), Engine.BLOCH, distortion=Broken(0.0, 3, 3, 2))
    with pytest.raises(BadInputError, match="NaN"):
        computed(acquisition(scan=SCAN), Engine.BLOCH, distortion=Broken(np.nan, 3, 4, 2))
