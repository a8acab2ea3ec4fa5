"""The measured states of Li-rich oxide, pristine, charged and discharged, in bulk and at surface.

Five projected parameters for each, fitted without weights to the eight calibrated distances of
Song et al., Joule 6 (2022), tables S1 to S3 (bulk) and S8 to S10 (surface).
"""

from collections.abc import Mapping
from enum import Enum

import numpy as np
import numpy.typing as npt

from echolith.structures.projected_cell import (
    PRISTINE,
    PRISTINE_MEASURED,
    ProjectedParameters,
)

Floats = npt.NDArray[np.float64]

SOURCE = "Song et al., Joule 6 (2022), tables S1 to S3 and S8 to S10"


class ChargeState(Enum):
    """State of charge of the electrode, first cycle."""

    PRISTINE = "pristine"
    CHARGED = "charged"
    DISCHARGED = "discharged"


class Region(Enum):
    """Which part of a particle."""

    BULK = "bulk"
    SURFACE = "surface"


def _fitted(a: float, cx: float, cy: float, ox: float, oy: float) -> ProjectedParameters:
    return ProjectedParameters(A=a, Cx=cx, Cy=cy, Ox=ox, Oy=oy)


MEASURED: Mapping[tuple[ChargeState, Region], ProjectedParameters] = {
    (ChargeState.PRISTINE, Region.BULK): PRISTINE_MEASURED,
    (ChargeState.CHARGED, Region.BULK): _fitted(2.570, -1.7299, 5.0622, 0.8664, 1.1356),
    (ChargeState.DISCHARGED, Region.BULK): _fitted(2.580, -1.7352, 4.9761, 0.8945, 1.0959),
    (ChargeState.PRISTINE, Region.SURFACE): _fitted(2.550, -1.6673, 4.9148, 0.8942, 1.1698),
    (ChargeState.CHARGED, Region.SURFACE): _fitted(2.625, -1.6782, 5.0392, 0.8191, 1.1521),
    (ChargeState.DISCHARGED, Region.SURFACE): _fitted(2.590, -1.7821, 5.0338, 0.8755, 1.1407),
}
"""The fits, Å. Their lengths exceed crystallography by 3.3 to 4.4 %, as the calibrated ones do."""

LARGEST_RESIDUAL: Mapping[tuple[ChargeState, Region], float] = {
    (ChargeState.PRISTINE, Region.BULK): 0.010,
    (ChargeState.CHARGED, Region.BULK): 0.021,
    (ChargeState.DISCHARGED, Region.BULK): 0.010,
    (ChargeState.PRISTINE, Region.SURFACE): 0.010,
    (ChargeState.CHARGED, Region.SURFACE): 0.041,
    (ChargeState.DISCHARGED, Region.SURFACE): 0.031,
}
"""How far a printed distance lies from that of the fit at most, Å. The surface tables do not close
(D + E = F and B + G = C fail by up to 0.1 Å), so no five parameters meet them."""


def physical(
    parameters: ProjectedParameters, *, region: Region = Region.BULK
) -> ProjectedParameters:
    """Return a measured state with only its published change kept.

    The common scale of the measured lengths is an error of calibration, so an affine map of the
    picture. Undone is the map that takes the measured pristine lattice to the literature's:
    ``L = L_measured M`` with ``M = L_pristine⁻¹ L_literature`` for the rows A and C, and
    ``O = O_literature + (O_measured - O_pristine) M``.

    Parameters
    ----------
    parameters : ProjectedParameters
        As measured in this region.
    region : Region
        Whose measured pristine state is the reference. Each region has its own: between the two
        pristine ones there is no difference beyond the printed errors.

    Returns
    -------
    ProjectedParameters
        The literature's cell, ``PRISTINE``, for the measured pristine state. M-M lengths change
        from state to state by the percentage measured to within 0.02, O-O lengths by the measured
        pm to within 1.3 pm (0.8 pm in the bulk).

    Examples
    --------
    >>> round(physical(MEASURED[ChargeState.CHARGED, Region.BULK]).A / PRISTINE.A, 4)
    1.0039
    """
    reference = MEASURED[ChargeState.PRISTINE, region]
    to_literature = np.linalg.inv(_lattice(reference)) @ _lattice(PRISTINE)
    a, c = _lattice(parameters) @ to_literature
    change = parameters.vectors()["O"] - reference.vectors()["O"]
    oxygen = PRISTINE.vectors()["O"] + change @ to_literature
    return ProjectedParameters.from_numbers(
        {"A": a[0], "Cx": c[0], "Cy": c[1], "Ox": oxygen[0], "Oy": oxygen[1]}
    )


def _lattice(parameters: ProjectedParameters) -> Floats:
    vectors = parameters.vectors()
    return np.stack([vectors["A"], vectors["C"]])


def state_parameters(
    state: ChargeState, region: Region = Region.BULK, *, as_measured: bool = False
) -> ProjectedParameters:
    """Return the projected cell of a state in a region.

    Parameters
    ----------
    state : ChargeState
    region : Region
    as_measured : bool
        True: with the common scale of the published lengths. False: rescaled so that the pristine
        state is the literature's (see `physical`), which is what to simulate.

    Returns
    -------
    ProjectedParameters

    Examples
    --------
    >>> state_parameters(ChargeState.PRISTINE) == PRISTINE
    True
    """
    measured = MEASURED[state, region]
    if as_measured:
        return measured
    return PRISTINE if state is ChargeState.PRISTINE else physical(measured, region=region)
