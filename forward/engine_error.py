"""What the engines leave out: the error stated with every simulated measurement.

On one grid and one box the engines agree with each other and with abTEM's multislice to the
rounding of single precision (some 1e-6 of the peak). What is stated is the rest, the distance to
an endless specimen on an endlessly fine grid, with the same slices: the root mean square over the
pixels of a frame, relative to its peak. It has two parts.

* The wave's sampling: scattering beyond the antialias aperture is lost (`sampling_error`).
* The box, unless the specimen repeats in it: the part of the probe that lies outside the box comes
  back in at the other side and meets the wrong atoms (`edge_error`).
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echolith.forward.acquisition import Beam, StemAcquisition
from echolith.forward.coherence import focal_beams
from echolith.forward.cost import Plan, make_plan
from echolith.forward.diffraction_box import UNATTENUATED, wave_sampling
from echolith.forward.oblique_potential import occupants
from echolith.forward.optics import aperture
from echolith.forward.projected_potential import is_periodic
from echolith.forward.simulation import Engine, Simulation
from echolith.forward.stem_tasks import measured_blocks

if TYPE_CHECKING:
    from ase import Atoms

FloatArray = npt.NDArray[np.float64]

WIDER = 6
"""The field on which a probe's tails are looked at, in sides of the box."""
SAMPLING_ERROR = 8e-5
"""Per Å of thickness, at 0.08 Å, see `sampling_error`."""
PRECISION = 1e-5
"""Single precision through some tens of slices."""
MANGANESE = 25
CUT_OFF = 0.5
"""See `haadf_error`."""
STRONGEST = 0.6
"""See `edge_error`."""
STRONG_THICKNESS = 20.0
"""Å, see `edge_error`."""
ROUNDING = 1e-6
"""Å"""


def stated_error(plan: Plan, atoms: "Atoms") -> tuple[float, str]:
    """Return the engine's error and how it is known.

    Parameters
    ----------
    plan : Plan
    atoms : ase.Atoms

    Returns
    -------
    error : float
        Upper estimate of the root mean square over the pixels of a frame, relative to its peak.
    basis : str
    """
    error = sampling_error(plan.sampling, float(atoms.cell[2, 2]), heaviest(atoms))
    basis = "root mean square over a frame, relative to its peak; sampling of the wave"
    if _repeats_in_box(plan, atoms):
        return error, f"{basis}; the box holds whole cells of an endless crystal"
    return error + edge_error(plan, atoms), (
        f"{basis}, and the probe's tails beyond the edges of the box; upper estimate for up to "
        "5 nm of Li-rich oxide and gold; single pixels at the edges of discs deviate by up to "
        "fifteen times as much; measure your own with box_error(), lower it with a larger "
        "minimum_box"
    )


def _repeats_in_box(plan: Plan, atoms: "Atoms") -> bool:
    if plan.cost.engine is Engine.BLOCH:
        return True
    box = plan.field_box if plan.cost.engine is Engine.PRISM else plan.box
    return is_periodic(atoms) and box.holds_whole_cells(np.asarray(atoms.cell)[:2, :2])


def heaviest(atoms: "Atoms") -> int:
    """Return the largest atomic number in a specimen."""
    from ase.data import atomic_numbers

    return max(int(atomic_numbers[symbol]) for symbol in occupants(atoms))


def sampling_error(sampling: float, thickness: float, number: int) -> float:
    """Return the error of a frame due to the wave's sampling, relative to its peak.

    Root mean square: ``1e-5 + 8e-5 (thickness / Å) (sampling / 0.08 Å)² (Z / 25)²``. An upper
    estimate for 6 to 50 Å of Li-rich oxide (its factor is 5e-5) and 8 to 20 Å of gold (6e-4, Z =
    79) along crystal axes at 200 kV, 22.4 mrad and 0.05 to 0.08 Å, against 0.03 Å. Single pixels
    deviate by up to four times as much.

    Parameters
    ----------
    sampling : float
        Pixel of the wave, Å.
    thickness : float
        Å.
    number : int
        The largest atomic number of the specimen.
    """
    coarse = (sampling / 0.08) ** 2 * (number / MANGANESE) ** 2
    return float(PRECISION + SAMPLING_ERROR * thickness * coarse)


def haadf_error(plan: Plan, atoms: "Atoms") -> float:
    """Return the error of the annular signal, relative to the largest of a scan.

    ``(0.12 exp(-12 (r - 1)) + 0.025) (Z / 25)^1.3``, where r is the ratio of the largest angle the
    sampling holds to the outer angle: what is scattered beyond the antialias aperture cannot come
    back. An upper estimate for the same specimens as that of `sampling_error`: 0.09 at r = 1.01,
    0.013 at 1.15, 0.01 beyond for the oxide, four times as much and more for gold, 0.0013 for
    lithium. Where the sampling does not hold the sum of outer angle and semiangle, scattering from
    one rim of the probe's cone to the ring's far side is cut off whatever the element: the last
    factor is then 0.5 at least (0.0096 was seen for a layer of lithium, 0.0091 for oxygen). To it
    comes ``0.6 sqrt(f)`` where the specimen does not repeat in the box (see
    `edge_error`).

    Parameters
    ----------
    plan : Plan
    atoms : ase.Atoms
    """
    haadf, lam = plan.acquisition.haadf, plan.acquisition.beam.wavelength
    if haadf is None:
        return 0.0
    held = UNATTENUATED * lam / plan.sampling * 1e3
    strength = (heaviest(atoms) / MANGANESE) ** 1.3
    if held < haadf.outer + plan.acquisition.beam.semiangle:
        strength = max(strength, CUT_OFF)
    lost = (0.12 * np.exp(-12 * (held / haadf.outer - 1)) + 0.025) * strength
    tails = 0.0 if _repeats_in_box(plan, atoms) else 0.6 * np.sqrt(_outside(plan, atoms))
    return float(lost + tails)


def edge_error(plan: Plan, atoms: "Atoms") -> float:
    """Return the error due to a box in which the specimen does not repeat.

    ``0.6 min(1, thickness / 20 Å) sqrt(f n / N)``, where f is the share of the probe outside its
    box in vacuum and ``n / N`` that of a frame's pixels inside the bright-field disc. An amplitude
    of norm ``sqrt(f)`` meets other atoms than it should, and interferes with discs of n pixels.
    The factor bounds what was measured against boxes of four times the side on 6, 20 and 50 Å of
    Li-rich oxide and of gold at 200 kV, 15 to 35 mrad, up to 20 nm of defocus, boxes of 12 and
    25 Å: 0.09, 0.3 and 0.5 at most.

    Parameters
    ----------
    plan : Plan
    atoms : ase.Atoms
    """
    strength = STRONGEST * min(1.0, float(atoms.cell[2, 2]) / STRONG_THICKNESS)
    return float(strength * np.sqrt(_outside(plan, atoms) * _share_of_disc(plan.acquisition)))


def _outside(plan: Plan, atoms: "Atoms") -> float:
    side, thickness = _box_around_probe(plan, atoms), float(atoms.cell[2, 2])
    return sum(weight * share_outside(beam, side, thickness) for weight, beam in plan.beams)


def _box_around_probe(plan: Plan, atoms: "Atoms") -> tuple[float, float]:
    """Return height and width of the least box centred on a probe, Å."""
    if plan.cost.engine is not Engine.PRISM:
        return plan.box.side
    positions = plan.positions(np.asarray(atoms.cell)).reshape(-1, 2)
    width, height = np.ptp(positions, axis=0)
    return plan.field_box.side[0] - float(height), plan.field_box.side[1] - float(width)


def _share_of_disc(acquisition: StemAcquisition) -> float:
    detector, semiangle = acquisition.detector, acquisition.beam.semiangle
    covered = float(np.prod(detector.shape) * np.prod(detector.pixel_size))
    return min(1.0, np.pi * semiangle**2 / covered)


def share_outside(beam: Beam, side: tuple[float, float], thickness: float) -> float:
    """Return the share of a probe's intensity outside a box around it, in vacuum, at its worst.

    Parameters
    ----------
    beam : Beam
        Coherent.
    side : pair of float
        Height and width of the box, Å.
    thickness : float
        The probe is looked at where it enters and this far behind, Å.
    """
    return max(_share_outside(beam, side), _share_outside(_propagated(beam, thickness), side))


def _propagated(beam: Beam, distance: float) -> Beam:
    c10 = beam.aberrations.C10 + distance  # exp(-i pi lambda z k²) is an over-focus of z
    return beam.model_copy(update={"aberrations": beam.aberrations.model_copy(update={"C10": c10})})


def _share_outside(beam: Beam, side: tuple[float, float]) -> float:
    radius = beam.semiangle * 1e-3 / beam.wavelength
    axes, near = [], []
    for length in side:
        field = WIDER * length
        points = int(np.ceil(2 * radius * field)) + 2  # the intensity itself need not be resolved
        axes.append(np.fft.fftfreq(points, field / points))
        near.append(np.abs(np.fft.fftfreq(points, 1 / field)) <= length / 2)
    spectrum = aperture(axes[1][None], axes[0][:, None], beam=beam)
    intensity = np.abs(np.fft.ifft2(spectrum)) ** 2
    inside = intensity[np.ix_(near[0], near[1])].sum()
    return float(max(0.0, 1 - inside / intensity.sum()))


def box_error(
    atoms: "Atoms", *, acquisition: StemAcquisition, simulation: Simulation | None = None
) -> float:
    """Measure how much a box of twice the side changes one frame of the multislice engine.

    Parameters
    ----------
    atoms : ase.Atoms
    acquisition : StemAcquisition
    simulation : Simulation, optional

    Returns
    -------
    float
        Root mean square over the pixels of the frame at the middle of the scan, relative to its
        peak. The next doubling changes it by some 0.7 times as much.
    """
    one = acquisition.model_copy(
        update={
            "scan": acquisition.scan.model_copy(update={"shape": (1, 1)}),
            "beam": focal_beams(acquisition.beam)[0][1],
            "haadf": None,
        }
    )
    settings = (simulation or Simulation()).model_copy(update={"engine": Engine.MULTISLICE})
    settings = settings.model_copy(update={"sampling": wave_sampling(acquisition, settings)})
    plan = make_plan(atoms, one, settings)
    twice = settings.model_copy(update={"minimum_box": 2 * max(plan.box.side) - ROUNDING})
    narrow, wide = (
        measured_blocks(atoms, some)[0][1].compute(scheduler="synchronous")[0]
        for some in (plan, make_plan(atoms, one, twice))
    )
    return float(np.sqrt(((wide - narrow) ** 2).mean()) / wide.max())
