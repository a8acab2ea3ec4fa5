"""Columns to start multislice ptychography from: their places, their phase, what they are for."""

import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from echolith.errors import BadInputError
from echolith.forward.acquisition import PixelDetector, Scan
from echolith.inverse import multislice_ptychography_columns
from echolith.inverse.column_naming import UndeterminedSpeciesError
from echolith.inverse.columns import find_columns
from echolith.inverse.iterative_ptychography_descent import Problem
from echolith.inverse.iterative_ptychography_frames import Frames
from echolith.inverse.iterative_ptychography_image import scan_images
from echolith.inverse.iterative_ptychography_kernels import detect
from echolith.inverse.iterative_ptychography_options import PtychographyOptions
from echolith.inverse.multislice_ptychography import multislice_ptychography
from echolith.inverse.multislice_ptychography_columns import (
    MultisliceColumnSolver,
    recover_columns_multislice,
)
from echolith.inverse.multislice_start import SURROUNDINGS, column_start, lattice_columns
from echolith.inverse.multislice_thickness import coarse_thickness
from tests.inverse.phase_sets import acquisition, noise_set
from tests.inverse.test_multislice_columns import KINDS, PHASES, SHAPE, STEP, crystal, image, likely

OXYGEN = 1.983
"""Å, scattering factor at rest (International Tables C, 4.3.2.2)."""
PHASE_OF_ONE = 0.03489
"""rad Å: gamma lambda at 200 kV (Kirkland: 1.3914 times 0.025079 Å)."""


@given(
    angle=st.floats(0, 180),
    mirrored=st.booleans(),
    origin=st.tuples(st.floats(0, 5), st.floats(0, 5)),
)
@example(angle=3.0, mirrored=False, origin=(1.5, 0.0))
@settings(max_examples=3)
def test_every_site_in_and_around_the_scan_gets_a_column(
    angle: float, mirrored: bool, origin: tuple[float, float]
) -> None:
    points, kinds = crystal(angle, mirrored, origin)
    phase = image(points, np.array(PHASES)[kinds], 0.4)
    columns = lattice_columns(find_columns(phase), phase)
    placed = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    # `crystal` goes 2 Å beyond the scan, which has one step less than it has positions.
    distance, nearest = cKDTree(placed).query(points)
    assert distance.max() < 0.15
    assert columns["species"].values[nearest].tolist() == [KINDS[kind] for kind in kinds]
    apart = cKDTree(placed).query(placed, k=2)[0][:, 1]
    assert apart.min() > 1.2
    beyond = np.maximum(-placed, placed - (np.array(SHAPE[::-1]) - 1) * STEP).max()
    assert 1.5 < beyond < SURROUNDINGS
    # M-M is 2.4685 Å in this cell; the layers are close-packed.
    assert float(columns["spacing"]) == pytest.approx(2 * 2.4685 / np.sqrt(3), rel=0.01)


def one_column(x: float, y: float, species: str) -> xr.Dataset:
    return xr.Dataset(
        {
            "x": ("column", [x]),
            "y": ("column", [y]),
            "species": ("column", [species]),
            "spacing": ((), 2.5),
        }
    )


@pytest.mark.parametrize("rotation", [0.0, -30.0, 90.0])
def test_a_column_starts_with_the_phase_of_its_atoms_where_it_stands(rotation: float) -> None:
    scan = Scan(shape=(24, 20), step=(0.29, 0.26), rotation=rotation)
    taken = acquisition(scan=scan)
    options = PtychographyOptions(thickness=50, slice_thickness=10)
    problem = Problem.of(Frames.of(noise_set(taken, seed=0)), options)
    state = column_start(problem, one_column(2.6, 4.06, "O"))
    assert state.phase.shape == (5, *problem.grid.shape)
    np.testing.assert_array_equal(state.phase, state.phase[:1].repeat(5, axis=0))
    whole = float(state.phase.sum(dtype=float)) * np.prod(problem.grid.box.sampling)
    assert whole == pytest.approx(20 * PHASE_OF_ONE * OXYGEN, rel=2e-3)
    shown = scan_images(state.phase, problem.grid, scan, 1.6)[0]
    assert np.unravel_index(shown.argmax(), shown.shape) == (14, 10)


def test_a_start_without_spacing_is_refused() -> None:
    frames = noise_set(acquisition(), seed=0)
    with pytest.raises(BadInputError, match="the columns to start from lack species, spacing"):
        multislice_ptychography(
            frames, start=one_column(1, 1, "O").drop_vars(["species", "spacing"])
        )


def thick_set(columns: xr.Dataset, options: PtychographyOptions) -> xr.Dataset:
    """Return Poisson counts of columns by the solver's own model: only the start is in question."""
    taken = acquisition(
        scan=Scan(shape=(10, 11), step=(0.29, 0.29)),
        detector=PixelDetector(shape=(26, 26), pixel_size=(3.0, 3.0)),
        dose=1e5,
    )
    vacuum = noise_set(taken, seed=0)
    problem = Problem.of(Frames.of(vacuum), options)
    state = column_start(problem, columns)
    specimen = problem.specimen(state.phase)
    spectra, corners = specimen.incident(problem.probe(state.aberrations), state.positions)
    waves, _ = specimen.forward(spectra, corners)
    frames = np.empty(problem.frames.counts.shape, np.float32)
    detect(waves, problem.grid.rows, problem.grid.columns, state.scale, frames)
    counts = np.random.default_rng(1).poisson(frames).reshape(vacuum["counts"].shape)
    return vacuum.assign(counts=(vacuum["counts"].dims, counts))


def test_columns_explain_a_thick_crystal_where_vacuum_and_wrong_names_do_not() -> None:
    points, kinds = crystal(17, False, (1.0, 2.0))
    here = (points < 5).all(axis=1)
    truth = xr.Dataset(
        {
            "x": ("column", points[here, 0]),
            "y": ("column", points[here, 1]),
            "species": ("column", np.array(KINDS)[kinds[here]]),
            "spacing": ((), 2.85),
        }
    )
    options = PtychographyOptions(thickness=100, iterations=4)
    measurement = thick_set(truth, options)
    rng = np.random.default_rng(2)
    start = truth.assign({name: truth[name] + rng.normal(0, 0.05, here.sum()) for name in "xy"})
    species = truth["species"].values
    exchanged = np.select([species == "M", species == "Li"], ["Li", "M"], species)
    starts = (start, None, start.assign(species=("column", exchanged)))
    told, blind, wrong = (
        float(multislice_ptychography(measurement, options=options, start=one)["deviance"][-1])
        for one in starts
    )
    assert told < 0.8 * min(blind, wrong)


@pytest.mark.parametrize("gap", [19.0, -500.0])
def test_columns_are_refused_where_the_counts_do_not_prefer_their_names(gap: float) -> None:
    columns = one_column(1, 1, "M")

    def likelihoods(
        _: object, chosen: xr.Dataset, thicknesses: list[float], **__: object
    ) -> object:
        named = chosen["species"].values.tolist() == ["M"]
        return dict.fromkeys(thicknesses, gap if named else 0.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multislice_ptychography_columns, "log_likelihoods_of_columns", likelihoods)
        with pytest.raises(UndeterminedSpeciesError, match="M and Li columns exchanged"):
            multislice_ptychography_columns._check_exchanged(
                noise_set(acquisition(), seed=0), columns, 50.0, MultisliceColumnSolver(), None
            )


def test_thicker_specimens_are_not_tried_beyond_two_falls() -> None:
    tried: list[float] = []

    def likelihoods(_: xr.Dataset, thicknesses: list[float], **__: object) -> dict[float, float]:
        tried.extend(thicknesses)
        return likely(70)(_, thicknesses)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("echolith.inverse.multislice_thickness._log_likelihoods", likelihoods)
        assert coarse_thickness(noise_set(acquisition(), seed=0)) == pytest.approx(70)
    assert tried == [10, 40, 80, 120, 160]


def test_the_solver_is_installed_by_name() -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    named = tomllib.loads(pyproject.read_text())["project"]["entry-points"]["echolith.solvers"]
    module, function = named["thick-columns"].split(":")
    assert getattr(import_module(module), function) is recover_columns_multislice
