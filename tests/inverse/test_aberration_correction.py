"""Correction after the acquisition: what changes, what stays, and what is refused."""

import pickle

import numpy as np
import pytest
import xarray as xr

from echolith.errors import BadInputError, BadInputWarning
from echolith.forward.acquisition import Aberrations, StemAcquisition, acquisition_of
from echolith.inverse.aberration_basis import from_aberrations
from echolith.inverse.aberration_correction import (
    correct_aberrations,
    fitted_aberrations,
    with_fitted_aberrations,
)
from echolith.inverse.aberration_fit import AberrationOptions, fit_aberrations
from echolith.inverse.ssb import ssb
from echolith.inverse.wdd import wdd
from tests.inverse.aberrated_sets import RESIDUAL, acquisition, drawn, mean_of
from tests.inverse.phase_sets import correlation, random_phase

OPTIONS = AberrationOptions(order=3)


def vacuum() -> xr.Dataset:
    return drawn(mean_of(acquisition(), phase=np.zeros((20, 22))), seed=0)


@pytest.mark.parametrize("solver", [ssb, wdd], ids=["ssb", "wdd"])
def test_corrected_images_are_those_of_known_aberrations(solver: object) -> None:
    assert callable(solver)
    taken = acquisition(dose=1e8)
    mean = mean_of(taken, seed=2)
    phase = random_phase(taken, seed=2, rms=0.05)
    known = solver(mean, aberrations=RESIDUAL)["phase"]
    corrected = solver(correct_aberrations(mean, options=OPTIONS))["phase"]
    assert correlation(solver(mean)["phase"], phase) < 0.5
    # The fit is good to 2e-3 rad at the rim per component, twelve of them.
    assert float(np.abs(corrected - known).max()) < 0.05 * float(np.abs(known).max())


def test_only_the_aberrations_of_the_metadata_change() -> None:
    recorded = drawn(mean_of(acquisition()), seed=1)
    before = recorded.copy(deep=True)
    fit = fit_aberrations(recorded, options=OPTIONS)
    corrected = correct_aberrations(recorded, fit)
    assert recorded.identical(before)
    assert corrected["counts"].identical(recorded["counts"])
    now, then = acquisition_of(corrected), acquisition_of(recorded)
    assert now.beam.model_copy(update={"aberrations": Aberrations()}) == then.beam
    assert (now.scan, now.detector, now.dose) == (then.scan, then.detector, then.dose)
    assert now.beam.aberrations == fitted_aberrations(fit)
    assert pytest.approx(float(fit["C10"])) == now.beam.aberrations.C10


def test_what_is_not_determined_keeps_the_value_of_the_metadata() -> None:
    known = Aberrations(C10=7, C30=1e5, C50=3e7)
    fit = xr.Dataset({"C10": np.nan, "C12_a": 3.0, "C12_b": 4.0, "C30": 2e5})
    found = fitted_aberrations(fit, known=known)
    assert found.C10 == 7
    assert pytest.approx(5) == found.C12
    assert found.phi12 == pytest.approx(np.arctan2(4, 3) / 2)
    assert found.C30 == 2e5
    assert pytest.approx(3e7) == found.C50


def test_aberrations_there_and_back() -> None:
    recorded = drawn(mean_of(acquisition()), seed=1)
    told = acquisition_of(correct_aberrations(recorded, options=OPTIONS)).beam.aberrations
    fit = fit_aberrations(recorded, options=OPTIONS)
    names = [str(name) for name in fit["component"].values]
    np.testing.assert_allclose(
        from_aberrations(told, 3), [float(fit[name]) for name in names], rtol=1e-9, atol=1e-9
    )


def test_vacuum_is_refused() -> None:
    with pytest.raises(BadInputError, match="determines nothing: no spatial frequency stands out"):
        correct_aberrations(vacuum())
    with pytest.raises(BadInputError, match="no coefficient C10"):
        fitted_aberrations(xr.Dataset())


def test_a_composed_solver_corrects_and_can_be_sent_elsewhere() -> None:
    recorded = drawn(mean_of(acquisition()), seed=1)
    composed = pickle.loads(pickle.dumps(with_fitted_aberrations(ssb, options=OPTIONS)))
    expected = ssb(correct_aberrations(recorded, options=OPTIONS))
    assert composed(recorded).identical(expected)
    taken = StemAcquisition.model_validate_json(expected.attrs["acquisition"])
    assert pytest.approx(80, abs=10) == taken.beam.aberrations.C10


def test_a_composed_solver_warns_where_nothing_is_determined() -> None:
    recorded = vacuum()
    with pytest.warns(BadInputWarning, match="not determined: .* those of the metadata are used"):
        result = with_fitted_aberrations(ssb)(recorded)
    assert result.identical(ssb(recorded))
