from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings, StemAcquisition
from echolith.validation.settings import merge, parse_assignments, read_settings_file, resolve

NAMES = st.sampled_from(["a", "b", "c"])
MAPPINGS = st.recursive(
    st.dictionaries(NAMES, st.integers(), max_size=3),
    lambda inner: st.dictionaries(NAMES, st.one_of(st.integers(), inner), max_size=3),
    max_leaves=6,
)


@given(MAPPINGS, MAPPINGS)
def test_merge_keeps_every_name_and_the_later_value_wins(
    base: dict[str, Any], over: dict[str, Any]
) -> None:
    merged = merge(base, over)
    assert set(merged) == set(base) | set(over)
    for name, value in over.items():
        if not isinstance(value, dict):
            assert merged[name] == value


@given(MAPPINGS)
def test_merging_twice_changes_nothing_more(over: dict[str, Any]) -> None:
    assert merge(merge({}, over), over) == merge({}, over)


def test_scientific_notation_is_a_number() -> None:
    assert parse_assignments(["dose=8.1e4"]) == {"dose": 8.1e4}


@pytest.mark.parametrize("text", ["beam.energy", "=3", "  =3"])
def test_an_assignment_without_name_or_value_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="name=value"):
        parse_assignments([text])


def test_an_unknown_nested_setting_names_the_near_match() -> None:
    with pytest.raises(BadInputError, match=r"'beam\.energi'; did you mean 'energy'"):
        resolve(StemAcquisition, {"beam": {"energi": 1e5}})


def test_kilovolt_for_volt_is_explained() -> None:
    with pytest.raises(BadInputError, match=r"energy = 80 eV.*did you mean 80e3 eV"):
        resolve(StemAcquisition, {"beam": {"energy": 80}})


def test_overrides_keep_the_other_defaults_of_a_nested_model() -> None:
    class Outer(Settings):
        acquisition: StemAcquisition = StemAcquisition(dose=5.0)

    assert resolve(Outer, {"acquisition": {"haadf": None}}).acquisition.dose == 5.0


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "a: [", ""])
def test_a_settings_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    with pytest.raises(BadInputError, match="settings file"):
        read_settings_file(path)


def test_a_missing_settings_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot be read"):
        read_settings_file(tmp_path / "none.yaml")
