"""Options of the fit of columns to raw counts."""

from typing import Annotated

from pydantic import Field

from echolith.forward.acquisition import Settings
from echolith.inverse.counts_columns import Content
from echolith.units import Angstrom


class CountsOptions(Settings):
    """Options of the fit to raw counts."""

    thickness: Annotated[Angstrom, Field(gt=0)] = 20.0
    """A guess that is right within a factor of three; the fit looks for the likeliest around it."""
    thickness_std: Annotated[Angstrom, Field(ge=0)] = 5.0
    """Prior on the thickness; 0: known."""
    defocus_std: Annotated[Angstrom, Field(ge=0)] = 10.0
    """Prior on C10 beyond that of the metadata; 0: known."""
    content: Content = Content()
    """Which elements the columns of each species hold."""
    sites_std: Annotated[float, Field(ge=0)] = 0.1
    """Prior on the atoms of a full column, relative, around the median of oxygen; 0: fixed."""
    displacement_std: Annotated[float, Field(ge=0)] = 0.01
    """Prior on the entries of U, Å²: the mean square displacement of a species' atoms along an
    axis; 0.01 is 0.1 Å rms."""
    skewness_std: Annotated[float, Field(ge=0)] = 5e-4
    """Prior on the third cumulants (Å³) of species without a centre of inversion."""
    slice_thickness: Annotated[Angstrom, Field(gt=0)] = 5.0
    sampling: Annotated[Angstrom, Field(gt=0)] = 0.13
    """Largest pixel of the waves. At 0.18 Å the fitted thickness is a tenth too small."""
    least_box: Annotated[Angstrom, Field(gt=0)] = 12.0
    """Least side of the box a probe is propagated on."""
    reach: Annotated[Angstrom, Field(gt=0)] = 5.0
    """Columns farther from a probe add nothing to the information of its frame. At 2.8 Å the
    steps of columns outside the field are several times too long."""
    rim: Annotated[Angstrom, Field(ge=0)] = 2.0
    """Columns up to this far outside the field are fitted too, farther ones stay."""
    surroundings: Annotated[Angstrom, Field(ge=0)] = 5.0
    """Columns are continued up to this far outside the field."""
    margin: Annotated[Angstrom, Field(ge=0)] = 2.0
    """Columns nearer to the border than this are flagged ``edge``."""
    tolerance: Annotated[float, Field(gt=0)] = 0.1
    """The fit has converged when no column is expected to move (or change) by more, in its
    standard deviations; that adds a hundredth to its error at most."""
    iterations: Annotated[int, Field(ge=1)] = 60
