"""The terms of a local error: coefficients of elementary differentials, by block and by power of h.

Knows how terms are collected and factored; local_error.py says which error they belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from typing import Any

import mpmath
import numpy as np
import sympy

from integrator_analysis.algebra import notation
from integrator_analysis.algebra.factor import factor_sum
from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.ring import PackedElement, PackedRing
from integrator_analysis.algebra.symbols import t
from integrator_analysis.analysis.accuracy.differentials import (
    Derivative,
    Differential,
    Field,
    Sum,
    differential_symbol,
)
from integrator_analysis.analysis.accuracy.point import Moment, Point
from integrator_analysis.analysis.expansion.jets import JetRing
from integrator_analysis.analysis.expansion.trees import ElementaryDifferential
from integrator_analysis.inputs import InputError
from integrator_analysis.program.step_program import StepProgram

__all__ = ["ErrorTerm", "ErrorTerms"]

FACTOR_TERMS = 60
"""Sums with more monomials are collected, not factored: factoring long sums takes minutes."""


@dataclass(frozen=True)
class ErrorTerm:
    """coefficient * differential. The coefficient holds parameters, functions of t and, in a weak error, the field."""

    coefficient: sympy.Expr
    differential: Differential

    def __str__(self) -> str:
        if self.coefficient in (1, -1):
            return f"{'-' if self.coefficient == -1 else ''}{self.differential}"
        text = str(self.coefficient)
        return f"({text})*{self.differential}" if self.coefficient.is_Add else f"{text}*{self.differential}"

    def latex(self) -> str:
        """LaTeX, a derivative as partial_x."""
        inner = self.differential.latex(notation.latex_name)
        if self.coefficient in (1, -1):
            return f"{'-' if self.coefficient == -1 else ''}{inner}"
        text = notation.latex(self.coefficient)
        return rf"\left({text}\right) {inner}" if self.coefficient.is_Add else rf"{text} \, {inner}"


@dataclass(frozen=True)
class ErrorTerms:
    """One term of the local error of each block, or of "f" for a weak error: h**exponents[block] times its coefficient.

    ``sums`` maps a block to that coefficient: a sum of differentials, each with an element of the ring ``scalars``.
    """

    program: StepProgram
    scalars: JetRing
    exponents: Mapping[str, int]
    sums: Mapping[str, Sum]

    @cached_property
    def terms(self) -> Mapping[str, tuple[ErrorTerm, ...]]:
        """The coefficients term by term, the smallest trees (the lowest derivatives of f) first.

        Each term's own coefficient is factored where it is short. Heun's error constants (Hairer, Norsett and Wanner,
        Solving Ordinary Differential Equations I, table II.3.1; h runs against time, so odd orders change sign):

        >>> import integrator_analysis as ia
        >>> heun = ia.derive("flow/conjugate(base=Heun, predict=velocity)").local_error
        >>> for term in heun.terms["x"]:
        ...     print(term)
        -1/12*d_tt velocity_x
        -1/12*d_xx velocity_x[velocity_x, velocity_x]
        1/6*d_x velocity_x[d_t velocity_x]
        -1/6*d_xt velocity_x[velocity_x]
        1/6*d_x velocity_x[d_x velocity_x[velocity_x]]
        """
        return {block: self.first_terms(block, len(found)) for block, found in self.sums.items()}

    def first_terms(self, block: str, count: int) -> tuple[ErrorTerm, ...]:
        """Return the first ``count`` of the terms of ``block``, without making the others."""
        found = self.sums[block]
        first = sorted(found, key=lambda d: (d.degree, str(d)))[:count]
        return tuple(ErrorTerm(self._make_coefficient(found[d]), d) for d in first)

    @cached_property
    def coefficients(self) -> Mapping[str, sympy.Expr]:
        """The coefficient of h**exponents[block], in the parameters, functions of t, the state and derivatives.

        For one-dimensional blocks: there the elementary differentials are products of partial derivatives. A weak error
        is a sum of derivatives of f with factored coefficients.
        """
        return {block: self._make_expression(found) for block, found in self.sums.items()}

    def coefficient_within(self, block: str, characters: int) -> sympy.Expr | None:
        """Return ``coefficients[block]``, or None where it is written with more than ``characters`` characters.

        A long sum, which would take a second to make and another to print, is then not made.
        """
        found = self.sums[block]
        if not self.program.stochastic:
            terms = len(self._project_to_numbers(found)[0])
            # A sum that is not factored has a character for each term, and three between two terms.
            if terms > FACTOR_TERMS and 4 * terms - 3 > characters:
                return None
        expression = self._make_expression(found)
        return expression if len(str(expression)) <= characters else None

    def _make_expression(self, found: Sum) -> sympy.Expr:
        """Return a sum of differentials as one expression, blocks being numbers."""
        if self.program.stochastic:
            # Every coefficient is factored, however long: it stands beside a derivative of f that divides nothing.
            parts = {d: factor_sum(element.as_expr(*self._generator_symbols)) for d, element in found.items()}
            return sympy.Add(*[parts[d] * d.symbol for d in parts if isinstance(d, Derivative)])
        # For numbers the trees of a strong error are products of symbols: the whole sum is factored as one polynomial.
        element, symbols = self._project_to_numbers(found)
        return _factor_if_short(element, symbols)

    def _project_to_numbers(self, found: Sum) -> tuple[PackedElement, list[sympy.Expr]]:
        """Return the sum for one-dimensional blocks as one polynomial, and the symbols of its generators.

        There a tree is the product of the partial derivatives at its nodes, so that two trees may be one monomial.
        """
        trees = [d for d in found if isinstance(d, ElementaryDifferential)]
        jets = list(dict.fromkeys(key for d in trees for key in d.jets() if key[0] == "unknown"))
        keys = [*self.scalars.keys, *jets]
        position = {key: n for n, key in enumerate(keys)}
        # The ring of coefficients has no jets of the field: they are appended, and exponents of a tree's jets added.
        total: dict[tuple[int, ...], Any] = {}
        for d in trees:
            own = [0] * len(keys)
            for key in d.jets():
                own[position[key]] += 1
            for exponents, coefficient in found[d].terms():
                whole = (*(a + b for a, b in zip(exponents, own, strict=False)), *own[len(exponents) :])
                total[whole] = total.get(whole, 0) + coefficient
        whole_ring = PackedRing([f"g{n}" for n in range(len(keys))])
        element = whole_ring.from_dict({k: c for k, c in total.items() if c})
        return element, [differential_symbol(self.program.blocks, *key) for key in keys]

    @cached_property
    def _generator_symbols(self) -> list[sympy.Expr]:
        return self.scalars.symbols(partial(differential_symbol, self.program.blocks))

    def _make_coefficient(self, element: PackedElement) -> sympy.Expr:
        return _factor_if_short(element, self._generator_symbols)

    @cached_property
    def function_of_time(self) -> Callable[[str], Callable[..., Any]]:
        """A function that returns the mpmath function of t with a given name, each made once."""
        program = self.program

        @cache
        def look_up(name: str) -> Callable[..., Any]:
            return function([sympy.Function(name)(t)], (t,), program.definitions, program.parameters, "mpmath")

        return look_up

    def text(self) -> Mapping[str, str]:
        """``coefficients`` as plain text: d_xm s_x is the derivative by x and m of the x component of the score."""
        return {block: str(expression) for block, expression in self.coefficients.items()}

    def latex(self) -> Mapping[str, str]:
        """``coefficients`` as LaTeX."""
        return {block: notation.latex(expression) for block, expression in self.coefficients.items()}

    def mathml(self) -> Mapping[str, str]:
        """``coefficients`` as presentation MathML."""
        return {block: notation.mathml(expression) for block, expression in self.coefficients.items()}

    def terms_text(self) -> Mapping[str, str]:
        """``terms`` as one sum in plain text."""
        return {block: _join_with_signs([str(term) for term in terms]) for block, terms in self.terms.items()}

    def terms_latex(self) -> Mapping[str, str]:
        """``terms`` as one sum in LaTeX."""
        return {block: _join_with_signs([term.latex() for term in terms]) for block, terms in self.terms.items()}

    def evaluate(
        self,
        z: Sequence[float],
        time: float,
        field: Field,
        observable: Callable[[Sequence[mpmath.mpf]], mpmath.mpf] | None = None,
        digits: int = 40,
    ) -> Mapping[str, float]:
        """Return the coefficients at state z (one number per block) and time, for a given field.

        ``field(z, t)`` gives the components of the program's unknown (score or eps) in mpmath; its derivatives are
        taken numerically at ``digits`` digits. A weak error needs the ``observable`` f. Raises InputError for a weak
        error without one, and for a z of another length.
        """
        if len(z) != len(self.program.blocks):
            raise InputError(f"z has {len(z)} numbers; one for each of {', '.join(self.program.blocks)} is needed")
        return {b: float(v[0]) for b, v in self.evaluate_blocks(z, time, field, observable, digits).items()}

    def evaluate_blocks(
        self,
        z: Sequence[float],
        time: float,
        field: Field,
        observable: Callable[[Sequence[mpmath.mpf]], mpmath.mpf] | None = None,
        digits: int = 40,
    ) -> Mapping[str, np.ndarray]:
        """Return the coefficients for blocks of any dimension d, float64 (d) for each block.

        z and what ``field`` returns are k * d numbers, block after block; otherwise as ``evaluate``. Raises InputError
        for a length that is no multiple of the number of blocks, and for a weak error with d > 1.
        """
        size, rest = divmod(len(z), len(self.program.blocks))
        if rest or not size:
            raise InputError(f"z has {len(z)} numbers; as many for each of {', '.join(self.program.blocks)} are needed")
        if self.program.stochastic and (observable is None or size > 1):
            raise InputError("a weak local error needs an observable f(z) to be evaluated on, and blocks of one number")
        with mpmath.workdps(digits):
            point = self._point(z, time, field, observable)
            return {block: np.array(point.total(found), dtype=float) for block, found in self.sums.items()}

    def evaluate_weak(
        self,
        z: Sequence[float],
        time: float,
        field: Field,
        observables: Sequence[Callable[[Sequence[mpmath.mpf]], mpmath.mpf]],
        digits: int = 40,
    ) -> list[float]:
        """Return what ``evaluate`` returns for "f", for each of several observables.

        The derivatives of the field are the costly part, and all observables share them.
        """
        with mpmath.workdps(digits):
            point = self._point(z, time, field, None)
            factors = {d: point.value(element) for d, element in self.sums["f"].items()}
            return [float(point.weighted(factors, observable)) for observable in observables]

    def evaluate_coefficients(
        self, block: str, z: Sequence[float], time: float, field: Field, digits: int = 40
    ) -> Mapping[Differential, float]:
        """Return the value of each differential's coefficient in the sum of ``block`` (or "f"), as in ``evaluate``."""
        with mpmath.workdps(digits):
            point = self._point(z, time, field, None)
            return {d: float(point.value(element)) for d, element in self.sums[block].items()}

    def _point(self, z: Sequence[float], time: float, field: Field, observable: Any) -> Point:
        """Return the point at which the jets and trees of these terms become numbers."""
        numbers = [mpmath.mpf(v) for v in z]
        moment = self._moment(mpmath.mpf(time), mpmath.mp.prec)
        return Point(moment, numbers, field, observable)

    @cached_property
    def _moment(self) -> Callable[[mpmath.mpf, int], Moment]:
        """(time, precision) -> what these terms are at that time, made once: states by the hundred share a time."""

        @lru_cache(maxsize=16)
        def make(time: mpmath.mpf, precision: int) -> Moment:
            return Moment(self.scalars, self.program, self.function_of_time, time)

        return make


def _factor_if_short(element: PackedElement, symbols: Sequence[sympy.Expr]) -> sympy.Expr:
    """Return an element as an expression in ``symbols``, factored unless it is long."""
    expression = element.as_expr(*symbols)
    return factor_sum(expression) if 1 < len(element) <= FACTOR_TERMS else expression


def _join_with_signs(terms: Sequence[str]) -> str:
    """Join terms to a sum, with " - " before a term that begins with a minus sign.

    >>> _join_with_signs(["-a", "b", "- c"])
    '-a + b - c'
    """
    if not terms:
        return "0"
    parts = [f" - {term[1:].lstrip()}" if term.startswith("-") else f" + {term}" for term in terms[1:]]
    return terms[0] + "".join(parts)
