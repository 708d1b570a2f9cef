"""Conjugate integrators: map z by A with A' = A (B - L), take a step there, map back.

Knows families of B, propagators E(s, t) = A_s^{-1} A_t and weights psi_k(s, t) = -int_s^t E(s, u) eta(u) x(u)^k du, x
the share of the way from t to s; turns a base method into statements; knows no splitting. The global A is never formed:
it overflows and loses digits; only these local quantities enter a step. Source: arXiv 2310.07894, section 3.1.

Every state of a step, a stage's or the end's, is E z_t + sum_j w_j n_j - int E B z: the network n is replaced by a
polynomial through evaluations, whose weights w_j are combinations of the psi_k, and B z by one through its values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import sympy

from integrator_analysis.algebra.definitions import Definition
from integrator_analysis.algebra.linear_flow import LinearFlow
from integrator_analysis.algebra.matrices import commutes_with_integral, exponential
from integrator_analysis.algebra.special import difference, expm1, log1p, phi
from integrator_analysis.algebra.symbols import PAST, h, s, t, u
from integrator_analysis.inputs import InputError, as_rational
from integrator_analysis.methods.base_methods import EULER, VARIABLES, Interpolatory, RungeKutta, Stage
from integrator_analysis.methods.conjugation.b_matrix import (
    FAMILY_NAMES,
    UNUSABLE,
    check_shape,
    example,
    is_family,
    lambda_,
    matrix_of,
)
from integrator_analysis.methods.conjugation.propagator import (
    lower_triangle,
    named_parts,
    ordered,
    ratio_difference,
    ratio_difference_of,
    two_time_matrix,
)
from integrator_analysis.methods.conjugation.prose import RULE_TEXT, join_values
from integrator_analysis.methods.conjugation.stages import evaluation_name, moments_needed
from integrator_analysis.parametrisation.frames import turn, turn_definition, variance
from integrator_analysis.parametrisation.parametrisation import Parametrisation
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.parametrisation.signal_to_noise import pull, ratio, slope_of
from integrator_analysis.processes import Process
from integrator_analysis.processes.kernel import clock, elapsed, noise_between
from integrator_analysis.program.statements import (
    Block,
    Combine,
    Evaluate,
    Interpolation,
    Node,
    Noise,
    Output,
    Quadrature,
    Term,
    advance,
)
from integrator_analysis.program.step_program import StepProgram

__all__ = ["Conjugate"]


@dataclass(frozen=True)
class Conjugate:
    """A base method on the ODE transformed with B: the name of a family or a k x k matrix that may hold t.

    Families are "0", "lambda*I", "lambda*ones", "lambda*diag(a, b)" with numbers a, b, one per block, and "table": a
    matrix for every step, which samplers are given with the times and analyses have from ``example``.

    ``strength`` is lambda; ``parametrisation`` says which network output the base method sees, whatever the network
    itself returns. ``noise`` is kappa: 0 is the probability-flow ODE, 1 the reverse SDE, whose linear part and noise
    are then solved exactly (needs log-SNR as the variable). Raises InputError for a B, a parametrisation or a
    combination that is not known.
    """

    B: str | sympy.ImmutableMatrix = "0"
    strength: float = 0.0
    base: Interpolatory | RungeKutta = EULER
    parametrisation: str = "eps"
    noise: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.B, sympy.MatrixBase):
            if self.B.free_symbols - {t}:
                raise InputError(
                    f"B = {self.B.tolist()} holds other symbols than t; accepted: numbers and "
                    "integrator_analysis.symbols.t, which is positive"
                )
            if self.B.has(*UNUSABLE):
                raise InputError(f"B = {self.B.tolist()} is not finite and real; functions of t that are, are accepted")
        elif not is_family(self.B):
            raise InputError(f"B = {self.B!r} is not a known family; accepted: {FAMILY_NAMES}, a sympy matrix in t")
        if not isinstance(self.base, Interpolatory | RungeKutta):
            raise InputError(f"base = {self.base!r} is not a base method; accepted: an Interpolatory or a RungeKutta")
        history = isinstance(self.base, Interpolatory) and self.base.depth < 0
        if self.B != "0" and (history or self.base.variable != "t"):
            raise InputError(
                f"B = {self.B} needs a one-step method in t; a method in {self.base.variable} that reads "
                f"{'earlier' if history else 'no earlier'} steps takes B = 0"
            )

        if self.noise and (
            self.base.variable != "log-SNR" or self.B != "0" or not isinstance(self.base, Interpolatory)
        ):
            raise InputError(f"noise = {self.noise} needs B = 0 and polynomials in log-SNR")
        if self.noise and (len(self.base.stages) > 1 or self.base.mend):  # type: ignore[union-attr]
            raise InputError(f"noise = {self.noise} needs a method of one stage without a corrector")

    def lower(self, process: Process) -> StepProgram:
        """The step program. Raises InputError where B - L does not commute with its integral."""
        return ConjugateLowering(self, process).program()


class ConjugateLowering:
    """One method on one process: the named functions and the statements of its step."""

    def __init__(self, method: Conjugate, process: Process) -> None:
        self.method, self.base, self.process = method, method.base, process
        self.blocks, self.k = process.blocks, len(process.blocks)
        noise = as_rational(method.noise, "noise")
        self.par: Parametrisation = parametrisation(method.parametrisation, process).noisy(noise)
        if noise and self.par.homogeneous is None:
            raise InputError(
                f"noise = {noise} with parametrisation {self.par.name} on process {process.name}: the weights of the "
                "reverse SDE are derived for x0 on one block"
            )
        self.par.check()
        self.named: dict[sympy.Function, Definition] = {}
        self.matrix: sympy.Matrix = self._family()
        self.parameters = {**process.parameters, **self.par.parameters}
        if self.matrix.has(lambda_):
            self.parameters[lambda_] = as_rational(method.strength, "lambda")
        if method.B == "table":
            if variance in self.parameters:
                raise InputError(
                    f"B = table takes a prediction that needs no variance of the data, not {self.par.name}"
                )
            self.parameters |= dict(zip(self.matrix, example(self.k), strict=True))
        self.variable = VARIABLES[self.base.variable]
        self.nodes: dict[Fraction, Node] = {}
        self.interpolations: list[Interpolation] = []
        degree = 0
        if isinstance(self.base, Interpolatory):
            degree = max(len(self.base.mend), *(moments_needed(stage) for stage in self.base.stages))
        self.flow = LinearFlow.named(
            self.blocks, self.matrix - self.par.drift, self.par.eta.as_mutable(), degree, self.variable
        )
        self.base_table = process.definitions.with_(self.par.definitions).with_(self.named)

    def _family(self) -> sympy.Matrix:
        """B, a matrix that depends on time by named entries. Raises InputError for one of another size."""
        given = self.method.B
        if isinstance(given, str):
            given = matrix_of(given, self.process)
        check_shape(given, self.process)
        exact = sympy.Matrix(given).applyfunc(lambda e: sympy.nsimplify(e, rational=True))
        for i, j in ((i, j) for i in range(self.k) for j in range(self.k)):
            if exact[i, j].has(t):
                name = sympy.Function(f"b_{self.blocks[i]}{self.blocks[j]}")
                self.named[name] = Definition((t,), exact[i, j])
                exact[i, j] = name(t)
        return exact

    # -- the program ---------------------------------------------------------------------------------------------
    def program(self) -> StepProgram:
        table = dict(self._propagator())
        self.propagators = dict(table)
        self.known = set(table)
        table |= self._advance()
        weights, quadratures = self._weights()
        table |= weights
        self.known |= set(weights) | {f for q in quadratures for f in q.names}
        statements = self._interpolatory() if isinstance(self.base, Interpolatory) else self._tableau(self.base)
        history = -self.base.depth if isinstance(self.base, Interpolatory) else 0
        return StepProgram(
            process=self.process,
            parametrisation=self.par,
            statements=tuple(statements),
            definitions=self.base_table.with_(table),
            parameters=self.parameters,
            flows=(self.flow,),
            quadratures=quadratures,
            account=self._derivation(quadratures),
            variable=self.variable,
            nodes=tuple(self.nodes.values()),
            interpolations=tuple(self.interpolations),
            history=history,
            kept="eps_0" if history else "",
            cycle=2 if isinstance(self.base, Interpolatory) and self.base.mend else 0,
        )

    # -- functions of two times ----------------------------------------------------------------------------------
    def _propagator(self) -> dict[sympy.Function, Definition]:
        """E(s, t) in closed form: m_s / m_t times exp(int B) on one block, exp(int_s^t (B - L)) where that commutes."""
        entries, m = self.flow.entries, self.par.homogeneous
        table: dict[sympy.Function, Definition] = {}
        if not any(self.par.drift) and not self.named:
            closed = exponential(h * self.matrix, self.process.parameters)
        elif m is not None and self.par.name != "eps" and not self.named:
            closed = sympy.Matrix([[m.xreplace({t: s}) / m * sympy.exp(h * self.matrix[0, 0])]])
        elif self.par.turning is not None and self.method.B == "0":
            closed, table = self._frame(), {turn: turn_definition(self.par.turning)}
        elif self._ordered():
            self.closed = sympy.Matrix(self.k, self.k, lambda i, j: entries[i, j])
            return ordered(self.flow)
        else:
            integral = h * self.matrix - elapsed(t, s) * self.process.drift_per_unit
            closed, table = named_parts(exponential(integral, self.process.parameters))
        self.closed = closed
        return table | {e.func: Definition((t, s), c) for e, c in zip(entries, closed, strict=True) if c != 0}

    def _ordered(self) -> bool:
        """Whether E is an ordered exponential: B - L does not commute with its integral, or is not integrated here."""
        generator = (self.matrix - self.par.drift).applyfunc(self.base_table.resolve)
        return bool(self.named) or any(self.par.c_skip) or not commutes_with_integral(generator, t)

    def _frame(self) -> sympy.Matrix:
        """R_s R_t^{-1} with R = K Rot(theta), K the frame's factor: exact where exp(int L) is not."""
        factor, angle = sympy.Matrix(self.par.frame), turn(t, s)
        rotation = sympy.Matrix([[sympy.cos(angle), -sympy.sin(angle)], [sympy.sin(angle), sympy.cos(angle)]])
        return factor.xreplace({t: s}) * rotation * factor**-1

    def _advance(self) -> dict[sympy.Function, Definition]:
        """The change of the variable from t to s, and of rho, without cancellation."""
        table = {}
        if self.k == 1:
            table[ratio_difference] = Definition((t, s), ratio_difference_of(self.process))
        elif self.variable is not None:
            table = self._loss()
        log_difference = log1p(ratio_difference(t, s) / ratio(s))
        body = {"t": -h, "rho": -ratio_difference(t, s), "log-SNR": log_difference}[self.base.variable]
        return table | {advance: Definition((t, s), body)}

    def _loss(self) -> dict[sympy.Function, Definition]:
        """rho(t) - rho(s) from the loss of information 1/rho_s**2 - 1/rho_t**2 = pull_s^T spread carry^T pull_t.

        carry = exp(int_s^t F), and spread is the noise between s and t: with Sigma_t = carry (Sigma_s + spread) carry^T
        and Psi_t = carry Psi_s both sides are Psi_s^T [Sigma_s^{-1} - (Sigma_s + spread)^{-1}] Psi_s.
        """
        spread, table = self._spread()
        forward = self.process.kernel.transition.xreplace({clock(t): elapsed(t, s)})
        carry = two_time_matrix("carry", self.blocks)
        table |= {name.func: Definition((t, s), e) for name, e in zip(carry, forward, strict=True)}
        at_t, at_s = pull(self.process), pull(self.process).xreplace({t: s})
        loss = sympy.Function("information_loss")
        factored = ((spread * at_s).T * (carry.T * at_t))[0]
        table[loss] = Definition((t, s), difference(1 / ratio(s) ** 2, 1 / ratio(t) ** 2, factored))
        rise = loss(t, s) * ratio(s) ** 2 * ratio(t) ** 2 / (ratio(s) + ratio(t))
        return table | {ratio_difference: Definition((t, s), rise)}

    def _spread(self) -> tuple[sympy.Matrix, dict[sympy.Function, Definition]]:
        """int_s^t E(s, u) G G^T E(s, u)^T du with E = exp(-int F): what S grows by from s to t, carried back to s."""
        matrix, table = noise_between(replace(self.process, drift_per_unit=-self.process.drift_per_unit))
        named = two_time_matrix("spread", self.blocks)
        named = sympy.Matrix(self.k, self.k, lambda i, j: named[max(i, j), min(i, j)])
        return named, table | {
            named[i, j].func: Definition((t, s), matrix[i, j]) for i in range(self.k) for j in range(i + 1)
        }

    def _weights(self) -> tuple[dict[sympy.Function, Definition], tuple[Quadrature, ...]]:
        """psi_k: in closed form where eta = m d(rho**p)/dt suits the variable, else by quadrature."""
        p, m = self.par.power, self.par.homogeneous
        functions = tuple(tuple(e.func for e in moment) for moment in self.flow.moments)
        if not functions:
            return {}, ()
        if self.method.B == "0" and self.par.name == "velocity" and self.base.variable == "t":
            return {
                e.func: Definition((t, s), -h / (k + 1))
                for k, moment in enumerate(self.flow.moments)
                for i, e in enumerate(moment)
                if i % (self.k + 1) == 0
            }, ()
        if self.method.B == "0" and self.k == 1 and p is not None and m is not None:
            closed = [self._closed_weight(k, p, m) for k in range(len(functions))]
            if all(c is not None for c in closed):
                return {f: Definition((t, s), c) for (f,), c in zip(functions, closed, strict=True)}, ()
        table: dict[sympy.Function, Definition] = {}
        if self.method.B == "0" and self.par.constant is not None:
            first, table = self._first_weight(self.par.constant)
            table |= {f: Definition((t, s), e) for f, e in zip(functions[0], first, strict=True)}
        functions = functions[bool(table) :]
        if not functions:
            return table, ()
        propagator = sympy.Matrix(
            self.k,
            self.k,
            lambda i, j: self.flow.entries[i, j].func(u, s) if self.closed[i, j] != 0 else 0,
        )
        integrand = -(propagator * self.par.eta.xreplace({t: u}))
        kept = [n for n, e in enumerate(integrand) if e != 0]
        groups = tuple(tuple(group[n] for n in kept) for group in functions)
        rule = "sqrt" if self.par.name == "eps" and self.base.variable != "log-SNR" else "log"
        nodes = 64 if rule == "log" and not table else 32  # where n is nearly constant, 32 leave 1e-13
        return table, (Quadrature(groups, tuple(integrand[n] for n in kept), rule, nodes, int(bool(table))),)

    def _first_weight(self, constant: sympy.ImmutableMatrix) -> tuple[sympy.Matrix, dict[sympy.Function, Definition]]:
        """psi_0 = R_s - E R_t without cancellation; on one block (R/alpha)**2 - rho**2 is the data's variance."""
        if self.k > 1:
            return self._frame_weight()
        at_s = constant.xreplace({t: s})
        mean = sympy.Function("mean_x")
        size = constant[0] / mean(t) + at_s[0] / mean(s)
        return sympy.Matrix([-mean(s) * ratio_difference(t, s) * (ratio(t) + ratio(s)) / size]), {}

    def _frame_weight(self) -> tuple[sympy.Matrix, dict[sympy.Function, Definition]]:
        """psi_0 = K_s Rot(theta_s) - E K_t Rot(theta_t), by what carrying K_t back to s changes of it.

        E K_t, called back, is C Rot(.), C the Cholesky factor of K_s K_s^T + spread, called carried. So psi_0 is
        -[rise + C (Rot(slip) - 1)] Rot(theta_s): rise = C - K_s has the spread as a factor, slip is the angle left.
        """
        at_t, at_s = sympy.Matrix(self.par.frame), sympy.Matrix(self.par.frame).xreplace({t: s})
        spread, table = self._spread()
        angle, slip = turn(t, s), sympy.Function("slip")
        back, carried, rise = (two_time_matrix(name, self.blocks) for name in ("back", "carried", "rise"))
        table |= {e.func: Definition((t, s), b) for e, b in zip(back, self._between(t, s) * at_t, strict=True)}
        size, (first, second) = carried[0, 0], (back[0, :], back[1, :])
        scale = sympy.exp(elapsed(t, s) * sympy.expand(-self.process.drift_per_unit.trace()))  # det E
        bodies = {
            carried[0, 0]: sympy.sqrt(first.dot(first)),
            carried[1, 0]: first.dot(second) / size,
            carried[1, 1]: scale * at_t[0, 0] * at_t[1, 1] / size,
            rise[0, 0]: spread[0, 0] / (size + at_s[0, 0]),
            rise[1, 0]: (spread[1, 0] - rise[0, 0] * at_s[1, 0]) / size,
            rise[1, 1]: difference(
                carried[1, 1],
                at_s[1, 1],
                (spread[1, 1] - rise[1, 0] * (carried[1, 0] + at_s[1, 0])) / (carried[1, 1] + at_s[1, 1]),
            ),
            slip(t, s): sympy.atan2(
                first[0] * sympy.sin(angle) + first[1] * sympy.cos(angle),
                first[0] * sympy.cos(angle) - first[1] * sympy.sin(angle),
            ),
        }
        table |= {name.func: Definition((t, s), body) for name, body in bodies.items()}
        across, along = sympy.sin(slip(t, s)), -2 * sympy.sin(slip(t, s) / 2) ** 2
        change = lower_triangle(rise) + lower_triangle(carried) * sympy.Matrix([[along, across], [-across, along]])
        rotation = (at_s**-1 * sympy.Matrix(self.par.constant).xreplace({t: s})).applyfunc(sympy.cancel)
        return -change * rotation, table

    def _closed_weight(self, k: int, p: sympy.Rational, m: sympy.Expr) -> sympy.Expr | None:
        """-int_s^t (m_s / m_u) eta x^k du = m_s times the integral of x^k d(rho**p) from t to s."""
        end = m.xreplace({t: s})
        if k == 0 and p == 1:
            return -end * ratio_difference(t, s)
        if k == 0 and p == -1:
            return end * ratio_difference(t, s) / (ratio(t) * ratio(s))
        if self.base.variable == "rho" and p == 1:
            return -end * ratio_difference(t, s) / (k + 1)
        if self.base.variable == "log-SNR":
            step = advance(t, s)
            if k == 0:
                return -end * ratio(s) ** p * expm1(p * step)
            return -p * end * ratio(s) ** p * step * sympy.factorial(k) * phi(k + 1, p * step)
        return None

    # -- statements ----------------------------------------------------------------------------------------------
    def _interpolatory(self) -> list[Evaluate | Combine]:
        base = self.base
        assert isinstance(base, Interpolatory)
        statements: list[Evaluate | Combine] = [Evaluate("eps_0", t)]
        if base.mend:
            statements.append(self._mend(base))
        times: dict[int, sympy.Expr] = {0: t} | {-j - 1: p for j, p in enumerate(PAST)}
        for n, stage in enumerate(base.stages):
            last = n == len(base.stages) - 1
            end = s if last else self._time(stage.share)
            weights = self._stage_weights(stage, end, times, f"share_{n}" if n else "share")
            label = f"the state at {stage.share} of the way" if not last else "the state at the end of the step"
            names = self.blocks if last else tuple(f"{b}_{n + 1}" for b in self.blocks)
            statements.append(self._state(names, end, weights, self._frozen(stage, end, times), label))
            if not last:
                times[n + 1] = end
                statements.append(Evaluate(f"eps_{n + 1}", end, names))
        return statements

    def _tableau(self, base: RungeKutta) -> list[Evaluate | Combine]:
        statements: list[Evaluate | Combine] = []
        times: list[sympy.Expr] = []
        for i, row in enumerate((*base.a, base.b)):
            last = i == len(base.a)
            share = Fraction(1) if last else base.c[i]
            end = s if share == 1 else t if share == 0 else self._time(share)
            names = self.blocks if last else tuple(f"{b}_{i}" for b in self.blocks)
            if i > 0:
                weights, frozen = {}, []
                for j, a in enumerate(row):
                    if a:
                        size = sympy.Rational(a.numerator, a.denominator) * advance(t, s) / self._slope(times[j])
                        carried = self._between(times[j], end)
                        weights[j] = size * carried * self.par.eta.xreplace({t: times[j]})
                        if any(self.matrix):
                            frozen.append((j, size * carried * self.matrix.xreplace({t: times[j]})))
                label = "the state at the end of the step" if last else f"the state at {share} of the way"
                statements.append(self._state(names, end, weights, frozen, label))
            if not last:
                times.append(end)
                statements.append(Evaluate(f"eps_{i}", end, names if i else ()))
        return statements

    def _state(
        self,
        names: Sequence[str],
        end: sympy.Expr,
        weights: Mapping[int, sympy.Matrix],
        frozen: Sequence[tuple[int, sympy.Matrix]],
        label: str,
    ) -> Combine:
        """names <- E(end, t) z_t + sum_j weights[j] n_j + sum frozen_j z_j."""
        linear = self._between(t, end) + sum((m for j, m in frozen if j == 0), sympy.zeros(self.k, self.k))
        updates = []
        for i, name in enumerate(names):
            terms = [Term(linear[i, j], Block(b)) for j, b in enumerate(self.blocks)]
            terms += [Term(m[i, c], Block(f"{b}_{j}")) for j, m in frozen if j for c, b in enumerate(self.blocks)]
            terms += [
                Term(matrix[i, j], Output(evaluation_name(number), b))
                for number, matrix in weights.items()
                for j, b in enumerate(self.blocks)
            ]
            if self.par.noise:
                terms.append(Term(self._noise(end), Noise(f"xi_{name}")))
            updates.append((name, tuple(term for term in terms if term.coefficient != 0)))
        return Combine(tuple(updates), label)

    def _noise(self, end: sympy.Expr) -> sympy.Expr:
        """The noise of the reverse SDE's linear part, solved exactly: variance sigma_s**2 (1 - e**(-2 kappa**2 H)).

        H is the step in log-SNR. sigma**2 is written as -G G^T / (2 lambda'), which is what the expansion knows.
        """
        at = {t: end}
        variance = -self.process.diffusion[0, 0].xreplace(at) / (2 * self._slope(end))
        return sympy.sqrt(-variance * expm1(-2 * self.par.noise**2 * advance(t, end)))

    def _mend(self, base: Interpolatory) -> Combine:
        """z <- z + (weights through the evaluations of ``mend``) - (those that the step before used)."""
        before = PAST[0]
        times = {0: t} | {-j - 1: p for j, p in enumerate(PAST)}
        last = base.stages[-1]
        new = self._stage_weights(Stage(through=base.mend, rule=last.rule), t, times, "mend", start=before)
        used = Stage(through=tuple(n - 1 for n in last.through), rule=last.rule)
        old = self._stage_weights(used, t, times, "used", start=before)
        updates = []
        for i, block in enumerate(self.blocks):
            terms = [Term(sympy.S.One, Block(block))]
            for number in dict.fromkeys([*new, *old]):
                difference = new.get(number, sympy.zeros(self.k)) - old.get(number, sympy.zeros(self.k))
                terms += [Term(difference[i, j], Output(evaluation_name(number), b)) for j, b in enumerate(self.blocks)]
            updates.append((block, tuple(term for term in terms if term.coefficient != 0)))
        return Combine(tuple(updates), "the last step mended with the evaluation at its end")

    def _stage_weights(
        self, stage: Stage, end: sympy.Expr, times: Mapping[int, sympy.Expr], name: str, start: sympy.Expr = t
    ) -> dict[int, sympy.Matrix]:
        """The weight matrix of each evaluation of a stage."""
        rows = self._share_rows(stage, start, end, times, name)
        moments = [self._moment(k, start, end) for k in range(len(stage.through))]
        weights = {
            number: sum((c * m for c, m in zip(row, moments, strict=True)), sympy.zeros(self.k))
            for number, row in zip(stage.through, rows, strict=True)
        }
        if stage.rule != "integral" and len(stage.through) > 1:
            if stage.rule == "middle":
                simple = moments[0] / 2
            else:
                slope = advance(start, end) / self._slope(end)
                simple = slope * self.par.eta.xreplace({t: end}) / 2
            line = self.interpolations[-1].line if len(stage.through) > 2 else sympy.S.One
            for number, row in zip(stage.through, rows, strict=True):
                weights[number] = (weights[number] + line * row[1] * (simple - moments[1])).applyfunc(sympy.expand)
        return weights

    def _share_rows(
        self, stage: Stage, start: sympy.Expr, end: sympy.Expr, times: Mapping[int, sympy.Expr], name: str
    ) -> list[list[sympy.Expr]]:
        """Coefficients of the Lagrange polynomials in x: numbers within a step, symbols where earlier steps enter."""
        if stage.through == (0,):
            return [[sympy.S.One]]
        if all(number >= 0 for number in stage.through):
            shares = {n.symbol: n.share for n in self.nodes.values()} | {t: sympy.S.Zero}
            positions = [shares[times[number]] / shares.get(end, sympy.S.One) for number in stage.through]
            x = sympy.Symbol("x")
            rows = []
            for j, own in enumerate(positions):
                factors = [(x - other) / (own - other) for m, other in enumerate(positions) if m != j]
                rows.append(sympy.Poly(sympy.Mul(*factors), x).all_coeffs()[::-1])
            return rows
        interpolation = Interpolation(name, start, end, tuple(times[number] for number in stage.through))
        self.interpolations.append(interpolation)
        return [list(row) for row in interpolation.symbols]

    def _frozen(self, stage: Stage, end: sympy.Expr, times: Mapping[int, sympy.Expr]) -> list[tuple[int, sympy.Matrix]]:
        """-int E B z du with E B z replaced by the stage's polynomial through its values."""
        if not any(self.matrix):
            return []
        rows = self._share_rows(stage, t, end, times, "frozen")
        out = []
        for number, row in zip(stage.through, rows, strict=True):
            value = sum(c / (k + 1) for k, c in enumerate(row))
            length = h if end == s else t - end
            matrix = self.matrix.xreplace({t: times[number]})
            out.append((number, -length * value * self._between(times[number], end) * matrix))
        return out

    # -- pieces --------------------------------------------------------------------------------------------------
    def _time(self, share: Fraction) -> sympy.Symbol:
        if share not in self.nodes:
            symbol = sympy.Symbol(f"t_{len(self.nodes) + 1}", positive=True)
            self.nodes[share] = Node(symbol, sympy.Rational(share.numerator, share.denominator))
        return self.nodes[share].symbol

    def _between(self, start: sympy.Expr, end: sympy.Expr) -> sympy.Matrix:
        """E(end, start) by its named entries."""
        if start == end:
            return sympy.eye(self.k)
        return sympy.Matrix(
            self.k,
            self.k,
            lambda i, j: self._entry(self.closed[i, j], self.flow.entries[i, j].func(start, end)),
        )

    @staticmethod
    def _entry(closed: sympy.Expr, name: sympy.Expr) -> sympy.Expr:
        return closed if closed.is_Rational else name

    def _moment(self, k: int, start: sympy.Expr, end: sympy.Expr) -> sympy.Matrix:
        """psi_k from start to end by its named entries; symbols that cancel where a rule does without psi_k."""
        if k >= len(self.flow.moments):
            return sympy.Matrix(self.k, self.k, lambda i, j: sympy.Symbol(f"unused_{k}{i}{j}"))
        return sympy.Matrix(
            self.k,
            self.k,
            lambda i, j: f(start, end) if (f := self.flow.moments[k][i, j].func) in self.known else 0,
        )

    def _slope(self, time: sympy.Expr) -> sympy.Expr:
        """The derivative of the variable at a time."""
        return sympy.S.One if self.variable is None else slope_of(self.variable.func)(time)

    def _derivation(self, quadratures: tuple[Quadrature, ...]) -> tuple[str, ...]:
        drift, eta = self.par.drift, self.par.eta
        lines = [
            f"Conjugation by A' = A (B - L) with B = {self.method.B}: the probability-flow ODE z' = L z + eta n, n the "
            f"{self.par.name} prediction, becomes zhat' = A B A^{{-1}} zhat + A eta n for zhat = A z.",
            f"Here L = {drift.tolist()}, eta = -(1/2) G G^T C_out = {eta.tolist()}, B = {self.matrix.tolist()}.",
            "Mapped back, each state of the step is E(s, t) z plus the weights psi_k(s, t) = -int_s^t E(s, u) eta(u) "
            "x(u)^k du times the coefficients of the network's polynomial in x, the share of the way from t to s in "
            f"{self.base.variable}; E(s, t) = A_s^{{-1}} A_t.",
        ]
        if isinstance(self.base, RungeKutta):
            lines.append(
                f"Runge-Kutta tableau on the transformed ODE in {self.base.variable}, nodes {join_values(self.base.c)}."
            )
        else:
            lines += [
                f"State at {st.share} of the step: polynomial through evaluation(s) {join_values(st.through)}"
                f"{RULE_TEXT[st.rule]}."
                for st in self.base.stages
            ]
            if self.base.depth < 0:
                lines.append(
                    "Evaluations -1, -2, ... are those of earlier steps; while there are fewer, the polynomial has "
                    "fewer nodes, so the first step has order one. No extra evaluations."
                )
            if self.base.mend:
                lines.append(f"Each step first mends the one before through evaluations {join_values(self.base.mend)}.")
        if any(d.generator is not None for d in self.propagators.values()):
            lines.append(
                "B - L does not commute with its integral, or has none in closed form: E(s, t) is its ordered "
                "exponential, solved numerically. The exponential of the integral, as which arXiv 2310.07894 writes A, "
                "is not A here."
            )
        if self.flow.moments:
            lines.append(
                f"psi by Gauss-Legendre quadrature in {quadratures[0].rule}(u), {quadratures[0].nodes} nodes."
                if quadratures
                else f"psi in closed form, with m' = L m solved by m = {self.par.homogeneous} and eta = m d(rho^p)/dt, "
                f"p = {self.par.power}."
                if self.par.power is not None
                else "psi in closed form: R_s - E(s, t) R_t, R n solving the ODE for every constant n; the difference "
                "is taken through the noise between s and t, which is a factor of it."
            )
        return tuple(lines)
