"""Which single crystals the spots of a pattern show, one or two, and their orientations."""

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
from echolith.inverse.saed_measured_spots import MeasuredSpots, spot_vectors
from echolith.inverse.saed_orientation import LEAST_SPOTS, POOR, Orientation, find_orientation
from echolith.inverse.saed_spot_crystal import SpotCrystal, spot_crystal, zone_axis
from echolith.inverse.saed_spots import FoundSpots
from echolith.units import Electronvolt

Array = npt.NDArray[np.float64]

LINE = 0.02
"""Width over length of a pattern, below which its spots are on one line."""
UNLIKELY = 1e-6
"""Probability by the quick search, below which a crystal is none."""
REACH = 1.3
"""1/Å, the farthest lattice points looked at."""


class CrystalOptions(Settings):
    """Which crystals spots are taken for."""

    phases: tuple[str, ...] = ("Li", "Na")
    explained: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Part of the spots that one or two crystals must explain to be named."""
    certain: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Probability from which an orientation or a kind of crystal is said to be determined."""


@dataclass(frozen=True, kw_only=True)
class CrystalEvidence:
    """What the spots say: probabilities of candidates and of another crystal, and variables."""

    probability: Array
    unknown: float
    variables: dict[str, xr.DataArray]


@lru_cache(maxsize=16)
def prepared_crystal(phase: CrystalPhase, energy: Electronvolt) -> SpotCrystal:
    """Return a candidate set up for a search."""
    return spot_crystal(phase, energy=energy, reach=REACH)


def measured_spots(
    spots: FoundSpots, *, k: float, distance: float, scale_std: float
) -> MeasuredSpots:
    """Return the spots of a pattern as crystals want them.

    The camera ``distance`` is in pixels, known but for a part ``scale_std``.
    """
    electrons, std = spots.counts.electrons_at(spots.places)
    full = spots.full | ~np.isfinite(std)

    def measure(g: Array) -> tuple[Array, Array]:
        along = np.sqrt(k**2 - (g[:, :2] ** 2).sum(axis=1))
        return spots.counts.electrons_at(g[:, :2] / along[:, None] * distance)

    return MeasuredSpots(
        vectors=spot_vectors(spots.places, k=k, distance=distance),
        vector_std=spots.place_std * k / distance,
        electrons=np.where(full, spots.electrons, np.maximum(electrons, 0.0)),
        electrons_std=np.where(full, spots.electrons_std, std),
        full=full,
        taken=np.empty((0, 3)),
        scale_std=scale_std,
        measure=measure,
    )


@dataclass(frozen=True, kw_only=True)
class _Grain:
    """One crystal: its candidate and the others with their probabilities, and its orientation."""

    phase: CrystalPhase
    probability: dict[str, float]
    fit: Orientation


def crystal_evidence(
    spots: FoundSpots,
    candidates: Sequence[CrystalPhase],
    *,
    energy: Electronvolt,
    distance: float,
    scale_std: float,
    options: CrystalOptions,
    undetermined: list[str],
) -> CrystalEvidence:
    """Return the crystals that explain the spots; reasons are added to what is not determined."""
    variables = _places(spots)
    nothing = CrystalEvidence(
        probability=np.zeros(len(candidates)), unknown=0.0, variables=variables
    )
    count = len(spots.places)
    if spots.full.any():
        undetermined.append(f"electrons of {int(spots.full.sum())} spots: saturated or cut")
    if count < LEAST_SPOTS:
        undetermined.append(f"orientation: {count} spots, {LEAST_SPOTS} are needed")
        if not count:
            return nothing
        # Some crystal is there; so few spots do not say which.
        unsure = [0.5 if phase.name in options.phases else 0.0 for phase in candidates]
        return CrystalEvidence(probability=np.array(unsure), unknown=0.5, variables=variables)
    asked = [phase for phase in candidates if phase.name in options.phases]
    measured = measured_spots(
        spots, k=1 / wavelength(energy), distance=distance, scale_std=scale_std
    )
    grains = _grains([prepared_crystal(phase, energy) for phase in asked], measured)
    explained = sum(int(one.fit.matched.sum()) for one in grains)
    if explained < options.explained * count:
        why = f"crystals explain {explained} of them" if grains else "no crystal explains them"
        if _on_one_line(spots.places):
            why = "all on one line, which no turn about it changes"
        undetermined.append(f"orientation: {count} spots, {why}")
        return nothing
    for one, suffix in zip(grains, ("", "_2"), strict=False):
        variables |= _variables(one, suffix)
        _doubts(one, suffix, options.certain, undetermined)
    absent = np.ones(len(candidates))
    for one in grains:
        absent *= [1 - one.probability.get(phase.name, 0.0) for phase in candidates]
    return CrystalEvidence(probability=1 - absent, unknown=0.0, variables=variables)


def _on_one_line(places: Array) -> bool:
    """Return whether spots are on a line through the centre, within a degree or so."""
    sizes = np.linalg.svd(places, compute_uv=False)
    return bool(sizes[1] < LINE * sizes[0])


def _places(spots: FoundSpots) -> dict[str, xr.DataArray]:
    """Return where on the detector the spots are."""
    x, y = spots.counts.fitted.geometry.distorted(spots.places).T
    unit = {"units": "pixel"}
    return {
        name: xr.DataArray(values, dims="spot", attrs=unit)
        for name, values in {"spot_x": x, "spot_y": y}.items()
    }


def _grains(crystals: Sequence[SpotCrystal], spots: MeasuredSpots) -> list[_Grain]:
    """Return the crystal that explains most of the spots, and one that explains the others.

    A quick search tells which crystals may do; a thorough one is worth its time for these alone.
    """
    grains: list[_Grain] = []
    for _ in range(2):
        found = _fits(crystals, spots, thorough=False)
        likely = [crystal for crystal, _, weight in found if weight > UNLIKELY]
        found = _fits(likely, spots, thorough=True)
        if not found:
            break
        crystal, fit, _ = max(found, key=lambda one: one[2])
        told = {one.phase.name: weight for one, _, weight in found}
        grains.append(_Grain(phase=crystal.phase, probability=told, fit=fit))
        spots = spots.without(fit.matched)
    return grains


def _fits(
    crystals: Sequence[SpotCrystal], spots: MeasuredSpots, *, thorough: bool
) -> list[tuple[SpotCrystal, Orientation, float]]:
    """Return the crystals that fit, and their probabilities."""
    fits = [(crystal, find_orientation(crystal, spots, thorough=thorough)) for crystal in crystals]
    found = [(crystal, fit) for crystal, fit in fits if fit is not None]
    if not found:
        return []
    costs = np.array([fit.cost for _, fit in found])
    # Where theory fails it does for all; the best fit tells by how much.
    worse = found[int(costs.argmin())][1].chi_squared
    weight = np.exp(-0.5 * (costs - costs.min()) / worse)
    weight /= weight.sum()
    return [(*one, float(w)) for one, w in zip(found, weight, strict=True)]


def _doubts(grain: _Grain, suffix: str, certain: float, undetermined: list[str]) -> None:
    """Add what an orientation leaves open."""
    fit = grain.fit
    if fit.probability < certain:
        chances = f"{fit.probability:.2f} and {fit.second_probability:.2f}"
        undetermined.append(
            f"orientation{suffix}: tilts compete, the two most probable have {chances}"
        )
    if fit.chi_squared > POOR:
        undetermined.append(
            f"orientation{suffix}: electrons fit badly, chi squared {fit.chi_squared:.1f} per "
            "degree of freedom: the tilt may be wrong"
        )
    if grain.probability[grain.phase.name] < certain:
        names = ", ".join(f"{name} {p:.2f}" for name, p in grain.probability.items())
        undetermined.append(f"orientation{suffix}: of which crystal ({names})")


def _variables(grain: _Grain, suffix: str) -> dict[str, xr.DataArray]:
    dims, fit = ("axis", "crystal_axis"), grain.fit
    zone, away = zone_axis(fit.matrix, grain.phase)
    told = {
        "units": "1",
        "crystal": grain.phase.name,
        "zone_axis": list(zone),
        "zone_axis_angle": away,
    }
    found = {
        "orientation": xr.DataArray(fit.matrix, dims=dims, attrs=told),
        "orientation_probability": xr.DataArray(fit.probability, attrs={"units": "1"}),
        "tilt_std": xr.DataArray(fit.tilt_std, attrs={"units": "°"}),
        "turn_std": xr.DataArray(fit.turn_std, attrs={"units": "°"}),
        "thickness": xr.DataArray(fit.thickness, attrs={"units": "Å"}),
        "thickness_std": xr.DataArray(fit.thickness_std, attrs={"units": "Å"}),
    }
    if fit.second is not None:
        chance = {"units": "1", "probability": fit.second_probability}
        found["orientation_second"] = xr.DataArray(fit.second, dims=dims, attrs=chance)
    if fit.other is not None:
        found["orientation_other"] = xr.DataArray(fit.other, dims=dims, attrs={"units": "1"})
    return {name + suffix: value for name, value in found.items()}
