"""Counting noise in tomography: when to stop, how large the error is, how uncertain a voxel."""

from itertools import islice

import numpy as np
import pytest

from echolith.forward.projection import as_block, system_matrix
from echolith.inverse.tomography import reconstruct
from echolith.inverse.tomography_input import read_projections
from echolith.inverse.tomography_iterates import method_of
from echolith.inverse.tomography_options import Algorithm, Stopping, TomographyOptions
from echolith.inverse.tomography_problem import problem
from tests.inverse.sphere_projections import counted, densities, error_of, series, truth_of

N, SLICES = 48, 32
TILTS = series(2.0)
TRUTH = truth_of(N, SLICES)
DENSITY = densities(TILTS, N, SLICES)


@pytest.mark.parametrize(
    ("algorithm", "relaxation", "iterations"),
    [(Algorithm.OS_SART, 1.0, 30), (Algorithm.SART, 0.3, 20), (Algorithm.CGLS, 1.0, 20)],
)
def test_the_rule_stops_near_the_best_iterate(
    algorithm: Algorithm, relaxation: float, iterations: int
) -> None:
    data = counted(DENSITY, photons=400, seed=31)
    options = TomographyOptions(
        algorithm=algorithm, relaxation=relaxation, iterations=iterations, draws=0
    )
    found = reconstruct(data, options=options)
    measured = read_projections(data)
    matrix = system_matrix(TILTS, shape=(N, N))
    task = problem(matrix, measured.density, measured.std, None)
    truth = as_block(TRUTH)
    errors = [
        error_of(volume, truth)
        for volume in islice(method_of(options, matrix, 1)(task), iterations)
    ]
    # The noise grows: stopping matters.
    assert errors[-1] > 1.1 * min(errors)
    assert error_of(found["absorption"], TRUTH) <= 1.03 * min(errors)
    assert found.attrs["stopping"] == "predicted-error"
    # What lies in the missing wedge, an eighth of all directions or, without positivity, most of
    # the error, is not predicted.
    rms = float(np.sqrt(np.mean((found["absorption"] - TRUTH) ** 2)))
    predicted, std = float(found["predicted_error"]), float(found["predicted_error_std"])
    lacking = 0.7 if options.algorithm is Algorithm.CGLS else 0.3
    assert (1 - lacking) * rms - 3 * std < predicted < 1.1 * rms + 3 * std
    assert std < 0.5 * rms


def test_discrepancy_stops_within_the_noise() -> None:
    data = counted(DENSITY, photons=400, seed=12)
    options = TomographyOptions(
        algorithm=Algorithm.SIRT, stopping=Stopping.DISCREPANCY, iterations=400, draws=0
    )
    assert 5 < int(reconstruct(data, options=options)["iterations"]) < 400


def test_variation_beats_sweeps_in_noise() -> None:
    data = counted(DENSITY, photons=400, seed=13)
    swept = reconstruct(data, options=TomographyOptions(draws=0))
    varied = reconstruct(data, options=TomographyOptions(algorithm=Algorithm.TV, draws=0))
    error = error_of(swept["absorption"], TRUTH)
    assert error_of(varied["absorption"], TRUTH) < 0.85 * error


def test_stated_noise_is_that_seen_over_repeated_measurements() -> None:
    options = TomographyOptions(iterations=6, stopping=Stopping.LAST, draws=3)
    once = options.model_copy(update={"draws": 0})
    volumes = np.stack(
        [
            reconstruct(counted(DENSITY, photons=400, seed=100 + i), options=once)["absorption"]
            for i in range(16)
        ]
    )
    stated = reconstruct(counted(DENSITY, photons=400, seed=99), options=options)
    seen = volumes.var(axis=0, ddof=1)
    variance = stated["absorption_std"].values ** 2
    inside = TRUTH.max() == TRUTH
    # Thousands of voxels of 16 draws, correlated over a few: 2 %. Three draws and their
    # neighbours for the estimate, shared with voxels of other noise at the faces: 10 %.
    assert variance[inside].mean() == pytest.approx(seen[inside].mean(), rel=0.15)
