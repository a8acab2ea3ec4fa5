"""Scenarios, scores, round trips and reports: where truth and estimate meet."""
