"""Hypothesis profiles: ``dev`` at the desk, ``ci`` repeatable, ``thorough`` before a release.

Chosen by the environment variable HYPOTHESIS_PROFILE; ``ci`` where CI is set, else ``dev``.
"""

import importlib
import os
import pkgutil

from hypothesis import HealthCheck, settings

import echolith

# No test depends on time: machines are shared, and compiled kernels are slow at their first call.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("dev", UNTIMED, max_examples=25)
settings.register_profile(
    "ci", UNTIMED, max_examples=25, derandomize=True, print_blob=True, database=None
)
settings.register_profile("thorough", UNTIMED, max_examples=500, print_blob=True)

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if IN_CI else "dev"))

# Hypothesis also draws from the constants of modules that are loaded: all are, from the start, so
# that what a test is given does not depend on which tests ran before it.
for found in pkgutil.walk_packages(echolith.__path__, "echolith."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
