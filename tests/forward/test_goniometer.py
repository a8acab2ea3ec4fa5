"""Scattering vectors: Bragg's law, rotations, and another's program."""

import json
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.spatial.transform import Rotation

from echolith.errors import BadInputError
from echolith.forward.goniometer import (
    Goniometer,
    Reflection,
    bragg_angle,
    bragg_setting,
    lean,
    lean_slopes,
    scattering_vectors,
)
from tests.peers import environment_with

ROWS, COLUMNS = np.meshgrid(np.arange(4), np.arange(5), indexing="ij")
goniometers = st.builds(
    Goniometer,
    beam_energy=st.floats(6000, 20000),
    phi=st.floats(-90, 90),
    nu=st.floats(-40, 60),
    delta=st.floats(-30, 80),
    distance=st.floats(3000, 20000),
    centre=st.tuples(st.floats(0, 60), st.floats(0, 60)),
)


@given(goniometer=goniometers, eta=st.floats(-40, 80), turn=st.floats(-90, 90))
def test_angles_of_the_specimen_turn_the_vector_and_keep_its_length(
    goniometer: Goniometer, eta: float, turn: float
) -> None:
    still, moved = (
        scattering_vectors(one, eta=np.array([angle]), rows=ROWS, columns=COLUMNS)[0]
        for one, angle in (
            (goniometer, eta),
            (goniometer.model_copy(update={"phi": goniometer.phi + turn}), eta + turn / 2),
        )
    )
    lengths = np.linalg.norm(still, axis=-1)
    assert np.allclose(np.linalg.norm(moved, axis=-1), lengths, atol=1e-12)
    assert (lengths <= 2 * goniometer.wavenumber).all()
    mixed = np.einsum("ijc,klc->ijkl", still, still)
    assert np.allclose(np.einsum("ijc,klc->ijkl", moved, moved), mixed, atol=1e-11)


@given(energy=st.floats(6000, 20000), spacing=st.floats(1.5, 20))
def test_a_specular_reflection_obeys_bragg(energy: float, spacing: float) -> None:
    theta = bragg_angle(Goniometer(beam_energy=energy), spacing)
    specular = Goniometer(beam_energy=energy, delta=2 * theta)
    q = scattering_vectors(specular, eta=np.array([theta]), rows=np.zeros(1), columns=np.zeros(1))
    assert np.allclose(q.ravel(), [0, 0, 2 * np.pi / spacing], atol=1e-12)
    # A larger eta turns the specimen up into the beam: the same pixel then sees a vector that is
    # tilted towards +x.
    tilted = scattering_vectors(
        specular, eta=np.array([theta + 1]), rows=np.zeros(1), columns=np.zeros(1)
    )
    assert np.degrees(np.arctan2(tilted[0, 0, 0], tilted[0, 0, 2])) == pytest.approx(1)


reflections = st.builds(Reflection, inclination=st.floats(0, 40), azimuth=st.floats(-180, 180))


@given(
    reflection=reflections,
    energy=st.floats(8000, 20000),
    spacing=st.floats(1.5, 20),
    turn=st.floats(-30, 30),
)
def test_the_detector_faces_any_reflection(
    reflection: Reflection, energy: float, spacing: float, turn: float
) -> None:
    asked = Goniometer(beam_energy=energy, phi=reflection.azimuth + turn)
    faced, eta = bragg_setting(asked, spacing, reflection)
    q = scattering_vectors(faced, eta=np.array([eta]), rows=np.zeros(1), columns=np.zeros(1))
    assert np.allclose(q.ravel() @ reflection.axes, [0, 0, 2 * np.pi / spacing], atol=1e-9)


@given(
    reflection=reflections.filter(lambda r: r.inclination > 1e-3),
    angle=st.floats(1e-4, 15),
    azimuth=st.floats(-180, 180),
)
def test_a_lean_turns_the_normal_from_n_towards_e1_and_e2(
    reflection: Reflection, angle: float, azimuth: float
) -> None:
    chi, psi = np.radians([reflection.inclination, reflection.azimuth])
    n = np.array([np.sin(chi) * np.cos(psi), np.sin(chi) * np.sin(psi), np.cos(chi)])
    # The axes by another's rotations: the specimen's, turned about z x n.
    shortest = Rotation.from_rotvec(chi * np.array([-np.sin(psi), np.cos(psi), 0]))
    e1, e2 = shortest.apply(np.eye(3)[:2])
    assert np.allclose(reflection.axes.T, [e1, e2, n], atol=1e-12)
    turn = np.radians(azimuth)
    axis = np.cross(n, np.cos(turn) * e1 + np.sin(turn) * e2)
    leaning = Rotation.from_rotvec(np.radians(angle) * axis).apply(n)
    expected = angle * np.array([np.cos(turn), np.sin(turn)])
    assert np.allclose(lean(leaning @ reflection.axes), expected, atol=1e-9)


@given(
    lean_=st.tuples(st.floats(-15, 15), st.floats(-15, 15)).filter(lambda t: np.hypot(*t) > 1e-3),
    length=st.floats(0.5, 5),
)
def test_slopes_of_the_lean_are_its_derivatives(lean_: tuple[float, float], length: float) -> None:
    size = np.radians(np.hypot(*lean_))
    towards = np.array(lean_) / np.hypot(*lean_)
    q = length * np.array([*np.sin(size) * towards, np.cos(size)])
    h = 1e-4 * length * size
    slopes = [(lean(q + step) - lean(q - step)) / (2 * h) for step in h * np.eye(3)]
    assert np.allclose(lean_slopes(q), np.array(slopes).T, rtol=1e-5, atol=1e-5 / length)


THEIRS = """
import json, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import xrayutilities as xu
found = []
for length, eta, phi, nu, delta, distance, row, column in json.load(sys.stdin):
    convert = xu.QConversion(["y-", "z-"], ["z-", "y-"], [1, 0, 0], wl=length)
    convert.init_area("z-", "y+", cch1=row, cch2=column, Nch1=4, Nch2=5, distance=distance,
                      pwidth1=1.0, pwidth2=1.0)
    found.append(np.stack(convert.area(eta, phi, nu, delta, deg=True), -1).tolist())
json.dump(found, sys.stdout)
"""


def test_xrayutilities_agrees_on_two_hundred_settings() -> None:
    python = environment_with("xrayutilities")
    rng = np.random.default_rng(1)
    cases, ours = [], []
    for _ in range(200):
        one = Goniometer(
            beam_energy=rng.uniform(6e3, 2e4),
            phi=rng.uniform(-90, 90),
            nu=rng.uniform(-40, 60),
            delta=rng.uniform(-30, 80),
            distance=rng.uniform(3000, 20000),
            centre=(rng.uniform(0, 60), rng.uniform(0, 60)),
        )
        eta = rng.uniform(-20, 70)
        ours.append(scattering_vectors(one, eta=np.array([eta]), rows=ROWS, columns=COLUMNS)[0])
        # By wavelength: their constant hc is older in its tenth digit.
        length = 2 * np.pi / one.wavenumber
        cases.append([length, eta, one.phi, one.nu, one.delta, one.distance, *one.centre])
    done = subprocess.run(
        [str(python), "-c", THEIRS], input=json.dumps(cases), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    theirs = np.array(json.loads(done.stdout)).reshape(200, 4, 5, 3)
    assert np.abs(theirs - np.array(ours)).max() < 1e-10


def test_what_is_no_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="keV"):
        Goniometer(beam_energy=9.0)
    with pytest.raises(ValidationError, match="degrees"):
        Goniometer(nu=4000.0)
    with pytest.raises(BadInputError, match="cannot diffract"):
        bragg_angle(Goniometer(beam_energy=2000), 1.0)
    with pytest.raises(BadInputError, match="turn phi towards"):
        bragg_setting(Goniometer(phi=90.0), 4.743, Reflection(inclination=85))
    with pytest.raises(BadInputError, match="not finite"):
        scattering_vectors(Goniometer(), eta=np.array([np.nan]), rows=ROWS, columns=COLUMNS)
