"""Published measurements: their conditions as settings of scenarios, and the errors they print.

Where a paper does not print a setting that decides a bound, or its size would cost hours, the
record says what stands for it: a smaller field under the same dose per area knows one value as
well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from echolith.errors import BadInputError, near_match


@dataclass(frozen=True, kw_only=True)
class Printed:
    """An error as a paper prints it.

    Attributes
    ----------
    quantity : str
        Of the scenario: one of its quantities, of its kinds of single value, or of its metrics.
    error : float, optional
        In the unit of the scenario's bound; None: none is printed.
    kind : str
        What kind of error it is.
    where : str
        In the paper.
    """

    quantity: str
    error: float | None
    kind: str
    where: str


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One measurement of a paper.

    Attributes
    ----------
    name : str
    scenario : str
    settings : mapping
        That differ from the scenario's defaults.
    printed : tuple of Printed
    remark : str
        What of these conditions is ours, not the paper's.
    seconds : (float, float)
        Of the bound and the simulation, and of one case: processor time as measured on one core.
    """

    name: str
    scenario: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    printed: tuple[Printed, ...]
    remark: str
    seconds: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A publication and its measurements."""

    title: str
    source: str
    conditions: tuple[Condition, ...]


_DISTANCES = ("m_m", "o_o_mli", "m_m_olio", "o_o_li", "m_m_li", "o_o_2m", "o_o_2li", "o_o_m")
_STANDARD_ERRORS = {  # Å
    "pristine": (0.0125, 0.0152, 0.0199, 0.0171, 0.0133, 0.0153, 0.01199, 0.01315),
    "charged": (0.0115, 0.0129, 0.0168, 0.0128, 0.0222, 0.0237, 0.0302, 0.0168),
}


def _song(state: str, dose: float) -> Condition:
    return Condition(
        name=f"{state}, {dose:.1e} e/Å²",
        scenario="li-rich-oxide",
        settings={"state": state, "dose": dose},
        printed=tuple(
            Printed(
                quantity=name,
                error=error,
                kind="standard error of a distance in the phase image, bulk",
                where="tables S1 to S3",
            )
            for name, error in zip(_DISTANCES, _STANDARD_ERRORS[state], strict=True)
        ),
        remark="Beam, detector and dose per area are as printed; a field of 16 × 16 Å, its step of "
        "0.2 Å and the thickness of 2 nm are ours. There is no drift, no tilt and no amorphous "
        "layer. How many distances a printed error stands for is not known here.",
        seconds=(80, 1.5),
    )


_PHOTONS = "How many photons were counted is not printed: {} are assumed."


def _colalongo(crystal: str, scenario: str) -> Condition:
    kind, where = "sensitivity of the beam line", "text and supporting information"
    return Condition(
        name=f"map of {crystal}",
        scenario=scenario,
        printed=(
            Printed(quantity="strain", error=10.0, kind=kind, where=where),
            Printed(quantity="tilt_x", error=1e-3, kind=kind, where=where),
            Printed(quantity="tilt_y", error=1e-3, kind=kind, where=where),
        ),
        remark="40 × 40 points of 30 nm instead of a map of 40 × 40 µm; 31 angles of 0.04°. "
        + _PHOTONS.format("2000 in the peak of a point, 0.02 of background in a pixel"),
        seconds=(20, 9),
    )


PAPERS: Mapping[str, Paper] = {
    "song-2022": Paper(
        title="Oxygen shifts in Li-rich layered oxide by 4D-STEM ptychography",
        source="Song et al., Joule 6 (2022) 1049",
        conditions=(
            _song("pristine", 8.7e4),
            _song("charged", 8.7e4),
            _song("pristine", 2.9e4),
        ),
    ),
    "yu-2018": Paper(
        title="LiFePO4 by soft X-ray ptychographic spectro-tomography",
        source="Yu et al., Nat. Commun. 9 (2018) 921",
        conditions=(
            Condition(
                name="tomography at two energies",
                scenario="lfp-tomography",
                settings={"state_of_charge": 0.162, "active_fraction": 0.301},
                printed=(
                    Printed(
                        quantity="composition",
                        error=0.113,
                        kind="Gaussian width over the LiFePO4-rich voxels",
                        where="text on chemical segmentation",
                    ),
                    Printed(
                        quantity="composition",
                        error=0.139,
                        kind="Gaussian width over the FePO4-rich voxels",
                        where="text on chemical segmentation",
                    ),
                    Printed(
                        quantity="state_of_charge",
                        error=0.006,
                        kind="16.2 % in 3D beside 16.8 % from spectra in 2D",
                        where="text",
                    ),
                    Printed(
                        quantity="density_half_period",
                        error=11.0,
                        kind="resolution by Fourier shell correlation",
                        where="text",
                    ),
                ),
                remark="158 tilts, energies and voxels are as printed; 8 plates in 72³ voxels "
                "instead of 83 in 256³. " + _PHOTONS.format("1000 a pixel, view and energy"),
                seconds=(20, 20),
            ),
            Condition(
                name="spectra of one view",
                scenario="lfp-xas",
                printed=(
                    Printed(
                        quantity="composition",
                        error=0.074,
                        kind="error of the 2D map",
                        where="text on absorption spectra",
                    ),
                    Printed(
                        quantity="state_of_charge",
                        error=0.006,
                        kind="16.2 % in 3D beside 16.8 % from spectra in 2D",
                        where="text",
                    ),
                ),
                remark="Pixels of 6.7 nm, 12 plates, 61 energies from 700 to 730 eV. "
                + _PHOTONS.format("1000 a pixel and energy"),
                seconds=(2, 0.1),
            ),
            Condition(
                name="ptychography of one view",
                scenario="lfp-ptychography",
                printed=(
                    Printed(
                        quantity="half_period",
                        error=100.0,
                        kind="resolution by Fourier ring correlation, ½ bit",
                        where="text",
                    ),
                    Printed(quantity="optical_density", error=None, kind="none printed", where="–"),
                ),
                remark="100 positions of a smaller probe, denser than the printed steps of 70 nm, "
                "each scanned twice. " + _PHOTONS.format("9e5 a frame"),
                seconds=(10, 5),
            ),
        ),
    ),
    "colalongo-2024": Paper(
        title="LiNiO2 and NMC622 by nano-beam diffraction",
        source="Colalongo et al., Microstructures 4 (2024) 2024044",
        conditions=(
            _colalongo("LiNiO2", "linio2-sxdm"),
            _colalongo("NMC622", "nmc622-sxdm"),
        ),
    ),
    "lithium-2020": Paper(
        title="Growth of lithium metal in HRTEM movies",
        source="Unravelling the room-temperature atomic structure and growth kinetics of lithium "
        "metal, Nat. Commun. (2020)",
        conditions=(
            Condition(
                name="lattice of one frame",
                scenario="li-hrtem",
                printed=(
                    Printed(quantity="spacing", error=None, kind="none printed", where="–"),
                    Printed(quantity="rotation", error=None, kind="none printed", where="–"),
                ),
                remark="300 kV, Cs = -13 µm, 40 ms at 1000 e/Å²/s as printed; the particle "
                "(6 nm, along [111]) and the defocus of -6 nm are ours.",
                seconds=(25, 3),
            ),
            Condition(
                name="growth of facets",
                scenario="li-growth",
                printed=(
                    Printed(
                        quantity="switch_time",
                        error=0.04,
                        kind="one frame: the first front is said to move for 15 of them",
                        where="text on growth",
                    ),
                ),
                remark="40 ms at 1000 e/Å²/s as printed, 600 ms of the first front, then slowly; "
                "a particle of 8 nm instead of 30 nm, 0.6 s instead of 3 s of slow growth.",
                seconds=(60, 10),
            ),
            Condition(
                name="whisker of type I",
                scenario="li-whisker",
                printed=(
                    Printed(
                        quantity="rate",
                        error=0.05,
                        kind="half of the last digit of 2.56 nm/s²",
                        where="text on whiskers",
                    ),
                ),
                remark="Acceleration, 5 s from 0.6 s on and 25 frames a second are as printed; "
                "40 e/Å²/s lie in the printed range of 10 to 1000, the field (64 × 32 nm) is ours.",
                seconds=(90, 3),
            ),
            Condition(
                name="whisker of type II",
                scenario="li-whisker",
                settings={
                    "whisker": {"growth": "linear", "start_length": 50.0},
                    "acquisition": {"shape": [48, 288], "pixel": 20.0, "frames": 145},
                    "foot": -0.47,
                },
                printed=(
                    Printed(
                        quantity="rate",
                        error=5.0,
                        kind="half of the last digit of 85 nm/s",
                        where="text on whiskers",
                    ),
                ),
                remark="Velocity, 5.8 s and 25 frames a second are as printed; 40 e/Å²/s lie in "
                "the printed range of 10 to 1000; the field (576 × 96 nm) and its pixels of 2 nm "
                "are ours.",
                seconds=(90, 5),
            ),
        ),
    ),
}


def paper(name: str) -> Paper:
    """Return a paper by its name.

    Raises
    ------
    BadInputError
        If there is none; the message names the near match.
    """
    if name not in PAPERS:
        raise BadInputError(f"there is no paper '{name}'; {near_match(name, PAPERS)}")
    return PAPERS[name]
