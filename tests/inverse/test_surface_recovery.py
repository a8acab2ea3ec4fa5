import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr
from scipy.stats import binom

from echolith.errors import BadInputError
from echolith.forward.phase_object import phase_object_mean
from echolith.inverse.column_composition import measure_composition
from echolith.inverse.column_response import LITHIUM, METAL, OXYGEN, response
from echolith.inverse.columns import find_columns
from echolith.inverse.filled_sites import alkali_contrast, displacements
from echolith.inverse.lattice_search import search_lattice
from echolith.inverse.site_fit import fit_sites
from echolith.inverse.site_lattice import sites_of
from echolith.inverse.surface_kinds import UNDETERMINED
from echolith.inverse.surface_phase import PhaseOptions, classify_surface
from echolith.inverse.surface_recovery import composed_surface, recover_surface
from echolith.inverse.surface_segmentation import DepthRule, find_edge, is_surface, surely_bulk
from tests.inverse.phase_sets import acquisition
from tests.inverse.surface_table import CELLS, LAYERS, table
from tests.inverse.weak_phase import Cell, Field, haadf_image, reconstruction, true_columns

PHASES = sorted(CELLS)


def composed(sites: xr.Dataset) -> tuple[xr.Dataset, float]:
    edge = find_edge(sites)
    bulk = surely_bulk(edge.depth(sites["x"], sites["y"]))
    found = measure_composition(sites, bulk=bulk)
    return found.assign(depth=("column", edge.depth(found["x"], found["y"]))), edge.std


def true_values(sites: xr.Dataset, found: xr.Dataset, name: str) -> npt.NDArray[np.float64]:
    keys = ("site", "sign", "lattice_i", "lattice_j")
    known = dict(
        zip(zip(*(sites[k].values for k in keys), strict=True), sites[name].values, strict=True)
    )
    asked = zip(*(found[k].values for k in ("species", *keys[1:])), strict=True)
    return np.array([known[key] for key in asked])


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_phase_of_a_surface_is_found_with_its_depth_and_occupancy(
    phase: str, seed: int
) -> None:
    sites = table(phase, depth=15.0, seed=seed)
    composition, std = composed(sites)
    found = classify_surface(composition, edge_std=std)
    assert str(found["surface_phase"].values) == phase
    assert float(found["probability"].sum()) == pytest.approx(1)
    if phase == "layered":
        assert "surface_depth" not in found
        assert "layered" in found.attrs["undetermined"]
        return
    depth, uncertainty = float(found["surface_depth"]), float(found["surface_depth_std"])
    # A few dozen columns of seven drawn sites: what is there already scatters by about 1.5 Å.
    assert abs(depth - 15.0) < 4 * np.hypot(uncertainty, 1.5)
    surface = composition["depth"].values < depth
    holes = surface & (composition["species"].values == "T")
    held = true_values(sites, composition, "true_tm") + true_values(sites, composition, "true_li")
    assert abs(float(found["tetrahedral_occupancy"]) - held[holes].mean()) < 0.1


@pytest.mark.parametrize("alkali", [0.0, 0.05, 0.1])
def test_metals_in_the_alkali_layer(alkali: float) -> None:
    errors, pulls = [], []
    for seed in range(4):
        sites = table("layered", depth=0.0, seed=seed, alkali=alkali)
        found, _ = composed_surface(sites)
        lithium = found["species"].values == "Li"
        true = true_values(sites, found, "true_tm")[lithium]
        error = float(found["tm_in_alkali_layer"]) - true.mean()
        errors.append(error)
        pulls.append(error / float(found["tm_in_alkali_layer_std"]))
    # One per cent absolute is asked for.
    assert abs(np.mean(errors)) < 0.01
    assert np.abs(pulls).max() < 3.5


def test_columns_of_mixed_content_are_unbiased_in_the_mean() -> None:
    error = []
    for seed in range(6):
        sites = table("layered", depth=0.0, seed=seed)
        found, _ = composed_surface(sites)
        metals = found["species"].values == "M"
        error.append((found["tm_fraction"].values - true_values(sites, found, "true_tm"))[metals])
    # The scale is the nominal mean over the deepest third: so many draws of seven sites.
    scale = np.sqrt(0.16 / LAYERS / (len(np.concatenate(error)) / 3))
    assert abs(np.concatenate(error).mean()) < 4 * scale


def test_response_passes_through_its_references() -> None:
    height, theta = response(0.2, 0.28, 0.8, sites=7)
    assert height * np.sin(theta * OXYGEN) == pytest.approx(0.2)
    # The mean of M columns, drawn site by site.
    n = np.arange(8)
    seen = height * np.sin(theta * (METAL * n + LITHIUM * (7 - n)) / 7)
    assert binom.pmf(n, 7, 0.8) @ seen == pytest.approx(0.28, rel=5e-3)


def test_metals_of_reconstructed_alkali_layers_are_unbiased_as_stated() -> None:
    pulls = []
    for phase in PHASES:
        for seed in range(2) if phase != "layered" else ():
            sites = table(phase, depth=15.0, seed=seed)
            found, surface = composed_surface(sites)
            here = (found["species"].values == "Li") & surface["surface"].values
            true = true_values(sites, found, "true_tm")[here].mean()
            error = float(surface["tm_in_surface_alkali_layer"]) - true
            pulls.append(error / float(surface["tm_in_surface_alkali_layer_std"]))
    # Errors of the response are common to all tables: in the mean, too, they are as stated of one.
    assert abs(np.mean(pulls)) < 1
    # An rms pull of one is known to 25 % of 8 tables: 4 sigma.
    assert np.sqrt(np.mean(np.square(pulls))) < 2


def test_too_little_told_is_said_so() -> None:
    composition, std = composed(table("limn2o4", depth=15.0, seed=0, noise=0.004))
    blurred = composition.assign(
        strength_std=100 * composition["strength_std"],
        haadf_fraction_std=100 * composition["haadf_fraction_std"],
    )
    found = classify_surface(blurred, edge_std=std, options=PhaseOptions())
    assert str(found["surface_phase"].values) == UNDETERMINED
    assert "surface_depth" not in found
    assert found.attrs["undetermined"]


def test_the_contrast_of_the_alkali_layer_grows_with_its_metals() -> None:
    before, after = (table("layered", depth=0.0, seed=1, alkali=a) for a in (0.0, 0.1))
    ratio, std = alkali_contrast(before, after)
    kinds = before["site"].values
    true = [
        float(one["strength"].values[(kinds == "Li") & (one["true_depth"].values > 0)].mean())
        for one in (before, after)
    ]
    assert abs(ratio - true[1] / true[0]) < 4 * std
    assert ratio > 1 + 4 * std


def test_displacements_are_those_put_in() -> None:
    sites = table("layered", depth=0.0, seed=0)
    moved = int(np.flatnonzero((sites["site"].values == "O") & (sites["true_depth"].values > 8))[3])
    x = sites["x"].values.copy()
    x[moved] += 0.1
    found = displacements(sites.assign(x=("column", x)))
    where = np.argmax(np.abs(found["displacement_x"].values))
    assert float(found["x"][where]) == pytest.approx(x[moved])
    # A tenth of it goes into the lattice at most, which sixty columns share.
    assert float(found["displacement_x"][where]) == pytest.approx(0.1, abs=0.01)
    assert np.abs(found["displacement_y"]).max() < 1e-9


def test_edge_and_rules_of_depth() -> None:
    sites = table("layered", depth=0.0, seed=0, length=30.0)
    edge = find_edge(sites)
    assert edge.normal[0] > 0.95
    inside = sites["true_depth"].values > 0
    error = edge.depth(sites["x"], sites["y"]) - sites["true_depth"].values
    assert np.abs(error[inside]).mean() < 4 * max(edge.std, 0.4)
    assert is_surface(np.array([39.0, 41.0])).tolist() == [True, False]
    assert is_surface(np.array([41.0, 51.0]), DepthRule(depth=50)).tolist() == [True, False]


def test_without_vacuum_dark_field_or_references_there_is_no_answer() -> None:
    sites = table("layered", depth=0.0, seed=0)
    with pytest.raises(BadInputError, match="vacuum"):
        find_edge(sites.isel(column=sites["true_depth"].values > 1))
    with pytest.raises(BadInputError, match="dark field"):
        measure_composition(sites.drop_vars("brightness"))
    with pytest.raises(BadInputError, match="to calibrate by"):
        measure_composition(sites.isel(column=sites["site"].values != "M"))
    with pytest.raises(BadInputError, match="below the surface"):
        surely_bulk(np.array([-1.0]))
    plain = phase_object_mean(np.zeros((12, 15)), acquisition=acquisition())
    with pytest.raises(BadInputError, match="haadf"):
        recover_surface(plain)


@pytest.mark.parametrize("rotation", [7.0, 63.0, 170.0])
def test_the_lattice_is_found_in_any_orientation(rotation: float) -> None:
    field = Field(cell=Cell(rotation=rotation), shape=(70, 84))
    lattice = search_lattice(reconstruction(field, seed=1)["phase"])
    a, c, _ = field.cell.vectors()
    sign = np.sign(lattice.a @ a)
    assert np.abs(sign * lattice.a - a).max() < 0.02
    assert np.abs(sign * lattice.c - c).max() < 0.04
    offset = (lattice.origin - np.array(field.cell.origin)) @ np.linalg.inv(np.stack([a, c]))
    assert np.abs(offset - np.rint(offset)).max() < 0.05


def test_sites_of_a_crystal_have_the_strengths_of_their_columns() -> None:
    field = Field(shape=(60, 70))
    image, columns = reconstruction(field, seed=2), true_columns(field)
    haadf = haadf_image(field, seed=2)
    found = sites_of(find_columns(image["phase"], haadf=haadf), image["phase"])
    fitted = fit_sites(image, found, haadf=haadf)
    inner = ~fitted["edge"].values
    kind, strength = fitted["site"].values, fitted["strength"].values
    std = np.sqrt(np.diag(fitted["strength_covariance"].values))
    empty = strength[inner & (kind == "T")]
    # Empty columns are zero within the noise and the tails of columns split in three.
    assert abs(empty.mean()) < 0.05 * strength[inner & (kind == "O")].mean()
    assert np.abs(empty).max() < 8 * std[inner].max()
    for name in ("M", "O", "Li"):
        at = np.stack([fitted[a].values[inner & (kind == name)] for a in "xy"], axis=-1)
        true = np.stack([columns[a].values[columns["species"].values == name] for a in "xy"], -1)
        off = np.linalg.norm(at[:, None] - true, axis=-1).min(axis=1)
        assert off.max() < 0.06


def test_an_image_without_the_lattice_is_refused() -> None:
    field = Field(shape=(60, 60))
    image = reconstruction(field, seed=1)["phase"]
    random = np.random.default_rng(0).uniform(0, 12, (40, 2))
    columns = xr.Dataset({"x": ("column", random[:, 0]), "y": ("column", random[:, 1])})
    # Four kinds of sites 1.3 Å apart leave little room, so only many strays are noticed.
    with pytest.raises(BadInputError, match="lie on the lattice"):
        sites_of(columns.isel(column=_far(columns, image)), image)


def _far(columns: xr.Dataset, image: xr.DataArray) -> npt.NDArray[np.bool_]:
    truth = true_columns(Field(shape=(60, 60)))
    xy, true = (np.stack([d["x"].values, d["y"].values], axis=-1) for d in (columns, truth))
    assert image.sizes["scan_x"] == 60
    return np.asarray(np.linalg.norm(xy[:, None] - true, axis=-1).min(axis=1) > 0.75)
