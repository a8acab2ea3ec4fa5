"""What networks are trained on: pictures of the truth on the pixels of its measurement."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import ndtr

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.sample_options import WIDTH, Target
from echolith.units import Angstrom
from echolith.validation.scenario import Sample, Scenario
from echolith.validation.target_pictures import (
    Drawer,
    holds_columns,
    image_axes,
    labels,
    mask,
    phases,
)

Array = npt.NDArray[np.float64]

TARGET = "target."
"""Begins the name of what is drawn for training, in the truth."""
CHANNELS = (("M",), ("M", "Li", "T"), ("M", "O", "Li"))
"""Species that a truth may hold: a sample without one of them has an empty map of it, so that the
channels of all samples are the same."""
NAMELESS = "column"
"""Of columns whose truth tells no species: all are of one."""
HELD: Mapping[Target, tuple[tuple[str, ...], ...]] = {
    Target.POSITIONS: (("x", "y"),),
    Target.SPECIES: (("species",),),
    Target.LABELS: (("label",), ("grain",)),
    Target.PHASE: (("probability",),),
    Target.COMPOSITION: (("composition",), ("tm_fraction", "li_fraction"), ("weight_fraction",)),
    Target.STRAIN: (("strain",),),
    Target.TILT: (("tilt_x", "tilt_y"),),
}
"""Names under which truths hold a target already; the first that is there is meant."""
OF_COLUMNS = (Target.POSITIONS, Target.SPECIES)
DRAWN: Mapping[Target, Drawer] = {Target.MASK: mask, Target.LABELS: labels, Target.PHASE: phases}


def target_names(truth: xr.Dataset, target: Target) -> tuple[str, ...]:
    """Return which variables of a truth are a target; empty: it holds none.

    Parameters
    ----------
    truth : xarray.Dataset
        Of a scenario, or of a generated sample.
    target : Target
    """
    drawn = _stored(target)
    if drawn in truth:
        return (drawn,)
    for names in HELD.get(target, ()):
        if set(names) <= set(truth.data_vars) and (
            target not in OF_COLUMNS or all(truth[name].dims == ("column",) for name in names)
        ):
            return names
    return ()


def with_targets(
    scenario: Scenario, case: Sample, targets: Sequence[Target], *, width: Angstrom = WIDTH
) -> xr.Dataset:
    """Return the truth of a case with what is not in it yet drawn: ``target.mask`` and so on.

    Axes of what is drawn are named ``target_y`` and so on, for truths use the short names for
    positions; rows and columns are those of the measurement.

    Raises
    ------
    BadInputError
        If there is no such target.
    """
    truth = case.truth
    for target in targets:
        if target_names(truth, target):
            continue
        drawn = _drawn(target, scenario.settings, case, width)
        if drawn is None:
            raise _unknown(scenario, case, target)
        kept = drawn.drop_vars([name for name in drawn.coords if name != "species"])
        renamed = kept.rename({name: f"target_{name}" for name in {*drawn.dims, *kept.coords}})
        truth = truth.assign({_stored(target): renamed})
    return truth


def check_targets(scenario: Scenario, targets: Sequence[Target], *, width: Angstrom) -> None:
    """Refuse targets that a scenario cannot give; nothing is simulated where that is lazy.

    Raises
    ------
    BadInputError
        With those that it can.
    """
    if targets:
        specimen = scenario.build(0)
        case = Sample(specimen, scenario.forward(specimen), scenario.truth(specimen))
        with_targets(scenario, case, targets, width=width)


def _stored(target: Target) -> str:
    return TARGET + target.value.replace("-", "_")


def _drawn(target: Target, settings: Settings, case: Sample, width: float) -> xr.DataArray | None:
    if target is Target.HEAT_MAP:
        possible = holds_columns(case.truth) and image_axes(case.measurement) is not None
        return column_heat_maps(case.truth, case.measurement, width=width) if possible else None
    return DRAWN[target](settings, case) if target in DRAWN else None


def _unknown(scenario: Scenario, case: Sample, target: Target) -> BadInputError:
    can = [
        known.value
        for known in Target
        if target_names(case.truth, known)
        or _drawn(known, scenario.settings, case, WIDTH) is not None
    ]
    return BadInputError(
        f"'{scenario.name}' has no target '{target.value}'; it has {', '.join(can) or 'none'}"
    )


def column_heat_maps(
    truth: xr.Dataset,
    measurement: xr.Dataset,
    *,
    width: Angstrom,
    species: Sequence[str] | None = None,
) -> xr.DataArray:
    """Return how many columns of each species every pixel holds, each spread as a Gaussian.

    A Gaussian is integrated over the pixels, and what of it lies beyond the border is laid on the
    rest: a map sums to the number of columns inside.

    Parameters
    ----------
    truth : xarray.Dataset
        With ``x`` and ``y`` (column; Å) and, unless all are of one, ``species``.
    measurement : xarray.Dataset
        Its image has the axes ``scan_y`` and ``scan_x``, or ``y`` and ``x`` (Å, middles of pixels).
        Columns of a movie are where its mean frame shows them.
    width : float
        Standard deviation of the Gaussians, Å.
    species : sequence of str, optional
        The channels; by default one of `CHANNELS` that holds all of the truth's.

    Returns
    -------
    xarray.DataArray
        (species, y, x) or (species, scan_y, scan_x), float32.

    Raises
    ------
    BadInputError
        If the truth has no columns, the measurement no image, or the width is not positive.
    """
    check_width(width)
    if not holds_columns(truth):
        raise BadInputError("the truth holds no columns: expected x and y of each (column; Å)")
    axes = image_axes(measurement)
    if axes is None:
        raise BadInputError(
            "the measurement has no image: expected coordinates scan_y and scan_x, or y and x (Å)"
        )
    kinds = truth["species"].values if "species" in truth else np.full(truth["x"].shape, NAMELESS)
    channels = list(_channels(kinds) if species is None else species)
    rows, columns = (
        _shares(truth[name].values, axis.values, width)
        for name, axis in zip(("y", "x"), axes, strict=True)
    )
    maps = [rows[kinds == kind].T @ columns[kinds == kind] for kind in channels]
    return xr.DataArray(
        np.stack(maps).astype(np.float32),
        dims=("species", *(axis.name for axis in axes)),
        coords={"species": channels, **{axis.name: axis for axis in axes}},
        name="heat_map",
        attrs={"units": "1", "long_name": "columns in a pixel", "width": width},
    )


def check_width(width: Angstrom) -> None:
    """Refuse a width of spots that is none."""
    if not 0 < width < np.inf:
        raise BadInputError(f"width = {width:g} Å of heat maps; expected one above 0, e.g. {WIDTH}")


def _channels(kinds: npt.NDArray[np.str_]) -> Sequence[str]:
    found = {str(kind) for kind in kinds}
    return next((known for known in CHANNELS if found <= set(known)), sorted(found))


def _shares(places: Array, axis: Array, width: float) -> Array:
    """Return the share of Gaussians in pixels, (Gaussian, pixel); none of those beyond the border.

    Rows sum to 1 of those inside.
    """
    step = axis[1] - axis[0]
    borders = np.append(axis - step / 2, axis[-1] + step / 2)
    shares = np.diff(ndtr((borders - places[:, None]) / width), axis=1)
    shares[(places < borders[0]) | (places >= borders[-1])] = 0
    total = shares.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(shares, total, out=shares, where=total > 0))
