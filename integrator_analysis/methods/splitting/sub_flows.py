"""What each letter of a splitting word does to the state, exactly or by Euler's method, and how much noise O makes.

Knows the terms that a letter has and how they are solved; splitting.py puts the letters in order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import sympy

from integrator_analysis.algebra.definitions import Definition
from integrator_analysis.algebra.linear_flow import LinearFlow
from integrator_analysis.algebra.matrices import exponential
from integrator_analysis.algebra.special import expm1, phi
from integrator_analysis.algebra.symbols import h, s, t
from integrator_analysis.inputs import InputError, as_rational
from integrator_analysis.methods.splitting.split_equation import SplitEquation, StepTimes
from integrator_analysis.methods.splitting.words import NOISE
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.processes.equation import elapsed, rate
from integrator_analysis.processes.kernel import noise_between
from integrator_analysis.program.statements import Block, Combine, Evaluate, Noise, Output, Quadrature, Term

__all__ = [
    "FrozenScore",
    "JointFlow",
    "RowNoise",
    "ScoredFlow",
    "Span",
    "UnscoredFlow",
    "Update",
    "WeightedEvaluation",
    "lambda_s",
]

lambda_s = sympy.Symbol("lambda_s", positive=True)
"""What the position noise of O is scaled by (arXiv 2310.07894, section 3.2); 1 is consistent with the reverse SDE."""

Update = tuple[str, tuple[Term, ...]]
"""A block, and the terms whose sum replaces it."""


@dataclass(frozen=True)
class Span:
    """The part of a step that one occurrence of a letter covers: its ``weight``, from the share ``start`` to ``end``.

    ``occurrence`` counts the letter from 1, so that every O has noises of its own.
    """

    weight: sympy.Expr
    start: sympy.Expr
    end: sympy.Expr
    occurrence: int


@dataclass(frozen=True)
class WeightedEvaluation:
    """An evaluation that a letter uses: its name, its time, and the factor that it is taken with."""

    name: str
    time: sympy.Expr
    factor: sympy.Expr


class ScoredFlow(ABC):
    """How the letters with score act: on the state itself, or on one that a conjugation has transformed.

    ``prediction`` is what evaluations are read as. The functions that a flow names, and the parameters that
    it brings in, are in its tables; they grow as updates are asked for.
    """

    prediction: str

    def __init__(self) -> None:
        self.definitions: dict[sympy.Function, Definition] = {}
        self.parameters: dict[sympy.Symbol, sympy.Expr] = {}
        self.flows: list[LinearFlow] = []
        self.quadratures: list[Quadrature] = []

    @abstractmethod
    def update(self, row: int, span: Span, evaluations: Sequence[WeightedEvaluation]) -> Update:
        """What becomes of a row over a span of the step; the newest evaluation first."""

    def evaluation(self, name: str, time: sympy.Expr) -> list[Evaluate | Combine]:
        """The statements that take an evaluation at a time of the step."""
        return [Evaluate(name, time)]

    def restore(self) -> list[Combine]:
        """The statements that give back the state itself, before a letter without score and at the step's end."""
        return []


class FrozenScore(ScoredFlow):
    """A, B and S with the score frozen, or the residual: by Euler's method (``euler``) or solved exactly."""

    def __init__(self, equation: SplitEquation, times: StepTimes, euler: bool, prediction: str) -> None:
        super().__init__()
        self.equation, self.times, self.euler, self.prediction = equation, times, euler, prediction

    def update(self, row: int, span: Span, evaluations: Sequence[WeightedEvaluation]) -> Update:
        """block <- own * block + length * (the row's other linear terms and its score terms)."""
        equation, blocks = self.equation, self.equation.blocks
        newest = evaluations[0].time
        own = equation.linear[row, row]
        if self.euler:
            length = span.weight * h * rate(newest)
            decay = 1 + length * own
            score = equation.score.xreplace({t: newest})
        else:
            b = self.times.elapsed(span.start, span.end)
            length, decay = b * phi(1, own * b), sympy.exp(own * b)
            score = equation.score
            if score.has(t):
                raise InputError(f"flow exact on {equation.process.name}: its diffusion is no multiple of its drift")
        terms = [Term(decay, Block(blocks[row]))]
        terms += [Term(length * equation.linear[row, j], Block(b)) for j, b in enumerate(blocks) if j != row]
        for evaluation in evaluations:
            factor = self._factor(length, score, evaluation)
            terms += [Term(factor[row, j], Output(evaluation.name, b)) for j, b in enumerate(blocks)]
        return blocks[row], _without_zeros(terms)

    def _factor(self, length: sympy.Expr, score: sympy.Matrix, evaluation: WeightedEvaluation) -> sympy.Matrix:
        """The factor of an evaluation, a score or residual, or eps in their place: -eta eps = (1/2) G G^T s."""
        if self.prediction != "eps":
            return length * evaluation.factor * score
        at = {t: evaluation.time}
        eta = parametrisation("eps", self.equation.process).eta.xreplace(at)
        factor = -length * evaluation.factor / rate(evaluation.time) * eta
        if self.equation.score.has(t):  # on one block: G G^T of the newest evaluation, as for any word
            factor *= score[0, 0] / self.equation.score[0, 0].xreplace(at)
        return factor


class UnscoredFlow(ABC):
    """How the letters without score act: O, which makes the noise, and L."""

    def __init__(self) -> None:
        self.definitions: dict[sympy.Function, Definition] = {}
        self.parameters: dict[sympy.Symbol, sympy.Expr] = {}
        self.flows: list[LinearFlow] = []

    @abstractmethod
    def updates(self, letter: str, span: Span) -> list[Update]:
        """What becomes of all blocks over a span of the step; none where the letter does nothing."""


class RowNoise(UnscoredFlow):
    """O of a word over A and B: dz = -kappa^2 R z dh + kappa G dw, R diagonal, solved exactly.

    ``euler`` takes beta at the step's start, as the paper does. ``scale`` is lambda_s, read as ``reading`` says.
    """

    def __init__(self, equation: SplitEquation, times: StepTimes, euler: bool, scale: float, reading: str) -> None:
        super().__init__()
        self.equation, self.times, self.euler = equation, times, euler
        self.scale, self.reading = scale, reading

    def updates(self, letter: str, span: Span) -> list[Update]:
        equation = self.equation
        b = span.weight * h * rate(t) if self.euler else self.times.elapsed(span.start, span.end)
        updates: list[Update] = []
        for i, block in enumerate(equation.blocks):
            speed = equation.kappa**2 * equation.relaxation[i, i]
            if speed == 0:
                continue
            exponent, factor = speed * b, sympy.S.One
            if i == 0 and self.scale != 1:
                exponent, factor = self._scaled(speed, b, span)
            assert equation.process.stationary_covariance is not None  # or R would not be known
            variance = -equation.process.stationary_covariance[i, i] * expm1(-2 * exponent)
            terms = (
                Term(sympy.exp(-speed * b), Block(block)),
                Term(factor * sympy.sqrt(variance), Noise(f"xi_{block}_{span.occurrence}")),
            )
            updates.append((block, terms))
        if self.scale != 1 and lambda_s not in self.parameters:
            raise InputError(f"lambda_s = {self.scale}: O makes no position noise on {equation.process.name}")
        return updates

    def _scaled(self, speed: sympy.Expr, b: sympy.Expr, span: Span) -> tuple[sympy.Expr, sympy.Expr]:
        """The exponent of the position noise and a factor of it, with lambda_s in one of the two."""
        self.parameters[lambda_s] = as_rational(self.scale, "lambda_s")
        if self.reading == "factor":
            return speed * b, lambda_s
        middle = span.weight * (t + s) / 2 * rate(t)
        return lambda_s * speed * (middle if self.reading == "mid-time" else b), sympy.S.One


class JointFlow(UnscoredFlow):
    """L or O of all rows: dz = N z db, with O's noise, solved exactly."""

    def __init__(self, equation: SplitEquation, times: StepTimes, scale: float) -> None:
        super().__init__()
        self.equation, self.times, self.scale = equation, times, scale

    def updates(self, letter: str, span: Span) -> list[Update]:
        if self.scale != 1:
            raise InputError("lambda_s belongs to the O of words over A and B")
        equation = self.equation
        n = -equation.process.drift_per_unit
        if letter == NOISE:
            n -= (1 + equation.kappa**2) * equation.relaxation
        if equation.size == 1:
            return self._of_one_block(n[0, 0] * self.times.elapsed(span.start, span.end), letter, span)
        if not self.flows:  # a word has one letter without score
            self.flows.append(self._named_flow(n, letter == NOISE))
        flow, ends = self.flows[0], (self.times.at(span.start), self.times.at(span.end))
        updates: list[Update] = []
        for i, block in enumerate(equation.blocks):
            terms = [Term(flow.entries[i, j].func(*ends), Block(b)) for j, b in enumerate(equation.blocks)]
            if flow.spread is not None:
                terms += [
                    Term(e, Noise(f"xi_{b}_{span.occurrence}"))
                    for b, e in zip(equation.blocks, flow.noise_row(i, *ends), strict=True)
                ]
            updates.append((block, _without_zeros(terms)))
        return updates

    def _of_one_block(self, exponent: sympy.Expr, letter: str, span: Span) -> list[Update]:
        """L or O on a process of one block, growing by exp(exponent); nothing for an L that does not grow."""
        block, stationary = self.equation.blocks[0], self.equation.process.stationary_covariance
        terms = [Term(sympy.exp(exponent), Block(block))]
        if letter == NOISE:
            variance = self.equation.kappa**2 * self.times.elapsed(span.start, span.end)
            if stationary is not None:
                variance = -stationary[0, 0] * expm1(2 * exponent)
            terms.append(Term(sympy.sqrt(variance), Noise(f"xi_{block}_{span.occurrence}")))
        return [(block, tuple(terms))] if exponent != 0 or letter == NOISE else []

    def _named_flow(self, n: sympy.Matrix, noisy: bool) -> LinearFlow:
        """The joint flow z' = N z per unit of the clock by named entries, and with noise its covariance."""
        process, blocks, kappa = self.equation.process, self.equation.blocks, self.equation.kappa
        flow = LinearFlow.named(blocks, rate(t) * n, sympy.zeros(self.equation.size), 0)
        closed = exponential(n * elapsed(t, s), process.parameters)
        self.definitions |= {e.func: Definition((t, s), c) for e, c in zip(flow.entries, closed, strict=True)}
        if not noisy:
            return flow
        flow = flow.with_spread(blocks, kappa**2 * process.diffusion)
        c, moments = noise_between(replace(process, drift_per_unit=n))
        c = kappa**2 * c
        self.definitions |= moments
        assert flow.spread is not None
        x, slope, m = flow.spread
        self.definitions |= {
            m.func: Definition((t, s), c[1, 1]),
            slope.func: Definition((t, s), c[0, 1] / m.func(t, s)),
            x.func: Definition((t, s), c[0, 0] - c[0, 1] * slope.func(t, s)),
        }
        return flow


def _without_zeros(terms: Sequence[Term]) -> tuple[Term, ...]:
    return tuple(term for term in terms if term.coefficient != 0)
