"""Maps of thickness and lithium from images in one frame, under what is taken for known.

What is known of losses, slit and oxide is known to a part. Every part is changed once by its
standard deviation and all is done again: the changes of every result are its common errors.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.ndimage import distance_transform_edt

from echolith.forward.acquisition import Settings
from echolith.forward.filtered_acquisition import IMAGES, FilteredAcquisition
from echolith.forward.plural_scattering import LossModel
from echolith.inverse.elemental_map import ElementalMap, Signals, elemental_map
from echolith.inverse.filtered_registration import Moved
from echolith.inverse.log_ratio import Film, log_ratio, mixing, steps
from echolith.inverse.loss_tables import LossTable
from echolith.units import Angstrom, Electronvolt, Unit

Array = npt.NDArray[np.float64]

REFERENCE = IMAGES.index("zero_loss")
THICKEST_FILM = 3.0
"""t/lambda of a film that is looked for."""
STEP_DOUBT = 0.5
"""Standard deviation of what a pixel lacks at a step, relative: some are oblique, some kinks."""


class ThicknessOptions(Settings):
    """Options of `echolith.inverse.thickness.recover_thickness`."""

    binning: Annotated[int, Field(ge=1, le=64)] = 1
    """Pixels along each axis that are summed up after the images are in one frame."""
    gain: Annotated[float, Unit("1"), Field(gt=0)] = 1.0
    """What an electron leaves in ``counts``."""
    least_electrons: Annotated[float, Field(ge=1)] = 10.0
    """In a pixel of any image; with fewer nothing is told of it."""
    largest_shift: Annotated[Angstrom, Field(ge=0)] = 400.0
    """Between two images."""
    oxide: Annotated[Angstrom, Field(ge=0)] = 70.0
    """Oxide that a ray through the particle meets, both shells together."""
    oxide_std: Annotated[Angstrom, Field(ge=0)] = 15.0
    path_error: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Relative standard deviation of the mean free paths."""
    section_error: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Relative standard deviation of the cross-section of Li K; 0: calibrated."""
    spectrum_error: Annotated[float, Field(ge=0, le=0.2)] = 0.02
    """Relative standard deviation of energy and width of every plasmon."""
    slit_error: Annotated[Electronvolt, Field(ge=0, le=2)] = 0.1
    """Standard deviation of where the slit is, of every image by itself."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is taken for known.

    Attributes
    ----------
    acquisition : FilteredAcquisition
    losses : LossModel
    oxide : float
        On a ray through the particle, Å.
    steps : float
        Part of the correction for unlike thicknesses within a pixel.
    rim : float
        Width of the rim whose rays meet oxide only, by half of ``oxide``.
    """

    acquisition: FilteredAcquisition
    losses: LossModel
    oxide: float
    steps: float = 1.0
    rim: float = 1.0

    def changed(self, options: ThicknessOptions) -> Iterator["Known"]:
        """Yield it with one thing changed by its standard deviation, for one thing at a time."""
        yield replace(self, steps=1 - STEP_DOUBT)
        if self.oxide:
            yield replace(self, rim=1.5 * self.rim)
        if options.oxide_std:
            yield replace(self, oxide=self.oxide + options.oxide_std)
        for name in ("path", "edge"):
            error = options.path_error if name == "path" else options.section_error
            scale = f"{name}_scale"
            if error:
                yield self._losses(**{scale: getattr(self.losses, scale) * (1 + error)})
        if options.spectrum_error:
            for n, material in enumerate(self.losses.materials):
                for name in ("plasmon", "width"):
                    value = getattr(material, name) * (1 + options.spectrum_error)
                    materials = list(self.losses.materials)
                    materials[n] = replace(material, **{name: value})
                    yield self._losses(materials=tuple(materials))
        if options.slit_error:
            for n in range(len(self.acquisition.windows)):
                yield replace(
                    self, acquisition=_slit_moved(self.acquisition, n, options.slit_error)
                )

    def _losses(self, **changes: object) -> "Known":
        return replace(self, losses=replace(self.losses, **changes))  # type: ignore[arg-type]


class Maps(NamedTuple):
    """Level of the film, maps (y, x), and the variances of counting.

    ``white``: a pixel's part in the variance of a sum over many. ``expected``: t/lambda of the
    particle, weighted by how much lithium goes with it in oxide and metal.
    """

    support: float
    support_variance: float
    tau: Array
    tau_variance: Array
    thickness: Array
    thickness_variance: Array
    thickness_white: Array
    lithium: ElementalMap
    expected: Array


def maps_of(images: list[Moved], film: Film, known: Known, options: ThicknessOptions) -> Maps:
    """Return the maps that images give under what is known.

    Parameters
    ----------
    images : list of Moved
        Electrons, in the order of `IMAGES`.
    film : Film
        Of the map of log-ratios.
    known : Known
    options : ThicknessOptions
    """
    acquisition, losses = known.acquisition, known.losses
    ratio = ratio_of(images, acquisition)
    thick = LossTable.of(acquisition, losses, support=THICKEST_FILM, oxide=0.0)
    level, level_slope = (float(value[0]) for value in thick.thickness(np.array([film.level])))
    metal, oxide, _ = losses.paths
    support = max(level, 0.0) if np.isfinite(level) else 0.0
    table = LossTable.of(acquisition, losses, support=support, oxide=known.oxide)
    seen, slope = table.thickness(ratio.values)
    own = slope**2 * ratio.variance
    std = np.sqrt(own)
    tau = seen + known.steps * steps(seen, std, -np.log(images[REFERENCE].values))
    above = tau - level
    coated = above > known.oxide / oxide
    rate = np.where(coated, metal, oxide)
    length = np.where(coated, known.oxide + metal * (above - known.oxide / oxide), oxide * above)
    bare = _along_the_shell(coated, known, pixel=acquisition.pixel * options.binning)
    lithium = elemental_map(
        _signals(images, acquisition),
        tau,
        own,
        known.steps * mixing(tau, std) * losses.lithium[0] * metal,
        acquisition=acquisition,
        table=table,
    )
    richer = losses.lithium[1] * oxide / (losses.lithium[0] * metal)
    return Maps(
        support=level,
        support_variance=film.variance * level_slope**2,
        tau=tau,
        tau_variance=own,
        thickness=length + bare * (oxide * above - length),
        thickness_variance=rate**2 * (own + film.variance * level_slope**2),
        thickness_white=(rate * slope) ** 2 * ratio.white,
        lithium=lithium,
        expected=above * (1 + bare * (richer - 1)),
    )


def _along_the_shell(coated: npt.NDArray[np.bool_], known: Known, *, pixel: float) -> Array:
    """Return the share of the rays of each pixel that run along the shell and meet oxide only.

    Those up to half of the oxide inside the outline, which on average halves the first pixel.
    """
    if coated.all() or not coated.any():
        return np.zeros(coated.shape)
    depth = distance_transform_edt(coated) - 1.5
    return np.asarray(coated * np.clip(known.rim * known.oxide / (2 * pixel) - depth, 0, 1))


def ratio_of(images: list[Moved], acquisition: FilteredAcquisition) -> Moved:
    """Return the map of log-ratios of the unfiltered and the zero-loss image."""
    doses = acquisition.doses
    return log_ratio(images[0], images[REFERENCE], exposure=doses[0] / doses[REFERENCE])


def _signals(images: list[Moved], acquisition: FilteredAcquisition) -> Signals:
    first, _, low, high, post = (
        Moved(one.values / dose, one.variance / dose**2, one.white / dose**2)
        for one, dose in zip(images, acquisition.doses, strict=True)
    )
    return Signals(first, (low, high), post)


def _slit_moved(acquisition: FilteredAcquisition, window: int, by: float) -> FilteredAcquisition:
    """Return an acquisition with one of its windows elsewhere."""
    windows = list(acquisition.windows)
    one = windows[window]
    windows[window] = one.model_copy(update={"low": one.low + by, "high": one.high + by})
    zero_loss, first, second, post = windows
    return acquisition.model_copy(
        update={"zero_loss": zero_loss, "pre_edge": (first, second), "post_edge": post}
    )
