"""Drift of a rocking-curve map from eta to eta, found from the frames.

Between two angles eta the specimen moves by d steps of the scan, so that the point p shows the
place r = p + d t at the angle t. Where the crystal is bent or strained, the centre of the peak on
the detector then moves with eta. With the gradient J of the peak's coordinates u = (eta, row,
column) and in first order, the covariance of a peak gains, transformed to Q by M = dQ / du,

    C = W + q (J d)^T M^T + M (J d) q^T + s^2 (M J)(M J)^T,      q = W (M^-1)_eta

with s the beam's standard deviation (as eta goes on, other parts of its footprint light up). What
is off the diagonal of W, the crystal's own, is taken to have one mean value over the map. J is
known from the map itself, so d and s^2 follow from all points together by linear least squares,
again and again with the frames moved by what was found. The narrowness of the rocking curve, and
how bright the frames are, are not used: they look alike for a drift and for a bent crystal.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.inverse.diffraction_frames import DIMS, Frames
from echolith.inverse.diffraction_overview import Usable
from echolith.inverse.frame_moments import frame_moments
from echolith.inverse.place_gradients import place_gradients
from echolith.inverse.place_peaks import PlacePeaks, place_peaks
from echolith.inverse.staged_solver import Keep, kept_nowhere

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

ITERATIONS = 20
FULL = 5
"""Iterations after which less and less of a change is made: frames and points that come and go with
it can let it go to and fro."""
SETTLED = 0.1
"""Standard deviations of a change that ends them."""
STARTS = ((0.0, 0.0), (0.25, 0.25), (0.25, -0.25), (-0.25, 0.25), (-0.25, -0.25))
"""Steps from eta to eta from which the drift is looked for: all must lead to the same."""
SAME = 6.0
"""Standard deviations within which they do."""
NARROWER = 0.01
"""Part by which a solution's peaks must be narrower on the detector than those of others."""
LEAST = 100.0
"""Photons of a point that takes part."""
CLEAR = 8.0
"""Standard deviations of the background that they are at least."""
POINTS = 40
"""That must take part."""
LARGEST = 0.5
"""Standard deviation in steps at either end of the series, from which whole steps are unsure."""
TUKEY = 6.0
"""Standard deviations at which a residual has no weight; 98 % efficient for normal ones."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Drift of a scan.

    Attributes
    ----------
    steps : array, (2,)
        Of the scan (rows, columns) from one eta to the next; NaN where not determined.
    covariance : array, (2, 2)
        Of `steps`; infinite where not determined.
    undetermined : str
        Why it is not determined, empty where it is.
    """

    steps: Array
    covariance: Array
    undetermined: str = ""

    @property
    def applied(self) -> Array:
        """The drift, or none where it is not determined, (2,)."""
        return np.zeros(2) if self.undetermined else self.steps

    @property
    def reasons(self) -> list[str]:
        """What is not determined, and why."""
        return [f"drift: {self.undetermined}"] if self.undetermined else []

    @property
    def std(self) -> Array:
        """Standard deviations of `steps`, (2,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    def variables(self) -> dict[str, xr.DataArray]:
        """Return ``drift_y``, ``drift_x`` with ``_std``, in steps of the scan an eta."""
        units = {"units": "steps of the scan per step of eta"}
        named = zip(("drift_y", "drift_x"), self.steps, self.std, strict=True)
        return {
            key: xr.DataArray(value, attrs=units)
            for name, found, std in named
            for key, value in ((name, found), (f"{name}_std", std))
        }


def known_drift(steps: tuple[float, float]) -> Drift:
    """Return a drift that is known."""
    return Drift(steps=np.array(steps), covariance=np.zeros((2, 2)))


def find_drift(frames: Frames, used: Usable, vectors: Array, *, keep: Keep = kept_nowhere) -> Drift:
    """Find the drift of a map.

    Parameters
    ----------
    frames : Frames
        Read once, in blocks of rows.
    used : Usable
        Good pixels and frames.
    vectors : array, (eta, rows, columns, 3)
        Q of the voxels in axes along which the crystal's own widths are uncorrelated, 1/Å.
    keep : callable
        Keeps pieces, see `echolith.inverse.staged_solver.PiecewiseSolver`.
    """
    pieces = [
        keep(f"moments {rows.start}-{rows.stop - 1}", partial(_moments, frames, used, rows))
        for rows in frames.blocks()
    ]
    moments = xr.concat(pieces, dim=DIMS[0])["moments"].values
    return drift_of_moments(moments, vectors)


def _moments(frames: Frames, used: Usable, rows: range) -> xr.Dataset:
    counts = frames.read(rows)
    found = frame_moments(
        counts.reshape(-1, *counts.shape[2:]), used.pixels, frames.monitor * used.frames
    )
    return xr.Dataset({"moments": ((*DIMS[:3], "moment"), found.reshape(*counts.shape[:3], 7))})


def drift_of_moments(moments: Array, vectors: Array) -> Drift:
    """Find the drift from moments of frames.

    Parameters
    ----------
    moments : array, (rows, columns, eta, 7)
        As from `echolith.inverse.frame_moments.frame_moments`.
    vectors : array, (eta, rows, columns, 3)
        See `find_drift`.
    """
    per_voxel = np.stack([np.gradient(vectors, axis=axis) for axis in range(3)], axis=-1)
    found: list[_Solution] = []
    reason = ""
    for start in STARTS:
        solution = _solution(moments, per_voxel, np.array(start), found)
        if isinstance(solution, str):
            reason = reason or solution
        elif not any(_same(solution, other) for other in found):
            found.append(solution)
    if not found:
        return _unknown(reason)
    best, *others = sorted(found, key=lambda one: one.blur)
    if others and others[0].blur < (1 + NARROWER) * best.blur:
        return _unknown(
            f"drifts of {_text(best.drift)} and of {_text(others[0].drift)} steps from eta to eta "
            "fit alike; give the drift, or the range of eta of one crystal only"
        )
    end = LARGEST / ((moments.shape[2] - 1) / 2)
    if np.sqrt(np.linalg.eigvalsh(best.covariance)[-1]) > end:
        std = _text(np.sqrt(np.diag(best.covariance)))
        return _unknown(
            f"the drift is known to {std} steps from eta to eta only, expected {end:.2g}: tilt and "
            "strain vary too little over the map; take more points or photons, or give the drift"
        )
    return Drift(steps=best.drift, covariance=best.covariance)


class _Solution(NamedTuple):
    """A drift, its covariance, and the median variance of the peaks on the detector."""

    drift: Array
    covariance: Array
    blur: float


def _text(values: Iterable[float]) -> str:
    return "(" + ", ".join(f"{value:.3f}" for value in values) + ")"


def _unknown(reason: str) -> Drift:
    return Drift(
        steps=np.full(2, np.nan), covariance=np.diag(np.full(2, np.inf)), undetermined=reason
    )


def _same(one: _Solution, other: _Solution) -> bool:
    spread = np.sqrt(np.diag(one.covariance) + np.diag(other.covariance))
    return bool((np.abs(one.drift - other.drift) < SAME * spread).all())


def _solution(
    moments: Array, per_voxel: Array, drift: Array, found: list[_Solution]
) -> _Solution | str:
    """Return where the iteration from a drift ends, or why it does not end."""
    slopes = np.zeros((*moments.shape[:2], 3, 2))
    for n in range(ITERATIONS):
        peaks = place_peaks(moments, drift, slopes)
        known = _clear(peaks, moments.shape[2])
        spread = np.einsum("yxuu->yxu", peaks.covariance)
        widths = np.log(np.where(known[..., None], spread, 1.0))
        gradient = place_gradients(peaks.centre, known, beside=widths)
        good = known & np.isfinite(gradient).all(axis=(-1, -2))
        if good.sum() < POINTS:
            return (
                f"{good.sum()} points have a peak and neighbours of the same crystal; expected "
                f"{POINTS} or more; give the drift"
            )
        change, covariance = _least_squares(*_equations(peaks, gradient, good, per_voxel))
        change = change / max(1, n - FULL + 2)
        drift = drift + change
        slopes = np.nan_to_num(gradient)
        blur = float(np.median((spread[..., 1] + spread[..., 2])[good]))
        now = _Solution(drift, covariance, blur)
        if (np.abs(change) < SETTLED * np.sqrt(np.diag(covariance))).all():
            return now
        if any(_same(now, other) for other in found):
            return now
        if np.abs(drift).max() * moments.shape[2] > max(moments.shape[:2]):
            break
    return "the search does not settle; give the drift"


def _clear(peaks: PlacePeaks, etas: int) -> Mask:
    """Return the points with a clear peak that is well inside the rocking curve."""
    variances = np.einsum("yxuu->yxu", peaks.covariance)
    with np.errstate(invalid="ignore"):
        clear = peaks.photons > CLEAR * np.sqrt(np.maximum(peaks.background, 1.0))
        inside = np.abs(peaks.centre[..., 0]) + 2 * np.sqrt(variances[..., 0]) < (etas - 1) / 2
        positive = (np.linalg.det(peaks.covariance) > 0) & (variances > 0.05).all(axis=-1)
    return np.asarray(peaks.whole & clear & inside & positive & (peaks.photons > LEAST))


def _equations(
    peaks: PlacePeaks, slopes: Array, good: Mask, per_voxel: Array
) -> tuple[Array, Array]:
    """Return the equations (equation, unknown) for drift (2), s^2, and means of W (3)."""
    centre = peaks.centre[good] + [(per_voxel.shape[0] - 1) / 2, 0, 0]
    voxel = np.clip(np.rint(centre).astype(int), 0, np.array(per_voxel.shape[:3]) - 1)
    to_q = per_voxel[tuple(voxel.T)]
    covariance = to_q @ peaks.covariance[good] @ to_q.transpose(0, 2, 1)
    gradient = to_q @ slopes[good]
    variances = np.einsum("nqq->nq", covariance)
    own = variances * np.linalg.inv(to_q)[:, 0]
    moved = gradient[:, :, None] * own[:, None, :, None]
    moved = moved + moved.transpose(0, 2, 1, 3)
    beam = np.einsum("nqc,nrc->nqr", gradient, gradient)
    noise = (1 + 2 * peaks.background[good] / peaks.photons[good]) / peaks.photons[good]
    left, right = [], []
    for row, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
        std = np.sqrt(variances[:, a] * variances[:, b] * noise)
        mean = np.zeros((len(std), 3))
        mean[:, row] = np.sqrt(np.median(variances[:, a]) * np.median(variances[:, b]))
        terms = np.concatenate([moved[:, a, b], beam[:, a, b, None], mean], axis=1)
        left.append(terms / std[:, None])
        right.append(covariance[:, a, b] / std)
    return np.concatenate(left), np.concatenate(right)


def _least_squares(left: Array, right: Array) -> tuple[Array, Array]:
    """Return the drift and its covariance by Tukey's weights, from the residuals themselves."""
    unit = np.sqrt((left**2).sum(axis=0))
    left = left / unit
    weights = np.ones(len(right))
    for _ in range(20):
        found = np.linalg.solve((left * weights[:, None]).T @ left, left.T @ (weights * right))
        residual = right - left @ found
        square = (residual / (TUKEY * 1.4826 * np.median(np.abs(residual)))) ** 2
        weights = np.clip(1 - square, 0, 1) ** 2
    scores = left * (weights * residual)[:, None]
    curvature = np.where(square < 1, (1 - square) * (1 - 5 * square), 0.0)
    inverse = np.linalg.inv((left * curvature[:, None]).T @ left)
    covariance = inverse @ (scores.T @ scores) @ inverse
    return (found / unit)[:2], (covariance / unit[:, None] / unit)[:2, :2]
