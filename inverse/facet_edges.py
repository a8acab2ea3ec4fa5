"""Edges of the facets of a crystal in every frame of a movie of high-resolution TEM.

Lattice, zone axis and rotation come from the first frames together. The lattice is then followed
through the drift of the specimen, the signals of its columns are taken from every frame, and the
rows of columns that are there along every facet counted, in parts of a row
(`echolith.inverse.facet_outline`). Edges are distances from the particle's middle in the lattice,
so no drift is in them.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.hrtem_acquisition import hrtem_acquisition_of
from echolith.inverse.facet_columns import column_signals
from echolith.inverse.facet_drift import Drift, reflection_sums, tracked
from echolith.inverse.facet_fit import Outlines, fitted_outlines
from echolith.inverse.facet_model import FacetModel, facet_model
from echolith.inverse.lattice import LatticeSearch, recover_lattice
from echolith.outlines import FAMILIES, facet_lengths
from echolith.zone_axes import Zone

Array = npt.NDArray[np.float64]

AT_ONCE = 16
"""Frames in memory."""
SHORTEST = 5.0
"""Å; what is shorter is no facet."""
HELD = 0.8
"""Least part of a facet's columns in the field."""
AT_FIRST = 8
"""Frames that give the middle."""
NOWHERE = 1e6
"""Å, where a facet is that there is not."""
STEP = 0.01
"""Å, of differences."""
LATTICE = ("spacing", "spacing_std", "rotation", "rotation_std", "zone_axis")
FREE = (
    "the drift up to a vector of the lattice, the middle of the particle (where opposite facets of "
    "the first frames are equally far), names of facets up to the symmetry of the zone axis"
)


class Reason(Enum):
    """Why an edge is not determined."""

    NONE = ""
    NO_ELECTRONS = "no electrons"
    NO_LATTICE = "no lattice"
    OUTSIDE = "outside the field"
    NO_FACET = "no such facet, or a short one"


class EdgeTracking(Settings):
    """What is looked for."""

    search: LatticeSearch = LatticeSearch()
    """For the lattice; its ``frame`` is not used."""
    first: Annotated[int, Field(ge=1)] = 8
    """Frames that give the lattice."""
    families: Annotated[tuple[Zone, ...], Field(min_length=1)] = FAMILIES
    """Kinds of facets."""


def recover_edges(measurement: xr.Dataset, *, options: EdgeTracking | None = None) -> xr.Dataset:
    """Follow the facets of a crystal through a movie.

    Parameters
    ----------
    measurement : xarray.Dataset
        As from `echolith.forward.hrtem.hrtem_mean`, drawn; lazy or not.
    options : EdgeTracking, optional

    Returns
    -------
    xarray.Dataset
        ``reason`` (facet, frame): a `Reason`, empty where an edge is told; without a lattice in the
        sum of the first frames that alone, over ``frame``. Else its ``spacing``, ``rotation``
        and ``zone_axis``, as from
        `echolith.inverse.lattice.recover_lattice`; over ``facet`` and ``frame`` (s) ``edge``
        (Å from the middle, half a row beyond the outermost columns; of all frames together, in
        which rows come whole), ``single_edge`` (the same of each frame alone, whose errors share
        nothing) and ``facet_length`` (Å), each with ``_std``, NaN and infinite where not
        determined; ``angle`` (facet; ° of the
        normal from x towards y), ``layer`` (facet; Å, distance of rows), ``middle`` (frame, axis;
        Å from the first pixel) and ``drift`` (frame, axis; Å) with ``_std``. Attribute
        ``undetermined``.

    Raises
    ------
    BadInputError
        If the movie is none, or holds what is no count.
    """
    options = options or EdgeTracking()
    acquisition = hrtem_acquisition_of(measurement)
    counts = _movie(measurement)
    first = _first(counts, options.first)
    if not len(first):
        return _nothing(counts, Reason.NO_ELECTRONS, "no frame holds electrons")
    together = xr.DataArray(first.sum(axis=0)[None], dims=("frame", "y", "x"))
    lattice = recover_lattice(
        xr.Dataset({"counts": together}, attrs=measurement.attrs), options=options.search
    )
    if "rotation" not in lattice:
        return _nothing(counts, Reason.NO_LATTICE, str(lattice.attrs["undetermined"]))
    model = facet_model(first, acquisition=acquisition, lattice=lattice, families=options.families)
    seen = _followed(counts, model)
    known = np.flatnonzero(np.isfinite(seen.drift.shift[:, 0]))
    if not len(known):
        return _nothing(counts, Reason.NO_LATTICE, "no single frame shows the lattice of their sum")
    times = np.asarray(counts["frame"].values, dtype=float)
    outlines = fitted_outlines(seen.signals, times, known, model=model, first=options.first)
    return _reported(lattice, outlines, seen, model, times)


def _movie(measurement: xr.Dataset) -> xr.DataArray:
    counts = measurement.get("counts")
    if counts is None or set(counts.dims) != {"frame", "y", "x"}:
        raise BadInputError("the measurement has no counts (frame, y, x); expected a movie")
    if "frame" not in counts.coords or not (np.diff(counts["frame"].values) > 0).all():
        raise BadInputError("the frames have no times (coordinate 'frame', s) that increase")
    return counts.transpose("frame", "y", "x")


def _first(counts: xr.DataArray, number: int) -> Array:
    """Return the first frames with electrons, (frames, y, x)."""
    found: list[Array] = []
    for n in range(0, counts.sizes["frame"], number):
        images = np.asarray(counts[n : n + number].values, dtype=float)
        found += [image for image in images if image.any()]
        if len(found) >= number:
            break
    return np.array(found[:number])


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What is taken from the frames."""

    drift: Drift
    signals: npt.NDArray[np.float32]
    """(frames, columns); NaN where a column is not in the field."""
    blank: npt.NDArray[np.bool_]
    """Frames without electrons."""


def _followed(counts: xr.DataArray, model: FacetModel) -> _Seen:
    """Return the drift, and the signals of all columns in every frame; a few frames in memory."""
    pixel = model.acquisition.pixel
    times = np.asarray(counts["frame"].values, dtype=float)
    signals = np.full((len(times), len(model.columns)), np.nan, dtype=np.float32)
    blank = np.zeros(len(times), dtype=bool)
    drift = None
    for n in range(0, len(times), AT_ONCE):
        part = slice(n, n + AT_ONCE)
        frames = np.asarray(counts[part].values, dtype=np.float32)
        means = frames.mean(axis=(1, 2), keepdims=True)
        if not np.isfinite(means).all():
            raise BadInputError(
                f"frame {n + int(np.argmin(np.isfinite(means)))} holds pixels that are not finite; "
                "replace them by the mean of their neighbours, or drop the frame"
            )
        frames = frames - means
        blank[part] = means[:, 0, 0] <= 0
        sums = reflection_sums(frames, model.reflections.places, pixel=pixel)
        drift = tracked(sums, times[: n + len(frames)], reflections=model.reflections, before=drift)
        signals[part] = column_signals(
            frames, model.columns, drift.shift[part], model.filtered.table, pixel
        )
    assert drift is not None
    return _Seen(drift=drift, signals=signals, blank=blank)


def _reported(
    lattice: xr.Dataset, outlines: Outlines, seen: _Seen, model: FacetModel, times: Array
) -> xr.Dataset:
    lengths, length_stds = _lengths(outlines, model)
    middle = _middle(outlines, model)
    away = (model.normals @ middle)[:, None]
    edges, single = outlines.edges - away, outlines.single - away
    reasons = np.full(edges.shape, Reason.NONE.value, dtype="<U32")
    reasons[lengths == 0] = Reason.NO_FACET.value
    reasons[outlines.held < HELD] = Reason.OUTSIDE.value
    reasons[np.isnan(edges)] = Reason.NO_LATTICE.value
    reasons[:, seen.blank] = Reason.NO_ELECTRONS.value
    told = reasons == Reason.NONE.value
    drift = seen.drift.shift
    begin = drift[np.isfinite(drift[:, 0])][0]
    # Rows may be known surely, how far they are apart is not.
    scale = float(lattice["spacing_std"] / lattice["spacing"])
    values = {
        "edge": edges,
        "edge_std": np.hypot(outlines.stds, scale * edges),
        "single_edge": single,
        "single_edge_std": np.hypot(outlines.single_stds, scale * single),
        "facet_length": lengths,
        "facet_length_std": np.hypot(length_stds, scale * lengths),
    }
    return xr.Dataset(
        {name: lattice[name] for name in LATTICE}
        | {
            name: (
                ("facet", "frame"),
                np.where(told, one, np.inf if name.endswith("_std") else np.nan),
                {"units": "Å"},
            )
            for name, one in values.items()
        }
        | {
            "reason": (("facet", "frame"), reasons),
            "angle": ("facet", np.degrees(model.angles) % 360, {"units": "°"}),
            "layer": ("facet", model.layers, {"units": "Å"}),
            "middle": (("frame", "axis"), outlines.origin + middle + drift, {"units": "Å"}),
            "drift": (("frame", "axis"), drift - begin, {"units": "Å"}),
            "drift_std": (
                ("frame", "axis"),
                np.nan_to_num(seen.drift.shift_std, nan=np.inf),
                {"units": "Å"},
            ),
        },
        coords={
            "facet": list(model.names),
            "frame": ("frame", times, {"units": "s"}),
            "axis": ["x", "y"],
        },
        attrs={"undetermined": FREE},
    )


def _lengths(outlines: Outlines, model: FacetModel) -> tuple[Array, Array]:
    """Return lengths of facets and their standard deviations, (facets, frames), Å; 0: no facet."""
    lengths, stds = _with_stds(outlines.edges, outlines.stds, model)
    absent = lengths < np.maximum(SHORTEST, 2 * stds)
    # What may be no facet may cut its neighbours short, or not: they are somewhere between.
    without, more = _with_stds(np.where(absent, NOWHERE, outlines.edges), outlines.stds, model)
    both = np.sqrt((stds**2 + more**2) / 2 + (without - lengths) ** 2 / 12)
    return np.where(absent, 0, (lengths + without) / 2), both


def _with_stds(edges: Array, edge_stds: Array, model: FacetModel) -> tuple[Array, Array]:
    angles = np.degrees(model.angles)
    lengths = facet_lengths(angles, edges)
    variance = np.zeros_like(lengths)
    for n, std in enumerate(edge_stds):
        moved = edges.copy()
        moved[n] += STEP
        variance += ((facet_lengths(angles, moved) - lengths) / STEP * std) ** 2
    return lengths, np.sqrt(variance)


def _middle(outlines: Outlines, model: FacetModel) -> Array:
    """Return x, y (Å) from which opposite facets of the first frames are equally far."""
    first = np.flatnonzero(np.isfinite(outlines.edges[0]))[:AT_FIRST]
    edges = outlines.edges[:, first].mean(axis=1)
    opposite = np.argmin(model.normals @ model.normals.T, axis=1)
    there = np.all(_lengths(outlines, model)[0][:, first] > 0, axis=1)
    both = there & there[opposite]
    if np.linalg.matrix_rank(model.normals[both]) < 2:
        both[:] = True
    apart = (edges - edges[opposite])[both]
    return np.asarray(np.linalg.lstsq(2 * model.normals[both], apart, rcond=None)[0])


def _nothing(counts: xr.DataArray, reason: Reason, why: str) -> xr.Dataset:
    return xr.Dataset(
        {"reason": ("frame", np.full(counts.sizes["frame"], reason.value))},
        coords={"frame": counts["frame"]},
        attrs={"undetermined": f"every edge: {why}"},
    )
