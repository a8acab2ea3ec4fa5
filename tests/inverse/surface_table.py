"""Tables of fitted sites across a surface, drawn without the solvers' code or their response."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import erfc

Array = npt.NDArray[np.float64]

A, C, OXYGEN = np.array([2.48, 0.0]), np.array([-1.7, 4.85]), np.array([0.81, 1.1])
LAYERS = 7
FULL = 0.29
"""rad Å² of a column of metals; three quarters of that in proportion to little of it."""

# Metals, lithium of (M, M', Li, Li', T, T'): Fd-3m along <110> has full and half columns of 16d in
# turn in the layers rich in it, half and empty ones in the poor, 8a on every second pair.
CELLS: dict[str, list[tuple[float, float]]] = {
    "layered": [(0.8, 0.2), (0.8, 0.2), (0, 1), (0, 1), (0, 0), (0, 0)],
    "lt-licoo2": [(1, 0), (0.5, 0.5), (0.5, 0.5), (0, 1), (0, 0), (0, 0)],
    "limn2o4": [(1, 0), (0.5, 0), (0.5, 0), (0, 0), (0, 0), (0, 0.5)],
    "mn3o4": [(1, 0), (0.5, 0), (0.5, 0), (0, 0), (0, 0), (0.5, 0)],
    "rock-salt-disordered": [(0.5, 0.5)] * 4 + [(0, 0)] * 2,
}


def table(
    phase: str,
    *,
    depth: float,
    seed: int,
    length: float = 32.0,
    vacuum: float = 4.0,
    noise: float = 0.004,
    alkali: float = 0.0,
) -> xr.Dataset:
    """Return sites as fitted, and over the same dim what truly stands there.

    ``alkali``: share of metals on Li columns of the bulk, drawn site by site.
    """
    random = np.random.default_rng(seed)
    i, j = (n.ravel() for n in np.meshgrid(np.arange(-6, 30), np.arange(0, 4)))
    rows = []
    t = (C - 2 * OXYGEN) / 4
    places = [("M", 0, 0 * C), ("Li", 0, C / 2), ("O", 1, OXYGEN), ("O", -1, -OXYGEN)]
    places += [("T", 1, C / 2 + t), ("T", -1, C / 2 - t)]
    for u, v in zip(i.tolist(), j.tolist(), strict=True):
        for kind, sign, offset in places:
            x, y = u * A + v * C + offset
            if not (0 < x < length + vacuum and 0 < y < 11):
                continue
            below = length - x
            held = _content(kind, phase, below, depth, (u + seed) % 2, alkali, random)
            rows.append((kind, sign, u, v, x, y, below, *held))
    site = np.array([row[0] for row in rows])
    sign, at_i, at_j = np.array([row[1:4] for row in rows]).T
    at_x, at_y, deep, tm, li = np.array([row[4:] for row in rows]).T
    n, inside, oxygen = len(site), deep >= 0, site == "O"
    little = np.where(oxygen, 0.422 * inside, tm + 0.151 * li)
    strength = FULL * np.tanh(1.75 * little) / np.tanh(1.75)
    bright = 180 * (tm + 0.014 * li) + 18 * (oxygen & inside)
    return xr.Dataset(
        {
            "x": ("column", at_x),
            "y": ("column", at_y),
            "x_std": ("column", np.full(n, 0.01)),
            "y_std": ("column", np.full(n, 0.01)),
            "site": ("column", site),
            "sign": ("column", sign),
            "lattice_i": ("column", at_i),
            "lattice_j": ("column", at_j),
            "crystal": ("column", deep > -2),
            "edge": ("column", np.zeros(n, dtype=bool)),
            "strength": ("column", strength + random.normal(0, noise, n)),
            "strength_covariance": (("column", "column_"), np.eye(n) * noise**2),
            "brightness": ("column", bright + random.normal(0, 2.5, n)),
            "brightness_covariance": (("column", "column_"), np.eye(n) * 2.5**2),
            "true_tm": ("column", tm),
            "true_li": ("column", li),
            "true_depth": ("column", deep),
        }
    )


def _content(
    kind: str,
    phase: str,
    below: float,
    depth: float,
    parity: int,
    alkali: float,
    random: np.random.Generator,
) -> tuple[float, float]:
    if kind == "O" or below < 0:
        return 0.0, 0.0
    row = 2 * ("M", "Li", "T").index(kind) + parity
    bulk = CELLS["layered"][row] if kind != "Li" else (alkali, 1 - alkali)
    share = erfc((below - depth) / (np.sqrt(2) * 2.0)) / 2
    surface = random.random(LAYERS) < share
    tm = li = 0
    for here in surface:
        metal, lithium = CELLS[phase][row] if here and phase != "layered" else bulk
        draw = random.random()
        tm, li = tm + (draw < metal), li + (metal <= draw < metal + lithium)
    return tm / LAYERS, li / LAYERS
