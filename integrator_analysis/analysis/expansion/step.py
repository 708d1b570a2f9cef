"""A step program expanded in powers of h: the numerical less the exact solution, for an unknown smooth field.

Knows programs, the two algebras that they are expanded in, and the exact dynamics; knows nothing of what is read off. A
deterministic program is expanded in elementary differentials (trees.py), which hold for blocks of any dimension. A
stochastic one is expanded in scalar jets (jets.py), through a smooth observable f of the state. Steps are uniform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, TypeVar

import sympy
from sympy.core.function import AppliedUndef

from integrator_analysis.algebra.ring import PackedElement
from integrator_analysis.algebra.series import Series
from integrator_analysis.algebra.symbols import PAST, h, s, t
from integrator_analysis.analysis.expansion.calculus import differentiate, expectation, observable_at
from integrator_analysis.analysis.expansion.jets import JetRing, Times
from integrator_analysis.analysis.expansion.trees import Forest, TreeAlgebra
from integrator_analysis.analysis.expansion.two_times import (
    FlowSeries,
    advance_between,
    find_node,
    integral,
    lagrange_rows,
    position_between,
)
from integrator_analysis.processes.equation import elapsed, rate
from integrator_analysis.program.statements import (
    Block,
    Combine,
    Evaluate,
    Noise,
    Output,
    advance,
)
from integrator_analysis.program.step_program import StepProgram

__all__ = ["OBSERVABLE", "components", "expanded_steps", "ring_of", "strong_difference", "weak_difference"]

OBSERVABLE = "f"
"""The name of the observable of a weak error, in the place of a block's."""


class Vector(Protocol):
    """A series whose coefficients are values of a block."""

    def __add__(self: V, other: V) -> V: ...
    def __sub__(self: V, other: V) -> V: ...
    def __mul__(self: V, factor: Series) -> V: ...


V = TypeVar("V", bound=Vector)


class Algebra(Protocol[V]):
    """What a step is expanded in: a JetRing or a TreeAlgebra."""

    @property
    def scalars(self) -> JetRing: ...
    @property
    def zero(self) -> V: ...
    def initial_state(self) -> dict[str, V]: ...
    def unknown_at(self, state: Mapping[str, V], offset: Series, through: int | None = None) -> dict[str, V]: ...
    def along(self, value: V, offset: Series) -> V: ...


def expanded_steps(program: StepProgram) -> int:
    """Return after how many steps an error is taken: one, but as many as fill a stochastic multistep method's past."""
    return 1 + program.history if program.stochastic else 1


def components(program: StepProgram) -> tuple[str, ...]:
    """Return the names of the components of the unknown field."""
    prefix = "s" if program.unknown == "score" else program.unknown
    return tuple(f"{prefix}_{b}" for b in program.blocks)


def strong_difference(
    program: StepProgram, order: int, linear: bool = False
) -> tuple[TreeAlgebra, Mapping[str, Forest]]:
    """Return the numerical less the exact solution after one step of a deterministic program, through h**order.

    The result is the algebra that it is expanded in, and the difference by block. ``linear``: the unknown field is
    linear in the state, otherwise it is any smooth one.
    """
    algebra = TreeAlgebra(ring_of(program, order), components(program), linear)
    exact = _solve_exactly(program, algebra)
    first = _Steps(program, algebra).take(exact)
    difference = {b: first[b] - exact[b] for b in program.blocks}
    if not program.primed:
        return algebra, difference
    # A step that begins with an evaluation of the step before has the error that a second step adds to that of the
    # first. The first one's error, carried on by the exact flow, changes by one power of h more than it has.
    twice = -algebra.scalars.h.scale(algebra.scalars.ring(2))
    second = _Steps(program, algebra).take(exact, steps=2)
    return algebra, {b: second[b] - algebra.along(exact[b], twice) - difference[b] for b in program.blocks}


def weak_difference(
    program: StepProgram, order: int, linear: bool = False, steps: int | None = None
) -> tuple[JetRing, Series]:
    """Return the ring and E f(numerical) - E f(exact) after ``steps`` steps, a series in g with h = g**2.

    The exact mean is exp(steps h (generator - d/dt)) f at (z, t): d/dt because the coefficients depend on time, with a
    minus sign because steps go backwards.
    """
    steps = steps or expanded_steps(program)
    jets = ring_of(program, order, steps, linear)
    run = _Steps(program, jets)
    run.noises = {name: jets.series(jets["noise", name]).shift(1) for name in jets.noises}
    state = run.take({}, steps)
    numerical = expectation(jets, observable_at(jets, state), run.variances)
    # The reverse SDE in the time T = -t: drift -(L z + eta n), covariance kappa^2 G G^T per unit of time.
    drift = [-d.coefficients[0] for d in _right_hand_side(program, jets, jets.initial_state(), jets.constant(0))]
    diffusion = program.process.diffusion * program.parametrisation.noise**2
    halves = {
        (i, j): jets.expand(diffusion[i, j]).coefficients[0] / 2
        for i in range(len(drift))
        for j in range(len(drift))
        if diffusion[i, j] != 0
    }

    def generator(element: PackedElement) -> PackedElement:
        firsts = [differentiate(jets, element, b) for b in program.blocks]
        out = -differentiate(jets, element, None)
        for d, first in zip(drift, firsts, strict=True):
            out += d * first
        for (i, j), half in halves.items():
            out += half * differentiate(jets, firsts[i], program.blocks[j])
        return out

    # The exponential series: term number k is the generator, applied k times to f, times (steps h)**k / k!.
    term = jets["observable", (0,) * len(program.blocks)]
    coefficients = [term]
    for k in range(1, jets.order + 1):
        term = generator(term) * steps / k
        coefficients += [jets.ring(0)] * (jets.grade - 1) + [term]
    return jets, numerical - jets.series(*coefficients)


def ring_of(program: StepProgram, order: int, steps: int = 1, linear: bool = False) -> JetRing:
    """Return the ring of a program's coefficients, with jets of the field and of f if it is stochastic.

    It has a generator for every function of time that an expansion may meet, and a rule for those of two times.
    """
    # Which functions of t there are: all calls in coefficients and dynamics but those that have a rule of their own.
    flow_entries = {e.func for flow in program.flows for m in (flow.entries, *flow.moments) for e in m}
    flow_entries |= {e.func for flow in program.flows for e in flow.spread or ()} | {elapsed}
    expressions = [term.coefficient for term in program.terms]
    expressions += [*program.parametrisation.drift, *program.parametrisation.eta]
    expressions += [*program.process.diffusion] if program.stochastic else []
    expressions += [] if program.variable is None else [program.variable]
    expressions += [e for flow in program.flows for m in (flow.generator, flow.diffusion or ()) for e in m]
    # What is divided by needs a generator for its reciprocal: functions of t under a fraction bar, and slopes of them.
    divisors = {p.base.func for e in expressions for p in e.atoms(sympy.Pow) if p.exp == -1 and p.base.is_Function}
    calls = {c.func for e in expressions for c in e.atoms(AppliedUndef)} - flow_entries
    sloped = {str(c).removeprefix("slope_") for c in calls if str(c).startswith("slope_")}
    slopes = tuple(sorted(sloped | ({str(program.variable.func)} if program.variable is not None else set())))
    calls |= {sympy.Function(name) for name in slopes}
    calls -= {sympy.Function(f"slope_{name}") for name in slopes} | {advance}
    resolved = {str(c): program.definitions.resolve(c(t)) for c in sorted(calls, key=str)}
    # A spread divides by the variance of the second block, which begins with its diffusion: a multiple of the rate.
    spread = [rate] if any(flow.spread for flow in program.flows) else []
    # A parameter that is 0 in this program takes its terms with it, and functions that are then 0.
    off = {p: sympy.S.Zero for p, value in program.parameters.items() if value == 0}
    jets = JetRing(
        blocks=program.blocks,
        order=order,
        time=t,
        end=s,
        parameters=tuple(sorted(program.parameters, key=str)),
        step=h,
        functions={name: not body.has(t) for name, body in resolved.items()},
        unknown=components(program) if program.stochastic else (),
        linear=linear,
        observable=OBSERVABLE if program.stochastic else "",
        noises=tuple(noise_name(name, n) for n in range(steps) for name in program.noises),
        zeros=frozenset(map(str, off)) | {name for name, body in resolved.items() if body.xreplace(off) == 0},
        slopes=slopes,
        divisors=tuple(sorted(str(f) for f in {*divisors, *spread} if str(f) in resolved)),
        clocks=frozenset({*PAST, *(node.symbol for node in program.nodes)}),
    )
    jets.rules[str(advance)] = partial(advance_between, jets, program.variable)
    if str(rate) in resolved:
        jets.rules[str(elapsed)] = partial(integral, jets, str(rate))
    for flow in program.flows:
        jets.rules |= FlowSeries(jets, flow).rules()
    return jets


@dataclass
class _Steps(Generic[V]):
    """A program's steps carried out on series: the state, the evaluations, and each noise's variance over h.

    ``outputs`` maps (name of an evaluation, block) to its series.
    """

    program: StepProgram
    algebra: Algebra[V]
    noises: Mapping[str, V] = field(default_factory=dict)
    outputs: dict[tuple[str, str], V] = field(default_factory=dict)
    variances: dict[str, Series] = field(default_factory=dict)

    def take(self, exact: Mapping[str, V], steps: int = 1) -> dict[str, V]:
        """Return the state after the steps of a local error; ``exact`` is the exact state as a function of t - h.

        A single step has its past on the exact solution. The statements before ``cycle`` correct the end of the step
        before, so that they are carried out last, as part of the step after: what is compared with the exact solution
        is the corrected state.
        """
        program = self.program
        self.state = self.algebra.initial_state()
        # A step alone has its whole past; several steps begin with none and make their own.
        times = self._times(past=0 if steps > 1 else None)
        self._begin(exact, steps, times)
        for n in range(steps):
            if n:
                times = self._times(n, min(n, program.history))
                self._grow_older()
            self._take(program.statements[program.cycle :], times, n)
        if program.cycle:
            self._grow_older()
            self._take(program.statements[: program.cycle], self._times(1), 0)
        return {b: self.state[b] for b in program.blocks}

    def _begin(self, exact: Mapping[str, V], steps: int, times: Times) -> None:
        """Fill in what was evaluated before the first step: nothing, or evaluations along the exact solution."""
        program, scalars = self.program, self.algebra.scalars
        if program.primed:
            self._evaluate("past_1", self.state, scalars.constant(0))
        elif steps > 1:
            self.outputs |= {(name, b): self.algebra.zero for name in program.past for b in program.blocks}
        elif program.history:
            seen = self.algebra.unknown_at(exact, -scalars.h, scalars.order - 1)  # along the exact solution, at t - h
            for name, past in zip(program.past, PAST, strict=False):
                values = (self.algebra.along(value, times[past]) for value in seen.values())
                self.outputs |= {(name, b): value for b, value in zip(program.blocks, values, strict=True)}
            if program.cycle:
                self._evaluate("eps_0", self.state, times[t])

    def _times(self, moved: int = 0, past: int | None = None) -> dict[sympy.Symbol, Series]:
        """Return what the symbols of a step stand for, when it is the step ``moved`` steps after the one from t.

        ``past`` is the number of earlier steps there are; None stands for as many as are read.
        """
        program, jets = self.program, self.algebra.scalars
        past = program.history if past is None else past
        h_ = jets.h
        at = {t: -h_.scale(jets.ring(moved)), s: -h_.scale(jets.ring(moved + 1))}
        at |= {p: h_.scale(jets.ring(j + 1 - moved)) for j, p in enumerate(PAST)}
        for node in program.nodes:
            at[node.symbol] = find_node(jets, program.variable, node.share, at[t], at[s])
        for interpolation in program.interpolations:
            start, end = (jets.offset(time, at) for time in (interpolation.start, interpolation.end))
            nodes = interpolation.available(past)
            positions = [position_between(jets, program.variable, jets.offset(n, at), start, end) for n in nodes]
            at[interpolation.line] = jets.constant(int(len(nodes) == 2))
            # Nodes that are not there yet have the weight 0 in the polynomial.
            rows = dict(zip(nodes, lagrange_rows(jets, positions), strict=True))
            for node, row in zip(interpolation.nodes, interpolation.symbols, strict=True):
                found = rows.get(node, [])
                at |= dict(zip(row, [*found, *[jets.constant(0)] * (len(row) - len(found))], strict=True))
        return at

    def _grow_older(self) -> None:
        """Make what was evaluated in this step the newest past of the next."""
        names = [self.program.kept, *self.program.past]
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            self.outputs |= {(older, b): self.outputs[newer, b] for b in self.program.blocks}

    def _take(self, statements: Sequence[Evaluate | Combine], times: Times, number: int) -> None:
        """Carry out statements; step ``number`` has noises of its own."""
        jets = self.algebra.scalars
        for st in statements:
            if isinstance(st, Evaluate):
                names = st.state or self.program.blocks
                at = {b: self.state[name] for b, name in zip(self.program.blocks, names, strict=True)}
                self._evaluate(st.name, at, jets.offset(st.time, times))
                continue
            before = dict(self.state)  # the updates of one statement are simultaneous
            for block, terms in st.updates:
                total = self.algebra.zero
                for term in terms:
                    match term.operand:
                        case Noise(name):
                            total = total + self._noise(noise_name(name, number), term.coefficient, times)
                        case Output(evaluation, component):
                            # Evaluations are known to one power of h less than the state: the weight makes up for it.
                            weight = jets.expand(term.coefficient, times)
                            if jets.reduce(weight.coefficients[0]):
                                raise ArithmeticError(f"an evaluation enters {block} with a weight that is not O(h)")
                            total = total + self.outputs[evaluation, component] * weight
                        case Block(name):
                            total = total + before[name] * jets.expand(term.coefficient, times)
                self.state[block] = total

    def _noise(self, own: str, coefficient: sympy.Expr, times: Times) -> V:
        """Return what a noise adds to a block; its variance, all that an expectation needs, is written down once.

        A coefficient is a square root of size sqrt(h) times a rest. The root is not expanded: the noise stands for it,
        with the variance root**2 / h, and the g that the noise carries.
        """
        jets = self.algebra.scalars
        root, factor = _root_and_rest(coefficient)
        # powsimp puts the squares of roots together again, so that what is expanded has no root.
        variance = jets.expand(sympy.powsimp(root**2), times).divide(jets.grade).truncate(jets.truncation)
        if self.variances.setdefault(own, variance) != variance:
            raise NotImplementedError(f"noise {own} enters the step with two unlike factors")
        return self.noises[own] * jets.expand(factor, times)

    def _evaluate(self, name: str, state: Mapping[str, V], offset: Series) -> None:
        """Evaluate the field through one power of h less than is kept: the weight of an evaluation is O(h)."""
        values = self.algebra.unknown_at(state, offset, self.algebra.scalars.order - 1)
        self.outputs |= {(name, b): v for b, v in zip(self.program.blocks, values.values(), strict=True)}


def noise_name(name: str, number: int) -> str:
    """Return the name of a noise in step ``number``: those of different steps are independent."""
    return name if number == 0 else f"{name} of step {number + 1}"


def _root_and_rest(coefficient: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    """Return a noise's coefficient as its square roots, of the size of sqrt(h), and what multiplies them."""
    # Weights of a noise are of the form sqrt(v(t, s)) * rest, where v is the variance over the step.
    factors = sympy.Mul.make_args(coefficient)
    roots = [f for f in factors if f.is_Pow and f.exp == sympy.Rational(1, 2)]
    return sympy.Mul(*roots), sympy.Mul(*(f for f in factors if f not in roots))


def _right_hand_side(
    program: StepProgram, algebra: Algebra[V], state: Mapping[str, V], offset: Series, through: int | None = None
) -> list[V]:
    """Return the right-hand side of the exact dynamics in forward time, L z + eta n, at (state, t + offset)."""
    values = list(algebra.unknown_at(state, offset, through).values())
    linear, factor = program.parametrisation.drift, program.parametrisation.eta
    jets = algebra.scalars
    at = {jets.time: offset}
    out = []
    for i in range(len(program.blocks)):
        total = algebra.zero
        for j, block in enumerate(program.blocks):
            total = total + state[block] * jets.expand(linear[i, j], at)
            total = total + values[j] * jets.expand(factor[i, j], at)
        out.append(total)
    return out


def _solve_exactly(program: StepProgram, algebra: TreeAlgebra) -> dict[str, Forest]:
    """Return the solution of the probability-flow ODE at t - h, by Picard iteration: one power of h in each round."""
    start = algebra.initial_state()
    state = start
    # A round with the state right through h**power gives it right through h**(power + 1), so nothing more is computed.
    for power in range(algebra.order):
        drift = _right_hand_side(program, algebra, state, -algebra.scalars.h, power)
        state = {b: start[b] - algebra.integrate(drift[i], power + 1) for i, b in enumerate(program.blocks)}
    return state
