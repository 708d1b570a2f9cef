"""Readings of a step program: local error, weak error, stability, moments on Gaussian data."""
