"""Pages beside the report: one HTML file in its look that needs nothing else, and the numbers."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from echolith.atomic import whole_file


def rendered(template: str, **values: Any) -> str:
    """Fill a template of this room; ``style`` in it is that of the report."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    folder = files("echolith.validation")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    report = (folder / "report.html.j2").read_text(encoding="utf-8")
    style = report[report.index("<style>") : report.index("</style>") + len("</style>")]
    page = (folder / template).read_text(encoding="utf-8")
    # The style is our own; the report and these pages look alike.
    return environment.from_string(page).render(style=Markup(style), **values)


def write_page(name: str, page: str, content: Mapping[str, Any], folder: Path | str) -> Path:
    """Write ``<name>.html`` and ``<name>.json``, each whole or not at all; return the first."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for path, data in (
        (target / f"{name}.json", json_text(content)),
        (target / f"{name}.html", page),
    ):
        with whole_file(path) as file:
            file.write(data.encode("utf-8"))
    return target / f"{name}.html"


def json_text(content: Mapping[str, Any]) -> str:
    """Return plain values as the text of a JSON file."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
