"""What a powder pattern tells of its phases: Fisher information with all nuisances unknown."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from echolith.forward.cation_exchange import exchanged, without_exchange
from echolith.forward.noise import PoissonCounting
from echolith.forward.powder_pattern import PowderAcquisition, PowderPhase, powder_mean
from echolith.forward.powder_profile import AxialDivergence
from echolith.inverse.powder_parameters import free_cell
from echolith.validation.information import Information, Parameters, fisher_information

SHAPE = ("u", "v", "w")
OF_STANDARD = (*SHAPE, "divergence")
"""What a standard, measured before, tells of the instrument."""
CELL = ("a_", "b_", "c_")


@dataclass(frozen=True, kw_only=True)
class Powder:
    """What is in the beam; ``exchange`` of lithium and nickel where there can be any."""

    sample: tuple[PowderPhase, ...]
    exchange: float | None = None


def powder_information(
    acquisition: PowderAcquisition, powder: Powder, *, calibrated: bool = False
) -> Information:
    """Return what the pattern tells, all that a refinement changes being unknown.

    The instrument's widths and axial divergence are known where it is ``calibrated``.
    """
    values, scales = _unknown(acquisition, powder)
    known = {name: values.pop(name) for name in OF_STANDARD} if calibrated else {}
    sample, units = powder.sample, {"exchange": "1"}
    for name in values:
        if name.startswith(CELL):
            units[name] = "Å"
    parameters = Parameters(
        values=values,
        scales=scales,
        mean=lambda changed: _mean(acquisition, powder, {**known, **changed}),
        quantities=lambda changed: _asked(sample, changed),
        units=units,
    )
    return fisher_information(parameters, PoissonCounting(), tolerance=0.03)


def _unknown(
    acquisition: PowderAcquisition, powder: Powder
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the parameters of the mean and a small change of each."""
    values = {
        "displacement": acquisition.displacement,
        "peak_counts": acquisition.peak_counts,
        "divergence": 1.0,
        **{name: getattr(acquisition.widths, name) for name in SHAPE},
        **{f"background_{i}": value for i, value in enumerate(acquisition.background)},
    }
    scales = {
        "displacement": 2e-5,
        "peak_counts": 10.0,
        "divergence": 0.05,
        "u": 1e-3,
        "v": 1e-3,
        "w": 5e-4,
    }
    scales |= {f"background_{i}": 1.0 for i in range(len(acquisition.background))}
    for index, part in enumerate(powder.sample):
        name = part.phase.name
        for axis in free_cell(part.phase):
            if axis in "abc":
                values[f"{axis}_{name}"] = part.phase.cell["abc".index(axis)]
                scales[f"{axis}_{name}"] = 5e-4
        values |= {f"size_{name}": part.size or 1e4, f"strain_{name}": part.strain}
        scales |= {f"size_{name}": 10.0, f"strain_{name}": 5e-5}
        if index:
            values[f"ratio_{name}"] = part.weight / powder.sample[0].weight
            scales[f"ratio_{name}"] = 0.01 * values[f"ratio_{name}"]
    if powder.exchange is not None:
        values["exchange"], scales["exchange"] = powder.exchange, 2e-3
    return values, scales


def _mean(
    acquisition: PowderAcquisition, powder: Powder, values: Mapping[str, float]
) -> xr.Dataset:
    widths = acquisition.widths.model_copy(update={name: values[name] for name in SHAPE})
    background = tuple(values[f"background_{i}"] for i in range(len(acquisition.background)))
    changed = acquisition.model_copy(
        update={
            "displacement": values["displacement"],
            "peak_counts": values["peak_counts"],
            "widths": widths,
            "divergence": AxialDivergence(
                sample=acquisition.divergence.sample * values["divergence"],
                slit=acquisition.divergence.slit * values["divergence"],
            ),
            "background": background,
        }
    )
    return powder_mean(_changed(powder, values), acquisition=changed)


def _changed(powder: Powder, values: Mapping[str, float]) -> tuple[PowderPhase, ...]:
    parts = []
    for part in powder.sample:
        phase, name = part.phase, part.phase.name
        a = values[f"a_{name}"]
        lengths = (a, values.get(f"b_{name}", a), values.get(f"c_{name}", a))
        phase = phase.model_copy(update={"cell": (*lengths, *phase.cell[3:])})
        if powder.exchange is not None:
            _, slopes = without_exchange(phase)
            phase = exchanged(phase, slopes, values["exchange"] - powder.exchange)
        weight = powder.sample[0].weight * values.get(f"ratio_{name}", 1.0)
        changes = {
            "phase": phase,
            "size": values[f"size_{name}"],
            "strain": values[f"strain_{name}"],
            "weight": weight,
        }
        parts.append(part.model_copy(update=changes))
    return tuple(parts)


def _asked(sample: tuple[PowderPhase, ...], values: Mapping[str, float]) -> dict[str, float]:
    names = [part.phase.name for part in sample]
    ratios = np.array([1.0, *(values[f"ratio_{name}"] for name in names[1:])])
    weights = ratios / ratios.sum()
    asked = {f"weight_{name}": float(w) for name, w in zip(names, weights, strict=True)}
    asked |= {name: value for name, value in values.items() if name.startswith(CELL)}
    if "exchange" in values:
        asked["exchange"] = values["exchange"]
    return asked
