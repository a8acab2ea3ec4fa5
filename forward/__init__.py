"""Simulators: the deterministic mean first, counting noise second."""
