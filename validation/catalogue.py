"""The catalogue of scenarios, by name: our own, and those of installed packages."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from echolith.errors import BadInputError, BadInputWarning, near_match
from echolith.forward.acquisition import Settings
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios import (
    lfp_ptychography,
    lfp_spectro_tomography,
    lfp_tomography,
    lfp_xas,
    li_growth,
    li_hrtem,
    li_oxide,
    li_rich_damage,
    li_rich_haadf_drift,
    li_rich_oxide,
    li_rich_redox,
    li_rich_surface,
    li_saed,
    li_thickness,
    li_whisker,
    powder,
    powder_phases,
    sxdm,
)
from echolith.validation.settings import resolve

GROUP = "echolith.scenarios"
"""Entry points of this group lead to an `Entry`, or to anything with its attributes."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How to make a scenario: what it is, what can be set, and the function that makes it."""

    summary: str
    settings: type[Settings]
    make: Callable[[Any], Scenario]


def own_scenarios() -> dict[str, Entry]:
    """Return the scenarios of this package by name."""
    return {
        "li-rich-oxide": Entry(
            summary=li_rich_oxide.SUMMARY,
            settings=li_rich_oxide.LiRichOxideSettings,
            make=li_rich_oxide.li_rich_oxide,
        ),
        "li-rich-haadf-drift": Entry(
            summary=li_rich_haadf_drift.SUMMARY,
            settings=li_rich_haadf_drift.LiRichHaadfDriftSettings,
            make=li_rich_haadf_drift.li_rich_haadf_drift,
        ),
        "li-rich-redox": Entry(
            summary=li_rich_redox.SUMMARY,
            settings=li_rich_redox.LiRichRedoxSettings,
            make=li_rich_redox.li_rich_redox,
        ),
        "li-rich-surface": Entry(
            summary=li_rich_surface.SUMMARY,
            settings=li_rich_surface.LiRichSurfaceSettings,
            make=li_rich_surface.li_rich_surface,
        ),
        "li-rich-damage": Entry(
            summary=li_rich_damage.SUMMARY,
            settings=li_rich_damage.LiRichDamageSettings,
            make=li_rich_damage.li_rich_damage,
        ),
        "li-saed": Entry(
            summary=li_saed.SUMMARY, settings=li_saed.LiSaedSettings, make=li_saed.li_saed
        ),
        "lfp-spectro-tomography": Entry(
            summary=lfp_spectro_tomography.SUMMARY,
            settings=lfp_spectro_tomography.LfpSpectroTomographySettings,
            make=lfp_spectro_tomography.lfp_spectro_tomography,
        ),
        "lfp-tomography": Entry(
            summary=lfp_tomography.SUMMARY,
            settings=lfp_tomography.LfpTomographySettings,
            make=lfp_tomography.lfp_tomography,
        ),
        "lfp-ptychography": Entry(
            summary=lfp_ptychography.SUMMARY,
            settings=lfp_ptychography.LfpPtychographySettings,
            make=lfp_ptychography.lfp_ptychography,
        ),
        "lfp-xas": Entry(
            summary=lfp_xas.SUMMARY,
            settings=lfp_xas.LfpXasSettings,
            make=lfp_xas.lfp_xas,
        ),
        "li-growth": Entry(
            summary=li_growth.SUMMARY, settings=li_growth.LiGrowthSettings, make=li_growth.li_growth
        ),
        "li-hrtem": Entry(
            summary=li_hrtem.SUMMARY, settings=li_hrtem.LiHrtemSettings, make=li_hrtem.li_hrtem
        ),
        "li-thickness": Entry(
            summary=li_thickness.SUMMARY,
            settings=li_thickness.LiThicknessSettings,
            make=li_thickness.li_thickness,
        ),
        "li-oxide": Entry(
            summary=li_oxide.SUMMARY, settings=li_oxide.LiOxideSettings, make=li_oxide.li_oxide
        ),
        "li-whisker": Entry(
            summary=li_whisker.SUMMARY,
            settings=li_whisker.LiWhiskerSettings,
            make=li_whisker.li_whisker,
        ),
        "lfp-powder": Entry(
            summary=powder.LFP_SUMMARY, settings=powder.LfpPowderSettings, make=powder.lfp_powder
        ),
        "linio2-powder": Entry(
            summary=powder.LINIO2_SUMMARY,
            settings=powder.LayeredPowderSettings,
            make=powder.linio2_powder,
        ),
        "powder": Entry(
            summary=powder_phases.SUMMARY,
            settings=powder_phases.AnyPowderSettings,
            make=powder_phases.powder,
        ),
        "nmc622-powder": Entry(
            summary=powder.NMC622_SUMMARY,
            settings=powder.LayeredPowderSettings,
            make=powder.nmc622_powder,
        ),
        "nmc622-sxdm": Entry(
            summary=sxdm.NMC622_SUMMARY, settings=sxdm.Nmc622SxdmSettings, make=sxdm.nmc622_sxdm
        ),
        "linio2-sxdm": Entry(
            summary=sxdm.LINIO2_SUMMARY, settings=sxdm.Linio2SxdmSettings, make=sxdm.linio2_sxdm
        ),
    }


def scenarios() -> dict[str, Entry]:
    """Return every scenario by name: ours, then those of the group ``echolith.scenarios``.

    Warns
    -----
    BadInputWarning
        Names a scenario of another package that cannot be loaded, or that has a name of ours; it
        is left out.
    """
    known = own_scenarios()
    for point in entry_points(group=GROUP):
        if point.name in known:
            warnings.warn(
                f"scenario '{point.name}' of {_package(point)} is left out: there is one of this "
                "name already; its author must rename it",
                BadInputWarning,
                stacklevel=2,
            )
            continue
        try:
            known[point.name] = _loaded(point)
        except BadInputError as error:
            warnings.warn(f"{error}; it is left out", BadInputWarning, stacklevel=2)
    return known


def entry(name: str) -> Entry:
    """Return one entry of the catalogue; no other is loaded.

    Raises
    ------
    BadInputError
        If there is no such scenario (the message names the near match), or it cannot be loaded.
    """
    own = own_scenarios()
    if name in own:
        return own[name]
    others = {point.name: point for point in entry_points(group=GROUP)}
    if name not in others:
        raise BadInputError(f"there is no scenario '{name}'; {near_match(name, {**own, **others})}")
    return _loaded(others[name])


def _loaded(point: EntryPoint) -> Entry:
    where = f"scenario '{point.name}' of {_package(point)}"
    try:
        found = point.load()
    except (Exception, SystemExit) as error:  # another package's code; its fault is only told
        raise BadInputError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    if isinstance(found, Entry):
        return found
    lacking = [name for name in ("summary", "settings", "make") if not hasattr(found, name)]
    if lacking:
        raise BadInputError(
            f"{where} leads to an object of type {type(found).__name__} without "
            f"{', '.join(lacking)}; expected an echolith.validation.catalogue.Entry"
        )
    if not (isinstance(found.settings, type) and issubclass(found.settings, Settings)):
        raise BadInputError(f"{where}: settings = {found.settings!r}; expected a Settings class")
    return Entry(summary=str(found.summary), settings=found.settings, make=found.make)


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist is not None else f"'{point.value}'"


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
