"""The parts of the joint fit: whitening, profiles, derivatives, normal equations."""

from dataclasses import replace

import gemmi
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.inverse.column_model import EVEN, ODD, REFERENCE_FREQUENCY, ColumnSum
from echolith.inverse.column_problem import ColumnProblem, FitOptions, parity, sparse_jacobian
from echolith.inverse.column_profiles import Scattering, electron_form_factor
from echolith.inverse.projected_lattice import find_lattice, sublattices
from echolith.inverse.whitening import Whitening, scan_step
from tests.inverse.weak_phase import Cell, Field, reconstruction, true_columns

Array = npt.NDArray[np.float64]
SHAPE, STEP = (24, 30), (0.25, 0.21)


def noise_weight(seed: int) -> xr.Dataset:
    """A random image and random weights within twice 22.4 mrad; uneven shape and step."""
    rng = np.random.default_rng(seed)
    qy, qx = (np.fft.fftfreq(n, d) for n, d in zip(SHAPE, STEP, strict=True))
    weight = rng.uniform(1, 5, SHAPE) * (np.hypot(qy[:, None], qx[None]) < 1.786)
    axes = [np.arange(n) * d for n, d in zip(SHAPE, STEP, strict=True)]
    return xr.Dataset(
        {
            "phase": (("scan_y", "scan_x"), rng.normal(size=SHAPE)),
            "weight": (("q_y", "q_x"), weight),
        },
        coords={"scan_y": axes[0], "scan_x": axes[1], "q_y": qy, "q_x": qx},
    )


def column_sum(seed: int, columns: int = 7) -> ColumnSum:
    rng = np.random.default_rng(seed)
    whitening = Whitening.of(noise_weight(seed))
    form = [Scattering().form_factor(name, whitening.radius) for name in ("Li", "M", "O")]
    even = rng.uniform([0.05, -0.05, 0.05, 0.0], [0.3, 0.05, 0.3, 0.02], (3, 4))
    return ColumnSum(
        whitening=whitening,
        form=np.stack(form),
        group=rng.integers(0, 3, columns),
        parity=rng.integers(-1, 2, columns),
        x=rng.uniform(0, 6, columns),
        y=rng.uniform(0, 6, columns),
        amplitude=rng.uniform(0.5, 2, columns),
        shape_terms=np.concatenate([even, rng.normal(0, 5e-4, (3, 4))], axis=1),
    )


# --- whitening ------------------------------------------------------------------------------


@given(st.integers(0, 2**32))
def test_whitened_image_holds_chi_squared(seed: int) -> None:
    data = noise_weight(seed)
    whitening = Whitening.of(data)
    image = data["phase"].values
    whitened = whitening.whiten(whitening.spectrum(image))
    # The weights, made even, over the whole plane; frequencies without a partner are left out.
    weight = data["weight"].values.copy()
    weight = (weight + np.roll(weight[::-1, ::-1], 1, axis=(0, 1))) / 2
    weight[0, 0] = weight[SHAPE[0] // 2] = weight[:, SHAPE[1] // 2] = 0
    expected = (weight * np.abs(np.fft.fft2(image) / image.size) ** 2).sum()
    assert (whitened**2).sum() == pytest.approx(expected, rel=1e-10)
    assert whitening.frequencies == (weight > 0).sum()


@given(st.integers(0, 2**32))
def test_pull_back_is_the_adjoint_of_whitening(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = noise_weight(seed)
    whitening = Whitening.of(data)
    spectrum = whitening.spectrum(rng.normal(size=SHAPE))
    image = rng.normal(size=SHAPE)
    left = (image * whitening.whiten(spectrum)).sum()
    right = (whitening.pull_back(image) * spectrum).sum().real
    assert left == pytest.approx(right, rel=1e-10)


@given(st.floats(0.05, 0.6), st.integers(2, 40), st.floats(-1e3, 1e3))
def test_scan_step_is_that_of_the_axes(step: float, count: int, origin: float) -> None:
    image = xr.DataArray(
        np.zeros((count, 3)),
        dims=("scan_y", "scan_x"),
        coords={"scan_y": origin + np.arange(count) * step, "scan_x": [0.0, 1.0, 2.0]},
    )
    assert scan_step(image) == pytest.approx((step, 1.0), rel=1e-9)
    with pytest.raises(BadInputError, match="'scan_y' is not equally spaced and increasing"):
        scan_step(image[::-1])


# --- profiles -------------------------------------------------------------------------------


@pytest.mark.parametrize("element", ["Li", "O", "Mn", "Co", "Ni"])
def test_form_factors_follow_from_those_of_x_rays(element: str) -> None:
    """Mott and Bethe: f_e = 0.0239337 (Z - f_x) / s², s = Q/2 (Int. Tables C, eq. 4.3.1.15)."""
    s = np.linspace(0.3, 1.2, 10)
    atom = gemmi.Element(element)
    x_ray = np.array([atom.it92.calculate_sf(float(v)) for v in s**2])
    expected = 0.0239337 * (atom.atomic_number - x_ray) / s**2
    # f_x of the 1992 table is good to some 0.02 electrons, its own stated mean error.
    np.testing.assert_allclose(
        electron_form_factor(element, 2 * s), expected, atol=0.0239337 * 0.05 / 0.3**2
    )


@pytest.mark.parametrize(("element", "value"), [("Li", 3.286), ("O", 1.983), ("Mn", 7.506)])
def test_form_factors_at_zero_are_the_tabulated_ones(element: str, value: float) -> None:
    # International Tables C, table 4.3.1.1, Å; the five Gaussians are good to 1 %.
    assert electron_form_factor(element, np.zeros(1))[0] == pytest.approx(value, rel=0.01)


def test_mixed_columns_scatter_as_their_mean() -> None:
    q = np.linspace(0, 2, 9)
    mixed = Scattering(content={"M": {"Mn": 1, "Li": 3}}).form_factor("M", q)
    parts = electron_form_factor("Mn", q), electron_form_factor("Li", q)
    np.testing.assert_allclose(mixed, 0.25 * parts[0] + 0.75 * parts[1])


# --- the sum of columns and its derivatives -------------------------------------------------


def test_a_column_is_what_its_equation_says() -> None:
    """One column of mirror parity, summed at every frequency without matrix products."""
    model = column_sum(3, columns=1)
    model = replace(model, parity=np.array([-1]))
    w, s = model.whitening, model.group[0]
    xx, xy, yy, quartic, xxx, xxy, xyy, yyy = model.shape_terms[s]
    q0 = REFERENCE_FREQUENCY
    for i, qy in enumerate(w.qy):
        for j, qx in enumerate(w.qx):
            square = qx**2 + qy**2
            even = xx * (qx**2 - q0**2 / 2) + 2 * xy * qx * qy + yy * (qy**2 - q0**2 / 2)
            even += quartic * (square**2 - q0**4)
            third = xxx * qx**3 + 3 * xxy * qx**2 * qy + 3 * xyy * qx * qy**2 + yyy * qy**3
            expected = (
                model.amplitude[0]
                * model.form[s, i, j]
                * np.exp(-even - 1j * (2 * np.pi) ** 3 / 6 * third)
                * np.exp(-2j * np.pi * (qx * model.x[0] + qy * model.y[0]))
                / (SHAPE[0] * SHAPE[1] * STEP[0] * STEP[1])
            )
            assert model.spectrum()[i, j] == pytest.approx(expected, rel=1e-9)


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_derivatives_are_those_of_the_sum(seed: int) -> None:
    """Central differences of the spectrum, column by column and shape by shape."""
    model = column_sum(seed)
    rng, h = np.random.default_rng(seed), 1e-5
    step = rng.normal(size=(7, 3))

    def moved(sign: int) -> Array:
        amplitude, x, y = (sign * h * step).T
        return np.asarray(
            replace(
                model,
                amplitude=model.amplitude + amplitude,
                x=model.x + x,
                y=model.y + y,
            ).spectrum()
        )

    change = (moved(1) - moved(-1)) / (2 * h)
    scale = np.abs(change).max()
    np.testing.assert_allclose(model.change(step), change, atol=1e-6 * scale)
    terms = rng.normal(size=model.shape_terms.shape) * ([1] * 4 + [1e-2] * 4)
    up, down = (
        replace(model, shape_terms=model.shape_terms + sign * h * terms).spectrum()
        for sign in (1, -1)
    )
    whitened = model.whitening.whiten((up - down) / (2 * h))
    images = np.tensordot(terms.ravel(), model.shape_images(), axes=1)
    np.testing.assert_allclose(images, whitened, atol=1e-6 * np.abs(whitened).max())


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_gradient_is_the_adjoint_of_change(seed: int) -> None:
    model, rng = column_sum(seed), np.random.default_rng(seed)
    step, image = rng.normal(size=(7, 3)), rng.normal(size=SHAPE)
    left = (image * model.whitening.whiten(model.change(step))).sum()
    assert left == pytest.approx((model.gradient(image) * step).sum(), rel=1e-9)


def test_windows_agree_with_the_exact_derivatives() -> None:
    model = column_sum(1)
    jacobian = sparse_jacobian(model, np.ones(SHAPE), reach=2.8).toarray()
    for k in range(7):
        for term in range(3):
            step = np.zeros((7, 3))
            step[k, term] = 1
            exact = model.whitening.whiten(model.change(step)).ravel()
            window = jacobian[:, 3 * k + term]
            inside = window != 0
            # Splines through tables five times finer than the scan.
            np.testing.assert_allclose(
                window[inside], exact[inside], atol=2e-3 * np.abs(exact).max()
            )


def test_normal_product_is_that_of_the_cost() -> None:
    """Second differences of the cost where the residual vanishes."""
    spec = Field(shape=(48, 44))
    data = reconstruction(spec)
    start = true_columns(spec)[["x", "y", "species", "edge"]]
    start = start.isel(column=~start["edge"].values)
    problem = ColumnProblem.of(data, start, FitOptions(margin=1.0, skewness_std=5e-4))
    perfect = replace(problem, data=problem.start.spectrum())
    rng = np.random.default_rng(0)
    count = 3 * len(start["x"])
    step = np.concatenate([rng.normal(size=count), rng.normal(size=3 * 8) * 0.01])
    state, h = perfect.start, 1e-4

    def cost(sign: int) -> float:
        columns, shapes = (
            sign * h * step[:count].reshape(-1, 3),
            sign * h * step[count:].reshape(3, 8),
        )
        moved = replace(
            state,
            amplitude=state.amplitude + columns[:, 0],
            x=state.x + columns[:, 1],
            y=state.y + columns[:, 2],
            shape_terms=state.shape_terms + shapes,
        )
        return perfect.cost(moved, perfect.residual(moved))

    curvature = (cost(1) + cost(-1)) / (2 * h**2)
    product = perfect.normal_product(state, state.shape_images(), step)
    assert step @ product == pytest.approx(curvature, rel=1e-3)
    downhill = problem.downhill(state, problem.residual(state), state.shape_images())
    assert len(downhill) == len(step) == len(problem.prior())
    assert [*EVEN, *ODD] == ["xx", "xy", "yy", "quartic", "xxx", "xxy", "xyy", "yyy"]


# --- the lattice ----------------------------------------------------------------------------


@given(st.floats(0, 360), st.booleans(), st.integers(0, 99))
def test_mirror_images_of_columns_are_told_apart(rotation: float, mirror: bool, seed: int) -> None:
    """O at +O and at -O get opposite parities, M and Li none, in any frame and order."""
    columns = true_columns(Field(cell=Cell(rotation=rotation)))
    order = np.random.default_rng(seed).permutation(columns.sizes["column"])
    columns = columns.isel(column=order)
    if mirror:
        columns = columns.assign(x=-columns["x"])
    found = parity(columns)
    sign, species = columns["sign"].values, columns["species"].values
    # Li has two M at the same distance; at the very edge of the crystal one of them is missing.
    inner = ~columns["edge"].values
    assert not found[species == "M"].any()
    assert not found[inner & (species == "Li")].any()
    product = (found * sign)[inner & (species == "O")]
    assert len(product) > 20
    assert set(product.tolist()) in ({1}, {-1})


@given(st.floats(0, 360), st.booleans())
def test_lattice_turns_with_the_columns(rotation: float, mirror: bool) -> None:
    cell = Cell(rotation=rotation)
    columns = true_columns(Field(cell=cell))[["x", "y", "species", "sign", "edge"]]
    flip = np.array([-1.0 if mirror else 1.0, 1.0])
    lattice = find_lattice(columns.assign(x=columns["x"] * flip[0]))
    a, c, o = cell.vectors() * flip
    sign = np.sign(lattice.a @ a)
    for ours, theirs in ((lattice.a, a), (lattice.c, c), (lattice.o, o)):
        np.testing.assert_allclose(ours, sign * theirs, atol=1e-9)
    groups = sublattices(columns.assign(x=columns["x"] * flip[0]), lattice)
    plus = groups[columns["sign"].values == sign]
    # At the edge of the crystal the M column of an O column may be missing.
    inner = ~columns["edge"].values[columns["sign"].values == sign]
    assert set(plus.tolist()) <= {"O+", ""}
    assert set(plus[inner].tolist()) == {"O+"}
