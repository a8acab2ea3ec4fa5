"""Spectra of X-ray absorption as measurements and as references, in XDI."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.xdi_files import XdiColumns, read_xdi, write_xdi

Array = npt.NDArray[np.float64]

OWN = "echolith.pixels"
"""Field of files with counted photons."""
ENERGY = {"": 1.0, "ev": 1.0, "kev": 1e3}
LENGTHS = {"angstrom": 1.0, "å": 1.0, "nm": 10.0, "um": 1e4, "µm": 1e4, "μm": 1e4, "cm": 1e8}
PHASES = ("LiFePO4", "FePO4")


def holds_spectra(measurement: xr.Dataset) -> bool:
    """Return whether a measurement is a stack of images at many energies."""
    counts = measurement.get("counts")
    return counts is not None and counts.dims == ("energy", "y", "x") and "incident" in measurement


def write_spectrum(measurement: xr.Dataset, path: Path) -> None:
    """Write the spectrum of all pixels together; choose some before with ``isel``.

    Columns are the energy, the photons that all pixels counted (``itrans``) and that fell on them
    (``i0``), and ``mutrans = ln(i0 / itrans)``. Where pixels differ, that is less than the mean of
    their optical densities.

    Parameters
    ----------
    measurement : xarray.Dataset
        One for which `holds_spectra`.
    path : Path

    Raises
    ------
    BadInputError
        If all pixels are black at some energy.
    OSError
        If the file cannot be written.
    """
    counts = measurement["counts"]
    pixels = counts.sizes["y"] * counts.sizes["x"]
    through = np.asarray(counts.astype(np.float64).sum(("y", "x")))
    arrived = pixels * np.broadcast_to(measurement["incident"].values.astype(float), through.shape)
    if not (through > 0).all():
        raise BadInputError("no photon was counted at some energy; expected light through pixels")
    energy = measurement["energy"].values.astype(float)
    columns = {
        "energy": energy,
        "itrans": through,
        "i0": arrived,
        "mutrans": np.log(arrived / through),
    }
    iron = energy.min() >= 680 and energy.max() <= 780
    fields = {"Element.symbol": "Fe", "Element.edge": "L3"} if iron else {}
    fields["Echolith.pixels"] = str(pixels)
    content = XdiColumns(columns=columns, units={"energy": "eV"}, fields=fields)
    write_xdi(content, path, comment="photons of all pixels; mutrans is ln(i0/itrans)")


def read_spectrum(path: Path, given: Mapping[str, Any]) -> xr.Dataset:
    """Read a spectrum as a measurement of one pixel.

    Parameters
    ----------
    path : Path
        XDI with transmitted and incident signals (``itrans``, ``i0``), or the logarithm of their
        ratio (``mutrans``, ``mu``).
    given : mapping
        For files by other programs ``incident``, the photons that each point stands for: their
        signals are no counts, and noise follows from it.

    Returns
    -------
    xarray.Dataset
        ``counts`` (energy, y, x) with one pixel, and ``incident`` (energy).

    Raises
    ------
    BadInputError
        If the file cannot be read, holds no transmission, or `incident` is missing.
    """
    for name in given:
        if name != "incident":
            raise BadInputError(
                f"'{name}' cannot be given for a spectrum; did you mean 'incident'?"
            )
    content = read_xdi(path)
    energy = _energy(content, path)
    if OWN in content.fields:
        if "incident" in given:
            raise BadInputError(f"'{path}' tells its incident photons; leave incident out")
        incident, counts = content.columns["i0"], content.columns["itrans"]
    elif not isinstance(given.get("incident"), int | float) or not given["incident"] > 0:
        raise BadInputError(
            f"'{path}' does not tell incident (photons that each point stands for); its signals "
            "are no counts, so uncertainties follow from it: give it with --given incident=1e6"
        )
    else:
        incident = np.full(len(energy), float(given["incident"]))
        counts = incident * _transmission(content, path)
    values = {"counts": counts[:, None, None], "incident": incident}
    dims = {"counts": ("energy", "y", "x"), "incident": ("energy",)}
    place = {axis: (axis, np.zeros(1), {"units": "Å"}) for axis in ("y", "x")}
    return xr.Dataset(
        {name: (dims[name], value, {"units": "photons"}) for name, value in values.items()},
        coords={"energy": ("energy", energy, {"units": "eV"}), **place},
    ).sortby("energy")


def _energy(content: XdiColumns, path: Path) -> Array:
    unit = content.units.get("energy", "").lower()
    if "energy" not in content.columns or unit not in ENERGY:
        raise BadInputError(
            f"'{path}' has the columns {', '.join(content.columns)}"
            + (f" and energies in {unit}" if unit else "")
            + "; expected energy in eV or keV"
        )
    return np.asarray(content.columns["energy"] * ENERGY[unit])


def _transmission(content: XdiColumns, path: Path) -> Array:
    columns = content.columns
    if {"itrans", "i0"} <= set(columns):
        share = columns["itrans"] / np.where(columns["i0"] > 0, columns["i0"], np.nan)
    else:
        share = np.exp(-_absorbance(content, path))
    if not ((share >= 0) & np.isfinite(share)).all():
        raise BadInputError(f"'{path}': signals of 0 or less; expected dark currents taken off")
    return np.asarray(share)


def _absorbance(content: XdiColumns, path: Path) -> Array:
    for name in ("mutrans", "mu"):
        if name in content.columns:
            return np.asarray(content.columns[name])
    raise BadInputError(
        f"'{path}' has the columns {', '.join(content.columns)}; expected itrans and i0, or "
        "mutrans: fluorescence and normalised spectra tell no transmission"
    )


def reference_spectra(lithiated: Path, delithiated: Path) -> xr.DataArray:
    """Return the absorption of two phases for solvers, from files of their own spectra.

    Parameters
    ----------
    lithiated, delithiated : Path
        XDI of LiFePO4 and of FePO4 with a column ``mutrans`` or ``mu`` per length, whose unit says
        so (1/nm, 1/cm, 1/angstrom): spectra of unknown thickness tell no composition.

    Returns
    -------
    xarray.DataArray
        (species, energy), 1/Å, on the energies of the first within those of both.

    Raises
    ------
    BadInputError
        If a file cannot be read, states no such unit, or both have no energies in common.
    """
    first, second = (_per_length(path) for path in (lithiated, delithiated))
    low = max(first[0].min(), second[0].min())
    high = min(first[0].max(), second[0].max())
    energy = first[0][(first[0] >= low) & (first[0] <= high)]
    if len(energy) < 2:
        raise BadInputError(
            f"'{lithiated}' and '{delithiated}' have no energies in common; expected one edge"
        )
    values = np.stack([np.interp(energy, *one) for one in (first, second)])
    return xr.DataArray(
        values,
        dims=("species", "energy"),
        coords={"species": list(PHASES), "energy": ("energy", energy, {"units": "eV"})},
        attrs={"units": "1/Å"},
    )


def _per_length(path: Path) -> tuple[Array, Array]:
    content = read_xdi(path)
    energy, values = _energy(content, path), _absorbance(content, path)
    name = "mutrans" if "mutrans" in content.columns else "mu"
    unit = content.units.get(name, "")
    length = LENGTHS.get(unit.lower().removeprefix("1/").removesuffix("^-1").strip())
    if length is None or unit == "":
        raise BadInputError(
            f"'{path}': {name} in {unit or 'no unit'}; expected 1/nm, 1/cm or 1/angstrom: scale it "
            "to tabulated absorption before and behind the edge and name the unit in its "
            "'# Column' line"
        )
    order = np.argsort(energy)
    return energy[order], values[order] / length
