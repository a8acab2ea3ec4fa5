"""Scenario ``li-rich-haadf-drift``: fast annular dark-field frames of Li-rich oxide that drift.

Every frame has few electrons and a place of its own. Asked for are the displacements of all scan
lines and the three M-M distances by which slow scans are calibrated.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from ase import Atoms
from pydantic import Field

from echolith.forward.acquisition import Aberrations, Beam, Settings
from echolith.forward.fast_frames import FastFrames, frame_displacements
from echolith.forward.haadf_frames import haadf_frames_mean
from echolith.forward.noise import PoissonCounting
from echolith.forward.placement import scan_positions, to_scan_frame
from echolith.forward.scan_distortion import ScanDistortion
from echolith.forward.simulation import Simulation
from echolith.inverse.haadf_columns import BrightColumns
from echolith.inverse.haadf_reference import haadf_reference, metal_distances
from echolith.inverse.registration import RegistrationOptions
from echolith.structures.columns import Rectangle, true_columns
from echolith.structures.occupation import Occupation
from echolith.units import Angstrom
from echolith.validation.drift_bound import marginal_information
from echolith.validation.exposure import Exposure, PreparedInformation, SameField, Step
from echolith.validation.gauge import remove_shift
from echolith.validation.information import Information
from echolith.validation.metrics import (
    NamedMetric,
    absolute_error,
    column_rms,
    false_columns,
    found_fraction,
)
from echolith.validation.residuals import array_residuals, column_residuals
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios.li_rich_specimen import SpecimenSettings, build_specimen
from echolith.validation.scenarios.stem_settings import aliasing
from echolith.validation.statistics import Residuals

Array = npt.NDArray[np.float64]

SUMMARY = (
    "Li-rich layered oxide along [010]: drifting fast HAADF frames, registration, M-M distances"
)
QUANTITIES = ("m_m", "m_m_olio", "m_m_li")
EDGE = 2.0
"""Å; true columns nearer than this to the border of the scan are not asked for."""
PROBE = 20.0
"""Å; specimen needed beyond the scanned field."""
SLOW = 1.2
"""Å from frame to frame: just below half of the shortest lattice vector."""
EACH = 16
"""Of so many lines one is kept for single values: neighbours tell the same."""
STEP = 0.01
"""Å, of the numerical slopes of the mean."""


class HaadfSolver(Settings):
    """Options of the reference solver."""

    registration: RegistrationOptions = RegistrationOptions()
    columns: BrightColumns = BrightColumns()


class LiRichHaadfDriftSettings(SpecimenSettings):
    """What can be set in the scenario ``li-rich-haadf-drift``."""

    thickness: Annotated[Angstrom, Field(gt=0, le=1000)] = 100.0
    """2 nm scatter a third of a per mille of the beam to 73 to 100 mrad, 10 nm ten times that."""
    occupation: Occupation = Occupation.ORDERED
    """Ordered is one cell that repeats, simulated in seconds; frames of it show nothing but the
    lattice."""
    beam: Beam = Beam()
    frames: FastFrames = FastFrames()
    distortion: ScanDistortion = ScanDistortion(
        drift=(0.3, -0.5), random_drift=0.1, line_jitter=0.02
    )
    """Of the probe, through all frames; unknown to the solver. The seed of a case is added to its
    own."""
    residual: Aberrations = Aberrations()
    """Of the probe beyond those of the beam, unknown to the solver."""
    simulation: Simulation = Simulation()
    solver: HaadfSolver = HaadfSolver()


def _registration(settings: LiRichHaadfDriftSettings) -> RegistrationOptions:
    """Return the options with what is known of the drift beforehand: that it is slow, if it is."""
    known = settings.solver.registration
    if known.largest_shift is not None or settings.frames.frames < 2:
        return known
    # Steady drift, and three times the random one: that wanders by less within a series.
    period = float(settings.frames.starts()[1])
    distortion = settings.distortion
    fastest = float(np.hypot(*distortion.drift)) * period + 3 * distortion.random_drift
    return known.model_copy(update={"largest_shift": SLOW}) if fastest < SLOW else known


@dataclass(frozen=True, kw_only=True)
class DriftingField:
    """What is seen, and how the probe moves over it."""

    atoms: Atoms
    distortion: ScanDistortion


def li_rich_haadf_drift(settings: LiRichHaadfDriftSettings) -> Scenario:
    """Make the scenario from its settings.

    Parameters
    ----------
    settings : LiRichHaadfDriftSettings

    Returns
    -------
    Scenario
    """
    return Scenario(
        name="li-rich-haadf-drift",
        settings=settings,
        build=partial(_build, settings),
        truth=partial(_truth, settings),
        forward=partial(_forward, settings),
        noise=PoissonCounting(),
        solver=partial(
            haadf_reference,
            registration=_registration(settings),
            columns=settings.solver.columns,
        ),
        gauge=remove_shift,
        metrics=(
            *(absolute_error(name) for name in QUANTITIES),
            residual("drift"),
            residual("displacement"),
            column_rms("M"),
            found_fraction("M"),
            false_columns(),
        ),
        quantities=QUANTITIES,
        notes=(
            "The solver's model differs from the generating one: images come from multislice of "
            "atoms; the solver takes the mean of other frames for what a frame shows, Gaussians "
            "for columns, and splines for the drift. Where the drift is slower than "
            f"{SLOW:g} Å a frame the solver is told so, for frames of a lattice cannot tell; where "
            "it is not, no distances are given unless solver.registration.largest_shift is set.",
        ),
        information=_information(settings),
        residuals=_residuals,
        exposure=_exposure(settings),
    )


def _exposure(settings: LiRichHaadfDriftSettings) -> Exposure:
    frames, distortion = settings.frames, settings.distortion
    # What drift and jitter are known of beforehand does not grow with the dose.
    known = distortion.random_drift or distortion.line_jitter
    rows, columns = frames.shape
    return Exposure(
        dose=frames.frames * frames.dose,
        dose_unit="e/Å²",
        values=frames.frames * rows * columns,
        seconds=frames.frames * (rows * (columns * frames.dwell + frames.flyback) + frames.pause),
        published=3.2e4,
        source="Song et al., Joule 6 (2022) 1049: 8 frames of 2e3 to 4e3 e/Å²",
        proportional=() if known else ("frames.dose",),
        follows={"frames.step": SameField("frames.shape", frames.scan.extent)},
        limits=aliasing(settings.beam, frames.step),
    )


def residual(what: str) -> NamedMetric:
    """Rms error of drift or of displacement per axis over all lines and frames, pm.

    The smooth drift alone, or with the jitter of single lines. A shift of all frames in common is
    no error.

    Parameters
    ----------
    what : {"drift", "displacement"}
    """

    def rms(estimate: xr.Dataset, truth: xr.Dataset) -> float:
        names = [f"{what}_{axis}" for axis in "xy"]
        if not set(names) <= set(estimate):
            return float("nan")
        errors = [(estimate[name] - truth[name]).values for name in names]
        return 100 * float(np.sqrt(np.mean([error.var() for error in errors])))

    return NamedMetric(name=f"residual_{what}", unit="pm", function=rms)


def _build(settings: LiRichHaadfDriftSettings, seed: int) -> DriftingField:
    distortion = settings.distortion.model_copy(update={"seed": settings.distortion.seed + seed})
    scan = settings.frames.scan
    moved = np.ptp(frame_displacements(settings.frames, distortion), axis=(0, 1, 2))[::-1]
    side = float(np.hypot(*scan.extent)) if scan.rotation else 0.0
    height, width = (
        max(length, side) + PROBE + move for length, move in zip(scan.extent, moved, strict=True)
    )
    atoms = build_specimen(settings, field=(height, width), seed=seed)
    return DriftingField(atoms=atoms, distortion=distortion)


def _forward(settings: LiRichHaadfDriftSettings, specimen: DriftingField) -> xr.Dataset:
    return haadf_frames_mean(
        specimen.atoms,
        beam=settings.beam,
        frames=settings.frames,
        distortion=specimen.distortion,
        residual=settings.residual,
        simulation=settings.simulation,
    )


def _truth(settings: LiRichHaadfDriftSettings, specimen: DriftingField) -> xr.Dataset:
    frames = settings.frames
    calm = specimen.distortion.model_copy(update={"line_jitter": 0.0, "position_jitter": 0.0})
    variables = {}
    for what, distortion in (("displacement", specimen.distortion), ("drift", calm)):
        lines = frame_displacements(frames, distortion).mean(axis=2)
        for n, axis in enumerate("xy"):
            variables[f"{what}_{axis}"] = (("frame", "scan_y"), lines[..., n], {"units": "Å"})
    columns = _columns(settings, specimen.atoms)
    distances = metal_distances(columns)[list(QUANTITIES)]
    coords = {
        "frame": np.arange(frames.frames),
        "scan_y": ("scan_y", np.arange(frames.shape[0]) * frames.step[0], {"units": "Å"}),
    }
    return xr.merge([xr.Dataset(variables, coords=coords), columns, distances])


def _columns(settings: LiRichHaadfDriftSettings, atoms: Atoms) -> xr.Dataset:
    """Return the true M columns in the field, in the scan frame; those near its border flagged."""
    scan, cell = settings.frames.scan, np.asarray(atoms.cell)
    corners = scan_positions(scan, cell)[[0, 0, -1, -1], [0, -1, 0, -1]]
    (x_min, y_min), (x_max, y_max) = corners.min(axis=0) - 1, corners.max(axis=0) + 1
    region = Rectangle(x_min=x_min, x_max=x_max, y_min=y_min, y_max=y_max)
    found = true_columns(atoms, region=region)[["x", "y", "species"]]
    found = found.isel(column=found["species"].values == "M")
    xy = to_scan_frame(np.stack([found["x"].values, found["y"].values], axis=-1), scan, cell)
    height, width = scan.extent
    inset = np.minimum(xy, np.array([width, height]) - xy).min(axis=1)
    moved = found.assign(
        x=("column", xy[:, 0], {"units": "Å", "long_name": "x in the scan frame"}),
        y=("column", xy[:, 1], {"units": "Å", "long_name": "y in the scan frame"}),
        edge=("column", inset < EDGE),
    )
    return moved.isel(column=np.flatnonzero(inset > 0))


def _residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    names = [f"{what}_{axis}" for what in ("drift", "displacement") for axis in "xy"]
    parts = [
        name + suffix for name in names for suffix in ("", "_std") if name + suffix in estimate
    ]
    few = {"scan_y": slice(None, None, EACH)}
    lines = array_residuals(estimate[parts].isel(few), truth[names].isel(few))
    return lines | column_residuals(estimate, truth)


@dataclass(frozen=True, kw_only=True)
class _Moved:
    """Displacements of one frame, shifted."""

    base: Array
    shift: tuple[float, float]

    def displacements(self, _scan: object, /) -> Array:
        """Return them, (ny, nx, 2) xy in Å."""
        return np.asarray(self.base + np.array(self.shift))


def _information(settings: LiRichHaadfDriftSettings) -> PreparedInformation:
    """Information about a uniform strain of the crystal, drift and jitter unknown.

    A crystal displaced by ``u(R) = shift + strain R`` shows ``I(R - u)``: its mean changes by
    ``-grad I . u``.
    """
    key = settings.model_dump_json(exclude={"solver": True, "frames": {"dose"}})
    return PreparedInformation(
        steps=(Step(key, partial(_line_information, settings)),),
        finish=partial(_strain_information, settings),
    )


def _line_information(
    settings: LiRichHaadfDriftSettings, _before: None, specimen: DriftingField
) -> Array:
    """Return the information of every line on strain and shift at 1 e/Å² a frame, (line, 6, 6)."""
    frames = settings.frames
    base = frame_displacements(frames, specimen.distortion)
    shifts = [(0.0, 0.0), (STEP, 0.0), (-STEP, 0.0), (0.0, STEP), (0.0, -STEP)]
    simulated = haadf_frames_mean(
        specimen.atoms,
        beam=settings.beam,
        frames=frames.model_copy(update={"frames": len(shifts) * frames.frames}),
        distortion=[_Moved(base=one, shift=shift) for shift in shifts for one in base],
        residual=settings.residual,
        simulation=settings.simulation,
    )
    counts = np.asarray(simulated["haadf"].values, dtype=np.float64) / frames.dose
    mean, *sides = counts.reshape(len(shifts), -1, frames.shape[1])
    slope = [(sides[n] - sides[n + 1]) / (2 * STEP) for n in (0, 2)]
    y, x = (np.arange(n) * d for n, d in zip(frames.shape, frames.step, strict=True))
    grid = np.stack(np.broadcast_arrays(x, y[:, None]), axis=-1)
    place = (grid + base).reshape(-1, frames.shape[1], 2)
    place = place - place.mean(axis=(0, 1))
    jacobian = [-slope[i] * place[..., j] for i in range(2) for j in range(2)]
    jacobian += [-slope[i] for i in range(2)]
    noise = PoissonCounting()
    return np.stack(
        [
            noise.information(one, slopes)
            for one, slopes in zip(mean, np.stack(jacobian, axis=-1), strict=True)
        ]
    )


def _strain_information(
    settings: LiRichHaadfDriftSettings, lines: Array, specimen: DriftingField
) -> Information:
    frames = settings.frames
    period = frames.shape[1] * frames.dwell + frames.flyback
    times = (frames.starts()[:, None] + period * np.arange(frames.shape[0])).ravel()
    names = (*(f"strain_{i}{j}" for i in "xy" for j in "xy"), "shift_x", "shift_y")
    vectors = metal_distances(_columns(settings, specimen.atoms))["vector"].values
    gradients = {
        name: np.concatenate([np.outer(v / np.hypot(*v), v).ravel(), np.zeros(2)])
        for name, v in zip(QUANTITIES, vectors, strict=True)
    }
    return Information(
        names=names,
        matrix=marginal_information(frames.dose * lines, times, specimen.distortion),
        gradients={name: gradient[None] for name, gradient in gradients.items()},
        units=dict.fromkeys(names[:4], "1")
        | dict.fromkeys(names[4:], "Å")
        | dict.fromkeys(QUANTITIES, "Å"),
        notes=(
            "Velocity of the drift, random drift and jitter of every line are unknown and "
            "marginalised; known are the sizes of the latter two, from which they are drawn, and "
            "that the lattice vector between frames is right.",
            "The crystal is known but for a strain as a whole: columns that stand by themselves "
            "cost more. Jitter of single positions is not counted.",
        ),
    )
