"""Transition metals and lithium on every cation column, from its phase and its dark field.

How signals follow from contents is in `column_response`, how contents follow from signals in
`column_shares`; here both get their scales from the data. The dark field is zero on the empty
tetrahedral columns farthest from the surface; oxygen columns set its scale, since all are alike,
and M columns as far as they are exact: static ones of equal content differ by 0.28 with the order
of metals and lithium along the beam. Neighbours leave another zero on the alkali layer than on the
tetrahedral columns: it is unknown within ``zero_error`` and common to the layer. Assumed: one
thickness for all columns, no vacancy in oxygen. Beyond the maximum of the phase the dark field
alone decides.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.column_response import DARK_OXYGEN, LITHIUM, METAL, Scale, response
from echolith.inverse.column_shares import Expected, Signals, fitted_shares
from echolith.inverse.filled_sites import sites_filled

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

TURNS = 3
"""Of taking the metals of the alkali layer off the M columns."""


class CompositionOptions(Settings):
    """What is assumed of the specimen, and how exact the model is.

    Errors are those of noise-free multislice data of static specimens 20 Å thick.
    """

    nominal: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Mean share of transition metals on M columns and the alkali layer beside them; lithium is on
    the rest of M."""
    sites: Annotated[int, Field(ge=1)] = 7
    """Along a column; says how far the content of M columns scatters."""
    phase_error: Annotated[float, Field(ge=0)] = 0.015
    """Of the response, relative to an oxygen column."""
    haadf_error: Annotated[float, Field(ge=0)] = 0.005
    """Of the dark field, relative to a column full of metals."""
    proportional_error: Annotated[float, Field(ge=0)] = 0.045
    """Of the phase, relative to the value: order of the atoms along the beam."""
    order_error: Annotated[float, Field(ge=0)] = 0.28
    """Of the dark field, relative to the value: likewise, and larger, since it is coherent."""
    alike_error: Annotated[float, Field(ge=0)] = 0.2
    """Likewise, common to the alkali layer: order makes columns darker, disorder brighter."""
    scale_error: Annotated[float, Field(ge=0)] = 0.05
    """Of the scale of the dark field by oxygen, relative."""
    common_error: Annotated[float, Field(ge=0)] = 0.07
    """Of shares of metals, relative: what all columns have in common of the response's errors."""
    zero_error: Annotated[float, Field(ge=0)] = 0.004
    """Of the dark field's zero on the alkali layer, relative to a column full of metals."""
    response_error: Annotated[float, Field(ge=0)] = 0.05
    """Of the shape of the phase's response between nothing and oxygen, where it is exact: as
    ``s (1 - s / s_oxygen)``. Common to the layer."""
    mean_error: Annotated[float, Field(ge=0)] = 0.003
    """Of the mean share of metals in a layer, which all its columns share."""


@dataclass(frozen=True, kw_only=True)
class _References:
    """Columns that set the scales, and their signals above the zero."""

    strength: Array
    bright: Array
    zero: float
    oxygens: Flags
    metals: Flags
    options: CompositionOptions

    @property
    def oxygen(self) -> float:
        """Phase of an oxygen column."""
        return float(np.median(self.strength[self.oxygens]))

    def scale(self, nominal: float) -> Scale:
        """Return the scales where M columns hold this share of metals in the mean."""
        options = self.options
        metal = float(self.strength[self.metals].mean())
        height, theta = response(self.oxygen, metal, nominal, sites=options.sites)
        full = self._full(nominal)
        if not full > 0:
            raise BadInputError("M columns are not bright in the dark field; check haadf")
        return Scale(height=height, theta=theta, zero=self.zero, full=full)

    def _full(self, nominal: float) -> float:
        """Return the brightness of a column full of metals, by oxygen and by M."""
        by_oxygen = float(self.bright[self.oxygens].mean()) / DARK_OXYGEN
        by_metals = float(self.bright[self.metals].mean()) / nominal
        drawn = (1 - nominal) / nominal / self.options.sites
        of_metals = (self.options.order_error**2 + drawn) / self.metals.sum()
        weights = 1 / np.array([max(self.options.scale_error, 1e-6) ** 2, of_metals])
        return float(weights @ [by_oxygen, by_metals] / weights.sum())


def measure_composition(
    sites: xr.Dataset,
    *,
    bulk: Flags | None = None,
    expected: Expected | None = None,
    options: CompositionOptions | None = None,
) -> xr.Dataset:
    """Measure what cation columns hold, by least squares with the full covariance of both signals.

    Parameters
    ----------
    sites : xarray.Dataset
        From `fit_sites`, with ``brightness``.
    bulk : array of bool, optional
        Columns that are surely layered, where M holds the nominal share and tetrahedral sites are
        empty; all by default.
    expected : Expected, optional
        What is assumed of the columns of the result, in their order; by default next to nothing but
        on M, where lithium fills what metals leave.
    options : CompositionOptions, optional

    Returns
    -------
    xarray.Dataset
        Over ``column`` (cation columns in the crystal, away from the border): ``x``, ``y``,
        ``species`` ("M", "Li", "T"), ``sign``, ``lattice_i``, ``lattice_j``, ``tm_fraction``,
        ``li_fraction`` with ``<name>_std`` and ``tm_covariance``; ``scattering`` and
        ``scattering_std`` (w, Å; the largest that can be told, and as much for its std, where the
        phase is saturated). ``strength`` and ``haadf_fraction`` with std, to which
        ``attrs["phase_relative"]`` and ``attrs["dark_relative"]`` of what is expected come. Scalars
        ``tm_in_alkali_layer`` and ``alkali_scattering`` (Å: mean w of its sites) with std.

    Raises
    ------
    BadInputError
        If there is no dark field, or too few oxygen or M columns to calibrate.
    """
    options = options or CompositionOptions()
    bulk = np.ones(sites.sizes["column"], dtype=bool) if bulk is None else bulk
    references, present = _references(sites, bulk, options)
    kind = sites["site"].values
    chosen = np.flatnonzero(present & (kind != "O"))
    kinds = kind[chosen]
    offset = float(np.median(sites["strength"].values[present & bulk & (kind == "T")]))
    expected = expected or hardly_expected(kinds, options.nominal)
    deep = bulk[chosen] & (kinds == "Li")
    moved = 0.0
    for _ in range(TURNS):
        scale = references.scale(options.nominal - moved)
        signals = _signals(sites, chosen, scale, references, offset)
        share, covariance = fitted_shares(signals, scale, expected)
        found = float(share[: len(chosen)][deep].mean()) if deep.any() else 0.0
        moved = min(max(found, 0.0), options.nominal / 2)
    return _described(sites, chosen, signals, scale, share, covariance, options)


def hardly_expected(kinds: npt.NDArray[np.str_], nominal: float) -> Expected:
    """Lithium fills M up, which metals fill by half or more; else anything is alike."""
    metal = kinds == "M"
    return Expected(
        tm=np.where(metal, nominal, 0.0),
        tm_std=np.where(metal, 0.25, np.inf),
        filling=np.where(metal, 1.0, 0.5),
        filling_std=np.where(metal, 0.1, 0.3),
        shared=0.5 * np.stack([kinds == "Li", kinds == "T"]).astype(float),
    )


def _references(
    sites: xr.Dataset, bulk: Flags, options: CompositionOptions
) -> tuple[_References, Flags]:
    """Return what sets the scales, and which sites are inside the crystal and the field."""
    if "brightness" not in sites:
        raise BadInputError(
            "sites without brightness; composition needs the simultaneous annular dark field; "
            "record haadf"
        )
    present = ~sites["edge"].values & sites["crystal"].values & sites_filled(sites)
    kind, brightness = sites["site"].values, sites["brightness"].values
    oxygens, metals = present & (kind == "O"), present & bulk & (kind == "M")
    empty = present & bulk & (kind == "T")
    if oxygens.sum() < 4 or metals.sum() < 3 or empty.sum() < 3:
        raise BadInputError(
            f"{int(oxygens.sum())} oxygen, {int(metals.sum())} M and {int(empty.sum())} "
            "tetrahedral columns away from the border; expected 4, 3 and 3 or more to calibrate "
            "by; scan a larger field"
        )
    zero = float(np.median(brightness[empty]))
    references = _References(
        strength=sites["strength"].values,
        bright=brightness - zero,
        zero=zero,
        oxygens=oxygens,
        metals=metals,
        options=options,
    )
    return references, present


def _signals(
    sites: xr.Dataset,
    chosen: npt.NDArray[np.intp],
    scale: Scale,
    references: _References,
    offset: float,
) -> Signals:
    options, kinds = references.options, sites["site"].values[chosen]
    hole, alkali, n = kinds == "T", kinds == "Li", len(chosen)
    # Ripples of bright neighbours leave an offset on an empty tetrahedral column of the bulk; in a
    # surface it lies between that and nothing: half of it is taken, the other half is the error.
    phase_covariance = _block(sites, "strength_covariance", chosen)
    phase_covariance += np.diag(
        (options.phase_error * references.oxygen) ** 2 + hole * (offset / 2) ** 2
    )
    dark_covariance = _block(sites, "brightness_covariance", chosen) / scale.full**2
    dark_covariance += options.haadf_error**2 * np.eye(n)
    dark_covariance += options.zero_error**2 * np.outer(alkali, alkali)
    return Signals(
        phase=references.strength[chosen] - np.where(hole, offset / 2, 0.0),
        dark=references.bright[chosen] / scale.full,
        phase_covariance=phase_covariance,
        dark_covariance=dark_covariance,
        phase_relative=options.proportional_error,
        dark_relative=options.order_error,
        dark_shared=options.alike_error,
        alkali=alkali,
        shape=options.response_error,
        oxygen=references.oxygen,
    )


def _described(
    sites: xr.Dataset,
    chosen: npt.NDArray[np.intp],
    signals: Signals,
    scale: Scale,
    share: Array,
    covariance: Array,
    options: CompositionOptions,
) -> xr.Dataset:
    n = len(chosen)
    # What is not certain about the scale, and about the layer as a whole, is common to all columns.
    common = np.append(options.common_error * share[:n], np.zeros(n))
    covariance = covariance + np.outer(common, common)
    std = np.sqrt(np.diag(covariance))
    phase_std, dark_std = (
        np.sqrt(np.diag(block)) for block in (signals.phase_covariance, signals.dark_covariance)
    )
    relative = signals.phase_relative
    w, w_std = scale.inverted(signals.phase, np.hypot(phase_std, relative * signals.phase))
    variables: dict[str, Any] = {
        name: ("column", sites[name].values[chosen], sites[name].attrs)
        for name in ("x", "y", "sign", "lattice_i", "lattice_j")
    }
    kinds = sites["site"].values[chosen]
    variables |= {
        "species": ("column", kinds),
        "tm_fraction": ("column", share[:n], {"units": "1"}),
        "tm_fraction_std": ("column", std[:n], {"units": "1"}),
        "li_fraction": ("column", share[n:], {"units": "1"}),
        "li_fraction_std": ("column", std[n:], {"units": "1"}),
        "tm_covariance": (("column", "column_"), covariance[:n, :n], {"units": "1"}),
        "strength": ("column", signals.phase, {"units": "rad Å²"}),
        "strength_std": ("column", phase_std, {"units": "rad Å²"}),
        "scattering": ("column", w, {"units": "Å"}),
        "scattering_std": ("column", w_std, {"units": "Å"}),
        "haadf_fraction": ("column", signals.dark, {"units": "1"}),
        "haadf_fraction_std": ("column", dark_std, {"units": "1"}),
    }
    attrs = {
        "response_height": scale.height,
        "response_angle": scale.theta,
        "phase_relative": relative,
        "dark_relative": signals.dark_relative,
        "mean_error": options.mean_error,
    }
    result = xr.Dataset(variables, attrs=attrs)
    result = result.assign(_mean_scattering(kinds == "Li", share, covariance))
    return result.assign(mean_fraction(result, kinds == "Li", "tm_in_alkali_layer"))


def _mean_scattering(alkali: Flags, share: Array, covariance: Array) -> dict[str, Any]:
    """Return what the alkali layer's sites scatter in the mean, {} without such a column.

    The phase tells this sum better than its parts, which the covariance knows.
    """
    if not alkali.any():
        return {}
    weights = np.concatenate([METAL * alkali, LITHIUM * alkali]) / alkali.sum()
    std = float(np.sqrt(weights @ covariance @ weights))
    return {
        "alkali_scattering": ((), float(weights @ share), {"units": "Å"}),
        "alkali_scattering_std": ((), std, {"units": "Å"}),
    }


def mean_fraction(
    composition: xr.Dataset, chosen: npt.NDArray[np.bool_], name: str
) -> dict[str, Any]:
    """Return the mean share of metals on some columns with its std, {} without a column."""
    n = int(chosen.sum())
    if not n:
        return {}
    covariance = composition["tm_covariance"].values[np.ix_(chosen, chosen)]
    mean = float(composition["tm_fraction"].values[chosen].mean())
    # The model's own error is common to all columns of a layer: it does not average out.
    common = composition.attrs["mean_error"]
    std = float(np.sqrt(covariance.sum() / n**2 + common**2))
    return {name: ((), mean, {"units": "1"}), f"{name}_std": ((), std, {"units": "1"})}


def _block(sites: xr.Dataset, name: str, chosen: npt.NDArray[np.intp]) -> Array:
    return np.asarray(sites[name].values[np.ix_(chosen, chosen)], dtype=float)
