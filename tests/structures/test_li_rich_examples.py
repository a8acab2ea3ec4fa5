"""The examples in the docstrings of the Li-rich specimens run."""

import doctest
import importlib

import pytest

MODULES = ("li_rich_states", "redox_models", "redox_cells", "specimen_shape", "amorphous")


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"echolith.structures.{module}"))
    assert found.attempted > 0
    assert found.failed == 0
