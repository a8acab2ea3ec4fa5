"""Blind finding of atom columns on a phase image: where they are and of which species.

Nothing of the specimen is used: columns are the significant local maxima of the band-passed phase
image, and species are clusters of brightness.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from scipy.special import erfcinv

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.column_fit import fit_columns, residual_phase
from echolith.inverse.column_maxima import BandPass, maxima, sample, separated
from echolith.inverse.column_problem import interior
from echolith.inverse.column_species import assign_species
from echolith.inverse.whitening import scan_step
from echolith.units import Angstrom

__all__ = ["FindOptions", "find_columns", "fit_columns", "revise_columns"]

Array = npt.NDArray[np.float64]


class FindOptions(Settings):
    """Options of the column search."""

    margin: Annotated[Angstrom, Field(ge=0)] = 2.0
    """Columns nearer to the border than this are flagged ``edge``."""
    separation: Annotated[Angstrom, Field(gt=0)] = 0.8
    """No two columns are nearer to one another; the brighter one stays."""
    blur: Annotated[Angstrom, Field(gt=0)] = 0.25
    """Standard deviation of the smoothing; twice as much is taken as local background."""
    contrast: Annotated[float, Field(gt=0, lt=1)] = 0.08
    """Faintest maximum kept, relative to the bright ones (their 95th percentile). Diffraction
    ripples of bright columns stay below; Li beside transition metals is at 0.15 to 0.25."""
    false_alarms: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Expected number of noise maxima taken for columns in the whole image."""


def find_columns(
    phase: xr.DataArray,
    *,
    haadf: xr.DataArray | None = None,
    weight: xr.DataArray | None = None,
    options: FindOptions | None = None,
) -> xr.Dataset:
    """Find atom columns without any start from a model.

    Local maxima of the phase image filtered with the difference of two Gaussians, refined to a
    fraction of a pixel by a parabola. A maximum is kept where it exceeds both the noise of the
    filtered image (at the stated number of false alarms) and a fraction of the bright columns.

    Parameters
    ----------
    phase : xarray.DataArray
        (scan_y, scan_x), with coordinates in Å.
    haadf : xarray.DataArray, optional
        The simultaneous annular dark field, same axes. Species are the three clusters of phase
        amplitude, refined with the dark field where there is one.
    weight : xarray.DataArray, optional
        (q_y, q_x), inverse noise variance of the phase's spectrum in 1/rad². Without it the noise
        is the median power between Bragg peaks, ring by ring: an overestimate for disordered
        specimens, so that then the contrast alone decides.
    options : FindOptions, optional

    Returns
    -------
    xarray.Dataset
        ``x``, ``y`` (Å, scan frame), ``species`` ("M", "O", "Li"), ``amplitude`` (rad, of the
        filtered image) and ``edge`` over dim ``column``.

    Raises
    ------
    BadInputError
        If the image is not finite, too small, or shows no columns.
    """
    options = options or FindOptions()
    phase = phase.transpose("scan_y", "scan_x")
    image, step = np.asarray(phase.values, dtype=float), scan_step(phase)
    _check(image, step)
    if haadf is not None and haadf.sizes != phase.sizes:
        raise BadInputError(
            f"haadf of sizes {dict(haadf.sizes)} does not fit the phase image "
            f"{dict(phase.sizes)}; give the dark field recorded on the same scan"
        )
    filtered = BandPass.of(image, step, options.blur, weight)
    row, column, value = maxima(filtered.image, step, options.separation)
    keep = value > _threshold(filtered, value, options)
    if keep.sum() < 3:
        raise _none_found(filtered, options)
    x, y = column[keep] * step[1], row[keep] * step[0]
    x, y, value = separated(x, y, value[keep], options.separation)
    x, y = x + float(phase["scan_x"].values[0]), y + float(phase["scan_y"].values[0])
    edge = ~interior(phase, x, y, options.margin)
    brightness = None if haadf is None else _local_mean(haadf, x, y)
    variables = {
        "x": ("column", x, {"units": "Å"}),
        "y": ("column", y, {"units": "Å"}),
        "species": ("column", assign_species(value, brightness, sure=~edge), {"units": "1"}),
        "amplitude": ("column", value, {"units": "rad"}),
        "edge": ("column", edge, {"units": "1"}),
    }
    return xr.Dataset(variables, attrs={"noise": filtered.noise, "margin": options.margin})


def revise_columns(
    reconstruction: xr.Dataset, fitted: xr.Dataset, *, options: FindOptions | None = None
) -> xr.Dataset:
    """Drop fitted columns that are not significant and add significant ones the fit left over.

    A column is significant where its amplitude, and a residual maximum where its height, exceeds
    its standard deviation by the factor that noise exceeds `FindOptions.false_alarms` times in
    the whole image. Added columns must also pass `FindOptions.contrast` and be farther than
    `FindOptions.separation` from all others; they get the species nearest in amplitude.

    Parameters
    ----------
    reconstruction : xarray.Dataset
        ``phase`` and ``weight``.
    fitted : xarray.Dataset
        From `fit_columns` with form factors.
    options : FindOptions, optional

    Returns
    -------
    xarray.Dataset
        ``x``, ``y``, ``species``, ``edge``: a start for the next `fit_columns`. Equal in number to
        `fitted` where nothing was to be revised.
    """
    options = options or FindOptions()
    phase = reconstruction["phase"].transpose("scan_y", "scan_x")
    step = scan_step(phase)
    factor = _significance(phase.size * step[0] * step[1], options)
    significance = fitted["amplitude"].values / fitted["amplitude_std"].values
    kept = fitted[["x", "y", "species", "edge"]].isel(
        column=(significance > factor) | fitted["edge"].values
    )
    weight = reconstruction.get("weight")
    left = residual_phase(reconstruction, fitted)
    filtered = BandPass.of(np.asarray(left.values, dtype=float), step, options.blur, weight)
    whole = BandPass.of(np.asarray(phase.values, dtype=float), step, options.blur, weight)
    row, column, value = maxima(filtered.image, step, options.separation)
    x = column * step[1] + float(phase["scan_x"].values[0])
    y = row * step[0] + float(phase["scan_y"].values[0])
    bright = np.quantile(maxima(whole.image, step, options.separation)[2], 0.95)
    far, _ = cKDTree(_points(kept)).query(np.stack([x, y], axis=-1))
    new = (value > factor * filtered.noise) & (value > options.contrast * bright)
    new &= (far > options.separation) & interior(phase, x, y, options.margin)
    if not new.any():
        return kept
    x, y, value = separated(x[new], y[new], value[new], options.separation)
    heights = sample(whole.image, kept["x"].values, kept["y"].values, phase)
    added = xr.Dataset(
        {
            "x": ("column", x),
            "y": ("column", y),
            "species": ("column", _nearest_species(value, heights, kept["species"].values)),
            "edge": ("column", np.zeros(len(x), dtype=bool)),
        }
    )
    return xr.concat([kept, added], dim="column", combine_attrs="override")


def _threshold(filtered: BandPass, value: Array, options: FindOptions) -> float:
    bright = float(np.quantile(value, 0.95)) if len(value) else 0.0
    # On noise alone the heights of maxima and the depths of minima are alike (ratio 0.7 to 1.4 on
    # 8 Å and more); any arrangement of columns has heights of more than twice the depths.
    depth = -float(np.quantile(filtered.image, 0.001))
    if bright < 1.6 * depth or bright <= 1e-12:
        return np.inf
    factor = _significance(filtered.image.size, options)
    noise = factor * filtered.noise
    if not filtered.known:
        noise = min(noise, 2 * options.contrast * bright)
    return max(noise, options.contrast * bright)


def _significance(cells: float, options: FindOptions) -> float:
    """Factor by which a unit normal is exceeded `false_alarms` times among so many cells."""
    return float(np.sqrt(2) * erfcinv(2 * options.false_alarms / max(cells, 1)))


def _none_found(filtered: BandPass, options: FindOptions) -> BadInputError:
    return BadInputError(
        f"no columns found: the highest maximum of the band-passed phase is "
        f"{filtered.image.max():.3g} rad, the deepest minimum {filtered.image.min():.3g} rad, the "
        f"noise {filtered.noise:.2g} rad; expected 3 or more maxima above noise and ripples. "
        "Check that the field is crystalline and in focus, or lower FindOptions.contrast "
        f"({options.contrast:g})"
    )


def _local_mean(haadf: xr.DataArray, x: Array, y: Array) -> Array:
    """Mean of the dark field in a Gaussian of 0.35 Å, background (5th percentile) removed."""
    haadf = haadf.transpose("scan_y", "scan_x")
    blurred = gaussian_filter(
        np.asarray(haadf.values, dtype=float), [0.35 / step for step in scan_step(haadf)]
    )
    return sample(blurred - np.quantile(blurred, 0.05), x, y, haadf)


def _points(columns: xr.Dataset) -> Array:
    return np.stack([columns["x"].values, columns["y"].values], axis=-1)


def _nearest_species(value: Array, heights: Array, species: npt.NDArray[np.str_]) -> list[str]:
    names = sorted(set(species.tolist()))
    medians = np.array([np.median(heights[species == name]) for name in names])
    return [names[int(np.argmin(np.abs(medians - height)))] for height in value]


def _check(image: Array, step: tuple[float, float]) -> None:
    bad = int((~np.isfinite(image)).sum())
    if bad:
        raise BadInputError(f"{bad} of {image.size} values of the phase image are not finite")
    if min(image.shape) < 12:
        raise BadInputError(
            f"the phase image has {image.shape} positions; expected 12 or more along each axis"
        )
    if max(step) > 0.6:
        raise BadInputError(
            f"scan step {max(step):g} Å cannot resolve columns about 1.3 Å apart; expected 0.6 Å "
            "or less"
        )
