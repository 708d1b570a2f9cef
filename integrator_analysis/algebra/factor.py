"""Factors of a sum of monomials with integer exponents, in many symbols of which most occur to the first power.

Knows polynomials; knows nothing of what the symbols mean. sympy's ``factor`` lifts factors variable by variable, which
takes seconds where there are twenty. But p = a v + b with a, b free of v is gcd(a, b) times an irreducible polynomial,
so one gcd does for every symbol v that occurs to the first power; only what has no such symbol is left to sympy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sympy
from sympy import ZZ
from sympy.core.mul import _keep_coeff
from sympy.polys.polyutils import _sort_gens
from sympy.polys.rings import ring

__all__ = ["factor_sum"]

Exponents = dict[sympy.Symbol, int]


def factor_sum(expression: sympy.Expr) -> sympy.Expr:
    """The product of irreducible factors of an expanded sum, in the form that ``sympy.factor`` gives it.

    >>> x, y, z = sympy.symbols("x y z")
    >>> factor_sum(sympy.expand((x + y) * (x - z) / (2 * y)))
    (x + y)*(x - z)/(2*y)
    """
    terms = [_monomial(term) for term in sympy.Add.make_args(expression)]
    if any(term is None for term in terms) or len(terms) < 2:
        return sympy.factor(expression)
    symbols = sorted({v for _, exponents in terms for v in exponents}, key=str)  # type: ignore[misc]
    low = {v: min(exponents.get(v, 0) for _, exponents in terms) for v in symbols}  # type: ignore[misc]
    # Monomial factors are taken out, and only the symbols that are left are generators, in sympy's order.
    used = _sort_gens([v for v in symbols if any(e.get(v, 0) != low[v] for _, e in terms)])  # type: ignore[misc]
    domain = ring([str(n) for n in range(len(used))], ZZ)[0]
    scale = sympy.ilcm(1, *(c.q for c, _ in terms))  # type: ignore[misc]
    polynomial = domain.from_dict(
        {tuple(e.get(v, 0) - low[v] for v in used): ZZ(int(c * scale)) for c, e in terms}  # type: ignore[misc]
    )
    content, polynomial = polynomial.primitive()
    coefficient = sympy.Rational(int(content), int(scale))
    if polynomial.LC < 0:
        coefficient, polynomial = -coefficient, -polynomial
    factors = [v**n for v, n in low.items() if n]
    for factor, multiplicity in _factors(polynomial).items():
        if factor.LC < 0:
            factor, coefficient = -factor, coefficient * (-1) ** multiplicity
        factors.append(factor.as_expr(*used) ** multiplicity)
    return _keep_coeff(coefficient, sympy.Mul(*factors))


def _monomial(term: sympy.Expr) -> tuple[sympy.Rational, Exponents] | None:
    """Coefficient and exponents; None where the term is not a rational number times integer powers of symbols."""
    coefficient, rest = term.as_coeff_Mul()
    powers = dict(f.as_base_exp() for f in sympy.Mul.make_args(rest) if f != 1)
    if not coefficient.is_Rational or not all(b.is_Symbol and e.is_Integer for b, e in powers.items()):
        return None
    return coefficient, {base: int(exponent) for base, exponent in powers.items()}


def _factors(p: Any) -> Mapping[Any, int]:
    """The irreducible factors of a primitive polynomial without monomial factors, with their multiplicities."""
    out: dict[Any, int] = {}
    while not p.is_ground:
        # p = a v + b: all but gcd(a, b) is one irreducible factor. The v with the shortest a has the cheapest gcd.
        linear = [n for n, degree in enumerate(p.degrees()) if degree == 1]
        if not linear:
            _, found = p.factor_list()
            return _merge(out, found)
        slope, rest = min((_split(p, n) for n in linear), key=lambda parts: len(parts[0]))
        # Of two polynomials without a common monomial, the one with a single term has no factor of the other.
        common = p.ring.one if len(slope) == 1 or not _share_variable(slope, rest) else _gcd(slope, rest)
        out = _merge(out, [(p.exquo(common), 1)])
        p = common
    return out


def _split(p: Any, n: int) -> tuple[Any, Any]:
    """(a, b) with p = a v + b for the n-th variable v."""
    slope, rest = p.ring.zero, p.ring.zero
    for monomial, coefficient in p.items():
        if monomial[n]:
            slope[(*monomial[:n], 0, *monomial[n + 1 :])] = coefficient
        else:
            rest[monomial] = coefficient
    return slope, rest


def _share_variable(a: Any, b: Any) -> bool:
    """Whether a variable occurs in both."""
    return any(m and n for m, n in zip(a.degrees(), b.degrees(), strict=True))


def _gcd(a: Any, b: Any) -> Any:
    """The greatest common divisor, with a positive leading coefficient."""
    common = a.gcd(b)
    return common if common.LC > 0 else -common


def _merge(out: Mapping[Any, int], found: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    """Factors with their multiplicities, and more of them: multiplicities add."""
    total = dict(out)
    for factor, multiplicity in found:
        total[factor] = total.get(factor, 0) + multiplicity
    return total
