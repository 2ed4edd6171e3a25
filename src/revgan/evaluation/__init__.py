"""Evaluates runs: scores, figures and the report."""
