"""What a search for phases says, in numbers and in words."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from echolith.forward.crystal_phase import CrystalPhase
from echolith.inverse.anodes import explained_share
from echolith.inverse.explained_pattern import Explained, left_over
from echolith.inverse.powder_parameters import CELL_NAMES

OF_PHASES = {"weight_fraction": "1", "cell_length": "Å", "cell_angle": "°"}
AXES = {"cell_length": ("axis", CELL_NAMES[:3]), "cell_angle": ("angle", CELL_NAMES[3:])}
POOR = 0.9
"""Part of what stands out that phases with the right atoms explain, at least."""
NAMED = 8
"""Lines left over that the verdict names."""


def search_result(
    nothing: Explained,
    found: Explained,
    candidates: Sequence[CrystalPhase],
    significance: Mapping[str, float],
    rivals: Sequence[tuple[str, str]],
) -> xr.Dataset:
    """Return the estimate of `echolith.inverse.phase_search.search_phases`."""
    names = [phase.name for phase in candidates]
    last = {**significance, **_alone(found)}
    either = np.zeros((len(names), len(names)), dtype=bool)
    for pair in rivals:
        one, other = (names.index(name) for name in pair)
        either[one, other] = either[other, one] = True
    lines = left_over(found)
    mean = found.bragg + found.background
    result = xr.Dataset(
        {
            "present": ("candidate", [name in found.names for name in names]),
            "significance": ("candidate", [last.get(name, np.nan) for name in names]),
            "cannot_tell": (("candidate", "other"), either),
            "calculated": ("two_theta", mean, {"units": "photons"}),
            "background": ("two_theta", found.background, {"units": "photons"}),
            "explained": ((), explained_share(nothing, mean), {"units": "1"}),
        },
        coords={
            "candidate": names,
            "other": names,
            "two_theta": ("two_theta", found.angles, {"units": "°"}),
        },
    ).merge(lines)
    result.attrs["verdict"] = verdict(found, rivals, lines, float(result["explained"]))
    return result if found.result is None else result.assign(_refined(found.result, names))


def _alone(found: Explained) -> dict[str, float]:
    """Return how far each phase that was found stands out beside the others."""
    return {
        name: found.without(index).standing_out(found.patterns[:, index])
        for index, name in enumerate(found.names)
    }


def _refined(refined: xr.Dataset, names: Sequence[str]) -> dict[str, xr.DataArray]:
    found = {
        f"{name}{mark}": refined[f"{name}{mark}"]
        .reindex(phase=list(names))
        .rename(phase="candidate")
        for name in OF_PHASES
        for mark in ("", "_std")
    }
    return {**found, **{n: refined[n] for n in ("r_weighted", "r_expected", "chi_squared")}}


def verdict(
    found: Explained, rivals: Sequence[tuple[str, str]], lines: xr.Dataset, explained: float
) -> str:
    """Return what was found in words."""
    said = [] if found.names else ["no candidate"]
    for name in found.names:
        others = [other for one, other in rivals if one == name]
        said.append(f"{name} or {' or '.join(others)}: cannot tell" if others else name)
    places = lines["unexplained_two_theta"].values
    if len(places):
        order = np.argsort(-lines["unexplained_photons"].values)[:NAMED]
        named = ", ".join(
            f"{lines['unexplained_two_theta'].values[k]:.2f}° "
            f"({lines['unexplained_d'].values[k]:.3f} Å)"
            for k in sorted(order)
        )
        more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
        said.append(f"unknown phase: lines at {named}{more}")
    if explained < POOR:
        said.append(
            f"only {explained:.0%} of what stands out is explained: atoms or texture differ"
        )
    return "; ".join(said)
