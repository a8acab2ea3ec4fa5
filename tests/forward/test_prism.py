"""PRISM without interpolation against brute-force multislice on the box of the whole field."""

import numpy as np
import pytest
from ase import Atoms

from echolith.errors import BadInputError
from echolith.forward.acquisition import Aberrations, Beam, PixelDetector, Scan, StemAcquisition
from echolith.forward.cost import make_plan
from echolith.forward.diffraction_box import Readout
from echolith.forward.engine_sizes import LARGEST_MATRIX
from echolith.forward.multislice import Slices
from echolith.forward.prism import Prism, matrix_bytes, plane_waves, scattering_rows
from echolith.forward.projected_potential import Region
from echolith.forward.simulation import Engine, ProjectedPotential, Simulation
from echolith.forward.stem import estimate_cost, stem_mean
from tests.forward.abtem_oracle import abtem_frames
from tests.forward.small_specimen import BEAM, PIXEL, SIDE, SIMULATION, acquisition, specimen

ROUNDING = 2e-5
"""Relative to the peak: float32 waves and sums over some 800 of them, 2e-6 seen."""
PRISM = SIMULATION.model_copy(
    update={
        "engine": Engine.PRISM,
        "potential": ProjectedPotential.ABTEM,
        "minimum_box": 12.0,
        "sampling": 0.13,
    }
)


def cluster() -> Atoms:
    """The atoms of the small specimen, alone in the middle of a cell twice as wide."""
    atoms = specimen(periodic=False)
    atoms.set_cell([2 * SIDE, 2 * SIDE, 6])
    atoms.translate([SIDE / 2, SIDE / 2, 0])
    return atoms


@pytest.mark.parametrize(
    "changes",
    [
        {"scan": Scan(shape=(3, 4), step=(0.25, 0.3), rotation=33)},
        {"beam": Beam(semiangle=20, aberrations=Aberrations(C30=1e4, C23=-400))},
        {"detector": PixelDetector(shape=(20, 24), pixel_size=PIXEL, transpose=True)},
        {"detector": PixelDetector(shape=(20, 16), pixel_size=(PIXEL, 1.5 * PIXEL))},
    ],
    ids=["rotation", "aberrations", "transpose", "oblong pixels"],
)
def test_equals_brute_force_abtem(changes: dict[str, object]) -> None:
    taken = acquisition(**changes)
    box = make_plan(cluster(), taken, PRISM).field_box
    atoms = cluster()
    atoms.set_cell([box.side[1], box.side[0], 6])
    atoms.translate([box.side[1] / 2 - SIDE, box.side[0] / 2 - SIDE, 0])
    atoms.pbc = [True, True, False]  # abTEM's potential repeats with the box
    mean = stem_mean(atoms, acquisition=taken, simulation=PRISM).compute(scheduler="synchronous")
    assert box.multiple != (1, 1)
    frames, ring = abtem_frames(atoms, taken, gpts=box.gpts, slice_thickness=2.0)
    assert np.abs(mean.counts.values - frames).max() < ROUNDING * frames.max()
    np.testing.assert_allclose(mean.haadf.values, ring, rtol=1e-4)


def test_focal_spread_is_the_average_over_its_defoci() -> None:
    beam = BEAM.model_copy(update={"focal_spread": 8.0})
    taken = acquisition(beam=beam, scan=Scan(shape=(2, 2), step=0.25))
    atoms = cluster()
    plan = make_plan(atoms, taken, PRISM)
    spread = stem_mean(atoms, acquisition=taken, simulation=PRISM).compute()
    total = np.zeros(spread.counts.shape)
    ring = np.zeros(spread.haadf.shape)
    for weight, one in plan.beams:
        taken_once = taken.model_copy(update={"beam": one})
        sharp = stem_mean(atoms, acquisition=taken_once, simulation=PRISM).compute()
        total += weight * sharp.counts.values
        ring += weight * sharp.haadf.values
    assert len(plan.beams) > 2
    np.testing.assert_allclose(spread.counts, total, rtol=0, atol=ROUNDING * total.max())
    np.testing.assert_allclose(spread.haadf, ring, rtol=1e-4)


def in_vacuum(taken: StemAcquisition) -> tuple[Prism, np.ndarray]:
    box = make_plan(cluster(), taken, PRISM).field_box
    empty = np.ones((3, *box.gpts), dtype=np.complex64)
    region = Region(origin=(0.0, 0.0), shape=box.gpts, sampling=box.sampling, wraps=False)
    slices = Slices(region=region, transmission=empty, thickness=2.0, box=box)
    readout = Readout(acquisition=taken, box=box)
    waves = plane_waves(taken.beam, box)
    centre = np.array(box.side[::-1]) / 2
    matrix = scattering_rows(waves, centre, slices=slices, readout=readout)
    return Prism(matrix=matrix, waves=waves, corner=np.zeros(2), readout=readout), centre


def test_plane_waves_pass_a_vacuum_one_by_one() -> None:
    prism, _ = in_vacuum(acquisition())
    intensity = np.abs(prism.matrix) ** 2
    assert (intensity > 0.5).sum() == len(np.unique(np.argwhere(intensity > 0.5)[:, 1]))
    assert intensity.max() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(np.minimum(intensity, np.abs(intensity - 1)), 0, atol=1e-5)


def test_a_vacuum_frame_holds_every_electron() -> None:
    taken = acquisition()
    prism, centre = in_vacuum(taken)
    frames, haadf = prism.frames(centre + np.array([[0.0, 0.0], [0.4, -0.3]]), [(1.0, BEAM)])
    np.testing.assert_allclose(frames.sum(axis=(1, 2)), taken.electrons_per_position, rtol=1e-5)
    np.testing.assert_allclose(haadf, 0, atol=1e-5)


def test_its_size_is_known_beforehand() -> None:
    taken = acquisition()
    prism, _ = in_vacuum(taken)
    estimate = matrix_bytes(prism.readout, taken.beam)
    assert estimate == pytest.approx(prism.matrix.nbytes, rel=0.05)
    cost = estimate_cost(cluster(), taken, PRISM)
    assert cost.waves == pytest.approx(len(prism.waves), rel=0.05)


def test_a_matrix_too_large_to_hold_is_refused() -> None:
    wide = StemAcquisition(scan=Scan(shape=(300, 300), step=0.25), beam=Beam(semiangle=20))
    atoms = Atoms("Li", positions=[[40, 40, 1]], cell=[80, 80, 3])
    settings = Simulation(engine=Engine.PRISM)
    with pytest.raises(BadInputError, match=f"beyond {LARGEST_MATRIX / 1e9:g} GB"):
        stem_mean(atoms, acquisition=wide, simulation=settings)
    auto = estimate_cost(atoms, wide, Simulation())
    assert auto.engine is Engine.MULTISLICE
    assert Engine.PRISM not in auto.alternatives
