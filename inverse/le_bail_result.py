"""What an extraction of line intensities says: cells, profile, lines, and which overlap."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.forward.structure_factors import spacing
from echolith.inverse.le_bail_model import FreeLines
from echolith.inverse.powder_fit import Fit
from echolith.inverse.powder_lines import COLUMNS
from echolith.inverse.powder_model import PatternModel
from echolith.inverse.powder_parameters import CELL_NAMES, cell_of, free_cell
from echolith.inverse.powder_result import agreement_factors, covariance_of

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

APART = 0.5
"""Full widths; lines nearer than this are of one cluster."""


def extraction_result(model: FreeLines, counts: Array, found: Fit) -> xr.Dataset:
    """Return the estimate of `echolith.inverse.le_bail.le_bail`."""
    pattern = model.pattern
    own = len(found.vector) - model.count
    known = np.diag(found.information) > 0
    agreement = agreement_factors(counts, found.mean, parameters=int(known.sum()))
    covariance = covariance_of(found.information, known) * max(agreement["chi_squared"], 1.0)
    std = np.where(known, np.sqrt(np.diag(covariance)), np.inf)
    names = list(pattern.names) + list(
        pattern.all_names[len(pattern.names) + len(pattern.phases) :]
    )
    chosen = [pattern.all_names.index(name) for name in names]
    result = xr.Dataset(
        {
            "parameters": ("parameter", found.vector[chosen]),
            "parameters_std": ("parameter", std[chosen]),
            "calculated": ("two_theta", found.mean, {"units": "photons"}),
            "background": (
                "two_theta",
                pattern.polynomials @ found.vector[own - pattern.background : own],
                {"units": "photons"},
            ),
            **{name: ((), value, {"units": "1"}) for name, value in agreement.items()},
        },
        coords={
            "parameter": names,
            "two_theta": ("two_theta", pattern.angles, {"units": "°"}),
            "phase": [lines.part.phase.name for lines in pattern.phases],
            "axis": list(CELL_NAMES[:3]),
            "angle": list(CELL_NAMES[3:]),
        },
        attrs={"converged": int(found.converged)},
    )
    return result.assign(_cells(pattern, found.vector, std)).merge(
        _lines(model, found.vector, covariance, known)
    )


def _cells(pattern: PatternModel, vector: Array, std: Array) -> dict[str, xr.DataArray]:
    values = pattern.values(vector[: len(pattern.all_names)])
    spread = dict(zip(pattern.all_names, std.tolist(), strict=False))
    cells, uncertain = [], []
    for lines in pattern.phases:
        phase = lines.part.phase
        free = free_cell(phase)
        follows = {name: name if name in free else "a" for name in CELL_NAMES[:3]}
        follows |= {name: name for name in CELL_NAMES[3:]}
        cells.append(cell_of(phase, values))
        uncertain.append([spread.get(f"{phase.name}.{follows[n]}", 0.0) for n in CELL_NAMES])
    both = {"": np.array(cells), "_std": np.array(uncertain)}
    return {
        f"{name}{mark}": xr.DataArray(table[:, part], dims=("phase", axis), attrs={"units": unit})
        for mark, table in both.items()
        for name, axis, part, unit in (
            ("cell_length", "axis", slice(0, 3), "Å"),
            ("cell_angle", "angle", slice(3, 6), "°"),
        )
    }


def _lines(model: FreeLines, vector: Array, covariance: Array, known: Mask) -> xr.Dataset:
    """Return the lines in order of their angle, and the clusters of those that overlap."""
    pattern, own = model.pattern, len(vector) - model.count
    hkl, phase, number, place, width = _places(model, vector)
    inside = (place >= pattern.angles[0]) & (place <= pattern.angles[-1]) & known[own:][number]
    order = np.flatnonzero(inside)[np.argsort(place[inside], kind="stable")]
    hkl, phase, number, place, width = (a[order] for a in (hkl, phase, number, place, width))
    cluster = np.cumsum(np.diff(place, prepend=place[:1]) > APART * width)
    photons = model.columns(vector[:own])[0].sum(axis=0)
    # One line of several families is counted once in a cluster, and not at all for one of them.
    members = np.zeros((int(cluster.max(initial=-1)) + 1, model.count))
    members[cluster, number] = 1
    spread = covariance[own:, own:] * photons[:, None] * photons
    intensity = vector[own:] * photons
    alone = np.bincount(number, minlength=model.count)[number] == 1
    together = np.bincount(cluster)[cluster] > 1
    spacings = np.concatenate(
        [
            spacing(cell_of(lines.part.phase, pattern.values(vector[:own])), lines.reflections.hkl)
            for lines in pattern.phases
        ]
    )
    return xr.Dataset(
        {
            "intensity": ("line", np.where(alone, intensity[number], np.nan), {"units": "photons"}),
            "intensity_std": (
                "line",
                np.where(alone, np.sqrt(np.diag(spread))[number], np.inf),
                {"units": "photons"},
            ),
            "overlapped": ("line", together),
            "cluster_intensity": ("cluster", members @ intensity, {"units": "photons"}),
            "cluster_intensity_std": (
                "cluster",
                np.sqrt(np.einsum("ci,ij,cj->c", members, spread, members)),
                {"units": "photons"},
            ),
        },
        coords={
            "line_phase": ("line", phase),
            **{axis: ("line", hkl[:, k]) for k, axis in enumerate("hkl")},
            "d": ("line", spacings[order], {"units": "Å"}),
            "line_two_theta": ("line", place, {"units": "°"}),
            "line_cluster": ("line", cluster),
        },
    )


def _places(model: FreeLines, vector: Array) -> tuple[Array, ...]:
    """Return indices, phase, line number, angle (degree) and width of each family of all phases."""
    found = []
    own = len(vector) - model.count
    pattern = model.at(vector[own:])
    values = pattern.values(vector[:own])
    for lines, line in zip(pattern.phases, model.line, strict=True):
        table = lines.table(values)[0]
        names = np.full(len(line), lines.part.phase.name)
        place = table[:, COLUMNS.index("centre")] + table[:, COLUMNS.index("asymmetry")]
        found.append((lines.reflections.hkl, names, line, place, table[:, COLUMNS.index("width")]))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))
