"""Which single crystal the spots of a pattern show, and its orientation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.optics import wavelength
from echolith.inverse.saed_centre import FittedGeometry
from echolith.inverse.saed_orientation import (
    LEAST_SPOTS,
    Orientation,
    SpotCrystal,
    find_orientation,
    spot_crystal,
    spot_vectors,
    zone_axis,
)
from echolith.inverse.saed_spots import FoundSpots, visible_at
from echolith.units import Electronvolt

Array = npt.NDArray[np.float64]

REACH = 1.3
"""1/Å, the farthest lattice points looked at."""


class CrystalOptions(Settings):
    """Which crystals spots are taken for."""

    phases: tuple[str, ...] = ("Li", "Na")
    explained: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Part of the spots that a crystal must explain to be named."""


@dataclass(frozen=True, kw_only=True)
class CrystalEvidence:
    """What the spots say: probabilities of candidates and of another crystal, and variables."""

    probability: Array
    unknown: float
    variables: dict[str, xr.DataArray]


@lru_cache(maxsize=16)
def _crystal(phase: CrystalPhase, energy: Electronvolt) -> SpotCrystal:
    return spot_crystal(phase, energy=energy, reach=REACH)


def crystal_evidence(
    spots: FoundSpots,
    fitted: FittedGeometry,
    candidates: Sequence[CrystalPhase],
    *,
    energy: Electronvolt,
    distance: float,
    options: CrystalOptions,
    undetermined: list[str],
) -> CrystalEvidence:
    """Return the crystal that explains the spots; reasons are added to what is not determined."""
    nothing = CrystalEvidence(probability=np.zeros(len(candidates)), unknown=0.0, variables={})
    k = 1 / wavelength(energy)
    vectors = spot_vectors(spots.places, k=k, distance=distance)
    if spots.full.any():
        undetermined.append(f"electrons of {int(spots.full.sum())} spots: saturated or cut")
    if len(vectors) < LEAST_SPOTS:
        undetermined.append(f"orientation: {len(vectors)} spots, {LEAST_SPOTS} are needed")
        if not len(vectors):
            return nothing
        # Some crystal is there; so few spots do not say which.
        unsure = [0.5 if phase.name in options.phases else 0.0 for phase in candidates]
        return CrystalEvidence(probability=np.array(unsure), unknown=0.5, variables={})
    fits: dict[str, Orientation] = {}
    for phase in candidates:
        if phase.name in options.phases:
            one = find_orientation(
                _crystal(phase, energy),
                vectors,
                spots.place_std * k / distance,
                spots.electrons,
                threshold=spots.threshold,
                full=spots.full,
                visible=lambda g: visible_at(g[:, :2] * distance / k, fitted),
            )
            if one is not None:
                fits[phase.name] = one
    good = {name: fit for name, fit in fits.items() if fit.explained >= options.explained}
    if len(good) != 1:
        why = "more than one crystal explains the spots" if good else "no crystal explains them"
        undetermined.append(f"orientation: {len(vectors)} spots, {why}")
        return nothing
    ((name, fit),) = good.items()
    names = [phase.name for phase in candidates]
    phase = candidates[names.index(name)]
    return CrystalEvidence(
        probability=np.array([1.0 if one == name else 0.0 for one in names]),
        unknown=0.0,
        variables=_variables(fit, phase),
    )


def _variables(fit: Orientation, phase: CrystalPhase) -> dict[str, xr.DataArray]:
    dims = ("axis", "crystal_axis")
    zone, away = zone_axis(fit.matrix, phase)
    told = {
        "units": "1",
        "crystal": phase.name,
        "zone_axis": list(zone),
        "zone_axis_angle": away,
    }
    found = {
        "orientation": xr.DataArray(fit.matrix, dims=dims, attrs=told),
        "tilt_std": xr.DataArray(fit.tilt_std, attrs={"units": "°"}),
        "turn_std": xr.DataArray(fit.turn_std, attrs={"units": "°"}),
        "thickness": xr.DataArray(fit.thickness, attrs={"units": "Å"}),
    }
    if fit.other is not None:
        found["orientation_other"] = xr.DataArray(fit.other, dims=dims, attrs={"units": "1"})
    return found
