"""Scenario ``li-rich-redox``: what carries the charge in Li-rich oxide, from drifting exposures.

A pristine and a charged particle, each in a slow 4D-STEM scan that drifts and whose aberrations are
not quite corrected, beside fast annular dark-field frames. Asked for are the changes of the eight
distances and which of the calculated models explains them (Song et al., Joule 6 (2022)).
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Self

import numpy as np
import xarray as xr
from ase import Atoms
from pydantic import Field, model_validator
from scipy import linalg

from echolith.distance_names import LONG_NAMES
from echolith.exposures import join_exposures
from echolith.forward.acquisition import (
    Aberrations,
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    Settings,
    StemAcquisition,
)
from echolith.forward.fast_frames import FastFrames
from echolith.forward.haadf_frames import haadf_frames_mean
from echolith.forward.noise import PoissonCounting
from echolith.forward.scan_distortion import ScanDistortion
from echolith.forward.stem import Simulation, stem_mean
from echolith.inverse.redox import RedoxSolver, recover_redox
from echolith.structures.li_rich_oxide import Occupation
from echolith.structures.li_rich_states import ChargeState
from echolith.structures.projected_cell import named_distances
from echolith.structures.redox_models import CHARGED_MODELS, Reading, RedoxModel, model_changes
from echolith.units import Angstrom, Degree, ElectronsPerSquareAngstrom
from echolith.validation.exposure import Exposure
from echolith.validation.gauge import nothing_free
from echolith.validation.information import Information
from echolith.validation.metrics import NamedMetric, absolute_error
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios.li_rich_oxide import LiRichOxideSettings, information
from echolith.validation.scenarios.li_rich_specimen import Layer, SpecimenSettings, build_specimen
from echolith.validation.scenarios.stem_settings import (
    map_exposure,
    meant_acquisition,
    probe_width,
)

SUMMARY = "Li-rich layered oxide before and after charging: changes of distances, redox model"
QUANTITIES = tuple(f"change_{name}" for name in LONG_NAMES)
MODELS = {model.value: model_changes(model, Reading.PLANE) for model in CHARGED_MODELS}
TURN = 100.0
"""Degree; from one exposure to the next the drift takes another direction."""

Specimens = Mapping[str, Atoms]


class LiRichRedoxSettings(Settings):
    """What can be set in the scenario ``li-rich-redox``."""

    model: RedoxModel | None = RedoxModel.O2
    """What the charged particle is; ``null`` for the published measured states."""
    exposures: tuple[ChargeState, ...] = (ChargeState.PRISTINE, ChargeState.CHARGED)
    thickness: Annotated[Angstrom, Field(gt=0, le=1000)] = 20.0
    occupation: Occupation = Occupation.RANDOM
    """With ``ordered`` every exposure is of the mean cell, without clusters: quick."""
    amorphous: tuple[Layer, Layer] = (0.0, 0.0)
    """Thickness of amorphous carbon on the entrance and on the exit face."""
    beam: Beam = Beam()
    residual: Aberrations = Aberrations(C10=50, C12=50, C21=500, C23=500)
    """Left over in the 4D-STEM scans, unknown to the solver."""
    frames_residual: Aberrations = Aberrations(C10=20, C12=20, C21=500, C23=500)
    """Left over in the fast frames, which are focused by their own contrast."""
    scan: Scan = Scan()
    detector: PixelDetector = PixelDetector()
    haadf: AnnularDetector | None = AnnularDetector()
    dose: Annotated[ElectronsPerSquareAngstrom, Field(gt=0)] = 8.1e4
    drift: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """Constant drift, Å for each Å of the slow scan axis."""
    drift_direction: Degree = 60.0
    """Of the first exposure, from x towards y; each further one turns by 100°."""
    jitter: ScanDistortion = ScanDistortion(random_drift=0.05, line_jitter=0.02)
    """What moves the probe beside the constant drift."""
    frames: FastFrames = FastFrames(
        shape=(320, 320), dose=4e3, detector=AnnularDetector(inner=50.0)
    )
    """Beside every exposure; from 50 mrad, for a specimen so thin scatters little beyond."""
    simulation: Simulation = Simulation()
    solver: RedoxSolver = RedoxSolver()

    @model_validator(mode="after")
    def _before_and_after(self) -> Self:
        first = self.exposures[:1] == (ChargeState.PRISTINE,)
        if not first or len(self.exposures) < 2 or len(set(self.exposures)) < len(self.exposures):
            given = ", ".join(state.value for state in self.exposures) or "none"
            raise ValueError(
                f"exposures = {given}; expected pristine, then charged, discharged or both"
            )
        if self.model is not None and not self.model.charged:
            raise ValueError(
                f"model = {self.model.value}; expected a charged one: "
                f"{', '.join(m.value for m in CHARGED_MODELS)}"
            )
        return self

    @property
    def acquisition(self) -> StemAcquisition:
        """The 4D-STEM measurement of every exposure, as meant."""
        return meant_acquisition(self)

    def specimen(self, state: ChargeState) -> SpecimenSettings:
        """Return what the particle is in a state."""
        if self.model is None:
            return self._specimen(state=state)
        model = {
            ChargeState.PRISTINE: RedoxModel.PRISTINE,
            ChargeState.CHARGED: self.model,
            ChargeState.DISCHARGED: RedoxModel.DISCHARGED,
        }[state]
        return self._specimen(model=model)

    def alone(self, state: ChargeState) -> LiRichOxideSettings:
        """Return one exposure as a measurement of its own, without what moves or blurs it."""
        return LiRichOxideSettings(
            **dict(self.specimen(state)),
            beam=self.beam,
            scan=self.scan,
            detector=self.detector,
            haadf=self.haadf,
            dose=self.dose,
            simulation=self.simulation,
        )

    def _specimen(self, **what: Any) -> SpecimenSettings:
        return SpecimenSettings(
            thickness=self.thickness,
            occupation=self.occupation,
            amorphous=self.amorphous,
            **what,
        )

    def distortion(self, exposure: int) -> ScanDistortion:
        """Return how the probe moves in one exposure."""
        angle = np.deg2rad(self.drift_direction + TURN * exposure)
        strain = (self.drift * float(np.sin(angle)), self.drift * float(np.cos(angle)))
        random = self.jitter.model_dump(exclude={"drift"})
        return ScanDistortion.from_strain(
            self.scan, strain=strain, **(random | {"seed": self.jitter.seed + exposure})
        )


def li_rich_redox(settings: LiRichRedoxSettings) -> Scenario:
    """Make the scenario from its settings.

    Raises
    ------
    BadInputError
        If the settings do not fit together, e.g. a detector that cuts the disc.
    """
    acquisition = settings.acquisition
    return Scenario(
        name="li-rich-redox",
        settings=settings,
        build=partial(_build, settings),
        truth=partial(_truth, settings),
        forward=partial(_forward, settings, acquisition),
        noise=PoissonCounting(),
        solver=partial(recover_redox, models=MODELS, options=settings.solver),
        gauge=nothing_free,
        metrics=(*(absolute_error(name) for name in QUANTITIES), model_right(), model_wrong()),
        quantities=QUANTITIES,
        notes=(
            "The solver's model differs from the generating one: data come from multislice of "
            "atoms with a moving, aberrated probe; the solver assumes a weak phase, an affine "
            "drift and the models' mean cells.",
        ),
        information=partial(_information, settings),
        exposure=_exposure(settings),
    )


def _exposure(settings: LiRichRedoxSettings) -> Exposure:
    """Return what one particle receives, and all maps and frames hold."""
    count, frames = len(settings.exposures), settings.frames
    maps = map_exposure(settings, dose=settings.dose + frames.frames * frames.dose, maps=count)
    return replace(maps, values=maps.values + count * frames.frames * int(np.prod(frames.shape)))


def _information(settings: LiRichRedoxSettings, specimens: Specimens) -> Information:
    """Join what the exposures tell; a change is the difference of two means over the field."""
    states = settings.exposures[:2]
    parts = [information(settings.alone(s))(specimens[s.value]) for s in states]
    names = tuple(
        f"{state.value} {name}"
        for state, part in zip(states, parts, strict=True)
        for name in part.names
    )
    before, after = (part.gradients for part in parts)
    gradients = {
        f"change_{name}": np.hstack([-before[name], after[name]])
        for name in LONG_NAMES
        if name in before and name in after
    }
    units = dict.fromkeys(gradients, "Å") | {n: "Å" for n in names if not n.endswith("strength")}
    matrix = linalg.block_diag(*(part.matrix for part in parts))
    drift = "Drift and aberrations are known: what calibration adds is not in the bound."
    return Information(
        names=names, matrix=matrix, gradients=gradients, units=units, notes=(*parts[0].notes, drift)
    )


def model_right() -> NamedMetric:
    """1 where the true model was found; "cannot tell" is no success, and no error."""
    return NamedMetric(
        name="model_found", unit="1", function=lambda e, t: float(_found(e) == _true(t))
    )


def model_wrong() -> NamedMetric:
    """1 where another than the true model was found."""
    return NamedMetric(
        name="model_wrong", unit="1", function=lambda e, t: float(_found(e) not in ("", _true(t)))
    )


def _found(estimate: xr.Dataset) -> str:
    return str(estimate["supported"].values) if "supported" in estimate else ""


def _true(truth: xr.Dataset) -> str:
    return str(truth.attrs["model"])


def _field(settings: LiRichRedoxSettings) -> tuple[float, float]:
    """Height and width that hold the scans, the frames, what drift adds, and a probe."""
    box = probe_width(settings)
    scans = [
        np.array(settings.scan.extent)
        + np.ptp(settings.distortion(n).displacements(settings.scan), axis=(0, 1))[::-1]
        for n in range(len(settings.exposures))
    ]
    spare = 2 + 8 * settings.jitter.random_drift
    fast = np.array(settings.frames.scan.extent) + spare
    height, width = np.max([*scans, fast], axis=0) + box
    return float(height), float(width)


def _build(settings: LiRichRedoxSettings, seed: int) -> Specimens:
    field = _field(settings)
    return {
        state.value: build_specimen(settings.specimen(state), field=field, seed=seed)
        for state in settings.exposures
    }


def _truth(settings: LiRichRedoxSettings, _specimens: Specimens) -> xr.Dataset:
    lengths = [named_distances(settings.specimen(state).parameters) for state in settings.exposures]
    table = np.array([[one[name] for name in LONG_NAMES] for one in lengths])
    coords = {
        "exposure": [state.value for state in settings.exposures],
        "distance": list(LONG_NAMES),
    }
    truth = xr.Dataset(
        {"length": (("exposure", "distance"), table, {"units": "Å"})},
        coords=coords,
        attrs={"model": settings.model.value if settings.model else ""},
    )
    for n, state in enumerate(settings.exposures[1:], start=1):
        mark = "" if n == 1 else f"{state.value}_"
        for name, change in zip(LONG_NAMES, table[n] - table[0], strict=True):
            truth[f"{mark}change_{name}"] = ((), change, {"units": "Å"})
    return truth


def _forward(
    settings: LiRichRedoxSettings, acquisition: StemAcquisition, specimens: Specimens
) -> xr.Dataset:
    sets, frames = {}, {}
    for n, (state, atoms) in enumerate(specimens.items()):
        distortion = settings.distortion(n)
        sets[state] = stem_mean(
            atoms,
            acquisition=acquisition,
            simulation=settings.simulation,
            distortion=None if distortion.still else distortion,
            residual=settings.residual,
        )
        frames[state] = haadf_frames_mean(
            atoms,
            beam=settings.beam,
            frames=settings.frames,
            distortion=distortion.model_copy(update={"seed": distortion.seed + 1000}),
            residual=settings.frames_residual,
            simulation=settings.simulation,
        )
    return join_exposures(sets, frames=frames)
