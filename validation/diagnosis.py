"""What a wrong set of columns looks like, in words: transposed, mirrored, shifted or scaled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial import cKDTree

from echolith.validation.matching import MATCH_RADIUS

Array = npt.NDArray[np.float64]

LEAST_COLUMNS = 6
"""For an affine fit with an honest standard error."""
SIGNIFICANT = 5.0
"""Standard errors; among some ten findings a chance of 1e-5 to see one that is not there."""
LEAST_SHIFT = 0.1
"""Scan pixels. Smaller ones are what multiple scattering does too."""
LEAST_SCALE = 2e-3
LEAST_ROTATION = 0.2
"""Degree."""
BETTER = 0.2
"""A mirrored arrangement must explain this many more of the columns."""
LEAST_SHARE = 0.5
"""And at least this many: less is what two lattices share by chance."""
SAME_SHARE, SAME_DISTANCE = 0.05, 2.0
"""Two arrangements that fit equally well."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing wrong, with a number where it has one."""

    name: str
    words: str
    value: float | None = None
    std: float | None = None
    unit: str = "1"


Arrangement = Callable[[Array, Array], Array]
"""Recovered xy and the true field's (width, height) to xy with the fault undone."""

_ARRANGEMENTS: dict[str, tuple[Arrangement, str]] = {
    "as they are": (lambda xy, _field: xy, ""),
    "transposed": (
        lambda xy, _field: xy[:, ::-1],
        "x and y are exchanged: the image or the scan is transposed",
    ),
    "mirrored in x": (
        lambda xy, field: xy * [-1, 1] + [field[0], 0],
        "x runs the wrong way: the image is mirrored left to right",
    ),
    "mirrored in y": (
        lambda xy, field: xy * [1, -1] + [0, field[1]],
        "y runs the wrong way: the image is mirrored top to bottom",
    ),
    "rotated by 90°": (
        lambda xy, field: xy[:, ::-1] * [1, -1] + [0, field[1]],
        "the image is rotated by 90° from x towards y",
    ),
    "rotated by -90°": (
        lambda xy, field: xy[:, ::-1] * [-1, 1] + [field[0], 0],
        "the image is rotated by 90° from y towards x",
    ),
    "rotated by 180°": (
        lambda xy, field: field - xy,
        "the image is rotated by 180°: x and y both run the wrong way",
    ),
}
_TURNED = ("transposed", "rotated by 90°", "rotated by -90°")
"""Width and height are exchanged too."""


def diagnose_columns(estimate: xr.Dataset, truth: xr.Dataset) -> list[Finding]:
    """Say in words how recovered columns differ from the true ones as a whole.

    Parameters
    ----------
    estimate : xarray.Dataset
        ``x``, ``y`` (Å, scan frame) and ``species`` over dim ``column``, before any gauge is
        taken out; ``phase`` (scan_y, scan_x) where there is one.
    truth : xarray.Dataset
        ``x``, ``y`` and ``species``.

    Returns
    -------
    list of Finding
        Empty where nothing stands out of the scatter of the single columns.
    """
    if "x" not in truth:
        return []
    theirs = _positions(truth)
    if "x" not in estimate or not estimate.sizes.get("column", 0):
        return _phase_sign(estimate, theirs)
    ours = _positions(estimate)
    if not np.isfinite(ours).all():
        return _phase_sign(estimate, theirs)
    fits = {name: _fit(name, ours, estimate, theirs, truth) for name in _ARRANGEMENTS}
    best = max(fits, key=lambda name: (round(fits[name].share, 2), -fits[name].distance))
    known = fits["as they are"].share
    if fits[best].share > max(known + BETTER, LEAST_SHARE):
        words = f"{_ARRANGEMENTS[best][1]}{_alternative(best, fits)}"
        seen = f"{fits[best].share:.0%} of the columns fit so, {known:.0%} as they are"
        found = Finding(name=best, words=f"{words} ({seen})", value=fits[best].share)
        return [*_phase_sign(estimate, ours[fits[best].matched]), found]
    whole = ~estimate["edge"].values.astype(bool) if "edge" in estimate else slice(None)
    return [*_phase_sign(estimate, theirs), *_affine(ours[whole], theirs, _step(estimate))]


def _positions(columns: xr.Dataset) -> Array:
    return np.stack([columns["x"].values, columns["y"].values], axis=1).astype(float)


def _field(estimate: xr.Dataset, theirs: Array, *, turned: bool) -> Array:
    """Width and height of the scanned field, as it truly is."""
    if "phase" in estimate and {"scan_x", "scan_y"} <= set(estimate["phase"].coords):
        phase = estimate["phase"]
        size = [float(phase[axis].values[-1]) for axis in ("scan_x", "scan_y")]
        return np.array(size[::-1] if turned else size)
    return np.asarray(theirs.min(axis=0) + theirs.max(axis=0))


def _step(estimate: xr.Dataset) -> float | None:
    if "phase" not in estimate or "scan_x" not in estimate["phase"].coords:
        return None
    x = estimate["phase"]["scan_x"].values
    return float(x[1] - x[0]) if len(x) > 1 else None


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """How well an arrangement explains the true columns off the border."""

    share: float
    """Of them, with a recovered column of their species near by."""
    distance: float
    """Typical one to it, Å."""
    matched: npt.NDArray[np.intp]
    """The recovered columns."""


def _fit(name: str, ours: Array, estimate: xr.Dataset, theirs: Array, truth: xr.Dataset) -> _Fit:
    field = _field(estimate, theirs, turned=name in _TURNED)
    moved = _ARRANGEMENTS[name][0](ours, field)
    inner = ~truth["edge"].values.astype(bool) if "edge" in truth else np.ones(len(theirs), bool)
    distance, nearest = cKDTree(moved).query(theirs[inner])
    good = distance < MATCH_RADIUS
    if "species" in estimate and "species" in truth:
        good &= estimate["species"].values[nearest] == truth["species"].values[inner]
    return _Fit(
        share=float(good.mean()) if len(good) else 0.0,
        distance=float(np.median(distance[good])) if good.any() else MATCH_RADIUS,
        matched=nearest[good],
    )


def _alternative(best: str, fits: Mapping[str, _Fit]) -> str:
    """Name the arrangement that fits as well: half a turn away, where a crystal has two-fold axes.

    It does, seen along [010] of Li-rich oxide with an axis in the middle of the field.
    """
    limit = fits[best].share - SAME_SHARE
    others = [
        name
        for name, fit in fits.items()
        if name != best
        and fit.share >= limit
        and fit.distance < SAME_DISTANCE * fits[best].distance
    ]
    return f"; or just as well {', '.join(others)}: the crystal hides which" if others else ""


def _phase_sign(estimate: xr.Dataset, columns: Array) -> list[Finding]:
    """Compare the phase at columns, (columns, 2) xy in its frame, with that of the whole field."""
    if "phase" not in estimate:
        return []
    phase = estimate["phase"]
    if not {"scan_x", "scan_y"} <= set(phase.coords) or not np.isfinite(phase.values).all():
        return []
    at = [
        np.abs(phase[axis].values[:, None] - place).argmin(axis=0)
        for axis, place in (("scan_y", columns[:, 1]), ("scan_x", columns[:, 0]))
    ]
    values = phase.transpose("scan_y", "scan_x").values[at[0], at[1]] - float(phase.mean())
    if len(values) < LEAST_COLUMNS:
        return []
    mean, std = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    if mean < -SIGNIFICANT * std:
        words = (
            "the phase has the wrong sign: atoms are dark "
            f"({mean:+.3f} ± {std:.3f} rad against the field's mean)"
        )
        return [Finding(name="phase sign", words=words, value=mean, std=std, unit="rad")]
    return []


def _affine(ours: Array, theirs: Array, step: float | None) -> list[Finding]:
    """Fit ``ours = shift + (1 + stretch) theirs`` and name what is significant."""
    distance, nearest = cKDTree(theirs).query(ours)
    good = distance < MATCH_RADIUS
    if good.sum() < LEAST_COLUMNS:
        return []
    true = theirs[nearest[good]]
    centre = true.mean(axis=0)
    error = ours[good] - true
    good_error = np.abs(error - np.median(error, axis=0)).max(axis=1) < MATCH_RADIUS / 2
    true, error = true[good_error], error[good_error]
    if len(true) < LEAST_COLUMNS:
        return []
    design = np.column_stack([np.ones(len(true)), true - centre])
    inverse = np.linalg.inv(design.T @ design)
    fit = inverse @ design.T @ error
    residual = error - design @ fit
    sigma = residual.std(axis=0) * np.sqrt(len(true) / (len(true) - 3))
    std = np.sqrt(np.diag(inverse))[:, None] * sigma
    stretched = _stretch(fit[1:], std[1:])
    if stretched:
        # A scan step or a rotation is wrong about the origin, not about the middle of the columns.
        at_origin = fit[0] - centre @ fit[1:]
        return [
            *_shift(at_origin, np.sqrt(std[0] ** 2 + centre**2 @ std[1:] ** 2), step),
            *stretched,
        ]
    return _shift(fit[0], std[0], step)


def _shift(shift: Array, std: Array, step: float | None) -> list[Finding]:
    size, error = float(np.hypot(*shift)), float(std.max())
    least = LEAST_SHIFT * step if step else 0.01
    if size < SIGNIFICANT * error or size < least:
        return []
    pixels = f" = ({shift[0] / step:+.2f}, {shift[1] / step:+.2f}) scan pixels" if step else ""
    hint = ""
    if step and np.allclose(np.abs(shift) / step, 0.5, atol=0.1):
        hint = "; half a pixel: positions refer to pixel corners, not centres"
    words = (
        f"all columns are shifted by ({100 * shift[0]:+.1f}, {100 * shift[1]:+.1f}) pm"
        f"{pixels}{hint}"
    )
    return [Finding(name="shift", words=words, value=size, std=error, unit="Å")]


def _stretch(slope: Array, std: Array) -> list[Finding]:
    """Name scale and rotation: slope[i, j] is the change of coordinate j with true coordinate i."""
    findings = []
    scale, scale_std = (slope[0, 0] + slope[1, 1]) / 2, float(np.hypot(std[0, 0], std[1, 1]) / 2)
    if abs(scale) > max(SIGNIFICANT * scale_std, LEAST_SCALE):
        longer = "long" if scale > 0 else "short"
        words = (
            f"all lengths are {abs(scale):.2%} too {longer} (± {scale_std:.2%}): "
            "check the scan step or the calibration"
        )
        findings.append(Finding(name="scale", words=words, value=float(scale), std=scale_std))
    unequal = (slope[0, 0] - slope[1, 1]) / 2
    if abs(unequal) > max(SIGNIFICANT * scale_std, LEAST_SCALE):
        words = f"x is stretched against y by {2 * unequal:+.2%}: check the two scan steps"
        findings.append(
            Finding(name="aspect", words=words, value=2 * float(unequal), std=2 * scale_std)
        )
    turn = np.rad2deg((slope[0, 1] - slope[1, 0]) / 2)
    turn_std = float(np.rad2deg(np.hypot(std[0, 1], std[1, 0]) / 2))
    if abs(turn) > max(SIGNIFICANT * turn_std, LEAST_ROTATION):
        words = f"everything is rotated by {turn:+.2f}° (± {turn_std:.1g}°) from x towards y"
        findings.append(
            Finding(name="rotation", words=words, value=float(turn), std=turn_std, unit="degree")
        )
    return findings
