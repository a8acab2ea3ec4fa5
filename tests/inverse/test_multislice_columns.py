"""Names of columns by lattice and dark field, the search for the thickness, what is refused."""

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.acquisition import Beam, PixelDetector, acquisition_of
from echolith.inverse import multislice_thickness
from echolith.inverse.column_naming import UndeterminedSpeciesError, name_columns
from echolith.inverse.columns import find_columns
from echolith.inverse.multislice_ptychography_columns import recover_columns_multislice
from echolith.inverse.multislice_thickness import ThicknessSearch, find_thickness, middle_of
from echolith.inverse.multislice_uncertainty import systematic_std, with_systematic_error
from tests.inverse.lattice_frames import CELL
from tests.inverse.phase_sets import Array, acquisition, noise_set

STEP = 0.27
SHAPE = (52, 57)
SITES = np.array([[0.0, 0.0], CELL[1] / 2, CELL[2], -CELL[2]])
KINDS = ("M", "Li", "O", "O")
PHASES = (5.0, 1.2, 2.4, 2.4)
"""rad; of columns of 10 nm."""
DARK = (100.0, 6.0, 15.0, 15.0)
"""Counts."""


def crystal(angle: float, mirrored: bool, origin: tuple[float, float]) -> tuple[Array, Array]:
    """Return positions (n, 2) in and around the field, and the kinds of their sites."""
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    matrix = np.diag([1.0, -1.0 if mirrored else 1.0]) @ rotation
    n, m = (k.reshape(-1, 1) for k in np.meshgrid(np.arange(-20, 21), np.arange(-20, 21)))
    nodes = n * CELL[0] + m * CELL[1]
    points = (nodes[:, None] + SITES).reshape(-1, 2) @ matrix + origin
    kinds = np.tile(np.arange(4), len(nodes))
    near = ((points > -2) & (points < np.array(SHAPE[::-1]) * STEP + 2)).all(axis=1)
    return points[near], kinds[near]


def image(points: Array, heights: Array, width: float) -> xr.DataArray:
    y, x = (np.arange(n) * STEP for n in SHAPE)
    rows = np.exp(-((y[:, None] - points[:, 1]) ** 2) / (2 * width**2))
    columns = np.exp(-((x[:, None] - points[:, 0]) ** 2) / (2 * width**2))
    coords = {"scan_y": y, "scan_x": x}
    return xr.DataArray((rows * heights) @ columns.T, coords, ("scan_y", "scan_x"))


@given(
    angle=st.floats(0, 180),
    mirrored=st.booleans(),
    origin=st.tuples(st.floats(0, 5), st.floats(0, 5)),
    seed=st.integers(0, 99),
)
@settings(max_examples=8)
def test_columns_are_named_by_their_sites_however_the_crystal_lies(
    angle: float, mirrored: bool, origin: tuple[float, float], seed: int
) -> None:
    points, kinds = crystal(angle, mirrored, origin)
    rng = np.random.default_rng(seed)
    # Phases of single columns of 10 nm differ by a fifth or more, so that brightness fails.
    heights = np.asarray(np.array(PHASES)[kinds] * rng.uniform(0.7, 1.3, len(points)), dtype=float)
    phase = image(points, heights, 0.4)
    dark = image(points, np.array(DARK)[kinds], 0.4)
    dark = dark.copy(data=rng.poisson(dark.values + 2))
    named = name_columns(find_columns(phase), phase, dark)
    firm = named.isel(column=np.flatnonzero(~named["edge"].values))
    xy = np.stack([firm["x"].values, firm["y"].values], axis=-1)
    nearest = np.hypot(*(xy[:, None] - points).transpose(2, 0, 1)).argmin(axis=1)
    assert firm["species"].values.tolist() == [KINDS[kinds[n]] for n in nearest]
    assert {"M", "Li", "O"} == set(firm["species"].values.tolist())


@pytest.mark.parametrize("dark", [(6.0, 100.0, 15.0, 15.0), (0.0,) * 4], ids=["exchanged", "none"])
def test_nothing_is_named_where_the_dark_field_disagrees(dark: tuple[float, ...]) -> None:
    points, kinds = crystal(17, False, (1.0, 2.0))
    phase = image(points, np.array(PHASES)[kinds], 0.4)
    counts = np.random.default_rng(0).poisson(
        image(points, np.array(dark, dtype=np.float64)[kinds], 0.4) + 2
    )
    with pytest.raises(UndeterminedSpeciesError, match="undetermined: the dark field is"):
        name_columns(find_columns(phase), phase, phase.copy(data=counts))


def test_nothing_is_named_on_another_lattice() -> None:
    n, m = (k.ravel() for k in np.meshgrid(np.arange(-2, 12), np.arange(-2, 12)))
    points = np.stack([n, m], axis=-1).astype(np.float64) * 1.95
    phase = image(points, np.full(len(points), 3.0), 0.4)
    with pytest.raises(UndeterminedSpeciesError, match="species undetermined"):
        name_columns(find_columns(phase), phase, phase)


def likely(peak: float) -> Callable[..., dict[float, float]]:
    def likelihoods(_: xr.Dataset, thicknesses: list[float], **__: object) -> dict[float, float]:
        return {t: -((t - peak) ** 2) for t in thicknesses}

    return likelihoods


@given(peak=st.floats(21, 219))
def test_the_top_of_a_parabola_is_found(peak: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multislice_thickness, "_log_likelihoods", likely(peak))
        assert find_thickness(noise_set(acquisition(), seed=0)) == pytest.approx(peak, abs=1e-6)


def test_a_specimen_thicker_than_all_that_was_tried_is_refused() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multislice_thickness, "_log_likelihoods", likely(500))
        with pytest.raises(BadInputError, match="likeliest with a thickness of 160 Å or more"):
            find_thickness(noise_set(acquisition(), seed=0), search=ThicknessSearch(largest=120))


def test_the_middle_of_a_field_is_a_measurement_of_its_own() -> None:
    whole = noise_set(acquisition(), seed=0)
    scan = acquisition_of(whole).scan
    part = middle_of(whole, 2.1)
    shape = tuple(round(2.1 / step) for step in scan.step)
    assert acquisition_of(part).scan.shape == shape
    first = [(n - m) // 2 for n, m in zip(scan.shape, shape, strict=True)]
    np.testing.assert_array_equal(
        part["counts"][0, 0].values, whole["counts"][first[0], first[1]].values
    )


def test_what_tells_neither_species_nor_depth_is_refused() -> None:
    taken = acquisition(
        beam=Beam(semiangle=20.7), detector=PixelDetector(shape=(17, 19), pixel_size=(2.6, 2.4))
    )
    frames = noise_set(taken, seed=0)
    with pytest.raises(BadInputError, match="no haadf; species in thick specimens"):
        recover_columns_multislice(frames)
    dark = frames["counts"].sum(("detector_y", "detector_x"))
    with pytest.raises(BadInputError, match=r"several slices need the dark field, 1\.1 times"):
        recover_columns_multislice(frames.assign(haadf=dark))


def test_systematic_errors_add_in_quadrature() -> None:
    found = xr.Dataset({"m_m": 2.5, "o_o_li": 3.1, "o_o_li_std": 0.003, "o_o_li_scatter": 0.01})
    thick = with_systematic_error(found, thickness=100.0)
    # 2.5 and 3.5 pm in ten thousandths: the sides and the hypotenuse.
    assert float(thick["o_o_li_std"]) == pytest.approx(np.sqrt(3.0**2 + 2.5**2 + 3.5**2) * 1e-3)
    assert float(thick["o_o_li_scatter"]) == 0.01
    assert systematic_std("m_m", 100.0) == pytest.approx(systematic_std("o_o_li", 100.0) / 3)
    assert systematic_std("o_o_li", 0.0) == pytest.approx(0.0025)
