"""A Python environment that holds NumPy and nothing else, as an outsider's might."""

import sysconfig
import venv
from pathlib import Path

import numpy as np


def make_environment(folder: Path, *, with_numpy: bool = True) -> Path:
    """Make an environment of this interpreter; return its folder."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    ours = Path(np.__file__).parent.parent
    base = {"base": str(folder), "platbase": str(folder)}
    theirs = Path(sysconfig.get_path("platlib", "venv", vars=base))
    for name in ("numpy", "numpy.libs"):
        if with_numpy and (ours / name).exists():
            (theirs / name).symlink_to(ours / name, target_is_directory=True)
    return folder
