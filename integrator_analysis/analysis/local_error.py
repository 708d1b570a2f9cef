"""Local error of a step program for an unknown smooth score: order, leading terms, their value on a given problem.

Knows programs and jets; knows no scheme by name and no torch. The error is numerical minus exact after one step from
t to t - h, in the original space and the original time. Deterministic programs are compared with the probability-flow
ODE block by block; stochastic ones with the reverse SDE through a smooth observable f of the state (weak error).
The unknown field is the one the program evaluates: the score s, or the network's eps for conjugate integrators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

import mpmath
import sympy
from sympy.core.function import AppliedUndef
from sympy.polys.rings import PolyElement

from integrator_analysis.algebra.jets import JetRing
from integrator_analysis.algebra.series import Series
from integrator_analysis.analysis.problems import MixtureProblem, WaveObservable
from integrator_analysis.numeric import function
from integrator_analysis.processes.base import rate
from integrator_analysis.processes.kernel import elapsed
from integrator_analysis.program import Block, Combine, Evaluate, Noise, Output, StepProgram, advance
from integrator_analysis.symbols import PAST, InputError, h, s, t

__all__ = ["LocalError", "derive_local_error", "local_difference"]

MAX_ORDER = 5
"""Highest power of h that is looked at. Scalar jets decide order conditions no further."""

FACTOR_TERMS = 60
"""Leading terms with more monomials are collected, not factored: factoring long sums takes minutes."""

OBSERVABLE = "f"

Field = Callable[[Sequence[mpmath.mpf], mpmath.mpf], Sequence[mpmath.mpf]]


@dataclass(frozen=True)
class LocalError:
    """The leading local error. ``polynomials`` maps a block, or "f" for a weak error, to its leading coefficient.

    It is the error after ``steps`` steps: one, from an exact past; but for a stochastic multistep method, whose past is
    random, as many as it takes to fill the past, beginning with none. ``startup`` says that all of it comes from those
    first steps: the step after them adds nothing at this power of h, so that the global error is one power smaller.
    """

    program: StepProgram
    jets: JetRing
    exponents: Mapping[str, int]
    polynomials: Mapping[str, PolyElement]
    startup: bool = False

    @property
    def steps(self) -> int:
        return _steps(self.program)

    @property
    def order(self) -> int:
        """Order for a general smooth score (weak order if stochastic): the least exponent minus one.

        One more where that power comes from the start-up alone: it enters the global error once, not in every step.
        """
        return min(self.exponents.values()) - 1 + self.startup

    @cached_property
    def leading(self) -> Mapping[str, sympy.Expr]:
        """The coefficient of h**exponents[block], in the parameters, beta(t), the state and the field's derivatives."""
        symbols = self.jets.symbols(partial(_symbol, self.program.blocks))
        out = {}
        for block, polynomial in self.polynomials.items():
            expression = polynomial.as_expr(*symbols)
            if self.program.stochastic:
                out[block] = _collect_observable(expression)
            else:
                out[block] = sympy.factor(expression) if len(polynomial.terms()) <= FACTOR_TERMS else expression
        return out

    @cached_property
    def function_of_time(self) -> Callable[[str], Callable[..., Any]]:
        """Functions of t by name, in mpmath, each made once."""
        program = self.program

        @cache
        def named(name: str) -> Callable[..., Any]:
            return function([sympy.Function(name)(t)], (t,), program.definitions, program.parameters, "mpmath")

        return named

    def text(self) -> Mapping[str, str]:
        """``leading`` as plain text: d_xm s_x is the derivative by x and m of the x component of the score."""
        return {block: str(expression) for block, expression in self.leading.items()}

    def latex(self) -> Mapping[str, str]:
        """``leading`` as LaTeX."""
        out = {}
        for block, expression in self.leading.items():
            names = {symbol: _latex_name(symbol.name) for symbol in expression.free_symbols}
            out[block] = sympy.latex(expression, symbol_names=names)
        return out

    def evaluate(
        self,
        z: Sequence[float],
        time: float,
        field: Field,
        observable: Callable[[Sequence[mpmath.mpf]], mpmath.mpf] | None = None,
        digits: int = 40,
    ) -> Mapping[str, float]:
        """The leading coefficients at state z (one number per block) and time, for a given field.

        ``field(z, t)`` gives the components of the program's unknown (score or eps) in mpmath; its derivatives are
        taken numerically at ``digits`` digits. ``observable`` is needed for a weak error. Raises InputError without.
        """
        if self.program.stochastic and observable is None:
            raise InputError("a weak local error needs an observable f(z) to be evaluated on")
        with mpmath.workdps(digits):
            point = _Point(self, [mpmath.mpf(v) for v in z], mpmath.mpf(time), field, observable)
            return {block: float(point.value(p)) for block, p in self.polynomials.items()}


class _Point:
    """Values of the jet generators at one point, computed as they are asked for."""

    def __init__(self, error: LocalError, z: list, time: mpmath.mpf, field: Field, observable: Any) -> None:
        self.jets, self.program = error.jets, error.program
        self.z, self.time, self.field, self.observable = z, time, field, observable
        self.cache: dict[int, mpmath.mpf] = {}
        self.fields: dict[tuple, Sequence[mpmath.mpf]] = {}
        self.functions = error.function_of_time

    def value(self, polynomial: PolyElement) -> mpmath.mpf:
        total = mpmath.mpf(0)
        for exponents, coefficient in polynomial.terms():
            term = mpmath.mpf(int(coefficient.numerator)) / int(coefficient.denominator)
            for n, exponent in enumerate(exponents):
                if exponent:
                    term *= self.generator(n) ** exponent
            total += term
        return total

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
            number = mpmath.mpf(value.p) / value.q if value.is_Rational else sympy.N(value, mpmath.mp.dps + 5)
            number = mpmath.mpmathify(number)
            return number if kind == "parameter" else 1 / number
        if kind == "function":
            name, order = label
            f = self.functions(name)
            return mpmath.diff(lambda time: f(time)[0], self.time, order)
        if kind == "unknown":
            component, index = label
            position = self.jets.unknown.index(component)
            return mpmath.diff(lambda *a: self._field(a)[position], (*self.z, self.time), index)
        if kind == "reciprocal slope":
            return 1 / self._compute("function", (label, 1))
        if kind == "reciprocal value":
            return 1 / self._compute("function", (label, 0))
        if kind == "observable":
            return mpmath.diff(lambda *a: self.observable(a), tuple(self.z), label)
        raise NotImplementedError(f"generator {kind} {label} in a leading term")


def derive_local_error(program: StepProgram, max_order: int = MAX_ORDER) -> LocalError:
    """The leading local error of ``program``: expansions to growing order until every block shows its first term.

    Raises ArithmeticError if a block agrees with the exact flow through h**max_order.
    """
    for order in range(1 if not program.stochastic else 2, max_order + 1):
        jets = _jet_ring(program, order)
        difference = _weak_difference(program, jets) if program.stochastic else _difference(program, jets)
        found = {block: _leading(jets, series) for block, series in difference.items()}
        if all(found.values()):
            error = LocalError(
                program,
                jets,
                {block: term[0] for block, term in found.items() if term},
                {block: term[1] for block, term in found.items() if term},
            )
            return replace(error, startup=True) if error.steps > 1 and _only_startup(error) else error
    silent = [block for block, term in found.items() if not term]
    raise ArithmeticError(f"block(s) {', '.join(silent)}: no error term through h**{max_order}")


def local_difference(program: StepProgram, order: int) -> tuple[JetRing, dict[str, Series]]:
    """Numerical less exact solution after one step of a deterministic program, per block, through h**order."""
    jets = _jet_ring(program, order)
    return jets, _difference(program, jets)


def _only_startup(error: LocalError) -> bool:
    """Whether one step more leaves the leading error what it is: at two points of a problem without symmetries.

    As polynomials the two differ by identities between the process's functions, which the ring does not know.
    """
    program, order = error.program, error.exponents[OBSERVABLE]
    steps = _steps(program) + 1
    jets = _jet_ring(program, order, steps)
    later = _leading(jets, _weak_difference(program, jets, steps)[OBSERVABLE])
    if later is None or later[0] != order:
        return False
    other = replace(error, jets=jets, polynomials={OBSERVABLE: later[1]})
    problem, k = MixtureProblem(program.process), len(program.blocks)
    field, observable = problem.field(program.unknown), WaveObservable((0.9, 0.6, 0.4)[:k], 0.3)
    for share, z in ((0.31, (0.4, -0.3, 0.2)), (0.63, (-0.7, 0.5, 0.1))):
        time = share * program.process.t_max
        values = [e.evaluate(z[:k], time, field, observable)[OBSERVABLE] for e in (error, other)]
        if abs(values[0] - values[1]) > 1e-12 * abs(values[0]):
            return False
    return True


def _jet_ring(program: StepProgram, order: int, steps: int | None = None) -> JetRing:
    prefix = "s" if program.unknown == "score" else program.unknown
    flow_entries = {e.func for flow in program.flows for m in (flow.entries, *flow.moments) for e in m}
    flow_entries |= {e.func for flow in program.flows for e in flow.spread or ()} | {elapsed}
    expressions = [term.coefficient for term in program.terms]
    expressions += [*program.parametrisation.drift, *program.parametrisation.eta, *program.process.diffusion]
    expressions += [] if program.variable is None else [program.variable]
    expressions += [e for flow in program.flows for m in (flow.generator, flow.diffusion or ()) for e in m]
    divisors = {p.base.func for e in expressions for p in e.atoms(sympy.Pow) if p.exp == -1 and p.base.is_Function}
    calls = {c.func for e in expressions for c in e.atoms(AppliedUndef)} - flow_entries
    sloped = {str(c).removeprefix("slope_") for c in calls if str(c).startswith("slope_")}
    slopes = tuple(sorted(sloped | ({str(program.variable.func)} if program.variable is not None else set())))
    calls |= {sympy.Function(name) for name in slopes}
    calls -= {sympy.Function(f"slope_{name}") for name in slopes} | {advance}
    resolved = {str(c): program.definitions.resolve(c(t)) for c in sorted(calls, key=str)}
    spread = [rate] if any(flow.spread for flow in program.flows) else []
    off = {p: sympy.S.Zero for p, value in program.parameters.items() if value == 0}
    return JetRing(
        blocks=program.blocks,
        order=order,
        time=t,
        end=s,
        parameters=tuple(sorted(program.parameters, key=str)),
        step=h,
        functions={name: not body.has(t) for name, body in resolved.items()},
        unknown=tuple(f"{prefix}_{b}" for b in program.blocks),
        observable=OBSERVABLE if program.stochastic else "",
        noises=tuple(noise_name(name, n) for n in range(steps or _steps(program)) for name in program.noises),
        flows=program.flows,
        zeros=frozenset(map(str, off)) | {name for name, body in resolved.items() if body.xreplace(off) == 0},
        slopes=slopes,
        divisors=tuple(sorted(str(f) for f in {*divisors, *spread} if str(f) in resolved)),
        integrals={str(elapsed): str(rate)} if str(rate) in resolved else {},
        clocks=frozenset({*PAST, *(node.symbol for node in program.nodes)}),
    )


def _leading(jets: JetRing, series: Series) -> tuple[int, PolyElement] | None:
    for degree, element in enumerate(series.coefficients):
        if reduced := jets.reduce(element):
            if degree % jets.grade:
                raise ArithmeticError(f"an error term of half-integer order {degree}/{jets.grade} in h")
            return degree // jets.grade, reduced
    return None


def _steps(program: StepProgram) -> int:
    return 1 + program.history if program.stochastic else 1


def _difference(program: StepProgram, jets: JetRing) -> dict[str, Series]:
    exact = _flow(program, jets)
    numerical, _ = _run(program, jets)
    first = {b: numerical[b] - exact[b] for b in program.blocks}
    if not program.primed:
        return first
    # A step that begins with an evaluation of the step before: what a second step adds to the error of the first. The
    # first one's error, carried on by the exact flow, changes by one power of h more than it has.
    twice = jets.constant(2)
    numerical, _ = _run(program, jets, steps=2)
    second = {b: numerical[b] - jets.along(exact[b], -jets.h * twice) for b in program.blocks}
    return {b: second[b] - first[b] for b in program.blocks}


def _times(program: StepProgram, jets: JetRing, moved: int = 0, past: int | None = None) -> dict[sympy.Symbol, Series]:
    """What the symbols of a step stand for, when it is the step ``moved`` steps after the one from t; uniform steps.

    ``past``: how many earlier steps there are, all that are read if None.
    """
    past = program.history if past is None else past
    h_ = jets.h
    at = {t: -h_.scale(jets.ring(moved)), s: -h_.scale(jets.ring(moved + 1))}
    at |= {p: h_.scale(jets.ring(j + 1 - moved)) for j, p in enumerate(PAST)}
    for node in program.nodes:
        at[node.symbol] = jets.node(program.variable, node.share, at[t], at[s])
    for interpolation in program.interpolations:
        start, end = (jets.offset(time, at) for time in (interpolation.start, interpolation.end))
        nodes = interpolation.available(past)
        positions = [jets.position_of(program.variable, jets.offset(n, at), start, end) for n in nodes]
        at[interpolation.line] = jets.constant(int(len(nodes) == 2))
        rows = dict(zip(nodes, jets.shares(positions), strict=True))
        for node, row in zip(interpolation.nodes, interpolation.symbols, strict=True):
            found = rows.get(node, [])
            at |= dict(zip(row, [*found, *[jets.constant(0)] * (len(row) - len(found))], strict=True))
    return at


def _run(program: StepProgram, jets: JetRing, steps: int = 1) -> tuple[dict[str, Series], dict[str, Series]]:
    """The state after the steps of a local error, and the variance of each noise divided by h.

    The statements before ``cycle`` mend the step before, so they are taken last, at the step after: what is compared
    with the exact solution is the mended state.
    """
    state = jets.initial_state()
    variances: dict[str, Series] = {}
    outputs: dict[tuple[str, str], Series] = {}
    times = _times(program, jets, past=0 if steps > 1 else None)
    if program.primed:
        outputs = _outputs(program, jets, "past_1", state, jets.constant(0))
    elif steps == 1:
        exact = _flow(program, jets) if program.history else {}
        for j, name in enumerate(program.past):
            offset = times[PAST[j]]
            outputs |= _outputs(program, jets, name, {b: jets.along(exact[b], offset) for b in program.blocks}, offset)
        if program.cycle:
            outputs |= _outputs(program, jets, "eps_0", state, times[t])
    else:
        zero = jets.constant(0)
        outputs = {(name, b): zero for name in program.past for b in program.blocks}
    for n in range(steps):
        if n:
            times = _times(program, jets, n, min(n, program.history))
            _grow_older(program, outputs)
        _take(program, jets, program.statements[program.cycle :], state, outputs, times, variances, n)
    if program.cycle:
        _grow_older(program, outputs)
        _take(
            program, jets, program.statements[: program.cycle], state, outputs, _times(program, jets, 1), variances, 0
        )
    return {b: state[b] for b in program.blocks}, variances


def _grow_older(program: StepProgram, outputs: dict[tuple[str, str], Series]) -> None:
    """What was evaluated in this step becomes the newest past of the next."""
    names = [program.kept, *program.past]
    for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
        outputs |= {(older, b): outputs[newer, b] for b in program.blocks}


def _take(
    program: StepProgram,
    jets: JetRing,
    statements: Sequence[Evaluate | Combine],
    state: dict[str, Series],
    outputs: dict[tuple[str, str], Series],
    times: Mapping[sympy.Symbol, Series],
    variances: dict[str, Series],
    number: int,
) -> None:
    """Carry out statements on ``state``, ``outputs`` and ``variances``; step ``number`` has noises of its own."""
    for st in statements:
        if isinstance(st, Evaluate):
            at = dict(zip(program.blocks, (state[b] for b in st.state or program.blocks), strict=True))
            outputs |= _outputs(program, jets, st.name, at, jets.offset(st.time, times))
            continue
        before = dict(state)
        for block, terms in st.updates:
            total = jets.constant(0)
            for term in terms:
                match term.operand:
                    case Noise(name):
                        own = noise_name(name, number)
                        root, factor = _root_and_rest(term.coefficient)
                        variance = jets.expand(sympy.powsimp(root**2), times)
                        variance = variance.divide(jets.grade).truncate(jets.truncation)
                        if variances.setdefault(own, variance) != variance:
                            raise NotImplementedError(f"noise {name} enters the step with two unlike factors")
                        total = total + jets.expand(factor, times) * jets.series(jets["noise", own]).shift(1)
                    case Output(evaluation, component):
                        total = total + jets.expand(term.coefficient, times) * outputs[evaluation, component]
                    case Block(name):
                        total = total + jets.expand(term.coefficient, times) * before[name]
            state[block] = total


def noise_name(name: str, number: int) -> str:
    """The noise of a later step has another name."""
    return name if number == 0 else f"{name} of step {number + 1}"


def _outputs(
    program: StepProgram, jets: JetRing, name: str, state: Mapping[str, Series], offset: Series
) -> dict[tuple[str, str], Series]:
    values = jets.unknown_at(state, offset)
    return {(name, b): values[c] for b, c in zip(program.blocks, jets.unknown, strict=True)}


def _root_and_rest(coefficient: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    """A noise's coefficient as its square roots, of the size of sqrt(h), and what multiplies them."""
    factors = sympy.Mul.make_args(coefficient)
    roots = [f for f in factors if f.is_Pow and f.exp == sympy.Rational(1, 2)]
    return sympy.Mul(*roots), sympy.Mul(*(f for f in factors if f not in roots))


def _drift(program: StepProgram, jets: JetRing, state: Mapping[str, Series], offset: Series) -> list[Series]:
    """The right-hand side of the exact dynamics in forward time: z' = L z + eta n."""
    values = jets.unknown_at(state, offset)
    linear, factor = program.parametrisation.drift, program.parametrisation.eta
    at = jets.moved(offset)
    out = []
    for i in range(len(program.blocks)):
        total = jets.constant(0)
        for j, block in enumerate(program.blocks):
            total = total + jets.expand(linear[i, j], at) * state[block]
            total = total + jets.expand(factor[i, j], at) * values[jets.unknown[j]]
        out.append(total)
    return out


def _flow(program: StepProgram, jets: JetRing) -> dict[str, Series]:
    """The exact solution of the probability-flow ODE at t - h, by Picard iteration."""
    start = jets.initial_state()
    state = start
    for _ in range(jets.order):
        drift = _drift(program, jets, state, -jets.h)
        state = {b: start[b] - jets.integrate(drift[i]) for i, b in enumerate(program.blocks)}
    return state


def _weak_difference(program: StepProgram, jets: JetRing, steps: int | None = None) -> dict[str, Series]:
    """E f(numerical) - E f(exact), the latter as exp(steps h (generator - d/dt)) f."""
    steps = steps or _steps(program)
    state, variances = _run(program, jets, steps)
    numerical = jets.expectation(jets.observable_at(state), variances)
    drift = [-d.coefficients[0] for d in _drift(program, jets, jets.initial_state(), jets.constant(0))]
    diffusion = program.process.diffusion * program.parametrisation.noise**2
    halves = {
        (i, j): jets.expand(diffusion[i, j]).coefficients[0] / 2
        for i in range(len(drift))
        for j in range(len(drift))
        if diffusion[i, j] != 0
    }

    def generator(element: PolyElement) -> PolyElement:
        firsts = [jets.derivative(element, b) for b in program.blocks]
        out = -jets.derivative(element, None)
        for d, first in zip(drift, firsts, strict=True):
            out += d * first
        for (i, j), half in halves.items():
            out += half * jets.derivative(firsts[i], program.blocks[j])
        return out

    term = jets["observable", (0,) * len(program.blocks)]
    coefficients = [term]
    for k in range(1, jets.order + 1):
        term = generator(term) * steps / k
        coefficients += [jets.ring(0)] * (jets.grade - 1) + [term]
    return {OBSERVABLE: numerical - jets.series(*coefficients)}


def _symbol(blocks: Sequence[str], kind: str, label: Any) -> sympy.Expr:
    """The symbol that stands for a jet generator in readable results."""
    letters = (*blocks, "t")
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
        return _derivative("".join(v * i for v, i in zip(letters, index, strict=True)), component)
    if kind == "observable":
        return _derivative("".join(v * i for v, i in zip(blocks, label, strict=True)), OBSERVABLE)
    return sympy.Symbol(str(label))


def _derivative(variables: str, name: str) -> sympy.Symbol:
    return sympy.Symbol(f"d_{variables} {name}" if variables else name)


def _latex_name(name: str) -> str:
    derivative, _, base = name.rpartition(" ")
    root, _, index = base.partition("_")
    greek = {"beta": r"\beta", "eta": r"\eta", "eps": r"\epsilon"}.get(root, sympy.latex(sympy.Symbol(root)))
    partials = "".join(rf"\partial_{{{v}}}" for v in derivative.removeprefix("d_"))
    return partials + greek + (f"_{{{index}}}" if index else "")


def _collect_observable(expression: sympy.Expr) -> sympy.Expr:
    """Sum of (factored coefficient) * (derivative of f), lowest derivative first."""
    parts: dict[sympy.Symbol, sympy.Expr] = {}
    for term in sympy.Add.make_args(sympy.expand(expression)):
        observable = next(f for f in term.free_symbols if f.name.split(" ")[-1] == OBSERVABLE)
        parts[observable] = parts.get(observable, sympy.S.Zero) + term / observable
    ordered = sorted(parts, key=lambda f: (len(f.name), f.name))
    return sympy.Add(*[sympy.factor(parts[f]) * f for f in ordered])
