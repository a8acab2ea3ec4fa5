"""An outsider's solver: columns from the integrated centre of mass, with SciPy alone."""

import numpy as np
from columns_from_image import columns_and_distances


def solve(measurement):
    counts = np.asarray(measurement["counts"].values, dtype=float)
    y, x = (measurement[f"scan_{axis}"].values for axis in "yx")
    angle_y, angle_x = (measurement[f"detector_{axis}"].values for axis in "yx")
    total = counts.sum(axis=(2, 3))
    slope_y = np.einsum("abij,i->ab", counts, angle_y) / total
    slope_x = np.einsum("abij,j->ab", counts, angle_x) / total
    return columns_and_distances(integrated(slope_y, slope_x), step=(y[1], x[1]))


def integrated(slope_y, slope_x):
    """Mirrored, so that opposite edges need not fit, and divided by the spatial frequency."""
    slope_y = np.block([[slope_y, slope_y[:, ::-1]], [-slope_y[::-1], -slope_y[::-1, ::-1]]])
    slope_x = np.block([[slope_x, -slope_x[:, ::-1]], [slope_x[::-1], -slope_x[::-1, ::-1]]])
    ky, kx = np.meshgrid(*(np.fft.fftfreq(n) for n in slope_y.shape), indexing="ij")
    divisor = np.where((square := kx**2 + ky**2) > 0, square, 1)
    spectrum = (ky * np.fft.fft2(slope_y) + kx * np.fft.fft2(slope_x)) / (1j * divisor)
    return np.fft.ifft2(spectrum).real[: slope_y.shape[0] // 2, : slope_y.shape[1] // 2]
