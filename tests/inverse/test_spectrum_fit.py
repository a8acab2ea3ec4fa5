"""Linear combination of spectra, on drawn mixtures and on measured ones."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.inverse.blind_components import BlindComponents, blind_components
from echolith.inverse.spectrum_fit import SpectrumFit, fit_spectra
from tests.inverse.measured_spectra import fe_k_library, fe_k_particles, fe_l_stack, iron_in

ENERGY = np.linspace(700.0, 730.0, 121)


def two_species() -> xr.DataArray:
    lines = [np.exp(-(((ENERGY - centre) / 0.8) ** 2)) for centre in (708.2, 710.2)]
    step = 0.2 / (1 + np.exp(-(ENERGY - 707)))
    return xr.DataArray(
        np.stack(lines) + step,
        dims=("species", "energy"),
        coords={"species": ["LFP", "FP"], "energy": ENERGY},
    )


def mixed(weights: np.ndarray, background: np.ndarray | float = 0.0) -> xr.DataArray:
    data = np.tensordot(two_species().values.T, weights, axes=1) + background
    dims = ("energy", *("y", "x")[: weights.ndim - 1])
    return xr.DataArray(data, dims=dims, coords={"energy": ENERGY})


@given(
    weights=st.tuples(st.floats(0, 5), st.floats(0, 5)),
    level=st.floats(-2, 2),
    slope=st.floats(-0.1, 0.1),
)
def test_exact_mixtures_come_back(weights: tuple[float, float], level: float, slope: float) -> None:
    found = fit_spectra(mixed(np.array(weights), level + slope * (ENERGY - 715)), two_species())
    assert found.weight.values == pytest.approx(np.array(weights), abs=1e-9)


@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.2, 0.8))
def test_pulls_of_noisy_mixtures(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    weights = np.stack([np.full(400, 1 - share), np.full(400, share)])
    noisy = mixed(weights)
    noisy = noisy + rng.normal(0, 0.05, noisy.shape)
    found = fit_spectra(noisy, two_species())
    for name, truth in (("weight", weights), ("fraction", weights)):
        pull = (found[name].values - truth) / found[f"{name}_std"].values
        # 400 draws: standard error of the mean 0.05, of the spread 0.035; four of each.
        assert abs(pull.mean(axis=1)).max() < 0.2
        assert pull.std(axis=1) == pytest.approx(1, abs=0.15)


def test_order_of_pixels_does_not_matter() -> None:
    weights = np.random.default_rng(1).uniform(0, 1, (2, 3, 4))
    stack = mixed(weights)
    turned = fit_spectra(stack.transpose("x", "energy", "y"), two_species())
    plain = fit_spectra(stack, two_species())
    assert turned.weight.dims == ("species", "x", "y")
    np.testing.assert_allclose(turned.weight.transpose("species", "y", "x"), plain.weight)


def test_nothing_to_fit_has_no_fraction() -> None:
    found = fit_spectra(mixed(np.zeros(2), -0.1), two_species())
    assert np.isnan(found.fraction.values).all()


@pytest.mark.parametrize(
    ("spectra", "references", "message"),
    [
        (mixed(np.ones(2)).isel(energy=[0, 1, 2]), two_species(), "3 energies for 4"),
        (
            mixed(np.ones(2)).assign_coords(energy=ENERGY + 20),
            two_species(),
            "cut the spectra",
        ),
        (mixed(np.ones(2)), two_species().isel(species=[0, 0]), "cannot be told apart"),
        (mixed(np.ones(2)).drop_vars("energy"), two_species(), "values in eV"),
        (mixed(np.ones(2)) * np.nan, two_species(), "not finite"),
    ],
)
def test_bad_spectra_are_refused(
    spectra: xr.DataArray, references: xr.DataArray, message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        fit_spectra(spectra, references)


@given(seed=st.integers(0, 2**32 - 1))
def test_blind_components_of_a_map_with_pure_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    share = np.concatenate([np.zeros(30), np.ones(30), rng.uniform(0, 1, 200)])
    amount = np.concatenate([np.zeros(200), rng.uniform(0.5, 2, 260)])
    share = np.concatenate([np.zeros(200), share])
    stack = mixed(np.stack([amount * (1 - share), amount * share]), 0.3)
    stack = stack + rng.normal(0, 0.005, stack.shape)
    found = blind_components(stack.rename(y="pixel"))
    # A straight line under a spectrum cannot be told from the background: compared without it.
    bent = [
        one - np.polyval(np.polyfit(ENERGY, one, 1), ENERGY)
        for one in (*found.values, *two_species().values)
    ]
    likeness = np.corrcoef(bent)[:2, 2:]
    assert np.diag(likeness).min() > 0.995


def test_blind_components_need_the_element() -> None:
    with pytest.raises(BadInputError, match="0 pixels"):
        blind_components(mixed(np.zeros((2, 50))))
    with pytest.raises(BadInputError, match="holds 0 energies"):
        blind_components(mixed(np.ones((2, 50))), options=BlindComponents(window=(800, 810)))


def test_measured_particles_as_well_as_the_published_fit() -> None:
    """Fe K edge: LiFePO4 is known to be there most; the published fit used four species."""
    library = fe_k_library()
    spectrum, published = fe_k_particles()
    inside = spectrum["energy"].values >= float(library.energy.min())
    published_r = ((spectrum.values - published)[inside] ** 2).sum() / (
        spectrum.values[inside] ** 2
    ).sum()
    options = SpectrumFit(background_degree=-1)
    four = library.sel(species=["LiFePO4", "Pyrite", "StainlessSteel", "Hematite"])
    for references in (four, library):
        found = fit_spectra(spectrum[inside], references, options=options)
        assert str(found.species.values[found.weight.values.argmax()]) == "LiFePO4"
        assert float(found.r_factor) <= published_r * (1 + 1e-6)


def test_measured_stack_of_the_fe_l_edge() -> None:
    """Pixels with an optical density of iron above 0.1: R < 0.15 in 98.5 %, target 90 %."""
    density, owners = fe_l_stack()
    sample = iron_in(density) > 0.1
    found = fit_spectra(density, owners)
    assert (found.r_factor.values < 0.15)[sample].mean() > 0.9


def test_measured_stack_blindly() -> None:
    """The components of the owners, without having them: correlation 0.99, target 0.95."""
    density, owners = fe_l_stack()
    blind = blind_components(density)
    likeness = np.corrcoef(blind.values, owners.values)[:2, 2:]
    assert np.diag(likeness).min() > 0.95
