"""Whether an image holds a lattice, where, and along which zone axis: a likelihood ratio.

Of pure noise, power over its expectation P is exponentially distributed, whatever the detector and
whatever rings amorphous carbon adds, as long as the expectation is rotationally symmetric. A
reflection of unknown amplitude multiplies the expectation by 1 + r. So for every template (zone
axis, spacing, rotation, a part of the image) the ratio of likelihoods of lattice and noise is

    L = prod_g exp(P_g r_g / (1 + r_g)) / (1 + r_g)

with mean 1 in pure noise; so is the mean of L over all templates. By Markov's inequality it exceeds
1 / p with probability p at most: a bound on the probability of a false lattice that needs no count
of independent trials (Vovk and Wang, Ann. Statist. 49 (2021) 1736).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.special import logsumexp

from echolith.zone_axes import Zone, projected_reflections, rotation_period

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]

LARGEST = 1.0
"""1/Å; reflections beyond are too weak to help."""
FALL = 10.0
"""Å². Expected powers of reflections fall by exp(-10 g²): scattering factor, thermal motion and
image spread of lithium."""
STRENGTHS = (10.0, 100.0, 1000.0)
"""Power over noise of the strongest reflection, before its fall with g; weighed alike."""
STRONGEST = 10.0
"""Most that is expected of a reflection. More would gain nothing, and rely on the far tail."""
RING = 0.02
"""1/Å. Width of the rings in which the power of the noise is taken."""
LADDER = 1.5
"""Between radii of windows."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A round part of an image, ``cos²(pi r / 2 R)`` about its middle. Pairs are (y, x)."""

    centre: tuple[float, float]
    """Å."""
    radius: float
    """Where it ends, Å."""


@dataclass(frozen=True, kw_only=True)
class Notches:
    """Round parts of reciprocal space, with those opposite to them.

    Attributes
    ----------
    places : array, (n, 2)
        xy, 1/Å.
    radius : float
        1/Å.
    """

    places: Array
    radius: float


@dataclass(frozen=True, kw_only=True)
class Detection:
    """The best lattice, and how sure it is that there is one.

    Attributes
    ----------
    log_ratio : float
        Logarithm of the mean likelihood ratio of lattice and noise.
    zones : array, (candidates,)
        Posterior probability of each zone axis, if there is a lattice.
    zone_axis, spacing, rotation, window
        Of the most likely template; Å and degree.
    """

    log_ratio: float
    zones: Array
    zone_axis: Zone
    spacing: float
    rotation: float
    window: Window

    @property
    def noise_probability(self) -> float:
        """Bound on the probability of as much from noise alone."""
        return float(np.exp(-max(self.log_ratio, 0.0)))


def noise_power(image: Array, pixel: float) -> tuple[Array, Array]:
    """Return radii (1/Å) and the expected power of the noise there, for a window of sum 1.

    The median of rings over ln 2, which a few reflections do not move.
    """
    taper = np.hanning(image.shape[0])[:, None] * np.hanning(image.shape[1])
    taper /= np.sqrt((taper**2).sum())
    power = np.abs(fft.rfft2((image - image.mean()) * taper)) ** 2
    ky = fft.fftfreq(image.shape[0], pixel)[:, None]
    kx = fft.rfftfreq(image.shape[1], pixel)
    radius = np.hypot(ky, kx)
    width = max(RING, 3 / (pixel * min(image.shape)))
    inside = radius < 0.5 / pixel
    ring = (radius[inside] / width).astype(int)
    order = np.argsort(ring, kind="stable")
    starts = np.flatnonzero(np.diff(ring[order], prepend=-1))
    groups = np.split(power[inside][order], starts[1:])
    middles = (ring[order][starts] + 0.5) * width
    return middles, np.array([np.median(group) for group in groups]) / np.log(2)


def windows(shape: tuple[int, ...], pixel: float, *, smallest: float) -> Iterator[list[Window]]:
    """Yield parts of an image: the whole, then ever smaller ones, all of one size at a time."""
    field = np.array(shape) * pixel
    radius = float(np.hypot(*field)) / 2
    while radius >= smallest:
        half = np.maximum(field / 2 - 0.7 * radius, 0)
        counts = np.ceil(2 * half / (0.6 * radius)).astype(int) + 1
        y, x = (
            middle + (np.linspace(-h, h, n) if n > 1 else np.zeros(1))
            for middle, h, n in zip(field / 2, half, counts, strict=True)
        )
        yield [Window(centre=(float(cy), float(cx)), radius=radius) for cy in y for cx in x]
        radius /= LADDER


def detect(
    image: Array,
    *,
    pixel: float,
    level: tuple[Array, Array],
    spacings: Sequence[tuple[Zone, float]],
    tolerance: float,
    smallest: float,
    taken: Notches | None = None,
) -> Detection:
    """Look for a lattice in an image.

    Parameters
    ----------
    image : array, (ny, nx)
    pixel : float
        Å.
    level : (array, array)
        From `noise_power`.
    spacings : sequence of (zone axis, spacing)
        Candidates; the spacing of the shortest reflection across each, Å.
    tolerance : float
        Largest relative deviation of the spacing.
    smallest : float
        Radius of the smallest part of the image that is looked at, Å.
    taken : Notches, optional
        What tells nothing: reflections of a lattice found before.
    """
    sizes = []
    best: dict[int, tuple[float, Window, float, float]] = {}
    for group in windows(image.shape, pixel, smallest=smallest):
        grid = _grid(pixel, group[0].radius, level, taken)
        templates = [
            _templates(grid, zone, spacing, tolerance, group[0].radius)
            for zone, spacing in spacings
        ]
        each = np.empty((len(group), len(spacings)))
        for row, window in zip(each, group, strict=True):
            maps = grid.log_ratios(grid.power(_part(image, pixel, window)))
            for n, template in enumerate(templates):
                ratios = maps[:, template.index].sum(axis=-1)
                row[n] = _log_sum(ratios) - np.log(ratios.size)
                _, i, j = np.unravel_index(int(ratios.argmax()), ratios.shape)
                place = float(template.strains[i]), float(template.angles[j])
                here = (float(ratios.max()), window, *place)
                best[n] = max(best.get(n, here), here, key=lambda one: one[0])
        sizes.append(logsumexp(each, axis=0) - np.log(len(group)))
    # All sizes weigh alike, in one size all places, and all zone axes.
    total = logsumexp(np.array(sizes), axis=0) - np.log(len(sizes) * len(spacings))
    zones = np.exp(total - logsumexp(total))
    chosen = int(zones.argmax())
    _, window, strain, angle = best[chosen]
    return Detection(
        log_ratio=float(logsumexp(total)),
        zones=zones,
        zone_axis=spacings[chosen][0],
        spacing=spacings[chosen][1] * (1 + strain),
        rotation=angle,
        window=window,
    )


def expected_ratio(
    image: Array,
    *,
    pixel: float,
    spacings: Sequence[tuple[Zone, float]],
    tolerance: float,
    smallest: float,
) -> tuple[float, float]:
    """Return the log ratio of a lattice and noise at the expected powers, and its spread.

    Parameters
    ----------
    image : array, (ny, nx)
        Expected counts; the power of the noise is their mean.
    pixel, spacings, tolerance, smallest
        As for `detect`.
    """
    noise = float(image.mean())
    level = np.array([0.0, LARGEST]), np.array([noise, noise])
    ratios, best = [], (-np.inf, 0.0)
    for group in windows(image.shape, pixel, smallest=smallest):
        grid = _grid(pixel, group[0].radius, level, None)
        templates = [_templates(grid, *one, tolerance, group[0].radius) for one in spacings]
        each = []
        for window in group:
            power = grid.power(_part(image, pixel, window))
            maps = grid.log_ratios(power + noise)
            for template in templates:
                found = maps[:, template.index].sum(axis=-1)
                each.append(_log_sum(found) - np.log(found.size))
                if found.max() > best[0]:
                    strength, *place = np.unravel_index(int(found.argmax()), found.shape)
                    at = template.index[tuple(place)]
                    weight = noise * grid.gain[strength].ravel()[at]
                    twice = 1 + 2 * power.ravel()[at] / noise
                    best = float(found.max()), float(np.sqrt((weight**2 * twice).sum()))
        ratios.append(_log_sum(np.array(each)) - np.log(len(each)))
    return _log_sum(np.array(ratios)) - float(np.log(len(ratios))), best[1]


def _log_sum(values: Floats) -> float:
    """Return log(sum(exp(values)))."""
    most = float(values.max())
    return most + float(np.log(np.exp(values - most).sum(dtype=np.float64)))


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Half of the reciprocal plane, kx >= 0, on the grid of a window's transform."""

    size: int
    step: float
    rows: npt.NDArray[np.intp]
    columns: int
    gain: Floats
    """(strengths, rows, columns): what power is multiplied by in the log likelihood ratio."""
    constant: Floats
    """(strengths, rows, columns): what is then taken off."""

    def power(self, part: Floats) -> Floats:
        """Return the power of a part of an image, (rows, columns)."""
        spectrum = fft.rfft2(part, s=(self.size, self.size))[self.rows, : self.columns]
        return np.asarray(spectrum.real**2 + spectrum.imag**2)

    def log_ratios(self, power: Floats) -> Floats:
        """Return log likelihood ratios, (strengths, places), of powers."""
        return np.asarray((power * self.gain - self.constant).reshape(len(self.gain), -1))


def _grid(pixel: float, radius: float, level: tuple[Array, Array], taken: Notches | None) -> _Grid:
    # Twice the window: half of the width of a peak from place to place.
    size = fft.next_fast_len(int(4 * radius / pixel) + 2, real=True)
    step = 1 / (size * pixel)
    largest = min(LARGEST, 0.5 / pixel)
    reach = int(largest / step)
    rows, columns = np.arange(-reach, reach + 1), np.arange(reach + 1)
    k = np.hypot(rows[:, None], columns) * step
    expected = np.where(k < largest, np.exp(-FALL * k**2), 0)
    if taken is not None:
        for x, y in np.concatenate([taken.places, -taken.places]):
            away = np.hypot(rows[:, None] * step - y, columns * step - x)
            expected[away < taken.radius] = 0
    ratios = np.minimum(np.multiply.outer(STRENGTHS, expected), STRONGEST)
    return _Grid(
        size=size,
        step=step,
        rows=rows,
        columns=reach + 1,
        gain=(ratios / (1 + ratios) / np.interp(k, *level)).astype(np.float32),
        constant=np.log1p(ratios).astype(np.float32),
    )


def _part(image: Array, pixel: float, window: Window) -> Floats:
    """Return the part of an image under a window, of sum of squares 1, without its mean."""
    slices, away = [], []
    for n, centre in zip(image.shape, window.centre, strict=True):
        first = max(int(np.ceil((centre - window.radius) / pixel)), 0)
        last = min(int((centre + window.radius) / pixel) + 1, n)
        slices.append(slice(first, last))
        away.append(np.arange(first, last) * pixel - centre)
    r = np.hypot(away[0][:, None], away[1]) / window.radius
    taper = np.where(r < 1, np.cos(0.5 * np.pi * r) ** 2, 0)
    part = image[slices[0], slices[1]]
    mean = (part * taper).sum() / taper.sum()
    return np.asarray((part - mean) * taper / np.sqrt((taper**2).sum()), dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class _Templates:
    """Places of the reflections of a zone axis on a grid, at strains and rotations (degree)."""

    index: npt.NDArray[np.intp]
    """(strains, rotations, reflections)"""
    strains: Array
    angles: Array


def _templates(
    grid: _Grid, zone: Zone, spacing: float, tolerance: float, radius: float
) -> _Templates:
    g = projected_reflections(zone, spacing=spacing, rotation=0.0)
    # All stay on the grid at every strain.
    g = g[np.hypot(*g.T) < (1 - tolerance) * (grid.columns - 1.5) * grid.step]
    # Steps of half a main lobe at the outermost reflection, and finer at the others.
    fine = 0.5 / (radius * float(np.hypot(*g.T).max()))
    strains = np.linspace(-tolerance, tolerance, 2 * int(np.ceil(tolerance / fine)) + 1)
    period = rotation_period(zone)
    count = int(np.ceil(np.radians(period) / fine))
    angles = np.arange(count) * period / count
    waves = np.exp(1j * np.radians(angles))[:, None] * (g[:, 0] + 1j * g[:, 1])
    waves = waves / (1 + strains)[:, None, None]
    # Friedel's law: the other one of a pair tells the same.
    waves = np.where(waves.real < 0, -waves, waves)
    rows = np.rint(waves.imag / grid.step).astype(int) + (len(grid.rows) - 1) // 2
    columns = np.rint(waves.real / grid.step).astype(int)
    return _Templates(index=rows * grid.columns + columns, strains=strains, angles=angles)
