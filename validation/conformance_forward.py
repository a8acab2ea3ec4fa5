"""Conformance of simulators, linear operators and metrics with their protocols."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from echolith.protocols import Better, Forward, Metric
from echolith.validation.conformance_basics import (
    called_purely,
    fingerprint,
    global_random_state_kept,
    require,
)

Spoil = Callable[[xr.Dataset], xr.Dataset]


def check_forward(forward: Forward, *, specimen: Any) -> xr.Dataset:
    """Check a simulator on one specimen.

    Parameters
    ----------
    forward : callable
        ``forward(specimen) -> Dataset`` of expected counts.
    specimen : object

    Returns
    -------
    xarray.Dataset
        The mean, computed, for `check_noise`.

    Raises
    ------
    ConformanceError
        At the first check failed: kind of result, input left alone, global random state, purity
        (a mean is deterministic), expected counts (floats, finite, 0 or more), units.
    """
    mean = called_purely("the forward", lambda: forward(specimen), lambda: fingerprint(specimen))
    floats = {n: v for n, v in mean.data_vars.items() if np.issubdtype(v.dtype, np.floating)}
    held = ", ".join(f"{name} ({v.dtype})" for name, v in mean.data_vars.items())
    require(
        bool(floats),
        "expected counts",
        seen=f"no variable of floating-point numbers ({held or 'nothing'})",
        expected="means, on which noise is a layer of its own",
    )
    for name, variable in floats.items():
        values = variable.values
        bad = int((~(np.isfinite(values) & (values >= 0))).sum())
        require(
            bad == 0,
            "expected counts",
            seen=f"{bad} of {values.size} values of '{name}' negative or not finite",
            expected="finite numbers of 0 or more",
        )
    bare = [
        str(name)
        for name, variable in mean.variables.items()
        if "units" not in variable.attrs and variable.dtype.kind in "biufc"
    ]
    bare += [f"dim {dim}" for dim in mean.dims if dim not in mean.coords]
    require(
        not bare,
        "units",
        seen=f"no attribute 'units', or no coordinate, for {', '.join(bare)}",
        expected="units on every variable, and a coordinate with units on every axis",
    )
    return mean


def check_adjoint(
    forward: Callable[[Any], Any],
    adjoint: Callable[[Any], Any],
    *,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike = np.float64,
    trials: int = 4,
    seed: int = 0,
    tolerance: float | None = None,
) -> None:
    """Check that an operator is linear and that its adjoint is one: ``<A x, y> = <x, A† y>``.

    The difference is scaled by ``|A x| |y|`` and ``|x| |A† y|``, whichever is larger. ``y`` lies
    half along ``A x``, so that a small fault is not lost among the many axes of a random one.

    Parameters
    ----------
    forward, adjoint : callable
        Array to array.
    shape : tuple of int
        Of what the forward takes.
    dtype : dtype
        Of what the forward takes; complex numbers too.
    trials : int
        Random pairs.
    seed : int
        Of the random pairs.
    tolerance : float, optional
        By default 100 roundings of the coarser of the two types, enough for a Fourier transform.

    Raises
    ------
    ConformanceError
        If it is not linear, or not the adjoint.
    """
    random = np.random.default_rng(seed)
    draw = _drawing(random, np.dtype(dtype))
    for _ in range(trials):
        x, other = draw(shape), draw(shape)
        image, image_of_other = np.asarray(forward(x)), np.asarray(forward(other))
        allowed = tolerance or 100 * _rounding(x, image)
        _linear(forward, x, other, image, image_of_other, allowed)
        noise = _drawing(random, image.dtype)(image.shape)
        y = image / _norm(image) + noise / _norm(noise)
        y = y.astype(image.dtype)
        back = np.asarray(adjoint(y))
        require(
            back.shape == x.shape,
            "adjoint",
            seen=f"the adjoint returned shape {back.shape}",
            expected=f"{x.shape}, that of the forward's input",
        )
        left, right = np.vdot(y, image), np.vdot(back, x)
        if not (np.iscomplexobj(x) and np.iscomplexobj(image)):
            # Between real and complex numbers, the pairing is that of the real parts.
            left, right = left.real, right.real
        scale = max(_norm(image) * _norm(y), _norm(x) * _norm(back))
        deviation = float(np.abs(left - right)) / scale
        require(
            deviation <= allowed,
            "adjoint",
            seen=f"<A x, y> = {left:.6g} and <x, A† y> = {right:.6g}, {deviation:.2g} of the norms",
            expected=f"{allowed:.2g} of the norms at most",
        )


def _drawing(random: np.random.Generator, dtype: np.dtype[Any]) -> Callable[[tuple[int, ...]], Any]:
    def draw(shape: tuple[int, ...]) -> Any:
        values = random.standard_normal(shape)
        if dtype.kind == "c":
            return (values + 1j * random.standard_normal(shape)).astype(dtype)
        return values.astype(dtype)

    return draw


def _norm(values: Any) -> float:
    # A zero has the norm 1 here: it is divided by, and nothing else.
    return float(np.linalg.norm(np.asarray(values).ravel())) or 1.0


def _rounding(*arrays: Any) -> float:
    return max(float(np.finfo(array.dtype).eps) for array in arrays)


def _linear(
    forward: Callable[[Any], Any],
    x: Any,
    other: Any,
    image: Any,
    image_of_other: Any,
    allowed: float,
) -> None:
    together = np.asarray(forward((x + 2 * other).astype(x.dtype)))
    deviation = _norm(together - (image + 2 * image_of_other)) / (
        _norm(image) + 2 * _norm(image_of_other)
    )
    require(
        deviation <= allowed,
        "linearity",
        seen=f"A(x + 2 x') and A x + 2 A x' apart by {deviation:.2g} of the norms",
        expected=f"{allowed:.2g} at most",
    )


def check_metric(
    metric: Metric, *, truth: xr.Dataset, spoil: Spoil | Iterable[Spoil] | None = None
) -> None:
    """Check a metric: best at the truth, worse where the estimate is spoilt, pure.

    Parameters
    ----------
    metric : Metric
    truth : xarray.Dataset
    spoil : callable or iterable of callables, optional
        Each makes a worse estimate of a truth. By default numbers are scaled by 1.05, arrays are
        stirred by their own standard deviation, and half of every axis is left out.

    Raises
    ------
    ConformanceError
        If the score at the truth is not finite, is not the best, is not beaten by any spoilt
        estimate, changes from call to call; if an input changes; or if a NaN scores as the best.
    """
    spoils = (*_SPOILS,) if spoil is None else (spoil,) if callable(spoil) else tuple(spoil)
    before = fingerprint(truth)
    with global_random_state_kept("the metric"):
        best = float(metric.score(truth, truth))
        again = float(metric.score(truth.copy(deep=True), truth))
    name = f"metric '{metric.name}'"
    require(np.isfinite(best), name, seen=f"{best} at the truth", expected="a finite score")
    require(best == again, name, seen=f"{best} and {again}", expected="the same score twice")
    sign = 1 if metric.better is Better.LOWER else -1
    scores = [float(metric.score(make(truth), truth)) for make in spoils]
    require(
        fingerprint(truth) == before, name, seen="a changed truth", expected="inputs left alone"
    )
    beaten = [s for s in scores if sign * s < sign * best]
    require(
        not beaten,
        name,
        seen=f"{beaten[0] if beaten else 0:.6g} for a spoilt estimate, {best:.6g} at the truth",
        expected=f"the best score ({metric.better.value} is better) at the truth",
    )
    require(
        any(sign * s > sign * best or np.isnan(s) for s in scores),
        name,
        seen=f"{best:.6g} for the truth and for every spoilt estimate",
        expected="a worse score for at least one (give `spoil` if none of these matters to it)",
    )
    lost = _score_of(metric, _with_nan, truth)
    moved = sign * _score_of(metric, _SPOILS[1], truth) > sign * best
    require(
        not moved or np.isnan(lost) or sign * lost > sign * best,
        name,
        seen=f"{lost:.6g} for an estimate of NaN, {best:.6g} at the truth",
        expected="NaN, or a worse score",
    )


def _score_of(metric: Metric, spoil: Spoil, truth: xr.Dataset) -> float:
    try:
        return float(metric.score(spoil(truth), truth))
    except Exception:  # refusing is right, in whatever words
        return float("nan")


def _of_floats(change: Callable[[str, Any], Any]) -> Spoil:
    """Make an estimate whose real numbers are changed."""

    def spoil(truth: xr.Dataset) -> xr.Dataset:
        spoilt = {
            name: v.copy(data=change(str(name), v.values))
            for name, v in truth.data_vars.items()
            if v.dtype.kind == "f"
        }
        return truth.assign(spoilt)

    return spoil


def _stirred(name: str, values: Any) -> Any:
    from echolith.seeds import stream

    width = float(np.std(values)) or float(np.abs(values).max(initial=0.0)) or 1.0
    return values + width * stream(0, "stir", name).standard_normal(np.shape(values))


def _halved(truth: xr.Dataset) -> xr.Dataset:
    return truth.isel({dim: slice(None, None, 2) for dim in truth.dims})


_SPOILS = (_of_floats(lambda _, values: values * 1.05), _of_floats(_stirred), _halved)
_with_nan = _of_floats(lambda _, values: np.full_like(values, np.nan))
