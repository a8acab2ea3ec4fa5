"""Images of other programs through the solvers of scenarios."""

import json
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
import tifffile
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.cif_files import read_phase
from echolith.forward.importers import read_measurement
from echolith.forward.xdi_files import XdiColumns, write_xdi
from echolith.forward.xray_absorption import phosphate_response
from echolith.inverse.composition_map import recover_composition_map
from echolith.structures.crystals import crystal
from echolith.structures.files import read_structure
from echolith.structures.site_occupancy import cell_content
from echolith.validation.catalogue import own_scenarios, scenario
from echolith.validation.export import export_case
from echolith.validation.recorded_images import KINDS, with_kind
from echolith.validation.run import invert
from echolith.validation.specimen_files import write_specimen
from tests.forward.frame_optics import OPTICS
from tests.inverse.measured_spectra import REAL


def window(low: float, high: float, dose: float) -> dict[str, float]:
    return {"low": low, "high": high, "dose": dose}


GIVEN: dict[str, dict[str, Any]] = {
    "li-hrtem": {
        "pixel_size": 0.35,
        **OPTICS,
        "dose_rate": 1000,
    },
    "li-saed": {"energy": 200e3, "camera_length": 690, "pixel_size": 60, "saturation": 65535},
    "li-thickness": {
        "pixel_size": 40,
        "energy": 200e3,
        "semiangle": 10,
        "unfiltered_dose": 100,
        "zero_loss": window(-3, 3, 100),
        "pre_edge": [window(38, 44, 400), window(46, 52, 400)],
        "post_edge": window(56, 64, 400),
        "resolution": 0.35,
        "response": {"point_spread": [0.3, 0.3]},
    },
    "lfp-xas": {
        "pixel_size": 67,
        "energies": np.linspace(700, 730, 61).tolist(),
        "incident": 1000,
    },
}
SMALL: dict[str, dict[str, Any]] = {
    "li-hrtem": {"acquisition": {"shape": (64, 80)}, "particle": {"size": 10.0}, "offset": 1.0},
    "lfp-xas": {"pixels": 48, "plates": 3},
}


def simulated(name: str) -> tuple[Any, xr.Dataset]:
    chosen = scenario(name, **SMALL.get(name, {}))
    mean = chosen.forward(chosen.build(0))
    return chosen, chosen.noise.sample(mean, seed=0).compute()


@pytest.mark.parametrize("name", GIVEN)
def test_a_bare_file_and_what_is_given_make_the_measurement(name: str, tmp_path: Path) -> None:
    _, measurement = simulated(name)
    path = tmp_path / "bare.tif"
    gain, offset = 3, 100  # of a camera that does not count
    values = measurement["counts"].values.astype(np.uint32) * gain + offset
    tifffile.imwrite(path, values, photometric="minisblack")
    given = with_kind(GIVEN[name] | {"gain": gain, "offset": offset}, scenario=name, path=path)
    found = read_measurement(path, overrides=given)
    xr.testing.assert_equal(
        found["counts"].compute().drop_vars(("y", "x"), errors="ignore"),
        measurement["counts"].drop_vars(("y", "x"), errors="ignore"),
    )
    for key, value in measurement.attrs.items():
        told = found.attrs[key]
        same = json.loads(told) == json.loads(value) if isinstance(value, str) else told == value
        assert same, key


def test_energies_in_kev_are_noticed(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "bare.tif", np.ones((64, 64), dtype=np.uint16))
    given = GIVEN["li-saed"] | {"kind": "diffraction", "gain": 1, "energy": 200}
    with pytest.raises(BadInputError, match="did you mean"):
        read_measurement(tmp_path / "bare.tif", overrides=given)


def test_scanned_frames_know_when_their_lines_were_taken(tmp_path: Path) -> None:
    path = tmp_path / "bare.tif"
    tifffile.imwrite(path, np.ones((2, 3, 5), dtype=np.uint16))
    given = {"gain": 1, "pixel_size": 0.1, "dwell": 1.0, "flyback": 2.0, "pause": 10.0}
    given = with_kind(given, scenario="li-rich-haadf-drift", path=path)
    found = read_measurement(path, overrides=given)
    assert found["haadf"].dims == ("frame", "scan_y", "scan_x")
    np.testing.assert_array_equal(found["line_time"].values, [[0, 7, 14], [31, 38, 45]])


@pytest.mark.parametrize("suffix", ["tif", "mrc"])
def test_exported_images_give_the_same_estimate(suffix: str, tmp_path: Path) -> None:
    chosen = scenario("lfp-xas", **SMALL["lfp-xas"])
    files = export_case(chosen, tmp_path, seed=1, other=tmp_path / f"measurement.{suffix}")
    first, second = (
        invert(chosen, read_measurement(files[kind])).estimate for kind in ("measurement", "other")
    )
    xr.testing.assert_identical(first, second)


def test_references_from_files_stand_for_our_own(tmp_path: Path) -> None:
    chosen, measurement = simulated("lfp-xas")
    response = phosphate_response(chosen.settings.energies)
    paths = []
    for name, values in zip(("LFP", "FP"), response.values, strict=True):
        columns = {"energy": response["energy"].values, "mu": 10 * values}
        paths.append(str(tmp_path / f"{name}.xdi"))
        write_xdi(XdiColumns(columns=columns, units={"mu": "1/nm"}, fields={}), Path(paths[-1]))
    theirs = scenario("lfp-xas", **SMALL["lfp-xas"], references=paths).solver(measurement)
    xr.testing.assert_allclose(theirs, chosen.solver(measurement), rtol=1e-9)


def test_kinds_are_of_scenarios_and_of_image_files() -> None:
    assert set(KINDS) <= set(own_scenarios())
    assert with_kind({"eta": 1}, scenario="li-hrtem", path=Path("it.h5")) == {"eta": 1}


def test_a_measured_stack_goes_through_our_solver(tmp_path: Path) -> None:
    if not (REAL / "fe_l_edge_stxm.npz").exists():
        pytest.skip("the measured stack is not here")
    data = np.load(REAL / "fe_l_edge_stxm.npz")
    values = data["transmitted"][:, 30:60, 40:80]
    tifffile.imwrite(tmp_path / "stxm.tif", values, photometric="minisblack")
    np.savetxt(tmp_path / "i0.txt", data["i0"])
    given = {"kind": "absorption", "gain": 1, "pixel_size": 800}
    given |= dict.fromkeys(("energies", "incident"), str(tmp_path / "i0.txt"))
    stack = read_measurement(tmp_path / "stxm.tif", overrides=given)
    owners = xr.DataArray(
        np.stack([data["reduced"][:, 1], data["oxidized"][:, 1]]),
        dims=("species", "energy"),
        coords={"species": ["reduced", "oxidized"], "energy": data["energy_eV"]},
    )
    found = recover_composition_map(stack, response=owners)
    inside = np.isfinite(found["composition"].values)
    assert inside.mean() > 0.1
    # Their two components are made of the same stack: what they leave is little.
    assert np.median(found["r_factor"].values[inside]) < 0.15


def test_structures_are_written_in_every_format_that_holds_them(tmp_path: Path) -> None:
    mixed, whole = crystal("NMC622"), crystal("LiFePO4")
    powder = scenario("nmc622-powder").build(3)
    files = write_specimen({"mixed": mixed, "whole": (whole,), "powder": powder}, tmp_path)
    assert set(files) == {
        *("specimen_mixed", "specimen_mixed_cif", "phase_NMC622"),
        *("specimen_whole", "specimen_whole_cif", "specimen_whole_poscar"),
    }
    for name, atoms in (("mixed", mixed), ("whole", whole)):
        for kind in files:
            if name in kind:
                content = cell_content(read_structure(files[kind]))
                assert content == pytest.approx(cell_content(atoms), abs=1e-3)
    phase = powder.sample[0].phase
    again = read_phase(files["phase_NMC622"])
    for ours, theirs in zip(phase.sites, again.sites, strict=True):
        assert (theirs.element, theirs.occupancy) == (ours.element, ours.occupancy)
        assert theirs.b_iso == pytest.approx(ours.b_iso)
    sites = gemmi.read_small_structure(str(files["phase_NMC622"])).sites
    assert sum(site.occ for site in sites) == pytest.approx(sum(s.occupancy for s in phase.sites))
