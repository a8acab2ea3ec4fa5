"""The whole chain: what it recovers, in stages, from projections and from frames."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml

import echolith as el
from echolith.errors import BadInputError
from echolith.inverse.spectro_tomography import projections_from_frames
from echolith.validation.run import run_once

SMALL: dict[str, Any] = {
    "plates": 2,
    "pixels": 31,
    "facet_area": 3e5,
    "tilts": {"angles": tuple(range(-80, 78, 4))},
    "solver": {"alignment": {"iterations": 6}},
}
FEW_FRAMES: dict[str, Any] = {
    **SMALL,
    "plates": 1,
    "active_fraction": 1.0,
    "facet_area": 2.6e5,
    "pixels": 21,
    "jitter": {"shift": 30.0},
    "frames": {
        "plate": {"outer_zone_width": 500, "defocus": 3e4},
        "shape": (7, 7),
        "step": 330.0,
        "jitter": 50.0,
        "pixels": 48,
        "photons": 2e6,
    },
}


def test_projections_lead_to_particles_and_resume(tmp_path: Path) -> None:
    scenario = el.scenario("lfp-spectro-tomography", record="projections", **SMALL)
    told: list[str] = []
    found = run_once(scenario, seed=3, keep=tmp_path, announce=told.append)
    stages = ["alignment", "composition", "particles"]
    assert [name for name in told if name in stages] == stages
    scores = {name: score["value"] for name, score in found.summary["scores"].items()}
    assert scores["found_particles"] == 1
    assert scores["merged_particles"] == scores["split_particles"] == 0
    assert scores["composition_rms"] < 0.15
    assert scores["state_of_charge_error"] < 0.05
    # Uniform within +-130 Å, 75 Å in the mean, before.
    assert max(scores["shift_x_rms"], scores["shift_y_rms"]) < 12
    files = [path.name.split(".")[0] for path in tmp_path.iterdir()]
    assert {"1-alignment", "2-composition", "3-particles"} < set(files)
    again = run_once(scenario, seed=3, keep=tmp_path)
    assert again.estimate.identical(found.estimate)
    assert again.summary["timings"]["solve"] < 0.5 * found.summary["timings"]["solve"]


def test_frames_become_the_projections_that_were_there() -> None:
    settings = {**FEW_FRAMES, "tilts": {"angles": (-60, -20, 20, 60)}}
    frames = el.scenario("lfp-spectro-tomography", **settings)
    direct = el.scenario("lfp-spectro-tomography", **{**settings, "record": "projections"})
    measured = frames.simulate(seed=2).measurement
    found = projections_from_frames(measured, field=(21, 21))
    mean = direct.simulate(seed=2, noise_free=True).measurement
    true = -np.log(mean["counts"].values / float(mean["incident"]))
    error = found["optical_density"].values - true
    assert found["optical_density"].dims == ("energy", "tilt", "y", "x")
    assert np.corrcoef(found["optical_density"].values.ravel(), true.ravel())[0, 1] > 0.95
    assert abs(error.mean()) < 0.02
    assert np.isfinite(found["optical_density_std"].values).all()


def test_the_jitter_of_the_truth_has_nothing_that_no_series_tells() -> None:
    truth = el.scenario("lfp-spectro-tomography", record="projections", **SMALL).simulate(seed=1)
    placed = truth.truth
    angle = np.deg2rad(placed["tilt"].values)
    for course in (np.ones_like(angle), np.cos(angle), np.sin(angle)):
        assert abs((placed["shift_x"].values * course).mean()) < 0.5
    assert abs(placed["shift_y"].values.mean()) < 0.5
    assert abs(placed["rotation"].values.mean()) < 1e-9


def test_what_makes_no_chain_is_refused() -> None:
    def made(**settings: Any) -> None:
        el.scenario("lfp-spectro-tomography", **settings)

    with pytest.raises(BadInputError, match="odd number"):
        made(pixels=40)
    with pytest.raises(BadInputError, match="one on each white line"):
        made(energies=(708.2, 708.2))
    with pytest.raises(BadInputError, match="one value for both"):
        made(tilts={"voxel_size": 50})
    with pytest.raises(BadInputError, match="no counts over tilt"):
        projections_from_frames(xr.Dataset(), field=(21, 21))


def test_the_settings_of_the_paper_are_settings() -> None:
    path = Path(__file__).resolve().parents[2] / "examples" / "lfp_paper_size.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    made = el.scenario("lfp-spectro-tomography", **settings).settings.model_dump()
    assert len(made["tilts"]["angles"]) == 158
    assert (made["plates"], made["pixels"]) == (83, 256)
