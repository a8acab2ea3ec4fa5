"""Columns and distances from the integrated centre of mass: an outsider's solver, SciPy alone."""

import numpy as np
from scipy import ndimage, spatial


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


def columns_and_distances(image, step, blur=(0.15, 0.6), apart=0.7):
    fine, coarse = (ndimage.gaussian_filter(image, width / np.array(step)) for width in blur)
    image = fine - coarse
    window = 2 * np.round(apart / np.array(step)).astype(int) + 1
    peaks = (image == ndimage.maximum_filter(image, window)) & (image > 0.1 * image.max())
    peaks[[0, -1]] = peaks[:, [0, -1]] = False
    row, column = np.nonzero(peaks)
    lower, here, upper = (image[row + n, column] for n in (-1, 0, 1))
    left, right = (image[row, column + n] for n in (-1, 1))
    y = step[0] * (row + (lower - upper) / (lower - 2 * here + upper) / 2)
    x = step[1] * (column + (left - right) / (left - 2 * here + right) / 2)
    species = np.array(["Li", "O", "M"])[np.digitize(here / np.quantile(here, 0.9), [0.35, 0.7])]
    return {"x": x, "y": y, "species": species} | distances(np.stack([x, y], axis=1), species)


def distances(xy, species):
    inner = ((xy > 2) & (xy < xy.max(axis=0) - 2)).all(axis=1)
    metals, oxygens = xy[inner & (species == "M")], xy[inner & (species == "O")]
    found = {"m_m": between(metals, None, 2.9)}
    for name, centre in (("o_o_m", "M"), ("o_o_li", "Li")):
        found[name] = between(oxygens, xy[species == centre], 3.6)
    mean = {name: ((), values.mean(), {"units": "Å"}) for name, values in found.items()}
    std = {f"{n}_std": values.std(ddof=1) / len(values) ** 0.5 for n, values in found.items()}
    return mean | std


def between(ends, centres, longest):
    one, two = ends[spatial.cKDTree(ends).query_pairs(longest, output_type="ndarray").T]
    if centres is not None:
        near = spatial.cKDTree(centres).query((one + two) / 2)[0] < 0.4
        one, two = one[near], two[near]
    return np.linalg.norm(one - two, axis=1)
