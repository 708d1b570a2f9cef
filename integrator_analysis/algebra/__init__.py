"""Symbolic tools that know nothing of samplers: symbols, definitions, special functions, stable differences, series."""
