"""The one error users meet for bad input, and the near match for a misspelt name."""

import difflib
from collections.abc import Iterable


class BadInputError(ValueError):
    """Input that cannot be used.

    The message names the value, its unit, what was expected and what to do.
    """


class BadInputWarning(UserWarning):
    """Input that can be used at a stated loss; an error under ``--strict``."""


def near_match(name: str, known: Iterable[str]) -> str:
    """Say which known name a misspelt one is nearest to.

    Parameters
    ----------
    name : str
        What was typed.
    known : iterable of str
        What exists.

    Returns
    -------
    str
        ``"did you mean 'x'?"``, or the list of known names where none is near.

    Examples
    --------
    >>> near_match("li-rich-oxid", ["li-rich-oxide", "lfp"])
    "did you mean 'li-rich-oxide'?"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + ", ".join(names)
