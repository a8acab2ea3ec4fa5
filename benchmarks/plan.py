"""A plan of 4D-STEM by bounds alone, and a slider's move, beside transforms it cannot do without.

The plan goes through four settings of ``li-rich-oxide``, five values each: dose, step, defocus and
semiangle. The floor are the transforms of the waves: there and back in every slice, each plane wave
of an aperture and its derivative by every column, once for each semiangle.
"""

from functools import partial
from typing import Any

import numpy as np
from scipy import fft

import echolith as el
from benchmarks.measuring import Figure, Result, in_own_process, peak_beyond, seconds
from echolith.forward.column_derivatives import KINDS, supercell
from echolith.forward.column_information import SIDE
from echolith.forward.diffraction_box import wave_sampling
from echolith.processors import threads
from echolith.validation.catalogue import own_scenarios
from echolith.validation.column_bound import average_crystal
from echolith.validation.plan import plan
from echolith.validation.plan_points import Bounds
from echolith.validation.scenario import Scenario
from echolith.validation.scenarios.li_rich_oxide import LiRichOxideSettings

NAME = "li-rich-oxide"
SEMIANGLE = "beam.semiangle"
VALUES: dict[str, list[Any]] = {
    "dose": [1e4, 2e4, 4e4, 6e4, 8e4],
    "scan.step": [0.15, 0.18, 0.2, 0.22, 0.25],
    "beam.aberrations.C10": [-40.0, 0.0, 20.0, 40.0, 80.0],
    SEMIANGLE: [18.0, 20.0, 22.4, 24.0, 25.0],
}
FEW = {name: values[:2] for name, values in VALUES.items()}
SMALL = {"thickness": 8.6, "haadf": None, "simulation": {"sampling": 0.17}}
TARGETS: dict[str, dict[str, Any]] = {"seconds": {"at_most": 300}, "slider": {"at_most": 0.3}}
MOVES = 50
AT_ONCE = 4
"""Waves: more leave the cache."""


def measure(*, quick: bool) -> dict[str, Result]:
    """Measure one plan, in a process of its own."""
    return {"plan": in_own_process(_one, quick=quick)}


def _one(*, quick: bool) -> Result:
    over, base = (FEW, el.scenario(NAME, **SMALL)) if quick else (VALUES, el.scenario(NAME))
    work = partial(plan, base, over=over, target={"o_o_li": 0.01})
    taken, memory = peak_beyond(partial(seconds, work))
    floor = sum(seconds(partial(transforms, base, value)) for value in over[SEMIANGLE])
    targets = {} if quick else TARGETS
    return Result(
        ours_s=taken,
        floor_s=floor,
        peak_memory_bytes=memory,
        size={"values": [len(values) for values in over.values()]},
        figures={
            "seconds": Figure(value=taken, unit="s", **targets.get("seconds", {})),
            "slider": Figure(value=slider(base), unit="s", **targets.get("slider", {})),
        },
    )


def transforms(base: Scenario, semiangle: float) -> None:
    """Transform what one semiangle makes necessary, there and back in every slice."""
    settings = base.settings
    assert isinstance(settings, LiRichOxideSettings)
    beam = settings.beam.model_copy(update={"semiangle": semiangle})
    atoms = average_crystal(
        settings.parameters, thickness=settings.thickness, occupation=settings.occupation
    )
    cell = supercell(
        atoms,
        np.zeros(len(atoms), dtype=np.int64),
        side=SIDE * beam.wavelength / (semiangle * 1e-3),
        sampling=wave_sampling(settings.acquisition, settings.simulation),
        slice_thickness=settings.simulation.slice_thickness,
    )
    k = cell.grid.vectors
    incident = np.count_nonzero(np.linalg.norm(k, axis=-1) * beam.wavelength * 1e3 <= semiangle)
    columns = len(np.unique(atoms.positions[:, :2].round(2), axis=0))
    count = incident * (1 + len(KINDS) * columns) * cell.slices
    batch = np.ones((AT_ONCE, *cell.grid.shape), dtype=np.complex64)
    for _ in range(0, count, AT_ONCE):
        batch = fft.fft2(fft.ifft2(batch, workers=threads()), workers=threads())


def slider(base: Scenario) -> float:
    """Return the slowest of some moves of the dose where the bound is known, s."""
    bounds = Bounds(make=own_scenarios()[NAME].make, base=base)
    doses = np.geomspace(1e3, 1e5, MOVES).tolist()
    bounds.at({"dose": doses[0]})
    return max(seconds(partial(bounds.at, {"dose": dose})) for dose in doses)
