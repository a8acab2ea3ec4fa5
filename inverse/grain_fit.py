"""Rotation of a grain by maximum likelihood, and the fringes that it makes.

With a free complex amplitude of every reflection the log likelihood of grain and noise is

    Q = sum_g |sum_r w(r) I(r) exp(-2 pi i g r)|² / (P_g sum_r w²),

w the weight of a pixel in the grain, P the power of the noise; g are tied to one lattice by
rotation and strain.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.optimize import minimize

from echolith.inverse.grain_templates import Template

Array = npt.NDArray[np.float64]

FAINT = 0.02
"""Weights below are 0."""
NEIGHBOURS = 0.02
"""Degree. Excess of errors of rotations over their standard deviation at 1000 e/Å², measured on the
seeds 0 to 19 of li-oxide; fringes of neighbours in a grain's pixels may be why."""
WHOLE = 1e-3
"""Weight of the mean over a grain in its amplitudes, which matters outside it alone."""


@dataclass(frozen=True, kw_only=True)
class GrainFit:
    """A grain's lattice: rotation with standard deviation (degree), and strain."""

    template: Template
    rotation: float
    rotation_std: float
    strain: float

    @property
    def g(self) -> Array:
        """Reflections, (n, 2) xy, 1/Å."""
        return self.template.at(self.rotation, self.strain)


def fit_grain(
    image: Array,
    weight: Array,
    *,
    template: Template,
    start: tuple[float, float],
    level: tuple[Array, Array],
    pixel: float,
    tolerance: float,
) -> GrainFit:
    """Fit rotation and strain of a grain.

    Parameters
    ----------
    image, weight : array, (ny, nx)
        Without the mean; 0 to 1.
    template : Template
    start : (float, float)
        Rotation (degree) and strain.
    level : (array, array)
        Radii (1/Å) and power of the noise.
    pixel : float
        Å.
    tolerance : float
        Standard deviation of strains before anything is seen.
    """
    rows, columns = (np.flatnonzero((weight > FAINT).any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    w = np.where(weight[box] > FAINT, weight[box], 0)
    part, energy = w * image[box], float((w**2).sum())
    y, x = (pixel * np.arange(one.start, one.stop) for one in box)
    noise = np.interp(np.hypot(*template.g.T), *level)
    size = pixel * np.sqrt(energy)
    scale = np.array([np.degrees(0.1 / size), 0.1 / size])

    def heights(steps: Array) -> Array:
        g = template.at(*(np.array(start) + steps * scale))
        along_y = np.exp(-2j * np.pi * np.outer(g[:, 1], y))
        along_x = np.exp(-2j * np.pi * np.outer(g[:, 0], x))
        sums = ((along_y @ part) * along_x).sum(axis=1)
        return np.asarray((sums.real**2 + sums.imag**2) / (noise * energy))

    def loss(steps: Array) -> float:
        strain = start[1] + steps[1] * scale[1]
        return float(0.5 * (strain / tolerance) ** 2 - heights(steps).sum())

    simplex = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    options = {"initial_simplex": simplex, "xatol": 1e-2, "fatol": 1e-3, "maxfev": 200}
    found = np.asarray(minimize(loss, np.zeros(2), method="Nelder-Mead", options=options).x)
    rotation, strain = (np.array(start) + found * scale).tolist()
    std = _rotation_std(template.at(rotation, strain), heights(found), w**2, y, x, tolerance)
    std = float(np.hypot(std, NEIGHBOURS))
    return GrainFit(template=template, rotation=rotation, rotation_std=std, strain=strain)


def _rotation_std(
    g: Array, heights: Array, share: Array, y: Array, x: Array, tolerance: float
) -> float:
    """Return the standard deviation of the rotation, degree, whatever the strain.

    ``F_jk = sum_g 2 Q_g [<p_j p_k> - <p_j> <p_k>]``, ``p_j = 2 pi (dg/dj) r``, means over pixels.
    """
    mass = float(share.sum())
    along_y, along_x = share.sum(axis=1) / mass, share.sum(axis=0) / mass
    my, mx = float(along_y @ y), float(along_x @ x)
    cross = float((y - my) @ share @ (x - mx)) / mass
    covariance = np.array([[along_x @ (x - mx) ** 2, cross], [cross, along_y @ (y - my) ** 2]])
    slopes = 2 * np.pi * np.stack([np.stack([-g[:, 1], g[:, 0]], axis=1), -g])
    information = np.einsum(
        "jga,ab,kgb,g->jk", slopes, covariance, slopes, 2 * np.maximum(heights - 1, 0.1)
    )
    information[1, 1] += tolerance**-2
    return float(np.degrees(np.sqrt(np.linalg.inv(information)[0, 0])))


def fringes(image: Array, weight: Array, fit: GrainFit, *, pixel: float, smooth: float) -> Array:
    """Return the image that a grain would make everywhere, (ny, nx).

    The phase of every reflection is one all over the grain. Its amplitude, which changes with
    thickness, is the mean over the grain under a Gaussian of standard deviation ``smooth`` (Å)
    about each place; far from the grain it is that of its whole.
    """
    y, x = (pixel * np.arange(n) for n in image.shape)
    held = blurred(weight, pixel=pixel, width=smooth) + WHOLE
    mass = float(weight.sum())
    total = np.zeros(image.shape)
    for gx, gy in fit.g:
        wave = np.exp(2j * np.pi * gy * y)[:, None] * np.exp(2j * np.pi * gx * x)
        mean = (weight * image * wave.conj()).sum() / mass
        turned = (mean / abs(mean) * wave).real
        # The mean of a cosine's square is a half; both of a Friedel pair make the fringes.
        along = blurred(weight * image * turned, pixel=pixel, width=smooth)
        total += 2 * np.maximum((along + WHOLE * abs(mean)) / held, 0) * turned
    return total


def blurred(values: Array, *, pixel: float, width: float) -> Array:
    """Return values under a Gaussian of a standard deviation, Å; the frame repeats."""
    ky = np.exp(-2 * (np.pi * width * fft.fftfreq(values.shape[0], pixel)) ** 2)
    kx = np.exp(-2 * (np.pi * width * fft.rfftfreq(values.shape[1], pixel)) ** 2)
    return np.asarray(fft.irfft2(fft.rfft2(values) * (ky[:, None] * kx), s=values.shape))
