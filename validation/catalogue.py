"""The catalogue of scenarios, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from echolith.errors import BadInputError, near_match
from echolith.forward.acquisition import Settings
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios import li_rich_oxide
from echolith.validation.settings import resolve


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How to make a scenario: what it is, what can be set, and the function that makes it."""

    summary: str
    settings: type[Settings]
    make: Callable[[Any], Scenario]


def scenarios() -> dict[str, Entry]:
    """Return every scenario by name."""
    return {
        "li-rich-oxide": Entry(
            summary=li_rich_oxide.SUMMARY,
            settings=li_rich_oxide.LiRichOxideSettings,
            make=li_rich_oxide.li_rich_oxide,
        )
    }


def entry(name: str) -> Entry:
    """Return one entry of the catalogue.

    Raises
    ------
    BadInputError
        If there is no such scenario; the message names the near match.
    """
    known = scenarios()
    if name not in known:
        raise BadInputError(f"there is no scenario '{name}'; {near_match(name, known)}")
    return known[name]


def scenario(name: str, **overrides: Any) -> Scenario:
    """Make a scenario by name with some settings changed.

    Parameters
    ----------
    name : str
        One of `scenarios`.
    **overrides
        Settings by name; nested ones as mappings, e.g. ``beam={"energy": 80e3}``.

    Returns
    -------
    Scenario

    Raises
    ------
    BadInputError
        If the name or a setting is unknown or a value implausible.
    """
    chosen = entry(name)
    return chosen.make(resolve(chosen.settings, overrides))
