"""Which phase a reconstructed surface is, and how deep it goes, by likelihood of what columns hold.

Seen along [010] of the layered oxide, spinels make full and half columns of M in turn, half and
empty ones of Li, and on every second pair of tetrahedral columns a half: empty in LT-LiCoO2, of
lithium in LiMn2O4, of metals in Mn3O4. Disordered rock salt has half metals, half lithium on M and
Li alike. A column at depth t holds the mixture with share ``f(t) = erfc((t - d)/(sqrt(2) w))/2``.
Phase, register, d and w are weighed on a grid by their likelihood given the phase and the dark
field of every column, with the binomial scatter of a mixture.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.special import logsumexp, ndtr

from echolith.forward.acquisition import Settings
from echolith.inverse.column_composition import mean_fraction
from echolith.inverse.column_response import DARK_LITHIUM, LITHIUM, METAL
from echolith.inverse.surface_kinds import CONTENTS, UNDETERMINED, Surface
from echolith.inverse.surface_segmentation import surely_bulk
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]

LARGEST = 25.0
"""Largest squared deviation, in variances, that one signal counts: an outlier decides nothing."""


class PhaseOptions(Settings):
    """Options of the classification."""

    sites: Annotated[int, Field(ge=1)] = 7
    """Along a column; says how far a mixture scatters."""
    nominal: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of metals on M in the bulk."""
    probability: Annotated[float, Field(gt=0.5, lt=1)] = 0.9
    """Below this the phase cannot be told."""
    least_depth: Annotated[Angstrom, Field(gt=0)] = 4.0
    """Shallower layers are not looked for."""
    widths: tuple[Annotated[Angstrom, Field(gt=0)], ...] = (0.5, 1.0, 2.0, 3.0, 5.0)
    step: Annotated[Angstrom, Field(gt=0)] = 0.25
    vacancy_scatter: Annotated[float, Field(ge=0)] = 0.03
    """Of the share of lithium among what is not metal, from column to column of one layer.
    Vacancies drawn at random in a charged crystal scatter by 0.15."""
    depth_error: Annotated[Angstrom, Field(ge=0)] = 0.7
    """Of the depth, beyond what the likelihood says: errors of the response that columns share."""
    temperature: Annotated[float, Field(ge=1)] = 3.0
    """By which log likelihoods are divided: columns share errors of the model."""


def classify_surface(
    composition: xr.Dataset, *, edge_std: float = 0.0, options: PhaseOptions | None = None
) -> xr.Dataset:
    """Weigh the phases of a surface and the depth of the layer.

    Parameters
    ----------
    composition : xarray.Dataset
        From `measure_composition`, with ``depth`` (Å) over ``column``.
    edge_std : float
        Of the edge from which depth is counted, Å.
    options : PhaseOptions, optional

    Returns
    -------
    xarray.Dataset
        ``probability`` (candidate); ``surface_phase``, "cannot tell" where none is probable enough;
        ``surface_depth``, ``surface_width`` with std (Å; left out where the surface is layered
        or cannot be told), ``tetrahedral_occupancy``, ``tm_in_surface_alkali_layer`` with std
        (likewise, or where the layer holds no such column), and ``surface`` (column).
        ``attrs["undetermined"]`` names what is left out and why.
    """
    options = options or PhaseOptions()
    depth = composition["depth"].values
    grid = np.arange(options.least_depth, max(float(depth.max()) - 2.0, 5.0), options.step)
    likelihood = _Likelihood(
        groups=_prepared(composition, options),
        height=composition.attrs["response_height"],
        theta=composition.attrs["response_angle"],
        relative=(composition.attrs["phase_relative"], composition.attrs["dark_relative"]),
        options=options,
    )
    tables = {Surface.LAYERED: np.array([likelihood.of(None)])}
    for phase in CONTENTS:
        table = [
            [[likelihood.of(phase, parity, d, w) for d in grid] for w in options.widths]
            for parity in (0, 1)
        ]
        tables[phase] = np.array(table)
    evidence = {
        phase: float(logsumexp(table) - np.log(table.size)) for phase, table in tables.items()
    }
    total = logsumexp(list(evidence.values()))
    probability = np.array([np.exp(evidence[phase] - total) for phase in Surface])
    best = list(Surface)[int(probability.argmax())]
    told = bool(probability.max() >= options.probability)
    result = xr.Dataset(
        {
            "probability": ("candidate", probability, {"units": "1"}),
            "surface_phase": ((), best.value if told else UNDETERMINED),
        },
        coords={"candidate": [phase.value for phase in Surface]},
    )
    if not told or best is Surface.LAYERED:
        reason = "no phase is probable enough" if not told else "the surface is layered"
        nothing = np.zeros(len(depth), dtype=bool)
        return result.assign(surface=("column", nothing)).assign_attrs(
            undetermined=f"surface_depth, surface_width, tetrahedral_occupancy: {reason}"
        )
    weight = np.exp(tables[best] - logsumexp(tables[best]))
    middle, spread = _moments(weight.sum(axis=(0, 1)), grid)
    off = [spread, edge_std, options.depth_error]
    width, width_std = _moments(weight.sum(axis=(0, 2)), np.array(options.widths))
    result = result.assign(
        surface_depth=((), middle, {"units": "Å"}),
        surface_depth_std=((), float(np.linalg.norm(off)), {"units": "Å"}),
        surface_width=((), width, {"units": "Å"}),
        surface_width_std=((), width_std, {"units": "Å"}),
        surface=("column", depth < middle),
    )
    return result.assign(occupancies(composition, result)).assign_attrs(undetermined="")


def _moments(weight: Array, values: Array) -> tuple[float, float]:
    weight = weight / weight.sum()
    mean = float(weight @ values)
    step = float(np.diff(values).min())
    return mean, float(np.sqrt(weight @ (values - mean) ** 2 + step**2 / 12))


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """What the columns of one kind show, and what they hold in the bulk."""

    kind: str
    parity: npt.NDArray[np.intp]
    depth: Array
    found: Array
    std: Array
    bulk: Array


def _prepared(composition: xr.Dataset, options: PhaseOptions) -> list[_Columns]:
    kind = composition["species"].values
    groups = []
    for name in ("M", "Li", "T"):
        mine = kind == name
        pairs = ("strength", "haadf_fraction")
        groups.append(
            _Columns(
                kind=name,
                parity=composition["lattice_i"].values[mine] % 2,
                depth=composition["depth"].values[mine],
                found=np.stack([composition[n].values[mine] for n in pairs]),
                std=np.stack([composition[f"{n}_std"].values[mine] for n in pairs]),
                bulk=np.array(_bulk(name, composition, options)),
            )
        )
    return [group for group in groups if len(group.depth)]


@dataclass(frozen=True, kw_only=True)
class _Likelihood:
    """Logarithm of the likelihood of all signals, tempered."""

    groups: list[_Columns]
    height: float
    theta: float
    relative: tuple[float, float]
    options: PhaseOptions

    def of(
        self, phase: Surface | None, parity: int = 0, depth: float = 0.0, width: float = 1.0
    ) -> float:
        """Return it for a phase in one of its registers; None is the layered crystal."""
        total = 0.0
        for group in self.groups:
            f = ndtr((depth - group.depth) / width)[:, None] * (phase is not None)
            layer = group.bulk[None]
            if phase is not None:
                layer = np.array(CONTENTS[phase][group.kind])[(group.parity + parity) % 2]
            tm, li = (f * layer + (1 - f) * group.bulk).T
            variance = _scatter(f[:, 0], layer[:, 0], float(group.bulk[0]), phase)
            variance = variance / self.options.sites
            total += self._misfit(group, tm, li, variance)
        return -total / 2 / self.options.temperature

    def _misfit(self, group: _Columns, tm: Array, li: Array, variance: Array) -> float:
        argument = np.minimum(self.theta * (METAL * tm + LITHIUM * li), np.pi / 2)
        slope = self.height * self.theta * np.cos(argument) * METAL
        expected = np.stack([self.height * np.sin(argument), tm + DARK_LITHIUM * li])
        relative = np.stack(
            [r * part for r, part in zip(self.relative, (expected[0], tm), strict=True)]
        )
        spread = group.std**2 + relative**2 + np.stack([slope**2 * variance, variance])
        square = np.minimum((group.found - expected) ** 2 / spread, LARGEST)
        return float((square + np.log(spread / group.std**2)).sum())


def _scatter(share: Array, layer: Array, bulk: float, phase: Surface | None) -> Array:
    """Return the variance of the metals on a site.

    Sites are drawn of layer or bulk; in the bulk and in rock salt metals and lithium are drawn.
    """
    mixed = share * (1 - share) * (layer - bulk) ** 2
    drawn = (1 - share) * bulk * (1 - bulk)
    if phase is Surface.ROCK_SALT_DISORDERED:
        drawn = drawn + share * layer * (1 - layer)
    return np.asarray(mixed + drawn)


def _bulk(name: str, composition: xr.Dataset, options: PhaseOptions) -> tuple[float, float]:
    """Metals and lithium of a column of the bulk; the alkali layer's as its deepest columns."""
    if name == "M":
        return options.nominal, 1 - options.nominal
    if name == "T":
        return 0.0, 0.0
    deep = (composition["species"].values == "Li") & surely_bulk(composition["depth"].values)
    if not deep.any():
        return 0.0, 1.0
    tm, li = (float(np.mean(composition[n].values[deep])) for n in ("tm_fraction", "li_fraction"))
    return min(max(tm, 0.0), 0.3), min(max(li, 0.0), 1.0)


def occupancies(composition: xr.Dataset, surface: xr.Dataset) -> dict[str, Any]:
    """Return what the sites of a surface layer hold in the mean, with std.

    Parameters
    ----------
    composition : xarray.Dataset
        From `measure_composition`.
    surface : xarray.Dataset
        From `classify_surface`, of the same columns.

    Returns
    -------
    dict
        ``tm_in_surface_alkali_layer`` and ``tetrahedral_occupancy``, without what the layer has no
        column of; {} where the surface is layered or cannot be told.
    """
    if "surface_depth" not in surface:
        return {}
    depth, std = (float(surface[f"surface_depth{ending}"]) for ending in ("", "_std"))
    found = _within(composition, surface, depth)
    # Which columns belong to the layer is as uncertain as its depth.
    ends = [_within(composition, surface, depth + sign * std) for sign in (1, -1)]
    for name in ("tm_in_surface_alkali_layer", "tetrahedral_occupancy"):
        if name in found and all(name in end for end in ends):
            moved = abs(float(ends[0][name][1]) - float(ends[1][name][1])) / 2
            own = float(found[f"{name}_std"][1])
            found[f"{name}_std"] = ((), float(np.hypot(own, moved)), {"units": "1"})
    return found


def _within(composition: xr.Dataset, surface: xr.Dataset, depth: float) -> dict[str, Any]:
    """Mean contents of the sites of a layer of this depth."""
    kind, inside = composition["species"].values, composition["depth"].values < depth
    result: dict[str, Any] = {}
    alkali, holes = inside & (kind == "Li"), inside & (kind == "T")
    if alkali.any():
        result |= mean_fraction(composition, alkali, "tm_in_surface_alkali_layer")
    if holes.any() and str(surface["surface_phase"].values) == Surface.MN3O4.value:
        result |= mean_fraction(composition, holes, "tetrahedral_occupancy")
    elif holes.any():
        # Lithium, or none: the dark field hardly shows it, and what is not metal is read as that.
        # The offset's error is common to all of them: it does not average out.
        for ending in ("", "_std"):
            mean = float(composition[f"scattering{ending}"].values[holes].mean()) / LITHIUM
            result[f"tetrahedral_occupancy{ending}"] = ((), mean, {"units": "1"})
    return result
