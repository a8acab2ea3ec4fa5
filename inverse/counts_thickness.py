"""A first, rough thickness of the specimen: the likeliest among some around a guess.

From a thickness that is wrong by a factor of two and more, no step of Fisher scoring leads back:
the columns take up what the thickness leaves over. So the columns are held together first, and a
few numbers alone are fitted from several thicknesses.
"""

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from echolith.inverse.counts_columns import Array, ColumnState
from echolith.inverse.counts_problem import CountsProblem, Part

FACTORS = (1 / 3, 1.0, 3.0)
"""Of the guess. Neighbours are near enough for the fit from one of them to find what is between."""
REACH = 2.0
"""Beyond the outermost of them the fit goes no farther than this factor."""
EVALUATIONS = 10
"""For each; the fit of all columns finds the rest of the way."""
SCALES = np.array([0.02, 10.0])
"""Of the logarithm of the counts, and of the defocus in Å."""
COARSE = 15.0
"""Å, thickest slice at the greatest thickness tried."""


def likely_thickness(problem: CountsProblem) -> ColumnState:
    """Return the start with the likeliest thickness, defocus, dose and factor of all strengths.

    Parameters
    ----------
    problem : CountsProblem

    Returns
    -------
    ColumnState
    """
    guess = problem.options.thickness
    most = guess * FACTORS[-1]
    slices = int(np.ceil(most / COARSE))
    model = problem.model
    model = replace(model, propagation=replace(model.propagation, slices=slices))
    probes = problem.probes(Part.SPARSE)

    def unlikely(numbers: Array) -> tuple[float, Array]:
        state = _state(problem.start, numbers)
        likelihood = model.likelihood(state, probes)
        slope = _slope(state, likelihood.gradient)
        return -likelihood.value / len(model.counts), -slope / len(model.counts)

    tried = [
        minimize(
            unlikely,
            np.array([0.0, np.log(guess * factor), 0.0, 0.0]),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-2, 2), tuple(np.log([guess / (3 * REACH), most * REACH])), (-1, 1), (-5, 5)],
            options={"maxfun": EVALUATIONS},
        )
        for factor in FACTORS
    ]
    best = min(tried, key=lambda result: float(result.fun))
    return _state(problem.start, best.x)


def _state(start: ColumnState, numbers: Array) -> ColumnState:
    """Return the start with other logarithms of strength and thickness, of dose, and defocus."""
    factor, thickness = np.exp(numbers[:2])
    scale, defocus = SCALES * numbers[2:]
    common = np.array([scale, thickness, defocus, factor * start.common[3]])
    return replace(start, strength=factor * start.strength, common=common)


def _slope(state: ColumnState, gradient: Array) -> Array:
    """Carry a gradient by all parameters over to the few numbers."""
    scale, thickness, defocus, sites = gradient[-4:]
    strengths = gradient[2 : 3 * len(state.x) : 3] @ state.strength
    factor = strengths + sites * state.common[3]
    few = [factor, thickness * state.common[1], scale * SCALES[0], defocus * SCALES[1]]
    return np.array(few)
