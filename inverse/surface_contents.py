"""What composition may assume columns to hold once the phase of a surface is told."""

import numpy as np
import xarray as xr
from scipy.special import ndtr

from echolith.inverse.column_shares import Expected
from echolith.inverse.surface_kinds import CONTENTS, UNDETERMINED, Surface
from echolith.inverse.surface_phase import PhaseOptions

_FULL_OF_LITHIUM = {
    (phase.value, kind): float(phase in (Surface.LT_LICOO2, Surface.ROCK_SALT_DISORDERED))
    for phase in CONTENTS
    for kind in ("M", "Li")
} | {(Surface.LIMN2O4.value, "T"): 0.25}

BULK_FILLING = 0.8
"""Of the bulk's alkali layer by lithium: 1, or a charged crystal's."""
_SPREAD = 0.3
"""Of the share of metals on M and Li of a surface about the middle of what phases put there."""
_SHARED = (("M", 0.1, 0.05), ("Li", 0.1, 0.2), ("T", 0.25, 0.1))
"""How far all columns of one kind may be off in the surface and in the bulk."""


def expected_contents(
    composition: xr.Dataset, surface: xr.Dataset, options: PhaseOptions | None = None
) -> Expected | None:
    """Return what columns hold in a phase found, as far as composition may assume it.

    What is not metal is nothing in LiMn2O4 and Mn3O4, lithium in LT-LiCoO2 and rock salt; the
    bulk's alkali layer may have lost some. What columns of surface and of bulk deviate by in common
    is left to the data. Metals are drawn about the nominal share on the bulk's M columns, and about
    half to full on the surface's; of the other columns nothing is assumed of them.

    Parameters
    ----------
    composition : xarray.Dataset
        From `measure_composition`, with ``depth``.
    surface : xarray.Dataset
        From `classify_surface`, of the same columns.
    options : PhaseOptions, optional

    Returns
    -------
    Expected or None
        None where no phase is told.
    """
    options = options or PhaseOptions()
    phase = str(surface["surface_phase"].values)
    if phase == UNDETERMINED:
        return None
    kind = composition["species"].values
    share = np.zeros(len(kind))
    if "surface_depth" in surface:
        depth, width = (float(surface[f"surface_{name}"]) for name in ("depth", "width"))
        share = ndtr((depth - composition["depth"].values) / width)
    full = np.array([_FULL_OF_LITHIUM.get((phase, str(name)), 0.0) for name in kind])
    bulk = np.select([kind == "M", kind == "Li"], [1.0, BULK_FILLING], 0.0)
    mixed = share * (1 - share) * (full - bulk) ** 2 / options.sites
    groups = [
        np.where(kind == name, common, 0.0)
        for name, of_surface, of_bulk in _SHARED
        for common in (share * of_surface, (1 - share) * of_bulk)
    ]
    layer = 0.5 if phase == Surface.ROCK_SALT_DISORDERED.value else 0.75
    drawn = options.nominal * (1 - options.nominal) / options.sites
    metal, alkali = kind == "M", (kind == "Li") & (share > 0)
    of_alkali = _SPREAD / np.sqrt(np.where(alkali, share, 1.0))
    of_metal = np.sqrt(share * _SPREAD**2 + (1 - share) * drawn)
    return Expected(
        tm=np.select([metal, alkali], [share * layer + (1 - share) * options.nominal, 0.5], 0.0),
        tm_std=np.select([metal, alkali], [of_metal, of_alkali], np.inf),
        filling=share * full + (1 - share) * bulk,
        filling_std=np.sqrt(options.vacancy_scatter**2 + mixed),
        shared=np.stack(groups),
    )
