"""How energy-filtered images are taken: one unfiltered, the others through a slit of energies."""

from typing import Annotated, Self

import xarray as xr
from pydantic import Field, field_validator, model_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings, plausible_electron_energy
from echolith.forward.detector_response import DetectorResponse
from echolith.forward.energy_loss import LITHIUM_EDGE
from echolith.units import Angstrom, ElectronsPerSquareAngstrom, Electronvolt, Milliradian, Unit

IMAGES = ("unfiltered", "zero_loss", "pre_edge_1", "pre_edge_2", "post_edge")
"""Of a measurement, in the order they are taken."""

Dose = Annotated[ElectronsPerSquareAngstrom, Field(gt=0, le=1e7)]


class EnergyWindow(Settings):
    """A slit and the exposure behind it."""

    low: Electronvolt
    high: Electronvolt
    dose: Dose

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"a window from {self.low:g} to {self.high:g} eV; expected low < high")
        return self

    @property
    def width(self) -> float:
        """EV."""
        return self.high - self.low

    @property
    def centre(self) -> float:
        """EV."""
        return (self.low + self.high) / 2


class FilteredAcquisition(Settings):
    """An unfiltered image, one of the zero loss, and three about the K edge of lithium.

    Pairs are (y, x). The slit is to stand still to some 0.1 eV; the solver is not told where it
    drifted to.
    """

    energy: Electronvolt = 200e3
    semiangle: Annotated[Milliradian, Field(gt=0.5, le=100)] = 10.0
    """Of the objective aperture."""
    shape: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]] = (64, 64)
    """Pixels of an image."""
    pixel: Annotated[Angstrom, Field(gt=0.1, le=1000)] = 40.0
    unfiltered_dose: Dose = 100.0
    zero_loss: EnergyWindow = EnergyWindow(low=-3.0, high=3.0, dose=100.0)
    pre_edge: tuple[EnergyWindow, EnergyWindow] = (
        EnergyWindow(low=38.0, high=44.0, dose=400.0),
        EnergyWindow(low=46.0, high=52.0, dose=400.0),
    )
    post_edge: EnergyWindow = EnergyWindow(low=56.0, high=64.0, dose=400.0)
    resolution: Annotated[Electronvolt, Field(ge=0.1, le=5)] = 0.35
    """Standard deviation of the energies of source and filter."""
    chromatic: Annotated[Angstrom, Field(ge=0, le=1e8)] = 0.0
    """Chromatic aberration Cc of the objective; the lens is focused on each window's middle."""
    response: DetectorResponse = DetectorResponse(point_spread=(0.3, 0.3))
    readout: Annotated[float, Unit("electrons"), Field(ge=0, le=100)] = 0.0
    """Standard deviation of a pixel's read-out noise."""

    @field_validator("energy")
    @classmethod
    def _plausible_energy(cls, value: float) -> float:
        return plausible_electron_energy(value)

    @model_validator(mode="after")
    def _windows_where_they_belong(self) -> Self:
        first, second = self.pre_edge
        if not self.zero_loss.low < 0 < self.zero_loss.high:
            raise ValueError("the zero-loss window does not hold 0 eV")
        if not 0 < first.low < first.high <= second.low < second.high <= LITHIUM_EDGE:
            raise ValueError(
                f"pre-edge windows {first.low:g} to {first.high:g} and {second.low:g} to "
                f"{second.high:g} eV; expected two in turn above 0 and below {LITHIUM_EDGE:g} eV"
            )
        if not (self.post_edge.high > LITHIUM_EDGE and self.post_edge.low >= second.high):
            raise ValueError(
                f"the post-edge window ends at {self.post_edge.high:g} eV; expected one that "
                f"reaches beyond Li K, {LITHIUM_EDGE:g} eV, and starts behind the others"
            )
        return self

    @property
    def windows(self) -> tuple[EnergyWindow, ...]:
        """Of every image but the unfiltered one."""
        return (self.zero_loss, *self.pre_edge, self.post_edge)

    @property
    def doses(self) -> tuple[float, ...]:
        """Of every image, e/Å²."""
        return (self.unfiltered_dose, *(window.dose for window in self.windows))


def filtered_acquisition_of(measurement: xr.Dataset) -> FilteredAcquisition:
    """Read how energy-filtered images were taken from their metadata.

    Raises
    ------
    BadInputError
        If the attribute ``energy_filtered`` (JSON) is missing or cannot be read.
    """
    text = measurement.attrs.get("energy_filtered")
    if text is None:
        raise BadInputError(
            "the measurement has no attribute 'energy_filtered' (pixel, windows, doses), so "
            "ratios of its images mean nothing; set it with "
            "FilteredAcquisition(...).model_dump_json()"
        )
    try:
        return FilteredAcquisition.model_validate_json(text)
    except ValueError as error:
        raise BadInputError(f"the attribute 'energy_filtered' cannot be read: {error}") from error
