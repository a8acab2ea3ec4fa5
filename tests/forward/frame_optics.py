"""Optics of frames in HRTEM that a file of others does not tell."""

from typing import Any

OPTICS: dict[str, Any] = {
    "energy": 300e3,
    "aberrations": {"C10": 60, "C30": -13e4},
    "semiangle": 40,
    "focal_spread": 30,
    "image_spread": 0.3,
    "frame_time": 0.04,
}
