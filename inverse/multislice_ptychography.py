"""Iterative ptychography of thin and thick specimens, in radians.

The specimen is N slices of pure phase, ``t_n = exp(i phi_n)``, with free space between them; the
phases, and where asked for the probe's aberrations and every position, maximise the likelihood of
the counts of all detector pixels, inside and outside the disc. Multiple scattering is part of the
model, so that columns stay where they are beyond the 5 nm that SSB and WDD are good for.
"""

import json
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
import xarray as xr

from echolith.errors import BadInputError
from echolith.forward.acquisition import acquisition_of
from echolith.inverse.iterative_ptychography_descent import Problem, State, one_pass
from echolith.inverse.iterative_ptychography_frames import Array, Frames
from echolith.inverse.iterative_ptychography_image import estimate
from echolith.inverse.iterative_ptychography_options import PtychographyOptions
from echolith.inverse.iterative_ptychography_probe import (
    corrected_aberrations,
    corrected_positions,
    parameters,
    spread_frames,
)
from echolith.inverse.multislice_start import column_start
from echolith.inverse.scan_transform import Streaming
from echolith.units import Angstrom

LEAST_REACH = 1.1
"""Detector's reach over the semiangle; below, hardly any dark field tells of depth."""


def multislice_ptychography(
    measurement: xr.Dataset,
    *,
    options: PtychographyOptions | None = None,
    start: xr.Dataset | None = None,
    streaming: Streaming | None = None,
) -> xr.Dataset:
    """Reconstruct the phase of every slice of a specimen from all counts.

    ``psi_(n+1) = exp(i phi_(n+1)) F^-1 exp(-i pi lambda dz k²) F psi_n``, frames ``|F psi_N|²``.

    Parameters
    ----------
    measurement : xarray.Dataset
        ``counts`` (scan_y, scan_x, detector_y, detector_x) and the attribute ``acquisition``. Need
        not be periodic. Counts are held in memory.
    options : PtychographyOptions, optional
        Thickness, slices, iterations, corrections; the default is one thin slice.
    start : xarray.Dataset, optional
        Columns to begin with in place of vacuum (`echolith.inverse.multislice_start`).
    streaming : Streaming, optional
        Threads; they change no bit of the result.

    Returns
    -------
    xarray.Dataset
        ``phase`` (scan_y, scan_x), rad: the sum of all slices, zero mean, cut at
        ``2 alpha / lambda`` like that of `echolith.inverse.ssb.ssb`; ``slice_phase`` (depth,
        scan_y, scan_x); ``transfer`` (q_y, q_x), 1 where the image holds the spatial frequency;
        ``deviance`` (iteration): mean over the counts of ``2 (n log(n / m) - n + m)``, met on the
        way; ``log_likelihood``, of the last pass, relative to a model that equals the counts.
        With position correction ``position`` and ``position_std`` (scan_y, scan_x, axis), Å, scan
        frame, with the object held fixed. The attribute ``acquisition`` holds the corrected
        aberrations, ``C10_std`` etc. their standard deviation (Å, object held fixed).
        Partial coherence is not part of the model: source and focal spread blur the phase.

    Raises
    ------
    BadInputError
        For missing metadata, wrong shapes, NaN or negative counts, empty frames, too few
        positions, or a thick specimen whose detector ends at the disc.

    References
    ----------
    Maiden, Humphry & Rodenburg, J. Opt. Soc. Am. A 29 (2012) 1606; Thibault & Guizar-Sicairos,
    New J. Phys. 14 (2012) 063004 (maximum likelihood); Chen et al., Science 372 (2021) 826.
    """
    options = options or PtychographyOptions()
    problem = Problem.of(Frames.of(measurement), options)
    _check_reach(problem)
    first = problem.start() if start is None else column_start(problem, start)
    with ThreadPoolExecutor((streaming or Streaming()).threads()) as pool:
        return _iterate(problem, first, pool)


def _check_reach(problem: Problem) -> None:
    acquisition = problem.frames.acquisition
    reach = min(
        float(np.abs(angles).max()) + size / 2
        for angles, size in zip(
            acquisition.detector.angles(), acquisition.detector.pixel_size, strict=True
        )
    )
    if problem.options.slices > 1 and reach < LEAST_REACH * acquisition.beam.semiangle:
        raise BadInputError(
            f"the detector reaches {reach:.4g} mrad, the disc {acquisition.beam.semiangle:g} mrad; "
            f"several slices need the dark field, {LEAST_REACH:g} times the disc or more; record "
            "with a larger detector, or set thickness to 0"
        )


def _iterate(problem: Problem, state: State, pool: Executor) -> xr.Dataset:
    options, deviance = problem.options, list[float]()
    position_std: Array | None = None
    aberration_std: dict[str, float] = {}
    for iteration in range(options.iterations):
        state, misfit = one_pass(problem, state, iteration, pool)
        deviance.append(misfit)
        if not np.isfinite(misfit):
            raise BadInputError(
                f"the deviance is not finite after {iteration + 1} iterations; lower step "
                f"({options.step:g}) or spacing ({options.spacing:g} Å)"
            )
        if options.probe and _due(iteration + 1, options.probe.first, options.probe.every):
            chosen = spread_frames(len(problem.frames), options.probe.positions)
            order = options.probe.order
            state, std = corrected_aberrations(problem, state, order, chosen, pool)
            aberration_std = _largest(order, std)
        if options.positions and _due(
            iteration + 1, options.positions.first, options.positions.every
        ):
            state, position_std = corrected_positions(
                problem, state, options.positions.spread, pool
            )
    return estimate(
        problem,
        state,
        deviance=deviance,
        position_std=position_std,
        aberration_std=aberration_std,
    )


def _due(done: int, first: int, every: int) -> bool:
    return done >= first and (done - first) % every == 0


def _largest(order: int, std: Array) -> dict[str, float]:
    """Return one standard deviation for each aberration: the larger of its two parts."""
    found: dict[str, float] = {}
    for (name, _), value in zip(parameters(order), std, strict=True):
        found[name] = max(found.get(name, 0.0), float(value))
    return found


def scan_thickness(
    measurement: xr.Dataset,
    thicknesses: Sequence[Angstrom],
    *,
    options: PtychographyOptions | None = None,
    streaming: Streaming | None = None,
) -> xr.Dataset:
    """Reconstruct with several thicknesses and say how likely the data are with each.

    Parameters
    ----------
    measurement : xarray.Dataset
        As for `multislice_ptychography`; a part of the field is enough.
    thicknesses : sequence of float
        Å.
    options : PtychographyOptions, optional
        All but the thickness; a small ``depth_spread`` tells thicknesses apart best, for slices
        that differ at will make up for a wrong one.
    streaming : Streaming, optional

    Returns
    -------
    xarray.Dataset
        ``log_likelihood`` (thickness), relative to a model that equals the counts, and
        ``thickness_of_most`` (Å), the likeliest.

    Raises
    ------
    BadInputError
        If fewer than two thicknesses are given, or for what `multislice_ptychography` refuses.
    """
    if len(thicknesses) < 2:
        raise BadInputError(f"{len(thicknesses)} thicknesses in Å; expected two or more to compare")
    acquisition_of(measurement)
    chosen = options or PtychographyOptions()
    found = [
        float(
            multislice_ptychography(
                measurement,
                options=PtychographyOptions.model_validate(
                    json.loads(chosen.model_dump_json()) | {"thickness": float(thickness)}
                ),
                streaming=streaming,
            )["log_likelihood"]
        )
        for thickness in thicknesses
    ]
    return xr.Dataset(
        {
            "log_likelihood": ("thickness", found, {"units": "1"}),
            "thickness_of_most": ((), float(thicknesses[int(np.argmax(found))]), {"units": "Å"}),
        },
        {"thickness": ("thickness", np.asarray(thicknesses, dtype=float), {"units": "Å"})},
    )
