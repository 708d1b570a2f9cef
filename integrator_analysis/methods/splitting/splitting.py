"""Splitting integrators: a word over sub-flows becomes a step program.

Knows what a user may ask for and the order of a word's letters; words.py knows when the score is evaluated,
split_equation.py which terms a letter has, and sub_flows.py what it does with them. Knows no conjugation. Source:
arXiv 2310.07894, section 3.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sympy

from integrator_analysis.algebra.symbols import t
from integrator_analysis.inputs import InputError, as_rational, did_you_mean
from integrator_analysis.methods.splitting.prose import describe, describe_letters
from integrator_analysis.methods.splitting.split_equation import SplitEquation, StepTimes, split
from integrator_analysis.methods.splitting.sub_flows import (
    FrozenScore,
    JointFlow,
    RowNoise,
    ScoredFlow,
    Span,
    UnscoredFlow,
    WeightedEvaluation,
)
from integrator_analysis.methods.splitting.words import NOISE, Factor, check_evaluations, place, placed, read_word
from integrator_analysis.parametrisation.registry import parametrisation
from integrator_analysis.processes import Process
from integrator_analysis.program.statements import Combine, Evaluate
from integrator_analysis.program.step_program import StepProgram

__all__ = ["FLOWS", "POLICIES", "READINGS", "Splitting", "assemble", "split_for"]

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
        equation, times = split_for(self, process), StepTimes()
        prediction = "residual" if self.flow == "residual" else "eps" if self.continued else "score"
        scored = FrozenScore(equation, times, self.flow == "euler", prediction)
        return assemble(self, equation, times, scored, describe_letters(self.factors, self.flow))


def split_for(method: Splitting, process: Process) -> SplitEquation:
    """The process's equation, split for a method's word. Raises InputError where the process lacks what it needs."""
    equation = split(method.factors, process, as_rational(method.noise, "noise"), method.flow == "residual")
    if method.continued and process.network != "eps":
        word = "".join(f.letter for f in method.factors)
        raise InputError(
            f"the word {word} begins with the last evaluation of the step before, which is eps; "
            f"networks of {process.name} return {process.network}, so write @0 at its first factor with a score"
        )
    return equation


def assemble(
    method: Splitting, equation: SplitEquation, times: StepTimes, scored: ScoredFlow, letters: str
) -> StepProgram:
    """The step program of a word whose letters with score act as ``scored`` does; ``letters`` says so in words."""
    process = equation.process
    unscored: UnscoredFlow = (
        RowNoise(equation, times, method.flow == "euler", method.scale, method.reading)
        if equation.rows
        else JointFlow(equation, times, method.scale)
    )
    past = [("past_1", t)] if method.continued else []
    statements, newest = _statements(method.factors, equation, times, scored, unscored, past)
    prediction = parametrisation(scored.prediction, process)
    definitions = process.definitions.with_(prediction.definitions if scored.prediction != "score" else {})
    return StepProgram(
        process=process,
        parametrisation=prediction.noisy(equation.kappa),
        statements=tuple(statements),
        definitions=definitions.with_({**scored.definitions, **unscored.definitions}),
        parameters={**process.parameters, **scored.parameters, **unscored.parameters},
        flows=(*scored.flows, *unscored.flows),
        quadratures=tuple(scored.quadratures),
        account=describe(
            method.factors, equation.kappa, letters, scored.prediction, method.reading if method.scale != 1 else ""
        ),
        nodes=tuple(times.nodes.values()),
        history=len(past),
        kept=newest if past else "",
        primed=bool(past),
    )


def _statements(
    factors: Sequence[Factor],
    equation: SplitEquation,
    times: StepTimes,
    scored: ScoredFlow,
    unscored: UnscoredFlow,
    past: Sequence[tuple[str, sympy.Expr]],
) -> tuple[list[Evaluate | Combine], str]:
    """One step, letter by letter, and the name of its newest evaluation; ``past`` are those of the step before."""
    statements: list[Evaluate | Combine] = []
    taken = list(past)  # evaluations and their times, newest first
    seen = Counter[str]()
    begins: dict[str, sympy.Expr] = {}
    for f in factors:
        # Each letter has a time of its own: it begins where its last occurrence ended.
        seen[f.letter] += 1
        start = begins.get(f.letter, sympy.S.Zero)
        begins[f.letter] = end = start + f.weight
        span = Span(f.weight, start, end, seen[f.letter])
        if not f.scored:
            statements += scored.restore()
        if f.share is not None:
            name, time = f"eps_{len(taken) - len(past)}", times.at(f.share)
            statements += scored.evaluation(name, time)
            taken.insert(0, (name, time))
        if f.scored:
            evaluations = [
                WeightedEvaluation(name, time, factor) for (name, time), factor in zip(taken, f.mix, strict=False)
            ]
            rows = ("AB".index(f.letter),) if equation.rows else range(equation.size)
            updates = [scored.update(row, span, evaluations) for row in rows]
        else:
            updates = unscored.updates(f.letter, span)
        if updates:
            label = f.letter if f.weight == 1 else f"{f.letter}, {'half' if f.weight * 2 == 1 else f.weight} step"
            statements.append(Combine(tuple(updates), label))
    statements += scored.restore()
    return statements, taken[0][0]
