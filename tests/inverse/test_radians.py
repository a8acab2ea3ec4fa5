"""The phase is in radians: slope 1 against the band-limited projected phase, transfer stated."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.forward.acquisition import Beam, PixelDetector, Scan, StemAcquisition
from echolith.forward.phase_object import phase_object_mean
from echolith.inverse.ssb import ssb
from echolith.inverse.wdd import wdd
from tests.inverse.phase_sets import (
    Array,
    acquisitions,
    correlation,
    li_rich_oxide,
    measurement,
    random_phase,
    slope,
    spectrum,
)
from tests.inverse.weak_phase import Field, phase_image

SOLVERS: dict[str, Callable[..., xr.Dataset]] = {"ssb": ssb, "wdd": wdd}


@pytest.mark.parametrize("method", SOLVERS)
@given(acquisitions(), st.integers(0, 99))
def test_a_weak_phase_comes_back_whole(method: str, taken: StemAcquisition, seed: int) -> None:
    phase = random_phase(taken, seed=seed)
    result = SOLVERS[method](phase_object_mean(phase, acquisition=taken, weak=True))
    kept = result["weight"].values > 0
    difference = np.abs(spectrum(result["phase"]) - spectrum(phase))
    # Counts are float32: 3e-6 seen.
    assert difference[kept].max() < 1e-4 * phase.std()
    # What is not kept is zero, and the transfer says so.
    assert np.abs(spectrum(result["phase"])[~kept]).max() < 1e-6 * phase.std()
    assert result["transfer"].values[~kept].max() <= result["transfer"].values[kept].min()
    assert result["phase"].attrs["units"] == "rad"


@pytest.mark.parametrize("method", SOLVERS)
@pytest.mark.parametrize("weak", [True, False], ids=["first order", "exp(i phase)"])
def test_li_rich_oxide_comes_back_in_radians(weak: bool, method: str) -> None:
    phase = phase_image(Field(layers=1))
    image = SOLVERS[method](li_rich_oxide(weak=weak))["phase"]
    assert correlation(image, phase) >= 0.999
    assert 0.97 <= slope(image, phase) <= 1.03


@cache
def light_atoms() -> tuple[Array, xr.Dataset]:
    """One layer of lithium and oxygen: abTEM's potential as the phase, abTEM's own frames."""
    import abtem
    from abtem.core.energy import energy2sigma, energy2wavelength
    from ase import Atoms

    energy, side, gpts, every = 300e3, 6.4, 96, 3
    rng = np.random.default_rng(3)
    atoms = Atoms(
        ["Li", "O", "Li", "O", "Li"],
        positions=np.column_stack([rng.uniform(0, side, (5, 2)), np.full(5, 1.0)]),
        cell=[side, side, 2.0],
        pbc=True,
    )
    with abtem.config.set({"fft": "numpy"}):
        potential: Any = abtem.Potential(
            atoms, gpts=gpts, slice_thickness=2.0, projection="infinite", parametrization="lobato"
        ).build(lazy=False)
        probe = abtem.Probe(
            energy=energy, semiangle_cutoff=22.4, soft=False, extent=side, gpts=gpts
        )
        n = gpts // every
        axis = np.arange(n) * side / n
        xy = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        waves: Any = probe.build(scan=abtem.CustomScan(xy), lazy=False).multislice(potential)
        frames = np.asarray(waves.diffraction_patterns(max_angle=None).array)
    pixel = 1e3 * energy2wavelength(energy) / side
    half = int(np.ceil(22.4 / pixel)) + 1
    middle = frames.shape[1] // 2
    cut = slice(middle - half, middle + half)
    taken = StemAcquisition(
        beam=Beam(energy=energy, semiangle=22.4),
        scan=Scan(shape=(n, n), step=(side / n, side / n)),
        detector=PixelDetector(shape=(2 * half, 2 * half), pixel_size=(pixel, pixel)),
        haadf=None,
    )
    counts = 1e3 * frames.swapaxes(1, 2)[:, cut, cut].reshape(n, n, 2 * half, 2 * half)
    phase = energy2sigma(energy) * np.asarray(potential.array).sum(axis=0).T
    q = np.hypot(*np.meshgrid(np.fft.fftfreq(gpts, side / gpts), np.fft.fftfreq(gpts, side / gpts)))
    inside = q < 2 * 22.4e-3 / energy2wavelength(energy)
    smooth = np.asarray(np.fft.ifft2(np.fft.fft2(phase) * inside).real)
    return smooth[::every, ::every], measurement(counts, taken)


@pytest.mark.parametrize("method", SOLVERS)
def test_the_potential_of_atoms_comes_back_in_radians(method: str) -> None:
    phase, frames = light_atoms()
    image = SOLVERS[method](frames)["phase"]
    assert correlation(image, phase) >= 0.999
    assert 0.97 <= slope(image, phase) <= 1.03
