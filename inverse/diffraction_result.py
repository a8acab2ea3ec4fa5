"""From peaks to maps of strain, tilt and widths, and what is said about them."""

import warnings

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputWarning
from echolith.forward.goniometer import lean, lean_slopes
from echolith.inverse.diffraction_frames import DIMS, Frames
from echolith.inverse.diffraction_overview import Region
from echolith.inverse.diffraction_peaks import Peaks

Array = npt.NDArray[np.float64]

COARSE = 1.9
"""Standard deviations of a peak that a step of eta may be wide; a peak is never found narrower than
half a step."""
EXCESS = 6.0
"""Standard deviations of the photons outside the region from which a peak is said to be there."""
CLEAR = 10.0
"""Standard deviations of a peak's photons from which it is one."""
MANY = 0.5
"""Part of the peaks that may be cut off before it is said; a cluster of grains has some."""
UNLIKELY = 0.05
"""Strain of the median of a map that a crystal does not bear: the wavelength is wrong."""


def finished_maps(
    found: Peaks,
    shape: tuple[int, int],
    *,
    reference: float | None,
    inside: float,
    several: float,
) -> xr.Dataset:
    """Return maps over the scan; see `echolith.inverse.diffraction_map.recover_map`."""
    length = np.linalg.norm(found.centre, axis=1)
    known = np.isfinite(length) & (found.inside > inside)
    spacing = 2 * np.pi / length
    reference = reference or (float(np.median(spacing[known])) if known.any() else np.nan)
    along = _spread(found.centre / length[:, None], found.covariance)
    values = {
        "spacing": (spacing, along / length * spacing, "Å"),
        "strain": (spacing / reference - 1, along / length * spacing / reference, "1"),
        **_tilts(found),
        **{
            f"width_{axis}": (found.width[:, n], found.width_std[:, n], "1/Å")
            for n, axis in enumerate("xyz")
        },
        "peak_counts": (found.counts, found.counts_std, "photons"),
        "chi_square": (found.chi_square, found.chi_square_std, "1"),
    }
    maps = xr.Dataset()
    for name, (value, std, unit) in values.items():
        for key, entries, unknown in ((name, value, np.nan), (f"{name}_std", std, np.inf)):
            entries = np.where(known, entries, unknown).reshape(shape)
            maps[key] = (DIMS[:2], entries, {"units": unit})
    width = np.where(known, found.width.mean(axis=1), np.nan).reshape(shape)
    many = (known & (found.misfit > several)).reshape(shape)
    maps["width"] = (DIMS[:2], width, {"units": "1/Å"})
    maps["several_peaks"] = (DIMS[:2], many.astype(np.int8), {"units": "1"})
    return maps.assign(_mean_strain(maps))


def _spread(direction: Array, covariance: Array) -> Array:
    """Return the standard deviation along a direction at every point."""
    return np.asarray(np.sqrt(np.einsum("ni,nij,nj->n", direction, covariance, direction)))


def _tilts(found: Peaks) -> dict[str, tuple[Array, Array, str]]:
    tilt = lean(found.centre)
    slopes = lean_slopes(found.centre)
    covariance = slopes @ found.covariance @ slopes.transpose(0, 2, 1)
    size = np.hypot(*tilt.T)
    towards = tilt / np.maximum(size, 1e-12)[:, None]
    beside = np.stack([-towards[:, 1], towards[:, 0]], axis=-1)
    # A direction is known to half a turn at most: 180° over the square root of 3.
    turn = np.minimum(_spread(beside, covariance) / np.maximum(size, 1e-12), np.pi / 3**0.5)
    return {
        "tilt_x": (tilt[:, 0], np.sqrt(covariance[:, 0, 0]), "°"),
        "tilt_y": (tilt[:, 1], np.sqrt(covariance[:, 1, 1]), "°"),
        "tilt": (size, _spread(towards, covariance), "°"),
        "azimuth": (np.degrees(np.arctan2(tilt[:, 1], tilt[:, 0])), np.degrees(turn), "°"),
    }


def _mean_strain(maps: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the mean strain of all photons and its uncertainty; nothing without any point.

    Points at the rim, which one may have and another lacks, weigh little in it.
    """
    known = np.isfinite(maps["strain"].values)
    if not known.any():
        return {}
    photons = maps["peak_counts"].values[known]
    parts = photons / photons.sum()
    std = float(np.sqrt(((parts * maps["strain_std"].values[known]) ** 2).sum()))
    mean = float(parts @ maps["strain"].values[known])
    return {
        "mean_strain": xr.DataArray(1e6 * mean, attrs={"units": "ppm"}),
        "mean_strain_std": xr.DataArray(1e6 * std, attrs={"units": "ppm"}),
    }


def warn_of_steps(maps: xr.Dataset, step: float) -> None:
    """Say what it costs when the steps of eta are wider than the peak."""
    known = np.isfinite(maps["spacing"].values)
    if not known.any():
        return
    length = 2 * np.pi / float(maps["spacing"].values[known].mean())
    width = np.degrees(float(np.median(maps["width_x"].values[known])) / length)
    if step > COARSE * width:
        warnings.warn(
            f"steps of eta are {step:.3g}°, the peak's standard deviation is {width:.3g}°; "
            f"expected steps below {COARSE:g} of them: the tilt along the beam may be off by "
            f"{step / 12**0.5:.2g}° root mean square, however many photons there are, and the "
            "strain with it; take finer steps",
            BadInputWarning,
            stacklevel=3,
        )


def warn_of_wavelength(maps: xr.Dataset, frames: Frames, reference: float | None) -> None:
    """Say that the lattice spacing is far from the reference."""
    known = np.isfinite(maps["spacing"].values)
    if reference is None or not known.any():
        return
    spacing = float(np.median(maps["spacing"].values[known]))
    if abs(spacing / reference - 1) > UNLIKELY:
        warnings.warn(
            f"the median lattice spacing is {spacing:.5g} Å, the reference {reference:.5g} Å; no "
            f"crystal is strained by {spacing / reference - 1:.0%}: check beam_energy = "
            f"{frames.goniometer.beam_energy:g} eV, delta, distance and the reflection",
            BadInputWarning,
            stacklevel=3,
        )


def warn_of_saturation(saturated: int, saturation: float) -> None:
    """Say how many voxels were full."""
    if saturated:
        warnings.warn(
            f"{saturated} pixels of frames counted {saturation:g} photons, all they can; they are "
            "taken to have counted that or more, and told nothing else; attenuate the beam",
            BadInputWarning,
            stacklevel=3,
        )


def warn_of_region(found: Peaks, region: Region, inside: float) -> None:
    """Say how many points have their peak, or another one, outside the region."""
    beyond = found.beyond > EXCESS
    clear = found.counts > CLEAR * found.counts_std
    cut = clear & (found.inside <= inside)
    if beyond.any():
        warnings.warn(
            f"{beyond.sum()} of {len(beyond)} points have photons outside the region "
            f"{region} of eta, rows and columns that is fitted; set a larger one",
            BadInputWarning,
            stacklevel=3,
        )
    if cut.sum() > MANY * clear.sum():
        warnings.warn(
            f"{cut.sum()} of {len(cut)} points have less than {inside:.1%} of their peak inside "
            "the frames; they have no data; scan more of eta or use more of the detector",
            BadInputWarning,
            stacklevel=3,
        )
