"""Conjugate integrators: a base method on the transformed ODE."""
