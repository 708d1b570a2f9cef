"""The statements of a conjugate step: states within it, evaluations there, and the state at its end.

Every state is E z_t + sum_j w_j n_j - int E B z: the network n is replaced by a polynomial through evaluations, whose
weights w_j are combinations of the psi_k, and B z by one through its values. Knows the base methods; where E and psi_k
come from, propagator.py and psi_weights.py know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import sympy

from integrator_analysis.algebra.special import expm1
from integrator_analysis.algebra.symbols import PAST, h, s, t
from integrator_analysis.methods.base_methods import Interpolatory, RungeKutta, Stage
from integrator_analysis.methods.conjugation.propagator import Propagator
from integrator_analysis.methods.conjugation.psi_weights import PsiWeights
from integrator_analysis.methods.conjugation.transformed_ode import TransformedODE
from integrator_analysis.program.statements import (
    Block,
    Combine,
    Evaluate,
    Interpolation,
    Node,
    Noise,
    Output,
    Term,
    advance,
)

__all__ = ["StageBuilder", "moments_needed", "statements_of"]


def moments_needed(base: Interpolatory | RungeKutta) -> int:
    """How many weights psi_k, k = 0, 1, ..., the steps of a base method are made of."""
    if isinstance(base, RungeKutta):
        return 0
    return max(len(base.mend), *(_powers_integrated(stage) for stage in base.stages))


def _powers_integrated(stage: Stage) -> int:
    simplified = stage.rule != "integral" and len(stage.through) == 2
    return 1 if simplified else len(stage.through)


def statements_of(base: Interpolatory | RungeKutta, builder: StageBuilder) -> list[Evaluate | Combine]:
    """One step of a base method; ``builder`` keeps the times and the polynomials that it brings in."""
    return _interpolatory_step(base, builder) if isinstance(base, Interpolatory) else _tableau_step(base, builder)


def _interpolatory_step(base: Interpolatory, builder: StageBuilder) -> list[Evaluate | Combine]:
    statements: list[Evaluate | Combine] = [Evaluate("eps_0", t)]
    if base.mend:
        statements.append(builder.mended_state(base))
    times = _times_of_evaluations()
    for n, stage in enumerate(base.stages):
        last = n == len(base.stages) - 1
        end = s if last else builder.time_at(stage.share)
        weights = builder.stage_weights(stage, end, times, f"share_{n}" if n else "share")
        names = builder.ode.blocks if last else _stage_names(builder.ode.blocks, n + 1)
        linear = builder.frozen_terms(stage, end, times)
        statements.append(builder.state(names, end, weights, linear, _label(stage.share)))
        if not last:
            times[n + 1] = end
            statements.append(Evaluate(f"eps_{n + 1}", end, names))
    return statements


def _tableau_step(base: RungeKutta, builder: StageBuilder) -> list[Evaluate | Combine]:
    statements: list[Evaluate | Combine] = [Evaluate("eps_0", t)]
    times: list[sympy.Expr] = [t]
    for i, row in enumerate((*base.a, base.b)[1:], start=1):
        last = i == len(base.a)
        share = Fraction(1) if last else base.c[i]
        end = builder.time_at(share)
        weights, frozen = builder.tableau_terms(row, end, times)
        names = builder.ode.blocks if last else _stage_names(builder.ode.blocks, i)
        label = "the state at the end of the step" if last else f"the state at {share} of the way"
        statements.append(builder.state(names, end, weights, frozen, label))
        if not last:
            times.append(end)
            statements.append(Evaluate(f"eps_{i}", end, names))
    return statements


def _label(share: Fraction) -> str:
    return "the state at the end of the step" if share == 1 else f"the state at {share} of the way"


def _stage_names(blocks: Sequence[str], number: int) -> tuple[str, ...]:
    """What the blocks of a stage's state are called."""
    return tuple(f"{block}_{number}" for block in blocks)


def _evaluation_name(number: int) -> str:
    return f"eps_{number}" if number >= 0 else f"past_{-number}"


def _times_of_evaluations() -> dict[int, sympy.Expr]:
    """The times of the evaluations that there are at a step's start, by number."""
    return {0: t} | {-j - 1: p for j, p in enumerate(PAST)}


def _without_zeros(terms: Sequence[Term]) -> tuple[Term, ...]:
    return tuple(term for term in terms if term.coefficient != 0)


@dataclass(frozen=True)
class Polynomials:
    """The Lagrange polynomials of a stage: ``rows[j][k]`` is the coefficient of x**k in that of evaluation j.

    ``line`` is 1 where they are polynomials of degree one and 0 where not: a symbol, if that depends on how many steps
    were made.
    """

    rows: Sequence[Sequence[sympy.Expr]]
    line: sympy.Expr


@dataclass
class StageBuilder:
    """Builds the states of one step from E and psi_k; ``nodes`` and ``interpolations`` grow as states need them."""

    ode: TransformedODE
    propagator: Propagator
    psi: PsiWeights
    nodes: dict[Fraction, Node] = field(default_factory=dict)
    interpolations: list[Interpolation] = field(default_factory=list)

    def time_at(self, share: Fraction) -> sympy.Symbol:
        """The time at a share of the way from t to s; a time in between becomes a node."""
        if share in (0, 1):
            return s if share == 1 else t
        if share not in self.nodes:
            symbol = sympy.Symbol(f"t_{len(self.nodes) + 1}", positive=True)
            self.nodes[share] = Node(symbol, sympy.Rational(share.numerator, share.denominator))
        return self.nodes[share].symbol

    def state(
        self,
        names: Sequence[str],
        end: sympy.Expr,
        weights: Mapping[int, sympy.Matrix],
        frozen: Sequence[tuple[int, sympy.Matrix]],
        label: str,
    ) -> Combine:
        """names <- E(end, t) z_t + sum_j weights[j] n_j + sum frozen_j z_j."""
        blocks = self.ode.blocks
        linear = sum((m for j, m in frozen if j == 0), self.propagator.between(t, end))
        updates = []
        for i, name in enumerate(names):
            terms = [Term(linear[i, j], Block(b)) for j, b in enumerate(blocks)]
            terms += [Term(m[i, c], Block(f"{b}_{j}")) for j, m in frozen if j for c, b in enumerate(blocks)]
            terms += self._output_terms(weights, i)
            if self.ode.parametrisation.noise:
                terms.append(Term(self._noise(end), Noise(f"xi_{name}")))
            updates.append((name, _without_zeros(terms)))
        return Combine(tuple(updates), label)

    def mended_state(self, base: Interpolatory) -> Combine:
        """z <- z + (weights through the evaluations of ``mend``) - (those that the step before used)."""
        times, last = _times_of_evaluations(), base.stages[-1]
        new = self.stage_weights(Stage(through=base.mend, rule=last.rule), t, times, "mend", start=PAST[0])
        used = Stage(through=tuple(n - 1 for n in last.through), rule=last.rule)
        old = self.stage_weights(used, t, times, "used", start=PAST[0])
        none = sympy.zeros(self.ode.size)
        change = {n: new.get(n, none) - old.get(n, none) for n in dict.fromkeys([*new, *old])}
        updates = [
            (block, _without_zeros([Term(sympy.S.One, Block(block)), *self._output_terms(change, i)]))
            for i, block in enumerate(self.ode.blocks)
        ]
        return Combine(tuple(updates), "the last step mended with the evaluation at its end")

    def stage_weights(
        self, stage: Stage, end: sympy.Expr, times: Mapping[int, sympy.Expr], name: str, start: sympy.Expr = t
    ) -> dict[int, sympy.Matrix]:
        """The weight matrix of each evaluation of a stage; ``name`` is that of the polynomial's coefficients."""
        polynomials = self._polynomials(stage, start, end, times, name)
        psi = [self.psi.between(k, start, end) for k in range(len(stage.through))]
        weights = {
            number: sum((c * m for c, m in zip(row, psi, strict=True)), sympy.zeros(self.ode.size))
            for number, row in zip(stage.through, polynomials.rows, strict=True)
        }
        if stage.rule == "integral" or len(stage.through) == 1:
            return weights
        # A rule puts something simpler in place of psi_1, wherever the polynomial is a line.
        simple = psi[0] / 2
        if stage.rule == "end":
            slope = advance(start, end) / self.ode.slope(end)
            simple = slope * self.ode.parametrisation.eta.xreplace({t: end}) / 2
        for number, row in zip(stage.through, polynomials.rows, strict=True):
            change = polynomials.line * row[1] * (simple - psi[1])
            weights[number] = (weights[number] + change).applyfunc(sympy.expand)
        return weights

    def frozen_terms(
        self, stage: Stage, end: sympy.Expr, times: Mapping[int, sympy.Expr]
    ) -> list[tuple[int, sympy.Matrix]]:
        """-int E B z du with E B z replaced by the stage's polynomial through its values: a matrix for each value."""
        if not any(self.ode.matrix):
            return []
        out = []
        rows = self._polynomials(stage, t, end, times, "frozen").rows
        for number, row in zip(stage.through, rows, strict=True):
            value = sum(c / (k + 1) for k, c in enumerate(row))
            length = h if end == s else t - end
            matrix = self.ode.matrix.xreplace({t: times[number]})
            out.append((number, -length * value * self.propagator.between(times[number], end) * matrix))
        return out

    def tableau_terms(
        self, row: Sequence[Fraction], end: sympy.Expr, times: Sequence[sympy.Expr]
    ) -> tuple[dict[int, sympy.Matrix], list[tuple[int, sympy.Matrix]]]:
        """The weights of evaluations, and the matrices of states, by a row of a tableau on the transformed ODE."""
        weights: dict[int, sympy.Matrix] = {}
        frozen = []
        for j, (a, time) in enumerate(zip(row, times, strict=True)):
            if a:
                size = sympy.Rational(a.numerator, a.denominator) * advance(t, s) / self.ode.slope(time)
                carried = self.propagator.between(time, end)
                weights[j] = size * carried * self.ode.parametrisation.eta.xreplace({t: time})
                if any(self.ode.matrix):
                    frozen.append((j, size * carried * self.ode.matrix.xreplace({t: time})))
        return weights, frozen

    def _output_terms(self, weights: Mapping[int, sympy.Matrix], row: int) -> list[Term]:
        return [
            Term(matrix[row, j], Output(_evaluation_name(number), block))
            for number, matrix in weights.items()
            for j, block in enumerate(self.ode.blocks)
        ]

    def _noise(self, end: sympy.Expr) -> sympy.Expr:
        """The noise of the reverse SDE's linear part, solved exactly: variance sigma_s**2 (1 - e**(-2 kappa**2 H)).

        H is the step in log-SNR. sigma**2 is written as -G G^T / (2 lambda'), which is what the expansion knows.
        """
        variance = -self.ode.process.diffusion[0, 0].xreplace({t: end}) / (2 * self.ode.slope(end))
        return sympy.sqrt(-variance * expm1(-2 * self.ode.parametrisation.noise**2 * advance(t, end)))

    def _polynomials(
        self, stage: Stage, start: sympy.Expr, end: sympy.Expr, times: Mapping[int, sympy.Expr], name: str
    ) -> Polynomials:
        """The stage's polynomials: in numbers within a step, in symbols where earlier steps enter."""
        count = len(stage.through)
        if stage.through == (0,):
            return Polynomials([[sympy.S.One]], sympy.S.Zero)
        if all(number >= 0 for number in stage.through):
            shares = {n.symbol: n.share for n in self.nodes.values()} | {t: sympy.S.Zero}
            positions = [shares[times[number]] / shares.get(end, sympy.S.One) for number in stage.through]
            return Polynomials(_lagrange_rows(positions), sympy.Integer(count == 2))
        interpolation = Interpolation(name, start, end, tuple(times[number] for number in stage.through))
        self.interpolations.append(interpolation)
        return Polynomials(interpolation.symbols, sympy.S.One if count == 2 else interpolation.line)


def _lagrange_rows(positions: Sequence[sympy.Rational]) -> list[list[sympy.Rational]]:
    """The coefficients of the Lagrange polynomials of ``positions``, lowest power first.

    >>> _lagrange_rows([sympy.Integer(0), sympy.Rational(1, 2)])
    [[1, -2], [0, 2]]
    """
    x = sympy.Symbol("x")
    rows = []
    for j, own in enumerate(positions):
        factors = [(x - other) / (own - other) for m, other in enumerate(positions) if m != j]
        rows.append(sympy.Poly(sympy.Mul(*factors), x).all_coeffs()[::-1])
    return rows
