import warnings

import numpy as np
import pytest
import xarray as xr
from ase import Atoms

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.acquisition import (
    Aberrations,
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
    acquisition_of,
    rotate,
)
from echolith.forward.diffraction_box import diffraction_box
from echolith.forward.stem import (
    Engine,
    Phonons,
    ProjectedPotential,
    Simulation,
    box_error,
    estimate_cost,
    stem_mean,
)
from tests.forward.abtem_oracle import abtem_frames
from tests.forward.small_specimen import BEAM, PIXEL, SIDE, SIMULATION, acquisition, specimen

GPTS = diffraction_box(acquisition(), SIMULATION).gpts
ROUNDING = 2e-5
"""Relative to the peak: float32 waves through three slices (3e-6 seen), far below the 1e-4 that
the engines promise."""


def computed(atoms: Atoms, taken: StemAcquisition, simulation: Simulation) -> xr.Dataset:
    lazy = stem_mean(atoms, acquisition=taken, simulation=simulation)
    return lazy.compute(scheduler="synchronous")


def largest_change(one: xr.DataArray, other: xr.DataArray) -> float:
    return float(np.abs(one - other).max() / other.max())


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(
    ("rotation", "aberrations"),
    [(0, BEAM.aberrations), (33, BEAM.aberrations), (-90, Aberrations(C30=1e4, C23=-400))],
)
def test_equals_brute_force_abtem(
    rotation: float, aberrations: Aberrations, transpose: bool
) -> None:
    taken = acquisition(
        beam=BEAM.model_copy(update={"aberrations": aberrations}),
        scan=Scan(shape=(2, 3), step=(0.25, 0.3), rotation=rotation),
        detector=PixelDetector(shape=(20, 24), pixel_size=PIXEL, transpose=transpose),
    )
    atoms = specimen()
    settings = SIMULATION.model_copy(
        update={"potential": ProjectedPotential.ABTEM, "engine": Engine.MULTISLICE}
    )
    mean = computed(atoms, taken, settings)
    frames, ring = abtem_frames(atoms, taken, gpts=GPTS, slice_thickness=2.0)
    assert np.abs(mean.counts.values - frames).max() < ROUNDING * frames.max()
    np.testing.assert_allclose(mean.haadf.values, ring, rtol=ROUNDING)


@pytest.mark.parametrize("engine", [Engine.MULTISLICE, Engine.TILED, Engine.BLOCH])
def test_equals_abtem_on_a_grid_four_times_finer(engine: Engine) -> None:
    atoms, fine = specimen(), tuple(4 * n for n in GPTS)
    pixel = SIDE / fine[0]
    # abTEM spreads an atom over four pixels unless it is on one.
    atoms.positions[:, :2] = np.rint(atoms.positions[:, :2] / pixel) * pixel
    taken = acquisition(scan=Scan(shape=(2, 3), step=0.3))
    mean = computed(atoms, taken, SIMULATION.model_copy(update={"engine": engine}))
    frames, ring = abtem_frames(atoms, taken, gpts=(fine[0], fine[1]), slice_thickness=2.0)
    difference = mean.counts.values - frames
    peaks = frames.max(axis=(2, 3))
    assert np.abs(difference).max() < 1e-4 * frames.max()  # what the engines promise; 5e-5 seen
    assert (np.sqrt((difference**2).mean(axis=(2, 3))) / peaks).max() < mean.attrs["engine_error"]
    stated = mean.haadf.attrs["engine_error"]
    assert np.abs(mean.haadf.values - ring).max() < stated * ring.max()


def test_layout() -> None:
    taken = acquisition(detector=PixelDetector(shape=(20, 24), pixel_size=PIXEL, transpose=True))
    mean = stem_mean(specimen(), acquisition=taken, simulation=SIMULATION)
    assert mean.counts.chunks is not None
    assert mean.counts.dims == ("scan_y", "scan_x", "detector_y", "detector_x")
    assert mean.counts.shape == (3, 4, 24, 20)
    assert mean.haadf.dims == ("scan_y", "scan_x")
    assert mean.counts.dtype == mean.haadf.dtype == np.float32
    assert acquisition_of(mean) == taken
    np.testing.assert_allclose(mean.scan_x, [0, 0.3, 0.6, 0.9])
    np.testing.assert_allclose(mean.detector_x, (np.arange(20) - 10) * PIXEL)
    assert {mean[name].attrs["units"] for name in ("counts", "haadf")} == {"electrons"}
    assert mean.attrs["engine"] in {engine.value for engine in Engine}
    assert 0 < mean.attrs["engine_error"] < 0.1
    without = stem_mean(specimen(), acquisition=acquisition(haadf=None), simulation=SIMULATION)
    assert "haadf" not in without


@pytest.mark.parametrize("engine", [Engine.TILED, Engine.PRISM])
def test_engines_agree(engine: Engine) -> None:
    atoms = specimen()
    taken = acquisition(
        scan=Scan(shape=(3, 4), step=0.3, rotation=15),
        beam=BEAM.model_copy(update={"focal_spread": 20.0}),
    )
    probes = computed(atoms, taken, SIMULATION.model_copy(update={"engine": Engine.MULTISLICE}))
    # One box holds the scan with `minimum_box` to spare: the same box as a single probe's.
    spare = SIMULATION.model_copy(update={"engine": engine, "minimum_box": 7.0})
    other = computed(atoms, taken, spare)
    assert other.attrs["engine"] == engine.value
    assert largest_change(other.counts, probes.counts) < ROUNDING
    assert largest_change(other.haadf, probes.haadf) < ROUNDING


def test_tiling_repeats_one_cell_of_positions() -> None:
    atoms = specimen()
    taken = acquisition(scan=Scan(shape=(2, 8), step=(0.25, SIDE / 4)))
    tiled = SIMULATION.model_copy(update={"engine": Engine.TILED})
    assert estimate_cost(atoms, taken, tiled).waves == 8
    with pytest.warns(BadInputWarning):
        mean = stem_mean(atoms, acquisition=taken, simulation=tiled)
    counts = mean.counts.compute(scheduler="synchronous").values
    np.testing.assert_array_equal(counts[:, :4], counts[:, 4:])


def test_an_oblique_cell_is_filled() -> None:
    atoms = specimen()
    oblique = atoms.copy()
    oblique.set_cell([[SIDE, 0, 0], [2 * SIDE, SIDE, 0], [0, 0, 6]])
    oblique.translate([SIDE, 0, 0])  # the scan follows the centre of the cell
    one, other = (
        computed(a, acquisition(), SIMULATION.model_copy(update={"engine": Engine.MULTISLICE}))
        for a in (atoms, oblique)
    )
    # The region is filled with images here and wrapped there: its grid differs.
    assert largest_change(other.counts, one.counts) < 1e-4


def test_a_larger_box_changes_nothing_where_it_holds_whole_cells() -> None:
    atoms, taken = specimen(), acquisition()
    one, four = (
        computed(
            atoms,
            taken,
            SIMULATION.model_copy(update={"minimum_box": side, "engine": Engine.MULTISLICE}),
        )
        for side in (8.0, 16.0)
    )
    assert largest_change(four.counts, one.counts) < ROUNDING
    assert largest_change(four.haadf, one.haadf) < ROUNDING
    assert box_error(atoms, acquisition=taken, simulation=SIMULATION) < ROUNDING


@pytest.mark.parametrize("engine", [Engine.MULTISLICE, Engine.PRISM])
def test_vacuum_around_a_specimen_that_does_not_repeat(engine: Engine) -> None:
    atoms = specimen(periodic=False)
    settings = SIMULATION.model_copy(update={"engine": engine})
    pixel = np.array([SIDE / GPTS[1], SIDE / GPTS[0], 0])
    padded = atoms.copy()
    shift = np.array([34, 25, 0]) * pixel  # whole pixels: the box's edge cuts at the same place
    padded.set_cell([SIDE + 2 * shift[0], SIDE + 2 * shift[1], 6])
    padded.translate(shift)
    one, other = (computed(a, acquisition(), settings) for a in (atoms, padded))
    assert largest_change(other.counts, one.counts) < ROUNDING
    assert largest_change(other.haadf, one.haadf) < ROUNDING
    # By part of a pixel the edge of the box moves over the specimen: an error that is stated.
    padded.translate(0.4 * pixel)
    padded.set_cell(padded.cell.array + np.diag(0.8 * pixel))
    moved = computed(padded, acquisition(), settings)
    change = np.sqrt(((moved.counts - one.counts) ** 2).mean()) / one.counts.max()
    assert ROUNDING < change < one.attrs["engine_error"]


@pytest.mark.parametrize("engine", [Engine.MULTISLICE, Engine.TILED, Engine.PRISM, Engine.BLOCH])
@pytest.mark.parametrize("rotation", [0, 25])
def test_a_shift_of_a_periodic_specimen_is_a_shift_of_the_scan(
    engine: Engine, rotation: float
) -> None:
    taken = acquisition(scan=Scan(shape=(3, 4), step=(0.25, 0.3), rotation=rotation))
    settings = SIMULATION.model_copy(update={"engine": engine, "minimum_box": 7.0})
    atoms = specimen()
    shifted = atoms.copy()
    shifted.positions[:, :2] -= rotate(np.array([2 * 0.3, 0.25]), rotation)
    one, other = (computed(a, taken, settings) for a in (atoms, shifted))
    # Not rounding: the potential is exponentiated on a grid, 5e-5 seen.
    peak = float(one.counts.max())
    np.testing.assert_allclose(other.counts[:2, :2], one.counts[1:, 2:], atol=1e-4 * peak)
    np.testing.assert_allclose(other.haadf[:2, :2], one.haadf[1:, 2:], rtol=1e-2)
    assert np.abs(other.counts - one.counts).max() > 1e-2 * peak  # it is a real shift


@pytest.mark.parametrize("subpixels", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("minimum_box", [8.0, 16.0])
def test_a_frame_that_holds_everything_sums_to_the_dose(
    subpixels: tuple[int, int], minimum_box: float
) -> None:
    atoms = Atoms("Li", positions=[[SIDE / 2, SIDE / 2, 3]], cell=[SIDE, SIDE, 6])
    taken = acquisition(
        scan=Scan(shape=(1, 2), step=0.25),
        detector=PixelDetector(shape=(36, 36), pixel_size=PIXEL, subpixels=subpixels),
        haadf=None,
    )
    settings = Simulation(minimum_box=minimum_box, engine=Engine.MULTISLICE)
    total = computed(atoms, taken, settings).counts.sum(("detector_y", "detector_x"))
    # One Li atom scatters about 1e-4 beyond 45 mrad.
    np.testing.assert_allclose(total / taken.electrons_per_position, 1, atol=5e-4)


def test_subpixels_are_the_samples_of_a_finer_detector() -> None:
    atoms = specimen()
    coarse = acquisition(
        detector=PixelDetector(shape=(8, 12), pixel_size=(3 * PIXEL, 2 * PIXEL), subpixels=(3, 1)),
        haadf=None,
    )
    fine = acquisition(
        detector=PixelDetector(shape=(26, 12), pixel_size=(PIXEL, 2 * PIXEL)), haadf=None
    )
    settings = SIMULATION.model_copy(update={"engine": Engine.MULTISLICE})
    summed, single = (computed(atoms, taken, settings).counts for taken in (coarse, fine))
    # Row 4 of 8 is centred on row 13 of 26: fine rows 0 to 23 are those of the eight coarse ones.
    binned = single.values[:, :, 0:24].reshape(3, 4, 8, 3, 12).sum(axis=3)
    np.testing.assert_allclose(summed, binned, rtol=1e-5)


def test_an_even_number_of_subpixels_lies_symmetric_about_the_pixel() -> None:
    atoms = Atoms("Li", positions=[[SIDE / 2, SIDE / 2, 3]], cell=[SIDE, SIDE, 6])
    taken = acquisition(
        beam=Beam(semiangle=20),
        scan=Scan(shape=(1, 1), step=0.25),
        detector=PixelDetector(shape=(13, 13), pixel_size=5.0, subpixels=(2, 4)),
        haadf=None,
    )
    frame = computed(atoms, taken, SIMULATION.model_copy(update={"sampling": None}))
    values = frame.counts.values[0, 0]
    np.testing.assert_allclose(values, values[::-1, ::-1], atol=ROUNDING * values.max())


def test_counts_are_proportional_to_the_dose() -> None:
    one, ten = (computed(specimen(), acquisition(dose=d), SIMULATION) for d in (1e3, 1e4))
    np.testing.assert_allclose(ten.counts, 10 * one.counts, rtol=1e-5)
    np.testing.assert_allclose(ten.haadf, 10 * one.haadf, rtol=1e-5)


def test_the_specimen_is_left_alone_and_may_change_before_computing() -> None:
    atoms = specimen()
    before = atoms.copy()
    lazy = stem_mean(atoms, acquisition=acquisition(), simulation=SIMULATION)
    assert atoms == before
    atoms.positions[:] += 0.3
    late = lazy.compute(scheduler="synchronous")
    np.testing.assert_array_equal(late.counts, computed(before, acquisition(), SIMULATION).counts)


def test_undersampling_warns() -> None:
    with pytest.warns(BadInputWarning, match="transfer"):
        stem_mean(
            specimen(),
            acquisition=acquisition(scan=Scan(shape=(2, 2), step=0.5)),
            simulation=SIMULATION,
        )


def bad(**changes: object) -> Atoms:
    atoms = specimen(periodic=False)
    for name, value in changes.items():
        setattr(atoms, name, value)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "simulation", "message"),
    [
        (Atoms(cell=[5, 5, 5]), SIMULATION, "no atoms"),
        (Atoms("Li"), SIMULATION, "no cell"),
        (bad(positions=specimen().positions + np.array([0, 0, 4])), SIMULATION, "outside"),
        (bad(positions=specimen().positions - np.array([3, 0, 0])), SIMULATION, "outside"),
        (bad(positions=specimen().positions * np.nan), SIMULATION, "NaN"),
        (bad(cell=[[SIDE, 0, 0], [0, SIDE, 0], [1, 0, 6]]), SIMULATION, "along the beam"),
        (specimen(), Simulation(slice_thickness=7), "thinner than one slice"),
        (specimen(), Simulation(sampling=0.2), "up to 40.54 mrad"),
        (bad(), Simulation(engine=Engine.TILED), "periodic"),
        (bad(), Simulation(engine=Engine.BLOCH), "periodic"),
        (
            specimen(),
            Simulation(phonons=Phonons(configurations=1, displacement={"Mn": 0.1, "O": 0.1})),
            "Li",
        ),
    ],
)
def test_bad_input_is_refused(atoms: Atoms, simulation: Simulation, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        stem_mean(atoms, acquisition=acquisition(), simulation=simulation)


def test_implausible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"slice_thickness = 0\.05 Å"):
        Simulation(slice_thickness=0.05)
    with pytest.raises(ValueError, match="displacement = 8 Å"):
        Phonons(displacement=8)


def test_a_wide_annulus_needs_a_fine_grid() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide = acquisition(haadf=AnnularDetector(inner=72.8, outer=271))
    box = diffraction_box(wide, Simulation())
    assert max(box.sampling) <= 0.3233 * BEAM.wavelength / 0.271
