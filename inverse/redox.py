"""From exposures of several states to calibrated distances, their changes, and a redox model.

For each exposure: aberrations fitted and corrected, phase image, columns, eight distances; the fast
annular dark-field frames beside it registered, their M-M distances the reference by which drift is
taken out. Then changes against the first state, weighed against the models.
"""

from collections.abc import Mapping
from enum import Enum
from functools import partial
from typing import Annotated, Any

import numpy as np
import xarray as xr
from pydantic import Field

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError
from echolith.exposures import DIM, take_exposure, take_frames
from echolith.forward.acquisition import Settings, acquisition_of
from echolith.inverse.aberration_correction import with_fitted_aberrations
from echolith.inverse.distance_changes import distance_changes
from echolith.inverse.distance_vectors import length_of
from echolith.inverse.drift_calibration import (
    ErrorRule,
    calibrate_affine,
    calibrate_scalar,
    drift_raster,
)
from echolith.inverse.haadf_reference import haadf_reference
from echolith.inverse.model_comparison import ComparisonOptions, compare_models, distance_ratio
from echolith.inverse.projected_columns import ColumnSolver, recover_columns
from echolith.inverse.registration import RegistrationOptions
from echolith.inverse.scan_raster import with_raster
from echolith.protocols import Solver
from echolith.units import Angstrom


class Calibration(Enum):
    """How drift is taken out of the distances."""

    AFFINE = "affine"
    """By the one affine distortion that three M-M distances fix."""
    SCALAR = "scalar"
    """By one ratio for each group of nearly parallel distances, as published."""
    NONE = "none"
    """Not at all."""


class RedoxSolver(Settings):
    """Options of the reference solver for exposures of several states."""

    columns: ColumnSolver = ColumnSolver()
    correct_aberrations: bool = True
    registration: RegistrationOptions = RegistrationOptions(largest_shift=1.2)
    """Of the fast frames. They drift by less than half a lattice vector from one to the next:
    frames of a lattice cannot tell, and without that there is no reference length."""
    calibration: Calibration = Calibration.AFFINE
    correct_raster: bool = True
    """With affine calibration, whether all is done once more with the raster that the drift found
    makes of the scan."""
    errors: ErrorRule = ErrorRule.QUADRATURE
    systematic: Annotated[Angstrom, Field(ge=0)] = 0.007
    """Error of an O-O distance that is not noise, one standard deviation: what multiple scattering
    in 2 nm, drift of 5 % and residual aberrations leave without noise. Larger in thicker ones."""
    comparison: ComparisonOptions = ComparisonOptions()


def recover_redox(
    measurement: xr.Dataset,
    *,
    models: Mapping[str, Mapping[str, float]],
    options: RedoxSolver | None = None,
) -> xr.Dataset:
    """Recover distances of every state, their changes, and which model explains them.

    Parameters
    ----------
    measurement : xarray.Dataset
        Exposures as `echolith.exposures.join_exposures` puts them together; changes are
        against the first of them.
    models : mapping
        For each model its change of every distance in the second exposure, Å.
    options : RedoxSolver, optional

    Returns
    -------
    xarray.Dataset
        ``length``, ``length_std`` (exposure, distance), Å; ``change_<name>`` and
        ``change_<name>_std`` of the second exposure, ``<exposure>_change_<name>`` of further ones,
        Å; ``probability`` (model) and what else `compare_models` returns; ``ratio`` is that of
        O-O(Li) to M-M(OLiO) by exposure; ``phase`` (exposure, scan_y, scan_x), rad.

    Raises
    ------
    BadInputError
        If there are fewer than two exposures, or one cannot be inverted; the message names it.
    """
    options = options or RedoxSolver()
    names = [str(name) for name in measurement[DIM].values] if DIM in measurement.coords else []
    if len(names) < 2:
        raise BadInputError(
            f"{len(names)} exposures; expected two or more (before and after) along '{DIM}'"
        )
    states = {name: recover_exposure(measurement, name, options=options) for name in names}
    before, *others = states.values()
    changes = [distance_changes(after, before, systematic=options.systematic) for after in others]
    variables: dict[str, Any] = {}
    for name, change in zip(names[1:], changes, strict=True):
        mark = "" if name == names[1] else f"{name}_"
        variables |= _scalars(change, mark)
    compared = compare_models(changes[0], models, options=options.comparison)
    verdict = str(compared["verdict"].values)
    return xr.merge(
        [xr.Dataset(variables), _lengths(states), compared], combine_attrs="drop_conflicts"
    ).assign_attrs(conclusion=f"redox model {verdict}: {compared.attrs['reason']}")


def recover_exposure(
    measurement: xr.Dataset, name: str, *, options: RedoxSolver | None = None
) -> xr.Dataset:
    """Recover the calibrated distances of one exposure.

    Returns
    -------
    xarray.Dataset
        ``<name>``, ``<name>_std``, ``distance_covariance``; see
        `echolith.inverse.drift_calibration`; and the ``phase`` image (rad).

    Raises
    ------
    BadInputError
        If it cannot be inverted; the message names the exposure.
    """
    options = options or RedoxSolver()
    solve: Solver = partial(recover_columns, options=options.columns)
    if options.correct_aberrations:
        solve = with_fitted_aberrations(solve)
    try:
        exposure = take_exposure(measurement, name)
        columns = solve(exposure)
        if options.calibration is Calibration.NONE:
            return columns
        reference = haadf_reference(
            take_frames(measurement, name), registration=options.registration
        )
        calibrate = _CALIBRATE[options.calibration]
        calibrated = calibrate(columns, reference, errors=options.errors)
        if options.correct_raster and options.calibration is Calibration.AFFINE:
            raster = drift_raster(calibrated, scan=acquisition_of(exposure).scan)
            columns = solve(with_raster(exposure, raster))
            calibrated = calibrate(columns, reference, errors=options.errors)
        return calibrated.assign(phase=columns["phase"])
    except BadInputError as error:
        raise BadInputError(f"exposure '{name}': {error}") from error


_CALIBRATE = {Calibration.AFFINE: calibrate_affine, Calibration.SCALAR: calibrate_scalar}


def _scalars(changes: xr.Dataset, mark: str) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for n, name in enumerate(changes["distance"].values):
        variables[f"{mark}change_{name}"] = ((), float(changes["change"][n]), {"units": "Å"})
        if "change_std" in changes:
            std = float(changes["change_std"][n])
            variables[f"{mark}change_{name}_std"] = ((), std, {"units": "Å"})
    return variables


def _lengths(states: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Return the distances of all exposures, NaN where one lacks it, and their ratio."""
    named = [name for name in LONG_NAMES if any(name in state for state in states.values())]
    table = np.full((2, len(states), len(named)), np.nan)
    for row, state in enumerate(states.values()):
        for column, name in enumerate(named):
            if name in state:
                table[:, row, column] = length_of(state, name)
    ratios = np.array([distance_ratio(state) for state in states.values()])
    return xr.Dataset(
        {
            "length": (("exposure", "distance"), table[0], {"units": "Å"}),
            "length_std": (("exposure", "distance"), table[1], {"units": "Å"}),
            "ratio": ("exposure", ratios[:, 0], {"units": "1"}),
            "ratio_std": ("exposure", ratios[:, 1], {"units": "1"}),
        },
        coords={"exposure": list(states), "distance": named},
    ).assign(phase=xr.concat([state["phase"] for state in states.values()], dim="exposure"))
