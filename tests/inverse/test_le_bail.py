"""Le Bail extraction: the partition, and intensities against those the pattern was made with."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.noise import PoissonCounting
from echolith.forward.powder_pattern import (
    PowderAcquisition,
    PowderPhase,
    angle_factor,
    phase_pattern,
    powder_mean,
)
from echolith.forward.powder_profile import AxialDivergence
from echolith.forward.structure_factors import allowed_reflections, spacing, structure_factors
from echolith.inverse.le_bail import LeBailOptions, le_bail, partitioned
from echolith.inverse.powder_fit import deviance
from echolith.inverse.powder_parameters import Refined

TAKEN = PowderAcquisition(
    start=15,
    stop=85,
    step=0.03,
    displacement=3e-4,
    divergence=AxialDivergence(sample=0.02, slit=0.015),
    background=(120.0, -40.0),
)
BACKGROUND = Refined(background=3)


def pattern(part: PowderPhase, seed: int) -> xr.Dataset:
    mean = powder_mean((part,), acquisition=TAKEN)
    return PoissonCounting().sample(mean, seed=seed).compute()


def without_atoms(phase: CrystalPhase, stretch: float) -> PowderPhase:
    lengths = (np.array(phase.cell[:3]) * stretch).tolist()
    changes = {"cell": (*lengths, *phase.cell[3:]), "sites": ()}
    return PowderPhase(phase=phase.model_copy(update=changes))


def true_photons(part: PowderPhase, hkl: np.ndarray) -> np.ndarray:
    """Return the photons of each reflection in the pattern."""
    phase = part.phase
    families = allowed_reflections(phase, d_min=1.0)
    multiplicity = dict(
        zip(map(tuple, families.hkl.tolist()), families.multiplicity.tolist(), strict=True)
    )
    total = np.zeros(len(hkl))
    for wavelength, share in TAKEN.lines:
        angle = np.degrees(2 * np.arcsin(wavelength / 2 / spacing(phase.cell, hkl)))
        square = np.abs(structure_factors(phase, hkl, wavelength=wavelength)) ** 2
        total += share * square * angle_factor(angle, TAKEN) / phase.volume**2
    total *= [multiplicity[tuple(one)] for one in hkl.tolist()]
    highest = phase_pattern(part, TAKEN).max()
    return np.asarray(total * TAKEN.peak_counts / highest / TAKEN.step)


@given(seed=st.integers(0, 2**32 - 1), lines=st.integers(1, 8), points=st.integers(10, 60))
def test_the_partition_never_lowers_the_likelihood(seed: int, lines: int, points: int) -> None:
    rng = np.random.default_rng(seed)
    columns = rng.exponential(1, (points, lines)) * (rng.random((points, lines)) < 0.4)
    below = rng.uniform(0.5, 5, points)
    counts = rng.poisson(below + columns @ rng.exponential(20, lines)).astype(float)
    found = rng.exponential(20, lines)
    values = []
    for _ in range(6):
        values.append(deviance(counts, below + columns @ found))
        found = partitioned(counts, columns, found, below, steps=1)
    assert (np.diff(values) < 1e-9 * values[0]).all()
    assert (found >= 0).all()
    assert not found[~columns.any(axis=0)].any()


def test_lines_of_an_unknown_structure_come_back() -> None:
    part = PowderPhase(phase=crystal_phase("LiNiO2"), size=700, strain=4e-4)
    options = LeBailOptions(refined=BACKGROUND)
    pulls = []
    for seed in (1, 2, 3):
        found = le_bail(
            pattern(part, seed),
            phases=(without_atoms(part.phase, 1.007),),
            instrument=PowderAcquisition(),
            options=options,
        )
        error = (found.cell_length.values[0] - part.phase.cell[:3]) / found.cell_length_std.values
        assert np.abs(error).max() < 4.5
        assert found.attrs["converged"]
        assert float(found.r_weighted) == pytest.approx(float(found.r_expected), rel=0.1)
        hkl = np.stack([found[axis].values for axis in "hkl"], axis=1)
        truth = true_photons(part, hkl)
        pulls.append((found.intensity.values - truth) / found.intensity_std.values)
    every = np.concatenate(pulls)
    # Pseudo-Voigt lines of free intensity also take what the exact profile has elsewhere.
    assert 0.6 < np.sqrt(np.mean(every**2)) < 1.5
    assert np.abs(every).max() < 5


def test_lines_that_always_coincide_are_determined_as_a_sum_only() -> None:
    part = PowderPhase(phase=crystal_phase("LiMn2O4"), size=700)
    found = le_bail(
        pattern(part, 4),
        phases=(without_atoms(part.phase, 0.995),),
        instrument=PowderAcquisition(),
        options=LeBailOptions(refined=BACKGROUND),
    )
    hkl = np.stack([found[axis].values for axis in "hkl"], axis=1)
    pair = [sorted(map(abs, one)) in ([3, 3, 3], [1, 1, 5]) for one in hkl.tolist()]
    assert sum(pair) == 2
    assert found.overlapped.values[pair].all()
    assert np.isnan(found.intensity.values[pair]).all()
    (cluster,) = set(found.line_cluster.values[pair].tolist())
    truth = true_photons(part, hkl[pair]).sum()
    std = float(found.cluster_intensity_std[cluster])
    assert abs(float(found.cluster_intensity[cluster]) - truth) < 4 * std < 0.2 * truth
    single = ~found.overlapped.values
    assert np.isfinite(found.intensity.values[single]).all()
    assert np.isfinite(found.intensity_std.values[single]).all()


def test_overlapping_lines_share_what_their_sum_has() -> None:
    part = PowderPhase(phase=crystal_phase("LiFePO4"), size=300)
    found = le_bail(
        pattern(part, 5),
        phases=(part,),
        instrument=PowderAcquisition(),
        options=LeBailOptions(refined=BACKGROUND, search=False),
    )
    hkl = np.stack([found[axis].values for axis in "hkl"], axis=1)
    truth = true_photons(part, hkl)
    cluster = found.line_cluster.values
    error = found.cluster_intensity.values - np.bincount(cluster, weights=truth)
    low = found.line_two_theta.groupby(found.line_cluster).max().values < 50
    pull = (error / found.cluster_intensity_std.values)[low]
    assert np.sqrt(np.mean(pull**2)) < 1.5
    close = found.overlapped.values & (found.line_two_theta.values < 50)
    alone = ~found.overlapped.values & (found.line_two_theta.values < 50)
    relative = found.intensity_std.values / np.sqrt(np.maximum(truth, 100))
    assert np.median(relative[close]) > 2 * np.median(relative[alone])


def test_what_cannot_be_extracted_is_refused() -> None:
    part = PowderPhase(phase=crystal_phase("LiNiO2"), size=700)
    measured = pattern(part, 1)
    for bad, message in (
        (measured.isel(two_theta=slice(None, None, -1)), "does not increase"),
        (measured.isel(two_theta=slice(0, 0)), "0 points"),
    ):
        with pytest.raises(BadInputError, match=message):
            le_bail(bad, phases=(part,), instrument=PowderAcquisition())
    with pytest.raises(BadInputError, match="orientation cannot be refined"):
        le_bail(
            measured,
            phases=(part,),
            instrument=PowderAcquisition(),
            options=LeBailOptions(refined=Refined(orientation=True)),
        )
    with pytest.raises(BadInputError, match="no line between"):
        le_bail(
            measured.isel(two_theta=slice(0, 100)),
            phases=(PowderPhase(phase=crystal_phase("Li")),),
            instrument=PowderAcquisition(),
        )
    with pytest.warns(BadInputWarning, match="check the wavelength"):
        le_bail(
            measured,
            phases=(part,),
            instrument=PowderAcquisition(lines=((1.78897, 1.0), (1.79285, 0.5))),
        )
