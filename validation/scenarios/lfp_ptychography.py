"""Scenario ``lfp-ptychography``: LiFePO4 plates in one view, from far-field frames.

Asked for are optical density and phase of every pixel, the incoherent background and, where scan
positions are wrong and corrected, where the probe really was. Each view is scanned twice, so that
noise and resolution are measured.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field, model_validator

from echolith.forward.acquisition import Settings
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.far_field import FarField, incoherent_background
from echolith.forward.far_field_views import (
    far_field_scans,
    field_needed,
    scan_seed,
    true_positions,
)
from echolith.forward.phosphate_exit_wave import exit_waves
from echolith.forward.phosphate_paths import View
from echolith.forward.xray_absorption import ENERGIES, IronEdge
from echolith.forward.xray_probe import ZonePlate
from echolith.inverse.transmission_alignment import align_transmission
from echolith.inverse.transmission_filter import low_pass
from echolith.inverse.transmission_map import TransmissionMap, recover_transmission
from echolith.structures.phosphate_ensemble import PlateEnsemble, phosphate_ensemble
from echolith.structures.phosphate_plates import PhosphateSpecimen
from echolith.structures.plate_packing import PackingRegion
from echolith.units import Angstrom, Degree, Electronvolt
from echolith.validation.exposure import Exposure, SameField
from echolith.validation.far_field_bound import far_field_information, view_of_frames
from echolith.validation.information import Information
from echolith.validation.metrics import NamedMetric, root_mean_square
from echolith.validation.scenario import Scenario
from echolith.validation.statistics import Residuals

SUMMARY = "LiFePO4 plates, soft X-ray ptychography: optical density and phase of one view"
FRAMES = FarField(
    plate=ZonePlate(defocus=5e4),
    shape=(10, 10),
    step=350.0,
    jitter=100.0,
    pixels=64,
    background=0.05,
)
"""A small scan, densely overlapping."""
BOUND_PIXELS = ((0, 0), (5, -4))
"""Whose bounds are found, from the middle of the field."""


class LfpPtychographySettings(Settings):
    """What can be set in the scenario ``lfp-ptychography``."""

    plates: Annotated[int, Field(ge=1, le=150)] = 6
    state_of_charge: Annotated[float, Field(ge=0, le=1)] = 0.2
    active_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    tilt: Annotated[Degree, Field(ge=-90, le=90)] = 0.0
    energies: tuple[Electronvolt, ...] = ENERGIES
    """One or more; every one is scanned."""
    scans: Annotated[int, Field(ge=1, le=10)] = 2
    """Of each energy; two or more tell noise and resolution."""
    frames: FarField = FRAMES
    """Its energy is that of the scan."""
    slab: Annotated[Angstrom, Field(gt=0)] | None = 500.0
    """Of multislice; ``null`` for the projection approximation."""
    edge: IronEdge = IronEdge()
    solver: TransmissionMap = TransmissionMap()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if not self.energies or len(set(self.energies)) < len(self.energies):
            raise ValueError(
                f"energies = {self.energies} eV; expected one or more, each once, e.g. "
                f"{ENERGIES[0]:g} and {ENERGIES[1]:g} eV"
            )
        return self

    @property
    def field(self) -> tuple[int, int]:
        """Odd numbers of pixels (y, x) that the scan covers evenly."""
        step, size = self.frames.step, self.frames.pixel_size
        rows, columns = (
            max(9, 2 * int(((n - 1) / 2 - 0.5) * step / size) + 1) for n in self.frames.shape
        )
        return rows, columns

    @property
    def ensemble(self) -> PlateEnsemble:
        """Plates in a cylinder as wide as the scan."""
        side = max(1500.0, max(self.field) * self.frames.pixel_size)
        return PlateEnsemble(
            count=self.plates,
            region=PackingRegion(height=side, width=side, depth=side),
            state_of_charge=self.state_of_charge,
            active_fraction=self.active_fraction,
            facet_area=5e5,
            facet_spread=0.3,
            gap=-60.0,
            binder=min(2, self.plates),
            binder_radius=200.0,
        )


@dataclass(frozen=True, kw_only=True)
class ScannedPlates:
    """Plates, and the seed of where the probe goes."""

    plates: PhosphateSpecimen
    seed: int


def lfp_ptychography(settings: LfpPtychographySettings) -> Scenario:
    """Make the scenario from its settings.

    Raises
    ------
    BadInputError
        If the probe does not fit the frames.
    """
    frames = settings.frames
    return Scenario(
        name="lfp-ptychography",
        settings=settings,
        build=partial(_build, settings),
        truth=partial(_truth, settings),
        forward=partial(_forward, settings),
        noise=DetectorNoise(readout=frames.readout, saturation=frames.saturation),
        solver=partial(recover_transmission, field=settings.field, options=settings.solver),
        gauge=align_to_truth,
        metrics=(
            NamedMetric(name="relative_error", unit="1", function=relative_error),
            root_mean_square("optical_density"),
            root_mean_square("phase", unit="rad"),
            root_mean_square("position_y", unit="Å"),
            root_mean_square("position_x", unit="Å"),
            NamedMetric(name="background_error", unit="1", function=_background_error),
            NamedMetric(name="half_period", unit="Å", function=_half_period),
        ),
        quantities=("background_share",),
        notes=(
            "The solver's model differs from the generating one: frames come from waves on pixels "
            f"{frames.oversampling} times finer, "
            + (
                "by multislice; the solver knows one thin slice."
                if settings.slab
                else "through the projected specimen, as the solver assumes."
            ),
            f"Truth is the wave at the resolution of the maps, {settings.solver.half_period:g} Å "
            "half period. A constant phase, a phase plane and a shift of the object are free, and "
            "taken out.",
        ),
        information=partial(_information, settings),
        residuals=pixel_residuals,
        exposure=_exposure(settings),
    )


def _exposure(settings: LfpPtychographySettings) -> Exposure:
    frames = settings.frames
    rows, columns = frames.shape
    scans = settings.scans * len(settings.energies)
    counted = not frames.readout and frames.saturation is None
    return Exposure(
        dose=scans * frames.photons * frames.attenuation / frames.step**2,
        dose_unit="photons/Å²",
        values=scans * rows * columns * frames.pixels**2,
        proportional=("frames.photons", "scans") if counted else (),
        follows={
            "frames.step": SameField("frames.shape", (rows * frames.step, columns * frames.step))
        },
    )


def align_to_truth(estimate: xr.Dataset, truth: xr.Dataset) -> xr.Dataset:
    """Return the estimate with shift, phase and phase plane of every energy fitted to the truth."""
    if not {"optical_density", "phase"} <= set(estimate.data_vars):
        return estimate
    aligned = estimate.copy()
    density, phase = (estimate[n].copy(deep=True) for n in ("optical_density", "phase"))
    for n in range(estimate.sizes["energy"]):
        ours, true = (transmission_of(data.isel(energy=n)) for data in (estimate, truth))
        known = np.isfinite(ours.values)
        moved = align_transmission(ours.fillna(1.0), true.where(known)).values
        moved = np.where(known, moved, np.nan)
        density.values[n] = -2 * np.log(np.abs(moved))
        phase.values[n] = np.angle(moved)
    return aligned.assign(optical_density=density, phase=phase)


def transmission_of(image: xr.Dataset) -> xr.DataArray:
    """Return the complex transmission of optical density and phase."""
    wave = np.exp(-image["optical_density"].values / 2 + 1j * image["phase"].values)
    dims = image["phase"].dims
    return xr.DataArray(wave, dims=dims, coords={dim: image[dim].values for dim in ("y", "x")})


def relative_error(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    """Norm of the error of the transmission over that of the truth."""
    if not {"optical_density", "phase"} <= set(estimate.data_vars):
        return float("nan")
    parts = []
    for n in range(truth.sizes["energy"]):
        ours, true = (transmission_of(data.isel(energy=n)).values for data in (estimate, truth))
        known = np.isfinite(ours)
        parts.append(np.linalg.norm((ours - true)[known]) / np.linalg.norm(true[known]))
    return float(np.mean(parts))


def _background_error(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    if "background" not in estimate:
        return float("nan")
    return float(np.abs(estimate["background"].mean() - truth["background"].mean()))


def _half_period(estimate: xr.Dataset, _truth: xr.Dataset) -> float:
    """Half-bit resolution of two scans, mean of the energies."""
    return float(estimate["half_period"].mean()) if "half_period" in estimate else float("nan")


def pixel_residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    """Return the errors of both maps after the gauge, and of positions."""
    ours = align_to_truth(estimate, truth)
    found = {}
    for name, unit in (
        ("optical_density", "1"), ("phase", "rad"), ("position_y", "Å"), ("position_x", "Å"),
    ):  # fmt: skip
        if name not in ours or f"{name}_std" not in ours:
            continue
        error = (ours[name].values - truth[name].values).ravel()
        known = np.flatnonzero(np.isfinite(error))
        std = ours[f"{name}_std"].values.ravel()[known]
        found[name] = Residuals(key=known, error=error[known], std=std, unit=unit)
    return found


def _build(settings: LfpPtychographySettings, seed: int) -> ScannedPlates:
    return ScannedPlates(plates=phosphate_ensemble(settings.ensemble, seed=seed), seed=seed)


def _waves(settings: LfpPtychographySettings, specimen: ScannedPlates) -> xr.DataArray:
    fine = settings.frames.pixel_size / settings.frames.oversampling
    # Even, so that the pixel lattice of the reconstruction falls on every second border of pixels.
    count = 2 * int(np.ceil(field_needed(settings.frames) / fine))
    return exit_waves(
        specimen.plates,
        View(tilt=settings.tilt),
        energies=settings.energies,
        shape=(count, count),
        pixel_size=fine,
        edge=settings.edge,
        slab=settings.slab,
    )


def _forward(settings: LfpPtychographySettings, specimen: ScannedPlates) -> xr.Dataset:
    return far_field_scans(
        _waves(settings, specimen),
        settings=settings.frames,
        scans=settings.scans,
        seed=specimen.seed,
    )


def at_resolution(
    waves: xr.DataArray, pixel_size: float, field: tuple[int, int], half_period: float | None
) -> npt.NDArray[np.complex128]:
    """Return waves (energy, y, x) on larger pixels of a field, finer detail cut off.

    Parameters
    ----------
    waves : xarray.DataArray
        Coordinates in Å around 0.
    pixel_size : float
        Å, of the result; its pixels lie at whole multiples.
    field : (int, int)
        Odd numbers of pixels (y, x).
    half_period : float or None
        As for `low_pass`, Å; None: all that the pixels hold.
    """
    places = [waves[dim].values for dim in ("y", "x")]
    axes = [np.fft.fftfreq(len(place), float(place[1] - place[0])) for place in places]
    spectrum = np.fft.fft2(waves.values)
    if half_period is not None:
        spectrum = spectrum * low_pass(axes, half_period)
    for axis, place, frequency, count in zip((-2, -1), places, axes, field, strict=True):
        wanted = pixel_size * (np.arange(count) - count // 2)
        kept = np.abs(frequency) <= 0.5 / pixel_size
        back = np.exp(2j * np.pi * np.outer(wanted - place[0], frequency)) * kept / len(place)
        spectrum = np.moveaxis(np.tensordot(spectrum, back, axes=([axis], [1])), -1, axis)
    return np.asarray(spectrum)


def _truth(settings: LfpPtychographySettings, specimen: ScannedPlates) -> xr.Dataset:
    size = settings.frames.pixel_size
    waves = at_resolution(
        _waves(settings, specimen), size, settings.field, settings.solver.half_period
    )
    shape = (len(settings.energies), settings.scans)
    truth = true_positions(settings.frames, energies=shape[0], scans=shape[1], seed=specimen.seed)
    maps = ("energy", "y", "x")
    truth["optical_density"] = (maps, -2 * np.log(np.abs(waves)), {"units": "1"})
    truth["phase"] = (maps, np.angle(waves), {"units": "rad"})
    share = np.full(shape, settings.frames.background)
    truth["background"] = (("energy", "scan"), share, {"units": "1"})
    truth["background_share"] = ((), settings.frames.background, {"units": "1"})
    axes = {
        dim: (dim, size * (np.arange(n) - n // 2), {"units": "Å"})
        for dim, n in zip(("y", "x"), settings.field, strict=True)
    }
    energies = ("energy", np.array(settings.energies, dtype=float), {"units": "eV"})
    return truth.assign_coords({"energy": energies, **axes})


def _information(settings: LfpPtychographySettings, specimen: ScannedPlates) -> Information:
    """Return that of the first energy's scans, on the pixels of the reconstruction."""
    size = settings.frames.pixel_size
    count = 2 * int(np.ceil(field_needed(settings.frames) / size)) - 3
    fine = _waves(settings.model_copy(update={"energies": settings.energies[:1]}), specimen)
    wave = at_resolution(fine, size, (count, count), None)[0]
    view = view_of_frames(
        wave,
        settings.frames.model_copy(update={"energy": settings.energies[0]}),
        seed=scan_seed(specimen.seed, 0, 0),
        background=incoherent_background(settings.frames).astype(np.float64),
        repeats=settings.scans,
    )
    middle = count // 2
    half = [n // 2 for n in settings.field]
    return far_field_information(
        view,
        np.array(BOUND_PIXELS) + middle,
        passed=low_pass(2 * [np.fft.fftfreq(count, size)], settings.solver.half_period),
        field=(
            slice(middle - half[0], middle + half[0] + 1),
            slice(middle - half[1], middle + half[1] + 1),
        ),
    )
