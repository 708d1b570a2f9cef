"""Committed torch source of the named schemes and kernels, printed by integrator_analysis; never edited by hand."""
