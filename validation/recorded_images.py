"""What images that are given to a scenario are of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echolith.forward.image_files import FORMS
from echolith.forward.image_kinds import ImageKind

KINDS: Mapping[str, ImageKind] = {
    "li-hrtem": ImageKind.MOVIE,
    "li-growth": ImageKind.MOVIE,
    "li-whisker": ImageKind.MOVIE,
    "li-oxide": ImageKind.MOVIE,
    "li-saed": ImageKind.DIFFRACTION,
    "li-thickness": ImageKind.FILTERED,
    "li-rich-haadf-drift": ImageKind.SCANNED,
    "lfp-xas": ImageKind.ABSORPTION,
}
"""Of the measurements of scenarios, by name."""


def with_kind(given: Mapping[str, Any], *, scenario: str, path: Path) -> dict[str, Any]:
    """Add the kind of a file's images to what is given, where a scenario is known to take them."""
    known = path.suffix.lower() in FORMS and scenario in KINDS
    return {"kind": KINDS[scenario], **given} if known else dict(given)
