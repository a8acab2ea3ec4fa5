"""Check that what a solver returned is an estimate at all, before anything is scored."""

from collections.abc import Iterable, Mapping
from typing import NoReturn

import numpy as np
import xarray as xr

from echolith.errors import near_match
from echolith.validation.solver_failure import SolverFailure, SolverFailureKind

COLUMNS = ("x", "y", "species")
"""One entry each for every column found."""
STD = "_std"

SPELLINGS = {
    "Å": ("Å", "\u212b", "A", "angstrom", "angstroms", "ångström", "ångstrom"),
    "1": ("1", "", "dimensionless", "none"),
    "rad": ("rad", "radian", "radians"),
    "°": ("°", "deg", "degree", "degrees"),
    "eV": ("eV", "electronvolt", "electronvolts"),
    "s": ("s", "second", "seconds"),
}
"""How the same unit is written elsewhere."""
FACTORS = {
    ("pm", "Å"): 1e-2,
    ("nm", "Å"): 10.0,
    ("µm", "Å"): 1e4,
    ("m", "Å"): 1e10,
    ("mrad", "rad"): 1e-3,
    ("rad", "mrad"): 1e3,
    ("°", "rad"): np.pi / 180,
    ("keV", "eV"): 1e3,
    ("%", "1"): 1e-2,
}
"""What to multiply the first unit by to get the second."""


def check_estimate(
    estimate: object, *, quantities: Iterable[str], truth: xr.Dataset | None = None
) -> None:
    """Refuse what is no estimate; one that holds fewer quantities than asked for is fine.

    Parameters
    ----------
    estimate : object
        What the solver returned.
    quantities : iterable of str
        The scalar quantities of the scenario.
    truth : xarray.Dataset, optional
        Units and numbers of axes are compared with it.

    Raises
    ------
    SolverFailure
        Of kind INVALID, if it is no Dataset; holds none of the quantities, nor columns; a
        quantity is not one finite real number; columns are unequal in number or not finite; a
        ``_std`` is negative or NaN; or a unit or a number of axes is not that of the truth.

    Examples
    --------
    >>> check_estimate(xr.Dataset({"rate": 3.0, "rate_std": 0.1}), quantities=["rate"])
    """
    if not isinstance(estimate, xr.Dataset):
        _refuse(
            f"it returned an object of type {type(estimate).__name__}; expected an xarray.Dataset "
            "with one variable for each quantity"
        )
    wanted = tuple(quantities)
    _holds_something(estimate, wanted, truth)
    if truth is not None:
        _same_axes(estimate, truth)
    for name in wanted:
        if name in estimate:
            _one_number(name, estimate[name])
    if not set(COLUMNS[:2]) & set(wanted):
        _columns(estimate)
    for variable in map(str, estimate.data_vars):
        if variable.endswith(STD) and variable.removesuffix(STD) in {*wanted, *estimate}:
            _standard_deviation(variable, estimate[variable])
    if truth is not None:
        _same_units(estimate, truth)


def _refuse(why: str) -> NoReturn:
    raise SolverFailure(
        f"the solver's answer is no estimate: {why}", kind=SolverFailureKind.INVALID
    )


def _holds_something(
    estimate: xr.Dataset, wanted: tuple[str, ...], truth: xr.Dataset | None
) -> None:
    known = {*wanted, *COLUMNS[:2], *(() if truth is None else map(str, truth.data_vars))}
    if known & set(estimate.data_vars):
        return
    if said := estimate.attrs.get("undetermined"):
        _refuse(f"undetermined: {said if isinstance(said, str) else ', '.join(map(str, said))}")
    held = [_with_near_match(str(name), wanted) for name in estimate.data_vars]
    _refuse(
        f"it holds none of the quantities {', '.join(wanted)}, but "
        f"{', '.join(held[:6]) if held else 'no variable at all'}"
    )


def _with_near_match(name: str, wanted: tuple[str, ...]) -> str:
    hint = near_match(name.lower(), wanted)
    return f"'{name}' ({hint})" if hint.startswith("did you") else f"'{name}'"


def _one_number(name: str, variable: xr.DataArray) -> None:
    if variable.ndim:
        _refuse(
            f"'{name}' has shape {variable.shape}; expected one number, its mean where the "
            "specimen holds it several times"
        )
    if variable.dtype.kind not in "iuf":
        _refuse(f"'{name}' = {variable.values} is of type {variable.dtype}; expected a real number")
    if not np.isfinite(variable.values):
        _refuse(
            f"'{name}' = {float(variable)}; expected a finite number (leave a quantity out that "
            "cannot be measured)"
        )


def _columns(estimate: xr.Dataset) -> None:
    # Axes of a map or volume are named x and y too.
    held = [name for name in COLUMNS if name in estimate and name not in estimate.dims]
    if not set(held) & set(COLUMNS[:2]):
        return
    lacking = [name for name in COLUMNS[:2] if name not in held]
    if lacking:
        _refuse(f"it holds columns with {held[0]} but without {lacking[0]}; expected x and y")
    lengths = {name: estimate[name].shape for name in held}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
        told = ", ".join(f"{name} {shape}" for name, shape in lengths.items())
        _refuse(f"its columns have shapes {told}; expected one entry for every column in each")
    for name in COLUMNS[:2]:
        values = estimate[name].values
        if values.dtype.kind not in "iuf":
            _refuse(f"'{name}' is of type {values.dtype}; expected real numbers in Å")
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            _refuse(
                f"'{name}' of {len(bad)} of {len(values)} columns is not finite, the first at "
                f"{bad[0]}; leave such columns out"
            )


def _standard_deviation(name: str, variable: xr.DataArray) -> None:
    values = variable.values
    if values.dtype.kind not in "iuf":
        _refuse(f"'{name}' is of type {values.dtype}; expected real numbers")
    bad = values[~(values >= 0)]
    if bad.size:
        where = f"{bad.size} of {values.size} values, the first " if values.ndim else ""
        _refuse(f"'{name}' = {where}{bad.flat[0]:g}; a standard deviation is 0 or more")


def _same_axes(estimate: xr.Dataset, truth: xr.Dataset) -> None:
    for name in estimate.data_vars:
        if name in truth and truth[name].ndim and estimate[name].ndim != truth[name].ndim:
            _refuse(
                f"'{name}' has shape {estimate[name].shape}; expected {truth[name].ndim} axes: "
                f"{', '.join(map(str, truth[name].dims))}"
            )


def _same_units(estimate: xr.Dataset, truth: xr.Dataset) -> None:
    for name in map(str, estimate.data_vars):
        judge = name if name in truth else name.removesuffix(STD)
        if judge not in truth or "units" not in truth[judge].attrs:
            continue
        said = estimate[name].attrs.get("units")
        expected = str(truth[judge].attrs["units"])
        if said is not None and spelled(said) != spelled(expected):
            _refuse(f"'{name}' is in '{said}'; expected '{expected}'{_hint(said, expected)}")


def spelled(unit: object) -> str:
    """Return a unit as it is written here, however it was spelled."""
    text = str(unit).strip()
    for ours, spellings in SPELLINGS.items():
        if text in spellings or text.lower() in spellings:
            return ours
    return text.replace("μ", "µ")


def _hint(said: object, expected: str, factors: Mapping[tuple[str, str], float] = FACTORS) -> str:
    factor = factors.get((spelled(said), spelled(expected)))
    return "" if factor is None else f": multiply by {factor:g}"
