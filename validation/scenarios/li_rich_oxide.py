"""Scenario ``li-rich-oxide``: atom columns of Li1.2Ni0.13Mn0.54Co0.13O2 in 4D-STEM.

The specimen is seen along monoclinic [010]; the quantities are the eight named projected
distances (Song et al., Joule 6 (2022)).
"""

from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
import xarray as xr
from ase import Atoms
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import (
    Aberrations,
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    StemAcquisition,
)
from echolith.forward.diffraction_box import largest_angle
from echolith.forward.noise import PoissonCounting
from echolith.forward.placement import scan_positions, to_scan_frame
from echolith.forward.scan_distortion import ScanDistortion
from echolith.forward.stem import Simulation, stem_mean
from echolith.inverse.distances import measure_distances
from echolith.inverse.projected_columns import ColumnSolver, recover_columns
from echolith.structures.columns import Rectangle, true_columns, true_distances, true_pairs
from echolith.units import ElectronsPerSquareAngstrom
from echolith.validation.column_bound import (
    CrystalColumns,
    CrystalInformation,
    crystal_columns,
    crystal_information,
    field_information,
)
from echolith.validation.diagnosis import diagnose_columns
from echolith.validation.exposure import PreparedInformation, Step
from echolith.validation.gauge import remove_shift
from echolith.validation.information import Information
from echolith.validation.metrics import (
    absolute_error,
    column_rms,
    false_columns,
    found_fraction,
)
from echolith.validation.residuals import column_residuals
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios.li_rich_specimen import SpecimenSettings, build_specimen
from echolith.validation.scenarios.stem_settings import (
    map_exposure,
    meant_acquisition,
    probe_width,
)

SUMMARY = "Li-rich layered oxide along [010]: 4D-STEM, ptychographic phase, eight named distances"
QUANTITIES = ("m_m", "o_o_mli", "m_m_olio", "o_o_li", "m_m_li", "o_o_2m", "o_o_2li", "o_o_m")
SPECIES = ("M", "O", "Li")
Positions = npt.NDArray[np.float64]
EDGE = 2.0
"""Å; true columns nearer than this to the border of the scan are not asked for."""


class LiRichOxideSettings(SpecimenSettings):
    """What can be set in the scenario ``li-rich-oxide``."""

    beam: Beam = Beam()
    scan: Scan = Scan()
    detector: PixelDetector = PixelDetector()
    haadf: AnnularDetector | None = AnnularDetector()
    dose: Annotated[ElectronsPerSquareAngstrom, Field(gt=0)] = 8.1e4
    distortion: ScanDistortion = ScanDistortion()
    """Drift and jitter of the probe, unknown to the solver."""
    residual: Aberrations = Aberrations()
    """Of the probe beyond those of the beam, unknown to the solver."""
    simulation: Simulation = Simulation()
    solver: ColumnSolver = ColumnSolver()

    @property
    def acquisition(self) -> StemAcquisition:
        """The measurement these settings describe."""
        return meant_acquisition(self)


def li_rich_oxide(settings: LiRichOxideSettings) -> Scenario:
    """Make the scenario from its settings.

    Parameters
    ----------
    settings : LiRichOxideSettings

    Returns
    -------
    Scenario

    Raises
    ------
    BadInputError
        If the settings do not fit together, e.g. a detector that cuts the disc.
    """
    acquisition = settings.acquisition
    return Scenario(
        name="li-rich-oxide",
        settings=settings,
        build=partial(_build, settings),
        truth=partial(_truth, settings),
        forward=partial(
            stem_mean,
            acquisition=acquisition,
            simulation=settings.simulation,
            distortion=None if settings.distortion.still else settings.distortion,
            residual=settings.residual,
        ),
        noise=PoissonCounting(),
        solver=partial(recover_columns, options=settings.solver),
        gauge=remove_shift,
        metrics=(
            *(absolute_error(name) for name in QUANTITIES),
            *(column_rms(species) for species in SPECIES),
            *(found_fraction(species) for species in SPECIES),
            false_columns(),
        ),
        quantities=QUANTITIES,
        notes=(
            "The solver's model differs from the generating one: data come from multislice of "
            "atoms, the solver assumes a single weak phase made of one profile per species.",
        ),
        residuals=column_residuals,
        diagnose=diagnose_columns,
        information=information(settings) if settings.structure is None else None,
        exposure=map_exposure(
            settings,
            dose=settings.dose,
            seconds=float(np.prod(settings.scan.shape)) * settings.distortion.dwell,
            proportional=("dose",),
        ),
    )


def information(settings: LiRichOxideSettings) -> PreparedInformation:
    """Return what a measurement tells about the columns; the scan is taken as it was meant."""
    # The dear parts are those of an endless crystal under an even dose, whatever is scanned of it:
    # first its waves, which know no aberrations, then what the detectors see of them.
    acquisition, simulation = settings.acquisition, settings.simulation
    specimen = settings.model_dump_json(include=set(SpecimenSettings.model_fields))
    seen = settings.model_dump_json(exclude={"scan", "distortion", "residual", "solver"})
    beam = acquisition.beam
    angles = (beam.energy, beam.semiangle, largest_angle(acquisition))
    return PreparedInformation(
        steps=(
            Step((specimen, simulation.model_dump_json(), angles), partial(_columns, settings)),
            Step(seen, partial(_crystal, settings)),
        ),
        finish=partial(_field_information, settings),
    )


def _columns(settings: LiRichOxideSettings, _before: None, _specimen: Atoms) -> CrystalColumns:
    return crystal_columns(
        parameters=settings.parameters,
        occupation=settings.occupation,
        thickness=settings.thickness,
        acquisition=settings.acquisition,
        simulation=settings.simulation,
    )


def _crystal(
    settings: LiRichOxideSettings, columns: CrystalColumns, _specimen: Atoms
) -> CrystalInformation:
    return crystal_information(columns, acquisition=settings.acquisition, noise=PoissonCounting())


def _field_information(
    settings: LiRichOxideSettings, crystal: CrystalInformation, specimen: Atoms
) -> Information:
    return field_information(_columns_in_scan(settings, specimen), crystal)


def _field(settings: LiRichOxideSettings) -> tuple[float, float]:
    """Height and width of specimen needed: the scanned field, however rotated, and a probe."""
    box = probe_width(settings)
    side = float(np.hypot(*settings.scan.extent)) if settings.scan.rotation else 0.0
    drift = np.ptp(settings.distortion.displacements(settings.scan), axis=(0, 1))[::-1]
    height, width = (
        max(length, side) + box + move
        for length, move in zip(settings.scan.extent, drift, strict=True)
    )
    return height, width


def _build(settings: LiRichOxideSettings, seed: int) -> Atoms:
    return build_specimen(settings, field=_field(settings), seed=seed)


def _truth(settings: LiRichOxideSettings, specimen: Atoms) -> xr.Dataset:
    columns = _columns_in_scan(settings, specimen)
    if "lattice_i" in columns:
        inner = ~columns["edge"].values
        distances = [true_pairs(columns), true_distances(columns, within=inner)]
        return xr.merge([_as_imaged(settings, columns), *distances])
    try:
        return xr.merge([_as_imaged(settings, columns), measure_distances(columns)])
    except BadInputError:
        return _as_imaged(settings, columns)


def _columns_in_scan(settings: LiRichOxideSettings, specimen: Atoms) -> xr.Dataset:
    """Return the true columns in the scan, in the scan frame; those near its border flagged."""
    scan, cell = settings.scan, np.asarray(specimen.cell)
    reach = 1 + np.abs(settings.distortion.displacements(scan)).max()
    corners = scan_positions(scan, cell)[[0, 0, -1, -1], [0, -1, 0, -1]]
    (x_min, y_min), (x_max, y_max) = corners.min(axis=0) - reach, corners.max(axis=0) + reach
    columns = true_columns(
        specimen, region=Rectangle(x_min=x_min, x_max=x_max, y_min=y_min, y_max=y_max)
    )
    xy = to_scan_frame(np.stack([columns["x"].values, columns["y"].values], axis=-1), scan, cell)
    height, width = scan.extent
    imaged = _imaged(settings, np.asarray(xy, dtype=np.float64))
    inset = np.minimum(imaged, np.array([width, height]) - imaged).min(axis=1)
    moved = columns.assign(
        x=("column", xy[:, 0], {"units": "Å", "long_name": "x in the scan frame"}),
        y=("column", xy[:, 1], {"units": "Å", "long_name": "y in the scan frame"}),
        edge=("column", inset < EDGE),
    )
    return moved.isel(column=np.flatnonzero(inset > 0))


def _imaged(settings: LiRichOxideSettings, xy: Positions) -> Positions:
    """Return where points of the scan frame appear in the image."""
    if settings.distortion.still:
        return xy
    return settings.distortion.true_to_image(xy, settings.scan)


def _as_imaged(settings: LiRichOxideSettings, columns: xr.Dataset) -> xr.Dataset:
    """Put the columns where the image shows them; what lies between them stays true."""
    xy = _imaged(settings, np.stack([columns["x"].values, columns["y"].values], axis=-1))
    return columns.assign(x=columns["x"].copy(data=xy[:, 0]), y=columns["y"].copy(data=xy[:, 1]))
