"""Whatever a diffractometer is like, its pattern refines; and what leaving dispersion out does."""

import numpy as np
import pytest
import xarray as xr

from echolith.forward.cation_exchange import exchanged, without_exchange
from echolith.forward.crystal_phases import crystal_phase
from echolith.forward.noise import PoissonCounting
from echolith.forward.powder_pattern import (
    PowderAcquisition,
    PowderGeometry,
    PowderPhase,
    powder_mean,
)
from echolith.forward.powder_profile import AxialDivergence, LineWidths
from echolith.inverse.powder_parameters import OccupancyShift, Refined
from echolith.inverse.rietveld import RietveldOptions, refine


def counted(part: PowderPhase, taken: PowderAcquisition, seed: int) -> xr.Dataset:
    return PoissonCounting().sample(powder_mean((part,), acquisition=taken), seed=seed).compute()


def test_a_capillary_at_a_synchrotron_refines_with_all_its_offsets() -> None:
    known = {
        "geometry": PowderGeometry.CAPILLARY,
        "lines": ((0.8, 1.0),),
        "polarization": 0.05,
        "absorption": 0.4,
    }
    truth = {"zero": 0.03, "displacement": 4e-4, "displacement_along": -6e-4}
    taken = PowderAcquisition.model_validate(
        {
            **known,
            **truth,
            "start": 5,
            "stop": 75,
            "widths": LineWidths(u=0.002, v=-0.001, w=0.001, y=0.005),
            "peak_counts": 2e4,
        }
    )
    part = PowderPhase(phase=crystal_phase("LiMn2O4"), size=900, strain=3e-4)
    refined = Refined(zero=True, displacement_along=True, divergence=False, background=2)
    instrument = PowderAcquisition.model_validate(
        {**known, "widths": taken.widths.model_copy(update={"w": 0.002})}
    )
    found = refine(
        counted(part, taken, 2),
        phases=(PowderPhase(phase=part.phase),),
        instrument=instrument,
        options=RietveldOptions(refined=refined),
    )
    for name, value in {**truth, "LiMn2O4.a": part.phase.cell[0]}.items():
        own = found.sel(parameter=name)
        assert abs(float(own.parameters) - value) < 4 * float(own.parameters_std), name
    assert float(found.chi_squared) == pytest.approx(1, abs=0.15)


def test_plates_lying_flat_refine_with_zero_or_displacement() -> None:
    part = PowderPhase(phase=crystal_phase("LiNiO2"), size=900, march=0.7)
    taken = PowderAcquisition(start=15, stop=100, zero=0.05, peak_counts=1e4)
    refined = Refined(zero=True, displacement=False, orientation=True, background=2)
    found = refine(
        counted(part, taken, 3),
        phases=(PowderPhase(phase=part.phase),),
        instrument=PowderAcquisition(),
        options=RietveldOptions(refined=refined.model_copy(update={"divergence": False})),
    )
    for name, value in {"zero": 0.05, "LiNiO2.march": 0.7, "LiNiO2.a": 2.8784}.items():
        own = found.sel(parameter=name)
        assert abs(float(own.parameters) - value) < 4 * float(own.parameters_std), name


@pytest.mark.parametrize(
    ("real", "assumed", "bias"), [(True, True, 0.0), (True, False, 0.014), (False, True, -0.014)]
)
def test_leaving_dispersion_out_fakes_exchange(real: bool, assumed: bool, bias: float) -> None:
    # Of two lines alone, I003/I104 of 1.314 and 1.388, it would be 1.5 %; hence half a percent.
    ideal, slopes = without_exchange(crystal_phase("LiNiO2"))
    part = PowderPhase(phase=exchanged(ideal, slopes, 0.03), size=800, strain=5e-4)
    taken = PowderAcquisition(
        start=15,
        stop=110,
        displacement=3e-4,
        divergence=AxialDivergence(sample=0.02, slit=0.015),
        background=(150.0, -60.0, 30.0),
        peak_counts=1e4,
        dispersive=real,
    )
    shift = OccupancyShift(name="exchange", phase="LiNiO2", slopes=slopes)
    found = refine(
        counted(part, taken, 11),
        phases=(PowderPhase(phase=ideal),),
        instrument=PowderAcquisition(dispersive=assumed),
        options=RietveldOptions(refined=Refined(occupancies=(shift,))),
    )
    own = found.sel(parameter="LiNiO2.exchange")
    error, std = float(own.parameters) - 0.03, float(own.parameters_std)
    assert std < 0.003
    if bias:
        assert error == pytest.approx(bias, abs=0.005)
        assert abs(error) > 4 * std
    else:
        assert abs(error) < 4 * std
    assert np.isfinite(found.chi_squared)
