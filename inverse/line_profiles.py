"""Line profiles through columns and distances read from them, as published practice does.

A profile is the image averaged over a width, sampled by cubic interpolation along a line; peaks
are the maxima of a smoothing spline through it. Song et al., Joule 6 (2022), read M-M distances
from the dark field and O-O distances from the phase image in this way.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.interpolate import BSpline, make_smoothing_spline
from scipy.ndimage import map_coordinates

from echolith.distance_names import LONG_NAMES
from echolith.errors import BadInputError
from echolith.inverse.distances import Mode, measure_distances
from echolith.inverse.whitening import scan_step

Array = npt.NDArray[np.float64]

BEYOND = 1.5
"""Å; how far a profile runs past the two columns it joins: both peaks are inside, and away from the
ends, where the spline is free to bend."""
RESOLUTION = 1.0
"""Å; half the distance of two columns or less, so that noise is smoothed and peaks stay apart."""
NEAR = 0.5
"""Å; a peak farther than this from its column is not its peak."""


def line_profile(
    image: xr.DataArray,
    *,
    start: tuple[float, float],
    end: tuple[float, float],
    width: float = 0.6,
    spacing: float = 0.05,
) -> xr.DataArray:
    """Average an image over a strip along a line.

    Parameters
    ----------
    image : xarray.DataArray
        (scan_y, scan_x), coordinates in Å.
    start, end : tuple of float
        Ends of the line, (x, y) in Å, scan frame; inside the scan.
    width : float
        Width of the strip, Å; 0 for the line alone.
    spacing : float
        Distance of samples along and across, Å.

    Returns
    -------
    xarray.DataArray
        Over dim ``distance`` [Å from `start`], units of the image.

    Raises
    ------
    BadInputError
        If the line has no length, leaves the scan, or a size is not positive.
    """
    ends = np.array([start, end], dtype=float)
    length = float(np.hypot(*(ends[1] - ends[0])))
    if not np.isfinite(ends).all() or length < 2 * spacing or spacing <= 0 or width < 0:
        raise BadInputError(
            f"a line from {start} to {end} Å of width {width:g} Å with samples every {spacing:g} "
            "Å; expected a length of two samples or more, spacing > 0 and width >= 0"
        )
    image = image.transpose("scan_y", "scan_x")
    step = scan_step(image)
    first = np.array([float(image["scan_x"].values[0]), float(image["scan_y"].values[0])])
    last = np.array([float(image["scan_x"].values[-1]), float(image["scan_y"].values[-1])])
    if (ends < first).any() or (ends > last).any():
        raise BadInputError(
            f"the line from {start} to {end} Å leaves the scan, which covers x {first[0]:g} to "
            f"{last[0]:g} Å and y {first[1]:g} to {last[1]:g} Å"
        )
    along = (ends[1] - ends[0]) / length
    across = np.array([-along[1], along[0]])
    distance = np.linspace(0, length, round(length / spacing) + 1)
    offsets = np.linspace(-width / 2, width / 2, 2 * round(width / spacing / 2) + 1)
    points = ends[0] + distance[:, None, None] * along + offsets[:, None] * across
    at = [(points[..., 1] - first[1]) / step[0], (points[..., 0] - first[0]) / step[1]]
    # Beyond the border half of a strip's width is mirrored rather than made up.
    values = map_coordinates(np.asarray(image.values, dtype=float), at, order=3, mode="mirror")
    return xr.DataArray(
        values.mean(axis=1),
        dims="distance",
        coords={"distance": ("distance", distance, {"units": "Å"})},
        attrs={"units": image.attrs.get("units", "1")},
    )


def smoothing_spline(profile: xr.DataArray, *, resolution: float | None = RESOLUTION) -> BSpline:
    """Return a cubic smoothing spline through a profile.

    It minimises ``sum (y - s)² + lambda integral s''²`` (scipy's ``make_smoothing_spline``).

    Parameters
    ----------
    profile : xarray.DataArray
        Over dim ``distance``, 5 samples or more.
    resolution : float or None
        Period that is halved, Å: ``lambda = (resolution / 2 pi)⁴ / spacing``, from the response
        ``1 / (1 + lambda spacing omega⁴)`` of a smoothing spline to a wave. None: lambda by
        generalised cross-validation, which is sound only where the noise of neighbouring samples
        is independent (samples no denser than the scan).
    """
    if profile.sizes.get("distance", 0) < 5:
        raise BadInputError(
            f"a profile of {profile.sizes.get('distance', 0)} samples; expected 5 or more over "
            "dim 'distance'; make the line longer or the spacing finer"
        )
    distance, value = profile["distance"].values, np.asarray(profile.values, dtype=float)
    if not np.isfinite(value).all():
        raise BadInputError(f"{int((~np.isfinite(value)).sum())} samples are not finite")
    if resolution is not None and resolution <= 0:
        raise BadInputError(f"resolution = {resolution:g} Å; expected more than 0, or None")
    spacing = float(distance[-1] - distance[0]) / (len(distance) - 1)
    strength = None if resolution is None else (resolution / (2 * np.pi)) ** 4 / spacing
    scale = float(value.max() - value.min()) or 1.0
    spline = make_smoothing_spline(distance, value / scale, lam=strength)
    return BSpline(spline.t, spline.c * scale, spline.k)


def peak_positions(profile: xr.DataArray, *, resolution: float | None = RESOLUTION) -> Array:
    """Return the maxima of the smoothing spline through a profile, Å from its start, ascending.

    Parameters
    ----------
    profile : xarray.DataArray
        Over dim ``distance``.
    resolution : float or None
        As for `smoothing_spline`.

    Examples
    --------
    >>> t = np.linspace(0, 4, 81)
    >>> wave = xr.DataArray(np.cos(2 * np.pi * t), dims="distance", coords={"distance": t})
    >>> peak_positions(wave).round(3).tolist()
    [1.0, 2.0, 3.0]
    """
    spline = smoothing_spline(profile, resolution=resolution)
    slope = spline.derivative()
    distance = profile["distance"].values
    # Sign changes on a grid four times finer, then a bisection of the slope to 1e-6 Å.
    fine = np.linspace(distance[0], distance[-1], 4 * len(distance) + 1)
    values = slope(fine)
    index = np.flatnonzero((values[:-1] > 0) & (values[1:] <= 0))
    low, high = fine[index], fine[index + 1]
    for _ in range(40):
        middle = (low + high) / 2
        rising = slope(middle) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return np.asarray((low + high) / 2)


def line_distances(
    phase: xr.DataArray,
    columns: xr.Dataset,
    *,
    haadf: xr.DataArray | None = None,
    width: float = 0.6,
    resolution: float | None = RESOLUTION,
) -> xr.Dataset:
    """Read the eight distances from line profiles.

    For every pair of columns a profile is taken along the line of M columns it lies near
    (M-M(OLiO) for D and E, M-M(Li) for B and G, otherwise from column to column), past both
    columns; the distance is that of the two peaks nearest to them.

    Parameters
    ----------
    phase : xarray.DataArray
        Image for O-O distances, (scan_y, scan_x).
    columns : xarray.Dataset
        Found or fitted columns: which peak is which, not where it is.
    haadf : xarray.DataArray, optional
        Image for M-M distances; default: the phase image.
    width : float
        Width averaged over, Å.
    resolution : float or None
        As for `smoothing_spline`.

    Returns
    -------
    xarray.Dataset
        ``<name>``, ``<name>_std`` (standard error: scatter / sqrt(n)), ``<name>_scatter`` for each
        name of `distances.LONG_NAMES`, and single pairs over dim ``pair``, in Å.

    Raises
    ------
    BadInputError
        As `measure_distances`; and if fewer than two pairs of a name show two peaks.
    """
    reference = measure_distances(columns, mode=Mode.LINE)
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    singles = _single_distances(
        phase, phase if haadf is None else haadf, reference, xy, width, resolution
    )
    variables: dict[str, Any] = {}
    names = reference["pair_name"].values
    for name, printed in LONG_NAMES.items():
        lengths = singles[(names == name) & np.isfinite(singles)]
        if len(lengths) < 2:
            raise BadInputError(
                f"{len(lengths)} profiles of {printed} show both peaks; expected 2 or more; use a "
                "larger field, or fit columns instead"
            )
        scatter = float(lengths.std(ddof=1))
        for suffix, value in (
            ("", float(lengths.mean())),
            ("_std", scatter / float(np.sqrt(len(lengths)))),
            ("_scatter", scatter),
        ):
            attrs = {"units": "Å", "long_name": printed + suffix.replace("_", " ")}
            variables[name + suffix] = ((), value, attrs)
    good = np.flatnonzero(np.isfinite(singles))
    pairs = reference[["pair_name", "pair_first", "pair_second"]].isel(pair=good)
    variables["pair_distance"] = ("pair", singles[good], {"units": "Å"})
    return xr.Dataset(variables, attrs={"mode": "line profile"}).merge(
        pairs, combine_attrs="drop_conflicts"
    )


def _single_distances(
    phase: xr.DataArray,
    dark_field: xr.DataArray,
    reference: xr.Dataset,
    xy: Array,
    width: float,
    resolution: float | None,
) -> Array:
    """Distance of the two peaks for every pair; NaN where a profile does not show both."""
    a, c, _ = reference["lattice"].values
    directions = {"o_o_li": c + 2 * a, "o_o_m": c + 2 * a, "o_o_2m": c, "o_o_2li": c}
    result = np.full(reference.sizes["pair"], np.nan)
    for index, name in enumerate(reference["pair_name"].values.tolist()):
        first, second = (xy[reference[f"pair_{end}"].values[index]] for end in ("first", "second"))
        along = directions.get(name, second - first)
        along = along / np.hypot(*along)
        half = float((second - first) @ along) / 2
        middle = (first + second) / 2
        start, end = middle - (half + BEYOND) * along, middle + (half + BEYOND) * along
        image = dark_field if name.startswith("m_m") else phase
        if not _inside(image, start, end):
            continue
        profile = line_profile(image, start=tuple(start), end=tuple(end), width=width)
        peaks = peak_positions(profile, resolution=resolution)
        expected = np.array([BEYOND, BEYOND + 2 * half])
        if not len(peaks):
            continue
        nearest = peaks[np.abs(peaks[:, None] - expected).argmin(axis=0)]
        if (np.abs(nearest - expected) < NEAR).all() and nearest[0] != nearest[1]:
            result[index] = nearest[1] - nearest[0]
    return result


def _inside(image: xr.DataArray, start: Array, end: Array) -> bool:
    ends = np.stack([start, end])
    axes = [image["scan_x"].values, image["scan_y"].values]
    return all(
        (ends[:, i] >= axis[0]).all() and (ends[:, i] <= axis[-1]).all()
        for i, axis in enumerate(axes)
    )
