"""Baselines on disk: what comes back, what is refused, and how they differ."""

import difflib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.validation.baselines import (
    Baseline,
    changed_settings,
    check_belongs,
    make_baseline,
    read_baseline,
    sums,
    write_baseline,
)
from echolith.validation.performance import Performance, pooled_table
from echolith.validation.regression import compare
from echolith.validation.scenarios.li_rich_oxide import LiRichOxideSettings
from echolith.validation.verdict import Outcome
from tests.validation.voxel_scenario import voxels

SEEDS = (0, 2, 11)


def measured(size: float = 1.0, *, seed: int = 0) -> Performance:
    generator = np.random.default_rng(seed)
    errors = {"rate": size * generator.standard_normal((3, 40)), "column_o": np.zeros((3, 30))}
    errors["rate"][1, :3] = np.nan
    errors["column_o"] += generator.standard_normal((3, 30))
    errors["column_o"][2] = np.nan
    return Performance(
        seeds=SEEDS,
        groups={name: pooled_table(e, unit="Å") for name, e in errors.items()},
        failures={11: "RuntimeError: no “fit”\nat all"},
        false_columns=np.array([0.0, 3.0, np.nan]),
    )


def baseline(performance: Performance | None = None) -> Baseline:
    scenario = voxels(rate=300.0)
    mean = scenario.forward(scenario.build(0))
    return make_baseline(scenario, mean, performance or measured())


def written(folder: Path) -> Path:
    path = folder / "new" / "baselines" / "test.json"
    write_baseline(baseline(), path)
    return path


def assert_same(ours: Performance, theirs: Performance) -> None:
    assert (ours.seeds, ours.failures) == (theirs.seeds, theirs.failures)
    np.testing.assert_array_equal(np.array(ours.false_columns), np.array(theirs.false_columns))
    assert ours.groups.keys() == theirs.groups.keys()
    for name, a in ours.groups.items():
        b = theirs.groups[name]
        assert (a.unit, a.elements, a.count.tolist()) == (b.unit, b.elements, b.count.tolist())
        # Roots rounded to 6 digits: 5e-6 at most, twice that when squared.
        np.testing.assert_allclose(a.mean_square, b.mean_square, rtol=1e-5)
        np.testing.assert_allclose(a.variance, b.variance, rtol=1e-5)


def test_what_is_written_is_read_back_to_six_digits(tmp_path: Path) -> None:
    found = read_baseline(written(tmp_path))
    assert_same(measured(), found.performance)
    one = found.performance  # arrays are compared above
    assert replace(baseline(), performance=one) == found
    assert found.settings == {"rate": 300.0}


def test_a_second_writing_changes_nothing_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = path.read_bytes()
    write_baseline(read_baseline(path), path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["test.json"]


def test_one_seed_and_group_is_one_line(tmp_path: Path) -> None:
    path, other = written(tmp_path), tmp_path / "other.json"
    changed = measured()
    changed.groups["rate"].mean_square[1] *= 1.21
    write_baseline(baseline(changed), other)
    texts = tuple(p.read_text("utf-8").splitlines() for p in (path, other))
    assert texts[0][-1] == "}"
    lines = [x for x in difflib.ndiff(texts[0], texts[1]) if x[0] in "+-"]
    assert len(lines) == 2
    assert all('"group": "rate"' in x and '"seed": 2' in x for x in lines)
    assert sum('"group"' in line for line in texts[0]) == len(SEEDS) * 2
    content = json.loads(path.read_text("utf-8"))
    for part in (content, content["settings"], content["versions"], *content["cases"]):
        assert list(part) == sorted(part)


def test_a_failed_write_leaves_the_old_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_baseline(baseline(measured(2.0)), path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["test.json"]


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text[:-40], "cannot be read"),
        (lambda text: text.replace('  "cases"', '<<<<<<< HEAD\n  "cases"'), "cannot be read"),
        (lambda _: "[1, 2]", "not a baseline of echolith"),
        (lambda _: '{"format": "something else"}', "not a baseline of echolith"),
        (edited(lambda c: c.update(schema_version=0)), "schema version 0.*--echolith-update"),
        (edited(lambda c: c.pop("schema_version")), "schema version None.*--echolith-update"),
        (edited(lambda c: c.update(schema_version=2)), "install a newer echolith"),
        (edited(lambda c: c.pop("seeds")), r"damaged \(seeds: Field required"),
        (edited(lambda c: c["cases"][0].update(rms="1")), r"damaged \(cases.0.rms"),
        (edited(lambda c: c["cases"][0].update(rms=-1.0)), r"damaged \(cases.0.rms"),
        (edited(lambda c: c["cases"][0].update(rsm=1.0)), r"damaged \(cases.0.rsm"),
        (edited(lambda c: c["failures"].update(x="")), r"damaged \(failures"),
        (edited(lambda c: c["cases"].pop(0)), "one line for every seed.*column_o, seed 0"),
        (edited(lambda c: c["cases"].append(c["cases"][0])), "a line stands twice"),
        (edited(lambda c: c["seeds"].append(12)), "one line for every seed.*column_o, seed 12"),
        (lambda text: text.replace('"rms": ', '"rms": NaN, "x": ', 1), "damaged"),
    ],
)
def test_damaged_foreign_and_older_files_are_refused(
    tmp_path: Path, edit: Callable[[str], str], message: str
) -> None:
    path = written(tmp_path)
    path.write_text(edit(path.read_text("utf-8")), "utf-8")
    with pytest.raises(BadInputError, match=message):
        read_baseline(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"there is no baseline.*--echolith-update"):
        read_baseline(tmp_path / "absent.json")


def test_only_settings_that_differ_are_kept_and_by_dotted_name() -> None:
    assert changed_settings(LiRichOxideSettings()) == {}
    chosen = LiRichOxideSettings.model_validate(
        {"dose": 2.9e4, "scan": {"shape": (48, 32)}, "haadf": None}
    )
    assert changed_settings(chosen) == {"dose": 2.9e4, "scan.shape": [48, 32], "haadf": None}


class Required(Settings):
    rate: float
    side: int = 4


def test_without_defaults_all_settings_are_kept() -> None:
    assert changed_settings(Required(rate=1.0)) == {"rate": 1.0, "side": 4}


def test_a_baseline_belongs_to_scenario_settings_seeds_and_measurement() -> None:
    scenario = voxels(rate=300.0)
    mean = scenario.forward(scenario.build(0))
    check_belongs(baseline(), scenario, seeds=SEEDS, mean=mean)
    check_belongs(baseline(), scenario, mean=mean * (1 + 1e-7))
    with pytest.raises(BadInputError, match="of the scenario 'voxels', not 'other'"):
        check_belongs(baseline(), replace(scenario, name="other"))
    with pytest.raises(BadInputError, match=r"rate = default \(baseline: 300.0\), side = 8 \(base"):
        check_belongs(baseline(), voxels(side=8))
    with pytest.raises(BadInputError, match=r"seeds 0, 2, 11, not 0 to 3; .*--echolith-update"):
        check_belongs(baseline(), scenario, seeds=range(4))
    with pytest.raises(BadInputError, match="the simulation changed"):
        check_belongs(baseline(), scenario, mean=mean * 1.001)
    with pytest.raises(BadInputError, match="the simulation changed"):
        check_belongs(baseline(), scenario, mean=mean.rename(counts="haadf"))


@pytest.mark.parametrize("shape", [(12, 17), (9, 9), (2, 30)])
def test_a_shift_a_transpose_and_a_swap_change_the_sums(shape: tuple[int, int]) -> None:
    # Fixed values: among random ones some agree to the six digits that are kept.
    values = np.random.default_rng(1).random(shape)
    first = sums(xr.Dataset({"counts": (("y", "x"), values)}))["counts"]
    for other in (np.roll(values, 1, axis=1), values[::-1], values.T):
        second = sums(xr.Dataset({"counts": (("a", "b"), other)}))["counts"]
        assert second[0] == pytest.approx(first[0], rel=1e-5)
        assert abs(second[1] - first[1]) > 1e-4 * first[0]


def test_a_baseline_compares_like_the_performance_it_was_made_from(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert compare(read_baseline(path).performance, measured()).outcome is Outcome.SAME
