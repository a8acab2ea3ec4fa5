"""Where data are kept that can be made again: the user's cache folder."""

import os
import sys
from pathlib import Path

VARIABLE = "ECHOLITH_CACHE"
"""Environment variable that moves the folder."""


def cache_folder() -> Path:
    """Return the folder for data that can be made again; it need not exist yet.

    What the variable ``ECHOLITH_CACHE`` says, else ``echolith`` in the folder that the system has
    for caches.
    """
    moved = os.environ.get(VARIABLE)
    if moved:
        return Path(moved).expanduser()
    home = Path.home()
    own = {
        "win32": os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local",
        "darwin": home / "Library" / "Caches",
    }
    other = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    return Path(own.get(sys.platform, other)) / "echolith"
