"""echolith: known truth in, measurement out, truth back, and the distance between the two.

The names below are loaded when first used, so that importing the package stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from echolith.dataset import load as load
    from echolith.dataset import load_truth as load_truth
    from echolith.dataset import save as save
    from echolith.validation.bounds import cramer_rao as cramer_rao
    from echolith.validation.catalogue import scenario as scenario
    from echolith.validation.catalogue import scenarios as scenarios
    from echolith.validation.demo_data import demo_data as demo_data
    from echolith.validation.generate import generate as generate
    from echolith.validation.plan import plan as plan
    from echolith.validation.round_trip import round_trip as round_trip
    from echolith.validation.samples import load_samples as load_samples
    from echolith.validation.solver_process import SolverProcess as SolverProcess
    from echolith.validation.solvers import load_solver as load_solver

_HOMES = {
    "cramer_rao": "echolith.validation.bounds",
    "demo_data": "echolith.validation.demo_data",
    "generate": "echolith.validation.generate",
    "load": "echolith.dataset",
    "load_samples": "echolith.validation.samples",
    "load_solver": "echolith.validation.solvers",
    "load_truth": "echolith.dataset",
    "SolverProcess": "echolith.validation.solver_process",
    "plan": "echolith.validation.plan",
    "round_trip": "echolith.validation.round_trip",
    "save": "echolith.dataset",
    "scenario": "echolith.validation.catalogue",
    "scenarios": "echolith.validation.catalogue",
}

__all__ = [
    "SolverProcess",
    "__version__",
    "cramer_rao",
    "demo_data",
    "generate",
    "load",
    "load_samples",
    "load_solver",
    "load_truth",
    "plan",
    "round_trip",
    "save",
    "scenario",
    "scenarios",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'echolith' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
