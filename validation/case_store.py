"""Finished cases of a round trip on disk, so that a run broken off goes on where it was."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echolith.atomic import whole_file


@dataclass(frozen=True, kw_only=True)
class CaseStore:
    """One file a seed, tied by a digest to everything that decides the cases.

    Without a folder nothing is kept.
    """

    folder: Path | None
    digest: str = ""

    @classmethod
    def open(cls, folder: Path | None, decides: Mapping[str, Any]) -> "CaseStore":
        """Make the folder where it is missing.

        Parameters
        ----------
        folder : Path, optional
        decides : mapping
            Plain values that decide the cases: version, settings, solver …
        """
        text = json.dumps(decides, sort_keys=True)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return cls(folder=folder, digest=hashlib.blake2b(text.encode(), digest_size=8).hexdigest())

    def _path(self, seed: int) -> Path | None:
        return None if self.folder is None else self.folder / f"case-{self.digest}-{seed}.json"

    def read(self, seed: int) -> dict[str, Any] | None:
        """Return a finished case, None where there is none."""
        path = self._path(seed)
        if path is None or not path.exists():
            return None
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError:  # damaged from outside: as if it had never been run
            return None

    def write(self, seed: int, case: Mapping[str, Any]) -> None:
        """Keep a finished case; the file is whole or not there."""
        path = self._path(seed)
        if path is not None:
            with whole_file(path) as file:
                file.write(json.dumps(case, allow_nan=False).encode())
