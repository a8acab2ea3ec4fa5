"""Noise of a detector that counts, saturates and is read out with noise, on top of any mean."""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.noise import PoissonCounting, pixelwise_information
from echolith.forward.readout_information import pixel_information
from echolith.forward.streams import draw_units

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class DetectorNoise:
    """Poisson counts that saturate, then Gaussian read-out noise (`Noise` protocol).

    ``y = min(k, saturation) + readout n``. The counts are those of `PoissonCounting` for the same
    seed, bit for bit.

    Examples
    --------
    >>> frames = ("scan_y", "scan_x", "detector_y", "detector_x")
    >>> mean = xr.Dataset({"counts": (frames, np.full((2, 3, 4, 4), 5.0))})
    >>> int(DetectorNoise(saturation=3).sample(mean, seed=7)["counts"].max())
    3
    """

    readout: float = 0.0
    """Standard deviation of a recorded pixel, electrons."""
    saturation: float | None = None
    """Electrons a recorded pixel counts at most in one frame; None: any number."""
    variables: tuple[str, ...] = ("counts",)
    """What this detector records; other variables (an annular signal) are counted as they are."""

    def __post_init__(self) -> None:
        """Refuse what no detector does."""
        if not 0 <= self.readout < np.inf:
            raise BadInputError(
                f"readout = {self.readout:g} electrons; expected a standard deviation of 0 or more"
            )
        if self.saturation is not None and not (
            1 <= self.saturation < np.inf and float(self.saturation).is_integer()
        ):
            raise BadInputError(
                f"saturation = {self.saturation:g} electrons; expected a whole number of 1 or "
                "more, or None"
            )

    @property
    def scales_with_dose(self) -> bool:
        """Whether thinned values are those of a lower dose: read-out and limits do not thin."""
        return self.readout == 0 and self.saturation is None

    def sample(self, mean: xr.Dataset, *, seed: int) -> xr.Dataset:
        """Draw one measurement.

        Parameters
        ----------
        mean : xarray.Dataset
            Expected counts, every float variable. Dask arrays stay lazy.
        seed : int
            The one seed of the run.

        Returns
        -------
        xarray.Dataset
            Counts, integers as from `PoissonCounting`; with read-out noise float32, below 0 too.

        Raises
        ------
        BadInputError
            As `PoissonCounting`, and where none of the variables is there.
        """
        mine = self._mine(mean)
        counts = PoissonCounting().sample(mean, seed=seed)
        return counts.assign({name: self._recorded(counts[name], seed) for name in mine})

    def _mine(self, mean: xr.Dataset) -> list[Hashable]:
        names: list[Hashable] = [
            name
            for name, v in mean.data_vars.items()
            if name in self.variables and np.issubdtype(v.dtype, np.floating)
        ]
        if not names and (self.readout or self.saturation is not None):
            raise BadInputError(
                f"none of the variables {', '.join(self.variables)} is among the expected counts "
                f"({', '.join(map(str, mean.data_vars)) or 'nothing'}); name what the detector "
                "records in `variables`"
            )
        return names

    def _recorded(self, counts: xr.DataArray, seed: int) -> xr.DataArray:
        if self.saturation is not None and self.saturation < np.iinfo(counts.dtype).max:
            most = counts.dtype.type(int(self.saturation))
            recorded = np.minimum(counts.data, most).astype(np.min_scalar_type(most))
            counts = counts.copy(data=recorded)
        if not self.readout:
            return counts
        return draw_units(
            counts,
            partial(_read_out, self.readout),
            dtype=np.dtype(np.float32),
            seed=seed,
            purpose="readout",
        )

    def information(
        self, mean: npt.NDArray[np.floating], jacobian: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float64]:
        """Return the Fisher information ``F_ab = sum_i J(mu_i) (d mu_i/d a) (d mu_i/d b)``.

        J is that of a recorded pixel about its own mean
        (`echolith.forward.readout_information`): near ``1/(mu + readout²)``, more at few electrons.

        Parameters
        ----------
        mean : array, (data,)
            Expected counts of pixels of this detector.
        jacobian : array, (data, parameters)
            Derivative of the mean.

        Returns
        -------
        array, (parameters, parameters)
            Symmetric, positive semidefinite.

        Raises
        ------
        BadInputError
            As `PoissonCounting.information`; with read-out noise a pixel of zero mean has finite
            information.
        """
        if not self.readout and self.saturation is None:
            return PoissonCounting().information(mean, jacobian)
        return pixelwise_information(mean, jacobian, self._deviation)

    def _deviation(self, mean: Array) -> Array:
        own = pixel_information(mean, readout=self.readout, saturation=self.saturation)
        with np.errstate(divide="ignore"):
            return np.asarray(1 / np.sqrt(own))


def _read_out(readout: float, counts: Array, values: Array, random: np.random.Generator) -> None:
    values[:] = counts + readout * random.standard_normal(counts.size)
