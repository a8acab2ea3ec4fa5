"""The scenario ``li-saed``: spots of a lithium crystal on rings of what covers it."""

from enum import Enum
from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field, field_validator
from scipy.spatial.transform import Rotation

from echolith.forward.acquisition import Settings
from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.saed import Polycrystal, SaedAcquisition, SaedSpecimen, saed_mean
from echolith.forward.saed_lattice import ring_lines
from echolith.forward.saed_spots import SingleCrystal
from echolith.inverse.saed import UNKNOWN, SaedSolver, solve_pattern
from echolith.inverse.saed_spot_crystal import misorientation
from echolith.seeds import stream
from echolith.structures.crystals import crystal_data
from echolith.units import Angstrom, Degree
from echolith.validation.exposure import Exposure
from echolith.validation.gauge import nothing_free
from echolith.validation.metrics import NamedMetric
from echolith.validation.saed_bound import SaedCase, saed_information
from echolith.validation.scenario import Scenario

Array = npt.NDArray[np.float64]

SUMMARY = "Lithium under its oxide, electron diffraction: phases, centre, ellipse, orientation"
CANDIDATES = ("Li", "Li2O", "LiF", "Li2CO3", "Li7La3Zr2O12", "Na", "Na2O")
ZONES = ((0, 0, 1), (0, 1, 1), (1, 1, 1), (0, 1, 2), (1, 1, 3))
"""Zone axes near which the crystal lies."""
CERTAIN = 0.95
ROTATIONS = Rotation.create_group("O").as_matrix()


class SpotCrystal(Enum):
    """Whose spots there are."""

    LITHIUM = "Li"
    SODIUM = "Na"
    NONE = "none"


class LiSaedSettings(Settings):
    """What can be set in the scenario ``li-saed``."""

    acquisition: SaedAcquisition = SaedAcquisition()
    """Its centre, stretch and camera error are those about which the true ones are drawn."""
    phases: tuple[str, ...] | None = None
    """Of the rings, crystals of the table; None: one to three candidates, drawn."""
    crystal: SpotCrystal = SpotCrystal.LITHIUM
    scattered: Annotated[float, Field(gt=0, lt=0.5)] = 0.02
    """Part of the beam that the rings hold."""
    least: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Of the electrons in the rings, in those of one phase, before they are made one in sum."""
    sizes: tuple[Annotated[Angstrom, Field(gt=20)], Annotated[Angstrom, Field(gt=20)]] = (
        150.0,
        500.0,
    )
    """Between which the size of a phase's crystallites is drawn."""
    thicknesses: tuple[Annotated[Angstrom, Field(gt=5)], Annotated[Angstrom, Field(gt=5)]] = (
        100.0,
        350.0,
    )
    """Of the crystal."""
    tilt: Annotated[Degree, Field(ge=0, le=20)] = 2.0
    """Standard deviation of each component of the crystal's tilt from a zone axis."""
    centre_spread: Annotated[float, Field(ge=0, le=100)] = 6.0
    """Pixels, standard deviation of the centre of the pattern."""
    stretch_spread: Annotated[float, Field(ge=0, le=0.02)] = 0.008
    camera_spread: Annotated[float, Field(ge=0, le=0.03)] = 0.005
    """Standard deviation of the true camera constant about that told; the solver is told it."""
    solver: SaedSolver = SaedSolver()

    @field_validator("phases", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("phases")
    @classmethod
    def _known(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in value or ():
            crystal_data(name)
        return value


def li_saed(settings: LiSaedSettings) -> Scenario:
    """Make the scenario ``li-saed`` from its settings."""
    candidates = tuple(crystal_phase(name) for name in CANDIDATES)
    search = settings.solver.rings.model_copy(
        update={"camera_std": max(settings.camera_spread, 1e-4)}
    )
    solver = settings.solver.model_copy(update={"rings": search})
    return Scenario(
        name="li-saed",
        settings=settings,
        build=partial(drawn_case, settings),
        truth=case_truth,
        forward=lambda case: saed_mean(case.specimen, acquisition=case.acquisition),
        noise=DetectorNoise(saturation=settings.acquisition.saturation),
        solver=partial(solve_pattern, candidates=candidates, options=solver),
        gauge=nothing_free,
        metrics=(
            NamedMetric(name="centre_error", unit="pixel", function=_centre_error),
            NamedMetric(name="ellipse_error", unit="%", function=_ellipse_error),
            NamedMetric(name="wrong_phases", unit="1", function=_wrong_phases),
            NamedMetric(name="cannot_tell", unit="1", function=_cannot_tell),
            NamedMetric(name="misorientation", unit="°", function=_misorientation),
        ),
        quantities=("centre_x", "centre_y", "stretch_p", "stretch_q", "camera_scale"),
        notes=(
            "The solver's model differs from the generating one: one line shape for all phases, "
            "errors of strengths and widths in the covariance, any profile for centre and ellipse.",
            "Both take structure factors from the same tables, and spots from many beams at once.",
        ),
        information=saed_information,
        residuals=lambda _estimate, _truth: {},  # quantities alone have pulls
        exposure=_exposure(settings.acquisition),
    )


def _exposure(acquisition: SaedAcquisition) -> Exposure:
    # Highest, of what is not a spot, is the background beside the beam stop.
    level = acquisition.electrons * sum(share for share, _ in acquisition.background)
    most = acquisition.saturation
    return Exposure(
        dose=acquisition.electrons,
        dose_unit="e",
        values=int(np.prod(acquisition.shape)),
        proportional=() if acquisition.dark else ("acquisition.electrons",),
        limits=(f"{level:.3g} electrons in a pixel near the beam, which counts {most} at most",)
        if most is not None and level > most
        else (),
    )


def drawn_case(settings: LiSaedSettings, seed: int) -> SaedCase:
    """Draw specimen and instrument."""
    rng = stream(seed, "li-saed")
    taken = settings.acquisition
    centre = np.array(taken.middle) + settings.centre_spread * rng.standard_normal(2)
    p, q = np.array(taken.stretch) + settings.stretch_spread * rng.standard_normal(2)
    error = taken.camera_error + settings.camera_spread * float(rng.standard_normal())
    acquisition = taken.model_copy(
        update={
            "centre": (float(centre[0]), float(centre[1])),
            "stretch": (float(p), float(q)),
            "camera_error": error,
        }
    )
    names = settings.phases
    if names is None:
        count = int(rng.integers(1, 4))
        names = tuple(str(name) for name in rng.choice(CANDIDATES, count, replace=False))
    shares = np.maximum(rng.dirichlet(np.full(len(names), 3.0)), settings.least)
    shares *= settings.scattered / shares.sum()
    rings = tuple(
        _polycrystal(name, float(share), float(rng.uniform(*settings.sizes)), acquisition)
        for name, share in zip(names, shares, strict=True)
    )
    crystals: tuple[SingleCrystal, ...] = ()
    if settings.crystal is not SpotCrystal.NONE:
        crystals = (_crystal(settings, rng),)
    return SaedCase(
        specimen=SaedSpecimen(polycrystals=rings, crystals=crystals), acquisition=acquisition
    )


def _polycrystal(
    name: str, share: float, size: Angstrom, acquisition: SaedAcquisition
) -> Polycrystal:
    phase = crystal_phase(name)
    _, strength = ring_lines(phase, energy=acquisition.energy, d_min=0.9)
    return Polycrystal(phase=phase, thickness=min(share / strength.sum(), 5000.0), size=size)


def _crystal(settings: LiSaedSettings, rng: np.random.Generator) -> SingleCrystal:
    zone = np.array(ZONES[int(rng.integers(len(ZONES)))], dtype=float)
    upright, _ = Rotation.align_vectors([[0.0, 0.0, -1.0]], [zone])
    turn = Rotation.from_rotvec([0.0, 0.0, float(rng.uniform(0, 360))], degrees=True)
    lean = Rotation.from_rotvec([*settings.tilt * rng.standard_normal(2), 0.0], degrees=True)
    vector = (lean * turn * upright).as_rotvec(degrees=True)
    return SingleCrystal(
        phase=crystal_phase(settings.crystal.value),
        orientation=(float(vector[0]), float(vector[1]), float(vector[2])),
        thickness=float(rng.uniform(*settings.thicknesses)),
        share=0.5,
    )


def case_truth(case: SaedCase) -> xr.Dataset:
    """Return geometry, phases and orientation as they are."""
    acquisition, specimen = case.acquisition, case.specimen
    values = {
        "centre_x": (acquisition.middle[0], "pixel"),
        "centre_y": (acquisition.middle[1], "pixel"),
        "stretch_p": (acquisition.stretch[0], "1"),
        "stretch_q": (acquisition.stretch[1], "1"),
        "camera_scale": (1 + acquisition.camera_error, "1"),
    }
    there = {part.phase.name for part in specimen.polycrystals}
    there |= {crystal.phase.name for crystal in specimen.crystals}
    probability = [float(name in there) for name in CANDIDATES]
    probability.append(float(bool(there - set(CANDIDATES))))
    truth = xr.Dataset(
        {name: ((), value, {"units": unit}) for name, (value, unit) in values.items()},
        coords={"candidate": [*CANDIDATES, UNKNOWN]},
    )
    truth["probability"] = ("candidate", np.array(probability), {"units": "1"})
    if specimen.crystals:
        truth["orientation"] = (
            ("axis", "crystal_axis"),
            specimen.crystals[0].rotation,
            {"units": "1"},
        )
    return truth


def _off(estimate: xr.Dataset, truth: xr.Dataset, names: tuple[str, str]) -> float:
    if any(name not in estimate for name in names):
        return float("nan")
    first, second = (float(estimate[name]) - float(truth[name]) for name in names)
    return float(np.hypot(first, second))


def _centre_error(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    return _off(estimate, truth, ("centre_x", "centre_y"))


def _ellipse_error(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    return 100 * _off(estimate, truth, ("stretch_p", "stretch_q"))


def _probabilities(estimate: xr.Dataset, truth: xr.Dataset) -> tuple[Array, npt.NDArray[np.bool_]]:
    if "probability" not in estimate:
        return np.array([np.nan]), np.zeros(1, dtype=bool)
    ours = estimate["probability"].reindex(candidate=truth["candidate"], fill_value=0.5)
    return ours.values, truth["probability"].values > 0.5


def _wrong_phases(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    """Count phases said to be there that are not, and the other way round."""
    ours, there = _probabilities(estimate, truth)
    if np.isnan(ours).any():
        return float("nan")
    return float(((ours > CERTAIN) & ~there).sum() + ((ours < 1 - CERTAIN) & there).sum())


def _cannot_tell(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    ours, _ = _probabilities(estimate, truth)
    if np.isnan(ours).any():
        return float("nan")
    return float(((ours >= 1 - CERTAIN) & (ours <= CERTAIN)).sum())


def _misorientation(estimate: xr.Dataset, truth: xr.Dataset) -> float:
    """Return the angle to the true orientation; of two answers, the nearer."""
    names = [name for name in ("orientation", "orientation_other") if name in estimate]
    if "orientation" not in truth or not names:
        return float("nan")
    angles = [
        misorientation(estimate[name].values, truth["orientation"].values, ROTATIONS)
        for name in names
        if estimate[name].shape == (3, 3)
    ]
    return float(np.round(min(angles), 9)) if angles else float("nan")
