"""How thick a specimen may be: multislice against the projection approximation, and the picture.

A sheet at height z is seen with its frequency k turned by pi lambda z k². Over a depth T, evenly
filled, the mean is sinc(pi lambda T k² / 2): the correlation of multislice and projection. At the
depth of focus T = 5.4 d² / lambda of the half period d = 1 / 2k it is 0.40.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.phosphate_exit_wave import depth_of_focus, exit_wave
from echolith.forward.phosphate_paths import View
from echolith.forward.xray_probe import photon_wavelength
from echolith.structures.phosphate_ensemble import PlateEnsemble, phosphate_ensemble
from echolith.structures.plate_packing import PackingRegion
from echolith.validation.drawing import ACCENT, INK, SECOND, bare, new_figure, plain_ticks, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

DEPTHS = (500.0, 1000.0, 2000.0, 3740.0, 6000.0, 10e3)
"""Å."""
FIELD, PIXEL = 10.6e3, 55.0
"""Å; a pixel is half of the half period that is asked about."""
LEFT = float(np.sinc(5.4 / 8))
"""Correlation that the depth of focus leaves, 0.40."""


def projection_error(
    *,
    depths: tuple[float, ...] = DEPTHS,
    half_period: float = 110.0,
    energy: float = 708.2,
    plates: int = 30,
    seeds: Iterable[int] = range(2),
) -> xr.Dataset:
    """Return how far multislice is from the projection, for plates spread over each depth.

    Parameters
    ----------
    depths : tuple of float
        Extent of the specimen along the beam, Å, 400 to 10500.
    half_period : float
        Whose frequency, +-20 %, the error is about, Å.
    energy : float
        eV.
    plates : int
    seeds : iterable of int
        Specimens; spectra are added up.

    Returns
    -------
    xarray.Dataset
        Over ``depth`` (Å): ``error``, the norm of the difference over that of the projection at
        this half period; ``resolved``, the half period at which their correlation falls to
        0.40 (NaN where it never does), Å. Attributes: ``half_period``, ``wavelength``.

    Raises
    ------
    BadInputError
        If a depth is not plausible.
    """
    if not depths or min(depths) < 400 or max(depths) > FIELD:
        raise BadInputError(f"depths = {depths} Å; expected 400 to {FIELD:g} Å")
    length = photon_wavelength(energy)
    draws = tuple(seeds)
    error, resolved = [], []
    for depth in depths:
        frequency, curves = _spectra(depth, energy, plates, draws)
        cross, flat, thick, difference = curves
        near = np.abs(frequency * 2 * half_period - 1) < 0.2
        error.append(float(np.sqrt(difference[near].sum() / flat[near].sum())))
        resolved.append(_where(frequency, cross / np.sqrt(flat * thick)))
    return xr.Dataset(
        {
            "error": ("depth", np.array(error), {"units": "1"}),
            "resolved": ("depth", np.array(resolved), {"units": "Å"}),
        },
        coords={"depth": ("depth", np.array(depths), {"units": "Å"})},
        attrs={"half_period": half_period, "wavelength": length},
    )


def _spectra(
    depth: float, energy: float, plates: int, seeds: tuple[int, ...]
) -> tuple[Array, Array]:
    """Return frequencies of rings; cross power, both powers and that of the difference in each."""
    count = int(np.ceil(FIELD / PIXEL)) + 8
    axis = np.fft.fftfreq(count, PIXEL)
    ring = np.rint(np.hypot(axis[:, None], axis) * count * PIXEL).astype(int)
    sums = np.zeros((4, ring.max() + 1))
    ensemble = PlateEnsemble(
        count=plates,
        region=PackingRegion(height=FIELD, width=FIELD, depth=depth),
        orientation_spread=0.0,
        touching=0.0,
        binder=0,
    )
    for seed in seeds:
        specimen = phosphate_ensemble(ensemble, seed=seed)
        # A quarter of the depth of focus of a pixel: finer slabs change the error by less than 1 %.
        slabs = (None, max(depth / 32, 100.0))
        flat, thick = (
            np.fft.fft2(
                exit_wave(
                    specimen,
                    View(tilt=0.0),
                    energy=energy,
                    shape=(count, count),
                    pixel_size=PIXEL,
                    slab=slab,
                    rays=1,
                ).values
                - 1
            )
            for slab in slabs
        )
        parts = (flat * thick.conj()).real, abs(flat) ** 2, abs(thick) ** 2, abs(thick - flat) ** 2
        sums += [np.bincount(ring.ravel(), weights=part.ravel()) for part in parts]
    last = count // 2
    return np.arange(1, last) / (count * PIXEL), sums[:, 1:last]


def _where(frequency: Array, correlation: Array) -> float:
    """Return the half period at which a correlation, over five rings, first falls to `LEFT`."""
    smooth = np.convolve(correlation, np.ones(5) / 5, mode="valid")
    below = np.flatnonzero(smooth < LEFT)
    return float(0.5 / frequency[below[0] + 2]) if len(below) else np.nan


def depth_of_focus_figure(series: xr.Dataset) -> "Figure":
    """Draw what `projection_error` found beside the closed form.

    Parameters
    ----------
    series : xarray.Dataset

    Returns
    -------
    matplotlib.figure.Figure
        On white; save it with `save_png`.
    """
    length, asked = series.attrs["wavelength"], series.attrs["half_period"]
    depth = series["depth"].values / 10
    focus = depth_of_focus(asked, wavelength=length) / 10
    fine = np.geomspace(depth.min() * 0.8, depth.max() * 1.2, 200)
    with style(**{"figure.facecolor": "white", "savefig.facecolor": "white"}):
        figure = new_figure(9.8, 3.9)
        left, right = figure.subplots(1, 2)
        turned = fine * 10 * length / (8 * asked**2)
        left.plot(fine, np.sqrt(2 - 2 * np.sinc(turned)), color=INK, label="evenly filled depth")
        left.plot(depth, series["error"], "o", color=ACCENT, label="plates, multislice")
        left.axvline(focus, color=SECOND, linestyle="--")
        left.text(focus * 1.05, 0.12, f"depth of focus\n{focus:.0f} nm", color=SECOND)
        left.set(
            title=f"Error of the projection at {asked / 10:g} nm half period",
            ylabel="difference / projection",
            ylim=(0.05, 2),
        )
        law = np.sqrt(fine * 10 * length / 5.4) / 10
        right.plot(fine, law, color=INK, label="depth of focus: d = √(T λ / 5.4)")
        right.plot(depth, series["resolved"] / 10, "o", color=ACCENT, label="correlation 0.40")
        right.set(title="Half period that a projection holds", ylabel="half period (nm)")
        for axes in (left, right):
            axes.set(xlabel="specimen along the beam (nm)", xscale="log", yscale="log")
            plain_ticks(axes.xaxis)
            plain_ticks(axes.yaxis)
            axes.legend(loc="lower right")
            bare(axes)
    return figure
