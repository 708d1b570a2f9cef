"""Order conditions: equations between the free numbers of a scheme under which its order rises, and their solutions.

Knows lowered programs whose coefficients hold free symbols: weights of a word, times of evaluations, combinations of
them. The conditions are the coefficients of the local error, as polynomials in the free symbols; nothing is sampled.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import sympy

from integrator_analysis.analysis.expansion import strong_difference
from integrator_analysis.program import StepProgram
from integrator_analysis.symbols import InputError

__all__ = ["order_conditions", "solve_conditions"]


def order_conditions(program: StepProgram, free: Sequence[sympy.Symbol], order: int) -> tuple[sympy.Expr, ...]:
    """Polynomials in ``free`` that all vanish if and only if the program has at least ``order`` for every smooth field.

    The program is deterministic, blocks are of any dimension. One polynomial for every elementary differential of the
    local error up to h**order, made primitive, without repetitions and in order of their size. Raises InputError for a
    stochastic program.

    The midpoint of a step, found by asking where one evaluation makes a word of two exact halves second order:

    >>> import integrator_analysis as ia
    >>> from integrator_analysis.splitting import Splitting
    >>> from integrator_analysis.words import Factor
    >>> a, c = sympy.symbols("a c")
    >>> word = (Factor("A", a, c), Factor("B", sympy.S.One), Factor("A", 1 - a, sympy.S.One))
    >>> program = Splitting(word, flow="exact").lower(ia.process("psld"))
    >>> len(order_conditions(program, (a, c), 1))
    0
    """
    if program.stochastic:
        raise InputError("order conditions are derived for deterministic schemes")
    given = replace(program, parameters={**program.parameters, **dict.fromkeys(free, sympy.S.One)})
    algebra, difference = strong_difference(given, order)
    jets = algebra.scalars
    positions = [jets.position["parameter", symbol] for symbol in free]
    found: dict[sympy.Expr, None] = {}
    coefficients = (series.coefficients for forest in difference.values() for series in forest.terms.values())
    for element in itertools.chain.from_iterable(coefficients):
        terms: dict[tuple[int, ...], sympy.Expr] = {}
        for exponents, coefficient in jets.reduce(element).terms():
            rest = tuple(0 if n in positions else e for n, e in enumerate(exponents))
            number = sympy.Rational(int(coefficient.numerator), int(coefficient.denominator))
            power = sympy.Mul(*(s ** exponents[n] for s, n in zip(free, positions, strict=True)))
            terms[rest] = terms.get(rest, sympy.S.Zero) + number * power
        for condition in terms.values():
            if (expanded := sympy.expand(condition)) != 0:
                found[sympy.Poly(expanded, *free).primitive()[1].as_expr()] = None
    return tuple(sorted({_signed(c, free) for c in found}, key=lambda c: (len(sympy.Add.make_args(c)), str(c))))


def _signed(condition: sympy.Expr, free: Sequence[sympy.Symbol]) -> sympy.Expr:
    """With a positive leading coefficient."""
    return condition if sympy.Poly(condition, *free).LC() > 0 else sympy.expand(-condition)


def solve_conditions(
    conditions: Sequence[sympy.Expr], free: Sequence[sympy.Symbol]
) -> list[Mapping[sympy.Symbol, sympy.Expr]]:
    """All solutions; those of a family in terms of the symbols that stay free. Empty if there is none."""
    if not conditions:
        return [{}]
    basis = sympy.groebner(conditions, *free, order="lex")
    if basis.exprs == [1]:
        return []
    return sympy.solve(list(basis.exprs), list(free), dict=True)
