"""Which functions of time an expression calls, directly or through their definitions.

Knows expressions and definitions; writes no line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from functools import lru_cache

import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.definitions import Definitions

__all__ = ["integrated_functions", "is_called", "needed_functions", "numbers_of"]


def integrated_functions(definitions: Definitions) -> Set[sympy.Function]:
    """The functions that are integrals, or made of one: a value of each costs a quadrature."""
    integrated: set[sympy.Function] = set()
    for f, definition in definitions.items():
        if definition.integral or any(c.func in integrated for c in definition.body.atoms(AppliedUndef)):
            integrated.add(f)
    return integrated


def numbers_of(definitions: Definitions, parameters: Iterable[sympy.Symbol]) -> Set[object]:
    """``parameters``, and the defined functions whose bodies hold nothing else: what is the same at all times."""
    numbers: set[object] = set(parameters)
    for f, definition in definitions.items():
        constant = {c: sympy.S.One for c in definition.body.atoms(AppliedUndef) if c.func in numbers}
        varies = definition.integral or definition.generator is not None
        if not varies and definition.body.xreplace(constant).free_symbols <= numbers:
            numbers.add(f)
    return numbers


def needed_functions(
    expressions: Iterable[sympy.Expr], definitions: Definitions, arity: int, known: Sequence[sympy.Function] = ()
) -> list[sympy.Function]:
    """The defined functions of ``arity`` arguments that the expressions use, directly or not.

    In the order of the table, in which each can be computed after those before it. Those that are ``known`` already
    are among them; what they are made of is not.
    """
    used: set[sympy.Function] = set()
    pending = {c.func for e in expressions for c in e.atoms(AppliedUndef)}
    while pending:
        f = pending.pop()
        if f in definitions and f not in used:
            used.add(f)
            if f in known or definitions[f].integral:  # an integral's source computes what it needs by itself
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
