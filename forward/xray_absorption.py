"""Absorption and refraction of LiFePO4, FePO4 and carbon about the Fe L edges.

No table knows white lines or oxidation states. So: f2 of free atoms far from the edges; on the way
from below to above two arctan steps; on them Voigt lines of each species, their heights solved from
the published ratios of the two phases at 708.2 and 710.2 eV, from the peak absorption, which is a
stated prior, and from the number of empty 3d states. Refraction follows by Kramers-Kronig.
"""

from functools import lru_cache
from typing import Annotated, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import xarray as xr
from ase.formula import Formula
from pydantic import Field, model_validator
from scipy.special import voigt_profile

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.kramers_kronig import kramers_kronig
from echolith.forward.phosphate_paths import PHASES
from echolith.forward.xray_factors import (
    ELECTRON_RADIUS,
    F2,
    PLANCK_TIMES_LIGHT,
    f1_at_high_energy,
    tabulated_f2,
)
from echolith.structures.crystals import crystal_data
from echolith.structures.delithiation_fields import DELITHIATED, LITHIATED
from echolith.units import Electronvolt, Unit

Floats = npt.NDArray[np.float64]

ENERGIES = (708.2, 710.2)
"""eV, where Fe2+ and where Fe3+ absorbs most (Yu et al., Nat. Commun. 9 (2018) 921)."""
BELOW, ABOVE = (500.0, 650.0), (745.0, 830.0)
"""eV, where f2 of Fe is taken from the table on either side of the edges L3 and L2."""
SPLICE = (660.0, 800.0)
"""eV, between which the model replaces the table."""
HOLES = 5 / 4
"""Empty 3d states of Fe3+ over those of Fe2+, so of the areas of their white lines for each Fe
(sum rule: Thole and van der Laan, Phys. Rev. B 38 (1988) 3158)."""
CARBON_ATOMS = 1.8 / 12.011 * 0.60221
"""Per Å³, in amorphous carbon with binder of 1.8 g/cm³."""


class _Line(NamedTuple):
    energy: float
    weight: float


class _WhiteLines(NamedTuple):
    """Two groups of lines, each of area 1: what the peak fixes, and what the ratio fixes."""

    edge: float
    main: tuple[_Line, ...]
    side: tuple[_Line, ...]


WHITE_LINES = {
    "LiFePO4": _WhiteLines(
        edge=708.5,
        main=(_Line(708.2, 0.62), _Line(707.0, 0.08), _Line(720.9, 0.20), _Line(722.3, 0.10)),
        side=(_Line(710.4, 0.75), _Line(712.0, 0.25)),
    ),
    "FePO4": _WhiteLines(
        edge=709.8,
        main=(_Line(710.2, 0.52), _Line(711.8, 0.18), _Line(723.3, 0.30)),
        side=(_Line(708.4, 0.80), _Line(721.6, 0.20)),
    ),
}
"""Energies, eV, and relative areas, of the shape of published spectra (Augustsson et al., J. Chem.
Phys. 123 (2005) 184717; Liu et al., J. Am. Chem. Soc. 134 (2012) 13708). Chosen, not fitted."""


class IronEdge(Settings):
    """How the L edges of iron look; widths are full widths at half maximum."""

    peak: Annotated[float, Unit("1/Å"), Field(gt=0)] = 1.6e-3
    """Absorption of LiFePO4 at 708.2 eV: a prior of 1.2e-3 to 2e-3 (0.012 to 0.02 per nm)."""
    lithiated_ratio: Annotated[float, Field(gt=0)] = 0.520
    """Absorption at 710.2 over that at 708.2 eV of Li0.93FePO4 (polar angle of 27.48°)."""
    delithiated_ratio: Annotated[float, Field(gt=0)] = 2.145
    """The same of Li0.02FePO4 (65.0°)."""
    lithiated: Annotated[float, Field(ge=0, le=1)] = LITHIATED
    """Fraction of FePO4 at which the first ratio holds."""
    delithiated: Annotated[float, Field(ge=0, le=1)] = DELITHIATED
    """Fraction of FePO4 at which the second ratio holds."""
    lifetime: Annotated[Electronvolt, Field(ge=0.05, le=2)] = 0.36
    """Of the Lorentzian."""
    resolution: Annotated[Electronvolt, Field(ge=0, le=2)] = 0.2
    """Of the instrument, Gaussian."""
    multiplet: Annotated[Electronvolt, Field(ge=0.1, le=3)] = 0.9
    """Of the lines that one Voigt profile stands for, Gaussian."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.lithiated < self.delithiated:
            raise ValueError(
                f"lithiated = {self.lithiated:g} is not below delithiated = {self.delithiated:g}"
            )
        if not 5e-4 <= self.peak <= 5e-3:
            raise ValueError(
                f"peak = {self.peak:g} 1/Å; expected 5e-4 to 5e-3 1/Å; 0.016 per nm is 1.6e-3"
            )
        _heights(self)  # refuses ratios that no white lines have
        return self

    def profile(self, energies: Floats, lines: tuple[_Line, ...]) -> Floats:
        """Return a group of lines, of area 1, 1/eV."""
        sigma = np.hypot(self.resolution, self.multiplet) / np.sqrt(8 * np.log(2))
        total = sum(line.weight for line in lines)
        shapes = [
            line.weight / total * voigt_profile(energies - line.energy, sigma, self.lifetime / 2)
            for line in lines
        ]
        return np.asarray(np.sum(shapes, axis=0))


def formula_units(phase: str) -> float:
    """Return the formula units of a phase per Å³, from its crystal's cell."""
    a, b, c = crystal_data(phase).cell[:3]
    return 4 / (a * b * c)


def _per_f2(energies: Floats, atoms: float) -> Floats:
    """Absorption, 1/Å, of one electron of f2 for each of so many atoms per Å³."""
    return np.asarray(2 * ELECTRON_RADIUS * PLANCK_TIMES_LIGHT / energies * atoms)


def _power_law(window: tuple[float, float], energies: Floats) -> Floats:
    x = np.log(np.linspace(*window, 9))
    slope, level = np.polyfit(x, np.log(tabulated_f2("Fe", np.exp(x))), 1)
    return np.asarray(np.exp(level + slope * np.log(energies)))


def _steps(phase: str, edge: IronEdge, energies: Floats) -> Floats:
    """f2 of Fe without white lines: from below to above the edges by two arctan steps."""
    below, above = _power_law(BELOW, energies), _power_law(ABOVE, energies)
    start = WHITE_LINES[phase].edge
    # L3 has twice the electrons of L2; 13.1 eV is the splitting of the 2p levels.
    rise = sum(
        part * (0.5 + np.arctan((energies - start - later) / (edge.lifetime / 2)) / np.pi)
        for part, later in ((2 / 3, 0.0), (1 / 3, 13.1))
    )
    return np.asarray(below + (above - below) * rise)


@lru_cache(maxsize=32)
def _heights(edge: IronEdge) -> dict[str, tuple[float, float]]:
    """Areas of main and side lines of each phase, eV/Å, by four linear conditions."""
    at, names = np.array(ENERGIES), ("LiFePO4", "FePO4")
    plain = {name: _plain(name, edge, at) for name in names}
    groups = [
        edge.profile(at, group)
        for name in names
        for group in (WHITE_LINES[name].main, WHITE_LINES[name].side)
    ]
    shares = HOLES * formula_units("FePO4") / formula_units("LiFePO4")
    rows, known = [[groups[0][0], groups[1][0], 0, 0]], [edge.peak - plain["LiFePO4"][0]]
    for x, ratio in (
        (edge.lithiated, edge.lithiated_ratio),
        (edge.delithiated, edge.delithiated_ratio),
    ):
        parts = (1 - x, 1 - x, x, x)
        rows.append([p * (g[1] - ratio * g[0]) for p, g in zip(parts, groups, strict=True)])
        mixed = (1 - x) * plain["LiFePO4"] + x * plain["FePO4"]
        known.append(ratio * mixed[0] - mixed[1])
    rows.append([-shares, -shares, 1, 1])
    known.append(0.0)
    areas = np.linalg.solve(np.array(rows), np.array(known))
    if areas.min() < 0:
        raise ValueError(
            f"ratios {edge.lithiated_ratio:g} and {edge.delithiated_ratio:g} at a peak of "
            f"{edge.peak:g} 1/Å need a white line below 0; use ratios farther from each other "
            "than the steps alone give, or a higher peak"
        )
    return {"LiFePO4": (areas[0], areas[1]), "FePO4": (areas[2], areas[3])}


def _plain(phase: str, edge: IronEdge, energies: Floats) -> Floats:
    """Absorption, 1/Å, without white lines."""
    f2 = _steps(phase, edge, energies)
    for element, number in Formula(phase).count().items():
        if element != "Fe":
            f2 = f2 + number * tabulated_f2(element, energies)
    return f2 * _per_f2(energies, formula_units(phase))


def _absorption(phase: str, edge: IronEdge, energies: Floats) -> Floats:
    if phase == "carbon":
        return tabulated_f2("C", energies) * _per_f2(energies, CARBON_ATOMS)
    (main, side), lines = _heights(edge)[phase], WHITE_LINES[phase]
    white = main * edge.profile(energies, lines.main) + side * edge.profile(energies, lines.side)
    return _plain(phase, edge, energies) + white


def _iron_f2(phase: str, edge: IronEdge, energies: Floats) -> Floats:
    """f2 of an Fe atom of a phase at any energy: the model between the splices, else the table."""
    lines, (main, side) = WHITE_LINES[phase], _heights(edge)[phase]
    white = main * edge.profile(energies, lines.main) + side * edge.profile(energies, lines.side)
    near = _steps(phase, edge, energies) + white / _per_f2(energies, formula_units(phase))
    # The model is blended into the table, so that no step at a splice makes a false line in f1.
    low, high = SPLICE
    blend = np.clip((energies - low) / 20, 0, 1) * np.clip((high - energies) / 20, 0, 1)
    return np.asarray(blend * near + (1 - blend) * tabulated_f2("Fe", energies))


def _delta(phase: str, edge: IronEdge, energies: Floats) -> Floats:
    atoms = {"C": 1} if phase == "carbon" else Formula(phase).count()
    density = CARBON_ATOMS if phase == "carbon" else formula_units(phase)
    fine = np.arange(*SPLICE, 0.04)
    f1 = np.zeros_like(energies)
    for element, number in atoms.items():
        iron = element == "Fe"
        own = np.concatenate([np.geomspace(10, 1e5, 1600), F2[element][0].clip(10, 1e5)])
        knots = np.unique(np.concatenate([own, fine]) if iron else own)
        f2 = _iron_f2(phase, edge, knots) if iron else tabulated_f2(element, knots)
        f1 += number * (f1_at_high_energy(element) + kramers_kronig(knots, f2, energies))
    wavelengths = PLANCK_TIMES_LIGHT / energies
    return np.asarray(ELECTRON_RADIUS * wavelengths**2 / (2 * np.pi) * density * f1)


def checked_edge_energy(energy: Electronvolt) -> float:
    """Return the energy of a photon, which must be about the Fe L edges.

    Raises
    ------
    BadInputError
        If it is outside 680 to 780 eV.
    """
    if not 680 <= energy <= 780:
        hint = f"did you mean {energy * 1e3:g} eV?" if 0.68 <= energy <= 0.78 else "give it in eV"
        raise BadInputError(
            f"energy = {energy:g} eV; expected 680 to 780 eV, about the Fe L edges; {hint}"
        )
    return float(energy)


def optical_constants(
    energies: tuple[float, ...] = ENERGIES,
    *,
    edge: IronEdge = IronEdge(),  # noqa: B008
) -> xr.Dataset:
    """Return absorption and refraction of the phases.

    ``mu = 2 r_e lambda sum n f2`` and ``n = 1 - delta + i mu lambda / 4 pi`` with
    ``delta = r_e lambda² sum n f1 / 2 pi``.

    Parameters
    ----------
    energies : tuple of float
        eV, 680 to 780.
    edge : IronEdge

    Returns
    -------
    xarray.Dataset
        ``absorption`` (1/Å) and ``delta``, along ``species`` (LiFePO4, FePO4, carbon) and
        ``energy``.

    Raises
    ------
    BadInputError
        If an energy is outside 680 to 780 eV or no positive lines meet the ratios.

    Examples
    --------
    >>> constants = optical_constants((708.2,))
    >>> round(float(constants.absorption.sel(species="LiFePO4", energy=708.2)), 6)
    0.0016
    """
    at = np.array([checked_edge_energy(energy) for energy in energies])
    columns = {
        "absorption": np.array([_absorption(phase, edge, at) for phase in PHASES]),
        "delta": np.array([_delta(phase, edge, at) for phase in PHASES]),
    }
    constants = xr.Dataset(
        {name: (("species", "energy"), values) for name, values in columns.items()},
        coords={"species": list(PHASES), "energy": ("energy", at, {"units": "eV"})},
    )
    constants.absorption.attrs["units"] = "1/Å"
    constants.delta.attrs["units"] = "1"
    return constants


def phosphate_response(
    energies: tuple[float, ...] = ENERGIES,
    *,
    edge: IronEdge = IronEdge(),  # noqa: B008
) -> xr.DataArray:
    """Return the absorption of pure LiFePO4 and FePO4, (species, energy), 1/Å.

    What a solver that knows its references is given. Their ratios are not those of the end
    members Li0.93 and Li0.02, which are mixtures.
    """
    constants = optical_constants(energies, edge=edge)
    return constants["absorption"].isel(species=[0, 1])
