"""How precision grows with dose, against what is known of it in closed form."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import echolith as el
from echolith.forward.projection import system_matrix
from echolith.forward.rocking_curve import scan_places
from echolith.forward.tilts import Tilts
from echolith.validation.bounds import cramer_rao
from echolith.validation.dose_ladder import DoseLadder, run_ladder
from echolith.validation.residuals import from_json
from echolith.validation.scenario import Scenario

XAS: dict[str, Any] = {"pixels": 40, "plates": 2, "energy_count": 8}
DIAMETER = 24
"""Of a disc to reconstruct, voxels."""


def test_spread_falls_with_the_root_of_the_dose_in_a_round_trip() -> None:
    """Spectra of one specimen, four draws thinned to four doses: paths in every pixel.

    Of n values about the means of m draws the logarithm of a standard deviation has the error
    1 / sqrt(2 n (m - 1)); the slope is 0.50 to 0.02, five of its standard errors.
    """
    photons = np.array([500.0, 1000.0, 2000.0, 8000.0])
    scenario = el.scenario("lfp-xas", **XAS)
    specimen = scenario.build(1)

    def at(incident: float) -> Scenario:
        found = el.scenario("lfp-xas", **XAS, incident=int(incident))
        return replace(found, build=lambda _seed: specimen)

    ladder = DoseLadder(
        setting="incident",
        base=(photons[0], at(photons[0])),
        rungs={value: at(value) for value in photons},
        top=photons[-1],
    )
    found = run_ladder(ladder, range(4))
    errors = np.array(
        [
            [
                from_json(case["residuals"])["path"].error
                for case in found[value].values()
                if not isinstance(case, str)
            ]
            for value in photons
        ]
    )
    spread = np.sqrt(errors.var(axis=1, ddof=1).mean(axis=1))
    x = np.log(photons) - np.log(photons).mean()
    slope = float(x @ np.log(spread) / (x @ x))
    error = 1 / np.sqrt(2 * errors.shape[2] * (errors.shape[1] - 1) * (x @ x))
    assert 5 * error < 0.02
    assert slope == pytest.approx(-0.5, abs=0.02)


def test_the_strain_of_a_peak_is_known_to_its_width_by_its_place_and_the_root_of_its_counts() -> (
    None
):
    """Without background and with all of the peak on the detector: sigma / (|Q| sqrt(N))."""
    curve = {"scan": (4, 4), "background": 0.0, "counts": 3000.0}
    scenario = el.scenario("nmc622-sxdm", curve=curve, strain=1e-4, tilt=0.0)
    specimen, taken = scenario.build(0), scenario.settings.curve  # type: ignore[attr-defined]
    places = np.rint(scan_places(specimen, taken)[:, :, taken.etas // 2]).astype(int)
    y, x = places.reshape(-1, 2).T
    seen = specimen.intensity[y, x] > 0
    y, x = y[seen], x[seen]
    length = 2 * np.pi / specimen.spacing[y, x]
    along = specimen.width[y, x, 2]  # the lattice planes lie in the scanned plane
    strain = along / length / np.sqrt(taken.counts * specimen.intensity[y, x])
    floor = 1e6 * np.sqrt(np.mean((strain * specimen.spacing[y, x] / specimen.reference) ** 2))
    # Tails of the peak beyond the detector and a finite step add a few parts of a hundred.
    assert float(cramer_rao(scenario)["strain"]) == pytest.approx(floor, rel=0.05)
    # 1e-6 counts a voxel are taken for background, so that no pixel has none.
    brighter = el.scenario("nmc622-sxdm", curve={**curve, "counts": 48000.0}, strain=1e-4, tilt=0.0)
    assert float(cramer_rao(brighter)["strain"]) == pytest.approx(
        float(cramer_rao(scenario)["strain"]) / 4, rel=1e-4
    )


def finest_frequency(tilts: int) -> float:
    """Return the frequency (1/voxel) up to which the projections of a disc determine its waves.

    Of a wave in the disc the part in the row space of the projector is determined; where it falls
    through nine tenths is the limit.
    """
    angles = tuple(180.0 * (n + 0.25) / tilts - 90 for n in range(tilts))
    shape = (DIAMETER, DIAMETER)
    matrix = system_matrix(Tilts(angles=angles, voxel_size=1.0), shape=shape).forward.toarray()
    z, x = np.indices(shape) - (DIAMETER - 1) / 2
    disc = np.hypot(z, x) < DIAMETER / 2
    _, size, rows = np.linalg.svd(matrix[:, disc.ravel()], full_matrices=False)
    rows = rows[size > 1e-3 * size[0]]
    turns = np.pi * (np.arange(101) + 0.5) / 101
    along = np.outer(np.sin(turns), z[disc]) + np.outer(np.cos(turns), x[disc])
    radii = np.linspace(0.02, 0.42, 41)
    waves = np.exp(2j * np.pi * radii[:, None, None] * along)
    told = (np.abs(waves @ rows.T) ** 2).sum(axis=2).mean(axis=1) / disc.sum()
    return float(np.interp(-0.9, -told, radii))


def test_the_finest_detail_of_a_tomogram_grows_with_the_number_of_tilts() -> None:
    """Views n over half a turn of an object of diameter D tell frequencies up to n / (pi D).

    Crowther, DeRosier and Klug, Proc. R. Soc. A 317 (1970) 319: d = pi D / n.
    """
    views = np.array([6, 9, 12])  # with more there are nearly as many data as voxels
    found = np.array([finest_frequency(int(n)) for n in views])
    slope = np.polyfit(np.log(views), np.log(found), 1)[0]
    assert slope == pytest.approx(1, abs=0.1)
    # Beyond the limit the part that is told falls gradually, so that nine tenths lie above it.
    times = found * np.pi * DIAMETER / views
    assert ((times > 1) & (times < 1.5)).all()
