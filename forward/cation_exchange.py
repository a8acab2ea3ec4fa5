"""Exchange of lithium and nickel between the layers of a layered oxide."""

from collections.abc import Mapping

from echolith.errors import BadInputError
from echolith.forward.crystal_phase import CrystalPhase, PhaseSite

LITHIUM, METAL = (0.0, 0.0, 0.0), (0.0, 0.0, 0.5)
"""Positions of the two layers, R-3m in hexagonal axes."""
SLOPES = {"Li": (-1.0, 1.0), "Ni": (1.0, -1.0)}
"""Change of the occupancy of each element with the exchange, on the lithium and the metal layer."""


def without_exchange(phase: CrystalPhase) -> tuple[CrystalPhase, dict[str, float]]:
    """Return a phase with all nickel at home, and how its occupancies move with the exchange.

    Parameters
    ----------
    phase : CrystalPhase
        With lithium on 3a (0, 0, 0) and metal on 3b (0, 0, 1/2).

    Returns
    -------
    CrystalPhase
        Both layers have sites of lithium and of nickel, some of them empty; labels are the element
        and 1 for the lithium layer, 2 for the metal layer.
    dict
        Change of each site's occupancy per exchange, by label.

    Raises
    ------
    BadInputError
        If there is no such layer.
    """
    positions = {site.position for site in phase.sites}
    if not {LITHIUM, METAL} <= positions:
        raise BadInputError(
            f"{phase.name} has no sites at (0, 0, 0) and (0, 0, 1/2); expected a layered oxide"
        )
    held = {(site.element, site.position): site.occupancy for site in phase.sites}
    away = held.get(("Ni", LITHIUM), 0.0)
    sites: list[PhaseSite] = []
    slopes: dict[str, float] = {}
    for layer, position in enumerate((LITHIUM, METAL)):
        template = next(site for site in phase.sites if site.position == position)
        present = {site.element for site in phase.sites if site.position == position}
        for element in sorted(present | set(SLOPES)):
            slope = SLOPES.get(element, (0.0, 0.0))[layer]
            label = f"{element}{layer + 1}"
            share = held.get((element, position), 0.0) - slope * away
            changes = {"label": label, "element": element, "occupancy": round(share, 12)}
            sites.append(template.model_copy(update=changes))
            if slope:
                slopes[label] = slope
    others = tuple(site for site in phase.sites if site.position not in (LITHIUM, METAL))
    return phase.model_copy(update={"sites": (*sites, *others)}), slopes


def exchanged(phase: CrystalPhase, slopes: Mapping[str, float], amount: float) -> CrystalPhase:
    """Return a phase with more of its lithium and nickel exchanged.

    Parameters
    ----------
    phase : CrystalPhase
    slopes : mapping
        As from `without_exchange`.
    amount : float
        Part of the lithium sites.
    """
    sites = tuple(
        site.model_copy(update={"occupancy": site.occupancy + slopes.get(site.label, 0.0) * amount})
        for site in phase.sites
    )
    return phase.model_copy(update={"sites": sites})
