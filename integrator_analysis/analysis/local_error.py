"""Local error of a step program for an unknown smooth score: order, its terms, their value on a given problem.

Knows what an expansion (analysis.expansion) yields; knows no scheme by name and no torch. The error is numerical minus
exact after one step from t to t - h, in the original space and the original time. Deterministic programs are compared
with the probability-flow ODE block by block; stochastic ones with the reverse SDE through a smooth observable f of the
state (weak error). The unknown field is the one the program evaluates: the score s, or the network's eps for conjugate
integrators.

The terms of a deterministic error are elementary differentials of that field, which hold for blocks of any dimension:
d_xm s_x[u, v] is the derivative of s_x by x and m, applied to u and v. Where blocks are one-dimensional they are
products of numbers, and their sum is one expression.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any

import mpmath
import numpy as np
import sympy

from integrator_analysis import notation
from integrator_analysis.algebra.factor import factored
from integrator_analysis.algebra.jets import Index, JetRing
from integrator_analysis.algebra.ring import PackedElement, PackedRing
from integrator_analysis.algebra.trees import ElementaryDifferential, Forest, Tree
from integrator_analysis.analysis.cost import BUDGET, check_budget
from integrator_analysis.analysis.expansion import (
    OBSERVABLE,
    expanded_steps,
    strong_difference,
    weak_difference,
)
from integrator_analysis.analysis.problems import MixtureProblem, WaveObservable
from integrator_analysis.numeric import function
from integrator_analysis.program import StepProgram
from integrator_analysis.symbols import InputError, t

__all__ = ["Derivative", "ErrorTerms", "LocalError", "Term", "derive_local_error", "linear_order"]

MAX_ORDER = 8
"""Highest power of h that is looked at unless more is asked for: an error of a higher power is below rounding."""

FACTOR_TERMS = 60
"""Sums with more monomials are collected, not factored: factoring long sums takes minutes."""

Field = Callable[[Sequence[mpmath.mpf], mpmath.mpf], Sequence[mpmath.mpf]]


@dataclass(frozen=True)
class Derivative:
    """A derivative of the observable f, ``index`` times by each of ``blocks``: what a weak error is a sum of."""

    index: Index
    blocks: tuple[str, ...]

    def __str__(self) -> str:
        return str(self.symbol)

    @property
    def symbol(self) -> sympy.Symbol:
        return _derivative(_letters(self.index, self.blocks), OBSERVABLE)

    def latex(self, name: Callable[[str], str]) -> str:
        """LaTeX; ``name`` gives that of a symbol."""
        return name(str(self))

    @property
    def degree(self) -> tuple[int, int]:
        """For sorting: the order of the derivative."""
        return sum(self.index), 0

    @property
    def linear(self) -> bool:
        """Whether it is there for a field that is linear in the state; the observable is any."""
        return True


Differential = ElementaryDifferential | Derivative
Sum = Mapping[Differential, PackedElement]


@dataclass(frozen=True)
class Term:
    """coefficient * differential; the coefficient holds parameters, functions of t and, in a weak error, the field."""

    coefficient: sympy.Expr
    differential: Differential

    def __str__(self) -> str:
        if abs(self.coefficient) == 1:
            return f"{'-' if self.coefficient == -1 else ''}{self.differential}"
        text = str(self.coefficient)
        return f"({text})*{self.differential}" if self.coefficient.is_Add else f"{text}*{self.differential}"

    def latex(self) -> str:
        """LaTeX, a derivative as partial_x."""
        inner = self.differential.latex(notation.latex_name)
        if abs(self.coefficient) == 1:
            return f"{'-' if self.coefficient == -1 else ''}{inner}"
        text = notation.latex(self.coefficient)
        return rf"\left({text}\right) {inner}" if self.coefficient.is_Add else rf"{text} \, {inner}"


@dataclass(frozen=True)
class ErrorTerms:
    """One power of h of the local error of each block, or of "f" for a weak error: ``exponents`` and coefficients.

    ``sums`` maps a block to its coefficient, a sum of differentials with elements of the ring ``scalars``.
    """

    program: StepProgram
    scalars: JetRing
    exponents: Mapping[str, int]
    sums: Mapping[str, Sum]

    @cached_property
    def terms(self) -> Mapping[str, tuple[Term, ...]]:
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
        return {
            block: tuple(Term(self._readable(found[d]), d) for d in sorted(found, key=lambda d: (d.degree, str(d))))
            for block, found in self.sums.items()
        }

    @cached_property
    def coefficients(self) -> Mapping[str, sympy.Expr]:
        """The coefficient of h**exponents[block], in the parameters, functions of t, the state and derivatives.

        For one-dimensional blocks: there the elementary differentials are products of partial derivatives. A weak error
        is a sum of derivatives of f with factored coefficients.
        """
        return {block: self._one_expression(found) for block, found in self.sums.items()}

    def _one_expression(self, found: Sum) -> sympy.Expr:
        if self.program.stochastic:
            # Every coefficient is factored, however long: it stands beside a derivative of f that divides nothing.
            parts = {d: factored(element.as_expr(*self._symbols)) for d, element in found.items()}
            return sympy.Add(*[parts[d] * d.symbol for d in parts if isinstance(d, Derivative)])
        element, symbols = self._projected(found)
        return _factored(element, symbols)

    def _projected(self, found: Sum) -> tuple[PackedElement, list[sympy.Expr]]:
        """The sum for one-dimensional blocks as one polynomial, and the symbols of its generators."""
        trees = [d for d in found if isinstance(d, ElementaryDifferential)]
        jets = list(dict.fromkeys(key for d in trees for key in d.jets() if key[0] == "unknown"))
        keys = [*self.scalars.keys, *jets]
        position = {key: n for n, key in enumerate(keys)}
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
        return element, [_symbol(self.program.blocks, *key) for key in keys]

    @cached_property
    def _symbols(self) -> list[sympy.Expr]:
        return self.scalars.symbols(partial(_symbol, self.program.blocks))

    def _readable(self, element: PackedElement) -> sympy.Expr:
        return _factored(element, self._symbols)

    @cached_property
    def function_of_time(self) -> Callable[[str], Callable[..., Any]]:
        """Functions of t by name, in mpmath, each made once."""
        program = self.program

        @cache
        def named(name: str) -> Callable[..., Any]:
            return function([sympy.Function(name)(t)], (t,), program.definitions, program.parameters, "mpmath")

        return named

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
        return {block: _joined([str(term) for term in terms]) for block, terms in self.terms.items()}

    def terms_latex(self) -> Mapping[str, str]:
        """``terms`` as one sum in LaTeX."""
        return {block: _joined([term.latex() for term in terms]) for block, terms in self.terms.items()}

    def evaluate(
        self,
        z: Sequence[float],
        time: float,
        field: Field,
        observable: Callable[[Sequence[mpmath.mpf]], mpmath.mpf] | None = None,
        digits: int = 40,
    ) -> Mapping[str, float]:
        """The coefficients at state z (one number per block) and time, for a given field.

        ``field(z, t)`` gives the components of the program's unknown (score or eps) in mpmath; its derivatives are
        taken numerically at ``digits`` digits. ``observable`` is needed for a weak error. Raises InputError without,
        and for a z of another length.
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
        """The same for blocks of any dimension d: z and what ``field`` returns are k * d numbers, block after block.

        float64 (d) for each block. Raises InputError for a length that is no multiple of the number of blocks, and for
        a weak error with d > 1.
        """
        size, rest = divmod(len(z), len(self.program.blocks))
        if rest or not size:
            raise InputError(f"z has {len(z)} numbers; as many for each of {', '.join(self.program.blocks)} are needed")
        if self.program.stochastic and (observable is None or size > 1):
            raise InputError("a weak local error needs an observable f(z) to be evaluated on, and blocks of one number")
        with mpmath.workdps(digits):
            point = _Point(self, [mpmath.mpf(v) for v in z], mpmath.mpf(time), field, observable)
            return {block: np.array(point.total(found), dtype=float) for block, found in self.sums.items()}

    def evaluate_coefficients(
        self, block: str, z: Sequence[float], time: float, field: Field, digits: int = 40
    ) -> Mapping[Differential, float]:
        """The value of the coefficient of each differential in the sum of ``block``, or of "f", as in ``evaluate``."""
        with mpmath.workdps(digits):
            point = _Point(self, [mpmath.mpf(v) for v in z], mpmath.mpf(time), field, None)
            return {d: float(point.value(element)) for d, element in self.sums[block].items()}


@dataclass(frozen=True)
class LocalError(ErrorTerms):
    """The leading local error, and from it the next terms.

    It is the error after ``steps`` steps: one, from an exact past; but for a stochastic multistep method, whose past is
    random, as many as it takes to fill the past, beginning with none. ``startup`` says that all of it comes from those
    first steps: the step after them adds nothing at this power of h, so that the global error is one power smaller.
    """

    startup: bool = False
    _found: dict[int, ErrorTerms] = field(default_factory=dict, compare=False, repr=False)

    @property
    def steps(self) -> int:
        return expanded_steps(self.program)

    @property
    def order(self) -> int:
        """Order for a general smooth score (weak order if stochastic): the least exponent minus one.

        One more where that power comes from the start-up alone: it enters the global error once, not in every step.
        """
        return min(self.exponents.values()) - 1 + self.startup

    @property
    def leading(self) -> Mapping[str, sympy.Expr]:
        """``coefficients`` of the leading powers."""
        return self.coefficients

    @property
    def next(self) -> ErrorTerms:
        """The next power of h with an error, in each block."""
        return self.through(2)[1]

    def through(self, count: int, budget: float = BUDGET) -> tuple[ErrorTerms, ...]:
        """The first ``count`` powers of h with an error, in each block; the first is the leading one. Kept once known.

        Every further power costs several times the one before. Raises InputError for a count below one, and
        before an expansion that is expected to take more than ``budget`` seconds.
        """
        if count < 1:
            raise InputError(f"{count} terms of a local error; accepted: one or more")
        if count - 1 not in self._found and count > 1:
            start = max(self.exponents.values()) + count - 1
            scalars, found = _first_terms(self.program, start, start + MAX_ORDER, count, budget)
            for n in range(1, count):
                exponents = {block: terms[n][0] for block, terms in found.items()}
                sums = {block: terms[n][1] for block, terms in found.items()}
                self._found.setdefault(n, ErrorTerms(self.program, scalars, exponents, sums))
        return (self, *(self._found[n] for n in range(1, count)))


class _Point:
    """Values of jets and trees at one point, computed as they are asked for."""

    def __init__(self, error: ErrorTerms, z: list, time: mpmath.mpf, field: Field, observable: Any) -> None:
        self.jets, self.program = error.scalars, error.program
        self.z, self.time, self.field, self.observable = z, time, field, observable
        self.size = len(z) // len(self.program.blocks)
        self.cache: dict[Any, Any] = {}
        self.fields: dict[tuple, Sequence[mpmath.mpf]] = {}
        self.functions = error.function_of_time

    def total(self, found: Sum) -> list[mpmath.mpf]:
        """A sum of differentials, as many numbers as a block has."""
        total = [mpmath.mpf(0)] * self.size
        for differential, element in found.items():
            factor = self.value(element)
            total = [a + factor * b for a, b in zip(total, self.differential(differential), strict=True)]
        return total

    def value(self, polynomial: PackedElement) -> mpmath.mpf:
        total = mpmath.mpf(0)
        for exponents, coefficient in polynomial.terms():
            term = mpmath.mpf(int(coefficient.numerator)) / int(coefficient.denominator)
            for n, exponent in enumerate(exponents):
                if exponent:
                    term *= self.generator(n) ** exponent
            total += term
        return total

    def differential(self, d: Differential) -> list[mpmath.mpf]:
        if isinstance(d, ElementaryDifferential):
            return self.tree(d.tree)
        return [mpmath.diff(lambda *a: self.observable(a), tuple(self.z), d.index)]

    def tree(self, tree: Tree) -> list[mpmath.mpf]:
        """The value of a tree: a derivative of the field, contracted with the values of the children."""
        if tree not in self.cache:
            blocks, size = len(self.program.blocks), self.size
            if len(tree) == 1:
                self.cache[tree] = self.z[tree[0] * size : (tree[0] + 1) * size]
                return self.cache[tree]
            component, times, children = tree
            values = [self.tree(child) for _, child in children]
            total = [mpmath.mpf(0)] * size
            for entries in itertools.product(range(size), repeat=len(children)):
                places = [slot * size + e for (slot, _), e in zip(children, entries, strict=True)]
                factor = mpmath.fprod(v[e] for v, e in zip(values, entries, strict=True))
                index = (*(places.count(n) for n in range(blocks * size)), times)
                partials = (self.partial(component * size + n, index) for n in range(size))
                total = [a + factor * b for a, b in zip(total, partials, strict=True)]
            self.cache[tree] = total
        return self.cache[tree]

    def partial(self, component: int, index: Index) -> mpmath.mpf:
        """A partial derivative of one number of the field."""
        key = ("partial", component, index)
        if key not in self.cache:
            self.cache[key] = mpmath.diff(lambda *a: self._field(a)[component], (*self.z, self.time), index)
        return self.cache[key]

    def generator(self, n: int) -> mpmath.mpf:
        if n not in self.cache:
            self.cache[n] = self._compute(*self.jets.keys[n])
        return self.cache[n]

    def _field(self, at: tuple) -> Sequence[mpmath.mpf]:
        """The field at (*z, time), kept with its precision: components are differentiated on the same points."""
        key = (*at, mpmath.mp.prec)
        if key not in self.fields:
            self.fields[key] = self.field(at[:-1], at[-1])
        return self.fields[key]

    def _compute(self, kind: str, label: Any) -> mpmath.mpf:
        if kind == "state":
            return self.z[self.program.blocks.index(label)]
        if kind == "time":
            return self.time
        if kind in ("parameter", "reciprocal"):
            value = self.program.parameters[label]
            number = mpmath.mpmathify(sympy.N(value, mpmath.mp.dps + 5))
            return number if kind == "parameter" else 1 / number
        if kind == "function":
            name, order = label
            f = self.functions(name)
            return mpmath.diff(lambda time: f(time)[0], self.time, order)
        if kind == "unknown":
            component, index = label
            return self.partial(self.jets.unknown.index(component), index)
        if kind == "reciprocal slope":
            return 1 / self._compute("function", (label, 1))
        if kind == "reciprocal value":
            return 1 / self._compute("function", (label, 0))
        raise NotImplementedError(f"generator {kind} {label} in an error term")


def derive_local_error(program: StepProgram, max_order: int = MAX_ORDER, budget: float = BUDGET) -> LocalError:
    """The leading local error of ``program``: expansions to growing order until every block shows its first term.

    Raises ArithmeticError if a block agrees with the exact flow through h**max_order, InputError before an expansion
    that is expected to take more than ``budget`` seconds.

    Strang's splitting has order two, Euler-Maruyama weak order one:

    >>> import integrator_analysis as ia
    >>> [derive_local_error(ia.derive(spec).program).order for spec in ("psld/SPS-2S", "vp/EM")]
    [2, 1]

    Dormand and Prince's tableau has order five, with ``process`` flow, whose network returns z' itself:

    >>> from fractions import Fraction as F
    >>> from integrator_analysis.base_methods import RungeKutta
    >>> from integrator_analysis.conjugation import Conjugate
    >>> a = ((), (F(1, 5),), (F(3, 40), F(9, 40)), (F(44, 45), F(-56, 15), F(32, 9)),
    ...     (F(19372, 6561), F(-25360, 2187), F(64448, 6561), F(-212, 729)),
    ...     (F(9017, 3168), F(-355, 33), F(46732, 5247), F(49, 176), F(-5103, 18656)))
    >>> b = (F(35, 384), F(0), F(500, 1113), F(125, 192), F(-2187, 6784), F(11, 84))
    >>> method = Conjugate(base=RungeKutta(a, b), parametrisation="velocity")
    >>> derive_local_error(method.lower(ia.process("flow"))).order
    5
    """
    scalars, found = _first_terms(program, 1 if not program.stochastic else 2, max_order, budget=budget)
    exponents = {block: terms[0][0] for block, terms in found.items()}
    error = LocalError(program, scalars, exponents, {block: terms[0][1] for block, terms in found.items()})
    if error.steps > 1 and _only_startup(error):
        return LocalError(program, scalars, exponents, error.sums, startup=True)
    return error


def linear_order(program: StepProgram, max_order: int = MAX_ORDER, budget: float = BUDGET) -> int:
    """The order for a field that is linear in the state, K(t) z + k(t); weak order if stochastic.

    At least the order for a general field, and more where every leading term holds a second derivative by the state.

    >>> import integrator_analysis as ia
    >>> i = ia.derive("flow/conjugate(base=AB3, predict=velocity)")
    >>> i.order, i.linear_order
    (3, 3)
    """
    for order in range(1 if not program.stochastic else 2, max_order + 1):
        check_budget(program, order, budget)
        scalars, powers = _by_power(program, order, linear=True)
        shown = {block: {n: found for n, found in enumerate(p) if found} for block, p in powers.items()}
        if lowest := min((n for found in shown.values() for n in found), default=0):
            leading = {block: found[lowest] for block, found in shown.items() if lowest in found}
            terms = ErrorTerms(program, scalars, dict.fromkeys(leading, lowest), leading)
            startup = expanded_steps(program) > 1 and _only_startup(terms, linear=True)
            return lowest - 1 + startup
    raise ArithmeticError(f"no error term for a linear field through h**{max_order}")


def _by_power(
    program: StepProgram, order: int, linear: bool = False, steps: int | None = None
) -> tuple[JetRing, dict[str, list[Sum]]]:
    """Per block, the coefficients of 1, h, ..., h**order of the error, without what is zero."""
    if not program.stochastic:
        algebra, difference = strong_difference(program, order, linear)
        scalars = algebra.scalars

        def named(tree: Tree) -> ElementaryDifferential:
            return ElementaryDifferential(tree, program.blocks, algebra.unknown)

        def at_power(forest: Forest, n: int) -> Sum:
            return _reduced(scalars, {named(tree): c for tree, c in forest.coefficient(n).items()})

        return scalars, {b: [at_power(forest, n) for n in range(order + 1)] for b, forest in difference.items()}
    scalars, series = weak_difference(program, order, linear, steps)
    sums = [_reduced(scalars, _by_derivative(scalars, element)) for element in series.coefficients]
    for n, found in enumerate(sums):
        if found and n % scalars.grade:
            raise ArithmeticError(f"an error term of half-integer order {n}/{scalars.grade} in h")
    return scalars, {OBSERVABLE: sums[:: scalars.grade]}


def _reduced(scalars: JetRing, found: Sum) -> Sum:
    reduced = ((d, scalars.reduce(element)) for d, element in found.items())
    return {d: element for d, element in reduced if element}


def _by_derivative(jets: JetRing, element: PackedElement) -> dict[Differential, PackedElement]:
    """A polynomial that is linear in the jets of f, by these."""
    positions = [(n, label) for n, (kind, label) in enumerate(jets.keys) if kind == "observable"]
    parts: dict[Index, dict[tuple[int, ...], Any]] = {}
    for exponents, coefficient in element.terms():
        n, index = next((n, index) for n, index in positions if exponents[n])
        parts.setdefault(index, {})[(*exponents[:n], 0, *exponents[n + 1 :])] = coefficient
    return {Derivative(index, jets.blocks): jets.ring.from_dict(part) for index, part in parts.items()}


def _first_terms(
    program: StepProgram, start: int, limit: int, count: int = 1, budget: float = BUDGET
) -> tuple[JetRing, dict[str, list[tuple[int, Sum]]]]:
    """The first ``count`` powers with an error of every block: expansions to growing order, from h**start."""
    for order in range(start, limit + 1):
        check_budget(program, order, budget)
        scalars, powers = _by_power(program, order)
        found = {b: [(n, terms) for n, terms in enumerate(p) if terms][:count] for b, p in powers.items()}
        if all(len(terms) == count for terms in found.values()):
            return scalars, found
    silent = [block for block, terms in found.items() if len(terms) < count]
    raise ArithmeticError(f"block(s) {', '.join(silent)}: {len(found[silent[0]])} error term(s) through h**{limit}")


def _only_startup(error: ErrorTerms, linear: bool = False) -> bool:
    """Whether one step more leaves the leading error what it is: at two points of a problem without symmetries.

    As polynomials the two differ by identities between the process's functions, which the ring does not know.
    """
    program, order = error.program, error.exponents[OBSERVABLE]
    scalars, powers = _by_power(program, order, linear, expanded_steps(program) + 1)
    later = powers[OBSERVABLE]
    if any(later[:order]) or not later[order]:
        return False
    other = ErrorTerms(program, scalars, error.exponents, {OBSERVABLE: later[order]})
    problem, k = MixtureProblem(program.process), len(program.blocks)
    field, observable = problem.field(program.unknown), WaveObservable((0.9, 0.6, 0.4)[:k], 0.3)
    for share, z in ((0.31, (0.4, -0.3, 0.2)), (0.63, (-0.7, 0.5, 0.1))):
        time = share * program.process.t_max
        values = [e.evaluate(z[:k], time, field, observable)[OBSERVABLE] for e in (error, other)]
        if abs(values[0] - values[1]) > 1e-12 * abs(values[0]):
            return False
    return True


# -- names -------------------------------------------------------------------------------------------------------------
def _factored(element: PackedElement, symbols: Sequence[sympy.Expr]) -> sympy.Expr:
    expression = element.as_expr(*symbols)
    return factored(expression) if 1 < len(element) <= FACTOR_TERMS else expression


def _symbol(blocks: Sequence[str], kind: str, label: Any) -> sympy.Expr:
    """The symbol that stands for a jet generator in readable results."""
    if kind == "reciprocal":
        return 1 / label
    if kind == "reciprocal slope":
        return 1 / _derivative("t", label)
    if kind == "reciprocal value":
        return 1 / sympy.Symbol(label)
    if kind == "parameter":
        return label
    if kind == "function":
        name, order = label
        return _derivative("t" * order, name)
    if kind == "unknown":
        component, index = label
        return _derivative(_letters(index, (*blocks, "t")), component)
    return sympy.Symbol(str(label))


def _letters(index: Sequence[int], variables: Sequence[str]) -> str:
    return "".join(v * i for v, i in zip(variables, index, strict=True))


def _derivative(variables: str, name: str) -> sympy.Symbol:
    return sympy.Symbol(f"d_{variables} {name}" if variables else name)


def _joined(terms: Sequence[str]) -> str:
    """A sum, a minus sign in the place of a plus.

    >>> _joined(["-a", "b", "- c"])
    '-a + b - c'
    """
    if not terms:
        return "0"
    parts = [f" - {term[1:].lstrip()}" if term.startswith("-") else f" + {term}" for term in terms[1:]]
    return terms[0] + "".join(parts)


def symbol_of(name: str) -> sympy.Symbol:
    """The symbol of a function of t; slope_f is the derivative of f."""
    return _derivative("t", name.removeprefix("slope_")) if name.startswith("slope_") else sympy.Symbol(name)
