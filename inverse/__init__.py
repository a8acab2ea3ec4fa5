"""Solvers: they see the measurement and its metadata, never a specimen or a truth."""
