"""Samples come out of a pack as they went in, whatever their sizes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from echolith.dataset import load, save
from echolith.errors import BadInputError
from echolith.validation.packing import FORM, pack, unpack


@st.composite
def samples(draw: st.DrawFn) -> xr.Dataset:
    columns = draw(st.integers(0, 4))
    rows = draw(st.integers(1, 3))
    numbers = hnp.arrays(np.float32, (rows, 2), elements=st.floats(width=32))
    variables: dict[str, Any] = {
        "counts": (("row", "x"), draw(numbers), {"units": "e"}),
        "label": ("column", draw(hnp.arrays(np.int16, columns))),
        "species": (
            "column",
            np.array(
                draw(st.lists(st.sampled_from(["O", "Li"]), min_size=columns, max_size=columns)),
                dtype=object,
            ),
        ),
        "state": ((), draw(st.sampled_from(["charged", "pristine"]))),
        "found": ((), draw(st.booleans()), {"why": draw(st.sampled_from(["a", "b"]))}),
    }
    if draw(st.booleans()):
        variables["tilt"] = ((), draw(st.floats(-1, 1)))
    coords = {
        "x": ("x", [0.0, 0.5]),
        "row": ("row", np.arange(rows) * draw(st.sampled_from([1.0, 2.0]))),
    }
    return xr.Dataset(
        variables, coords, {"dose": draw(st.sampled_from([1.0, 2.0])), "beam": "probe"}
    )


@given(st.lists(samples(), min_size=1, max_size=4))
def test_what_is_packed_comes_out_as_it_went_in(given_samples: list[xr.Dataset]) -> None:
    packed = pack(given_samples)
    assert packed.sizes["sample"] == len(given_samples)
    for index, sample in enumerate(given_samples):
        xr.testing.assert_identical(unpack(packed, index), sample)


def test_a_pack_survives_its_file(tmp_path: Path) -> None:
    made = [
        xr.Dataset(
            {"a": ("x", np.arange(n, dtype=float)), "n": ("x", np.array(["Li"] * n, dtype=object))},
            {"x": ("x", np.arange(n) * 1.5)},
            {"dose": float(n)},
        )
        for n in (3, 0, 2)
    ]
    save(pack(made), tmp_path / "pack.h5")
    read = load(tmp_path / "pack.h5")
    for index, sample in enumerate(made):
        xr.testing.assert_identical(unpack(read, index).compute(), sample)


def test_what_cannot_be_stacked_is_told() -> None:
    one, other = xr.Dataset({"a": ("x", [1.0])}), xr.Dataset({"a": ("y", [1.0])})
    with pytest.raises(BadInputError, match="'a' has other dimensions"):
        pack([one, other])
    with pytest.raises(BadInputError, match="no samples"):
        pack([])
    with pytest.raises(BadInputError, match=FORM):
        unpack(one, 0)
    with pytest.raises(BadInputError, match="0 to 0"):
        unpack(pack([one]), 1)
