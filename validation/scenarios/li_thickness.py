"""Scenario ``li-thickness``: a faceted particle or whisker of lithium in energy-filtered images.

Asked for are t/lambda and lithium of every pixel, and volume and lithium of the whole.
"""

from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from scipy.ndimage import binary_erosion

from echolith.forward.acquisition import Settings
from echolith.forward.detector_noise import DetectorNoise
from echolith.forward.energy_filtered import FilteredCase, energy_filtered_mean
from echolith.forward.energy_loss import MATERIALS
from echolith.forward.filtered_acquisition import IMAGES, FilteredAcquisition
from echolith.forward.plural_scattering import LossModel
from echolith.inverse.thickness import recover_thickness
from echolith.inverse.thickness_model import REFERENCE, ThicknessOptions
from echolith.seeds import stream
from echolith.structures.coated_body import CoatedBody, hexagonal_prism, ray_lengths, turned
from echolith.structures.convex_bodies import ConvexBody
from echolith.structures.lithium_particles import MetalParticle, wulff_body
from echolith.units import Angstrom
from echolith.validation.exposure import Exposure
from echolith.validation.gauge import nothing_free
from echolith.validation.metrics import NamedMetric, root_mean_square
from echolith.validation.residuals import array_residuals
from echolith.validation.scenario import Scenario
from echolith.validation.statistics import Residuals
from echolith.validation.thickness_bound import thickness_information
from echolith.zone_axes import Zone, zone_frame

SUMMARY = "Lithium particle or whisker in energy-filtered images: t/lambda, thickness, lithium map"
LEAST = 0.1
"""t/lambda from which relative errors are scored."""
RAYS = 3
"""Of a pixel along each axis: what the specimen is, for images and truth alike."""


class BodyShape(Enum):
    """What lies on the film."""

    PARTICLE = "particle"
    """Rhombic dodecahedron of {110} faces."""
    WHISKER = "whisker"
    """Hexagonal prism, four times as long as wide."""


class LiThicknessSettings(Settings):
    """What can be set in the scenario ``li-thickness``."""

    body: BodyShape = BodyShape.PARTICLE
    size: Annotated[Angstrom, Field(ge=50, le=10000)] = 1200.0
    """Distance of opposite faces; drawn within 10 % of that, turned at random."""
    zone_axis: Zone = (1, 1, 1)
    """Of a particle."""
    shell: Annotated[Angstrom, Field(ge=0, le=500)] = 30.0
    """Oxide on every face; drawn within 20 % of that."""
    support: Annotated[Angstrom, Field(ge=0, le=2000)] = 100.0
    """Of carbon film."""
    offset: Annotated[Angstrom, Field(ge=0, le=1000)] = 100.0
    """Largest distance from the middle of the field along each axis."""
    drift: Annotated[Angstrom, Field(ge=0, le=200)] = 20.0
    """Of the specimen from image to image along each axis, standard deviation."""
    acquisition: FilteredAcquisition = FilteredAcquisition()
    solver: ThicknessOptions = ThicknessOptions()
    """Slit, spectra, mean free paths and cross-section deviate by as much as it expects."""


def li_thickness(settings: LiThicknessSettings) -> Scenario:
    """Make the scenario ``li-thickness`` from its settings."""
    acquisition = settings.acquisition
    return Scenario(
        name="li-thickness",
        settings=settings,
        build=partial(drawn_case, settings=settings),
        truth=partial(case_truth, settings=settings),
        forward=partial(energy_filtered_mean, acquisition=acquisition, points=RAYS),
        noise=DetectorNoise(readout=acquisition.readout),
        solver=partial(recover_thickness, options=settings.solver),
        gauge=nothing_free,
        metrics=(
            relative_error(),
            root_mean_square("t_over_lambda"),
            root_mean_square("thickness", unit="nm", scale=0.1),
            root_mean_square("areal_density", unit="1/Å²"),
        ),
        quantities=("support", "volume", "lithium"),
        notes=(
            "The solver's model differs from the generating one: it takes the particle for lithium "
            "in oxide on carbon where windows overlap with plasmons, knows their energies to "
            f"{settings.solver.spectrum_error:.0%} and the slit to "
            f"{settings.solver.slit_error:g} eV, and the oxide as one thickness. It uses the same "
            "formulas of mean free paths, losses and Li K.",
            "A seed draws how far mean free paths are off; over noise alone (one specimen) the "
            "error of thickness and volume is one such draw.",
        ),
        information=partial(thickness_information, acquisition=acquisition),
        residuals=own_residuals,
        exposure=Exposure(
            dose=sum(acquisition.doses),
            dose_unit="e/Å²",
            values=len(IMAGES) * int(np.prod(acquisition.shape)),
        ),
    )


def drawn_case(seed: int, *, settings: LiThicknessSettings) -> FilteredCase:
    """Return specimen and circumstances of a seed."""
    draw = stream(seed, "lithium thickness")
    rotation, size, shell, y, x = draw.uniform(-1, 1, 5).tolist()
    body = CoatedBody(
        core=_core(settings, size=settings.size * (1 + 0.1 * size), rotation=180 * rotation),
        shell=settings.shell * (1 + 0.2 * shell),
        support=settings.support,
        centre=(settings.offset * y, settings.offset * x),
    )
    path, section = draw.standard_normal(2)
    off = 1 + settings.solver.spectrum_error * draw.standard_normal((len(MATERIALS), 2))
    losses = LossModel(
        energy=settings.acquisition.energy,
        semiangle=settings.acquisition.semiangle,
        materials=tuple(
            replace(m, plasmon=m.plasmon * float(peak), width=m.width * float(width))
            for m, (peak, width) in zip(MATERIALS, off, strict=True)
        ),
        path_scale=float(np.exp(settings.solver.path_error * path)),
        edge_scale=float(np.exp(settings.solver.section_error * section)),
    )
    walk = np.cumsum(settings.drift * draw.standard_normal((len(IMAGES), 2)), axis=0)
    return FilteredCase(
        body=body,
        losses=losses,
        slit=tuple((settings.solver.slit_error * draw.standard_normal(len(IMAGES) - 1)).tolist()),
        shifts=tuple((float(a), float(b)) for a, b in walk - walk[REFERENCE]),
    )


def _core(settings: LiThicknessSettings, *, size: float, rotation: float) -> ConvexBody:
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    about_beam = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    if settings.body is BodyShape.WHISKER:
        return turned(hexagonal_prism(1.0, 4.0), about_beam, scale=size)
    small = wulff_body(MetalParticle(size=100.0))
    return turned(small, about_beam @ zone_frame(settings.zone_axis), scale=size / 100)


def case_truth(case: FilteredCase, *, settings: LiThicknessSettings) -> xr.Dataset:
    """Return the truth in the frame of the zero-loss image: means over pixels, exact totals."""
    acquisition, binning = settings.acquisition, settings.solver.binning
    body, losses = case.body, case.losses
    y, x = (a + b for a, b in zip(body.centre, case.shifts[REFERENCE], strict=True))
    lengths = ray_lengths(
        replace(body, centre=(y, x)), shape=acquisition.shape, pixel=acquisition.pixel, points=RAYS
    ).mean(axis=1)
    mean = _binned(lengths, binning)
    volumes = np.array([body.core.volume, body.whole.volume - body.core.volume])
    plane = ("y", "x")
    pixel = acquisition.pixel
    moved = np.array(case.shifts) - np.array(case.shifts[REFERENCE])
    axes = {
        name: (name, pixel * (binning * (np.arange(n) + 0.5) - 0.5), {"units": "Å"})
        for name, n in zip(plane, mean.shape[1:], strict=True)
    }
    lithium = float(volumes @ losses.lithium[:2])
    return xr.Dataset(
        {
            "t_over_lambda": (plane, np.tensordot(1 / losses.paths, mean, 1), {"units": "1"}),
            "thickness": (plane, mean[:2].sum(axis=0), {"units": "Å"}),
            "areal_density": (plane, np.tensordot(losses.lithium, mean, 1), {"units": "1/Å²"}),
            "support": ((), body.support / losses.paths[2], {"units": "1"}),
            "volume": ((), float(volumes.sum()), {"units": "Å³"}),
            "lithium": ((), lithium, {"units": "1"}),
            "shift_y": ("image", moved[:, 0], {"units": "Å"}),
            "shift_x": ("image", moved[:, 1], {"units": "Å"}),
        },
        coords={"image": list(IMAGES), **axes},
    )


def _binned(maps: npt.NDArray[np.float64], binning: int) -> npt.NDArray[np.float64]:
    layers, ny, nx = maps.shape
    rows, columns = ny // binning, nx // binning
    cut = maps[:, : rows * binning, : columns * binning]
    return np.asarray(cut.reshape(layers, rows, binning, columns, binning).mean(axis=(2, 4)))


def relative_error() -> NamedMetric:
    """Root mean square of the relative error of t/lambda inside the particle, %.

    Where it is 0.1 or more and no neighbour within two pixels shows film alone.
    """

    def error(estimate: xr.Dataset, truth: xr.Dataset) -> float:
        if "t_over_lambda" not in estimate:
            return float("nan")
        body = binary_erosion(truth["thickness"].values > 0, np.ones((5, 5)))
        true = truth["t_over_lambda"].where(body & (truth["t_over_lambda"] >= LEAST))
        error = (estimate["t_over_lambda"] - true) / true
        return 100 * float(np.sqrt((error**2).mean()))

    return NamedMetric(name="t_over_lambda_relative", unit="%", function=error)


def own_residuals(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Residuals]:
    """Return errors of all arrays but thickness: its pixels share the error of the path."""
    return array_residuals(estimate, truth.drop_vars("thickness"))
