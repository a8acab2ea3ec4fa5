"""Drift calibration: the published tables, exact distortions, stated errors, closures."""

import csv
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError
from echolith.inverse.closure import closure_residuals
from echolith.inverse.distance_vectors import COMBINATIONS, distance_vectors, fit_lattice
from echolith.inverse.drift_calibration import (
    GROUPS,
    ErrorRule,
    calibrate_affine,
    calibrate_scalar,
)

Array = npt.NDArray[np.float64]

STATES = ("pristine", "charged", "discharged")
SHORT_NAMES = {printed: name for name, printed in LONG_NAMES.items()}
RECORDS = ("measured", "measured_err", "calibrated", "calibrated_err")


@cache
def table(region: str, state: str) -> dict[str, dict[str, float]]:
    """Published lengths and errors by name, Å."""
    path = Path(__file__).parents[1] / "reference" / "distances_experiment.csv"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    rows = [r for r in csv.DictReader(lines) if (r["region"], r["state"]) == (region, state)]
    return {
        SHORT_NAMES[r["distance"]]: {k: 10 * float(r[k]) for k in RECORDS if r[k]} for r in rows
    }


def measured(state: str) -> xr.Dataset:
    rows = table("bulk", state)
    return xr.Dataset(
        {name: row["measured"] for name, row in rows.items()}
        | {f"{name}_std": row["measured_err"] for name, row in rows.items()}
    )


def reference(state: str) -> xr.Dataset:
    """The dark field's M-M distances: the calibrated ones, with what is left of their errors.

    Printed errors of M-M are ``e_ref + 2 value e_measured / measured``; of the one that is smaller
    than the second part alone, e_ref cannot be told and is taken as zero.
    """
    found = {}
    for name in GROUPS:
        row = table("bulk", state)[name]
        twice = 2 * row["calibrated"] * row["measured_err"] / row["measured"]
        found[name] = row["calibrated"]
        found[f"{name}_std"] = max(row["calibrated_err"] - twice, 0.0)
    return xr.Dataset(found)


# --- published numbers ----------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES)
def test_every_published_calibrated_value_to_a_picometre(state: str) -> None:
    found = calibrate_scalar(measured(state), reference(state))
    for name, row in table("bulk", state).items():
        assert abs(float(found[name]) - row["calibrated"]) < 0.01, name


def test_published_errors_follow_the_linear_rule() -> None:
    """21 of 24 bulk cells, to the last printed digit (printed rounded or truncated).

    The three others: O-O(MLi) of the pristine bulk (0.2 pm less in print), and M-M(OLiO) and
    O-O(M) of the discharged bulk, printed with an error of M-M(OLiO) below that of its measured
    length.
    """
    wrong = []
    for state in STATES:
        found = calibrate_scalar(measured(state), reference(state), errors=ErrorRule.LINEAR)
        for name, row in table("bulk", state).items():
            # Printed to 0.1 pm; references are known to half a printed digit.
            if abs(float(found[f"{name}_std"]) - row["calibrated_err"]) > 0.001:
                wrong.append((state, name))
    expected = [("pristine", "o_o_mli"), ("discharged", "m_m_olio"), ("discharged", "o_o_m")]
    assert wrong == expected


def test_the_worked_example_of_the_paper() -> None:
    """0.59874 ± 0.000601 over 0.65108 ± 0.0019937 nm; then O-O(Li), printed truncated."""
    phase = {"m_m_olio": (6.5108, 0.019937), "o_o_li": (3.3538, 0.01709)}
    lengths = {name: value for name, (value, _) in phase.items()}
    errors = {f"{name}_std": std for name, (_, std) in phase.items()}
    dark_field = xr.Dataset({"m_m_olio": 5.9874, "m_m_olio_std": 0.00601})
    found = calibrate_scalar(xr.Dataset(lengths | errors), dark_field, errors=ErrorRule.LINEAR)
    # Both printed truncated.
    assert float(found["ratio"][0]) == pytest.approx(0.919, abs=1e-3)
    assert 0.003 <= float(found["ratio_std"][0]) < 0.004
    assert 3.08 <= float(found["o_o_li"]) < 3.09
    assert 0.02 <= float(found["o_o_li_std"]) < 0.03


def test_published_surface_lengths_cannot_close() -> None:
    """Two sides of a triangle are longer than the third; B + G of the charged surface is not."""
    rows = table("surface", "charged")
    data = xr.Dataset(
        {name: row["calibrated"] for name, row in rows.items()}
        | {f"{name}_std": row["calibrated_err"] for name, row in rows.items()}
    )
    found = closure_residuals(data)
    assert float(found["closure_m_m_li"]) == pytest.approx(-0.10, abs=1e-9)
    errors = [rows[name]["calibrated_err"] for name in ("o_o_2m", "o_o_2li", "m_m_li")]
    assert float(found["closure_m_m_li_std"]) == pytest.approx(np.linalg.norm(errors))
    assert float(found["closure_freedom"]) == 3


# --- exact distortions ----------------------------------------------------------------------

CELL = np.array([[2.4685, 0.0], [-1.6753, 4.7428], [0.8198, 1.0654]])


def lengths(lattice: Array, *, std: float | None = None, vectors: bool = True) -> xr.Dataset:
    found = {n: float(np.hypot(*(np.array(c) @ lattice))) for n, c in COMBINATIONS.items()}
    errors = {} if std is None else {f"{name}_std": std for name in found}
    data = xr.Dataset(found | errors)
    if vectors:
        data["lattice"] = (("lattice_vector", "lattice_axis"), lattice)
    return data


def metals(data: xr.Dataset, std: float = 0.003) -> xr.Dataset:
    return data[list(GROUPS)].assign({f"{name}_std": std for name in GROUPS})


STRAINS = st.lists(st.floats(-0.08, 0.08), min_size=4, max_size=4).map(
    lambda e: np.eye(2) + np.reshape(e, (2, 2))
)
ANGLES = st.floats(0, 2 * np.pi)


@given(STRAINS, ANGLES, st.booleans())
def test_affine_calibration_undoes_any_affine_distortion(
    strain: Array, angle: float, vectors: bool
) -> None:
    """Whatever the direction of the scan; with vectors or from the eight lengths alone."""
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    true, drifted = lengths(CELL), lengths(CELL @ turn @ strain.T, vectors=vectors)
    found = calibrate_affine(drifted, metals(true))
    for name in LONG_NAMES:
        assert float(found[name]) == pytest.approx(float(true[name]), abs=1e-6), name
    assert found.attrs["vectors"] == ("lattice" if vectors else "lengths")


@given(STRAINS)
def test_scalar_calibration_is_exact_for_what_is_parallel(strain: Array) -> None:
    true, drifted = lengths(CELL), lengths(CELL @ strain.T)
    found = calibrate_scalar(drifted, metals(true))
    for name in ("m_m", "o_o_mli", "m_m_olio", "m_m_li"):
        assert float(found[name]) == pytest.approx(float(true[name]), abs=1e-12)


def test_scalar_calibration_is_off_where_affine_is_not() -> None:
    """5 % of drift: up to 3 pm for distances not parallel to their group's M-M."""
    strain = np.array([[1.0, 0.05], [0.0, 1.05]])
    true, drifted = lengths(CELL), lengths(CELL @ strain.T)
    scalar = calibrate_scalar(drifted, metals(true))
    worst = max(abs(float(scalar[n]) - float(true[n])) for n in LONG_NAMES)
    assert 0.003 < worst < 0.03


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("calibrate", [calibrate_scalar, calibrate_affine])
def test_stated_errors_are_those_of_repeated_experiments(calibrate: object) -> None:
    """Errors of measured vectors and of the reference, drawn 300 times."""
    assert callable(calibrate)
    rng, n, std = np.random.default_rng(3), 300, 0.01
    true = np.array([np.array(c) @ CELL for c in COMBINATIONS.values()])
    drifted = true @ np.array([[1.02, 0.01], [0.04, 0.95]])
    target = metals(lengths(CELL), std=0.006)
    covariance = np.einsum("kl,ij->kilj", std**2 * np.eye(8), np.eye(2))
    names = list(COMBINATIONS)

    def data(vectors: Array) -> xr.Dataset:
        size = np.hypot(*vectors.T)
        values = dict(zip(names, size.tolist(), strict=True))
        return xr.Dataset(
            values
            | {f"{name}_std": std for name in names}
            | {
                "vector": (("distance", "axis"), vectors),
                "vector_covariance": (("distance", "axis", "distance_", "axis_"), covariance),
            },
            coords={"distance": names, "distance_": names},
        )

    stated = calibrate(data(drifted), target)
    runs = np.empty((n, 8))
    for k in range(n):
        noisy = data(drifted + rng.normal(0, std, drifted.shape))
        shaken = target.assign({g: target[g] + rng.normal(0, 0.006) for g in GROUPS})
        found = calibrate(noisy, shaken)
        runs[k] = [float(found[name]) for name in names]
    spread = np.cov(runs.T)
    expected = stated["distance_covariance"].values
    sigma = np.sqrt(np.diag(expected))
    # A variance over n runs is known to sqrt(2/n), a correlation to 1/sqrt(n); 4.5 sigma.
    assert np.abs(np.diag(spread) / sigma**2 - 1).max() < 4.5 * np.sqrt(2 / n)
    assert np.abs((spread - expected) / np.outer(sigma, sigma)).max() < 4.5 * np.sqrt(2 / n)


@given(st.sampled_from([calibrate_scalar, calibrate_affine]))
def test_the_linear_rule_is_never_below_quadrature(calibrate: object) -> None:
    assert callable(calibrate)
    data = lengths(CELL, std=0.01)
    linear = calibrate(data, metals(data), errors=ErrorRule.LINEAR)
    quadrature = calibrate(data, metals(data))
    for name in LONG_NAMES:
        assert float(linear[f"{name}_std"]) >= float(quadrature[f"{name}_std"]) - 1e-12
    assert "distance_covariance" not in linear


def test_an_error_that_is_not_stated_is_not_made_up() -> None:
    data = lengths(CELL, std=0.01).drop_vars("o_o_li_std")
    for found in (
        calibrate_scalar(data, metals(data)),
        calibrate_scalar(data, metals(data), errors=ErrorRule.LINEAR),
        calibrate_affine(data, metals(data)),
    ):
        assert "o_o_li" in found
        assert "o_o_li_std" not in found
        assert "o_o_m_std" in found
    without = calibrate_scalar(data, data[list(GROUPS)])
    assert not [name for name in without if str(name).endswith("_std") and name != "ratio_std"]


# --- vectors and closures -------------------------------------------------------------------


@given(STRAINS)
def test_a_lattice_is_found_from_eight_lengths(strain: Array) -> None:
    lattice = CELL @ strain.T
    fit = fit_lattice(lengths(lattice, std=0.01, vectors=False))
    assert fit.chi_squared < 1e-8
    # Up to a turn: the lengths of all combinations are the same.
    for c in COMBINATIONS.values():
        assert np.hypot(*(np.array(c) @ fit.lattice)) == pytest.approx(
            np.hypot(*(np.array(c) @ lattice)), abs=1e-6
        )


def test_closures_of_an_exact_lattice() -> None:
    """In the plane the O columns lie off the line, by geometry alone.

    268.86 + 307.44 - 575.57 pm and 228.63 + 274.58 - 503.00 pm, each printed to 0.01 pm.
    """
    found = closure_residuals(lengths(CELL, std=0.01))
    assert float(found["closure_m_m_olio"]) == pytest.approx(0.0073, abs=1.5e-4)
    assert float(found["closure_m_m_li"]) == pytest.approx(0.0021, abs=1.5e-4)
    assert float(found["closure_m_m"]) == pytest.approx(0, abs=1e-12)
    assert float(found["closure_m_m_olio_std"]) == pytest.approx(0.01 * np.sqrt(3))
    assert float(found["closure_chi_squared"]) == pytest.approx(0, abs=1e-8)


def test_one_wrong_length_shows_as_improbable() -> None:
    data = lengths(CELL, std=0.01)
    assert float(closure_residuals(data)["closure_probability"]) > 0.99
    wrong = data.assign(o_o_li=data["o_o_li"] + 0.08)
    assert float(closure_residuals(wrong)["closure_probability"]) < 1e-3


def test_vector_closures_are_zero_for_vectors_of_one_lattice() -> None:
    names = list(COMBINATIONS)
    vectors = np.array([np.array(c) @ CELL for c in COMBINATIONS.values()])
    data = lengths(CELL, std=0.01, vectors=False).assign_coords(distance=names)
    found = closure_residuals(data.assign(vector=(("distance", "axis"), vectors)))
    for name in ("m_m_olio", "m_m_li", "m_m"):
        np.testing.assert_allclose(found[f"closure_{name}_vector"], 0, atol=1e-12)
    np.testing.assert_allclose(found["closure_m_m_li_vector_std"], 0.01 * np.sqrt(3))


def test_where_vectors_come_from() -> None:
    data = lengths(CELL, std=0.01)
    assert distance_vectors(data).source == "lattice"
    assert distance_vectors(data.drop_vars("lattice")).source == "lengths"


# --- bad input ------------------------------------------------------------------------------

GOOD = lengths(CELL, std=0.01)


@pytest.mark.parametrize(
    ("data", "target", "message"),
    [
        (GOOD, metals(GOOD).drop_vars("m_m_li"), r"the reference lack m_m_li \(M-M\(Li\)\)"),
        (GOOD, xr.Dataset(), "the reference lack m_m"),
        (GOOD.drop_vars("m_m"), metals(GOOD), "M-M"),
        (GOOD, metals(GOOD) / 10, "expected 0.67 to 1.5; give both in Å"),
        (GOOD, metals(GOOD) * np.nan, "expected a length above 0"),
        (GOOD.assign(o_o_li=-1.0), metals(GOOD), "o_o_li = -1 Å; expected a length above 0"),
        (GOOD.assign(o_o_li_std=-1.0), metals(GOOD), "o_o_li_std = -1 Å; expected 0 or more"),
        (xr.Dataset({"x": 1.0}), metals(GOOD), "none of m_m"),
        (GOOD.assign(m_m=((), 2.4, {"units": "nm"})), metals(GOOD), "m_m is in nm; expected Å"),
    ],
)
@pytest.mark.parametrize("calibrate", [calibrate_scalar, calibrate_affine])
def test_what_cannot_be_calibrated_is_refused(
    calibrate: object, data: xr.Dataset, target: xr.Dataset, message: str
) -> None:
    assert callable(calibrate)
    with pytest.raises(BadInputError, match=message):
        calibrate(data, target)


def test_dependent_vectors_are_refused() -> None:
    flat = np.array([[2.4685, 0.0], [4.9, 1e-9], [1.0, 0.0]])
    data = lengths(flat, std=0.01)
    with pytest.raises(BadInputError, match="fewer than three independent M-M vectors"):
        calibrate_affine(data, metals(data))


def test_lengths_no_distortion_explains_are_refused() -> None:
    # F = C + 2 A cannot be longer than |C| + 2 |A|.
    changed = {"m_m": 0.7, "m_m_li": 0.7, "m_m_olio": 1.4}
    target = metals(GOOD).assign({name: GOOD[name] * by for name, by in changed.items()})
    with pytest.raises(BadInputError, match="no affine distortion"):
        calibrate_affine(GOOD, target)


def test_too_few_lengths_do_not_fix_a_lattice() -> None:
    five = ["m_m", "o_o_mli", "m_m_olio", "o_o_li", "o_o_m"]
    data = lengths(CELL, vectors=False)[five]
    with pytest.raises(BadInputError, match="do not fix the lattice"):
        fit_lattice(data)


def test_no_closure_without_its_distances() -> None:
    with pytest.raises(BadInputError, match="no closure can be formed"):
        closure_residuals(GOOD[["m_m", "o_o_li"]])
