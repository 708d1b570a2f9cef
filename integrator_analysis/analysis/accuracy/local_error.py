"""Local error of a step program for an unknown smooth score: order, its terms, their value on a given problem.

Knows what an expansion (analysis.expansion) yields; knows no scheme by name and no torch. The error is numerical minus
exact after one step from t to t - h, in the original space and the original time. A deterministic program is compared
with the probability-flow ODE block by block. A stochastic one is compared with the reverse SDE through a smooth
observable f of the state (weak error). The unknown field is the one that the program evaluates: the score s, or the
network's eps for conjugate integrators.

The terms of a deterministic error are elementary differentials of that field, which hold for blocks of any dimension:
d_xm s_x[u, v] is the derivative of s_x by x and m, applied to u and v. Where blocks are one-dimensional they are
products of numbers, and their sum is one expression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy

from integrator_analysis.algebra.ring import PackedElement
from integrator_analysis.analysis.accuracy.cost import BUDGET, check_budget
from integrator_analysis.analysis.accuracy.differentials import Derivative, Differential, Sum
from integrator_analysis.analysis.accuracy.problems import MixtureProblem, WaveObservable
from integrator_analysis.analysis.accuracy.terms import ErrorTerms
from integrator_analysis.analysis.expansion.jets import Index, JetRing
from integrator_analysis.analysis.expansion.step import OBSERVABLE, expanded_steps, strong_difference, weak_difference
from integrator_analysis.analysis.expansion.trees import ElementaryDifferential, Forest, Tree
from integrator_analysis.inputs import InputError
from integrator_analysis.program.step_program import StepProgram

__all__ = ["LocalError", "derive_local_error", "linear_order"]

MAX_ORDER = 8
"""Highest power of h that is looked at unless more is asked for: an error of a higher power is below rounding."""


@dataclass(frozen=True)
class LocalError(ErrorTerms):
    """The leading local error, and from it the next terms.

    It is the error of one step from an exact past. The past of a stochastic multistep method is random: there it is the
    error after ``steps`` steps, as many as fill the past, the first of them without one. ``startup`` says that all of
    it comes from those first steps. The step after them then adds nothing at this power of h, so that the global error
    is one power smaller.
    """

    startup: bool = False
    _found: dict[int, ErrorTerms] = field(default_factory=dict, compare=False, repr=False)

    @property
    def steps(self) -> int:
        """The number of steps after which the error is taken."""
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
        """Return the first ``count`` powers of h with an error, in each block; the first is the leading one.

        Every further power costs several times the one before, so that terms are kept once known. Raises InputError for
        a count below one, and before an expansion that is expected to take more than ``budget`` seconds.
        """
        if count < 1:
            raise InputError(f"{count} terms of a local error; accepted: one or more")
        # One expansion yields all terms up to the last one; what is known already is left as it is.
        if count - 1 not in self._found and count > 1:
            start = max(self.exponents.values()) + count - 1
            scalars, found = _find_first_terms(self.program, start, start + MAX_ORDER, count, budget)
            for n in range(1, count):
                exponents = {block: terms[n][0] for block, terms in found.items()}
                sums = {block: terms[n][1] for block, terms in found.items()}
                self._found.setdefault(n, ErrorTerms(self.program, scalars, exponents, sums))
        return (self, *(self._found[n] for n in range(1, count)))


def derive_local_error(program: StepProgram, max_order: int = MAX_ORDER, budget: float = BUDGET) -> LocalError:
    """Derive the leading local error of ``program``, by expansions to growing order until every block shows a term.

    Raises ArithmeticError if a block agrees with the exact flow through h**max_order, InputError before an expansion
    that is expected to take more than ``budget`` seconds.

    Strang's splitting has order two, Euler-Maruyama weak order one:

    >>> import integrator_analysis as ia
    >>> [derive_local_error(ia.derive(spec).program).order for spec in ("psld/SPS-2S", "vp/EM")]
    [2, 1]

    Dormand and Prince's tableau has order five, on the process flow, whose network returns z' itself:

    >>> from fractions import Fraction as F
    >>> a = ((), (F(1, 5),), (F(3, 40), F(9, 40)), (F(44, 45), F(-56, 15), F(32, 9)),
    ...     (F(19372, 6561), F(-25360, 2187), F(64448, 6561), F(-212, 729)),
    ...     (F(9017, 3168), F(-355, 33), F(46732, 5247), F(49, 176), F(-5103, 18656)))
    >>> b = (F(35, 384), F(0), F(500, 1113), F(125, 192), F(-2187, 6784), F(11, 84))
    >>> method = ia.Conjugate(base=ia.RungeKutta(a, b), parametrisation="velocity")
    >>> derive_local_error(method.lower(ia.process("flow"))).order
    5
    """
    scalars, found = _find_first_terms(program, 1 if not program.stochastic else 2, max_order, budget=budget)
    exponents = {block: terms[0][0] for block, terms in found.items()}
    error = LocalError(program, scalars, exponents, {block: terms[0][1] for block, terms in found.items()})
    # Only several steps from an empty past can show an error that no later step has.
    if error.steps > 1 and _comes_from_startup_alone(error):
        return LocalError(program, scalars, exponents, error.sums, startup=True)
    return error


def linear_order(program: StepProgram, max_order: int = MAX_ORDER, budget: float = BUDGET) -> int:
    """Derive the order for a field that is linear in the state, K(t) z + k(t); weak order if stochastic.

    It is at least the order for a general field, and more where every leading term holds a second derivative by the
    state.

    >>> import integrator_analysis as ia
    >>> i = ia.derive("flow/conjugate(base=AB3, predict=velocity)")
    >>> i.order, i.linear_order
    (3, 3)
    """
    # Weak errors begin with h**2 at least: to h the mean is that of the SDE for any consistent step.
    for order in range(1 if not program.stochastic else 2, max_order + 1):
        check_budget(program, order, budget)
        scalars, powers = _error_by_power(program, order, linear=True)
        shown = {block: {n: found for n, found in enumerate(p) if found} for block, p in powers.items()}
        if lowest := min((n for found in shown.values() for n in found), default=0):
            leading = {block: found[lowest] for block, found in shown.items() if lowest in found}
            terms = ErrorTerms(program, scalars, dict.fromkeys(leading, lowest), leading)
            startup = expanded_steps(program) > 1 and _comes_from_startup_alone(terms, linear=True)
            return lowest - 1 + startup
    raise ArithmeticError(f"no error term for a linear field through h**{max_order}")


def _error_by_power(
    program: StepProgram, order: int, linear: bool = False, steps: int | None = None
) -> tuple[JetRing, dict[str, list[Sum]]]:
    """Return the ring of coefficients and, per block, the error's sums of differentials at 1, h, ..., h**order."""
    if not program.stochastic:
        algebra, difference = strong_difference(program, order, linear)
        scalars = algebra.scalars

        def give_names(tree: Tree) -> ElementaryDifferential:
            return ElementaryDifferential(tree, program.blocks, algebra.unknown)

        def at_power(forest: Forest, n: int) -> Sum:
            return _reduce_sum(scalars, {give_names(tree): c for tree, c in forest.coefficient(n).items()})

        return scalars, {b: [at_power(forest, n) for n in range(order + 1)] for b, forest in difference.items()}
    scalars, series = weak_difference(program, order, linear, steps)
    # Noise is of the size sqrt(h), so that the series has half powers; they must cancel in the mean.
    sums = [_reduce_sum(scalars, _collect_by_derivative(scalars, element)) for element in series.coefficients]
    for n, found in enumerate(sums):
        if found and n % scalars.grade:
            raise ArithmeticError(f"an error term of half-integer order {n}/{scalars.grade} in h")
    return scalars, {OBSERVABLE: sums[:: scalars.grade]}


def _reduce_sum(scalars: JetRing, found: Sum) -> Sum:
    """Return the sum with coefficients in normal form, without those that are zero."""
    reduced = ((d, scalars.reduce(element)) for d, element in found.items())
    return {d: element for d, element in reduced if element}


def _collect_by_derivative(jets: JetRing, element: PackedElement) -> dict[Differential, PackedElement]:
    """Split an element in which every term has one derivative of f as a factor: the coefficient of each derivative."""
    positions = [(n, label) for n, (kind, label) in enumerate(jets.keys) if kind == "observable"]
    parts: dict[Index, dict[tuple[int, ...], Any]] = {}
    for exponents, coefficient in element.terms():
        # Every term has exactly one jet of f, because f enters an expectation linearly.
        n, index = next((n, index) for n, index in positions if exponents[n])
        parts.setdefault(index, {})[(*exponents[:n], 0, *exponents[n + 1 :])] = coefficient
    return {Derivative(index, jets.blocks): jets.ring.from_dict(part) for index, part in parts.items()}


def _find_first_terms(
    program: StepProgram, start: int, limit: int, count: int = 1, budget: float = BUDGET
) -> tuple[JetRing, dict[str, list[tuple[int, Sum]]]]:
    """Return the first ``count`` powers with an error of every block, by expansions to growing order from h**start."""
    # An expansion to one order more costs several times the one before, so that beginning anew costs little.
    for order in range(start, limit + 1):
        check_budget(program, order, budget)
        scalars, powers = _error_by_power(program, order)
        found = {b: [(n, terms) for n, terms in enumerate(p) if terms][:count] for b, p in powers.items()}
        if all(len(terms) == count for terms in found.values()):
            return scalars, found
    silent = [block for block, terms in found.items() if len(terms) < count]
    raise ArithmeticError(f"block(s) {', '.join(silent)}: {len(found[silent[0]])} error term(s) through h**{limit}")


def _comes_from_startup_alone(error: ErrorTerms, linear: bool = False) -> bool:
    """Return whether one step more leaves the leading error what it is.

    Both errors are evaluated at two points of a problem without symmetries. As polynomials they cannot be compared:
    they differ by identities between the process's functions, which the ring does not know.
    """
    program, order = error.program, error.exponents[OBSERVABLE]
    scalars, powers = _error_by_power(program, order, linear, expanded_steps(program) + 1)
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
