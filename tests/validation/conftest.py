"""What the tests of other people's solvers share."""

import tempfile
from pathlib import Path

import pytest

from tests.validation.bare_environment import make_environment


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with NumPy and nothing else."""
    return make_environment(tmp_path_factory.mktemp("bare"))


@pytest.fixture
def exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of temporary folders: empty again after every call."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder
