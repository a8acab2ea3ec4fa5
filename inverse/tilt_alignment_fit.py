"""How far each image lies from its reprojection: one step of maximum likelihood.

An image moved by a small shift (u, v), rotation w and growth g is

    P(X) = M(X) - u dM/dx - v dM/dy - w (x dM/dy - y dM/dx) - g (x dM/dx + y dM/dy)

with the reprojection M. All four follow by weighted least squares, with nuisances: the strength of
the image, its background, and its second derivative along x. For a volume that was stopped early
and projected by linear interpolation is too weak and too blurred, which would pass for another
scale. Weights are those of counting, ``exp(-M) / variance without specimen``: of the model, as
weights that share the noise of the data bias them.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

TERMS = 7
"""Four motions, strength, background, blur."""

compiled = numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})


def normal_equations(images: Array, models: Array, variance: Floats) -> tuple[Floats, Floats]:
    """Return the information on the motions and the slope of the likelihood.

    Parameters
    ----------
    images, models : array, (images, y, x)
        Optical densities, measured and reprojected.
    variance : array, (images,)
        Of a pixel without specimen.

    Returns
    -------
    information : array, (images, 4, 4)
        Inverse covariance of (shift x, shift y, rotation, growth), in pixels, radians and parts of
        1, nuisances taken out.
    slope : array, (images, 4)
        Information times the motion wanted.
    """
    matrix = np.zeros((len(images), TERMS, TERMS))
    right = np.zeros((len(images), TERMS))
    for i in range(len(images)):
        _accumulate(images[i], models[i], matrix[i], right[i])
    matrix /= variance[:, None, None]
    right /= variance[:, None]
    nuisance = np.arange(4, TERMS)
    size = np.einsum("nii->ni", matrix)[:, 4:]
    matrix[:, nuisance, nuisance] = (1 + 1e-9) * size + 1e-30
    carried = np.linalg.solve(matrix[:, 4:, 4:], matrix[:, 4:, :4])
    across = matrix[:, :4, 4:]
    information = matrix[:, :4, :4] - across @ carried
    slope = right[:, :4] - np.einsum("nki,nk->ni", carried, right[:, 4:])
    return information, slope


@compiled  # type: ignore[untyped-decorator, unused-ignore]
def _accumulate(image: Any, model: Any, matrix: Any, right: Any) -> None:
    ny, nx = image.shape
    row = np.zeros(TERMS)
    for i in range(2, ny - 2):
        y = i - (ny - 1) / 2
        for j in range(2, nx - 2):
            x = j - (nx - 1) / 2
            along = model[i, j + 1] - model[i, j - 1]
            along = (8 * along - model[i, j + 2] + model[i, j - 2]) / 12
            down = model[i + 1, j] - model[i - 1, j]
            down = (8 * down - model[i + 2, j] + model[i - 2, j]) / 12
            row[0], row[1] = -along, -down
            row[2], row[3] = y * along - x * down, -x * along - y * down
            row[4], row[5] = model[i, j], 1.0
            row[6] = model[i, j + 1] - 2 * model[i, j] + model[i, j - 1]
            weight = np.exp(-model[i, j])
            left = weight * (image[i, j] - model[i, j])
            for k in range(TERMS):
                right[k] += row[k] * left
                for m in range(TERMS):
                    matrix[k, m] += weight * row[k] * row[m]
