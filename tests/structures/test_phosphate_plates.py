from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.structures.convex_bodies import ConvexBody, separation
from echolith.structures.delithiation_fields import (
    DELITHIATED,
    LITHIATED,
    Delithiation,
    delithiation_field,
)
from echolith.structures.phosphate_cells import end_member_shares, phosphate_cell, phosphate_data
from echolith.structures.phosphate_ensemble import PlateEnsemble, charge_limits, phosphate_ensemble
from echolith.structures.phosphate_plates import PhosphateSpecimen, Plate, plate_body
from echolith.structures.plate_activity import activity_scores, plate_compositions
from echolith.structures.plate_packing import PackingRegion
from echolith.validation.phosphate_strategies import (
    delithiations,
    phosphate_specimens,
    plate_bodies,
    plate_ensembles,
)

SEEDS = st.integers(0, 2**16)


@given(ensemble=plate_ensembles(), part=st.floats(0.01, 0.99), seed=SEEDS)
def test_state_of_charge_and_number_of_active_plates_are_as_asked(
    ensemble: PlateEnsemble, part: float, seed: int
) -> None:
    least, most = charge_limits(ensemble, seed=seed)
    asked = least + part * (most - least)
    specimen = phosphate_ensemble(replace(ensemble, state_of_charge=asked), seed=seed)
    truth = specimen.particles()
    weighted = float(truth.composition @ truth.volume / truth.volume.sum())
    assert np.isclose(weighted, asked, atol=1e-8)
    assert int(truth.active.sum()) == round(ensemble.active_fraction * ensemble.count)
    assert (truth.composition >= LITHIATED - 1e-9).all()
    assert (truth.composition <= DELITHIATED + 1e-9).all()


@given(body=plate_bodies(), kind=delithiations(), mean=st.floats(0.08, 0.97), seed=SEEDS)
def test_random_points_find_the_mean_composition(
    body: ConvexBody, kind: Delithiation, mean: float, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    field = delithiation_field(body, kind=kind, mean=mean, draw=draw)
    box = body.vertices
    points = draw.uniform(box.min(axis=0), box.max(axis=0), (20000, 3))
    found = field.composition(points[body.contains(points)])
    # 4.5 standard errors, and 2e-4 by which quadratures differ.
    assert abs(found.mean() - mean) < 4.5 * found.std() / np.sqrt(len(found)) + 2e-4


@given(body=plate_bodies(), kind=delithiations(), mean=st.floats(0.1, 0.95), seed=SEEDS)
def test_each_kind_reacts_where_its_name_says(
    body: ConvexBody, kind: Delithiation, mean: float, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    field = delithiation_field(body, kind=kind, mean=mean, draw=draw)
    points = draw.uniform(-1, 1, (200, 3)) * [50, 30, 50]
    moved = points + np.array([0, 20, 0])
    here, there = field.composition(points), field.composition(moved)
    middle = float(field.composition(np.zeros(3)))
    corners = field.composition(body.vertices)
    match kind:
        case Delithiation.SOLID_SOLUTION:
            assert np.allclose(here, mean, atol=1e-12)
        case Delithiation.FRONT:
            assert np.allclose(here, there, atol=1e-9)
        case Delithiation.FACET:
            aside = points + np.array([20, 0, 20])
            assert np.allclose(here, field.composition(aside), atol=1e-9)
            assert (there >= here).all() or (there <= here).all()
        case Delithiation.CORE_SHELL:
            assert np.ptp(corners) < 1e-9
            assert corners.min() > middle
        case Delithiation.EDGES | Delithiation.POINTS:
            assert corners.max() >= middle


def test_activity_follows_the_facet_area_and_not_the_thickness() -> None:
    # Over many ensembles: the mean correlation of being active, against its standard error.
    found = []
    for seed in range(200):
        draw = np.random.default_rng(seed)
        area, thickness = np.exp(draw.normal(0, 0.5, 83)), np.exp(draw.normal(0, 0.2, 83))
        scores = activity_scores(area, correlation=0.7, draw=draw)
        composition = plate_compositions(
            scores, area * thickness, state_of_charge=0.2, active_fraction=0.3, draw=draw
        )
        active = (composition >= 0.15).astype(float)
        columns = (np.log(area), np.log(thickness), np.log(area * thickness))
        found.append([np.corrcoef(active, column)[0, 1] for column in columns])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    # A point-biserial correlation of the top 30 % keeps 0.759 of that of the score.
    assert abs(mean[0] - 0.759 * 0.7) < 4 * error[0] + 0.02
    assert abs(mean[1]) < 4 * error[1]
    assert 0 < mean[2] < mean[0]


@given(ensemble=plate_ensembles(most=5), seed=SEEDS)
def test_plates_lie_in_the_region_with_their_gap_and_touch_where_asked(
    ensemble: PlateEnsemble, seed: int
) -> None:
    least, most = charge_limits(ensemble, seed=seed)
    ensemble = replace(ensemble, state_of_charge=(least + most) / 2)
    bodies = phosphate_ensemble(ensemble, seed=seed).bodies
    assert all(ensemble.region.holds(body) for body in bodies)
    for i, body in enumerate(bodies):
        gaps = [separation(body, other) for j, other in enumerate(bodies) if j != i]
        assert min(gaps, default=np.inf) >= ensemble.gap - 1e-5
        if ensemble.touching and gaps:
            assert min(gaps) < ensemble.gap + 1e-3


def test_defaults_are_the_published_ensemble() -> None:
    truth = phosphate_ensemble(seed=2).particles()
    assert truth.sizes["particle"] == 83
    assert np.isclose(truth.attrs["state_of_charge"], 0.162, atol=1e-8)
    assert int(truth.active.sum()) == 25
    assert float(truth.facet_area.min()) > 2.4e5
    assert float(truth.facet_area.max()) < 4.1e6
    assert float(truth.thickness.min()) >= 100
    assert float(truth.thickness.max()) <= 300
    # 12.1 ± 3.6 % have at least 25 % FePO4: within two of the published standard deviations.
    assert 0.05 < float((truth.composition >= 0.25).mean()) < 0.19


@given(ensemble=plate_ensembles(), seed=SEEDS)
def test_binder_and_charge_leave_plates_where_they_are(ensemble: PlateEnsemble, seed: int) -> None:
    least, most = charge_limits(ensemble, seed=seed)
    one, other = (
        phosphate_ensemble(
            replace(ensemble, binder=binder, state_of_charge=least + part * (most - least)),
            seed=seed,
        )
        for binder, part in ((0, 0.2), (1, 0.7))
    )
    for a, b in zip(one.plates, other.plates, strict=True):
        assert np.array_equal(a.placed.vertices, b.placed.vertices)
        assert a.kind is b.kind


@given(specimen=phosphate_specimens(), seed=SEEDS)
def test_the_first_body_owns_what_two_share(specimen: PhosphateSpecimen, seed: int) -> None:
    draw = np.random.default_rng(seed)
    nodes = np.concatenate([body.vertices for body in specimen.bodies])
    points = nodes + draw.uniform(-400, 400, nodes.shape)
    inside = np.array([b.body.contains(b.local(points)) for b in specimen.bodies])
    owner = np.where(inside.any(axis=0), inside.argmax(axis=0), -1)
    assert np.array_equal(specimen.owner(points), owner)
    phosphate = (owner >= 0) & (owner < len(specimen.plates))
    assert np.array_equal(specimen.density(points), phosphate)
    composition = specimen.composition(points)
    assert (composition[~phosphate] == 0).all()
    for i in set(owner[phosphate].tolist()):
        plate: Plate = specimen.plates[i]
        own = plate.field.composition(plate.placed.local(points[owner == i]))
        assert np.allclose(composition[owner == i], own)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "1 to 150 plates"),
        ({"binder": -1}, "0 to 150 fragments"),
        ({"kinds": ()}, "kinds is empty"),
        ({"thickness": 20.0}, "thickness = 20"),
        ({"state_of_charge": 0.9}, "with 1 of 3 plates active"),
        ({"active_fraction": 1.5}, "active fraction = 1.5"),
        ({"activity_threshold": 0.05}, "threshold = 0.05"),
        ({"facet_correlation": 2.0}, "facet correlation = 2"),
        ({"touching": 2.0}, "touching = 2"),
        ({"interface": 0.5}, "interface = 0.5 Å"),
        ({"region": PackingRegion(height=500, width=500, depth=500)}, "0 of 3 bodies fit"),
    ],
)
def test_impossible_ensembles_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        phosphate_ensemble(replace(PlateEnsemble(count=3, binder=0), **change))  # type: ignore[arg-type]


def test_impossible_regions_and_fields_are_refused() -> None:
    with pytest.raises(BadInputError, match="leave the field when it is tilted"):
        PackingRegion(height=1000, width=1000, depth=2000)
    with pytest.raises(BadInputError, match="width = 10 Å"):
        PackingRegion(height=1000, width=10, depth=10)
    body = plate_body(length=1000, width=800, thickness=200)
    draw = np.random.default_rng(0)
    kind = Delithiation.FRONT
    with pytest.raises(BadInputError, match=r"mean composition = 0\.99"):
        delithiation_field(body, kind=kind, mean=0.99, draw=draw)
    with pytest.raises(BadInputError, match="end members"):
        delithiation_field(body, kind=kind, mean=0.5, draw=draw, low=0.6, high=0.4)


@given(lithium=st.floats(0, 1))
def test_cells_lie_between_the_end_members(lithium: float) -> None:
    cell = phosphate_cell(lithium)
    assert sorted(set(cell.symbols)) == sorted({"Fe", "O", "P"} | ({"Li"} if lithium else set()))
    # 13.74 Fe per nm³ in LiFePO4; in FePO4 14.69 to 14.72 by source.
    assert 13.70 < 4e3 / cell.get_volume() < 14.75
    assert np.isclose(phosphate_data(lithium).cell[0], 9.8142 + lithium * (10.332 - 9.8142))


@given(phosphate_specimens(most=2))
def test_end_members_hold_all_lithium_of_the_specimen(specimen: PhosphateSpecimen) -> None:
    shares = end_member_shares(specimen)
    assert np.isclose(sum(shares.values()), 1)
    left = sum(lithium * share for lithium, share in shares.items())
    assert np.isclose(left, 1 - specimen.state_of_charge)


def test_no_lithium_content_outside_zero_to_one() -> None:
    with pytest.raises(BadInputError, match=r"lithium = 1\.2"):
        phosphate_cell(1.2)
