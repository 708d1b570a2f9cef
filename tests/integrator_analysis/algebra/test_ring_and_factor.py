"""The packed ring against sympy's rings on random polynomials; factors against sympy's ``factor``."""

from __future__ import annotations

import random

import pytest
import sympy
from sympy import QQ
from sympy.polys.rings import ring

from integrator_analysis.algebra.factor import factor_sum
from integrator_analysis.algebra.ring import MAX_DEGREE, PackedElement, PackedRing

NAMES = [f"g{n}" for n in range(12)]
PACKED = PackedRing(NAMES)
SYMPY = ring(NAMES, QQ)[0]


def pair(seed: int) -> tuple[PackedElement, object]:
    """The same random polynomial in both rings."""
    numbers = random.Random(seed)
    terms = {}
    for _ in range(numbers.randint(1, 6)):
        exponents = [0] * len(NAMES)
        for _ in range(numbers.randint(0, 4)):
            exponents[numbers.randrange(len(NAMES))] += 1
        terms[tuple(exponents)] = QQ(numbers.randint(-4, 4) or 1, numbers.randint(1, 6))
    return PACKED.from_dict(terms), SYMPY.from_dict(terms)


def same(packed: PackedElement, element: object) -> bool:
    return sorted(packed.terms()) == sorted((tuple(m), c) for m, c in element.terms() if c)  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(12))
def test_arithmetic_is_that_of_sympy(seed: int) -> None:
    (a, p), (b, q) = pair(seed), pair(seed + 100)
    number = QQ(-3, 7)
    for mine, theirs in [(a + b, p + q), (a - b, p - q), (a * b, p * q), (-a, -p), (a**3, p**3), (a * 0, p * 0)]:
        assert same(mine, theirs)
    assert same(a * number + 1, p * number + 1)
    assert same((a * 6) / 4, p * QQ(3, 2))
    assert same((a * b).diff(PACKED.gens[3]), (p * q).diff(SYMPY.gens[3]))
    assert (a + b) * (a - b) == a * a - b * b
    assert hash((a + b) - b) == hash(a)
    assert not (a - a)
    assert a + b != a
    assert sympy.expand(a.as_expr() - p.as_expr()) == 0  # type: ignore[attr-defined]


def test_an_exponent_never_runs_into_its_neighbour() -> None:
    high = PACKED.from_dict({(MAX_DEGREE, *[0] * 11): 1})
    assert high.terms() == [((MAX_DEGREE, *[0] * 11), 1)]
    with pytest.raises(OverflowError, match="total degree 256"):
        _ = high * PACKED.gens[0]
    with pytest.raises(OverflowError, match="exponent"):
        PACKED.from_dict({(MAX_DEGREE + 1, *[0] * 11): 1})


SYMBOLS = sympy.symbols("M beta x m s_x d_xm_s_x nu Gamma")


def factor_of(numbers: random.Random) -> sympy.Expr:
    terms = []
    for _ in range(numbers.randint(1, 4)):
        chosen = numbers.sample(SYMBOLS, numbers.randint(1, 3))
        terms.append(numbers.choice([-2, -1, 1, 3]) * sympy.Mul(*[v ** numbers.randint(1, 2) for v in chosen]))
    return sympy.Add(*terms) + numbers.choice([0, 0, 1])


@pytest.mark.parametrize("seed", range(25))
def test_factors_are_those_of_sympy_in_the_same_form(seed: int) -> None:
    numbers = random.Random(seed)
    product = sympy.Mul(*[factor_of(numbers) ** numbers.choice([1, 1, 2]) for _ in range(numbers.randint(1, 3))])
    expanded = sympy.expand(product * sympy.Rational(numbers.randint(1, 5), 6) / SYMBOLS[0] ** numbers.randint(0, 2))
    assert str(factor_sum(expanded)) == str(sympy.factor(expanded))


def test_a_sum_with_other_functions_is_left_to_sympy() -> None:
    x = SYMBOLS[2]
    expression = sympy.expand((sympy.sin(x) + 1) * (sympy.sin(x) - x))
    assert factor_sum(expression) == sympy.factor(expression)
