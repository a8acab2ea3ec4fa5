"""What a refinement of a powder pattern may change, by name, and where it starts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.forward.crystal_phase import CrystalPhase
from echolith.forward.powder_pattern import PowderAcquisition, PowderPhase
from echolith.forward.powder_profile import SCHERRER, AxialDivergence

Array = npt.NDArray[np.float64]
Values = Mapping[str, float]

CELL_NAMES = ("a", "b", "c", "alpha", "beta", "gamma")
FREE_CELL = {
    "cubic": ("a",),
    "tetragonal": ("a", "c"),
    "hexagonal": ("a", "c"),
    "trigonal": ("a", "c"),
    "orthorhombic": ("a", "b", "c"),
    "monoclinic": ("a", "b", "c", "beta"),
    "triclinic": CELL_NAMES,
}
"""Cell parameters that symmetry leaves free (hexagonal axes, unique axis b)."""


class OccupancyShift(Settings):
    """A number that moves several occupancies together: ``occupancy + slope number``.

    Exchange of lithium and nickel: ``{"Li1": -1, "Ni1": 1, "Ni2": -1, "Li2": 1}``.
    """

    name: str
    """In the result, e.g. ``exchange``."""
    phase: str
    slopes: dict[str, float]
    """By the labels of sites."""


class Refined(Settings):
    """What is refined; cells, scales and background always are."""

    zero: bool = False
    """Strongly correlated with the displacement of a flat plate: choose one."""
    displacement: bool = True
    displacement_along: bool = False
    """Of a capillary, along the beam."""
    gaussian: bool = True
    """U, V and W of the instrument."""
    lorentzian: bool = True
    """Crystallite size and microstrain of each phase, on top of the instrument's X and Y."""
    divergence: bool = True
    """Axial divergence, sample and slit alike. With the displacement it costs the cells most: a
    standard, measured before, tells it and the widths."""
    orientation: bool = False
    """March-Dollase coefficient of each phase."""
    displacement_parameter: bool = False
    """One B for all sites of a phase, added to theirs."""
    occupancies: tuple[OccupancyShift, ...] = ()
    positions: tuple[tuple[str, str], ...] = ()
    """Phase and label of sites whose z is refined (other coordinates stay)."""
    background: Annotated[int, Field(ge=1, le=30)] = 6
    """Chebyshev polynomials."""


def equal_height(divergence: AxialDivergence) -> float:
    """Return the height of sample and slit alike that shifts lines as much as the two do.

    The mean shift goes with the mean square of the two heights (over the radius).
    """
    return float(np.hypot(divergence.sample, divergence.slit) / np.sqrt(2))


@dataclass(frozen=True, kw_only=True)
class Start:
    """Names and first values of what is refined.

    Attributes
    ----------
    names : tuple of str
        ``zero``, ``displacement`` and ``displacement_along`` (over the radius), ``u``, ``v``,
        ``w`` (degree²), ``divergence``,
        and for each phase ``<phase>.a`` …, ``.scale``, ``.size_width`` and ``.strain_width``
        (degree), ``.march``, ``.b_iso``, ``.<occupancy shift>``, ``.z_<site>``.
    values : dict
    """

    names: tuple[str, ...]
    values: dict[str, float]


def free_cell(phase: CrystalPhase) -> tuple[str, ...]:
    """Return the names of the cell parameters that symmetry leaves free.

    Examples
    --------
    >>> from echolith.forward.crystal_phase import PhaseSite
    >>> lithium = PhaseSite(label="Li", element="Li", position=(0, 0, 0))
    >>> cell = (3.5, 3.5, 3.5, 90, 90, 90)
    >>> free_cell(CrystalPhase(name="", spacegroup="I m -3 m", cell=cell, sites=(lithium,)))
    ('a',)
    """
    import gemmi

    group = gemmi.find_spacegroup_by_name(phase.spacegroup)
    return FREE_CELL[group.crystal_system_str()]


def cell_of(phase: CrystalPhase, values: Values) -> tuple[float, ...]:
    """Return the six cell parameters for the values of the free ones."""
    free = {name: values.get(f"{phase.name}.{name}") for name in free_cell(phase)}
    cell = dict(zip(CELL_NAMES, phase.cell, strict=True))
    cell.update({name: value for name, value in free.items() if value is not None})
    for name in ("b", "c"):
        if name not in free:
            cell[name] = cell["a"]
    return tuple(cell[name] for name in CELL_NAMES)


def start(
    phases: tuple[PowderPhase, ...], instrument: PowderAcquisition, refined: Refined
) -> Start:
    """Return what is refined, and the first values, from phases and instrument as they are given.

    Raises
    ------
    BadInputError
        If there is no phase, two have one name, or a site or phase is not known.
    """
    names = [part.phase.name for part in phases]
    if not names or len(set(names)) < len(names):
        raise BadInputError(
            f"phases = {names or 'none'}; expected one or more, each with a name of its own"
        )
    _check_known(phases, refined)
    values = dict(_of_instrument(instrument, refined))
    for part in phases:
        values.update(_of_phase(part, instrument, refined))
    return Start(names=tuple(values), values=values)


def _of_instrument(instrument: PowderAcquisition, refined: Refined) -> Iterator[tuple[str, float]]:
    if refined.zero:
        yield "zero", instrument.zero
    if refined.displacement:
        yield "displacement", instrument.displacement
    if refined.displacement_along:
        yield "displacement_along", instrument.displacement_along
    if refined.gaussian:
        yield from (("u", instrument.widths.u), ("v", instrument.widths.v))
        yield "w", instrument.widths.w
    if refined.divergence:
        # At 0 nothing depends on it to first order, so a fit would never leave.
        yield "divergence", max(equal_height(instrument.divergence), 0.01)


def _of_phase(
    part: PowderPhase, instrument: PowderAcquisition, refined: Refined
) -> Iterator[tuple[str, float]]:
    phase, name = part.phase, part.phase.name
    for axis in free_cell(phase):
        yield f"{name}.{axis}", phase.cell[CELL_NAMES.index(axis)]
    if refined.lorentzian:
        of_size = SCHERRER * instrument.lines[0][0] / (part.size or 2000.0)
        yield f"{name}.size_width", float(np.degrees(of_size))
        yield f"{name}.strain_width", float(np.degrees(4 * part.strain))
    if refined.orientation:
        yield f"{name}.march", part.march
    if refined.displacement_parameter:
        yield f"{name}.b_iso", 0.0
    for shift in refined.occupancies:
        if shift.phase == name:
            yield f"{name}.{shift.name}", 0.0
    for of_phase, label in refined.positions:
        if of_phase == name:
            site = next(site for site in phase.sites if site.label == label)
            yield f"{name}.z_{label}", site.position[2]


def _check_known(phases: tuple[PowderPhase, ...], refined: Refined) -> None:
    labels = {part.phase.name: {site.label for site in part.phase.sites} for part in phases}
    wanted = [(shift.phase, label) for shift in refined.occupancies for label in shift.slopes]
    for phase, label in [*wanted, *refined.positions]:
        if phase not in labels:
            raise BadInputError(f"no phase '{phase}'; expected one of {', '.join(labels)}")
        if label not in labels[phase]:
            known = ", ".join(sorted(labels[phase]))
            raise BadInputError(f"no site '{label}' in {phase}; expected one of {known}")
