"""From far-field frames of one view to optical density and phase, with their noise measured.

Every scan of the view is reconstructed by itself; scans of one energy are aligned on each other.
Their mean, at a stated resolution, is the estimate, their difference its noise, and their Fourier
ring correlation before that the resolution: two scans have noise and positions of their own.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.far_field_options import Constraint, FarFieldSolver
from echolith.inverse.far_field_ptychography import far_field_ptychography
from echolith.inverse.resolution import ShellCorrelation, shell_correlation
from echolith.inverse.transmission_alignment import align_transmission
from echolith.inverse.transmission_filter import smoothed
from echolith.units import Angstrom

Array = npt.NDArray[np.float64]

MISTAKEN = 0.1
"""Part of the background that the object takes for its own, as measured (9 % on five specimens)."""


class TransmissionMap(Settings):
    """How optical density and phase of a view are recovered."""

    ptychography: FarFieldSolver = FarFieldSolver(
        constraint=Constraint.POISSON,
        iterations=60,
        alpha=1.0,
        background=True,
    )
    half_period: Annotated[Angstrom, Field(gt=0)] = 150.0
    """Resolution of the maps; finer detail is cut off (`low_pass`), most of the noise with it."""
    resolution: ShellCorrelation = ShellCorrelation()
    overlap: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Pixels with less than this share of the median illumination of the field are left out."""


def recover_transmission(
    measurement: xr.Dataset, *, field: tuple[int, int], options: TransmissionMap | None = None
) -> xr.Dataset:
    """Reconstruct every scan and energy of a view.

    OD = -2 ln |O|, phase = arg O. Counting noise of a pixel through which N photons passed would
    be sqrt(2 / N) in OD and sqrt(1 / 2N) in phase, if frames told nothing but their waves; the
    real one is ``noise_gain`` times that, from the difference of two scans.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (energy, scan, position, detector_y, detector_x), ``position_y`` and
        ``position_x`` (energy, scan, position); attributes as `far_field_mean`.
    field : (int, int)
        Pixels (y, x), odd, about the origin, to return.
    options : TransmissionMap, optional

    Returns
    -------
    xarray.Dataset
        ``optical_density``, ``phase`` (rad) over (energy, y, x), with ``_std``, NaN and infinite
        where the scan did not go; ``background`` (energy, scan), incoherent photons as a share;
        ``background_share``, its mean, with ``_std``;
        ``deviance`` (energy, scan); corrected ``position_y``, ``position_x`` with ``_std`` where
        asked for; with two scans ``noise_gain`` (energy), ``correlation`` and ``threshold``
        (energy, frequency), ``half_period`` (energy), Å, with ``_std``.

    Raises
    ------
    BadInputError
        If the field is not odd or reaches beyond the scan, or frames cannot be used.
    """
    options = options or TransmissionMap()
    _check(measurement, field)
    found = [
        _one_energy(measurement.sel(energy=[energy]).squeeze("energy"), field, options)
        for energy in measurement["energy"].values
    ]
    maps = xr.concat(found, dim=measurement["energy"], join="override")
    return maps.assign(_background_share(maps["background"].values))


def _background_share(found: Array) -> dict[str, tuple[tuple[()], float, dict[str, str]]]:
    """Return the mean background of all scans and its uncertainty."""
    scatter = float(found.std(ddof=1) / np.sqrt(found.size)) if found.size > 1 else 0.0
    mean = float(found.mean())
    return {
        "background_share": ((), mean, {"units": "1"}),
        "background_share_std": ((), float(np.hypot(scatter, MISTAKEN * mean)), {"units": "1"}),
    }


def _one_energy(
    measurement: xr.Dataset, field: tuple[int, int], options: TransmissionMap
) -> xr.Dataset:
    frames = measurement.assign_attrs(
        measurement.attrs | {"energy": float(measurement["energy"].values)}
    )
    scans = [
        far_field_ptychography(frames.isel(scan=n), options=options.ptychography)
        for n in range(frames.sizes["scan"])
    ]
    images = [_field(_at_resolution(scan, options), field, options) for scan in scans]
    photons = np.sum([i["illumination"] * abs(i["transmission"]) ** 2 for i in images], axis=0)
    found = [_maps(_aligned(images), photons), _told(scans, measurement)]
    if len(scans) > 1:
        found.append(_resolution(_aligned([_field(s, field, options) for s in scans]), options))
    return xr.merge(found)


def _aligned(images: list[xr.Dataset]) -> list[xr.DataArray]:
    """Return all transmissions moved onto the first."""
    first = images[0]["transmission"]
    rest = [align_transmission(i["transmission"].fillna(1.0), first) for i in images[1:]]
    return [first, *rest]


def _at_resolution(scan: xr.Dataset, options: TransmissionMap) -> xr.Dataset:
    wave = scan["transmission"]
    step = float(wave["x"][1] - wave["x"][0])
    return scan.assign(
        transmission=wave.copy(data=smoothed(wave.values, step, options.half_period))
    )


def _maps(waves: list[xr.DataArray], photons: Array) -> xr.Dataset:
    """Return the mean of all scans and its noise."""
    mean = waves[0].copy(data=np.mean([wave.values for wave in waves], axis=0))
    least = np.sqrt(2 / photons)
    values: dict[str, tuple[tuple[str, ...], Array, str]] = {}
    gain = 1.0
    if len(waves) > 1:
        pull = -2 * np.log(np.abs(waves[1].values / waves[0].values))
        pull = pull / (least * np.sqrt(len(waves)))
        gain = float(np.sqrt(np.mean(pull[np.isfinite(pull)] ** 2) / 2))
        values["noise_gain"] = ((), np.asarray(gain), "1")
    values["optical_density"] = (("y", "x"), -2 * np.log(np.abs(mean.values)), "1")
    values["optical_density_std"] = (("y", "x"), gain * least, "1")
    values["phase"] = (("y", "x"), np.angle(mean.values), "rad")
    values["phase_std"] = (("y", "x"), gain * least / 2, "rad")
    maps = xr.Dataset(
        {name: (dims, array, {"units": unit}) for name, (dims, array, unit) in values.items()},
        coords={"y": mean["y"], "x": mean["x"]},
    )
    for name in ("optical_density_std", "phase_std"):
        maps[name] = maps[name].fillna(np.inf)
    return maps


def _resolution(waves: list[xr.DataArray], options: TransmissionMap) -> xr.Dataset:
    """Correlate the optical density of two scans."""
    density = [w.copy(data=-2 * np.log(np.abs(w.values))) for w in waves[:2]]
    filled = [one.fillna(float(one.mean())) for one in density]
    found = shell_correlation(*filled, options=options.resolution)
    names = ["correlation", "threshold", "half_period", "half_period_std"]
    return found[names].fillna({"half_period_std": np.inf})


def _told(scans: list[xr.Dataset], measurement: xr.Dataset) -> xr.Dataset:
    """Return what was found beside the object, by scan."""
    photons = float(measurement.attrs["photons"])
    share = [float(scan["background"].sum()) / photons for scan in scans]
    told = {
        "background": ("scan", np.array(share), {"units": "1"}),
        "deviance": ("scan", np.array([float(s["deviance"][-1]) for s in scans]), {"units": "1"}),
    }
    names = [f"position_{axis}{mark}" for axis in "yx" for mark in ("", "_std")]
    places = {
        name: (("scan", "position"), np.stack([s[name].values for s in scans]), {"units": "Å"})
        for name in names
        if name in scans[0]
    }
    return xr.Dataset(told | places)


def _field(scan: xr.Dataset, field: tuple[int, int], options: TransmissionMap) -> xr.Dataset:
    """Cut the field about the origin; what was hardly illuminated is unknown."""
    images = scan[["transmission", "illumination"]]
    for dim, count in zip(("y", "x"), field, strict=True):
        axis = images[dim].values
        step = float(axis[1] - axis[0])
        middle = int(np.abs(axis).argmin())
        low, high = middle - count // 2, middle + count // 2 + 1
        if low < 0 or high > len(axis):
            raise BadInputError(
                f"the field of {count} pixels along {dim} reaches beyond the scan of {len(axis)}; "
                "take a smaller field or a larger scan"
            )
        images = images.isel({dim: slice(low, high)})
        images = images.assign_coords({dim: (dim, step * (np.arange(count) - count // 2))})
        images[dim].attrs["units"] = "Å"
    bright = images["illumination"]
    return images.where(bright > options.overlap * float(bright.median()))


def _check(measurement: xr.Dataset, field: tuple[int, int]) -> None:
    if "counts" not in measurement or {"energy", "scan"} - set(measurement["counts"].dims):
        dims = measurement["counts"].dims if "counts" in measurement else ()
        raise BadInputError(
            f"counts have dims {dims}; expected (energy, scan, position, detector_y, detector_x); "
            "add the missing ones with expand_dims"
        )
    if min(field) < 9 or any(n % 2 == 0 for n in field):
        raise BadInputError(f"field = {field} pixels; expected two odd numbers of 9 or more")
