"""The aberration fit: exact on its own model, calibrated on counts, honest where it cannot know."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from echolith.errors import BadInputError
from echolith.forward.acquisition import Aberrations, Beam, PixelDetector, Scan, StemAcquisition
from echolith.forward.coherence import focal_beams
from echolith.forward.phase_object import phase_object_mean
from echolith.inverse.aberration_basis import components, from_aberrations, scales
from echolith.inverse.aberration_fit import AberrationOptions, fit_aberrations
from echolith.inverse.aberration_overlaps import Window
from tests.inverse.aberrated_sets import (
    RESIDUAL,
    acquisition,
    blind,
    drawn,
    mean_of,
    pulls,
    values,
)
from tests.inverse.phase_sets import measurement, random_phase

EXACT = 2e-3
"""rad at the rim: spectra are float32 (1e-7), and the fit ends with steps of a thousandth of its
own standard deviation, 0.1 rad or less here."""


def rim(fit: xr.Dataset, truth: Aberrations) -> np.ndarray:
    """Return the errors in rad at the rim."""
    order = fit.attrs["order"]
    taken = StemAcquisition.model_validate_json(fit.attrs["acquisition"])
    return (values(fit) - from_aberrations(truth, order)) / scales(order, taken.beam)


@st.composite
def geometries(draw: st.DrawFn) -> StemAcquisition:
    """Draw scans and detectors of any rotation, transpose, pixel; aberrations beyond one turn."""
    turn = st.floats(-3.1, 3.1)
    aberrations = Aberrations(
        C10=draw(st.floats(-200, 200)),
        C12=draw(st.floats(0, 100)),
        phi12=draw(turn),
        C21=draw(st.floats(0, 800)),
        phi21=draw(turn),
        C23=draw(st.floats(0, 800)),
        phi23=draw(turn),
        C30=draw(st.floats(-2e5, 2e5)),
    )
    rotation = draw(st.sampled_from([0.0, 90.0, -30.0, 137.0]))
    detector = PixelDetector(
        shape=(26, 24),
        pixel_size=(2.0, draw(st.sampled_from([2.0, 2.1]))),
        subpixels=draw(st.sampled_from([(1, 1), (2, 1)])),
        transpose=draw(st.booleans()),
    )
    scan = Scan(shape=(15, 18), step=(0.27, 0.24), rotation=rotation)
    return acquisition(aberrations, scan=scan, detector=detector, dose=1e7)


@settings(max_examples=6)
@given(geometries(), st.integers(0, 99))
def test_exact_for_a_weak_phase_in_any_frame(taken: StemAcquisition, seed: int) -> None:
    fit = fit_aberrations(mean_of(taken, seed=seed), options=AberrationOptions(order=3))
    assert fit.attrs["determined"]
    found = pulls(fit, taken.beam.aberrations)
    known = np.isfinite(found)
    assert known.sum() >= 10
    # Spectra are float32, and the fit ends with steps of a thousandth of its standard deviation.
    assert np.abs(found[known]).max() < 0.02
    assert float(fit["explained"]) == pytest.approx(1, abs=1e-3)


@settings(max_examples=6)
@given(st.sampled_from([c.coefficient for c in components(3)]), st.integers(0, 99))
def test_adding_an_aberration_adds_it_to_the_estimate(name: str, seed: int) -> None:
    unit = dict(zip((c.coefficient for c in components(3)), scales(3, Beam(semiangle=22.4)),
                    strict=True))  # fmt: skip
    more = RESIDUAL.model_copy(update={name: getattr(RESIDUAL, name) + 1.5 * unit[name]})
    options = AberrationOptions(order=3)
    one, other = (
        fit_aberrations(mean_of(acquisition(a, dose=1e7), seed=seed), options=options)
        for a in (RESIDUAL, more)
    )
    expected = from_aberrations(more, 3) - from_aberrations(RESIDUAL, 3)
    change = (values(other) - values(one) - expected) / scales(3, Beam(semiangle=22.4))
    assert np.abs(change).max() < 2 * EXACT


@pytest.mark.parametrize("truth", [RESIDUAL, Aberrations()], ids=["aberrated", "none"])
def test_errors_are_as_large_as_stated(truth: Aberrations) -> None:
    mean = mean_of(acquisition(truth), seed=5)
    fits = [
        fit_aberrations(drawn(mean, seed=s), options=AberrationOptions(order=3)) for s in range(20)
    ]
    found = np.array([pulls(fit, truth) for fit in fits])
    assert np.isfinite(found).all()
    # Bias: each mean of 20 within 4 sigma. Spread: 20 sets times 12 components, whose mean square
    # scatters by sqrt(2 / 20 / 12) if they were independent, by sqrt(2 / 20) if they were one.
    assert np.abs(found.mean(axis=0)).max() < 4 / np.sqrt(20)
    assert np.mean(found**2) == pytest.approx(1, abs=4 * np.sqrt(2 / 20 / 4))
    # Together too, with the covariances: chi-squared of 12 per set.
    expected = from_aberrations(truth, 3)
    squares = [
        (values(f) - expected) @ np.linalg.solve(f["covariance"].values, values(f) - expected)
        for f in fits
    ]
    assert stats.kstest(squares, stats.chi2(12).cdf).pvalue > 1e-3
    chi = np.array([float(f["reduced_chi_squared"]) for f in fits])
    assert chi.mean() == pytest.approx(1, abs=5 * float(fits[0]["reduced_chi_squared_std"]))


def test_stated_errors_respect_the_cramer_rao_bound() -> None:
    # An oracle without our kernels: the Fisher matrix of the counts themselves, by differences of
    # the simulator, with every amplitude and phase of the object unknown too.
    taken = acquisition(
        RESIDUAL, scan=Scan(shape=(7, 8), step=0.27), detector=PixelDetector(
            shape=(18, 18), pixel_size=2.7), dose=1e8,
    )  # fmt: skip
    phase, unit = random_phase(taken, seed=2, rms=0.02), scales(2, taken.beam)
    at = from_aberrations(RESIDUAL, 2)

    def counts(shift: np.ndarray, image: np.ndarray) -> np.ndarray:
        from echolith.inverse.aberration_basis import to_aberrations

        changed = acquisition(to_aberrations(at + shift, 2), scan=taken.scan,
                              detector=taken.detector, dose=taken.dose)  # fmt: skip
        return np.asarray(mean_of(changed, phase=image)["counts"].values).ravel()

    mean = counts(0 * at, phase)
    rows = [
        (counts(1e-3 * u * e, phase) - counts(-1e-3 * u * e, phase)) / 2e-3
        for u, e in zip(unit, np.eye(7), strict=True)
    ]
    # The mean is linear in the phase: its own change is the derivative.
    empty = counts(0 * at, 0 * phase)
    basis = np.eye(phase.size).reshape(-1, *phase.shape)
    rows += [counts(0 * at, image) - empty for image in basis]
    seen = mean > 0
    scaled = np.array(rows)[:, seen] / np.sqrt(mean[seen])
    information = scaled @ scaled.T
    # What the detector does not see of the phase (mean, Nyquist) is in the null space.
    bound = np.sqrt(np.diag(np.linalg.pinv(information, rcond=1e-9))[:7])
    fit = fit_aberrations(
        mean_of(taken, phase=phase), options=AberrationOptions(order=2, frequencies=400)
    )
    ratio = values(fit, "_std") / unit / bound
    # Numerical differences of the simulator are good to 1e-3. What may be lost: the fit leaves the
    # smallest |Q| out, and Q with few pixels.
    assert ratio.min() > 1 - 1e-2
    assert ratio.max() < 1.15


def test_fifth_order_is_taken_where_it_shows_and_only_there() -> None:
    fifth = RESIDUAL.model_copy(update={"C50": 4e7, "C45": 1e6, "phi45": 0.2})
    with_it, without = (
        fit_aberrations(drawn(mean_of(acquisition(a, dose=2e6), rms=0.08), seed=3))
        for a in (fifth, RESIDUAL)
    )
    assert with_it.attrs["order"] == 5
    assert np.nanmax(np.abs(pulls(with_it, fifth))) < 4.5
    assert abs(float(with_it["C50"]) - 4e7) < 4 * float(with_it["C50_std"])
    assert without.attrs["order"] == 3
    assert "C50" not in without


def test_focal_spread_of_the_metadata_is_taken_into_account() -> None:
    taken = acquisition(dose=1e7)
    phase = random_phase(taken, seed=4, rms=0.05)
    beam = taken.beam.model_copy(update={"focal_spread": 25.0})
    total = sum(
        weight * mean_of(taken.model_copy(update={"beam": coherent}), phase=phase)["counts"].values
        for weight, coherent in focal_beams(beam)
    )
    recorded = blind(measurement(total, taken.model_copy(update={"beam": beam})))
    options = AberrationOptions(order=3)
    assert np.abs(rim(fit_aberrations(recorded, options=options), RESIDUAL)).max() < EXACT
    known, unknown = (
        float(fit_aberrations(m, options=options)["reduced_chi_squared"])
        for m in (recorded, blind(measurement(total, taken)))
    )
    assert known < 0.01 < unknown


def test_defocus_of_a_thick_specimen_is_that_of_its_middle() -> None:
    # To first order in the potential every depth scatters the unscattered beam, z further on.
    thickness, taken = 60.0, acquisition(dose=1e7)
    phase = random_phase(taken, seed=4, rms=0.05)
    depths, weights = np.polynomial.legendre.leggauss(8)
    total = sum(
        weight / 2 * mean_of(acquisition(_at_depth(thickness * (1 + z) / 2), dose=1e7),
                             phase=phase)["counts"].values
        for z, weight in zip(depths, weights, strict=True)
    )  # fmt: skip
    recorded = blind(measurement(total, taken))
    fit = fit_aberrations(recorded, options=AberrationOptions(order=3, thickness=thickness))
    assert np.abs(rim(fit, _at_depth(thickness / 2))).max() < EXACT


def _at_depth(depth: float) -> Aberrations:
    return RESIDUAL.model_copy(update={"C10": RESIDUAL.C10 + depth})


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_amplitude_contrast_is_not_taken_for_defocus(seed: int) -> None:
    # exp(i phi) = 1 + i phi - phi²/2: the last term looks like absorption, which a pure phase
    # object can only make up for with defocus.
    taken = acquisition(dose=1e6)
    thin = mean_of(taken, seed=seed)
    phase = random_phase(taken, seed=seed, rms=0.3)
    strong = blind(phase_object_mean(phase, acquisition=taken, dtype=np.float64))
    order = AberrationOptions(order=2)
    assert float(fit_aberrations(drawn(thin, seed=seed), options=order)["absorbed"]) == 0
    fit = fit_aberrations(drawn(strong, seed=seed), options=order)
    assert float(fit["absorbed"]) > 0.01
    # The bias is stated: at most 4 of the standard deviations, and the target of 2 Å.
    assert np.abs(pulls(fit, RESIDUAL)).max() < 4
    assert abs(float(fit["C10"]) - RESIDUAL.C10) < 2


def test_a_field_that_is_not_periodic_is_tapered() -> None:
    # A crystal of 9 by 11 waves over a larger field, of which the scan sees a part that fits none.
    whole = acquisition(RESIDUAL, scan=Scan(shape=(54, 60), step=0.26), dose=1e6)
    y, x = (np.arange(n) / n for n in whole.scan.shape)
    phase = 0.02 * sum(
        np.cos(2 * np.pi * (a * y[:, None] + b * x[None]) + a * b)
        for a, b in ((9, 0), (0, 11), (9, 11), (9, -11), (6, 17), (14, -5), (-4, 16))
    )
    mean = mean_of(whole, phase=phase).isel(scan_y=slice(37), scan_x=slice(41))
    cropped = acquisition(RESIDUAL, scan=Scan(shape=(37, 41), step=0.26), dose=1e6)
    recorded = blind(measurement(mean["counts"].values, cropped))
    fits = {
        window: fit_aberrations(recorded, options=AberrationOptions(order=2, window=window))
        for window in (None, Window.NONE, Window.HANN)
    }
    errors = {window: float(np.abs(rim(fit, RESIDUAL)).max()) for window, fit in fits.items()}
    assert fits[None].attrs["window"] == "hann"
    # What is left under the window is the leakage of a wave to its second neighbours.
    assert errors[Window.HANN] < errors[Window.NONE] / 2
    assert errors[Window.HANN] < 0.03
    chi = {w: float(f["reduced_chi_squared"]) for w, f in fits.items()}
    assert chi[Window.HANN] < chi[Window.NONE] / 4


def test_vacuum_determines_nothing() -> None:
    mean = mean_of(acquisition(), phase=np.zeros((20, 22)))
    fit = fit_aberrations(drawn(mean, seed=0))
    assert fit.attrs["determined"] == 0
    assert fit.attrs["undetermined"] == ["C10", "C12", "C21", "C23", "C30", "C32", "C34"]
    assert "no spatial frequency stands out" in fit.attrs["reasons"][0]
    assert np.isnan(values(fit)).all()
    assert np.isnan(values(fit, "_std")).all()
    assert np.isnan(fit["phi12"])


def test_counts_that_no_aberrations_explain_determine_nothing() -> None:
    # Every pixel has a random image of its own.
    random = np.random.default_rng(0)
    taken = acquisition()
    shape = (*taken.scan.shape, *taken.detector.shape)
    fit = fit_aberrations(measurement(random.poisson(50 * random.uniform(0.5, 1.5, shape)), taken))
    assert fit.attrs["determined"] == 0
    assert "explain more than" in fit.attrs["reasons"][0]


def test_a_grating_leaves_defocus_and_astigmatism_undetermined() -> None:
    # With Q along x only, chi(K + Q) - chi(K) has no y² : C10 + C12_a is known, neither of them.
    taken = acquisition(dose=1e7)
    x = np.arange(22) / 22
    phase = np.broadcast_to(0.03 * (np.cos(2 * np.pi * 5 * x) + np.sin(2 * np.pi * 6 * x)),
                            taken.scan.shape)  # fmt: skip
    fit = fit_aberrations(drawn(mean_of(taken, phase=phase), seed=1),
                          options=AberrationOptions(order=2))  # fmt: skip
    assert {"C10", "C12"} <= set(fit.attrs["undetermined"])
    assert np.isnan(fit["C10"])
    assert len(fit.attrs["reasons"]) == len(fit.attrs["undetermined"])
    assert "uncertain by" in fit.attrs["reasons"][0]
    assert float(fit["singular_values"].min()) < 1e-3 * float(fit["singular_values"].max())


def test_an_azimuth_without_a_magnitude_is_not_determined() -> None:
    only = Aberrations(C10=50, C12=30, phi12=0.4)
    fit = fit_aberrations(drawn(mean_of(acquisition(only), seed=3), seed=3))
    assert "phi12" not in fit.attrs["undetermined"]
    assert float(fit["phi12"]) == pytest.approx(0.4, abs=4 * float(fit["phi12_std"]))
    assert "phi34" in fit.attrs["undetermined"]
    assert np.isnan(fit["phi34"])
    assert np.isfinite(fit["C34"])


def test_the_metadata_have_no_influence_and_nothing_is_changed() -> None:
    recorded = drawn(mean_of(acquisition()), seed=1)
    told = recorded.assign_attrs(acquisition=acquisition(RESIDUAL).model_dump_json())
    before = recorded.copy(deep=True)
    one, other = (fit_aberrations(m, options=AberrationOptions(order=2)) for m in (recorded, told))
    assert np.array_equal(values(one), values(other))
    assert recorded.identical(before)


def test_layout_and_units() -> None:
    fit = fit_aberrations(drawn(mean_of(acquisition()), seed=1))
    assert fit["covariance"].dims == ("component", "component_2")
    np.testing.assert_allclose(np.sqrt(np.diag(fit["covariance"])), values(fit, "_std"))
    assert list(fit["component"].values) == [c.name for c in components(3)]
    for name, unit in {"C10": "Å", "C12_a_std": "Å", "phi23": "rad", "covariance": "Å²"}.items():
        assert fit[name].attrs["units"] == unit
    assert all("units" in variable.attrs for variable in fit.data_vars.values())
    size = np.hypot(float(fit["C21_a"]), float(fit["C21_b"]))
    assert float(fit["C21"]) == pytest.approx(size)


@pytest.mark.parametrize(
    "wrong", [{"order": 6}, {"frequencies": 0}, {"thickness": -1}, {"typo": 1}]
)
def test_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AberrationOptions(**wrong)


def test_bad_counts_are_refused() -> None:
    recorded = mean_of(acquisition())
    recorded["counts"][3, 4, 10, 10] = np.nan
    with pytest.raises(BadInputError, match=r"\(3, 4\) contain NaN"):
        fit_aberrations(recorded)
    with pytest.raises(BadInputError, match="no attribute 'acquisition'"):
        fit_aberrations(xr.Dataset())
