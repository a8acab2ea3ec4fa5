"""The information of several exposures about how a surface layer grows.

With one seed a deeper layer converts the same sites and more, so that what columns hold scatters
alike in all exposures: the growth is known better than the depths one by one. A site is converted
by exposure a with probability p_a; by the time it is, it holds the layer's content, before that the
bulk's. Of exposures a before b the covariance of one site's metals is
``p_a E[x²] + (p_b - p_a) E[x] E[y] + (1 - p_b) E[y²] - E[c_a] E[c_b]``, with x of the layer and y
of the bulk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import ndtr

from echolith.forward.acquisition import StemAcquisition
from echolith.forward.column_information import column_information, crystal_waves
from echolith.forward.simulation import Simulation
from echolith.inverse.column_response import LITHIUM, METAL
from echolith.inverse.surface_kinds import Surface
from echolith.protocols import Noise
from echolith.structures.projected_cell import ProjectedParameters
from echolith.validation.column_bound import NOTES
from echolith.validation.information import Information
from echolith.validation.surface_bound import (
    STEP,
    Layer,
    composed_cell,
    content_bounds,
    groups_of,
    mean_content,
    parity_of,
)

Array = npt.NDArray[np.float64]
KEYS = ("species", "lattice_i", "lattice_j", "sign")


def damage_information(
    exposures: Mapping[str, xr.Dataset],
    layers: Sequence[Layer],
    *,
    parameters: ProjectedParameters,
    thickness: float,
    acquisition: StemAcquisition,
    simulation: Simulation,
    noise: Noise,
) -> Information:
    """Return the information about the depths of a layer in several exposures, and its contrast.

    Parameters
    ----------
    exposures : mapping
        For each exposure the columns as from `true_surface`.
    layers : sequence of Layer
        Of each exposure; of one phase and width.
    parameters : ProjectedParameters
        Of the bulk.
    thickness : float
        Å.
    acquisition : StemAcquisition
        Of one exposure.
    simulation : Simulation
    noise : Noise

    Returns
    -------
    Information
        Parameters ``surface_depth(<exposure>)``, ``surface_width`` (Å) and
        ``alkali_scattering(<exposure>)`` (Å); quantities ``growth`` and ``alkali_contrast``.
    """
    cell, labels = composed_cell(parameters, thickness=thickness)
    waves = crystal_waves(cell, groups_of(labels), acquisition=acquisition, simulation=simulation)
    known = column_information(waves, acquisition=acquisition, noise=noise)
    std = content_bounds(known, labels)
    columns = common_columns(list(exposures.values()))
    variance = np.array([std[str(name)] ** 2 for name in columns[0]["species"].values])
    names = (
        *(f"surface_depth({name})" for name in exposures),
        "surface_width",
        *(f"alkali_scattering({name})" for name in exposures),
    )
    n = len(layers)
    matrix = np.zeros((2 * n + 1, 2 * n + 1))
    matrix[: n + 1, : n + 1] = growth_information(columns, layers, variance)
    w = np.array([alkali_scattering(one) for one in exposures.values()])
    alkali = int((columns[0]["species"].values == "Li").sum())
    # Metals replace lithium there, and the dark field tells that as well as the phase.
    of_mean = alkali / (std["Li"] * (METAL - LITHIUM)) ** 2
    matrix[n + 1 :, n + 1 :] = of_mean * np.eye(n)
    growth, contrast = np.zeros((2, 2 * n + 1))
    growth[[0, n - 1]] = -1, 1
    contrast[[n + 1, -1]] = -w[-1] / w[0] ** 2, 1 / w[0]
    return Information(
        names=names,
        matrix=matrix,
        gradients={"growth": growth[None], "alkali_contrast": contrast[None]},
        units=dict.fromkeys(names, "Å") | {"growth": "Å"},
        notes=(
            *NOTES,
            "Contents are expanded about the layered crystal; errors of neighbouring columns are "
            "taken as independent, and so are those of exposures.",
            "Growth: phase and register known, one width in all exposures, the field the same; "
            "what columns hold scatters about the mean as drawn, and alike in all exposures. "
            "Contrast: no lithium is missing from the alkali layers.",
        ),
    )


def common_columns(exposures: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """Return the columns that all exposures hold, in one order."""
    rows = [
        {key: n for n, key in enumerate(zip(*(one[k].values.tolist() for k in KEYS), strict=True))}
        for one in exposures
    ]
    shared = [key for key in rows[0] if all(key in other for other in rows[1:])]
    return [
        one.isel(column=[row[key] for key in shared])
        for one, row in zip(exposures, rows, strict=True)
    ]


def growth_information(
    columns: Sequence[xr.Dataset], layers: Sequence[Layer], variance: Array
) -> Array:
    """Return the information about all depths and the common width, (n + 1, n + 1), 1/Å².

    Parameters
    ----------
    columns : sequence of xarray.Dataset
        The same columns in each exposure.
    layers : sequence of Layer
    variance : array, (column,)
        Of the share of metals that one exposure tells of a column.
    """
    n, parity = len(layers), parity_of(columns[-1], layers[-1])
    slopes = np.zeros((len(variance), n, n + 1))
    for a, (one, layer) in enumerate(zip(columns, layers, strict=True)):
        for place, name in ((a, "depth"), (n, "width")):
            at = getattr(layer, name)
            step = min(STEP, at / 2) if at else STEP
            ends = [
                mean_content(one, replace(layer, **{name: at + sign * step}), parity)[0]
                for sign in (1, -1)
            ]
            slopes[:, a, place] = (ends[0] - ends[1]) / (2 * step)
    drawn = drawn_covariance(columns, layers, parity)
    covariance = drawn + variance[:, None, None] * np.eye(n)
    return np.asarray(np.einsum("kai,kaj->ij", slopes, np.linalg.solve(covariance, slopes)))


def drawn_covariance(columns: Sequence[xr.Dataset], layers: Sequence[Layer], parity: int) -> Array:
    """Return how what columns hold scatters together in all exposures, (column, n, n)."""
    layer, first = layers[0], columns[0]
    means = np.stack(
        [mean_content(c, one, parity)[0] for c, one in zip(columns, layers, strict=True)], axis=1
    )
    species = first["species"].values
    bulk = np.where(species == "M", layer.nominal, 0.0)
    whole = mean_content(first, replace(layer, depth=1e6), parity)[0]
    drawn = layer.phase is Surface.ROCK_SALT_DISORDERED
    # Rock salt draws metals site by site; of ordered phases a column's share is as it is.
    square = np.where(drawn & (species != "T"), whole, whole**2)
    share = np.stack(
        [
            ndtr((s.depth - c["depth"].values) / s.width)
            for c, s in zip(columns, layers, strict=True)
        ],
        axis=1,
    )
    early, late = np.minimum(*_pairs(share)), np.maximum(*_pairs(share))
    both = early * square[:, None, None] + (1 - late) * bulk[:, None, None]
    both = both + (late - early) * (whole * bulk)[:, None, None]
    product = means[:, :, None] * means[:, None, :]
    return np.asarray((both - product) / first["n_sites"].values[:, None, None])


def _pairs(share: Array) -> tuple[Array, Array]:
    return np.broadcast_arrays(share[:, :, None], share[:, None, :])  # type: ignore[return-value]


def alkali_scattering(surface: xr.Dataset) -> float:
    """Return what a site of the alkali layers scatters in the mean, Å; columns as from a truth."""
    alkali = surface["species"].values == "Li"
    metal, nothing = (surface[name].values[alkali] for name in ("tm_fraction", "vacancy"))
    return float((METAL * metal + LITHIUM * (1 - metal - nothing)).mean())
