"""Thickness and lithium from energy-filtered images: t/lambda by the log-ratio, and what follows.

``t/lambda = ln(I_t / I_0)`` for a slit that passes the zero loss alone; a real one passes the tail
of the plasmon too, which is known and taken out. Images are brought into the frame of the zero-loss
image first. Lengths follow from the mean free paths, known to some 10 %: an error that all pixels
share.
"""

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.filtered_acquisition import (
    IMAGES,
    FilteredAcquisition,
    filtered_acquisition_of,
)
from echolith.forward.plural_scattering import LossModel
from echolith.inverse.filtered_registration import Moved, Shift, moved_back, relative_shift
from echolith.inverse.filtered_sharpening import between_pixels, sharpened
from echolith.inverse.log_ratio import film_of
from echolith.inverse.thickness_model import (
    REFERENCE,
    Known,
    ThicknessOptions,
    maps_of,
    ratio_of,
)
from echolith.inverse.thickness_result import of_images, of_pixels, of_the_whole, undetermined

Array = npt.NDArray[np.float64]


def recover_thickness(
    measurement: xr.Dataset, *, options: ThicknessOptions | None = None
) -> xr.Dataset:
    """Recover maps of t/lambda, thickness and lithium.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (image, y, x) with the images of `IMAGES`, attribute ``energy_filtered`` (JSON).
    options : ThicknessOptions, optional

    Returns
    -------
    xarray.Dataset
        Maps (y, x), in the frame of the zero-loss image: ``t_over_lambda``; ``thickness`` of the
        particle, Å; ``areal_density`` of lithium, 1/Å², and ``areal_density_uncorrected``, which
        takes no heed of plural scattering; ``lithium_significance`` of the edge, standard
        deviations; ``jump_ratio``. Numbers: ``support``, t/lambda of the film; ``volume`` of the
        particle, Å³; ``lithium``, atoms; ``shift_y``, ``shift_x`` (image), Å. Each of the
        estimates has its ``_std``: of counting, of steep places, and of what all pixels share (mean
        free paths, slit, spectra, oxide). NaN where nothing can be told, and no
        number that cannot, with the reasons in ``attrs["undetermined"]``.

    Raises
    ------
    BadInputError
        If images are missing, counts are no counts, or their shape is not the acquisition's.
    """
    options = options or ThicknessOptions()
    acquisition = filtered_acquisition_of(measurement)
    electrons = _electrons(measurement, acquisition) / options.gain
    shifts = _shifts(electrons, acquisition, options)
    images = _in_one_frame(electrons, shifts, acquisition, options)
    film = film_of(ratio_of(images, acquisition))
    losses = LossModel(energy=acquisition.energy, semiangle=acquisition.semiangle)
    known = Known(acquisition=acquisition, losses=losses, oxide=options.oxide)
    found = maps_of(images, film, known, options)
    others = [maps_of(images, film, other, options) for other in known.changed(options)]
    pixel = acquisition.pixel * options.binning
    axes = {
        name: (name, pixel * (np.arange(n) + 0.5) - acquisition.pixel / 2, {"units": "Å"})
        for name, n in zip(("y", "x"), found.tau.shape, strict=True)
    }
    return xr.Dataset(
        {
            **of_pixels(found, others, film),
            **of_the_whole(found, others, film, pixel=pixel),
            **of_images(shifts, acquisition.pixel),
        },
        coords={"image": list(IMAGES), **axes},
        attrs={"undetermined": undetermined(found, film, shifts, options)},
    )


def _electrons(measurement: xr.Dataset, acquisition: FilteredAcquisition) -> Array:
    counts = measurement.get("counts")
    if counts is None or set(counts.dims) != {"image", "y", "x"}:
        raise BadInputError(
            "expected a variable counts (image, y, x); "
            f"the measurement has {', '.join(map(str, measurement)) or 'nothing'}"
        )
    lacking = [name for name in IMAGES if name not in counts["image"].values.tolist()]
    if lacking:
        raise BadInputError(
            f"image {', '.join(lacking)} is missing; expected {', '.join(IMAGES)} along 'image'"
        )
    values = counts.sel(image=list(IMAGES)).transpose("image", "y", "x").values.astype(float)
    if values.shape[1:] != acquisition.shape:
        raise BadInputError(
            f"images of {values.shape[1:]} pixels, the acquisition says {acquisition.shape}; "
            "expected the same; correct shape and pixel in the attribute 'energy_filtered'"
        )
    bad = int((~np.isfinite(values)).sum())
    if bad or (values < -6 * acquisition.readout).any():
        raise BadInputError(
            f"{bad} counts are not finite, the least is {np.nanmin(values):g}; expected counts of "
            "0 or more; subtract no background before this"
        )
    return np.asarray(values)


def _shifts(
    electrons: Array, acquisition: FilteredAcquisition, options: ThicknessOptions
) -> list[Shift]:
    still = Shift(np.zeros(2), np.zeros(2))
    return [
        still
        if n == REFERENCE
        else relative_shift(
            image,
            electrons[REFERENCE],
            variance=image + acquisition.readout**2,
            largest=options.largest_shift / acquisition.pixel,
        )
        for n, image in enumerate(electrons)
    ]


def _in_one_frame(
    electrons: Array,
    shifts: list[Shift],
    acquisition: FilteredAcquisition,
    options: ThicknessOptions,
) -> list[Moved]:
    """Return every image in the frame of the zero loss; NaN where there are too few electrons."""
    images = []
    for image, shift in zip(electrons, shifts, strict=True):
        variance = np.maximum(image, 0) + acquisition.readout**2
        sharp, own = sharpened(image, variance, acquisition.response)
        own = own + between_pixels(sharp, own, shift.shift)
        moved = moved_back(sharp, own, shift.shift, binning=options.binning)
        white = moved_back(image, variance, shift.shift, binning=options.binning).white
        enough = np.where(moved.values >= options.least_electrons, moved.values, np.nan)
        # Steep places suffer from an uncertain shift; a sum over the particle does not.
        known = np.where(np.isfinite(shift.std), shift.std, 0) / options.binning
        steep = sum((s * d) ** 2 for s, d in zip(known, np.gradient(moved.values), strict=True))
        images.append(Moved(enough, moved.variance + np.nan_to_num(steep), white))
    return images
