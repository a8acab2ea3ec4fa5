"""Synthetic weak-phase reconstructions of Li-rich oxide, written without the solvers' code.

Columns are summed one by one in Fourier space on a field larger than the scan, cut at twice the
semiangle, and cropped; so the scan is not periodic and columns beyond its edge are there. Every O
column is three sub-columns (one atom of three displaced from the other two), as in C2/m.
"""

from dataclasses import dataclass, field

import gemmi
import numpy as np
import numpy.typing as npt
import xarray as xr

Array = npt.NDArray[np.float64]

LAMBDA = 0.0250793
LIMIT = 2 * 22.4e-3 / LAMBDA
RADIAN_PER_FORM_FACTOR = 0.0349
"""lambda times the relativistic mass ratio at 200 kV: phase area (rad Å²) per Å of f_e."""
SPLIT = np.array([[-0.0234, 0.0027], [0.0117, -0.0013], [0.0117, -0.0013]])
TRANSITION_METALS = {"Mn": 0.54, "Ni": 0.13, "Co": 0.13, "Li": 0.20}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Projected cell (A, C, O in Å) of Li-rich oxide along [010]."""

    a: float = 2.4685
    c: tuple[float, float] = (-1.6753, 4.7428)
    o: tuple[float, float] = (0.8198, 1.0654)
    split: bool = True
    rotation: float = 7.0
    origin: tuple[float, float] = (0.37, 0.21)

    def vectors(self) -> Array:
        turn = np.deg2rad(self.rotation)
        matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        return np.asarray(np.array([[self.a, 0.0], self.c, self.o]) @ matrix)

    def named(self) -> dict[str, Array]:
        """Name the eight distance vectors."""
        a, c, o = self.vectors()
        d, f = 2 * o, c + 2 * a
        return {
            "m_m": a,
            "o_o_mli": a,
            "m_m_olio": f,
            "o_o_li": f - d,
            "m_m_li": c,
            "o_o_2m": d - a,
            "o_o_2li": f - d - a,
            "o_o_m": d,
        }

    def distances(self) -> dict[str, float]:
        return {name: float(np.hypot(*vector)) for name, vector in self.named().items()}


@dataclass(frozen=True, kw_only=True)
class Field:
    """A scan over the cell; `pad` Å of crystal beyond each edge."""

    cell: Cell = field(default_factory=Cell)
    shape: tuple[int, int] = (80, 80)
    step: float = 0.2
    pad: float = 8.0
    layers: float = 7.0
    debye_waller: float = 0.5
    displacement: float = 0.0
    """Å, rms per axis of independent random displacements of whole columns."""
    dose: float = 8.1e4
    wrapped: bool = True
    """Band-limit the crop on the scan's own grid, as a reconstruction by FFT does."""


def true_columns(spec: Field, *, seed: int = 0) -> xr.Dataset:
    """Columns in the scan and in the crystal around it."""
    a, c, o = spec.cell.vectors()
    height, width = spec.shape[0] * spec.step, spec.shape[1] * spec.step
    reach = int(np.ceil((height + width + 4 * spec.pad) / 2.0))
    n, m = np.meshgrid(np.arange(-reach, reach), np.arange(-reach, reach))
    nodes = n.reshape(-1, 1) * a + m.reshape(-1, 1) * c + np.array(spec.cell.origin)
    basis = [("M", 0 * a), ("Li", c / 2), ("O", o), ("O", -o)]
    points = np.concatenate([nodes + shift for _, shift in basis])
    species = np.repeat([name for name, _ in basis], len(nodes))
    sign = np.repeat([0, 0, 1, -1], len(nodes))
    inside = (points > -spec.pad).all(axis=1) & (
        points < [width + spec.pad, height + spec.pad]
    ).all(axis=1)
    points = points[inside]
    if spec.displacement:
        points = points + np.random.default_rng(seed).normal(0, spec.displacement, points.shape)
    edge = (points < 0).any(axis=1) | (points >= [width, height]).any(axis=1)
    return xr.Dataset(
        {
            "x": ("column", points[:, 0]),
            "y": ("column", points[:, 1]),
            "species": ("column", species[inside]),
            "sign": ("column", sign[inside]),
            "edge": ("column", edge),
        }
    )


def _form_factor(name: str, q: Array) -> Array:
    coefficients = gemmi.Element(name).c4322
    return np.array([coefficients.calculate_sf(float(s)) for s in (q.ravel() / 2) ** 2]).reshape(
        q.shape
    )


def phase_image(spec: Field, *, seed: int = 0, columns: xr.Dataset | None = None) -> Array:
    """Band-limited projected phase over the scan, rad."""
    columns = true_columns(spec, seed=seed) if columns is None else columns
    pad = round(spec.pad / spec.step)
    ny, nx = spec.shape[0] + 2 * pad, spec.shape[1] + 2 * pad
    qy = np.fft.fftfreq(ny, spec.step)
    qx = np.fft.fftfreq(nx, spec.step)
    q = np.hypot(qy[:, None], qx[None])
    inside = q <= LIMIT
    radial = np.linspace(0, LIMIT * 1.01, 600)
    spectrum = np.zeros((ny, nx), complex)
    metal = sum(f * _form_factor(z, radial) for z, f in TRANSITION_METALS.items()) * 5 / 6
    metal = metal + 1 / 6 * _form_factor("Li", radial)
    for species, curve in (
        ("M", metal),
        ("O", _form_factor("O", radial)),
        ("Li", _form_factor("Li", radial)),
    ):
        x, y = _atoms(spec.cell, columns, species)
        phases = np.exp(-2j * np.pi * np.outer(qy, y + pad * spec.step)) @ np.exp(
            -2j * np.pi * np.outer(x + pad * spec.step, qx)
        )
        weight = spec.layers / len(SPLIT) if species == "O" else spec.layers
        damped = np.interp(q, radial, curve) * np.exp(-spec.debye_waller * q**2 / 4)
        spectrum += RADIAN_PER_FORM_FACTOR * weight * damped * phases
    area = nx * ny * spec.step**2
    image = np.fft.ifft2(spectrum * inside / area).real * nx * ny
    image = image[pad : pad + spec.shape[0], pad : pad + spec.shape[1]]
    if spec.wrapped:
        support = overlap(_radius(spec)) > 0
        image = np.fft.ifft2(np.fft.fft2(image) * support).real
    return np.asarray(image - image.mean())


def _atoms(cell: Cell, columns: xr.Dataset, species: str) -> tuple[Array, Array]:
    chosen = columns.isel(column=columns["species"].values == species)
    xy = np.stack([chosen["x"].values, chosen["y"].values], axis=-1)
    if species != "O":
        return xy[:, 0], xy[:, 1]
    a, c, _ = cell.vectors()
    offsets = SPLIT[:, :1] * 2 * a + SPLIT[:, 1:] * c if cell.split else np.zeros((3, 2))
    xy = xy[:, None] + chosen["sign"].values[:, None, None] * (offsets - offsets.mean(axis=0))
    return xy[..., 0].ravel(), xy[..., 1].ravel()


def _radius(spec: Field) -> Array:
    axes = [np.fft.fftfreq(n, spec.step) for n in spec.shape]
    return np.asarray(np.hypot(axes[0][:, None], axes[1][None]))


def overlap(q: Array) -> Array:
    """Both double overlaps less the triple one, in units of the aperture's area."""
    alpha = LIMIT / 2

    def lens(shift: Array) -> Array:
        t = np.clip(shift / (2 * alpha), 0, 1)
        return np.asarray(2 / np.pi * (np.arccos(t) - t * np.sqrt(1 - t**2)))

    double = lens(q)
    # Area where A(k+Q), A(k) and A(k-Q) all pass is the lens of the two outer discs.
    triple = lens(2 * q)
    return np.where(q < 1e-9, 0.0, 2 * (double - triple))


def reconstruction(
    spec: Field, *, seed: int | None = None, columns: xr.Dataset | None = None
) -> xr.Dataset:
    """Return phase, transfer and weight as SSB would, with noise where a seed is given."""
    image = phase_image(spec, seed=seed or 0, columns=columns)
    electrons = spec.dose * spec.step**2 * image.size
    weight = electrons * overlap(_radius(spec))
    if seed is not None:
        rng = np.random.default_rng([seed, 1])
        white = np.fft.fft2(rng.normal(size=spec.shape)) / np.sqrt(image.size)
        std = np.where(weight > 0, 1 / np.sqrt(np.maximum(weight, 1e-30)), 0)
        image = image + np.fft.ifft2(white * std).real * image.size
    ny, nx = spec.shape
    phase = xr.DataArray(
        image,
        dims=("scan_y", "scan_x"),
        coords={"scan_y": np.arange(ny) * spec.step, "scan_x": np.arange(nx) * spec.step},
        attrs={"units": "rad"},
    )
    q = {"q_y": np.fft.fftfreq(ny, spec.step), "q_x": np.fft.fftfreq(nx, spec.step)}
    return xr.Dataset(
        {
            "phase": phase,
            "transfer": (("q_y", "q_x"), (weight > 0).astype(float)),
            "weight": (("q_y", "q_x"), weight),
        },
        coords=q,
    )


def haadf_image(
    spec: Field, *, seed: int | None = None, columns: xr.Dataset | None = None
) -> xr.DataArray:
    """Gaussian peaks of height ~Z^1.7 per column; the probe's incoherent width."""
    columns = true_columns(spec, seed=seed or 0) if columns is None else columns
    y, x = (np.arange(n) * spec.step for n in spec.shape)
    image = np.full(spec.shape, 0.002)
    height = {"M": 0.03, "O": 0.003, "Li": 0.0008}
    for cx, cy, name in zip(
        columns["x"].values, columns["y"].values, columns["species"].values, strict=True
    ):
        gx, gy = (np.exp(-((axis - at) ** 2) / (2 * 0.35**2)) for axis, at in ((x, cx), (y, cy)))
        image += height[str(name)] * gy[:, None] * gx[None]
    if seed is not None:
        electrons = spec.dose * spec.step**2
        image = np.random.default_rng([seed, 2]).poisson(image * electrons) / electrons
    return xr.DataArray(
        image,
        dims=("scan_y", "scan_x"),
        coords={"scan_y": y, "scan_x": x},
        attrs={"units": "1"},
    )
