"""The examples' solvers, outsiders all, on a thin sheet of Li-rich oxide with known columns.

Those that need another package run in the environments named in ECHOLITH_PEERS_PYTHON (paths
separated as in PATH), else in this one, and are left out where it is absent.
"""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from echolith.forward.acquisition import PixelDetector, Scan, StemAcquisition
from echolith.forward.noise import PoissonCounting
from echolith.forward.phase_object import phase_object_mean
from echolith.validation.estimate_check import check_estimate
from echolith.validation.matching import match_columns
from echolith.validation.solver_process import SolverProcess
from tests.inverse.weak_phase import Cell, Field, haadf_image, phase_image, true_columns
from tests.peers import environment_with

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# Rows and columns of unequal number and step, so that no transpose goes unseen.
FIELD = Field(shape=(60, 72), layers=3, cell=Cell(split=False))
DISTANCES = ("m_m", "o_o_m", "o_o_li")
REACH = 0.05
"""Å; what these simple solvers may miss: tails of neighbours shift oxygen by up to 0.03 Å."""


@cache
def counts() -> xr.Dataset:
    taken = StemAcquisition(
        scan=Scan(shape=FIELD.shape, step=(FIELD.step, FIELD.step)),
        detector=PixelDetector(shape=(26, 28), pixel_size=(1.9, 1.9)),
        haadf=None,
        dose=1e6,
    )
    mean = phase_object_mean(phase_image(FIELD), acquisition=taken)
    # A thin sheet scatters little to high angles; a long exposure of the dark field makes up.
    haadf = 1e3 * haadf_image(FIELD).astype(np.float32)
    return PoissonCounting().sample(mean.assign(haadf=haadf), seed=0).compute()


def truth() -> xr.Dataset:
    named = {name: ((), length, {"units": "Å"}) for name, length in Cell().distances().items()}
    return true_columns(FIELD).drop_vars("sign").assign(named)


def estimated(name: str, python: Path) -> xr.Dataset:
    estimate = SolverProcess(target=f"{EXAMPLES / name}.py:solve", python=python)(counts())
    check_estimate(estimate, quantities=DISTANCES, truth=truth())
    return estimate


def holds_all(estimate: xr.Dataset, species: str) -> None:
    """Every true column far from the border is found with its species, and none besides."""
    height, width = (n * FIELD.step for n in FIELD.shape)
    expected, found = (
        c.assign(edge=(c.x < 2) | (c.y < 2) | (c.x > width - 2) | (c.y > height - 2))
        for c in (truth(), estimate)
    )
    match = match_columns(found, expected, species=species)
    assert len(match.truth) == match.expected > 3
    assert match.unmatched == 0
    for axis in ("x", "y"):
        error = found[axis].values[match.estimate] - expected[axis].values[match.truth]
        assert abs(error.mean()) < REACH
        assert error.std() < 2 * REACH


def near_the_truth(estimate: xr.Dataset, *names: str) -> None:
    for name in names:
        assert abs(float(estimate[name]) - float(truth()[name])) < REACH, name
        assert float(estimate[f"{name}_std"]) < REACH


def test_the_centre_of_mass_finds_columns_and_distances() -> None:
    estimate = estimated("center_of_mass_solver", Path(sys.executable))
    for species in ("M", "O", "Li"):
        holds_all(estimate, species)
    near_the_truth(estimate, *DISTANCES)


def test_scikit_image_finds_the_metals() -> None:
    estimate = estimated("scikit_image_solver", environment_with("skimage"))
    holds_all(estimate, "M")
    near_the_truth(estimate, "m_m")


def test_the_ssb_of_libertem_finds_columns_and_distances() -> None:
    estimate = estimated("libertem_solver", environment_with("libertem", "ptychography40"))
    for species in ("M", "O", "Li"):
        holds_all(estimate, species)
    near_the_truth(estimate, *DISTANCES)


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_examples_are_short_and_independent_of_us(script: Path) -> None:
    text = script.read_text("utf-8")
    assert len(text.splitlines()) < 40
    assert ("echolith" in text) == script.stem.startswith("score_")
