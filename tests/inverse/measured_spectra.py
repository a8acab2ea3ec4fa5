"""Measured spectra nobody here made; tests skip where they are absent."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from echolith.inverse.transmission import optical_density

REAL = Path(__file__).parents[3] / "shared" / "real"
SPECIES = (
    *("Magnetite", "Maghemite", "Goethite", "HFO", "FeIII_sulfate", "Fe3P"),
    *("LiFePO4", "FePO4", "Pyrite", "StainlessSteel", "Hematite"),
)


def _file(name: str) -> Path:
    path = REAL / name
    if not path.exists():
        pytest.skip(f"measured data {name} are not here")
    return path


def fe_k_library() -> xr.DataArray:
    """Measured Fe K-edge spectra of eleven species, (species, energy)."""
    table = np.loadtxt(_file("fe_k_edge_library.nor"))
    return xr.DataArray(
        table[:, 1:].T,
        dims=("species", "energy"),
        coords={"species": list(SPECIES), "energy": table[:, 0]},
    )


def fe_k_particles() -> tuple[xr.DataArray, np.ndarray]:
    """A measured Fe K-edge spectrum and its published fit."""
    table = np.genfromtxt(_file("fe_k_edge_particles.csv"), delimiter=",", names=True)
    spectrum = xr.DataArray(table["Data_y"], dims="energy", coords={"energy": table["Data_x"]})
    return spectrum, table["Fit_y"]


def fe_l_stack() -> tuple[xr.DataArray, xr.DataArray]:
    """Optical density of a measured Fe L-edge stack and its owners' two components."""
    data = np.load(_file("fe_l_edge_stxm.npz"))
    energy = data["energy_eV"]
    counts = xr.DataArray(data["transmitted"], dims=("energy", "y", "x"), coords={"energy": energy})
    incident = xr.DataArray(data["i0"][:, 1], dims="energy", coords={"energy": energy})
    owners = xr.DataArray(
        np.stack([data["reduced"][:, 1], data["oxidized"][:, 1]]),
        dims=("species", "energy"),
        coords={"species": ["reduced", "oxidized"], "energy": energy},
    )
    return optical_density(counts, incident)["optical_density"], owners


def iron_in(density: xr.DataArray) -> np.ndarray:
    """Optical density of iron in every pixel of a stack: white lines minus what lies before."""
    lines = density.sel(energy=slice(708, 711)).mean("energy")
    return np.asarray((lines - density.sel(energy=slice(700, 704)).mean("energy")).values)
