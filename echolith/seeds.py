"""Named random streams: one integer and a path of names give one generator.

Streams are indexed by what they are for and by global position, never by chunk or worker, so
that the same seed gives the same bits whatever the chunking, worker count or call order.
"""

import hashlib

import numpy as np

from echolith.errors import BadInputError


def _key(part: str | int) -> int:
    if isinstance(part, str):
        return int.from_bytes(hashlib.blake2b(part.encode(), digest_size=4).digest(), "little")
    if part < 0:
        raise BadInputError(f"stream index {part} is negative; expected a position counted from 0")
    return part


def sequence(seed: int, *path: str | int) -> np.random.SeedSequence:
    """Return the seed sequence of one named stream.

    Parameters
    ----------
    seed : int
        The one seed of a run, >= 0.
    *path : str or int
        Names (hashed stably with BLAKE2) and global positions, e.g. ``"counts", 17``.

    Returns
    -------
    numpy.random.SeedSequence
        Equal for equal arguments, on every platform.

    Raises
    ------
    BadInputError
        If the seed or an index is negative.
    """
    if seed < 0:
        raise BadInputError(f"seed {seed} is negative; expected an integer of 0 or more")
    return np.random.SeedSequence(seed, spawn_key=tuple(_key(part) for part in path))


def stream(seed: int, *path: str | int) -> np.random.Generator:
    """Return a fresh generator for one named stream (arguments as for `sequence`).

    Examples
    --------
    >>> stream(7, "counts", 3).integers(100) == stream(7, "counts", 3).integers(100)
    np.True_
    """
    return np.random.Generator(np.random.PCG64(sequence(seed, *path)))
