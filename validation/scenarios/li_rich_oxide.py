"""Scenario ``li-rich-oxide``: atom columns of Li1.2Ni0.13Mn0.54Co0.13O2 in 4D-STEM.

The specimen is seen along monoclinic [010]; the quantities are the eight named projected
distances (Song et al., Joule 6 (2022)).
"""

from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from ase import Atoms
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import (
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    Settings,
    StemAcquisition,
)
from echolith.forward.noise import PoissonCounting
from echolith.forward.placement import scan_positions, to_scan_frame
from echolith.forward.stem import Simulation, stem_mean
from echolith.inverse.distances import measure_distances
from echolith.inverse.projected_columns import ColumnSolver, recover_columns
from echolith.structures.columns import Rectangle, true_columns, true_distances, true_pairs
from echolith.structures.files import read_structure
from echolith.structures.li_rich_oxide import (
    PRISTINE,
    PRISTINE_MEASURED,
    Occupation,
    ProjectedParameters,
    field_specimen,
    periodic_specimen,
)
from echolith.structures.orientation import project_structure
from echolith.units import Angstrom, ElectronsPerSquareAngstrom
from echolith.validation.column_bound import field_information
from echolith.validation.diagnosis import diagnose_columns
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

SUMMARY = "Li-rich layered oxide along [010]: 4D-STEM, ptychographic phase, eight named distances"
QUANTITIES = ("m_m", "o_o_mli", "m_m_olio", "o_o_li", "m_m_li", "o_o_2m", "o_o_2li", "o_o_m")
SPECIES = ("M", "O", "Li")
EDGE = 2.0
"""Å; true columns nearer than this to the border of the scan are not asked for."""


class State(Enum):
    """State of charge of the oxide."""

    PRISTINE = "pristine"
    """The cell of the literature (Li2MnO3-type)."""
    PRISTINE_MEASURED = "pristine-measured"
    """The projected distances as published from the microscope, 3 to 4 % longer."""


PARAMETERS: dict[State, ProjectedParameters] = {
    State.PRISTINE: PRISTINE,
    State.PRISTINE_MEASURED: PRISTINE_MEASURED,
}


class LiRichOxideSettings(Settings):
    """What can be set in the scenario ``li-rich-oxide``."""

    state: State = State.PRISTINE
    thickness: Annotated[Angstrom, Field(gt=0, le=1000)] = 20.0
    occupation: Occupation = Occupation.RANDOM
    structure: Path | None = None
    zone_axis: tuple[int, int, int] = (0, 1, 0)
    beam: Beam = Beam()
    scan: Scan = Scan()
    detector: PixelDetector = PixelDetector()
    haadf: AnnularDetector | None = AnnularDetector()
    dose: Annotated[ElectronsPerSquareAngstrom, Field(gt=0)] = 8.1e4
    simulation: Simulation = Simulation()
    solver: ColumnSolver = ColumnSolver()

    @property
    def acquisition(self) -> StemAcquisition:
        """The measurement these settings describe."""
        return StemAcquisition(
            beam=self.beam,
            scan=self.scan,
            detector=self.detector,
            haadf=self.haadf,
            dose=self.dose,
        )


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
    try:
        acquisition = settings.acquisition
    except ValueError as error:
        raise BadInputError(_first_line(error)) from error
    return Scenario(
        name="li-rich-oxide",
        settings=settings,
        build=partial(_build, settings),
        truth=partial(_truth, settings),
        forward=partial(stem_mean, acquisition=acquisition, simulation=settings.simulation),
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
        information=partial(_information, settings) if settings.structure is None else None,
    )


def _information(settings: LiRichOxideSettings, specimen: Atoms) -> Information:
    return field_information(
        _columns_in_scan(settings, specimen),
        parameters=PARAMETERS[settings.state],
        occupation=settings.occupation,
        thickness=settings.thickness,
        acquisition=settings.acquisition,
        simulation=settings.simulation,
        noise=PoissonCounting(),
    )


def _first_line(error: ValueError) -> str:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return "; ".join(d["msg"].removeprefix("Value error, ") for d in error.errors())
    return str(error)


def _field(settings: LiRichOxideSettings) -> tuple[float, float]:
    """Height and width of specimen needed: the scanned field, however rotated, and a probe."""
    box = settings.beam.wavelength / (min(settings.detector.pixel_size) * 1e-3)
    side = float(np.hypot(*settings.scan.extent)) if settings.scan.rotation else 0.0
    height, width = (max(length, side) + box for length in settings.scan.extent)
    return height, width


def _build(settings: LiRichOxideSettings, seed: int) -> Atoms:
    if settings.structure is not None:
        return project_structure(
            read_structure(settings.structure),
            zone_axis=settings.zone_axis,
            field=_field(settings),
            thickness=settings.thickness,
            seed=seed,
        )
    parameters = PARAMETERS[settings.state]
    if settings.occupation is Occupation.ORDERED:
        return periodic_specimen(
            parameters, thickness=settings.thickness, occupation=settings.occupation
        )
    return field_specimen(
        parameters,
        field=_field(settings),
        thickness=settings.thickness,
        occupation=settings.occupation,
        seed=seed,
    )


def _truth(settings: LiRichOxideSettings, specimen: Atoms) -> xr.Dataset:
    columns = _columns_in_scan(settings, specimen)
    if "lattice_i" in columns:
        inner = ~columns["edge"].values
        return xr.merge([columns, true_pairs(columns), true_distances(columns, within=inner)])
    try:
        return xr.merge([columns, measure_distances(columns)])
    except BadInputError:
        return columns


def _columns_in_scan(settings: LiRichOxideSettings, specimen: Atoms) -> xr.Dataset:
    """Return the true columns in the scan, in the scan frame; those near its border flagged."""
    scan, cell = settings.scan, np.asarray(specimen.cell)
    corners = scan_positions(scan, cell)[[0, 0, -1, -1], [0, -1, 0, -1]]
    (x_min, y_min), (x_max, y_max) = corners.min(axis=0) - 1, corners.max(axis=0) + 1
    columns = true_columns(
        specimen, region=Rectangle(x_min=x_min, x_max=x_max, y_min=y_min, y_max=y_max)
    )
    xy = to_scan_frame(np.stack([columns["x"].values, columns["y"].values], axis=-1), scan, cell)
    height, width = scan.extent
    inset = np.minimum(xy, np.array([width, height]) - xy).min(axis=1)
    moved = columns.assign(
        x=("column", xy[:, 0], {"units": "Å", "long_name": "x in the scan frame"}),
        y=("column", xy[:, 1], {"units": "Å", "long_name": "y in the scan frame"}),
        edge=("column", inset < EDGE),
    )
    return moved.isel(column=np.flatnonzero(inset > 0))
