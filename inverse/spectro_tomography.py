"""The chain of spectro-tomography: frames or projections to the composition of every particle.

Ptychography of each view, alignment of the tilt series, composition of each voxel, particles: four
stages, so that a broken run resumes with the one it was in.
"""

from functools import partial

import numpy as np
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.composition_volume import CompositionSolver, recover_composition
from echolith.inverse.particle_recovery import ParticleSolver, recover_particles
from echolith.inverse.staged_solver import Stage, StagedSolver
from echolith.inverse.tilt_alignment import AlignmentOptions, align_tilts, aligned
from echolith.inverse.transmission_map import TransmissionMap, recover_transmission

DENSITIES = ("optical_density", "optical_density_std")
RIM = 2
"""Pixels along the border of a view, whose median is taken as empty: the incident photons."""
UNSEEN = 10.0
"""Times the worst noise of a view: what a pixel is given that no frame saw."""


class SpectroTomographySolver(Settings):
    """How each stage is solved."""

    transmission: TransmissionMap = TransmissionMap()
    alignment: AlignmentOptions = AlignmentOptions()
    composition: CompositionSolver = CompositionSolver()
    particles: ParticleSolver = ParticleSolver()


def spectro_tomography(
    *,
    response: xr.DataArray,
    field: tuple[int, int] | None = None,
    options: SpectroTomographySolver | None = None,
) -> StagedSolver:
    """Return the chain as a solver.

    Parameters
    ----------
    response : xarray.DataArray
        Absorption of the pure phases, (species, energy), 1/Å: LiFePO4, then FePO4.
    field : (int, int), optional
        Odd pixels (y, x) of the projections to make from far-field frames; without it, the
        measurement holds projections (``counts`` and ``incident``, or ``optical_density``).
    options : SpectroTomographySolver, optional

    Returns
    -------
    StagedSolver
        Its estimate holds what `recover_composition`, `recover_particles` and `align_tilts` give,
        in one dataset; ``misfit``, ``change`` and ``iterations`` are those of the alignment.
    """
    options = options or SpectroTomographySolver()
    stages = [
        Stage(name="alignment", run=partial(_align, options), settings=(options.alignment,)),
        Stage(
            name="composition",
            run=partial(_compose, options, response),
            settings=(options.composition, _Response(values=response.values.ravel().tolist())),
        ),
        Stage(name="particles", run=partial(_particles, options), settings=(options.particles,)),
    ]
    if field is not None:
        first = Stage(
            name="ptychography",
            run=partial(_projections, options, field),
            settings=(options.transmission, _Field(field=field)),
        )
        stages.insert(0, first)
    return StagedSolver(stages=tuple(stages))


class _Response(Settings):
    values: tuple[float, ...]


class _Field(Settings):
    field: tuple[int, int]


def projections_from_frames(
    frames: xr.Dataset, *, field: tuple[int, int], options: TransmissionMap | None = None
) -> xr.Dataset:
    """Reconstruct every view of a tilt series.

    Parameters
    ----------
    frames : xarray.Dataset
        ``counts`` (energy, tilt, scan, position, detector_y, detector_x), as from
        `echolith.forward.phosphate_frames.tilt_series_frames`.
    field : (int, int)
        Odd pixels (y, x) to return.
    options : TransmissionMap, optional

    Returns
    -------
    xarray.Dataset
        ``optical_density`` with its ``_std`` over (energy, tilt, y, x). The median of the border of
        a view is taken as empty, and the scatter about it as the noise: frames tell their waves
        worse than counting photons would. The phase is left out.

    Raises
    ------
    BadInputError
        If there is no dim tilt, the field has dark pixels, or as `recover_transmission`; the
        message names the view.
    """
    if "counts" not in frames or "tilt" not in frames["counts"].dims:
        raise BadInputError("no counts over tilt; expected the frames of a tilt series")
    views = []
    for n, tilt in enumerate(frames["tilt"].values):
        try:
            view = recover_transmission(
                frames.isel(tilt=n, drop=True), field=field, options=options
            )
        except BadInputError as error:
            raise BadInputError(f"view at {tilt:g}°: {error}") from error
        views.append(_emptied(view[list(DENSITIES)]))
    series = xr.concat(views, dim=frames["tilt"], join="override")
    return series.transpose("energy", "tilt", "y", "x").assign_attrs(frames.attrs)


def _emptied(view: xr.Dataset) -> xr.Dataset:
    """Subtract the median of the border, and make the noise what it is there.

    What no frame saw is empty and knows nothing.
    """
    density, std = view["optical_density"].values, view["optical_density_std"].values
    border = np.ones(density.shape[1:], dtype=bool)
    border[RIM:-RIM, RIM:-RIM] = False
    known = np.isfinite(density)
    if not known[:, border].any(axis=1).all():
        raise BadInputError("no photon fell on the border of the field; take a smaller field")
    level = np.nanmedian(density[:, border], axis=1)[:, None, None]
    away = np.abs(density - level) / std
    # The median of |x| of a normal distribution is 0.6745 standard deviations.
    gain = np.maximum(np.nanmedian(away[:, border], axis=1)[:, None, None] / 0.6745, 1.0)
    worst = np.where(known, std, 0).max(axis=(1, 2), keepdims=True)
    return view.assign(
        optical_density=view["optical_density"].copy(data=np.where(known, density - level, 0.0)),
        optical_density_std=view["optical_density_std"].copy(
            data=gain * np.where(known, std, UNSEEN * worst)
        ),
    )


def _projections(
    options: SpectroTomographySolver, field: tuple[int, int], frames: xr.Dataset
) -> xr.Dataset:
    return projections_from_frames(frames, field=field, options=options.transmission)


def _align(options: SpectroTomographySolver, measurement: xr.Dataset) -> xr.Dataset:
    found = align_tilts(measurement, options=options.alignment)
    return aligned(measurement, found).assign(found.data_vars).assign_attrs(found.attrs)


def _compose(
    options: SpectroTomographySolver, response: xr.DataArray, projections: xr.Dataset
) -> xr.Dataset:
    images = [name for name in DENSITIES if name in projections]
    found = recover_composition(projections[images], response=response, options=options.composition)
    return found.assign(projections.drop_vars(images).data_vars).assign_attrs(projections.attrs)


def _particles(options: SpectroTomographySolver, volume: xr.Dataset) -> xr.Dataset:
    found = recover_particles(volume, options=options.particles)
    return volume.merge(found).assign_attrs(volume.attrs | found.attrs)
