"""Scenarios of scanning X-ray diffraction microscopy: ``nmc622-sxdm`` and ``linio2-sxdm``.

A focused beam scans a particle at every angle of a rocking curve; strain and tilt of every point
are asked for.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.forward.goniometer import lean
from echolith.forward.noise import PoissonCounting
from echolith.forward.rocking_curve import (
    RockingCurve,
    beam_points,
    peak_vectors,
    rocking_curve_mean,
    scan_places,
)
from echolith.inverse.diffraction_map import DIMS, DiffractionMap, recover_map
from echolith.structures.crystal_table import CRYSTALS
from echolith.structures.strained_crystals import (
    MapSize,
    StrainedMap,
    crystal_cluster,
    single_crystal,
)
from echolith.units import Degree
from echolith.validation.diffraction_bound import diffraction_information
from echolith.validation.gauge import nothing_free
from echolith.validation.metrics import root_mean_square
from echolith.validation.residuals import array_residuals
from echolith.validation.scenario import Scenario
from echolith.validation.statistics import Residuals

Array = npt.NDArray[np.float64]

NMC622_SUMMARY = "NMC622 single crystal, nano-beam diffraction: maps of strain and tilt"
LINIO2_SUMMARY = "LiNiO2 cluster of grains, nano-beam diffraction: maps of strain and tilt"
MAPS = {"strain": "1", "tilt_x": "°", "tilt_y": "°"}
FINE = 3
"""Pixels of the specimen along a step of the scan."""


class SxdmSettings(Settings):
    """What can be set in both scenarios."""

    curve: RockingCurve = RockingCurve()
    strain: Annotated[float, Field(ge=0, le=0.02)] = 1e-3
    """Standard deviation over the particle."""
    solver: DiffractionMap = DiffractionMap()
    """Its reference is set to the true one where none is given."""

    @property
    def size(self) -> MapSize:
        """A grid that holds the scan, its drift and the beam."""
        turns = (self.curve.etas - 1) / 2
        rows, columns = (
            int(np.ceil(FINE * (n + 2 * turns * abs(d)))) + 4 * FINE
            for n, d in zip(self.curve.scan, self.curve.drift, strict=True)
        )
        return MapSize(shape=(rows, columns), pixel=self.curve.step / FINE)


class Nmc622SxdmSettings(SxdmSettings):
    """What can be set in the scenario ``nmc622-sxdm``."""

    tilt: Annotated[Degree, Field(ge=0, le=0.5)] = 0.08
    """Standard deviation of each component of the smooth tilt."""
    domains: Annotated[int, Field(ge=1, le=20)] = 2
    """Parted by cracks."""


class Linio2SxdmSettings(SxdmSettings):
    """What can be set in the scenario ``linio2-sxdm``."""

    grains: Annotated[int, Field(ge=2, le=200)] = 10
    orientation: Annotated[Degree, Field(ge=0, le=15)] = 0.1
    """Standard deviation of each component of the tilts of grains; beyond the rocking curve a grain
    is not seen."""


def nmc622_sxdm(settings: Nmc622SxdmSettings) -> Scenario:
    """Make the scenario ``nmc622-sxdm`` from its settings."""

    def build(seed: int) -> StrainedMap:
        return single_crystal(
            settings.size,
            reference=CRYSTALS["NMC622"].cell[2] / 3,
            strain=settings.strain,
            tilt=settings.tilt,
            domains=settings.domains,
            step=settings.tilt,
            seed=seed,
        )

    return _scenario("nmc622-sxdm", settings, build, CRYSTALS["NMC622"].cell[2] / 3)


def linio2_sxdm(settings: Linio2SxdmSettings) -> Scenario:
    """Make the scenario ``linio2-sxdm`` from its settings."""

    def build(seed: int) -> StrainedMap:
        return crystal_cluster(
            settings.size,
            reference=CRYSTALS["LiNiO2"].cell[2] / 3,
            grains=settings.grains,
            orientation=settings.orientation,
            strain=settings.strain,
            seed=seed,
        )

    return _scenario("linio2-sxdm", settings, build, CRYSTALS["LiNiO2"].cell[2] / 3)


def _scenario(
    name: str, settings: SxdmSettings, build: Callable[[int], StrainedMap], reference: float
) -> Scenario:
    solver = settings.solver
    if solver.reference is None:
        solver = solver.model_copy(update={"reference": reference})
    return Scenario(
        name=name,
        settings=settings,
        build=build,
        truth=partial(map_truth, curve=settings.curve),
        forward=partial(rocking_curve_mean, settings=settings.curve),
        noise=PoissonCounting(),
        solver=partial(recover_map, options=solver),
        gauge=nothing_free,
        metrics=(
            root_mean_square("strain", unit="ppm", scale=1e6),
            root_mean_square("tilt_x", unit="°"),
            root_mean_square("tilt_y", unit="°"),
        ),
        quantities=("mean_strain",),
        notes=(
            "The solver's model differs from the generating one: the beam sees nine places of the "
            "specimen at once, and the solver one peak.",
            "Scored are points that the beam sees wholly within one domain.",
        ),
        information=partial(diffraction_information, curve=settings.curve),
        residuals=map_residuals,
    )


def map_truth(specimen: StrainedMap, *, curve: RockingCurve) -> xr.Dataset:
    """Return what the beam sees on average at every point, NaN where it sees several domains.

    Parameters
    ----------
    specimen : StrainedMap
    curve : RockingCurve
        How it is scanned; without its drift, in the middle of the rocking curve.
    """
    still = curve.model_copy(update={"drift": (0.0, 0.0), "etas": 5})
    places = scan_places(specimen, still)[:, :, 0]
    offsets, weights = beam_points(still, specimen)
    index = np.floor(places[:, :, None] + offsets + 0.5).astype(int)
    index = np.clip(index, 0, np.array(specimen.intensity.shape) - 1)
    y, x = index[..., 0], index[..., 1]
    vectors = peak_vectors(specimen.spacing, specimen.tilt)[y, x]
    shares = weights * specimen.intensity[y, x]
    domain = specimen.domain[y, x]
    whole = (domain == domain[..., :1]).all(axis=-1) & (domain[..., 0] > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (shares[..., None] * vectors).sum(axis=2) / shares.sum(axis=2)[..., None]
    length = np.linalg.norm(mean, axis=-1)
    tilt = lean(mean)
    values = {
        "strain": 2 * np.pi / length / specimen.reference - 1,
        "tilt_x": tilt[..., 0],
        "tilt_y": tilt[..., 1],
    }
    truth = xr.Dataset(
        {
            name: (DIMS[:2], np.where(whole, value, np.nan), {"units": MAPS[name]})
            for name, value in values.items()
        }
    )
    mean = 1e6 * truth["strain"].mean()
    return truth.assign(mean_strain=mean.assign_attrs(units="ppm"))


def map_residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    """Return errors of strain and tilt of the points that are scored."""
    names = [name for name in MAPS if name in estimate]
    stds = [f"{name}_std" for name in names if f"{name}_std" in estimate]
    return array_residuals(estimate[names + stds], truth[names])
