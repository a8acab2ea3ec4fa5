"""Fast annular dark-field frames: each position as if it were simulated by itself."""

import numpy as np
import pytest
import xarray as xr
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from echolith.errors import BadInputError
from echolith.forward.acquisition import Aberrations, AnnularDetector, Beam
from echolith.forward.diffraction_box import diffraction_box
from echolith.forward.fast_frames import FastFrames, fast_frames_of, frame_displacements
from echolith.forward.haadf_frames import _acquisition, haadf_frames_mean
from echolith.forward.noise import PoissonCounting
from echolith.forward.phonons import Phonons
from echolith.forward.scan_distortion import AffineDistortion, ScanDistortion
from echolith.forward.simulation import Engine
from echolith.forward.stem import stem_mean
from echolith.validation.distortion_strategies import fast_frames, scan_distortions
from tests.forward.small_specimen import BEAM, SIMULATION, crystal

FRAMES = FastFrames(
    frames=2,
    shape=(4, 5),
    step=(0.31, 0.27),
    rotation=20,
    dwell=1e-3,
    detector=AnnularDetector(inner=40, outer=60),
)
MOVING = ScanDistortion(
    drift=(10.0, -20.0), random_drift=0.2, correlation_time=0.01, line_jitter=0.05, seed=2
)
SETTINGS = SIMULATION.model_copy(update={"sampling": 0.13, "minimum_box": 9.0})


class Given:
    """Displacements already drawn."""

    def __init__(self, field: np.ndarray) -> None:
        self.field = field

    def displacements(self, scan: object) -> np.ndarray:
        return self.field


def directly(
    atoms: Atoms, *, beam: Beam, engine: Engine, residual: Aberrations | None = None
) -> np.ndarray:
    """Simulate every position of every frame by itself."""
    taken = _acquisition(beam, FRAMES, SETTINGS)
    if engine is Engine.BLOCH:
        coarse = taken.detector.model_copy(update={"subpixels": (1, 1)})
        taken = taken.model_copy(update={"detector": coarse})
    images = [
        stem_mean(
            atoms,
            acquisition=taken,
            simulation=SETTINGS.model_copy(update={"engine": engine}),
            distortion=Given(field),
            residual=residual,
        ).haadf.compute(scheduler="synchronous")
        for field in frame_displacements(FRAMES, MOVING)
    ]
    return np.stack(images)


def simulated(
    atoms: Atoms, *, beam: Beam, engine: Engine, residual: Aberrations | None = None
) -> xr.Dataset:
    return haadf_frames_mean(
        atoms,
        beam=beam,
        frames=FRAMES,
        distortion=MOVING,
        residual=residual,
        simulation=SETTINGS.model_copy(update={"engine": engine}),
    ).compute(scheduler="synchronous")


def cluster() -> Atoms:
    """A few atoms in vacuum; the box around a probe holds all of them wherever the probe is."""
    atoms = crystal(side=4.5)
    atoms.pbc = False
    return atoms


@pytest.mark.filterwarnings("ignore:scan step")
@pytest.mark.parametrize(
    ("atoms", "engine"), [(crystal(side=3.6), Engine.BLOCH), (cluster(), Engine.MULTISLICE)]
)
def test_every_position_is_as_simulated_by_itself(atoms: Atoms, engine: Engine) -> None:
    ours = simulated(atoms, beam=BEAM, engine=engine, residual=Aberrations(C10=20))
    wanted = directly(atoms, beam=BEAM, engine=engine, residual=Aberrations(C10=20))
    assert np.ptp(wanted) > 0.3 * wanted.max()
    # Of the engines: float32 waves, and for probes the edge of the box, that moves by pixels.
    error = ours.attrs["interpolation_error"] + (1e-6 if engine is Engine.BLOCH else 1e-4)
    assert np.abs(ours.haadf.values - wanted).max() < error * wanted.max()


@pytest.mark.filterwarnings("ignore:scan step")
def test_an_oblique_cell_and_a_wide_source() -> None:
    beam = BEAM.model_copy(update={"source_spread": 0.3, "focal_spread": 15.0})
    atoms = crystal(side=3.6)
    side = float(atoms.cell[0, 0])
    atoms.set_cell([[side, 0, 0], [2.3 * side, side, 0], [0, 0, 6]])
    ours = simulated(atoms, beam=beam, engine=Engine.BLOCH)
    wanted = directly(atoms, beam=beam, engine=Engine.BLOCH)
    assert np.abs(ours.haadf.values - wanted).max() < 1e-6 * wanted.max()


def test_engines_agree() -> None:
    beam = BEAM.model_copy(update={"source_spread": 0.2})
    box = diffraction_box(_acquisition(beam, FRAMES, SETTINGS), SETTINGS)
    atoms = crystal(side=box.side[0] / 2)  # whole cells in the box: no seam
    plane_waves, probes = (
        simulated(atoms, beam=beam, engine=engine) for engine in (Engine.BLOCH, Engine.MULTISLICE)
    )
    largest = float(plane_waves.haadf.max())
    # The potential is exponentiated on another grid by each, 1.5e-5 seen.
    error = probes.attrs["interpolation_error"] + 1e-4
    np.testing.assert_allclose(probes.haadf, plane_waves.haadf, atol=error * largest)


@given(scan_distortions(drift=0.2), fast_frames(largest=6))
def test_series_of_displacements(distortion: ScanDistortion, frames: FastFrames) -> None:
    moved = frame_displacements(frames, distortion)
    assert moved.shape == (frames.frames, *frames.shape, 2)
    scale = 1 + np.abs(moved).max()
    np.testing.assert_allclose(moved.mean(axis=(0, 1, 2)), 0, atol=1e-9 * scale)
    if frames.frames > 1:
        only = ScanDistortion(drift=distortion.drift, dwell=distortion.dwell)
        wandered = frame_displacements(frames, only)
        wanted = np.array(distortion.drift[::-1]) * frames.starts()[1]
        seen = (wandered[1] - wandered[0]).mean(axis=(0, 1))
        np.testing.assert_allclose(seen, wanted, atol=1e-9 * scale)


def test_one_distortion_for_each_frame() -> None:
    stretched = AffineDistortion(strain=((0.1, 0), (0, 0)))
    moved = frame_displacements(FRAMES, [ScanDistortion(), stretched])
    assert not moved[0].any()
    np.testing.assert_array_equal(moved[1], stretched.displacements(FRAMES.scan))
    assert not frame_displacements(FRAMES, None).any()
    with pytest.raises(BadInputError, match="1 distortions for 2 frames"):
        frame_displacements(FRAMES, [stretched])


def test_layout_metadata_and_counting() -> None:
    lazy = haadf_frames_mean(
        crystal(side=3.6), beam=BEAM, frames=FRAMES, distortion=MOVING, simulation=SETTINGS
    )
    still = haadf_frames_mean(crystal(side=3.6), beam=BEAM, frames=FRAMES, simulation=SETTINGS)
    assert lazy.haadf.chunks == ((1, 1), (4,), (5,))
    assert lazy.haadf.dims == ("frame", "scan_y", "scan_x")
    assert lazy.haadf.attrs["units"] == "electrons"
    assert fast_frames_of(lazy) == FRAMES
    assert Beam.model_validate_json(lazy.attrs["beam"]) == BEAM
    assert lazy.attrs == still.attrs  # nothing of the distortion is told
    np.testing.assert_allclose(lazy.time, [0, 4 * (5e-3 + 1e-4)])
    noise = PoissonCounting()
    whole = noise.sample(lazy.compute(), seed=1)
    np.testing.assert_array_equal(noise.sample(lazy, seed=1).haadf, whole.haadf)
    np.testing.assert_array_equal(still.haadf[0], still.haadf[1])
    assert (lazy.haadf[0] != lazy.haadf[1]).any()
    double = FRAMES.model_copy(update={"dose": 2 * FRAMES.dose})
    twice = haadf_frames_mean(crystal(side=3.6), beam=BEAM, frames=double, simulation=SETTINGS)
    np.testing.assert_allclose(twice.haadf, 2 * still.haadf, rtol=1e-6)


def test_phonons_are_averaged() -> None:
    shaken = SETTINGS.model_copy(
        update={"engine": Engine.BLOCH, "phonons": Phonons(configurations=2, displacement=0.2)}
    )
    still, average = (
        haadf_frames_mean(crystal(side=3.6), beam=BEAM, frames=FRAMES, simulation=s).haadf.values
        for s in (SETTINGS, shaken)
    )
    assert np.abs(still - average).max() > 1e-3 * still.max()


def test_bad_input_is_refused() -> None:
    with pytest.raises(BadInputError, match="drift larger than the field"):
        haadf_frames_mean(
            crystal(side=3.6), beam=BEAM, frames=FRAMES, distortion=ScanDistortion(drift=(1e3, 0))
        )
    with pytest.raises(BadInputError, match="no attribute 'fast_frames'"):
        fast_frames_of(xr.Dataset())
    with pytest.raises(BadInputError, match="cannot be read"):
        fast_frames_of(xr.Dataset(attrs={"fast_frames": '{"frame": 3}'}))
    with pytest.raises(ValidationError, match="give it in Å"):
        FastFrames(step=5e-4)
    with pytest.raises(ValidationError, match="give it in seconds"):
        FastFrames(dwell=100)


@given(st.integers(1, 50), st.floats(1e2, 1e5))
def test_electrons(frames: int, dose: float) -> None:
    taken = FastFrames(frames=frames, dose=dose, step=(0.1, 0.2))
    assert taken.electrons_per_position == pytest.approx(dose * 0.02)
    assert len(taken.starts()) == frames
