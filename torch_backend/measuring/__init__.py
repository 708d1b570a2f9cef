"""Measurements of generated schemes, in numbers: steps, maps, errors and walks; orders, distances and spectra."""
