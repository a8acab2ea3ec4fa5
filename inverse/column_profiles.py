"""Profiles of projected atom columns: electron scattering factors and Gaussians.

In reciprocal space a column of species s contributes ``a f_s(Q) exp(-b_s Q² - c_s Q⁴)`` to the
phase, ``f_s`` its electron scattering factor; ``b_s`` holds thermal motion and finite source size,
``c_s`` what a mixed column or a thick specimen does to the shape. A Gaussian column is
``f = 1`` with one free width.
"""

from enum import Enum
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from echolith.errors import BadInputError
from echolith.forward.acquisition import Settings

Array = npt.NDArray[np.float64]

MANGANESE_LIKE = {"Mn": 0.45, "Ni": 0.11, "Co": 0.11, "Li": 0.33}
"""Nominal mean content of the M column of Li1.2Ni0.13Mn0.54Co0.13O2 along [010]."""


class Profile(Enum):
    """Shape of a column."""

    FORM_FACTOR = "form_factor"
    """Electron scattering factors, all columns fitted jointly, weighted by the noise."""
    GAUSSIAN = "gaussian"
    """One circular Gaussian on a constant background per column, in a small window."""


class Scattering(Settings):
    """Which elements each species of column is made of, as fractions of atoms.

    Only the *shape* of the mean scattering factor is used; amplitudes are fitted. Species absent
    from `content` are refused.
    """

    content: dict[str, dict[str, float]] = Field(
        default_factory=lambda: {"M": MANGANESE_LIKE, "O": {"O": 1.0}, "Li": {"Li": 1.0}}
    )

    @field_validator("content")
    @classmethod
    def _known_elements(cls, value: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        import gemmi

        for species, mixture in value.items():
            if not mixture or min(mixture.values()) < 0 or sum(mixture.values()) <= 0:
                raise ValueError(f"content of {species!r} = {mixture}; expected positive fractions")
            for element in mixture:
                if gemmi.Element(element).atomic_number == 0:
                    raise ValueError(f"content of {species!r}: {element!r} is not an element")
        return value

    def form_factor(self, species: str, q: Array) -> Array:
        """Return the mean electron scattering factor of a species.

        Parameters
        ----------
        species : str
        q : array
            Spatial frequency |Q|, 1/Å (``Q = 2 sin(theta)/lambda``).

        Returns
        -------
        array
            f_e in Å, of the shape of `q`.

        Raises
        ------
        BadInputError
            If the species has no content.
        """
        mixture = self.content.get(species)
        if mixture is None:
            raise BadInputError(
                f"species {species!r} has no scattering factor; expected one of "
                f"{', '.join(sorted(self.content))}; add it to Scattering(content=...)"
            )
        total = sum(mixture.values())
        parts = [share / total * electron_form_factor(z, q) for z, share in mixture.items()]
        return np.asarray(np.sum(parts, axis=0))


def electron_form_factor(element: str, q: Array) -> Array:
    """Return the electron scattering factor of a neutral atom.

    ``f_e(s) = sum_i a_i exp(-b_i s²)``, s = Q/2, five Gaussians (International Tables for
    Crystallography C, table 4.3.2.2, valid to s = 2 1/Å).

    Parameters
    ----------
    element : str
    q : array
        |Q|, 1/Å.

    Returns
    -------
    array
        f_e in Å.

    Examples
    --------
    >>> float(electron_form_factor("O", np.zeros(1)).round(3)[0])
    1.983
    """
    height, width = _five_gaussians(element)
    s2 = (np.asarray(q, dtype=float) / 2) ** 2
    return np.asarray((height * np.exp(-width * s2[..., None])).sum(axis=-1))


@lru_cache(maxsize=128)
def _five_gaussians(element: str) -> tuple[Array, Array]:
    import gemmi

    coefficients = gemmi.Element(element).c4322
    return np.array(coefficients.a), np.array(coefficients.b)
