"""Movies of thin crystals of light atoms: the sum of their columns, without multislice."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy import fft

from echolith.forward.hrtem_acquisition import HrtemAcquisition
from echolith.inverse.lattice_transfer import transfer
from echolith.outlines import edge_on_facets, facet_name

Array = npt.NDArray[np.float64]

SPACING = 2.4814
"""Å, of {110} of lithium."""


def column_movie(
    taken: HrtemAcquisition,
    *,
    edges: Mapping[str, Array],
    rotation: float,
    shifts: Array,
    strength: float = 0.25,
    seed: int = 0,
) -> tuple[xr.Dataset, xr.DataArray]:
    """Return counts of a crystal seen along [111], and its true edges over (facet, frame).

    Parameters
    ----------
    taken : HrtemAcquisition
    edges : mapping
        Whole rows beyond the middle one along some facets in every frame; all {110} need some.
    rotation : float
        Degree.
    shifts : array (frames, 2)
        Of the crystal's middle from the middle of the field, x, y, Å.
    strength : float
        Of columns: their image at the middle is about this part of the vacuum.
    seed : int
    """
    hkl, angles = edge_on_facets((1, 1, 1))
    names = [facet_name(one) for one in hkl]
    turned = np.radians(angles + rotation)
    normals = np.stack([np.cos(turned), np.sin(turned)], axis=1)
    layers = SPACING * np.sqrt(2) / np.linalg.norm(hkl, axis=1)
    cell = np.linalg.inv(normals[[0, 2]] / SPACING).T
    n = np.arange(-40, 41)
    columns = np.stack(np.meshgrid(n, n), axis=-1).reshape(-1, 2) @ cell
    rows = np.rint(columns @ normals.T / layers)
    ky = fft.fftfreq(taken.shape[0], taken.pixel)
    kx = fft.fftfreq(taken.shape[1], taken.pixel)
    seen = transfer(taken, ky[:, None], kx[None])
    seen *= strength * taken.pixel**2 / seen.mean() / taken.pixel**2
    middle = 0.5 * np.array(taken.field[::-1])
    counts = np.empty((len(shifts), *taken.shape))
    draw = np.random.default_rng(seed)
    for f, shift in enumerate(shifts):
        limits = np.array([edges[name][f] if name in edges else np.inf for name in names])
        x, y = (columns[(rows <= limits).all(axis=1)] + shift + middle).T
        waves = np.exp(-2j * np.pi * np.outer(ky, y)) @ np.exp(-2j * np.pi * np.outer(x, kx))
        image = 1 + fft.ifft2(waves * seen).real
        counts[f] = draw.poisson(taken.dose * taken.pixel**2 * np.maximum(image, 0))
    times = (np.arange(len(shifts)) + 0.5) * taken.frame_time
    truth = xr.DataArray(
        [(np.asarray(edges[name]) + 0.5) * d if name in edges else np.full(len(shifts), np.nan)
         for name, d in zip(names, layers, strict=True)],
        dims=("facet", "frame"),
        coords={"facet": names, "frame": times},
    )  # fmt: skip
    movie = xr.Dataset(
        {"counts": (("frame", "y", "x"), counts.astype(np.uint16))},
        coords={"frame": ("frame", times)},
        attrs={"hrtem": taken.model_dump_json()},
    )
    return movie, truth
