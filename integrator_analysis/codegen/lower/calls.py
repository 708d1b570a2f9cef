"""Which functions of time an expression calls, directly or through their definitions.

Knows expressions and definitions; writes no line.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.definitions import Definitions

__all__ = ["is_called", "needed_functions"]


def needed_functions(expressions: Iterable[sympy.Expr], definitions: Definitions, arity: int) -> list[sympy.Function]:
    """The defined functions of ``arity`` arguments that the expressions use, directly or not.

    In the order of the table, in which each can be computed after those before it.
    """
    used: set[sympy.Function] = set()
    pending = {c.func for e in expressions for c in e.atoms(AppliedUndef)}
    while pending:
        f = pending.pop()
        if f in definitions and f not in used:
            used.add(f)
            if definitions[f].integral:  # its source computes the functions that it needs by itself
                continue
            pending |= {c.func for c in definitions[f].body.atoms(AppliedUndef)} - used
    return [f for f in definitions if f in used and len(definitions[f].arguments) == arity]


def is_called(f: sympy.Function, time: sympy.Symbol | None, expressions: Iterable[sympy.Expr]) -> bool:
    """Whether an expression calls f directly, at ``time`` or, if that is None, anywhere."""
    calls = (c for e in expressions for c in _calls_in(e) if c.func == f)
    return any(time is None or c.args == (time,) for c in calls)


@lru_cache(maxsize=1024)
def _calls_in(expression: sympy.Expr) -> frozenset[AppliedUndef]:
    """The calls of named functions in an expression, kept, because one function after the other is looked for."""
    return frozenset(expression.atoms(AppliedUndef))
