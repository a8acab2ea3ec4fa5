"""Crystals as data: space group, cell, sites, and where the numbers come from."""

from collections.abc import Mapping
from dataclasses import dataclass

COMPILED = "as compiled for echolith, checked by density, shortest bond and bond valence"

Coordinates = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Site:
    """One Wyckoff position: its letter, representative coordinates, occupancy of each element."""

    wyckoff: str
    position: Coordinates
    content: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class CrystalData:
    """A phase: space group number and setting, cell (Å and degree), sites, source."""

    spacegroup: int
    setting: int = 1
    cell: tuple[float, float, float, float, float, float]
    sites: tuple[Site, ...]
    source: str = COMPILED


def _site(wyckoff: str, position: Coordinates, content: str | Mapping[str, float]) -> Site:
    shares = {content: 1.0} if isinstance(content, str) else content
    return Site(wyckoff=wyckoff, position=position, content=shares)


def _cubic(
    spacegroup: int, a: float, *sites: Site, setting: int = 1, source: str = COMPILED
) -> CrystalData:
    return CrystalData(
        spacegroup=spacegroup,
        setting=setting,
        cell=(a, a, a, 90, 90, 90),
        sites=sites,
        source=source,
    )


def _layered(
    a: float,
    c: float,
    z: float,
    *,
    lithium: str | Mapping[str, float],
    metal: str | Mapping[str, float],
) -> CrystalData:
    # Lithium on 3a and metal on 3b go with z near 0.2415 (Li-O 2.1 Å); z near 0.2585 belongs to
    # metal on 3a, and mixing the two swaps the layers.
    return CrystalData(
        spacegroup=166,
        cell=(a, a, c, 90, 90, 120),
        sites=(
            _site("3a", (0, 0, 0), lithium),
            _site("3b", (0, 0, 0.5), metal),
            _site("6c", (0, 0, z), "O"),
        ),
    )


def _spinel(
    a: float,
    u: float,
    *,
    tetrahedral: str | Mapping[str, float],
    octahedral: str | Mapping[str, float],
) -> CrystalData:
    return _cubic(
        227,
        a,
        _site("8a", (0.125, 0.125, 0.125), tetrahedral),
        _site("16d", (0.5, 0.5, 0.5), octahedral),
        _site("32e", (u, u, u), "O"),
        setting=2,
    )


_METALS = {"Mn": 0.675, "Ni": 0.1625, "Co": 0.1625}
_LI_RICH_LAYER = {"Mn": 0.54, "Ni": 0.11, "Co": 0.13, "Li": 0.22}

CRYSTALS: Mapping[str, CrystalData] = {
    "Li": _cubic(229, 3.5092, _site("2a", (0, 0, 0), "Li")),
    "Na": _cubic(229, 4.2906, _site("2a", (0, 0, 0), "Na")),
    "Li2O": _cubic(225, 4.619, _site("4a", (0, 0, 0), "O"), _site("8c", (0.25, 0.25, 0.25), "Li")),
    "Na2O": _cubic(225, 5.55, _site("4a", (0, 0, 0), "O"), _site("8c", (0.25, 0.25, 0.25), "Na")),
    "LiF": _cubic(225, 4.0263, _site("4a", (0, 0, 0), "Li"), _site("4b", (0.5, 0.5, 0.5), "F")),
    "rock-salt": _cubic(
        225, 4.15, _site("4a", (0, 0, 0), _METALS), _site("4b", (0.5, 0.5, 0.5), "O")
    ),
    "Li2CO3": CrystalData(
        spacegroup=15,
        cell=(8.3593, 4.9725, 6.1975, 90, 114.83, 90),
        sites=(
            _site("8f", (0.1965, 0.4484, 0.8344), "Li"),
            _site("4e", (0, 0.0657, 0.25), "C"),
            _site("4e", (0, 0.3213, 0.25), "O"),
            _site("8f", (0.1459, -0.0635, 0.3127), "O"),
        ),
        source="Effenberger and Zemann, Z. Kristallogr. 150 (1979) 133",
    ),
    "LiNiO2": _layered(2.8784, 14.1944, 0.2415, lithium="Li", metal="Ni"),
    "NMC622": _layered(
        2.870,
        14.228,
        0.2415,
        lithium={"Li": 0.97, "Ni": 0.03},
        metal={"Ni": 0.57, "Mn": 0.2, "Co": 0.2, "Li": 0.03},
    ),
    "Li-rich-R-3m": _layered(
        2.852, 14.23, 0.2415, lithium={"Li": 0.98, "Ni": 0.02}, metal=_LI_RICH_LAYER
    ),
    "Li-rich-R-3m-charged": _layered(
        2.842, 14.40, 0.2375, lithium={"Li": 0.4, "Ni": 0.02}, metal=_LI_RICH_LAYER
    ),
    "Li2MnO3": CrystalData(
        spacegroup=12,
        cell=(4.937, 8.532, 5.030, 90, 109.46, 90),
        sites=(
            _site("2b", (0, 0.5, 0), "Li"),
            _site("2c", (0, 0, 0.5), "Li"),
            _site("4h", (0, 0.6606, 0.5), "Li"),
            _site("4g", (0, 0.1672, 0), "Mn"),
            _site("4i", (0.2189, 0, 0.2273), "O"),
            _site("8j", (0.2540, 0.3214, 0.2233), "O"),
        ),
        source="Strobel and Lambert-Andron, J. Solid State Chem. 75 (1988) 90",
    ),
    "LiFePO4": CrystalData(
        spacegroup=62,
        cell=(10.332, 6.010, 4.692, 90, 90, 90),
        sites=(
            _site("4a", (0, 0, 0), "Li"),
            _site("4c", (0.28222, 0.25, 0.97472), "Fe"),
            _site("4c", (0.09486, 0.25, 0.41820), "P"),
            _site("4c", (0.09678, 0.25, 0.74279), "O"),
            _site("4c", (0.45710, 0.25, 0.20602), "O"),
            _site("8d", (0.16558, 0.04646, 0.28478), "O"),
        ),
        source="Streltsov, Belokoneva, Tsirelson and Hansen, Acta Cryst. B 49 (1993) 147",
    ),
    "FePO4": CrystalData(
        spacegroup=62,
        cell=(9.8142, 5.7893, 4.7820, 90, 90, 90),
        sites=(
            _site("4c", (0.2753, 0.25, 0.9478), "Fe"),
            _site("4c", (0.0940, 0.25, 0.3950), "P"),
            _site("4c", (0.1215, 0.25, 0.7086), "O"),
            _site("4c", (0.4390, 0.25, 0.1597), "O"),
            _site("8d", (0.1664, 0.0452, 0.2500), "O"),
        ),
    ),
    "LiMn2O4": _spinel(8.2476, 0.2632, tetrahedral="Li", octahedral="Mn"),
    "LT-LiCoO2": _cubic(
        227,
        8.002,
        _site("16c", (0, 0, 0), "Li"),
        _site("16d", (0.5, 0.5, 0.5), "Co"),
        _site("32e", (0.260, 0.260, 0.260), "O"),
        setting=2,
    ),
    "Co3O4": _spinel(8.084, 0.263, tetrahedral="Co", octahedral="Co"),
    "M3O4": _spinel(8.40, 0.263, tetrahedral=_METALS, octahedral=_METALS),
    "Mn3O4": CrystalData(
        spacegroup=141,
        setting=2,
        cell=(5.765, 5.765, 9.442, 90, 90, 90),
        sites=(
            _site("4a", (0, 0.75, 0.125), "Mn"),
            _site("8d", (0, 0.5, 0.5), "Mn"),
            _site("16h", (0, 0.4715, 0.2595), "O"),
        ),
        source="Jarosch, Mineral. Petrol. 37 (1987) 15",
    ),
    "Li7La3Zr2O12": _cubic(
        230,
        12.9827,
        _site("24d", (0.375, 0, 0.25), {"Li": 0.94}),
        _site("96h", (0.0971, 0.6853, 0.5768), {"Li": 0.349}),
        _site("24c", (0.125, 0, 0.25), "La"),
        _site("16a", (0, 0, 0), "Zr"),
        _site("96h", (-0.0318, 0.0546, 0.1501), "O"),
        source="Awaka et al., Chem. Lett. 40 (2011) 60",
    ),
}
"""Every phase by name. M in ``rock-salt`` and ``M3O4`` is Mn.675 Ni.1625 Co.1625."""
