"""A made-up round trip for tests of the report: a lattice of columns, its phase, its patterns."""

from typing import Any

import numpy as np
import xarray as xr

from echolith.forward.acquisition import PixelDetector, Scan, StemAcquisition
from echolith.validation.report import ReportContent

A, C, O = np.array([2.4685, 0.0]), np.array([-1.675, 4.743]), np.array([0.8198, 1.0654])  # noqa: E741
OFFSETS = {"M": [0 * A], "O": [O, -O], "Li": [C / 2]}
WEIGHT = {"M": 1.0, "O": 0.45, "Li": 0.16}
DISTANCES = {
    "m_m": ("M-M", A, "M"),
    "o_o_mli": ("O-O(MLi)", A, "O"),
    "m_m_olio": ("M-M(OLiO)", C + 2 * A, "M"),
    "o_o_li": ("O-O(Li)", C + 2 * A - 2 * O, "O"),
    "m_m_li": ("M-M(Li)", C, "M"),
    "o_o_2m": ("O-O(2M)", 2 * O - A, "O"),
    "o_o_2li": ("O-O(2Li)", C + A - 2 * O, "O"),
    "o_o_m": ("O-O(M)", 2 * O, "O"),
}


def acquisition(*, scan: int, pixels: int) -> StemAcquisition:
    return StemAcquisition(
        scan=Scan(shape=(scan, scan), step=(0.2, 0.2)),
        detector=PixelDetector(shape=(pixels, pixels), pixel_size=(64 / pixels, 64 / pixels)),
    )


def lattice(side: float) -> xr.Dataset:
    n = np.arange(-12, 24)
    i, j = (index.ravel() for index in np.meshgrid(n, n))
    rows = [
        (*xy, species)
        for species, offsets in OFFSETS.items()
        for offset in offsets
        for xy in i[:, None] * A + j[:, None] * C + offset + [0.4, 0.3]
        if 0 < xy[0] < side and 0 < xy[1] < side
    ]
    x, y, species = (np.array(column) for column in zip(*rows, strict=True))
    edge = np.minimum(np.minimum(x, side - x), np.minimum(y, side - y)) < 1
    columns = {"x": x, "y": y, "species": species.astype(str), "edge": edge}
    return xr.Dataset({name: ("column", values) for name, values in columns.items()})


def pairs(columns: xr.Dataset) -> xr.Dataset:
    xy = np.stack([columns["x"].values, columns["y"].values], axis=-1)
    names, lengths = [], []
    truth: dict[str, Any] = {}
    for name, (printed, vector, species) in DISTANCES.items():
        mine = xy[columns["species"].values == species]
        gap = mine[None] - mine[:, None] - vector
        first, second = np.nonzero(np.hypot(gap[..., 0], gap[..., 1]) < 0.2)
        found = np.hypot(*(mine[second] - mine[first]).T)
        names += [name] * len(found)
        lengths += found.tolist()
        attrs = {"units": "Å", "long_name": printed}
        truth[name] = ((), found.mean(), attrs)
        truth[f"{name}_std"] = ((), found.std() / np.sqrt(len(found)), {"units": "Å"})
    return xr.Dataset({**truth, "pair_name": ("pair", names), "pair_distance": ("pair", lengths)})


def report_content(
    *, scan: int = 32, pixels: int = 16, seed: int = 7, error: float = 0.02, **changes: Any
) -> ReportContent:
    """Make the content of a report; ``error`` (Å) displaces the recovered columns."""
    draw = np.random.default_rng(seed)
    how = acquisition(scan=scan, pixels=pixels)
    axis = np.arange(scan) * 0.2
    columns = lattice(float(axis[-1]))
    truth = xr.merge([columns, pairs(columns)])
    moved = columns.copy()
    for name in ("x", "y"):
        moved[name] = columns[name] + draw.normal(0, error, columns.sizes["column"])
    phase = blur(columns, axis, 0.35)
    estimate = xr.merge([moved, pairs(moved)])
    estimate["phase"] = (("scan_y", "scan_x"), phase - phase.mean(), {"units": "rad"})
    measurement = xr.Dataset(
        {
            "counts": (
                ("scan_y", "scan_x", "detector_y", "detector_x"),
                draw.poisson(patterns(how, phase)).astype(np.uint16),
            ),
            "haadf": (
                ("scan_y", "scan_x"),
                draw.poisson(60 * blur(columns, axis, 0.3, power=1.7)).astype(np.uint16),
            ),
        },
        attrs={"acquisition": how.model_dump_json()},
    )
    angles = how.detector.angles()
    coords = {"scan_y": axis, "scan_x": axis, "detector_y": angles[0], "detector_x": angles[1]}
    content = {
        "title": "li-rich-oxide: round trip",
        "scenario": "li-rich-oxide",
        "settings": {"dose": 8.1e4, "beam": {"energy": 200e3}, "name": "<script>alert(1)</script>"},
        "summary": summary(estimate, truth),
        "measurement": measurement.assign_coords(coords),
        "estimate": estimate.assign_coords({k: coords[k] for k in ("scan_y", "scan_x")}),
        "truth": truth,
        "notes": ["The solver's model differs from the generating one: one weak phase & no more."],
    }
    return ReportContent(**{**content, **changes})


def blur(columns: xr.Dataset, axis: np.ndarray, width: float, power: float = 1.0) -> np.ndarray:
    image = np.zeros((len(axis), len(axis)))
    rows = zip(columns["x"].values, columns["y"].values, columns["species"].values, strict=True)
    for x, y, species in rows:
        gauss = [np.exp(-((axis - centre) ** 2) / (2 * width**2)) for centre in (y, x)]
        image += WEIGHT[str(species)] ** power * np.outer(*gauss)
    return image


def patterns(how: StemAcquisition, phase: np.ndarray) -> np.ndarray:
    """Return discs whose intensity leans the way the phase does, plus a weak tail."""
    ky, kx = (angles / how.beam.semiangle for angles in how.detector.angles())
    radius = np.hypot(ky[:, None], kx)
    disc, tail = (radius <= 1).astype(float), 0.02 * np.exp(-radius)
    gy, gx = np.gradient(phase)
    lean = gy[..., None, None] * ky[:, None] + gx[..., None, None] * kx
    shape = disc * np.clip(1 + 0.8 * lean, 0, None) + tail
    return np.asarray(shape / (disc + tail).sum() * how.electrons_per_position)


def summary(estimate: xr.Dataset, truth: xr.Dataset) -> dict[str, Any]:
    quantities: dict[str, dict[str, Any]] = {
        name: {
            "truth": float(truth[name]),
            "estimate": float(estimate[name]),
            "std": float(estimate[f"{name}_std"]),
            "unit": "Å",
        }
        for name in DISTANCES
    }
    return {
        "scenario": "li-rich-oxide",
        "settings": {"dose": 8.1e4},
        "seed": 7,
        "quantities": quantities,
        "scores": {
            **{
                f"{n}_error": {"value": 100 * abs(q["estimate"] - q["truth"]), "unit": "pm"}
                for n, q in quantities.items()
            },
            "found_m": {"value": 1.0, "unit": "1"},
            "found_o": {"value": 1.0, "unit": "1"},
            "found_li": {"value": 0.98, "unit": "1"},
            "false_columns": {"value": 0.0, "unit": "1"},
        },
        "timings": {"build": 0.02, "simulate": 41.3, "count": 0.3, "solve": 4.2, "score": 0.01},
        "peak_memory_bytes": 1_234_567_890,
        "versions": {"python": "3.11.8", "echolith": "0.1.0", "abtem": "1.0.11"},
    }
