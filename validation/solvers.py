"""Other people's solvers by name: of a module, of a file, or of an installed package."""

from echolith.errors import BadInputError
from echolith.protocols import Solver
from echolith.validation.solver_target import GROUP, TargetError, entry_points, load_target


def load_solver(name: str) -> Solver:
    """Load a solver into this process; `SolverProcess` runs one apart from it, within limits.

    Parameters
    ----------
    name : str
        ``package.module:function``, ``path/to/file.py:function``, or the name of an entry point
        of the group ``echolith.solvers``. The working folder, and that of the file, are put at
        the end of the import path.

    Returns
    -------
    Solver

    Raises
    ------
    BadInputError
        If it cannot be found, imported or called; the message names the near match.

    Examples
    --------
    >>> load_solver("echolith.inverse.projected_columns:recover_columns").__name__
    'recover_columns'
    """
    try:
        solver: Solver = load_target(name)
    except TargetError as error:
        raise BadInputError(f"solver '{name}' cannot be loaded: {error}") from error
    return solver


def solver_names() -> tuple[str, ...]:
    """Return the names of the solvers that installed packages offer (group ``echolith.solvers``).

    Nothing is imported.
    """
    return tuple(sorted(entry_points(GROUP)))
