"""The iterations of far-field ptychography: rPIE, RAAR and the Poisson likelihood."""

from collections.abc import Iterator

import numpy as np

from echolith.inverse.far_field_kernels import (
    gather,
    gather_probe,
    illuminate,
    leave,
    measure,
    move_back,
    relax,
)
from echolith.inverse.far_field_options import Constraint, FarFieldSolver
from echolith.inverse.far_field_positions import correct_positions
from echolith.inverse.far_field_state import Array, State, Transforms
from echolith.seeds import stream

MODULUS, LIKELIHOOD = 1, 2
POWERS = {Constraint.MODULUS: MODULUS, Constraint.POISSON: LIKELIHOOD}
"""Of the root of counts over model that a wave is multiplied by."""
PROBE_EVERY = 4
"""Positions of rPIE; small scans of four frames still update it once an iteration."""


class Visits:
    """Buffers for going to one position after the other."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.work = Transforms(state.size)
        self.probe = np.empty((state.size, state.size), dtype=np.complex64)
        self.ratios = np.zeros_like(state.background)
        self.scale = np.float32(1 / state.size**2)

    def illuminate(self, index: int) -> tuple[int, int]:
        """Move the probe to a position; return the first pixel of its window."""
        along_y, along_x = self.state.ramps[index]
        illuminate(self.state.spectrum, along_y, along_x, self.scale, self.work.wave)
        self.work.back()
        self.probe[...] = self.work.wave
        top, left = self.state.corners[index]
        return int(top), int(left)

    def expose(self, index: int, power: int) -> float:
        """Bring the exit wave in the buffer towards its counts; return the deviance.

        The wave left in the buffer is n² times the exit wave.
        """
        self.work.forward()
        state = self.state
        detector = (state.background, state.reaching, state.offset)
        args = (state.counts[index], *detector, self.ratios, power, self.scale)
        deviance = float(measure(self.work.wave, *args))
        self.work.back()
        return deviance

    def move_back(self, change: Array, index: int, total: Array) -> None:
        """Add the spectrum of what was found at a position, moved back to the middle."""
        self.work.wave[...] = change
        self.work.forward()
        along_y, along_x = self.state.ramps[index]
        move_back(self.work.wave, along_y, along_x, total)

    def update_background(self) -> None:
        """Scale the background by the mean ratio of counts to model (expectation maximisation)."""
        self.state.background *= self.ratios / len(self.state.counts)
        self.ratios[...] = 0

    def start_background(self) -> None:
        """Begin with a tenth of the mean counts: no pixel is at zero, where it would stay."""
        self.state.background[...] = 0.1 * max(self.state.counts.mean(), 0) + 1e-3
        self.ratios[...] = 0


def rpie(state: State, options: FarFieldSolver) -> Iterator[float]:
    """Visit positions in random order, updating the object at each; yield the deviance.

    The probe, which changes slowly, follows every fourth of them: a transform less for the others.

    References
    ----------
    Maiden, Johnson & Li, Optica 4, 736 (2017).
    """
    visits = Visits(state)
    change = np.empty_like(visits.probe)
    for iteration in range(options.iterations):
        brightest = float(np.abs(state.probe).max()) ** 2
        moves = iteration >= options.probe_after
        step = min(1.0, PROBE_EVERY * options.probe_step)
        alpha = options.alpha
        settings = np.array([visits.scale, 1 - alpha, alpha * brightest, alpha, step], np.float32)
        deviance = 0.0
        order = stream(options.seed, "rpie", iteration).permutation(len(state.counts))
        for number, index in enumerate(order):
            top, left = visits.illuminate(int(index))
            leave(visits.probe, state.transmission, top, left, visits.work.wave)
            deviance += visits.expose(int(index), POWERS[options.constraint])
            place = (state.transmission, top, left)
            relax(visits.work.wave, visits.probe, *place, settings, change)
            if moves and number % PROBE_EVERY == 0:
                visits.move_back(change, int(index), state.spectrum)
        _after(visits, options, iteration)
        correct_positions(state, options, iteration)
        yield deviance / state.counts.size


def raar(state: State, options: FarFieldSolver) -> Iterator[float]:
    """Reflect all exit waves between measured moduli and a common object; yield the deviance.

    References
    ----------
    Luke, Inverse Problems 21, 37 (2005); Marchesini et al., J. Appl. Cryst. 49, 1245 (2016).
    """
    visits = Visits(state)
    waves = _exit_waves(visits)
    beta = np.float32(options.beta)
    for iteration in range(options.iterations):
        deviance = 0.0
        measured = np.empty_like(waves)
        for index in range(len(waves)):
            visits.work.wave[...] = waves[index]
            deviance += visits.expose(index, MODULUS)
            measured[index] = visits.work.wave * visits.scale
        reflected = 2 * measured - waves
        _common_object(visits, reflected)
        if iteration >= options.probe_after:
            # Of the measured waves: the reflected ones drive object and probe apart.
            _common_probe(visits, measured)
        waves = beta * (_exit_waves(visits) + waves) + (1 - 2 * beta) * measured
        _after(visits, options, iteration)
        correct_positions(state, options, iteration)
        yield deviance / state.counts.size
    _common_object(visits, waves)


def refine(state: State, options: FarFieldSolver) -> Iterator[float]:
    """Climb the Poisson likelihood with all positions at once; yield the deviance.

    The gradient is that of all frames, divided by the illumination; steps are Nesterov's, begun
    anew where the deviance grows.

    References
    ----------
    Thibault & Guizar-Sicairos, New J. Phys. 14, 063004 (2012); O'Donoghue & Candes, Found.
    Comput. Math. 15, 715 (2015): restarts.
    """
    visits = Visits(state)
    lead = state.transmission.copy()
    age, last = 1.0, np.inf
    for iteration in range(options.refinement):
        here = state.transmission
        state.transmission = lead
        deviance = _climb(visits)
        _renew_background(visits, options, options.iterations + iteration)
        correct_positions(state, options, options.iterations + iteration)
        if deviance > last:
            age = 1.0
        older, age = age, (1 + np.sqrt(1 + 4 * age**2)) / 2
        lead = state.transmission + np.float32((older - 1) / age) * (state.transmission - here)
        last = deviance
        yield deviance / state.counts.size
    _keep_photons(state)


def _after(visits: Visits, options: FarFieldSolver, iteration: int) -> None:
    _renew_background(visits, options, iteration)
    _keep_photons(visits.state)


def _keep_photons(state: State) -> None:
    """Scale the probe to its photons and the object against it."""
    strength = np.linalg.norm(state.spectrum) / state.size
    factor = np.float32(np.sqrt(state.photons) / strength)
    state.spectrum = state.spectrum * factor
    state.transmission = state.transmission / factor


def _renew_background(visits: Visits, options: FarFieldSolver, iteration: int) -> None:
    if options.background and iteration + 1 == options.background_after:
        visits.start_background()
    elif options.background and iteration >= options.background_after:
        visits.update_background()
    else:
        visits.ratios[...] = 0


def _climb(visits: Visits) -> float:
    """Take one step of object and probe along the gradient of the likelihood."""
    state = visits.state
    above, below = np.zeros_like(state.transmission), _zeros(state.transmission)
    probe_above, probe_below = np.zeros_like(visits.probe), _zeros(visits.probe)
    deviance = 0.0
    for index in range(len(state.counts)):
        top, left = visits.illuminate(index)
        leave(visits.probe, state.transmission, top, left, visits.work.wave)
        exit_wave = visits.work.wave.copy()
        deviance += visits.expose(index, LIKELIHOOD)
        difference = visits.work.wave * visits.scale - exit_wave
        gather(difference, visits.probe, top, left, above, below)
        change, weight = np.zeros_like(visits.probe), _zeros(visits.probe)
        gather_probe(difference, state.transmission, top, left, change, weight)
        visits.move_back(change, index, probe_above)
        probe_below += weight
    floor = np.float32(1e-3) * below.max()
    state.transmission = state.transmission + np.float32(0.5) * above / (below + floor)
    state.spectrum = state.spectrum + np.float32(0.5) * probe_above / probe_below.max()
    return deviance


def _exit_waves(visits: Visits) -> Array:
    state = visits.state
    waves = np.empty(state.counts.shape, dtype=np.complex64)
    for index in range(len(waves)):
        top, left = visits.illuminate(index)
        leave(visits.probe, state.transmission, top, left, waves[index])
    return waves


def _common_object(visits: Visits, waves: Array) -> None:
    """Find the object that all exit waves share, by least squares."""
    state = visits.state
    above, below = np.zeros_like(state.transmission), _zeros(state.transmission)
    for index in range(len(waves)):
        top, left = visits.illuminate(index)
        gather(waves[index], visits.probe, top, left, above, below)
    floor = np.float32(1e-3) * below.max()
    state.transmission = (above + floor * state.transmission) / (below + floor)


def _common_probe(visits: Visits, waves: Array) -> None:
    """Find the probe that all exit waves share, by least squares."""
    state = visits.state
    found, weight = np.zeros_like(visits.probe), _zeros(visits.probe)
    for index in range(len(waves)):
        top, left = state.corners[index]
        part, share = np.zeros_like(visits.probe), _zeros(visits.probe)
        gather_probe(waves[index], state.transmission, int(top), int(left), part, share)
        visits.move_back(part, index, found)
        weight += share
    wave = np.fft.ifft2(found) / np.maximum(weight, 1e-3 * weight.max())
    state.spectrum = np.fft.fft2(wave).astype(np.complex64)


def _zeros(like: Array) -> Array:
    return np.zeros(like.shape, dtype=np.float32)
