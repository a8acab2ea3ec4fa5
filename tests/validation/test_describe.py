import json

import pytest

from echolith.validation.catalogue import own_scenarios
from echolith.validation.describe import describe_settings
from echolith.validation.settings import parse_assignments, resolve


@pytest.mark.parametrize("name", sorted(own_scenarios()))
def test_what_is_described_as_the_default_is_what_a_scenario_is_run_with(name: str) -> None:
    model = own_scenarios()[name].settings
    used = model()
    for row in describe_settings(model):
        value = used.model_dump(mode="json")
        for part in row["name"].split("."):
            value = value[part]
        assert row["default"] == value, row["name"]
        typed = [f"{row['name']}={json.dumps(row['default'])}"]
        assert resolve(model, parse_assignments(typed)) == used, row["name"]


def test_a_part_that_a_scenario_changes_is_described_as_it_changed_it() -> None:
    rows = describe_settings(own_scenarios()["li-rich-damage"].settings)
    described = {row["name"]: row["default"] for row in rows}
    # The scan of this scenario is its own, not that of a scan made without arguments.
    assert described["scan.shape"] == [36, 132]
    assert described["haadf.inner"] == 50.0
