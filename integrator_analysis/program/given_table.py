"""A table of B: a matrix that is constant in a step and that a sampler is given step by step.

Knows its symbols, which stand among a program's parameters; the method that has such a B is methods/conjugation.
"""

from __future__ import annotations

import sympy

from integrator_analysis.program.step_program import Step

__all__ = ["table_of", "table_symbols"]


def table_symbols(k: int) -> sympy.Matrix:
    """The k x k matrix of symbols that stand for the entries."""
    return sympy.Matrix(k, k, lambda i, j: sympy.Symbol(f"B_{i}{j}", real=True))


def table_of(program: Step) -> sympy.Matrix:
    """The symbols of the table that ``program`` takes, row by row; an empty matrix where it takes none."""
    entries = table_symbols(len(program.blocks))
    return entries if set(entries) <= set(program.parameters) else sympy.Matrix()
