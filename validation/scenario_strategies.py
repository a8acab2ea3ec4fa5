"""Strategies for settings, drawn from their own types, and for whole scenarios."""

from collections.abc import Callable
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_origin

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from echolith.errors import BadInputError, near_match
from echolith.forward.acquisition import (
    Aberrations,
    AnnularDetector,
    Beam,
    PixelDetector,
    Scan,
    Settings,
    StemAcquisition,
)
from echolith.validation import catalogue
from echolith.validation.acquisition_strategies import (
    aberrations,
    acquisitions,
    annular_detectors,
    beams,
    pixel_detectors,
    scans,
)
from echolith.validation.plain_numbers import near, round_step
from echolith.validation.scenario import Scenario

NOUNS: dict[type, Callable[[], st.SearchStrategy[Any]]] = {
    Aberrations: aberrations,
    AnnularDetector: annular_detectors,
    Beam: beams,
    PixelDetector: pixel_detectors,
    Scan: scans,
}
TOGETHER = ("beam", "scan", "detector", "haadf")
"""Settings that must fit one another: drawn as one acquisition where a class has them all."""


def settings_of(scenario: str | type[Settings], /, **fixed: Any) -> st.SearchStrategy[Any]:
    """Draw settings of a scenario about their defaults; they shrink to the defaults.

    Numbers are drawn within a factor of two and within their limits, options from all there are,
    beams, scans and detectors from the strategies of those names, so that they fit. What has no
    range to draw from (paths, pairs of numbers) stays.

    Parameters
    ----------
    scenario : str or type
        Name of a scenario, or a `Settings` class.
    **fixed
        Settings that are to be a given value, or drawn from a given strategy.

    Returns
    -------
    strategy
        Of the scenario's `Settings` class.

    Raises
    ------
    BadInputError
        If there is no such scenario or setting, or a fixed value is not plausible.

    Examples
    --------
    >>> from hypothesis import find
    >>> found = find(settings_of("li-rich-oxide", thickness=8.6), lambda chosen: True)
    >>> found.thickness, found.occupation.value, found.beam.energy
    (8.6, 'random', 200000.0)
    """
    chosen = catalogue.entry(scenario).settings if isinstance(scenario, str) else scenario
    fields = chosen.model_fields
    for name in fixed:
        if name not in fields:
            raise BadInputError(
                f"no setting '{name}' of {chosen.__name__}; {near_match(name, fields)}"
            )
    _check_fixed(chosen, {n: v for n, v in fixed.items() if not isinstance(v, st.SearchStrategy)})
    drawn = {
        name: _as_strategy(fixed[name]) if name in fixed else _of_field(field)
        for name, field in fields.items()
    }
    if not set(TOGETHER) <= set(fields) or set(TOGETHER) & set(fixed):
        return _settings(chosen, st.fixed_dictionaries(drawn), st.none())
    alone = {name: one for name, one in drawn.items() if name not in TOGETHER}
    return _settings(chosen, st.fixed_dictionaries(alone), acquisitions(haadf=True))


def _as_strategy(value: Any) -> st.SearchStrategy[Any]:
    return value if isinstance(value, st.SearchStrategy) else st.just(value)


def _check_fixed(chosen: type[Settings], values: dict[str, Any]) -> None:
    required = {n for n, f in chosen.model_fields.items() if f.is_required()}
    if required - set(values):
        return
    try:
        chosen.model_validate(values)
    except ValidationError as error:
        reasons = "; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())
        raise BadInputError(f"settings of {chosen.__name__}: {reasons}") from error


@st.composite
def _settings(
    draw: st.DrawFn,
    chosen: type[Settings],
    values: st.SearchStrategy[dict[str, Any]],
    taken: st.SearchStrategy[StemAcquisition | None],
) -> Any:
    fields = draw(values)
    acquisition = draw(taken)
    if acquisition is not None:
        fields |= {name: getattr(acquisition, name) for name in TOGETHER}
    try:
        return chosen(**fields)
    except ValidationError:  # two settings that do not go together
        reject()


def _of_field(field: FieldInfo) -> st.SearchStrategy[Any]:
    """Draw the values of one field from its type, limits and default."""
    if field.is_required():
        return st.from_type(field.rebuild_annotation())
    default = field.get_default(call_default_factory=True)
    return _of_type(field.annotation, default, _limits(field.metadata))


def _of_type(kind: Any, default: Any, limits: tuple[float, float]) -> st.SearchStrategy[Any]:
    inner = [part for part in get_args(kind) if part is not NoneType]
    if len(inner) == 1 and NoneType in get_args(kind) and default is not None:
        metadata = getattr(inner[0], "__metadata__", ())
        bare = get_args(inner[0])[0] if metadata else inner[0]
        return _of_type(bare, default, _limits(metadata)) | st.none()
    if get_origin(kind) is not None or not isinstance(kind, type):
        return st.just(default)
    if kind in NOUNS:
        return NOUNS[kind]()
    if issubclass(kind, Settings):
        return settings_of(kind)
    if issubclass(kind, Enum):
        return st.sampled_from([default, *(option for option in kind if option is not default)])
    if kind is bool:
        return st.sampled_from([default, not default])
    if kind in (int, float) and default is not None:
        numbers = _number(float(default), limits, whole=kind is int)
        return numbers.map(int) if kind is int else numbers
    return st.just(default)


def _limits(metadata: Any) -> tuple[float, float]:
    """Return the lowest and highest value a field takes, both outermost ones open."""
    low = [float(m.ge) for m in metadata if hasattr(m, "ge")]
    low += [float(np.nextafter(m.gt, np.inf)) for m in metadata if hasattr(m, "gt")]
    high = [float(m.le) for m in metadata if hasattr(m, "le")]
    high += [float(np.nextafter(m.lt, -np.inf)) for m in metadata if hasattr(m, "lt")]
    return max(low, default=-np.inf), min(high, default=np.inf)


def _number(
    default: float, limits: tuple[float, float], *, whole: bool
) -> st.SearchStrategy[float]:
    """Draw within a factor of two of a default and within its limits."""
    if default == 0:
        return st.just(default)
    ends = sorted((default / 2, 2 * default))
    low, high = max(ends[0], limits[0]), min(ends[1], limits[1])
    return near(default, low=low, high=high, step=1.0 if whole else round_step(abs(default)))


def scenarios(*names: str, **fixed: Any) -> st.SearchStrategy[Scenario]:
    """Draw scenarios of the catalogue with settings of their own; nothing is simulated yet.

    Parameters
    ----------
    *names : str
        Which ones; our own ones by default.
    **fixed
        Settings, as for `settings_of`; they go to every scenario named.

    Raises
    ------
    BadInputError
        If there is no such scenario or setting.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(scenarios("li-rich-oxide", thickness=8.6), lambda found: True).settings.thickness
    8.6
    """
    chosen = names or tuple(catalogue.own_scenarios())
    made = [settings_of(name, **fixed).map(catalogue.entry(name).make) for name in chosen]
    return st.one_of(made)
