"""Symbolic tools that know nothing of samplers: special functions, stable differences, truncated series, jets."""
