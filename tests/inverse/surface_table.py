"""Tables of fitted sites across a surface, drawn without the solvers' code or their response."""

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.special import erfc

Array = npt.NDArray[np.float64]

A, C, OXYGEN = np.array([2.48, 0.0]), np.array([-1.7, 4.85]), np.array([0.81, 1.1])
LAYERS = 7
PHASES_SEEN = np.array(
    [
        [0.0, 0.190, 0.315, 0.569, 0.896, 1.194, 1.329, 1.583, 1.836, 2.09],
        [0.0, 0.229, 0.403, 0.682, 0.983, 1.268, 1.346, 1.472, 1.482, 1.437],
    ]
)
"""What cation columns of seven sites scatter (Å at 0.7 1/Å), and their mean phase relative to that
of oxygen columns: means over 13 specimens of 20 Å, noise-free multislice."""
OXYGEN_PHASE = 0.19
"""rad Å²."""
ORDER = 0.25
"""By how much the dark field of metals differs with their order along the beam, relative; of the
same data, and so are the numbers in `_bright`."""

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
    seen = np.interp(2.09 * tm + 0.315 * li, *PHASES_SEEN)
    strength = OXYGEN_PHASE * np.where(oxygen, inside, seen)
    bright = np.where(oxygen, 23.7 * inside, _bright(tm, li, random))
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


def _bright(tm: Array, li: Array, random: np.random.Generator) -> Array:
    """Return counts: of metals in the mean in proportion; of lithium where its order is broken."""
    return 205 * tm * random.normal(1, ORDER, len(tm)) + 7 * li * (1 - li)


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
