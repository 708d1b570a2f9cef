"""Conjugate splitting integrators: a splitting word on transformed states, in the two meanings that the term has.

Knows how a conjugation changes what A and B do; splitting/ has the words, conjugation/ the families of B. In
reverse time the letters split dz = [N z - (1 + kappa^2) eta n] dh, N = -F + kappa^2 R, n = eps (kappa = 0 without O).
``each``: the sub-flow of a row is a linear ODE for that row, conjugated by itself: with B_i the row of B, its
    propagator, from the generator B_ii + N_ii, is exact, the network output and the other row are frozen and
    integrated against it, and B_i z is taken at the sub-flow's start.
``whole``: the transformed ODE zhat' = A B A^{-1} zhat + A eta n, zhat = A z, is split by the rows of zhat. A is
    anchored at the step's start, A_t = I, so that it never leaves the neighbourhood of I: anchored at one end of the
    whole time interval it grows by many orders of magnitude, and the rounding errors with it. The network sees
    z = A_u^{-1} zhat, and the step ends by mapping back.
Source: arXiv 2310.07894, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy

from integrator_analysis.algebra.definitions import Definition
from integrator_analysis.algebra.linear_flow import LinearFlow
from integrator_analysis.algebra.matrices import commutes_with_integral, exponential
from integrator_analysis.algebra.symbols import h, s, t, u
from integrator_analysis.inputs import InputError, as_rational, did_you_mean
from integrator_analysis.methods.conjugation.b_matrix import has_strength, lambda_, matrix_of
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.methods.conjugation.propagator import named_parts, ordered
from integrator_analysis.methods.splitting.prose import NOISE_TEXT
from integrator_analysis.methods.splitting.split_equation import SplitEquation, StepTimes
from integrator_analysis.methods.splitting.splitting import Splitting, assemble, split_for
from integrator_analysis.methods.splitting.sub_flows import ScoredFlow, Span, Update, WeightedEvaluation
from integrator_analysis.methods.splitting.words import NOISE
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.processes import Process
from integrator_analysis.processes.equation import elapsed, rate
from integrator_analysis.program.statements import Block, Combine, Evaluate, Output, Quadrature, Term
from integrator_analysis.program.step_program import StepProgram

__all__ = ["MEANINGS", "ConjugateSplitting"]

MEANINGS = ("each", "whole")


@dataclass(frozen=True)
class ConjugateSplitting:
    """``splitting``, a word over A and B with or without O, conjugated with B: a family's name, of ``strength`` lambda.

    ``meaning`` "each" conjugates every sub-flow, "whole" splits the transformed ODE. The splitting's own flow has to
    be "exact": that is what O is. Raises InputError for a B, a meaning or a word that is not usable.
    """

    splitting: Splitting
    B: str = "0"
    strength: float = 0.0
    meaning: str = "each"

    def __post_init__(self) -> None:
        Conjugate(self.B, self.strength)
        if self.B == "table":
            raise InputError("a conjugate splitting takes no table of B; accepted: 0 and the families with lambda")
        if self.meaning not in MEANINGS:
            raise did_you_mean(self.meaning, MEANINGS, "meaning of conjugate splitting")
        letters = "".join(f.letter for f in self.splitting.factors)
        if "A" not in letters:
            raise InputError(f"splitting {letters} has no rows to conjugate; accepted: words over A and B")
        if self.splitting.flow != "exact":
            raise InputError("a conjugate splitting solves its linear part exactly: its splitting has flow exact")
        if self.meaning == "whole" and NOISE in letters.strip(NOISE):
            raise InputError(f"{letters}: the transformed ODE is split with O before or after it, not in between")

    def lower(self, process: Process) -> StepProgram:
        """The step program. Raises InputError on a process that lacks what the word's letters split."""
        equation, times = split_for(self.splitting, process), StepTimes()
        matrix = matrix_of(self.B, process)
        strength = as_rational(self.strength, "lambda") if has_strength(self.B) else None
        kind = {"each": ConjugatedRows, "whole": TransformedRows}[self.meaning]
        scored = kind(equation, times, matrix, strength)
        letters = TEXT[self.meaning].format(B=self.B)
        if self.splitting.stochastic:
            letters += f" {NOISE_TEXT[True]}."
        return assemble(self.splitting, equation, times, scored, letters)


TEXT = {
    "each": "Each sub-flow, A of the position row and B of the momentum row, is conjugated by itself with its row of "
    "B = {B}: it solves its own row's drift exactly, with eps and the other row frozen and integrated against the "
    "propagator. B z is taken at the sub-flow's start.",
    "whole": "The ODE is first transformed with A' = A (B - L), B = {B}; then the rows of zhat = A z are split. A = I "
    "at the start of every step, since an A anchored at one end of the whole interval would grow by many orders of "
    "magnitude. Where the network is evaluated, and at the end, zhat is mapped back by E(u, t) = A_u^(-1).",
}


class _ConjugatedFlow(ScoredFlow):
    """What both meanings share: B as a ``matrix``, its ``strength`` lambda if it has one, and the factor of eps."""

    prediction = "eps"

    def __init__(
        self, equation: SplitEquation, times: StepTimes, matrix: sympy.Matrix, strength: sympy.Rational | None
    ) -> None:
        super().__init__()
        self.equation, self.times, self.matrix = equation, times, matrix
        if strength is not None:
            self.parameters[lambda_] = strength
        self.eta = parametrisation("eps", equation.process).noisy(equation.kappa).eta


class ConjugatedRows(_ConjugatedFlow):
    """Each sub-flow conjugated by itself, with its row of B."""

    def __init__(
        self, equation: SplitEquation, times: StepTimes, matrix: sympy.Matrix, strength: sympy.Rational | None
    ) -> None:
        super().__init__(equation, times, matrix, strength)
        self.flows += [self._row_flow(i) for i in range(equation.size)]

    def _row_flow(self, i: int) -> LinearFlow:
        """z_i' = B_ii - L_ii by its propagator and, in order, the weights of eps and of the other row."""
        blocks, linear = self.equation.blocks, self.equation.linear
        block, other = blocks[i], 1 - i
        own = self.matrix[i, i] + rate(t) * linear[i, i]
        names = [f"psi_{block}_eps_{b}" for b in blocks] + [f"inflow_{block}{blocks[other]}"]
        source = sympy.Matrix([[*self.eta[i, :], -rate(t) * linear[i, other] - self.matrix[i, other]]])
        ends = sympy.symbols("a b")
        carried = sympy.Function(f"carried_{block}")
        functions = [sympy.Function(name) for name in names]
        exponent = h * self.matrix[i, i] + elapsed(t, s) * linear[i, i]
        self.definitions[carried] = Definition((t, s), sympy.exp(exponent))
        nonzero = [n for n, e in enumerate(source) if e != 0]
        integrands = tuple(-carried(u, s) * source[n].xreplace({t: u}) for n in nonzero)
        self.quadratures.append(Quadrature((tuple(functions[n] for n in nonzero),), integrands))
        return LinearFlow(
            sympy.ImmutableMatrix([[carried(*ends)]]),
            sympy.ImmutableMatrix([[own]]),
            (sympy.ImmutableMatrix([[f(*ends) for f in functions]]),),
            source.as_immutable(),
        )

    def update(self, row: int, span: Span, evaluations: Sequence[WeightedEvaluation]) -> Update:
        """block <- (E - E B_ii length) block + (inflow - E B_ij length) other + psi eps."""
        flow, blocks, other = self.flows[row], self.equation.blocks, 1 - row
        ends = (self.times.at(span.start), self.times.at(span.end))
        carried = flow.entries[0, 0].func(*ends)
        *psi, inflow = (
            e.func(*ends) if source != 0 else sympy.S.Zero
            for e, source in zip(flow.moments[0], flow.source, strict=True)  # type: ignore[arg-type]
        )
        frozen = span.weight * h * carried
        terms = [
            Term(carried - frozen * self.matrix[row, row], Block(blocks[row])),
            Term(inflow - frozen * self.matrix[row, other], Block(blocks[other])),
        ]
        terms += [
            Term(evaluation.factor * weight, Output(evaluation.name, b))
            for evaluation in evaluations
            for weight, b in zip(psi, blocks, strict=True)
        ]
        return blocks[row], tuple(term for term in terms if term.coefficient != 0)


class TransformedRows(_ConjugatedFlow):
    """The rows of the transformed state zhat; ``transformed`` says whether the blocks hold zhat at the moment."""

    def __init__(
        self, equation: SplitEquation, times: StepTimes, matrix: sympy.Matrix, strength: sympy.Rational | None
    ) -> None:
        super().__init__(equation, times, matrix, strength)
        generator = matrix + rate(t) * equation.linear
        flow = LinearFlow.named(equation.blocks, generator, self.eta.as_mutable(), 1)
        if commutes_with_integral(generator, t):
            integral = h * matrix + elapsed(t, s) * equation.linear
            closed, table = named_parts(exponential(integral, equation.process.parameters))
            table |= {e.func: Definition((t, s), c) for e, c in zip(flow.entries, closed, strict=True)}
        else:
            table = ordered(flow)
        self.definitions |= table
        self.flow = flow
        integrands = -self._carried(u, s) * self.eta.xreplace({t: u})
        self.quadratures.append(Quadrature((tuple(e.func for e in flow.moments[0]),), tuple(integrands)))
        self.flows.append(flow)
        self.transformed = False

    def _carried(self, start: sympy.Expr, end: sympy.Expr) -> sympy.Matrix:
        """E(end, start)."""
        if start == end:
            return sympy.eye(self.equation.size)
        return self.flow.entries.applyfunc(lambda e: e.func(start, end)).as_mutable()

    def evaluation(self, name: str, time: sympy.Expr) -> list[Evaluate | Combine]:
        """The network sees z = E(u, t) zhat."""
        if time == t or not self.transformed:
            return [Evaluate(name, time)]
        names = tuple(f"{b}_{name.removeprefix('eps_')}" for b in self.equation.blocks)
        return [self._mapped(names, time, "the state where the network is evaluated"), Evaluate(name, time, names)]

    def restore(self) -> list[Combine]:
        """Back to z at the step's end."""
        if not self.transformed:
            return []
        self.transformed = False
        return [self._mapped(self.equation.blocks, s, "back to the state itself")]

    def _mapped(self, names: Sequence[str], time: sympy.Expr, label: str) -> Combine:
        """names <- E(time, t) zhat."""
        rows, blocks = self._carried(t, time), self.equation.blocks
        updates = [
            (name, tuple(Term(rows[i, j], Block(b)) for j, b in enumerate(blocks))) for i, name in enumerate(names)
        ]
        return Combine(tuple(updates), label)

    def update(self, row: int, span: Span, evaluations: Sequence[WeightedEvaluation]) -> Update:
        """zhat_i <- zhat_i - length (A_u B A_u^{-1} zhat)_i + (A_b psi(a, b) eps)_i, u the time of the evaluation.

        A_b psi(a, b) = -A_a psi(b, a) by an integral towards the start, where A = I: the product would cancel, since
        A_b shrinks what psi(a, b) has grown by.
        """
        self.transformed = True
        blocks = self.equation.blocks
        a, b, at = self.times.at(span.start), self.times.at(span.end), evaluations[0].time
        weights = -self._carried(a, t) * self.flow.moments[0].applyfunc(lambda e: e.func(b, a)).as_mutable()
        linear = -span.weight * h * self._carried(at, t) * self.matrix * self._carried(t, at)
        terms = [Term(linear[row, j] + int(j == row), Block(block)) for j, block in enumerate(blocks)]
        terms += [
            Term(evaluation.factor * weights[row, j], Output(evaluation.name, block))
            for evaluation in evaluations
            for j, block in enumerate(blocks)
        ]
        return blocks[row], tuple(term for term in terms if term.coefficient != 0)
