"""Atom columns and some of their distances from any image of them, with SciPy alone."""

import numpy as np
from scipy import ndimage, spatial


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
    found = {name: ("column", at, {"units": "Å"}) for name, at in (("x", x), ("y", y))}
    return found | {"species": species} | distances(np.stack([x, y], axis=1), species)


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
