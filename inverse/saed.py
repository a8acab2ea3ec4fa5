"""A selected-area diffraction pattern solved: centre, ellipse, phases, orientation of a crystal."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.saed_lattice import INSTRUMENT, told_distance
from echolith.inverse.saed_camera import camera_of_spots
from echolith.inverse.saed_centre import FittedGeometry, fit_geometry
from echolith.inverse.saed_crystals import CrystalOptions, crystal_evidence
from echolith.inverse.saed_geometry import NAMES, UNITS
from echolith.inverse.saed_phases import RingEvidence, ring_evidence
from echolith.inverse.saed_ring_model import RingSearch
from echolith.inverse.saed_rings import RingProfile, ring_profile
from echolith.inverse.saed_spots import FoundSpots, find_spots
from echolith.inverse.saed_templates import candidate_rings
from echolith.units import Electronvolt

Array = npt.NDArray[np.float64]

UNKNOWN = "unknown"


class SaedSolver(Settings):
    """How a pattern is solved."""

    rings: RingSearch = RingSearch()
    crystals: CrystalOptions = CrystalOptions()
    certain: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Probability from which a phase is said to be there, and below one minus which not."""
    centre_std: Annotated[float, Field(gt=0)] = 0.5
    """Pixels; a centre that is known less well is not told."""


def solve_pattern(
    measurement: xr.Dataset,
    *,
    candidates: Sequence[CrystalPhase],
    options: SaedSolver | None = None,
) -> xr.Dataset:
    """Solve a diffraction pattern of spots on rings.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (detector_y, detector_x), electrons; attributes ``energy`` (eV),
        ``camera_length`` (mm), ``pixel_size`` (µm) and, where pixels saturate, ``saturation``.
    candidates : sequence of CrystalPhase
        Phases there may be.
    options : SaedSolver, optional

    Returns
    -------
    xarray.Dataset
        ``centre_x``, ``centre_y`` (pixel), ``stretch_p``, ``stretch_q`` and ``camera_scale``, the
        camera constant over that told, with ``_std``, where the rings determine them;
        ``probability`` (candidate), the last one ``unknown``; ``ring_electrons`` (candidate) with
        ``_std``; ``orientation`` (axis, crystal_axis) with ``tilt_std`` and ``turn_std`` (degree)
        of the crystal that the spots show and its probability, ``orientation_second`` the next,
        ``orientation_other`` where half a turn explains them as well; names end in ``_2`` for
        a second crystal; ``spot_x``, ``spot_y`` (spot), pixel;
        ``profile``, ``calculated``, ``background`` (radius). ``attrs["present"]``,
        ``attrs["cannot_tell"]``, ``attrs["undetermined"]`` (reasons) and ``attrs["verdict"]``.

    Raises
    ------
    BadInputError
        If the measurement is no pattern, or what it was taken with is not told.
    """
    options = options or SaedSolver()
    counts, told = checked_pattern(measurement)
    distance = told_distance(told["camera_length"], told["pixel_size"])
    fitted = fit_geometry(counts, saturation=measurement.attrs.get("saturation"))
    undetermined: list[str] = []
    found = _geometry(fitted, options, undetermined)
    profile, spots = ring_profile(counts, fitted), find_spots(counts, fitted)
    rings = rings_and_camera(
        profile,
        spots,
        candidates,
        energy=told["energy"],
        distance=distance,
        options=options,
    )
    crystal = crystal_evidence(
        spots,
        candidates,
        energy=told["energy"],
        distance=distance * rings.scale,
        scale_std=rings.scale_std,
        options=options.crystals,
        undetermined=undetermined,
    )
    if rings.scale_std < options.rings.camera_std:
        found |= _with_std("camera_scale", rings.scale, rings.scale_std, "1")
    else:
        undetermined.append("camera_scale: no ring of a candidate, no lattice of spots")
    probability = 1 - (1 - rings.probability) * (1 - crystal.probability)
    # About a centre that is not known nothing is a ring for sure.
    of_rings = rings.unknown if "centre_x" in found else min(rings.unknown, 0.5)
    unknown = 1 - (1 - of_rings) * (1 - crystal.unknown)
    names = [phase.name for phase in candidates]
    found |= _of_phases(rings, np.append(probability, unknown))
    found |= crystal.variables
    found |= _curves(profile, rings)
    result = xr.Dataset(found, coords={"candidate": [*names, UNKNOWN]})
    return result.assign_attrs(_words(result, options, undetermined))


def rings_and_camera(
    profile: RingProfile,
    spots: FoundSpots,
    candidates: Sequence[CrystalPhase],
    *,
    energy: Electronvolt,
    distance: float,
    options: SaedSolver,
) -> RingEvidence:
    """Return what the rings say, the camera constant known as well as spots tell it."""
    known = camera_of_spots(
        spots,
        candidates,
        energy=energy,
        distance=distance,
        scale_std=options.rings.camera_std,
        options=options.crystals,
    )
    scale, std = known or (1.0, options.rings.camera_std)
    rings = ring_evidence(
        profile,
        candidate_rings(
            candidates, energy=energy, distance=distance * scale, reach=float(profile.radius[-1])
        ),
        options.rings.model_copy(update={"camera_std": min(std, options.rings.camera_std)}),
    )
    return replace(rings, scale=scale * rings.scale, scale_std=scale * rings.scale_std)


def checked_pattern(measurement: xr.Dataset) -> tuple[Array, dict[str, float]]:
    """Return counts and instrument of a measurement.

    Raises
    ------
    BadInputError
        If they are not there, not finite or negative.
    """
    counts = measurement.get("counts")
    if counts is None or counts.dims != ("detector_y", "detector_x"):
        raise BadInputError(
            f"the measurement holds {', '.join(map(str, measurement.data_vars)) or 'nothing'}; "
            "expected counts (detector_y, detector_x)"
        )
    missing = [name for name in INSTRUMENT if name not in measurement.attrs]
    if missing:
        raise BadInputError(
            f"the measurement does not tell {', '.join(missing)}; set attributes energy (eV), "
            "camera_length (mm) and pixel_size (µm)"
        )
    values = np.asarray(counts.values, dtype=float)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise BadInputError(
            f"counts = {values[row, column]} electrons at row {row}, column {column} and "
            f"{bad.sum() - 1} other pixels; expected finite numbers of 0 or more"
        )
    if min(values.shape) < 64:
        raise BadInputError(f"a pattern of {values.shape} pixels; expected 64 or more a side")
    return values, {name: float(measurement.attrs[name]) for name in INSTRUMENT}


def _geometry(
    fitted: FittedGeometry, options: SaedSolver, undetermined: list[str]
) -> dict[str, xr.DataArray]:
    stds = np.sqrt(np.diag(fitted.covariance))
    if not (np.isfinite(stds).all() and stds[:2].max() < options.centre_std):
        undetermined.append("centre and ellipse: no ring stands out of the background enough")
        return {}
    found: dict[str, xr.DataArray] = {}
    for name, unit, value, std in zip(NAMES, UNITS, fitted.geometry.values, stds, strict=True):
        found |= _with_std(name, float(value), float(std), unit)
    return found


def _with_std(name: str, value: float, std: float, unit: str) -> dict[str, xr.DataArray]:
    return {
        name: xr.DataArray(value, attrs={"units": unit}),
        f"{name}_std": xr.DataArray(std, attrs={"units": unit}),
    }


def _of_phases(rings: RingEvidence, probability: Array) -> dict[str, xr.DataArray]:
    unit = {"units": "electrons"}
    return {
        "probability": xr.DataArray(probability, dims="candidate", attrs={"units": "1"}),
        "ring_electrons": xr.DataArray(
            np.append(rings.electrons, np.nan), dims="candidate", attrs=unit
        ),
        "ring_electrons_std": xr.DataArray(
            np.append(np.nan_to_num(rings.electrons_std, nan=np.inf), np.inf),
            dims="candidate",
            attrs=unit,
        ),
        "unknown_radius": xr.DataArray(rings.free, dims="ring", attrs={"units": "pixel"}),
    }


def _curves(profile: RingProfile, rings: RingEvidence) -> dict[str, xr.DataArray]:
    radius = xr.DataArray(profile.radius, dims="radius", attrs={"units": "pixel"})
    return {
        name: xr.DataArray(
            values, dims="radius", coords={"radius": radius}, attrs={"units": "electrons"}
        )
        for name, values in {
            "profile": profile.mean,
            "calculated": rings.calculated,
            "background": profile.background,
        }.items()
    }


def _words(
    result: xr.Dataset, options: SaedSolver, undetermined: list[str]
) -> dict[str, str | list[str]]:
    names, values = result["candidate"].values.tolist(), result["probability"].values
    present = [n for n, p in zip(names, values, strict=True) if p > options.certain]
    unsure = [
        n for n, p in zip(names, values, strict=True) if 1 - options.certain <= p <= options.certain
    ]
    said = f"Phases: {', '.join(present) or 'none'}."
    if unsure:
        told = ", ".join(f"{n} ({float(result.probability.sel(candidate=n)):.2f})" for n in unsure)
        said += f" Cannot tell: {told}."
    if undetermined:
        said += f" Not determined: {'; '.join(undetermined)}."
    return {
        "present": present,
        "cannot_tell": unsure,
        "undetermined": undetermined,
        "verdict": said,
    }
