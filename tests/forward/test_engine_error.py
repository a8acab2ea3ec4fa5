"""The stated error bounds the distance to a wider box and a finer grid."""

import numpy as np
import pytest
import xarray as xr
from ase import Atoms
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import jv

from echolith.forward.acquisition import (
    Aberrations,
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
)
from echolith.forward.cost import make_plan
from echolith.forward.engine_error import sampling_error, share_outside
from echolith.forward.simulation import Engine, Simulation
from echolith.forward.stem import box_error, stem_mean
from tests.forward.small_specimen import SIMULATION, acquisition, crystal

DETECTOR = ("detector_y", "detector_x")
PIXEL = 4.0
"""mrad: a box of 6.3 Å."""


def computed(atoms: Atoms, taken: StemAcquisition, simulation: Simulation) -> xr.Dataset:
    mean = stem_mean(atoms, acquisition=taken, simulation=simulation)
    return mean.compute(scheduler="synchronous")


def worst_frame(one: xr.Dataset, better: xr.Dataset) -> float:
    """Return the largest root mean square difference of a frame, relative to its peak."""
    squares = (one.counts - better.counts) ** 2
    return float((np.sqrt(squares.mean(DETECTOR)) / better.counts.max(DETECTOR)).max())


def worst_ring(one: xr.Dataset, better: xr.Dataset) -> float:
    return float(np.abs(one.haadf - better.haadf).max() / better.haadf.max())


def foil(symbol: str, *, thickness: float, width: float) -> Atoms:
    """Columns of an atom every 4 Å, one in the middle, the others at random: not periodic."""
    rng = np.random.default_rng(5)
    xy = rng.uniform(0, width, (int(width**2 / 8), 2))
    xy[0] = width / 2  # a column under the scan
    z = np.arange(0.5, thickness, 4.0)
    positions = np.array([[*column, depth] for column in xy for depth in z])
    return Atoms([symbol] * len(positions), positions=positions, cell=[width, width, thickness])


def probes(**changes: object) -> StemAcquisition:
    return acquisition(
        **{
            "beam": Beam(semiangle=20),
            "scan": Scan(shape=(1, 3), step=0.24),
            "detector": PixelDetector(shape=(13, 13), pixel_size=PIXEL),
            "haadf": AnnularDetector(inner=45, outer=60),
            **changes,
        }
    )


@settings(max_examples=8)
@given(
    symbol=st.sampled_from(["Li", "O", "Mn", "Ag", "Au"]),
    layers=st.integers(1, 3),
    sampling=st.floats(0.06, 0.1),
    energy=st.sampled_from([80e3, 200e3, 300e3]),
)
@example(symbol="Li", layers=1, sampling=0.0996, energy=300e3)
@example(symbol="O", layers=2, sampling=0.0996, energy=300e3)
def test_of_the_sampling(symbol: str, layers: int, sampling: float, energy: float) -> None:
    side, beam = 3.6, Beam(energy=energy, semiangle=20)
    atoms = crystal(side=side)[[0, 2, 4]]
    atoms.symbols[:] = symbol
    atoms = atoms.repeat((1, 1, layers))
    # The detector's samples repeat with the crystal's: a tenth of the incident waves.
    pixel = 1e3 * beam.wavelength / (2 * side)
    taken = probes(
        beam=beam,
        detector=PixelDetector(shape=(17, 17), pixel_size=pixel),
        haadf=AnnularDetector(inner=40, outer=48),
    )
    settings = SIMULATION.model_copy(update={"engine": Engine.BLOCH, "sampling": sampling})
    coarse = computed(atoms, taken, settings)
    fine = computed(atoms, taken, settings.model_copy(update={"sampling": 0.04}))
    assert worst_frame(coarse, fine) < coarse.attrs["engine_error"]
    assert worst_ring(coarse, fine) < coarse.haadf.attrs["engine_error"]


@pytest.mark.parametrize("engine", [Engine.MULTISLICE, Engine.PRISM])
@pytest.mark.parametrize(
    ("symbol", "thickness", "c10"),
    [("O", 20.0, 0.0), ("Mn", 8.0, 0.0), ("Mn", 20.0, -60.0), ("Au", 4.0, 0.0), ("Au", 20.0, 0.0)],
)
def test_of_the_box(engine: Engine, symbol: str, thickness: float, c10: float) -> None:
    atoms = foil(symbol, thickness=thickness, width=40.0)
    taken = probes(beam=Beam(semiangle=20, aberrations=Aberrations(C10=c10)))
    narrow = Simulation(engine=engine, minimum_box=6.0, sampling=0.13, slice_thickness=4.0)
    wide = narrow.model_copy(update={"minimum_box": 25.0, "engine": Engine.MULTISLICE})
    small, large = (computed(atoms, taken, s) for s in (narrow, wide))
    measured, stated = worst_frame(small, large), small.attrs["engine_error"]
    assert measured < stated
    assert measured > sampling_error(0.13, thickness, 1)  # it is the box that is seen
    assert stated < 0.2
    assert large.attrs["engine_error"] < 0.8 * stated
    assert worst_ring(small, large) < small.haadf.attrs["engine_error"]


def test_whole_cells_have_no_error_of_the_box() -> None:
    atoms = crystal()
    whole = computed(atoms, acquisition(), SIMULATION)
    assert whole.attrs["engine_error"] == sampling_error(
        make_plan(atoms, acquisition(), SIMULATION).sampling, 6.0, 25
    )
    assert "whole cells" in whole.attrs["engine_error_basis"]
    atoms.pbc = False
    alone = stem_mean(atoms, acquisition=acquisition(), simulation=SIMULATION)
    assert alone.attrs["engine_error"] > 10 * whole.attrs["engine_error"]
    assert "box_error()" in alone.attrs["engine_error_basis"]


def test_the_error_of_the_box_can_be_measured() -> None:
    atoms = foil("Mn", thickness=8.0, width=40.0)
    taken = probes()
    narrow = Simulation(minimum_box=6.0, sampling=0.13, slice_thickness=4.0)
    measured = box_error(atoms, acquisition=taken, simulation=narrow)
    one, twice = (
        computed(
            atoms,
            probes(scan=Scan(shape=(1, 1), step=0.25)),
            narrow.model_copy(update={"minimum_box": side, "engine": Engine.MULTISLICE}),
        )
        for side in (6.0, 12.0)
    )
    assert measured == pytest.approx(worst_frame(one, twice), rel=1e-3)
    # The detector's pixel may ask for a box that is more than twice as wide as the least.
    tiny = narrow.model_copy(update={"minimum_box": 2.0})
    assert box_error(atoms, acquisition=taken, simulation=tiny) == pytest.approx(measured)


@given(side=st.floats(5, 30), semiangle=st.floats(10, 35))
def test_the_share_outside_a_box_is_that_of_airy(side: float, semiangle: float) -> None:
    beam = Beam(semiangle=semiangle)

    def outside_circle(radius: float) -> float:
        # Rayleigh's encircled energy: Born & Wolf, Principles of Optics, 7th ed., eq. 8.5.18.
        v = 2 * np.pi * radius * semiangle * 1e-3 / beam.wavelength
        return float(jv(0, v) ** 2 + jv(1, v) ** 2)

    share = share_outside(beam, (side, side), 0.0)
    # The square lies between two circles, its edge half a sample of lambda/(2 alpha) off;
    # a twentieth for tails that reach beyond the field and fold back.
    sample = beam.wavelength / (2e-3 * semiangle)
    assert outside_circle((side + sample) / np.sqrt(2)) < share
    assert share < 1.05 * outside_circle((side - sample) / 2)


@given(c10=st.floats(-400, 400))
def test_a_defocused_probe_is_wider(c10: float) -> None:
    def share(defocus: float, thickness: float) -> float:
        beam = Beam(semiangle=20, aberrations=Aberrations(C10=defocus))
        return share_outside(beam, (8.0, 8.0), thickness)

    # Geometric optics: a disc of radius |C10| alpha fills the box at 200 Å.
    if abs(c10) > 300:
        assert share(c10, 0.0) > 0.3
    assert share(c10, 0.0) == pytest.approx(share(-c10, 0.0))
    assert share(c10, 100.0) == max(share(c10, 0.0), share(c10 + 100, 0.0))
