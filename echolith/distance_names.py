"""The eight named distances of Li-rich oxide along monoclinic [010], as they are printed.

Song et al., Joule 6 (2022), tables S1 to S3.
"""

from collections.abc import Mapping

LONG_NAMES: Mapping[str, str] = {
    "m_m": "M-M",
    "o_o_mli": "O-O(MLi)",
    "m_m_olio": "M-M(OLiO)",
    "o_o_li": "O-O(Li)",
    "m_m_li": "M-M(Li)",
    "o_o_2m": "O-O(2M)",
    "o_o_2li": "O-O(2Li)",
    "o_o_m": "O-O(M)",
}
"""Printed name of each variable, in the order of the published tables."""
