"""Order conditions of words with free weights, times and combinations: their solutions, and the neighbours of these."""

from __future__ import annotations

import pytest
import sympy

import integrator_analysis as ia
from integrator_analysis.analysis.accuracy.order_conditions import order_conditions, solve_conditions
from integrator_analysis.inputs import InputError
from integrator_analysis.methods.splitting.splitting import Splitting
from integrator_analysis.methods.splitting.words import Factor, read_word

a, b, c, m, n = FREE = sympy.symbols("a b c m n")
START = sympy.S.Zero


def palindrome(first: str, second: str) -> tuple[Factor, ...]:
    """first second second first, with a new evaluation in the middle and any combinations of the two after it."""
    return (
        Factor(first, a, START),
        Factor(second, b),
        Factor(second, 1 - b, c, (m, 1 - m)),
        Factor(first, 1 - a, None, (n, 1 - n)),
    )


def conditions(word: tuple[Factor, ...], free: tuple[sympy.Symbol, ...], process: str = "psld") -> tuple:
    return order_conditions(Splitting(word, flow="exact").lower(ia.process(process)), free, 2)


@pytest.mark.parametrize(("process", "letters"), [("psld", "AB"), ("psld", "BA"), ("cld", "AB")])
def test_one_palindrome_of_two_evaluations_has_second_order(process: str, letters: str) -> None:
    found = solve_conditions(conditions(palindrome(*letters), FREE, process), FREE)
    half = sympy.Rational(1, 2)
    expected = {a: half, b: half, c: half, m: 2}
    if process == "psld":  # on CLD no score enters A, so n is free
        expected[n] = 2
    assert found == [expected]


def test_the_solution_is_the_catalogues_word_and_its_neighbours_are_of_first_order() -> None:
    solution = {a: sympy.Rational(1, 2), b: sympy.Rational(1, 2), c: sympy.Rational(1, 2), m: 2, n: 2}
    word = tuple(
        Factor(f.letter, f.weight.subs(solution), f.share, tuple(sympy.sympify(x).subs(solution) for x in f.mix))
        for f in palindrome("A", "B")
    )
    word = tuple(Factor(f.letter, f.weight, None if f.share is None else f.share.subs(solution), f.mix) for f in word)
    assert word == read_word("A@0 B B@1/2[2,-1] A[2,-1]")
    for neighbour in (
        "A@0 B B@1/2[3/2,-1/2] A[2,-1]",
        "A@0 B B@3/5[2,-1] A[2,-1]",
        "A(2/5)@0 B B@1/2[2,-1] A(3/5)[2,-1]",
    ):
        assert ia.derive(f"psld/{neighbour}(exact)").order == 1
    assert ia.derive("psld/A@0 B B@1/2[2,-1] A[2,-1](exact)").order == 2
    assert ia.derive("psld/A@0 B B@1/2[2,-1] A[2,-1]").order == 1  # Euler sub-flows lose it


def test_three_factors_with_one_evaluation_inside_have_no_solution() -> None:
    word = (Factor("B", b, START), Factor("A", sympy.S.One, c, (m, 1 - m)), Factor("B", 1 - b, None, (n, 1 - n)))
    assert solve_conditions(conditions(word, (b, c, m, n)), (b, c, m, n)) == []


def test_stochastic_words_are_refused() -> None:
    with pytest.raises(InputError, match="deterministic"):
        order_conditions(Splitting("OBA").lower(ia.process("psld")), (), 1)
