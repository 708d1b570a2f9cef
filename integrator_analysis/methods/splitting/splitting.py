"""Splitting integrators: a word over sub-flows becomes a step program.

Knows what each letter of a word does, exactly or by Euler's method, and how much noise O makes; words.py knows when the
score is evaluated. Knows no conjugation. Source: arXiv 2310.07894, section 3.2.

In reverse time dz = [-F z + (1 + kappa^2)/2 G G^T s] dh + kappa G dw has the process's marginals for every kappa. With
R = (1/2) G G^T Sigma_inf^{-1}, the letters split its right-hand side into
    A, B  the position and the momentum row of [-F + kappa^2 R] z + (1 + kappa^2)/2 G G^T s;
    O     -kappa^2 R z with the noise, which leaves the stationary distribution alone;
or, with all rows at once,
    S     (1 + kappa^2) [R z + (1/2) G G^T s];
    O     [-F - (1 + kappa^2) R] z with the noise, which leaves the stationary distribution alone as well;
or, without noise,
    S     (1/2) G G^T s;         L     -F z.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import sympy

from integrator_analysis.algebra.definitions import Definition, Definitions
from integrator_analysis.algebra.linear_flow import LinearFlow
from integrator_analysis.algebra.matrices import exponential
from integrator_analysis.algebra.special import expm1, phi
from integrator_analysis.algebra.symbols import h, s, t
from integrator_analysis.inputs import InputError, as_rational, did_you_mean
from integrator_analysis.methods.splitting.prose import (
    LETTER_TEXT,
    LINEAR_TEXT,
    NOISE_TEXT,
    placement_text,
    shares_text,
    word_text,
)
from integrator_analysis.methods.splitting.sub_flows import Update, lambda_s
from integrator_analysis.methods.splitting.words import NOISE, Factor, check_evaluations, place, placed, read_word
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.processes import Process
from integrator_analysis.processes.equation import clock, elapsed, rate
from integrator_analysis.processes.kernel import noise_between
from integrator_analysis.program.statements import Block, Combine, Evaluate, Node, Noise, Output, Quadrature, Term
from integrator_analysis.program.step_program import StepProgram

__all__ = ["FLOWS", "POLICIES", "READINGS", "Splitting"]

POLICIES = ("naive", "reduced")

FLOWS = ("euler", "exact", "residual")

READINGS = ("factor", "exponent", "mid-time")
"""What lambda_s scales: the noise itself; its exponent, as in 1 - exp(-lambda_s Gamma beta h); or the same with the
time in the middle of the step in place of h, so that the noise does not vanish with h."""

Policy = Literal["naive", "reduced"]

Flow = Literal["euler", "exact", "residual"]

Reading = Literal["factor", "exponent", "mid-time"]


@dataclass(frozen=True)
class Splitting:
    """The composition of a ``word``'s sub-flows; it splits the reverse SDE if the word has an O.

    ``policy`` places the evaluations of the score where the word does not: see ``words.place``. ``flow`` "euler":
    A, B and S are Euler steps with coefficients at the time of their evaluation, O has beta at the step's start, as in
    the paper; "exact": each is solved exactly with the score frozen, over the part of the step that its weights span;
    "residual": exactly with the residual s + Sigma_inf^{-1} z frozen, so that close to the stationary distribution,
    where score and drift cancel, they still do.
    ``noise`` is kappa, of no meaning without O. ``scale`` is lambda_s, read as ``reading`` says.
    Raises InputError for a word, a name or a number that is not usable.
    """

    word: str | tuple[Factor, ...]
    policy: Policy = "naive"
    flow: Flow = "euler"
    noise: float = 1.0
    scale: float = 1.0
    reading: Reading = "factor"

    def __post_init__(self) -> None:
        if isinstance(self.word, str):
            read_word(self.word)
            if placed(self.word) and self.policy != "naive":
                raise InputError(f"splitting word {self.word!r} places its evaluations itself, so it takes no policy")
        for value, known, what in (
            (self.policy, POLICIES, "score policy"),
            (self.flow, FLOWS, "flow"),
            (self.reading, READINGS, "reading of lambda_s"),
        ):
            if value not in known:
                raise did_you_mean(str(value), known, what)
        if isinstance(self.word, str):
            check_evaluations(self.word, self.factors)
        if self.stochastic and not self.noise > 0:
            raise InputError(f"noise = {self.noise}: a word with O needs noise > 0; leave O out for none")
        if not self.stochastic and (self.noise, self.scale) != (1.0, 1.0):
            raise InputError("noise and lambda_s belong to O, which the word does not have")
        if not self.scale >= 0:
            raise InputError(f"lambda_s = {self.scale}; accepted: 0 or more")
        if self.stochastic and self.continued:
            raise InputError("a word with O takes its first evaluation itself: write @0 at its first A, B or S")

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The sub-flows with their evaluations."""
        return place(read_word(self.word) if isinstance(self.word, str) else self.word, self.policy)

    @property
    def stochastic(self) -> bool:
        return any(f.letter == NOISE for f in self.factors)

    @property
    def continued(self) -> bool:
        """Whether a step begins with the last evaluation of the step before."""
        return next(f for f in self.factors if f.scored).share is None

    def lower(self, process: Process) -> StepProgram:
        """The step program. Raises InputError on a process that lacks what the word's letters split."""
        return SplittingLowering(self, process).program()


class SplittingLowering:
    """One word on one process: its linear parts per unit of the clock int beta, and the statements of its step.

    What a conjugation changes are ``scored``, ``evaluate`` and ``close``.
    """

    unknown = ""
    """What evaluations are read as; left to the word if empty."""

    def __init__(self, method: Splitting, process: Process) -> None:
        self.method, self.process = method, process
        self.blocks, self.k = process.blocks, len(process.blocks)
        self.factors = method.factors
        letters = {f.letter for f in self.factors}
        self.rows = "A" in letters
        if self.rows and self.k != 2:
            raise InputError(
                f"splitting {word_text(self.factors)} needs a phase-space process (position and momentum); "
                f"{process.name} has the block(s) {', '.join(self.blocks)}, which the letters S, O and L split"
            )
        if method.continued and process.network != "eps":
            raise InputError(
                f"the word {word_text(self.factors)} begins with the last evaluation of the step before, which is eps; "
                f"networks of {process.name} return {process.network}, so write @0 at its first factor with a score"
            )
        self.kappa = as_rational(method.noise, "noise") if method.stochastic else sympy.S.Zero
        self.diffusion = (process.diffusion / rate(t)).applyfunc(sympy.cancel)
        residual = method.flow == "residual"
        self.relaxation = self._relaxation() if method.stochastic or residual else sympy.zeros(self.k)
        self.score = (1 + self.kappa**2) / 2 * self.diffusion
        self.linear = (
            -process.drift_per_unit + self.kappa**2 * self.relaxation
            if self.rows
            else (1 + self.kappa**2) * self.relaxation
        )
        if residual:
            self.linear -= (1 + self.kappa**2) * self.relaxation
        self.name = self.unknown or ("residual" if residual else "eps" if method.continued else "score")
        self.parameters: dict[sympy.Symbol, sympy.Expr] = dict(process.parameters)
        self.nodes: dict[sympy.Rational, Node] = {}
        self.table: dict[sympy.Function, Definition] = {}
        self.flow: LinearFlow | None = None
        self.flows: list[LinearFlow] = []
        self.quadratures: list[Quadrature] = []

    def _relaxation(self) -> sympy.Matrix:
        """R per unit of the clock: (1/2) D Sigma_inf^{-1}; 0 where nothing drifts and noise alone grows."""
        process = self.process
        if process.diffusion_per_unit.has(clock):
            raise InputError(
                f"O and flow residual on {process.name}: its diffusion is no multiple of its drift at all times"
            )
        if process.stationary_covariance is not None:
            relaxation = process.diffusion_per_unit * process.stationary_covariance**-1 / 2
            if self.rows and not relaxation.is_diagonal():
                raise InputError(f"O of a word over A and B: the noise of {process.name} couples position and momentum")
            return relaxation
        if self.rows or any(process.drift_per_unit):
            raise InputError(
                f"O and flow residual need a stationary distribution, or no drift; {process.name} has neither"
            )
        return sympy.zeros(self.k)

    # -- the program ---------------------------------------------------------------------------------------------
    def program(self) -> StepProgram:
        statements: list[Evaluate | Combine] = []
        seen = Counter[str]()
        past: list[tuple[str, sympy.Expr]] = [("past_1", t)] if self.method.continued else []
        taken: list[tuple[str, sympy.Expr]] = list(past)  # evaluations and their times, newest first
        begins: dict[str, sympy.Expr] = {}
        for f in self.factors:
            seen[f.letter] += 1
            start = begins.get(f.letter, sympy.S.Zero)
            begins[f.letter] = end = start + f.weight
            label = f.letter if f.weight == 1 else f"{f.letter}, {'half' if f.weight * 2 == 1 else f.weight} step"
            if not f.scored:
                statements += self.close()
            if f.share is not None:
                name, time = f"eps_{len(taken) - len(past)}", self.time(f.share)
                statements += self.evaluate(name, time)
                taken.insert(0, (name, time))
            if f.scored:
                outputs = list(zip(taken, f.mix, strict=False))
                rows = ("AB".index(f.letter),) if self.rows else range(self.k)
                updates = [self.scored(i, f.weight, start, end, outputs) for i in rows]
            elif self.rows:
                updates = self._noise(f.weight, start, end, seen[f.letter])
            else:
                updates = self._joint(f.letter, start, end, seen[f.letter])
            if updates:
                statements.append(Combine(tuple(updates), label))
        statements += self.close()
        return StepProgram(
            process=self.process,
            parametrisation=parametrisation(self.name, self.process).noisy(self.kappa),
            statements=tuple(statements),
            definitions=self._definitions(),
            parameters=self.parameters,
            flows=tuple(self.flows),
            quadratures=tuple(self.quadratures),
            account=self.derivation(),
            nodes=tuple(self.nodes.values()),
            history=len(past),
            kept=taken[0][0] if past else "",
            primed=bool(past),
        )

    def _definitions(self) -> Definitions:
        par = parametrisation(self.name, self.process)
        return self.process.definitions.with_(par.definitions if self.name != "score" else {}).with_(self.table)

    def evaluate(self, name: str, time: sympy.Expr) -> list[Evaluate | Combine]:
        """The statements that take an evaluation."""
        return [Evaluate(name, time)]

    def close(self) -> list[Combine]:
        """What comes before a letter without score, and after the last letter."""
        return []

    def time(self, share: sympy.Expr) -> sympy.Expr:
        if share in (0, 1):
            return s if share == 1 else t
        if not share.is_Rational:
            return t - share * h
        if share not in self.nodes:
            self.nodes[share] = Node(sympy.Symbol(f"t_{len(self.nodes) + 1}", positive=True), share)
        return self.nodes[share].symbol

    def _clock(self, start: sympy.Expr, end: sympy.Expr) -> sympy.Expr:
        """int beta over the part of the step between two shares."""
        return elapsed(self.time(start), self.time(end)) if start != end else sympy.S.Zero

    # -- sub-flows -----------------------------------------------------------------------------------------------
    def scored(
        self,
        row: int,
        weight: sympy.Expr,
        start: sympy.Expr,
        end: sympy.Expr,
        outputs: Sequence[tuple[tuple[str, sympy.Expr], sympy.Expr]],
    ) -> Update:
        """block <- own * block + length * (the row's other linear terms and its score terms)."""
        newest = outputs[0][0][1]
        own = self.linear[row, row]
        if self.method.flow == "euler":
            length = weight * h * rate(newest)
            decay = 1 + length * own
            score = self.score.xreplace({t: newest})
        else:
            b = self._clock(start, end)
            length, decay = b * phi(1, own * b), sympy.exp(own * b)
            score = self.score
            if score.has(t):
                raise InputError(f"flow exact on {self.process.name}: its diffusion is no multiple of its drift")
        terms = [Term(decay, Block(self.blocks[row]))]
        terms += [Term(length * self.linear[row, j], Block(b)) for j, b in enumerate(self.blocks) if j != row]
        for (name, time), share in outputs:
            factor = length * share * score
            if self.name == "eps":  # -eta eps = (1/2) G G^T s
                factor = -length * share / rate(time) * parametrisation("eps", self.process).eta.xreplace({t: time})
                if self.score.has(t):  # on one block: G G^T of the newest evaluation, as for any word
                    factor *= score[0, 0] / self.score[0, 0].xreplace({t: time})
            terms += [Term(factor[row, j], Output(name, b)) for j, b in enumerate(self.blocks)]
        return self.blocks[row], tuple(term for term in terms if term.coefficient != 0)

    def _noise(self, weight: sympy.Expr, start: sympy.Expr, end: sympy.Expr, occurrence: int) -> list[Update]:
        """O of rows: dz = -kappa^2 R z dh + kappa G dw, R diagonal, solved exactly."""
        euler = self.method.flow == "euler"
        b = weight * h * rate(t) if euler else self._clock(start, end)
        updates: list[Update] = []
        for i, block in enumerate(self.blocks):
            speed = self.kappa**2 * self.relaxation[i, i]
            if speed == 0:
                continue
            exponent, factor = speed * b, sympy.S.One
            if i == 0 and self.method.scale != 1:
                self.parameters[lambda_s] = as_rational(self.method.scale, "lambda_s")
                middle = weight * (t + s) / 2 * rate(t)
                scaled = lambda_s * speed * (middle if self.method.reading == "mid-time" else b)
                exponent, factor = (exponent, lambda_s) if self.method.reading == "factor" else (scaled, factor)
            assert self.process.stationary_covariance is not None  # or _relaxation had refused
            variance = -self.process.stationary_covariance[i, i] * expm1(-2 * exponent)
            terms = (
                Term(sympy.exp(-speed * b), Block(block)),
                Term(factor * sympy.sqrt(variance), Noise(f"xi_{block}_{occurrence}")),
            )
            updates.append((block, terms))
        if self.method.scale != 1 and lambda_s not in self.parameters:
            raise InputError(f"lambda_s = {self.method.scale}: O makes no position noise on {self.process.name}")
        return updates

    def _joint(self, letter: str, start: sympy.Expr, end: sympy.Expr, occurrence: int) -> list[Update]:
        """L or O of all rows: dz = N z db, with O's noise, solved exactly."""
        if self.method.scale != 1:
            raise InputError("lambda_s belongs to the O of words over A and B")
        n = -self.process.drift_per_unit
        if letter == NOISE:
            n -= (1 + self.kappa**2) * self.relaxation
        if self.k == 1:
            return self._joint_of_one(n[0, 0] * self._clock(start, end), letter, start, end, occurrence)
        flow = self._flow(n, letter == NOISE)
        ends = (self.time(start), self.time(end))
        updates: list[Update] = []
        for i, block in enumerate(self.blocks):
            terms = [Term(flow.entries[i, j].func(*ends), Block(b)) for j, b in enumerate(self.blocks)]
            if flow.spread is not None:
                terms += [
                    Term(e, Noise(f"xi_{b}_{occurrence}"))
                    for b, e in zip(self.blocks, flow.noise_row(i, *ends), strict=True)
                ]
            updates.append((block, tuple(term for term in terms if term.coefficient != 0)))
        return updates

    def _joint_of_one(
        self, exponent: sympy.Expr, letter: str, start: sympy.Expr, end: sympy.Expr, occurrence: int
    ) -> list[Update]:
        """L or O on a process of one block, growing by exp(exponent); nothing for an L that does not grow."""
        block, stationary = self.blocks[0], self.process.stationary_covariance
        terms = [Term(sympy.exp(exponent), Block(block))]
        if letter == NOISE:
            variance = self.kappa**2 * self._clock(start, end)
            if stationary is not None:
                variance = -stationary[0, 0] * expm1(2 * exponent)
            terms.append(Term(sympy.sqrt(variance), Noise(f"xi_{block}_{occurrence}")))
        return [(block, tuple(terms))] if exponent != 0 or letter == NOISE else []

    def _flow(self, n: sympy.Matrix, noisy: bool) -> LinearFlow:
        """The joint flow z' = N z per unit of the clock by named entries, and with noise its covariance."""
        if self.flow is not None:
            return self.flow
        flow = LinearFlow.named(self.blocks, rate(t) * n, sympy.zeros(self.k), 0)
        closed = exponential(n * elapsed(t, s), self.process.parameters)
        self.table |= {e.func: Definition((t, s), c) for e, c in zip(flow.entries, closed, strict=True)}
        if noisy:
            flow = flow.with_spread(self.blocks, self.kappa**2 * self.process.diffusion)
            c, moments = noise_between(replace(self.process, drift_per_unit=n))
            c = self.kappa**2 * c
            self.table |= moments
            assert flow.spread is not None
            x, slope, m = flow.spread
            self.table |= {
                m.func: Definition((t, s), c[1, 1]),
                slope.func: Definition((t, s), c[0, 1] / m.func(t, s)),
                x.func: Definition((t, s), c[0, 0] - c[0, 1] * slope.func(t, s)),
            }
        self.flow = flow
        self.flows.append(flow)
        return flow

    # -- words ---------------------------------------------------------------------------------------------------
    def derivation(self) -> tuple[str, ...]:
        kind = "probability-flow ODE"
        if self.method.stochastic:
            kind = "reverse SDE" if self.kappa == 1 else f"SDE of strength kappa = {self.kappa} with the same marginals"
        lines = [
            f"Splits the {kind}, in reverse time, by the word {word_text(self.factors)}. Its letters are applied from "
            f"left to right, {shares_text(self.factors)}.",
            "; ".join(
                [
                    LETTER_TEXT[self.rows, self.method.flow],
                    *([NOISE_TEXT[self.rows]] if self.method.stochastic else []),
                    *([LINEAR_TEXT] if any(f.letter == "L" for f in self.factors) else []),
                ]
            )
            + ".",
            "Score evaluations: " + placement_text(self.factors) + ".",
        ]
        if self.method.continued:
            lines.append(
                f"A step begins with the last evaluation of the step before, read as {self.name}. Before the first "
                "step, one evaluation is made at its start."
            )
        if lambda_s in self.parameters:
            lines.append(
                f"lambda_s scales the position noise of O (reading: {self.method.reading}). Only with lambda_s = 1 is "
                "this the noise of a reverse process with these marginals."
            )
        return tuple(lines)
