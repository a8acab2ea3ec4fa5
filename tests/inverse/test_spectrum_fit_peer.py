"""Linear combination of spectra against xraylarch, in an environment of its own."""

import json
import subprocess

import numpy as np
import xarray as xr

from echolith.inverse.spectrum_fit import SpectrumFit, fit_spectra
from tests.peers import environment_with

THEIRS = """
import contextlib, io, json, sys, warnings
warnings.simplefilter("ignore")
with contextlib.redirect_stdout(io.StringIO()):
    import numpy as np
    from larch import Group
    from larch.math import lincombo_fit
    energy, references, spectra = (np.array(part) for part in json.load(sys.stdin))
    known = [Group(energy=energy, norm=one, filename=str(k)) for k, one in enumerate(references)]
    found = []
    for one in spectra:
        fit = lincombo_fit(
            Group(energy=energy, norm=one, filename="data"), known, sum_to_one=False,
            minvals=[0] * len(known), maxvals=[10] * len(known), weights=[0.5] * len(known))
        values = [fit.params[str(k)] for k in range(len(known))]
        found.append([[v.value for v in values], [v.stderr for v in values], fit.rfactor])
json.dump(found, sys.stdout)
"""


def test_xraylarch_finds_the_same_weights_and_errors() -> None:
    python = environment_with("larch")
    rng = np.random.default_rng(7)
    energy = np.linspace(700, 730, 151)
    shapes = [
        np.exp(-0.5 * ((energy - centre) / width) ** 2)
        + 0.5 * (1 + np.tanh((energy - centre - 2) / 2))
        for centre, width in ((708.2, 1.0), (710.2, 1.4), (713.0, 2.5))
    ]
    true = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.4], [0.5, 0.5, 0.2]])
    spectra = true @ np.array(shapes) + 0.01 * rng.standard_normal((3, len(energy)))
    content = json.dumps([energy.tolist(), [s.tolist() for s in shapes], spectra.tolist()])
    done = subprocess.run(
        [str(python), "-c", THEIRS], input=content, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    references = xr.DataArray(
        np.array(shapes), dims=("species", "energy"), coords={"species": [*"abc"], "energy": energy}
    )
    data = xr.DataArray(spectra, dims=("pixel", "energy"), coords={"energy": energy})
    found = fit_spectra(data, references, options=SpectrumFit(background_degree=-1))
    for pixel, (weights, errors, r_factor) in enumerate(json.loads(done.stdout)):
        ours = found.isel(pixel=pixel)
        assert np.allclose(ours.weight.values, weights, atol=1e-5)
        assert np.allclose(ours.weight_std.values, errors, rtol=0.02)
        assert np.isclose(float(ours.r_factor), r_factor, rtol=1e-3)
