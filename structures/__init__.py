"""Specimens with known truth."""
