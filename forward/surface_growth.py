"""Damage by the beam: the surface layer grows with the dose a field has taken.

Only the law: how deep the layer is at each of several exposures of one field. The specimen with a
layer of that depth is built in `echolith.structures`.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings
from echolith.units import Angstrom, Unit

FloatArray = npt.NDArray[np.float64]
AngstromPerDose = Annotated[float, Unit("Å/(e/Å²)")]

DEEPEST = 1e4
"""Å. A layer beyond it is a mistaken unit."""


class GrowthLaw(Enum):
    """How the depth of a damaged layer depends on the accumulated dose."""

    LINEAR = "linear"
    """``d(D) = initial + rate D``"""
    SATURATING = "saturating"
    """``d(D) = final - (final - initial) exp(-rate D / (final - initial))``: as fast at first, and
    never beyond `final`."""


class SurfaceGrowth(Settings):
    """Growth of a reconstructed surface layer under the beam.

    The defaults are of the size seen in Li-rich oxides, some 2 nm for each 8e4 e/Å² up to 4 nm;
    they are chosen, not measured.
    """

    law: GrowthLaw = GrowthLaw.SATURATING
    initial: Annotated[Angstrom, Field(ge=0, le=DEEPEST)] = 0.0
    """Depth before the first exposure."""
    rate: Annotated[AngstromPerDose, Field(ge=0)] = 2.5e-4
    """Depth for each e/Å², at first."""
    final: Annotated[Angstrom, Field(gt=0, le=DEEPEST)] = 40.0
    """Depth after any dose, of a law that saturates."""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.law is GrowthLaw.SATURATING and self.final <= self.initial:
            raise ValueError(
                f"final = {self.final:g} Å is not beyond initial = {self.initial:g} Å; a layer "
                "under the beam grows"
            )
        return self

    def depth(self, dose: npt.ArrayLike) -> FloatArray:
        """Return the depth after an accumulated dose.

        Parameters
        ----------
        dose : array_like
            e/Å², 0 or more.

        Returns
        -------
        array
            Å.

        Raises
        ------
        BadInputError
            If a dose is negative or not finite.

        Examples
        --------
        >>> SurfaceGrowth(law=GrowthLaw.LINEAR, initial=5, rate=1e-4).depth([0, 1e5]).tolist()
        [5.0, 15.0]
        """
        taken = np.asarray(dose, dtype=np.float64)
        if not (np.isfinite(taken) & (taken >= 0)).all():
            raise BadInputError(f"dose = {taken.tolist()} e/Å²; expected finite doses of 0 or more")
        if self.law is GrowthLaw.LINEAR:
            return np.asarray(self.initial + self.rate * taken)
        room = self.final - self.initial
        return np.asarray(self.initial - room * np.expm1(-self.rate * taken / room))


def depths_of_exposures(
    doses: Sequence[float], growth: SurfaceGrowth, *, share: float = 0.5
) -> FloatArray:
    """Return the depth of the surface layer at each of several exposures of one field.

    Parameters
    ----------
    doses : sequence of float
        Of each exposure in turn, e/Å².
    growth : SurfaceGrowth
    share : float, optional
        The layer grows while it is measured; the depth is that after this share of the exposure's
        own dose: 0 as it begins, 0.5 half-way, 1 as it ends.

    Returns
    -------
    array, (exposures,)
        Å, never falling.

    Raises
    ------
    BadInputError
        If there are no exposures, a dose is not positive, or the share is outside 0 to 1.

    Examples
    --------
    >>> growth = SurfaceGrowth(law=GrowthLaw.LINEAR, initial=2.0, rate=1e-4)
    >>> depths_of_exposures([8e4, 8e4], growth).tolist()
    [6.0, 14.0]
    """
    taken = np.asarray(doses, dtype=np.float64)
    if taken.ndim != 1 or len(taken) == 0 or not (np.isfinite(taken) & (taken > 0)).all():
        raise BadInputError(
            f"doses = {doses} e/Å²; expected one positive dose for each exposure, in turn"
        )
    if not 0 <= share <= 1:
        raise BadInputError(f"share = {share:g}; expected 0 (as it begins) to 1 (as it ends)")
    return growth.depth(np.cumsum(taken) - (1 - share) * taken)
