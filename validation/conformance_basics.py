"""What all conformance checks share: the error, and what it means to be the same."""

import hashlib
import pickle
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import xarray as xr


class ConformanceError(AssertionError):
    """A part does not keep what its protocol promises.

    Attributes
    ----------
    check, seen, expected : str
        Which check failed, what was seen, and what was expected.
    """

    def __init__(self, check: str, *, seen: str, expected: str) -> None:
        super().__init__(f"{check}: seen {seen}; expected {expected}")
        self.check, self.seen, self.expected = check, seen, expected

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.check, self.seen, self.expected))


def _rebuild(check: str, seen: str, expected: str) -> ConformanceError:
    return ConformanceError(check, seen=seen, expected=expected)


def require(holds: bool, check: str, *, seen: str, expected: str) -> None:
    """Raise unless something holds."""
    if not holds:
        raise ConformanceError(check, seen=seen, expected=expected)


def difference(first: xr.Dataset, second: xr.Dataset) -> str | None:
    """Say where two data sets first differ, to the bit; None where they do not.

    Parameters
    ----------
    first, second : xarray.Dataset
        Lazy ones are computed.
    """
    names = {str(n) for n in first.variables} ^ {str(n) for n in second.variables}
    if names:
        return f"variables {', '.join(sorted(names))} on one side only"
    attributes = _attributes(first.attrs) ^ _attributes(second.attrs)
    if attributes:
        return f"attributes {', '.join(sorted({name for name, _ in attributes}))}"
    for name in first.variables:
        one, two = first.variables[name], second.variables[name]
        if one.dims != two.dims or one.shape != two.shape or one.dtype != two.dtype:
            return (
                f"'{name}' {one.dims} {one.shape} {one.dtype} and "
                f"{two.dims} {two.shape} {two.dtype}"
            )
        if _attributes(one.attrs) != _attributes(two.attrs):
            return f"attributes of '{name}': {one.attrs} and {two.attrs}"
        told = _unequal(np.asarray(one.values), np.asarray(two.values))
        if told is not None:
            return f"'{name}': {told}"
    return None


def _attributes(attrs: Mapping[Any, Any]) -> set[tuple[str, str]]:
    return {(str(name), repr(value)) for name, value in attrs.items()}


def _unequal(one: Any, two: Any) -> str | None:
    if one.dtype == object:
        return None if one.tolist() == two.tolist() else "unlike entries"
    if one.tobytes() == two.tobytes():
        return None
    if one.dtype.kind not in "biufc":
        return f"{int((one != two).sum())} of {one.size} entries differ"
    # NaN of any kind equals NaN, and -0 equals 0.
    unlike = ~((one == two) | ((one != one) & (two != two)))
    if not unlike.any():
        return None
    largest = np.max(np.abs(one[unlike].astype(complex) - two[unlike].astype(complex)))
    return f"{int(unlike.sum())} of {one.size} values differ, by up to {largest:.3g}"


def fingerprint(value: Any) -> str:
    """Return a digest of the contents of anything: equal before and after if nothing changed it.

    Arrays, data sets, dataclasses, mappings, sequences and ``ase.Atoms`` by their contents,
    anything else by its pickle.
    """
    digest = hashlib.blake2b(digest_size=16)
    for piece in _pieces(value):
        digest.update(piece)
        digest.update(b"\0")
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[bytes]:
    yield type(value).__name__.encode()
    if isinstance(value, np.ndarray) and value.dtype != object:
        yield f"{value.dtype}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, xr.Dataset | xr.DataArray):
        yield from _pieces(dict(value.attrs))
        parts = value.variables if isinstance(value, xr.Dataset) else value.coords
        for name in sorted(parts, key=str):
            yield from _pieces([name, parts[name].dims, parts[name].attrs, parts[name].values])
        if isinstance(value, xr.DataArray):
            yield from _pieces([value.dims, value.values])
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            yield from _pieces(key)
            yield from _pieces(value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _pieces(item)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _pieces({f.name: getattr(value, f.name) for f in fields(value)})
    elif type(value).__module__.startswith("ase.") and hasattr(value, "todict"):
        yield from _pieces(value.todict())
    elif value is None or isinstance(value, str | bytes | bool | int | float | complex):
        yield repr(value).encode()
    else:
        yield pickle.dumps(value)


@contextmanager
def global_random_state_kept(what: str) -> Iterator[None]:
    """Refuse a part that draws from the random state all share, or seeds it."""
    before = _random_state()
    yield
    require(
        _random_state() == before,
        "global random state",
        seen=f"{what} changed that of numpy.random or random",
        expected="a generator of its own, from echolith.seeds.stream(seed, ...)",
    )


def _random_state() -> bytes:
    numpys = np.random.get_state(legacy=True)  # noqa: NPY002 - to see that nobody uses it
    return pickle.dumps((random.getstate(), numpys))


def called_purely(
    what: str, call: Callable[[], xr.Dataset], argument: Callable[[], str]
) -> xr.Dataset:
    """Call twice and return the first result, computed.

    Parameters
    ----------
    what : str
        Named in messages.
    call : callable
        Returns a Dataset.
    argument : callable
        Returns the fingerprint of what is handed over.

    Raises
    ------
    ConformanceError
        If the result is no Dataset, the two differ in a bit, the argument changes, or the global
        random state does.
    """
    before = argument()
    results = []
    for _ in range(2):
        with global_random_state_kept(what):
            result = call()
            require(
                isinstance(result, xr.Dataset),
                "kind of result",
                seen=f"{what} returned an object of type {type(result).__name__}",
                expected="an xarray.Dataset",
            )
            results.append(result.compute())
        require(
            argument() == before,
            "input left alone",
            seen=f"{what} changed what it was given",
            expected="a copy where it has to change something",
        )
    told = difference(*results)
    require(
        told is None,
        "purity",
        seen=f"two calls of {what} with the same input gave {told}",
        expected="identical bits",
    )
    return results[0]
