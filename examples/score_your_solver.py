"""Score any solver on known truth: python score_your_solver.py [FILE.py:FUNCTION [ENVIRONMENT]]."""

import sys
from pathlib import Path

import echolith as el
from echolith.validation.solver_process import SolverProcess

OURS = Path(__file__).with_name("center_of_mass_solver.py")
PM = 100  # in one ångström


def main(target=f"{OURS}:solve", environment=sys.executable):
    solver = SolverProcess(
        target=target, python=Path(environment), time_limit=120, memory_limit=4e9
    )
    solver.check()
    scenario = el.scenario("li-rich-oxide", occupation="ordered", scan={"shape": (64, 64)})
    result = el.round_trip(scenario, solver=solver, seeds=range(4))
    for seed, why in result.failures.items():
        print(f"seed {seed}: {why}")
    for name, entry in result.summary["statistics"].items():
        bias, spread = (entry[key] for key in ("bias", "spread"))
        if bias is not None:
            print(f"{name:10s} bias {PM * bias:+6.2f} pm, spread {PM * spread:5.2f} pm")


if __name__ == "__main__":
    main(*sys.argv[1:])
