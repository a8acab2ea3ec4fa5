"""Derivatives and information of columns against finite differences of another engine."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest
from ase import Atoms

from echolith.errors import BadInputError
from echolith.forward.acquisition import (
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
)
from echolith.forward.column_derivatives import exit_waves, intensities, supercell
from echolith.forward.column_information import ColumnInformation, column_information, crystal_waves
from echolith.forward.noise import PoissonCounting
from echolith.forward.optics import aperture
from echolith.forward.phonons import Phonons
from echolith.forward.simulation import Engine, Simulation
from echolith.forward.stem import stem_mean

A = 4.0
THICKNESS = 6.0
SAMPLING = 0.125
STEP = 0.01
BEAM = Beam(energy=80e3, semiangle=20.0)
GROUPS = np.array([0, 1, 0])


def crystal() -> Atoms:
    """Two columns: one of two atoms, one of one, nowhere symmetric."""
    return Atoms(
        "MnOMn",
        positions=[[0.3, 0.2, 1.0], [2.1, 1.7, 3.0], [0.3, 0.2, 5.0]],
        cell=[A, A, THICKNESS],
        pbc=[True, True, False],
    )


def moved(kind: str, step: float) -> Atoms:
    """The crystal repeated twice each way, its first column moved or made stronger."""
    atoms: Atoms = crystal().repeat((2, 2, 1))
    first = [0, 2]
    if kind == "strength":
        atoms.info["occupancy"] = {"1": {"Mn": 1 + step}}
        kinds = np.zeros(len(atoms), dtype=int)
        kinds[first] = 1
        atoms.arrays["spacegroup_kinds"] = kinds
    else:
        atoms.positions[first, "xy".index(kind)] += step
    atoms.wrap(pbc=[True, True, False])
    return atoms


def acquisition(**changes: object) -> StemAcquisition:
    """The lattice of the supercell samples the detector: pixel = wavelength / (2 A)."""
    pixel = BEAM.wavelength / (2 * A) * 1e3
    values: dict[str, object] = {
        "beam": BEAM,
        "scan": Scan(shape=(16, 16), step=(2 * A / 16, 2 * A / 16)),
        "detector": PixelDetector(shape=(17, 17), pixel_size=pixel),
        "haadf": None,
        "dose": 1e4,
    }
    return StemAcquisition(**{**values, **changes})


def counts(atoms: Atoms) -> npt.NDArray[np.float64]:
    simulation = Simulation(
        engine=Engine.BLOCH, sampling=SAMPLING, slice_thickness=2.0, minimum_box=8.0
    )
    with np.errstate(all="ignore"):
        mean = stem_mean(atoms, acquisition=acquisition(), simulation=simulation)
    return np.asarray(mean["counts"].compute().values, dtype=float)


@pytest.mark.filterwarnings("ignore::echolith.errors.BadInputWarning")
@pytest.mark.parametrize(("row", "kind"), [(1, "x"), (2, "y"), (3, "strength")])
def test_derivatives_are_those_of_the_bloch_engine(row: int, kind: str) -> None:
    difference = (counts(moved(kind, STEP)) - counts(moved(kind, -STEP))) / (2 * STEP)
    cell = supercell(crystal(), GROUPS, side=2 * A, sampling=SAMPLING, slice_thickness=2.0)
    pixel = acquisition().detector.pixel_size[0]
    reach = 8.4 * np.sqrt(2) * pixel
    waves = exit_waves(cell, beam=BEAM, largest_angle=reach, workers=1)
    index = np.rint(waves.points[:, ::-1] * 2 * A).astype(int) + 8
    inside = np.flatnonzero(((index >= 0) & (index < 17)).all(axis=1))
    k = waves.incident_vectors
    probe = aperture(k[:, 0], k[:, 1], beam=BEAM) / np.sqrt(len(k))
    ours = intensities(waves, probe=probe, shape=(16, 16), points=inside)
    ours = ours * acquisition().electrons_per_position
    frames = np.zeros((16, 16, 17, 17))
    # The scan is centred on the cell, its first position at -7.5 steps from there.
    frames[:, :, index[inside, 0], index[inside, 1]] = _at_scan(ours[row]).transpose(2, 1, 0)
    scale = np.abs(difference).max()
    # Truncation of the central difference (2 pi k h)²/6 is below 1 % for k up to 1/Å.
    assert np.abs(frames - difference).max() < 0.01 * scale


def _at_scan(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Shift a periodic map from positions at multiples of the step to the scan's."""
    shift = 2 * A / 2 - 7.5 * 2 * A / 16
    q = np.fft.fftfreq(16, 2 * A / 16)
    ramp = np.exp(2j * np.pi * q * shift)
    spectrum = np.fft.fft2(values.astype(float)) * ramp[:, None] * ramp[None]
    return np.asarray(np.fft.ifft2(spectrum).real)


@lru_cache
def information(side: float, dose: float = 1e4, workers: int = 2) -> ColumnInformation:
    taken = acquisition(
        dose=dose,
        detector=PixelDetector(shape=(81, 81), pixel_size=1.0),
        haadf=AnnularDetector(inner=50, outer=70),
    )
    waves = crystal_waves(
        crystal(),
        GROUPS,
        acquisition=taken,
        simulation=Simulation(sampling=SAMPLING, slice_thickness=2.0),
        side=side,
        workers=workers,
    )
    return column_information(waves, acquisition=taken, noise=PoissonCounting(), workers=workers)


def bounds(known: ColumnInformation) -> npt.NDArray[np.float64]:
    return np.sqrt(np.diag(np.linalg.inv(known.matrix))[: 3 * known.columns])


def test_a_wider_supercell_changes_little() -> None:
    assert np.allclose(bounds(information(15.9)), bounds(information(19.9)), rtol=0.015)


def test_information_is_in_proportion_to_the_dose() -> None:
    assert np.allclose(information(7.9, 3e4).matrix, 3 * information(7.9).matrix, rtol=1e-3)


def test_threads_do_not_change_a_bit() -> None:
    assert np.array_equal(information(7.9).matrix, information(7.9, workers=1).matrix)


def test_information_is_the_same_for_every_cell_and_positive() -> None:
    known = information(7.9)
    matrix = known.matrix
    n = 3 * known.columns
    assert np.allclose(matrix[:n, :n], matrix[n : 2 * n, n : 2 * n])
    assert np.linalg.eigvalsh(matrix).min() > 0
    assert known.index((0, 1), 1, "y") == n + 3 + 1
    assert known.index((2, 0), 0, "x") == known.index((0, 0), 0, "x")


def test_a_stronger_column_is_better_known() -> None:
    sigma = bounds(information(7.9)).reshape(-1, 3)
    assert (sigma[0] < sigma[1]).all()


def test_phonons_and_open_specimens_are_refused() -> None:
    with pytest.raises(BadInputError, match="static specimen"):
        crystal_waves(
            crystal(),
            GROUPS,
            acquisition=acquisition(),
            simulation=Simulation(sampling=SAMPLING, phonons=Phonons(configurations=2)),
        )
    atoms = crystal()
    atoms.pbc = False
    with pytest.raises(BadInputError, match="not laterally periodic"):
        supercell(atoms, GROUPS, side=8, sampling=SAMPLING, slice_thickness=2.0)
