"""What is said of energy-filtered images: maps and numbers with their uncertainty, and gaps."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from echolith.forward.filtered_acquisition import IMAGES
from echolith.inverse.filtered_registration import Shift
from echolith.inverse.log_ratio import LEAST_FILM, Film
from echolith.inverse.thickness_model import Maps, ThicknessOptions

Array = npt.NDArray[np.float64]


def of_pixels(found: Maps, others: list[Maps], film: Film) -> dict[str, Any]:
    """Return the maps and their standard deviations.

    Parameters
    ----------
    found : Maps
    others : list of Maps
        The same with one thing changed by its standard deviation each.
    film : Film
    """
    lithium = found.lithium
    # A ray of the rim meets who knows how much oxide, which has a background of its own.
    rim = film.particle & ~film.inside
    told = np.where(rim, np.nan, lithium.areal_density)

    def std(variance: Array, value: Array, changed: list[Array]) -> Array:
        common = sum(((one - value) ** 2 for one in changed), start=np.zeros(value.shape))
        return _or_unknown(np.sqrt(variance + common))

    rows = {
        "t_over_lambda": (found.tau, found.tau_variance, [o.tau for o in others], "1"),
        "thickness": (
            found.thickness,
            found.thickness_variance,
            [o.thickness for o in others],
            "Å",
        ),
        "areal_density": (
            told,
            lithium.variance,
            [o.lithium.areal_density for o in others],
            "1/Å²",
        ),
    }
    plane = ("y", "x")
    maps: dict[str, Any] = {}
    for name, (value, variance, changed, unit) in rows.items():
        maps[name] = (plane, value, {"units": unit})
        maps[f"{name}_std"] = (plane, std(variance, value, changed), {"units": unit})
    maps["areal_density_uncorrected"] = (plane, lithium.uncorrected, {"units": "1/Å²"})
    maps["lithium_significance"] = (plane, lithium.significance, {"units": "1"})
    maps["jump_ratio"] = (plane, lithium.jump_ratio, {"units": "1"})
    return maps


def of_the_whole(found: Maps, others: list[Maps], film: Film, *, pixel: float) -> dict[str, Any]:
    """Return support, volume and lithium of the particle and the rim about it, where determined.

    Lithium is measured inside; in the rim there is as much more as goes with its t/lambda.

    Parameters
    ----------
    found, others
        As for `of_pixels`.
    film : Film
    pixel : float
        Å.
    """
    thick = film.particle & np.isfinite(found.thickness)
    inside = film.inside & np.isfinite(found.lithium.areal_density)

    def volume(maps: Maps) -> float:
        return pixel**2 * float(maps.thickness[thick].sum())

    def by_inside(maps: Maps) -> float:
        return float(maps.expected[thick].sum() / maps.expected[inside].sum())

    def lithium(maps: Maps) -> float:
        return pixel**2 * float(maps.lithium.areal_density[inside].sum()) * by_inside(maps)

    # The level of the film is under every pixel.
    slope = np.sqrt(found.support_variance) * _per_tau(found, thick)
    if not np.isfinite(found.support):
        return {}
    rows: dict[str, tuple[Callable[[Maps], float], float, str]] = {
        "support": (attrgetter("support"), found.support_variance, "1")
    }
    if thick.any():
        rows["volume"] = (volume, pixel**4 * (found.thickness_white[thick].sum() + slope**2), "Å³")
    if inside.any():
        counting = pixel**4 * float(found.lithium.white[inside].sum())
        rows["lithium"] = (lithium, counting * by_inside(found) ** 2, "1")
    numbers: dict[str, Any] = {}
    for name, (of, variance, unit) in rows.items():
        value = of(found)
        common = sum((of(other) - value) ** 2 for other in others)
        numbers[name] = ((), value, {"units": unit})
        numbers[f"{name}_std"] = ((), float(np.sqrt(variance + common)), {"units": unit})
    return numbers


def _per_tau(found: Maps, inside: npt.NDArray[np.bool_]) -> float:
    """Return how much the sum of thicknesses changes by t/lambda of the film, Å."""
    above = found.tau[inside] - found.support
    return float(np.nan_to_num(found.thickness[inside] / above).sum()) if inside.any() else 0.0


def of_images(shifts: list[Shift], pixel: float) -> dict[str, Any]:
    """Return how far every image is from the reference."""
    found: dict[str, Any] = {}
    for axis, name in enumerate(("shift_y", "shift_x")):
        std = np.array([one.std[axis] for one in shifts])
        known = np.isfinite(std)
        value = np.where(known, [one.shift[axis] for one in shifts], np.nan)
        found[name] = ("image", pixel * value, {"units": "Å"})
        found[f"{name}_std"] = ("image", pixel * std, {"units": "Å"})
    return found


def undetermined(
    found: Maps, film: Film, shifts: list[Shift], options: ThicknessOptions
) -> list[str]:
    """Return what cannot be told, and why."""
    told = []
    for what, values in (("t/lambda", found.tau), ("lithium", found.lithium.areal_density)):
        lost = int((~np.isfinite(values)).sum())
        if lost:
            told.append(
                f"{what} of {lost} of {values.size} pixels: fewer than "
                f"{options.least_electrons:g} electrons in an image, or outside of one"
            )
    unknown = [name for name, s in zip(IMAGES, shifts, strict=True) if not np.isfinite(s.std).all()]
    if unknown:
        told.append(f"shift of {', '.join(unknown)}: too little to see; none was taken out")
    if not np.isfinite(found.support):
        told.append(
            f"thickness, volume and support: fewer than {LEAST_FILM} pixels show the film alone"
        )
    elif not film.particle.any():
        told.append("volume and lithium: nothing stands out from the film")
    else:
        rim = int((film.particle & ~film.inside).sum())
        told.append(f"lithium of {rim} pixels at the outline: oxide and metal share them")
    return told


def _or_unknown(std: Array) -> Array:
    """Return standard deviations, infinite where nothing is known."""
    return np.asarray(np.where(np.isfinite(std), std, np.inf))
