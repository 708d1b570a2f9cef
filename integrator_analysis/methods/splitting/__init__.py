"""Splitting integrators: a word over sub-flows."""
