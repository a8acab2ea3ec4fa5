"""Labelled frames of lithium to train on, and how well their columns are found."""

import numpy as np
import xarray as xr
from scipy import linalg, ndimage

from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.seeds import stream
from echolith.structures.lithium_particles import MetalParticle
from echolith.validation.generation import Generation, Split
from echolith.validation.generation_engine import generate
from echolith.validation.generation_files import Place
from echolith.validation.matching import match_columns
from echolith.validation.priors import log_uniform, uniform
from echolith.validation.samples import load_samples
from echolith.validation.scenarios.li_hrtem import LiHrtemSettings, li_hrtem
from echolith.validation.targets import column_heat_maps

PIXEL = 0.35
WIDTHS = (0.4, 0.5, 0.6)
"""Of blurs that are tried, Å."""
SHARP = 0.15
"""Å, the bound of a column whose error is scored."""
VARIED = {
    "particle.size": uniform(14, 23),
    "acquisition.dose_rate": log_uniform(500, 5000),
    "acquisition.aberrations.C10": uniform(40, 80),
}


def wanted(n, seed):
    """Return what is made: frames of 1 s, a tenth for validation, a tenth for the test."""
    acquisition = HrtemAcquisition(shape=(96, 96), pixel=PIXEL, frame_time=1.0)
    particle = MetalParticle(zone_axis=(1, 1, 1))
    settings = LiHrtemSettings(particle=particle, acquisition=acquisition, offset=2.0)
    return Generation(scenario=li_hrtem(settings), make=li_hrtem, vary=VARIED, n=n, seed=seed)


def frames(folder, n, seed):
    """Make frames, or find them made, and open them."""
    made = wanted(n, seed)
    generate(made, Place(folder=folder))
    return made, {split: load_samples(folder, split=split) for split in Split}


def frame_and_target(sample):
    counts = sample.measurement["counts"].values[0].astype(np.float32)
    target = column_heat_maps(sample.truth, sample.measurement, width=0.45).values[0]
    return counts, 10 * target


def maxima(picture, least):
    """Return the places of maxima above `least`, each at the top of a parabola."""
    peaks = (picture == ndimage.maximum_filter(picture, 5)) & (picture > least)
    peaks[[0, -1]] = peaks[:, [0, -1]] = False
    row, column = np.nonzero(peaks)
    lower, here, upper = (picture[row + n, column] for n in (-1, 0, 1))
    left, right = (picture[row, column + n] for n in (-1, 1))
    y = PIXEL * (row + (lower - upper) / (lower - 2 * here + upper) / 2)
    x = PIXEL * (column + (left - right) / (left - 2 * here + right) / 2)
    return xr.Dataset({"x": ("column", x), "y": ("column", y)})


def scores(found, samples, bounds=None):
    """Return precision, recall, rms error per axis and both bounds of the same columns, pm.

    A column is found where an estimate lies within 0.5 Å. That cuts large errors off, so errors are
    those of columns whose own bound is below a third of it.
    """
    errors, hits, told, there = [np.empty((3, 0))], 0, 0, 0
    for index, (columns, sample) in enumerate(zip(found, samples, strict=True)):
        match = match_columns(columns, sample.truth)
        hits, told = hits + len(match.truth), told + columns.sizes.get("column", 0)
        there += sample.truth.sizes["column"]
        if bounds is not None and len(match.truth):
            places = np.stack([columns[axis].values[match.estimate] for axis in "yx"])
            true = np.stack([sample.truth[axis].values[match.truth] for axis in "yx"])
            alone, lattice = bounds[index][..., match.truth]
            errors.append(np.stack([places - true, alone, lattice])[:, alone < SHARP])
    rms = 100 * np.sqrt(np.mean(np.hstack(errors) ** 2, axis=1)) if errors[1:] else 3 * [np.nan]
    return hits / max(told, 1), hits / there, *rms


def bounds(generation, samples):
    """Return of each sample the least errors of its columns' y and x, (2, 2, columns), Å.

    Those of each column by itself, and those of columns that are known to form one lattice.
    """
    return [
        least_errors(generation.scenario_of(generation.drawn(row["sample"])), row["seed"])
        for row in samples.rows
    ]


def least_errors(scenario, seed):
    specimen = scenario.build(seed)
    truth, matrix = scenario.truth(specimen), scenario.information(specimen).matrix
    n = truth.sizes["column"]
    own = matrix[-3 * n :, -3 * n :]  # of amplitudes, y and x
    plane = np.stack([np.ones(n), truth["y"].values, truth["x"].values], axis=1)
    tied = linalg.block_diag(np.eye(n), plane, plane)
    lattice = tied @ np.linalg.inv(tied.T @ own @ tied) @ tied.T
    both = [np.sqrt(np.diag(one)[n:]).reshape(2, n) for one in (np.linalg.inv(own), lattice)]
    return np.stack(both)


def best_least(pictures, samples):
    """Return the best F score of maxima, and their least height there."""

    def f_score(least):
        precision, recall, *_ = scores([maxima(one, least) for one in pictures], samples)
        return 2 * precision * recall / max(precision + recall, 1e-9)

    tried = np.linspace(0.02, 0.98, 25) * np.quantile(pictures, 0.999)
    return max((f_score(least), least) for least in tried)


def blurred(counts, width):
    return ndimage.gaussian_filter(counts / counts.mean() - 1, width / PIXEL)


def noise_alone(measurement, draw):
    counts = measurement["counts"]
    return measurement.assign(counts=counts.copy(data=draw.poisson(counts.mean(), counts.shape)))


def table(predict, generation, split):
    """Return of each way to find columns the scores, and how many it finds in noise alone.

    The learned one and that by maxima of a blurred frame have their least height, and the blur, set
    on the validation samples; all numbers are those of the test.
    """
    validation, test = list(split[Split.VALIDATION]), list(split[Split.TEST])
    frame = [sample.measurement["counts"].values[0] for sample in validation]
    _, least = best_least([predict(counts) for counts in frame], validation)
    widths = {w: best_least([blurred(counts, w) for counts in frame], validation) for w in WIDTHS}
    width = max(widths, key=widths.__getitem__)
    finders = {
        "learned": lambda one: maxima(predict(one["counts"].values[0]), least),
        "maxima": lambda one: maxima(blurred(one["counts"].values[0], width), widths[width][1]),
        "solver": generation.scenario.solver,
    }
    limits, draw = bounds(generation, split[Split.TEST]), stream(0, "noise alone")
    empty = [noise_alone(sample.measurement, draw) for sample in test]
    return {
        name: (
            *scores([find(sample.measurement) for sample in test], test, limits),
            np.mean([find(one).sizes.get("column", 0) for one in empty]),
        )
        for name, find in finders.items()
    }


def printed(found):
    print("           precision  recall  error, pm  bound, pm  of a lattice  in noise alone")
    for name, (precision, recall, *rms, noise) in found.items():
        error, alone, lattice = rms
        print(f"{name:10} {precision:9.2f}  {recall:6.2f}  {error:9.1f}  {alone:9.1f}", end="")
        print(f"  {lattice:12.1f}  {noise:14.1f}")
