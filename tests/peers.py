"""Other people's programs, in environments of their own, as oracles."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def environment_with(*packages: str) -> Path:
    """Return an interpreter that has other people's packages; skip the test where there is none.

    ``ECHOLITH_PEERS_PYTHON`` names interpreters to look in, as paths are listed on this system.
    """
    code = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))"
    named = os.environ.get("ECHOLITH_PEERS_PYTHON", sys.executable)
    for interpreter in named.split(os.pathsep):
        if subprocess.run([interpreter, "-c", code, *packages]).returncode == 0:
            return Path(interpreter)
    pytest.skip(f"no environment in ECHOLITH_PEERS_PYTHON has {', '.join(packages)}")
