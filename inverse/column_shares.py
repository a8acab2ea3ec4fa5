"""Metals and lithium on columns by least squares of both signals, all columns at once.

Unknown are ``tm`` and ``li`` of every column. Phase and dark field have their counting noise with
its full covariance, and the errors of the response: of single columns, and such as columns share.
Errors in proportion to the content follow the fitted content, not the measured one: weights by
what was measured would prefer columns that happen to be dark, and make the mean too low.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echolith.inverse.column_response import DARK_LITHIUM, LITHIUM, METAL, Scale

Array = npt.NDArray[np.float64]

ONE_ATOM = 0.02
"""By how much sites may seem to hold more than one atom each: errors of the phase."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What is assumed of contents before they are measured, by column.

    Metals: ``tm`` with ``tm_std``, infinite where nothing is. Lithium: ``li = filling (1 - tm)``;
    ``filling_std`` from column to column, ``shared`` (group, column) of what columns of a group
    have in common.
    """

    tm: Array
    tm_std: Array
    filling: Array
    filling_std: Array
    shared: Array

    def weights(self) -> tuple[Array, Array]:
        """Return the inverse covariances of tm, and of ``li - filling (1 - tm)``."""
        of_filling = np.diag(self.filling_std**2) + self.shared.T @ self.shared
        return np.diag(1 / self.tm_std**2), np.asarray(np.linalg.inv(of_filling))

    def start(self, w: Array) -> Array:
        """Return the share of metals of columns that scatter w, filled as expected."""
        return np.asarray((w - LITHIUM * self.filling) / (METAL - LITHIUM * self.filling))


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What columns show: phase (rad Å²) and dark field (of a column full of metals).

    ``*_covariance``: of counting, and of what does not depend on the content. ``*_relative``:
    errors from column to column in proportion to the content. ``alkali``: columns of the alkali
    layer, whose order along the beam is alike: ``dark_shared`` is in proportion too, and common to
    them; ``shape``: size of the error of the phase's response there, zero for no content and for
    oxygen's phase ``oxygen``.
    """

    phase: Array
    dark: Array
    phase_covariance: Array
    dark_covariance: Array
    phase_relative: float
    dark_relative: float
    dark_shared: float
    alkali: npt.NDArray[np.bool_]
    shape: float
    oxygen: float

    def weights(self, tm: Array, phase: Array) -> tuple[Array, Array]:
        """Return the inverse covariances where columns hold tm and have this phase."""
        shared = self.alkali * self.shape * phase * (1 - phase / self.oxygen)
        of_phase = self.phase_covariance + np.outer(shared, shared)
        of_phase = of_phase + np.diag((self.phase_relative * phase) ** 2)
        tm = np.maximum(tm, 0)
        alike = self.alkali * self.dark_shared * tm
        of_dark = self.dark_covariance + np.outer(alike, alike)
        of_dark = of_dark + np.diag((self.dark_relative * tm) ** 2)
        return np.asarray(np.linalg.inv(of_phase)), np.asarray(np.linalg.inv(of_dark))


def fitted_shares(signals: Signals, scale: Scale, expected: Expected) -> tuple[Array, Array]:
    """Fit the shares of metals and of lithium.

    Starts from the phase: beyond its maximum it has no slope that would lead back.

    Parameters
    ----------
    signals : Signals
    scale : Scale
    expected : Expected

    Returns
    -------
    share : array, (2 column,)
        Metals of all columns, then lithium.
    covariance : array, (2 column, 2 column)
    """
    n = len(signals.phase)
    w, _ = scale.inverted(signals.phase, np.zeros(n))
    tm = expected.start(w)
    li = expected.filling * (1 - tm)
    held = np.concatenate([np.diag(expected.filling), np.eye(n)], axis=1)
    dark = np.concatenate([np.eye(n), DARK_LITHIUM * np.eye(n)], axis=1)
    metals = np.concatenate([np.eye(n), np.zeros((n, n))], axis=1)
    of_tm, of_filling = expected.weights()
    prior = held.T @ of_filling @ held + metals.T @ of_tm @ metals
    for _ in range(40):
        model, slope = scale.phase(METAL * tm + LITHIUM * li)
        weights = signals.weights(tm, model)
        phase = np.concatenate([np.diag(METAL * slope), np.diag(LITHIUM * slope)], axis=1)
        crowded = tm + li > 1
        one = np.concatenate([np.diag(crowded), np.diag(crowded)], axis=1) / ONE_ATOM
        normal = phase.T @ weights[0] @ phase + dark.T @ weights[1] @ dark + prior + one.T @ one
        downhill = phase.T @ weights[0] @ (signals.phase - model)
        downhill += dark.T @ weights[1] @ (signals.dark - tm - DARK_LITHIUM * li)
        downhill += held.T @ of_filling @ (expected.filling * (1 - tm) - li)
        downhill += metals.T @ of_tm @ (expected.tm - tm)
        downhill += one.T @ (crowded * (1 - tm - li) / ONE_ATOM)
        step = np.linalg.solve(normal, downhill)
        tm, li = tm + np.clip(step[:n], -0.2, 0.2), li + np.clip(step[n:], -0.3, 0.3)
        if np.abs(step).max() < 1e-5:
            break
    return np.concatenate([tm, li]), np.asarray(np.linalg.inv(normal))
