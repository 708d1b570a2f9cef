"""Order conditions: equations between what is free in a scheme under which its order rises, and their solutions.

Knows step programs whose coefficients hold free symbols: weights of a word, times of evaluations, combinations of
them. The conditions are the coefficients of the local error, as polynomials in the free symbols; nothing is sampled.
For Gaussian data, whose score is linear, the condition on a matrix B(t) is derived too: a differential equation.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import sympy

from integrator_analysis.analysis.accuracy.differentials import symbol_of
from integrator_analysis.analysis.accuracy.local_error import derive_local_error
from integrator_analysis.analysis.accuracy.terms import ErrorTerms
from integrator_analysis.analysis.expansion.step import strong_difference
from integrator_analysis.analysis.expansion.trees import ElementaryDifferential, Tree
from integrator_analysis.inputs import InputError
from integrator_analysis.program.step_program import StepProgram

__all__ = ["gaussian_error_matrix", "gaussian_slope_of_b", "order_conditions", "solve_conditions"]


def order_conditions(program: StepProgram, free: Sequence[sympy.Symbol], order: int) -> tuple[sympy.Expr, ...]:
    """Return polynomials in ``free`` that vanish if and only if the program has at least ``order`` for smooth fields.

    The program is deterministic, blocks are of any dimension. There is one polynomial for every elementary differential
    of the local error up to h**order, made primitive, without repetitions and in order of their size. Raises InputError
    for a stochastic program.

    The word A B A has order one whatever the weights of its A and the time c of its evaluation are. With one evaluation
    it cannot have order two: one condition is 1 = 0.

    >>> import integrator_analysis as ia
    >>> a, c = sympy.symbols("a c")
    >>> word = (ia.Factor("A", a, sympy.S.Zero), ia.Factor("B", sympy.S.One, c), ia.Factor("A", 1 - a, sympy.S.One))
    >>> program = ia.Splitting(word, flow="exact").lower(ia.process("cld"))
    >>> order_conditions(program, (a, c), 1)
    ()
    >>> order_conditions(program, (a, c), 2)
    (1, 2*a - 1, 2*c - 1)
    """
    if program.stochastic:
        raise InputError("order conditions are derived for deterministic schemes")
    # Free symbols enter the ring as parameters of unknown value: 1 is no more than not 0.
    given = replace(program, parameters={**program.parameters, **dict.fromkeys(free, sympy.S.One)})
    algebra, difference = strong_difference(given, order)
    jets = algebra.scalars
    positions = [jets.position["parameter", symbol] for symbol in free]
    found: dict[sympy.Expr, None] = {}
    coefficients = (series.coefficients for forest in difference.values() for series in forest.terms.values())
    for element in itertools.chain.from_iterable(coefficients):
        # Parameters and jets of functions of t are independent: what multiplies each of their monomials has to vanish.
        terms: dict[tuple[int, ...], sympy.Expr] = {}
        for exponents, coefficient in jets.reduce(element).terms():
            rest = tuple(0 if n in positions else e for n, e in enumerate(exponents))
            number = sympy.Rational(int(coefficient.numerator), int(coefficient.denominator))
            power = sympy.Mul(*(s ** exponents[n] for s, n in zip(free, positions, strict=True)))
            terms[rest] = terms.get(rest, sympy.S.Zero) + number * power
        for condition in terms.values():
            if (expanded := sympy.expand(condition)) != 0:
                found[sympy.Poly(expanded, *free).primitive()[1].as_expr()] = None
    return tuple(
        sorted({_make_leading_positive(c, free) for c in found}, key=lambda c: (len(sympy.Add.make_args(c)), str(c)))
    )


def _make_leading_positive(condition: sympy.Expr, free: Sequence[sympy.Symbol]) -> sympy.Expr:
    """Return the condition with a positive leading coefficient, so that it is not listed with both signs."""
    return condition if sympy.Poly(condition, *free).LC() > 0 else sympy.expand(-condition)


def solve_conditions(
    conditions: Sequence[sympy.Expr], free: Sequence[sympy.Symbol]
) -> list[Mapping[sympy.Symbol, sympy.Expr]]:
    """Return all solutions of the conditions, those of a family in terms of the symbols that stay free.

    The list is empty if there is none.
    """
    if not conditions:
        return [{}]
    # A lexicographic basis is triangular, so that it is solved one symbol after the other; 1 in it means no solution.
    basis = sympy.groebner(conditions, *free, order="lex")
    if basis.exprs == [1]:
        return []
    return sympy.solve(list(basis.exprs), list(free), dict=True)


def gaussian_error_matrix(error: ErrorTerms) -> sympy.ImmutableMatrix:
    """Return what multiplies z in the terms of ``error``, k x k, for Gaussian data of mean zero: the field K(t) z.

    K_xm is an entry of K and d_t K_xm its derivative. Raises InputError for a stochastic scheme.
    """
    program = error.program
    if program.stochastic:
        raise InputError("the error matrix on Gaussian data is derived for deterministic schemes")
    k = len(program.blocks)
    rows = []
    for block in program.blocks:
        row = sympy.zeros(1, k)
        for term in error.terms[block]:
            assert isinstance(term.differential, ElementaryDifferential)
            row += term.coefficient * _linear_value(term.differential.tree, program.blocks)
        rows.append(row)
    return sympy.Matrix.vstack(*rows).applyfunc(sympy.expand).as_immutable()


def _linear_value(tree: Tree, blocks: Sequence[str]) -> sympy.Matrix:
    """Return the row r with tree = r z for the field K(t) z, whose second derivatives are zero."""
    if len(tree) == 1:
        return sympy.Matrix([[int(n == tree[0]) for n in range(len(blocks))]])
    component, times, children = tree
    letters = "d_" + "t" * times + " " if times else ""
    row = sympy.Matrix([[sympy.Symbol(f"{letters}K_{blocks[component]}{b}") for b in blocks]])
    if not children:
        return row
    if len(children) > 1:  # a second derivative by the state
        return sympy.zeros(1, len(blocks))
    ((slot, child),) = children
    return row[slot] * _linear_value(child, blocks)


def gaussian_slope_of_b(program: StepProgram) -> sympy.ImmutableMatrix:
    """Return B' as a function of B and K for which conjugate Euler has no h**2 error on Gaussian data, k x k.

    ``program`` is conjugate Euler's with a matrix B whose k x k entries are different functions of t. Which functions
    does not matter: the error holds their names b_xx, b_xm, ... and derivatives. On Gaussian data the network is K(t)
    z. The result is solved from the local error. For eps it is the Riccati equation B' = -[(B - L) B + B (L + J) + eta
    K' + J (L + J)], J = eta K, whose solutions are the B that suit the data. It has no solution through every time: B
    may be infinite somewhere.

    >>> import integrator_analysis as ia
    >>> program = ia.Conjugate(sympy.ImmutableMatrix([[ia.t]])).lower(ia.process("ve"))
    >>> gaussian_slope_of_b(program)[0]
    -K_xx**2*eta_xx**2 - K_xx*b_xx*eta_xx - b_xx**2 - d_t K_xx*eta_xx
    """
    k, blocks = len(program.blocks), program.blocks
    slopes = [symbol_of(f"slope_b_{a}{b}") for a in blocks for b in blocks]
    found = sympy.solve(list(gaussian_error_matrix(derive_local_error(program))), slopes, dict=True)
    if len(found) != 1 or len(found[0]) != len(slopes):
        raise InputError("the program holds no B(t) to solve for; accepted: conjugate Euler with a matrix of functions")
    return sympy.ImmutableMatrix(k, k, [sympy.expand(found[0][slope]) for slope in slopes])
