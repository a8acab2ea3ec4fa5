"""What is known of every particle of a segmented volume: chemistry, size, attitude, uncertainties.

An uncertainty holds four parts: counting noise of the voxels; where the border to a touching
particle lies; what of a particle has no composition of its own (voxels at its rim); and the error
that the reconstruction makes of a particle as a whole, which no table can tell and is an option.
"""

from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
from pydantic import Field
from skimage.segmentation import expand_labels

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.inverse.composition_histogram import PhaseClass
from echolith.inverse.particle_borders import border_faces
from echolith.inverse.particle_geometry import plate_shape

Floats = npt.NDArray[np.float64]

PHASES = (PhaseClass.LITHIATED, PhaseClass.MIXED, PhaseClass.DELITHIATED)
UNITS = {"volume": "Å³", "facet_area": "Å²", "thickness": "Å", "centre": "Å"}
LENGTHS = ("x", "y", "z")


class ParticleTableOptions(Settings):
    """How particles are measured."""

    rim: Annotated[float, Field(ge=0, le=10)] = 1.5
    """Voxels beyond a particle of which what is there is counted in its volume."""
    border: Annotated[float, Field(ge=0, le=10)] = 0.5
    """Standard deviation of the place of a border between touching particles, voxels."""
    scale_error: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Standard deviation of the volume and the thickness, as parts of them, from what the
    reconstruction puts elsewhere (missing tilts, blur)."""
    composition_error: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Standard deviation of what the composition of a whole particle is off by besides."""
    limits: tuple[float, float] = (0.3, 0.7)
    """Of the three classes of phases, see `phase_classes`."""


class _Particle(NamedTuple):
    """The voxels of one particle, and those that it owns of its rim as well."""

    filling: Floats
    noise: Floats
    composition: Floats
    composition_noise: Floats
    all_filling: Floats
    all_noise: Floats
    places: Floats


def particle_table(
    volume: xr.Dataset, labels: xr.DataArray, *, options: ParticleTableOptions | None = None
) -> xr.Dataset:
    """Measure every particle.

    Parameters
    ----------
    volume : xarray.Dataset
        ``density``, ``composition`` (fraction of FePO4, NaN where not determined) and, where known,
        their ``_std``; dims z, y, x with coords in Å. The lower the density down to which
        composition is given (`TwoEnergy.minimum_density`), the less of a rim is guessed.
    labels : xarray.DataArray
        Of `segment_particles`, the same voxels.
    options : ParticleTableOptions, optional

    Returns
    -------
    xarray.Dataset
        Along ``particle`` (numbers of the labels): ``composition`` (mean over the phosphate),
        ``volume``, ``facet_area`` (volume over thickness), ``thickness``, ``phase_fraction`` along
        ``phase`` (parts of the volume: lithiated, mixed, delithiated), each with ``_std``;
        ``centre`` and ``normal`` along ``axis`` (x, y, z). Å, Å², Å³. A particle without any voxel
        of known composition has NaN and an infinite ``composition_std``.

    Raises
    ------
    BadInputError
        If the labels are not on the voxels of the volume, or voxels are not cubes.
    """
    options = options or ParticleTableOptions()
    ordered = volume.transpose("z", "y", "x", ...)
    voxel = _voxel(ordered, labels)
    numbers = labels.transpose("z", "y", "x").values
    grown = np.asarray(expand_labels(numbers, options.rim))  # type: ignore[no-untyped-call]
    particles = [_voxels_of(ordered, numbers, grown, n) for n in range(1, int(numbers.max()) + 1)]
    rows = [_measured(particle, voxel, options) for particle in particles]
    _add_borders(rows, border_faces(numbers), voxel, options)
    return _table(rows)


def _voxel(volume: xr.Dataset, labels: xr.DataArray) -> float:
    """Return the edge of the voxels, Å."""
    for name in ("density", "composition"):
        if name not in volume:
            held = ", ".join(map(str, volume.data_vars)) or "nothing"
            raise BadInputError(f"volume holds {held}; expected density and composition")
    if dict(labels.sizes) != dict(volume["density"].sizes):
        raise BadInputError(
            f"labels have voxels {dict(labels.sizes)}, the volume {dict(volume.sizes)}; expected "
            "the labels that segment_particles gives for this volume"
        )
    steps = [np.diff(volume[axis].values) for axis in LENGTHS if axis in volume.coords]
    every = np.concatenate(steps) if len(steps) == 3 else np.zeros(0)
    if not len(every) or not np.allclose(every, every[0], rtol=1e-3) or every[0] <= 0:
        raise BadInputError(
            "voxels are not equal cubes by their coords x, y, z; expected centres in Å at equal "
            "steps along all three"
        )
    return float(every[0])


def _voxels_of(
    volume: xr.Dataset, numbers: npt.NDArray[np.int32], grown: npt.NDArray[np.int32], number: int
) -> _Particle:
    inside, owned = np.nonzero(numbers == number), np.nonzero(grown == number)

    def of(name: str, where: tuple[npt.NDArray[np.intp], ...]) -> Floats:
        if name not in volume:
            return np.zeros(len(where[0]))
        return np.asarray(volume[name].values[where], dtype=np.float64)

    places = [volume[axis].values[index] for axis, index in zip("zyx", owned, strict=True)]
    return _Particle(
        filling=of("density", inside),
        noise=of("density_std", inside),
        composition=of("composition", inside),
        composition_noise=of("composition_std", inside),
        all_filling=of("density", owned),
        all_noise=of("density_std", owned),
        places=np.stack(places[::-1], axis=1),
    )


def _measured(
    particle: _Particle, voxel: float, options: ParticleTableOptions
) -> dict[str, float | Floats]:
    """Return the row of a particle as if nothing touched it."""
    shape = plate_shape(particle.places, particle.all_filling, voxel=voxel)
    volume = float(particle.all_filling.sum()) * voxel**3
    counting = float(np.linalg.norm(particle.all_noise)) * voxel**3
    column = shape.spread / np.sqrt(shape.columns)
    thickness_std = float(np.hypot(column, options.scale_error * shape.thickness))
    area = volume / shape.thickness
    relative = np.hypot(counting / volume, column / shape.thickness)
    return {
        "volume": volume,
        "volume_std": float(np.hypot(counting, options.scale_error * volume)),
        "thickness": shape.thickness,
        "thickness_std": thickness_std,
        "facet_area": area,
        "facet_area_std": area * float(np.hypot(relative, options.scale_error)),
        "centre": shape.centre,
        "normal": shape.normal,
        **_chemistry(particle, options),
    }


def _chemistry(particle: _Particle, options: ParticleTableOptions) -> dict[str, float | Floats]:
    known = np.isfinite(particle.composition) & (particle.filling > 0)
    weight = np.where(known, particle.filling, 0)
    if not weight.sum() > 0:
        lost, unknown = np.full(3, np.nan), np.full(3, np.inf)
        return {
            "composition": float("nan"),
            "composition_std": float("inf"),
            "phase_fraction": lost,
            "phase_fraction_std": unknown,
        }
    weight = weight / weight.sum()
    values = np.where(known, particle.composition, 0)
    noise = np.where(known, particle.composition_noise, 0)
    mean = float(weight @ values)
    rim = 1 - float(particle.filling[known].sum()) / float(particle.all_filling.sum())
    # The composition of the rest is taken to be one draw of what is known.
    guessed = max(rim, 0) * float(np.sqrt(weight @ (values - mean) ** 2))
    parts = (float(np.linalg.norm(weight * noise)), guessed, options.composition_error)
    fractions, fractions_std = _phase_fractions(values, noise, weight, max(rim, 0), options)
    return {
        "composition": mean,
        "composition_std": float(np.linalg.norm(parts)),
        "phase_fraction": fractions,
        "phase_fraction_std": fractions_std,
    }


def _phase_fractions(
    values: Floats, noise: Floats, weight: Floats, rim: float, options: ParticleTableOptions
) -> tuple[Floats, Floats]:
    """Return the parts of the volume in the three classes, and their standard deviations.

    Noise carries voxels over the limits, all of them one way where a limit is near the composition
    of many: what a shift of every voxel by its uncertainty changes is an uncertainty of the parts.
    """

    def parts(shift: float) -> Floats:
        classes = np.digitize(values + shift * unsure, options.limits)
        return np.bincount(classes, weight, minlength=3).astype(np.float64)

    unsure = np.hypot(noise, options.composition_error)
    fractions = parts(0)
    moved = (parts(1) - parts(-1)) / 2
    guessed = rim**2 * np.clip(fractions * (1 - fractions), 0, None)
    one_voxel = (weight**2).sum()
    return fractions, np.sqrt(moved**2 + guessed + one_voxel)


def _add_borders(
    rows: list[dict[str, float | Floats]],
    faces: dict[tuple[int, int], int],
    voxel: float,
    options: ParticleTableOptions,
) -> None:
    """Widen the uncertainties of particles that touch, in place."""
    for (first, second), count in faces.items():
        moved = options.border * count * voxel**3
        for one, other in ((first, second), (second, first)):
            row, neighbour = rows[one - 1], rows[other - 1]
            volume = float(row["volume"])
            _widen(row, "volume", moved)
            _widen(row, "facet_area", moved / float(row["thickness"]))
            for name in ("composition", "phase_fraction"):
                unlike = np.abs(np.subtract(row[name], neighbour[name]))
                _widen(row, name, moved / volume * np.nan_to_num(unlike))


def _widen(row: dict[str, float | Floats], name: str, by: float | Floats) -> None:
    wider = np.hypot(row[f"{name}_std"], by)
    row[f"{name}_std"] = wider if wider.ndim else float(wider)


def _table(rows: list[dict[str, float | Floats]]) -> xr.Dataset:
    dims = {"centre": ("axis",), "normal": ("axis",)}
    dims |= dict.fromkeys(("phase_fraction", "phase_fraction_std"), ("phase",))
    names = (
        *("composition", "composition_std", "volume", "volume_std", "facet_area", "facet_area_std"),
        *("thickness", "thickness_std", "phase_fraction", "phase_fraction_std", "centre", "normal"),
    )
    table = xr.Dataset(
        coords={
            "particle": np.arange(1, len(rows) + 1),
            "axis": list("xyz"),
            "phase": [phase.name.lower() for phase in PHASES],
        }
    )
    for name in names:
        shape = (len(rows), *(3 for _ in dims.get(name, ())))
        values = np.array([row[name] for row in rows], dtype=np.float64).reshape(shape)
        unit = UNITS.get(name.removesuffix("_std"), "1")
        table[name] = (("particle", *dims.get(name, ())), values, {"units": unit})
    return table
