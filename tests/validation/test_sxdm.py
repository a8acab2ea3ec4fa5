"""Maps of strain and tilt: round trip, pulls, the bound, what is left out, what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import echolith as el
from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.rocking_curve import RockingCurve, curve_voxels, peak_vectors
from echolith.inverse import diffraction_frames, diffraction_map
from echolith.inverse.diffraction_map import DiffractionMap, recover_map
from echolith.inverse.diffraction_peaks import fit_peaks
from echolith.structures.strained_crystals import MapSize, single_crystal
from echolith.validation.bounds import cramer_rao
from echolith.validation.diffraction_truth import held_part
from echolith.validation.run import run_once
from echolith.validation.stage_store import solve

SMALL: dict[str, Any] = {"curve": {"scan": (14, 16), "etas": 25, "dead": 4, "hot": 3}}


def simulated(**settings: Any) -> tuple[Any, Any]:
    scenario = el.scenario("nmc622-sxdm", **{**SMALL, **settings})
    return scenario, scenario.simulate(seed=1)


@given(
    spacing=st.floats(1, 20),
    lean=st.floats(1e-6, 60),
    azimuth=st.floats(-180, 180),
)
def test_vectors_have_the_length_and_the_lean_they_were_given(
    spacing: float, lean: float, azimuth: float
) -> None:
    turn = np.radians(azimuth)
    tilt = np.radians(lean) * np.array([np.cos(turn), np.sin(turn)])
    q = peak_vectors(np.array(spacing), tilt).astype(np.float32).astype(float)
    assert np.linalg.norm(q) == pytest.approx(2 * np.pi / spacing, rel=1e-6)
    # By the arc tangent of cross and dot product a lean of 1e-6 degree survives single precision.
    found = np.degrees(np.arctan2(np.hypot(q[0], q[1]), q[2]))
    assert found == pytest.approx(lean, rel=1e-5)
    assert np.cos(np.arctan2(q[1], q[0]) - turn) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", ["nmc622-sxdm", "linio2-sxdm"])
def test_strain_and_tilt_come_back_with_the_uncertainty_they_have(name: str) -> None:
    scenario = el.scenario(name, **SMALL)
    sample = scenario.simulate(seed=1)
    estimate = scenario.solver(sample.measurement)
    assert int(estimate.hot) == 3
    bound = cramer_rao(scenario, seed=1)
    for quantity, found in scenario.residuals(estimate, sample.truth).items():
        known = np.isfinite(found.error)
        assert known.sum() > 40
        pulls = found.error[known] / found.std[known]
        # Standard deviation of n pulls is known to 1 / sqrt(2 n); points at cracks have tails.
        assert pulls.std() < 1 + 5 / np.sqrt(2 * known.sum()), quantity
        spread = np.sqrt(np.mean(found.std[known] ** 2))
        assert spread == pytest.approx(float(bound[quantity]), rel=0.25), quantity


def test_crystals_of_a_map_are_found_and_scored() -> None:
    scenario, sample = simulated(
        curve={"scan": (20, 20), "etas": 25}, crystals=3, diameter=1400, radial_gradient=2e-3
    )
    estimate = scenario.solver(sample.measurement)
    scores = {name: score.value for name, score in scenario.score(estimate, sample.truth).items()}
    assert int(estimate.particles) == 3
    assert scores["found_particles"] == 1
    assert scores["merged_particles"] == scores["split_particles"] == 0
    assert scores["points_found"] > 0.95
    # A few points of the rim differ; strain varies by 1e-3 there, over 30 points or more.
    assert scores["particle_c_rms"] < 100 * 14.228 * 1e-3 / 3
    assert scores["particle_strain_spread_rms"] < 300
    # What the beam sees is wider than the crystal's own peak by the gradients within it.
    error = (estimate.width_z - sample.truth.width_z.values) / estimate.width_z_std
    assert abs(float(error.mean())) < 4 / np.sqrt(int(error.notnull().sum()))
    nothing = scenario.score(xr.Dataset(), sample.truth)
    assert all(np.isnan(score.value) for score in nothing.values())


def test_expansion_is_positive_strain() -> None:
    scenario, sample = simulated()
    free = scenario.solver(sample.measurement)
    stretched = recover_map(
        sample.measurement, options=DiffractionMap(reference=sample.specimen.reference / 1.01)
    )
    known = np.isfinite(free.strain.values)
    assert np.allclose(stretched.spacing.values[known], free.spacing.values[known])
    shift = (stretched.strain - free.strain).values[known]
    assert np.allclose(shift, 0.01 * (1 + free.strain.values[known]), atol=1e-9)


def test_a_point_without_signal_has_no_number() -> None:
    scenario, sample = simulated()
    estimate = scenario.solver(sample.measurement)
    outside = ~np.isfinite(estimate.strain.values)
    frames = scenario.forward(sample.specimen)["counts"]
    dark = frames.sum(("eta", "detector_y", "detector_x")).compute()
    dark = (dark - dark.min()).values < 5
    assert dark.sum() > 20
    assert outside[dark].all()
    assert np.isinf(estimate.strain_std.values[outside]).all()
    empty = recover_map(sample.measurement.assign(counts=0 * sample.measurement.counts))
    assert not np.isfinite(empty.strain.values).any()
    assert "mean_strain" not in empty


def test_frames_of_a_known_drift_are_moved_whole() -> None:
    drift = (0.0, 0.2)
    curve = {"scan": (20, 22), "drift": drift}
    scenario, sample = simulated(curve=curve, solver={"drift": drift})
    reference = sample.specimen.reference
    moved = scenario.score(scenario.solver(sample.measurement), sample.truth)
    still = recover_map(
        sample.measurement, options=DiffractionMap(reference=reference, drift=(0.0, 0.0))
    )
    # What is left of a step blurs a peak along eta, and so tells on the tilt towards x.
    before = scenario.score(still, sample.truth)
    for name in ("strain_rms", "tilt_y_rms"):
        assert moved[name].value < 0.75 * before[name].value, name


def test_steps_wider_than_the_peak_are_told() -> None:
    coarse = {"scan": (8, 8), "etas": 7, "eta_step": 0.4}
    scenario = el.scenario("nmc622-sxdm", curve=coarse, domains=1)
    sample = scenario.simulate(seed=1)
    with pytest.warns(BadInputWarning, match="finer steps"):
        scenario.solver(sample.measurement)


def test_blocks_chunks_and_a_break_change_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    curve = {"scan": (9, 8), "etas": 15, "drift": (0.15, -0.1)}
    scenario, sample = simulated(curve=curve, solver={"drift": (0.15, -0.1)})
    whole = scenario.solver(sample.measurement)
    lazy = sample.measurement.chunk(scan_y=2, scan_x=3, eta=4)
    frame_bytes = 15 * 32 * 32 * 4
    for columns in (1, 20):
        monkeypatch.setattr(diffraction_frames, "BLOCK_BYTES", columns * 8 * frame_bytes)
        assert scenario.solver(lazy).identical(whole)
    fitted: list[range] = []

    def breaks(*args: Any, rows: range, **options: Any) -> Any:
        fitted.append(rows)
        if len(fitted) == 3:
            raise KeyboardInterrupt
        return fit_peaks(*args, rows=rows, **options)

    monkeypatch.setattr(diffraction_frames, "BLOCK_BYTES", frame_bytes)
    monkeypatch.setattr(diffraction_map, "fit_peaks", breaks)
    with pytest.raises(KeyboardInterrupt):
        solve(scenario.solver, lazy, folder=tmp_path)
    blocks = {path.name.split(".")[0] for path in tmp_path.glob("rows*")}
    assert solve(scenario.solver, lazy, folder=tmp_path).identical(whole)
    # The third block was broken off; it and what follows is fitted, the first two are not.
    assert len(blocks) == 2
    assert len(fitted) == 3 + len(list(tmp_path.glob("rows*"))) - 2


def test_a_run_with_a_folder_is_the_run_without(tmp_path: Path) -> None:
    scenario = el.scenario("nmc622-sxdm", curve={"scan": (8, 8), "etas": 15, "eta_step": 0.08})
    plain = run_once(scenario, seed=2)
    for _ in range(2):
        kept = run_once(scenario, seed=2, keep=tmp_path)
        assert kept.estimate.identical(plain.estimate)
    assert kept.measurement["counts"].chunks is not None
    assert kept.summary["scores"] == plain.summary["scores"]


def test_what_is_no_map_is_refused() -> None:
    with pytest.raises(BadInputError, match="keV"):
        el.scenario("nmc622-sxdm", curve={"beam_energy": 9})
    _, sample = simulated()
    good = sample.measurement

    def without(*motors: str) -> str:
        left = json.loads(good.goniometer).items()
        return json.dumps({name: value for name, value in left if name not in motors})

    wrong: dict[str, xr.Dataset] = {
        "expected": good.rename(eta="theta"),
        "goniometer": good.assign_attrs(goniometer="").drop_attrs(),
        "increase": good.isel(eta=slice(None, None, -1)),
        "photons": good.assign(counts=good.counts - 1.5),
        "nu, delta are missing": good.assign_attrs(goniometer=without("nu", "delta")),
        "monitor is -1": good.assign_coords(monitor=-good.monitor),
        "monitor is nan": good.assign_coords(monitor=np.nan * good.monitor),
        "one value an angle": good.assign_coords(monitor=1.0),
        "whole numbers of them": good.assign_coords(eta=good.eta + 0.01 * (good.eta > 8.4)),
        "saturation": good.assign_attrs(saturation=0.0),
    }
    for message, bad in wrong.items():
        with pytest.raises(BadInputError, match=message):
            recover_map(bad)
    with pytest.raises(BadInputError, match="region"):
        recover_map(good, options=DiffractionMap(region=((0, 99), (0, 32), (0, 32))))
    other = json.dumps({**json.loads(good.goniometer), "beam_energy": 5000.0})
    with (
        pytest.warns(BadInputWarning, match="6000 to 20000 eV"),
        pytest.warns(BadInputWarning, match="no crystal is strained by 80%"),
    ):
        recover_map(good.assign_attrs(goniometer=other), options=DiffractionMap(reference=4.7427))
    with pytest.raises(BadInputError, match="beyond the specimen"):
        el.scenario("nmc622-sxdm").forward(single_crystal(MapSize(shape=(20, 20)), reference=4.7))


@given(
    place=st.tuples(st.integers(8, 22), st.integers(6, 25), st.integers(6, 25)),
    wide=st.floats(2.0, 8.0),
)
def test_part_of_a_peak_that_the_frames_hold(place: tuple[int, int, int], wide: float) -> None:
    """Against the sum over all voxels; their bend is left out, and their ends are not sharp."""
    curve = RockingCurve()
    voxels = curve_voxels(curve, 4.74)
    centre = voxels.vectors[place]
    width = np.full(3, wide * 7.6e-4)  # a pixel is 7.6e-4 1/Å
    away = ((voxels.vectors - centre) / width) ** 2
    density = np.exp(-away.sum(axis=-1) / 2) / ((2 * np.pi) ** 1.5 * width.prod())
    held = float(held_part(centre, width, curve=curve, reference=4.74))
    assert held == pytest.approx(float((density * voxels.volumes).sum()), abs=0.01)
