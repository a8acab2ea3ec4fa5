"""A raster of any two step vectors: the same object, whatever raster it was scanned on."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.acquisition import Aberrations, Scan, StemAcquisition, rotate
from echolith.forward.diffraction_box import sample_angles
from echolith.forward.optics import aperture
from echolith.inverse.aberration_fit import AberrationOptions, fit_aberrations
from echolith.inverse.column_fit import fit_columns
from echolith.inverse.column_problem import FitOptions
from echolith.inverse.column_profiles import Profile, Scattering
from echolith.inverse.drift_calibration import calibrate_affine, drift_raster
from echolith.inverse.scan_raster import ScanRaster, corrected_columns, raster_of, with_raster
from echolith.inverse.ssb import ssb
from echolith.inverse.wdd import wdd, wdd_weights
from tests.inverse.phase_sets import BEAM, acquisition, measurement, noise_set

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]
Solver = Callable[..., xr.Dataset]
both = pytest.mark.parametrize("solver", [ssb, wdd], ids=["ssb", "wdd"])
seeds = st.integers(0, 1000)
ABERRATED = BEAM.model_copy(update={"aberrations": Aberrations(C10=50, C12=30, phi12=0.7)})
FINE = Scan(shape=(13, 15), step=(0.25, 0.23))
strain_parts = st.floats(-0.1, 0.1).map(lambda value: round(value, 3))
strains = st.tuples(*2 * [st.tuples(strain_parts, strain_parts)])
DRIFT = ((0.0, 0.04), (0.0, -0.05))


def frequencies(shape: tuple[int, int], raster: ScanRaster) -> Array:
    """Q = M^-T m in the scan frame, (ny, nx, 2) xy in 1/Å."""
    my, mx = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    return np.asarray(np.stack([mx, my], axis=-1) @ np.linalg.inv(raster.vectors))


def positions(shape: tuple[int, int], raster: ScanRaster) -> Array:
    """R = M (ix, iy), (ny, nx, 2) xy in Å."""
    iy, ix = np.indices(shape)
    return np.asarray(np.stack([ix, iy], axis=-1) @ raster.vectors.T)


def weak_frames(
    taken: StemAcquisition, raster: ScanRaster, *, seed: int
) -> tuple[xr.Dataset, Array]:
    """Frames of a few waves, to first order, and their phase where the probe is.

    ``I = |psi|² + 2 Re[psi* i sum_Q phi(Q) psi(K - Q) exp(2 pi i Q.R)]``, in the scan frame.
    """
    rng, shape = np.random.default_rng(seed), taken.scan.shape
    index = rng.integers(-3, 4, (12, 2))
    index = index[index.any(axis=1)]
    q = index / np.array(shape)[::-1] @ np.linalg.inv(raster.vectors)
    amplitude = 1e-4 * np.exp(2j * np.pi * rng.uniform(size=len(q)))
    q, amplitude = np.concatenate([q, -q]), np.concatenate([amplitude, amplitude.conj()])
    wave = amplitude * np.exp(2j * np.pi * positions(shape, raster) @ q.T)
    ky, kx = np.meshgrid(*(a * 1e-3 / BEAM.wavelength for a in sample_angles(taken)), indexing="ij")
    k = np.stack([kx, ky], axis=-1)
    there = k[:, :, None] - rotate(q, taken.scan.rotation)
    here = aperture(kx, ky, beam=taken.beam)
    cross = here.conj()[..., None] * aperture(there[..., 0], there[..., 1], beam=taken.beam)
    change = 2 * (1j * np.einsum("abq,yxq->yxab", cross, wave)).real
    counts = 1e6 * (np.abs(here) ** 2 + change)
    return measurement(counts, taken), wave.sum(axis=-1).real


@both
@given(strains, st.sampled_from([0.0, 137.0]), st.booleans(), seeds)
def test_the_phase_comes_back_at_the_places_of_the_probe(
    solver: Solver,
    strain: tuple[tuple[float, float], ...],
    rotation: float,
    aberrated: bool,
    seed: int,
) -> None:
    scan = FINE.model_copy(update={"rotation": rotation})
    taken = acquisition(scan=scan, beam=ABERRATED if aberrated else BEAM)
    raster = ScanRaster.of(scan, strain=strain)
    recorded, phase = weak_frames(taken, raster, seed=seed)
    result = solver(with_raster(recorded, raster))
    np.testing.assert_allclose(result["phase"], phase, atol=1e-3 * np.abs(phase).max())
    assert raster_of(result) == raster


@both
@pytest.mark.parametrize("beam", [BEAM, ABERRATED], ids=["plain", "aberrated"])
@given(seeds)
def test_one_set_of_places_in_two_orders_is_one_image(
    solver: Solver, beam: object, seed: int
) -> None:
    """With slow' = slow + fast the same places of a periodic field are numbered otherwise."""
    n = 15
    scan = Scan(shape=(n, n), step=(0.27, 0.11), rotation=20)
    recorded = noise_set(acquisition(scan=scan, beam=beam), seed=seed)
    iy, ix = np.indices((n, n))
    other = recorded.copy(
        data={"counts": recorded["counts"].values[iy, (ix + iy) % n]},
    )
    raster = ScanRaster(fast=(0.11, 0.0), slow=(0.11, 0.27))
    plain, sheared = solver(recorded), solver(with_raster(other, raster))
    np.testing.assert_allclose(
        sheared["phase"].values,
        plain["phase"].values[iy, (ix + iy) % n],
        atol=1e-5 * float(np.abs(plain["phase"]).max()),
    )


@both
@given(strains, seeds)
def test_linear_in_the_counts_on_any_raster(
    solver: Solver, strain: tuple[tuple[float, float], ...], seed: int
) -> None:
    taken = acquisition(scan=FINE, beam=ABERRATED)
    raster = ScanRaster.of(FINE, strain=strain)
    one, other = (with_raster(noise_set(taken, seed=seed + i), raster) for i in range(2))
    added = solver(one.assign(counts=one["counts"] + other["counts"]))["phase"]
    share = float(one["counts"].sum() / (one["counts"].sum() + other["counts"].sum()))
    expected = share * solver(one)["phase"] + (1 - share) * solver(other)["phase"]
    np.testing.assert_allclose(added, expected, atol=1e-5 * float(np.abs(expected).max()))


@both
@given(strains, seeds)
def test_twice_the_lengths_at_half_the_angles_are_the_same(
    solver: Solver, strain: tuple[tuple[float, float], ...], seed: int
) -> None:
    """Lengths come in only as angle times length over wavelength."""
    taken = acquisition(scan=FINE)
    results = []
    for times in (1, 2):
        scan = Scan(shape=FINE.shape, step=(FINE.step[0] * times, FINE.step[1] * times))
        beam = BEAM.model_copy(update={"semiangle": BEAM.semiangle / times})
        size = tuple(s / times for s in taken.detector.pixel_size)
        detector = taken.detector.model_copy(update={"pixel_size": size})
        larger = acquisition(scan=scan, beam=beam, detector=detector)
        raster = ScanRaster.of(scan, strain=strain)
        results.append(solver(with_raster(noise_set(larger, seed=seed), raster))["phase"].values)
    np.testing.assert_allclose(results[1], results[0], atol=1e-5 * np.abs(results[0]).max())


@both
def test_the_raster_as_meant_changes_nothing(solver: Solver) -> None:
    recorded = noise_set(acquisition(scan=FINE, beam=ABERRATED), seed=2)
    plain, stated = solver(recorded), solver(with_raster(recorded, ScanRaster.of(FINE)))
    for name in ("phase", "weight", "transfer"):
        np.testing.assert_allclose(stated[name], plain[name], rtol=1e-4, atol=1e-9)


def test_weights_of_another_raster_are_refused() -> None:
    recorded = noise_set(acquisition(scan=FINE), seed=0)
    raster = ScanRaster.of(FINE, strain=DRIFT)
    weights = wdd_weights(acquisition(scan=FINE), raster=raster)
    with pytest.raises(BadInputError, match="another beam, scan raster"):
        wdd(recorded, weights=weights)
    told = with_raster(recorded, raster)
    assert np.array_equal(wdd(told, weights=weights)["phase"], wdd(told)["phase"])


def test_aberrations_are_not_mistaken_for_drift() -> None:
    """Drift left in makes wrong overlaps of the right counts."""
    taken = acquisition(scan=FINE)
    raster = ScanRaster.of(FINE, strain=DRIFT)
    recorded, _ = weak_frames(acquisition(scan=FINE, beam=ABERRATED), raster, seed=1)
    recorded = recorded.assign_attrs(acquisition=taken.model_dump_json())
    options = AberrationOptions(order=1)
    found = fit_aberrations(with_raster(recorded, raster), options=options)
    assert float(found["C10"]) == pytest.approx(50, abs=0.2)
    assert float(found["C12"]) == pytest.approx(30, abs=0.2)
    drifting = fit_aberrations(recorded, options=options)
    assert abs(float(drifting["C10"]) - 50) + abs(float(drifting["C12"]) - 30) > 1


# --- columns --------------------------------------------------------------------------------

PLACES = np.array([[2.6, 2.9], [5.3, 3.1], [3.9, 5.2], [6.1, 6.4], [2.8, 6.9]])
WIDE = Scan(shape=(50, 48), step=(0.19, 0.2))


def columns_at(xy: Array) -> xr.Dataset:
    names = np.array(["O", "M", "O", "M", "O"])
    return xr.Dataset(
        {"x": ("column", xy[:, 0]), "y": ("column", xy[:, 1]), "species": ("column", names)}
    )


def image(values: Array, raster: ScanRaster) -> xr.Dataset:
    y, x = (np.arange(n) * d for n, d in zip(WIDE.shape, WIDE.step, strict=True))
    phase = xr.DataArray(values, dims=("scan_y", "scan_x"), coords={"scan_y": y, "scan_x": x})
    return xr.Dataset({"phase": phase}, attrs={"raster": raster.model_dump_json()})


def checked(fitted: xr.Dataset, raster: ScanRaster) -> xr.Dataset:
    """Return the columns where they are, after a look at where they are."""
    true = corrected_columns(fitted, raster, scan=WIDE)
    found = np.stack([true["x"].values, true["y"].values], axis=-1)
    np.testing.assert_allclose(found, PLACES, atol=2e-4)
    return true


@given(strains)
def test_gaussians_are_circular_where_the_probe_was(
    strain: tuple[tuple[float, float], ...],
) -> None:
    raster = ScanRaster.of(WIDE, strain=strain)
    at = positions(WIDE.shape, raster)
    square = ((at[:, :, None] - PLACES) ** 2).sum(axis=-1)
    data = image(np.exp(-square / (2 * 0.3**2)).sum(axis=-1), raster)
    shown = PLACES @ np.linalg.inv(raster.stretch(WIDE.step)).T
    fitted = fit_columns(data, columns_at(shown + 0.03), profile=Profile.GAUSSIAN)
    checked(fitted, raster)
    np.testing.assert_allclose(fitted["width"], 0.3, atol=1e-3)


def test_form_factors_are_those_of_the_true_frequencies() -> None:
    raster = ScanRaster.of(WIDE, strain=DRIFT)
    q = frequencies(WIDE.shape, raster)
    radius = np.hypot(q[..., 0], q[..., 1])
    start = columns_at(PLACES @ np.linalg.inv(raster.stretch(WIDE.step)).T + 0.02)
    spectrum = np.zeros(WIDE.shape, complex)
    for place, name in zip(PLACES, start["species"].values, strict=True):
        factor = Scattering().form_factor(str(name), radius) * np.exp(-0.2 * radius**2)
        spectrum += 0.01 * factor * np.exp(-2j * np.pi * q @ place)
    weight = np.where((radius < 1.6) & (radius > 0), 1e12, 0.0)
    area = raster.area * spectrum.size
    data = image(np.fft.ifft2(spectrum * (weight > 0)).real * spectrum.size / area, raster)
    data["weight"] = (("q_y", "q_x"), weight)
    fitted = fit_columns(data, start, options=FitOptions(margin=0.5))
    checked(fitted, raster)
    assert fitted.attrs["reduced_chi_squared"] < 1e-2
    # Stated at 0.7 1/Å.
    np.testing.assert_allclose(fitted["amplitude"], 0.01 * np.exp(-0.2 * 0.49), rtol=1e-2)
    wrong = fit_columns(data.drop_attrs(), start, options=FitOptions(margin=0.5))
    assert wrong.attrs["reduced_chi_squared"] > 1


@given(strains, seeds)
def test_errors_of_columns_follow_the_stretch(
    strain: tuple[tuple[float, float], ...], seed: int
) -> None:
    raster, rng = ScanRaster.of(WIDE, strain=strain), np.random.default_rng(seed)
    root = rng.normal(size=(5, 2, 2))
    columns = columns_at(PLACES).assign(
        xy_covariance=(("column", "axis", "axis_"), root @ root.swapaxes(1, 2))
    )
    true = corrected_columns(columns, raster, scan=WIDE)
    stretch = raster.stretch(WIDE.step)
    for n, name in enumerate(("x_std", "y_std")):
        expected = np.hypot(*(stretch @ root)[:, n].T)
        np.testing.assert_allclose(true[name], expected, rtol=1e-9)


# --- the raster itself ----------------------------------------------------------------------


@given(strain_parts, strain_parts, strain_parts)
def test_the_drift_of_measured_distances_is_the_raster(a: float, b: float, d: float) -> None:
    true = {"m_m": (2.5, 0.3), "m_m_olio": (3.0, 5.1), "m_m_li": (-2.0, 4.5)}
    stretch = np.array([[1 + a, b], [0, 1 + d]])
    shown = {name: np.linalg.inv(stretch) @ vector for name, vector in true.items()}
    lengths = {name: float(np.hypot(*vector)) for name, vector in shown.items()}
    distances = xr.Dataset(
        lengths | {"vector": (("distance", "axis"), np.array(list(shown.values())))},
        coords={"distance": list(shown)},
    )
    reference = xr.Dataset({name: float(np.hypot(*vector)) for name, vector in true.items()})
    raster = drift_raster(calibrate_affine(distances, reference), scan=WIDE)
    np.testing.assert_allclose(raster.stretch(WIDE.step), stretch, atol=1e-9)


def test_printed_lengths_tell_no_raster() -> None:
    lengths = {"m_m": 2.8, "m_m_olio": 5.0, "m_m_li": 5.1, "o_o_li": 3.1, "o_o_m": 2.6}
    calibrated = calibrate_affine(xr.Dataset(lengths), xr.Dataset(lengths))
    with pytest.raises(BadInputError, match="lengths alone"):
        drift_raster(calibrated, scan=WIDE)
    with pytest.raises(BadInputError, match="no 'metric'"):
        drift_raster(xr.Dataset(lengths), scan=WIDE)


def test_a_raster_of_another_scan_is_refused() -> None:
    recorded = noise_set(acquisition(scan=FINE), seed=0)
    with pytest.raises(BadInputError, match=r"differ by 0\.8 of a step"):
        with_raster(recorded, ScanRaster(fast=(0.23, 0.0), slow=(0.2, 0.25)))


@pytest.mark.parametrize("slow", [(0.4, 0.0), (0.0, -0.2), (0.0, 0.0)])
def test_a_raster_without_area_is_refused(slow: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="parallel or left-handed"):
        ScanRaster(fast=(0.2, 0.0), slow=slow)
