"""Splitting integrators: a word over A (position), B (momentum) and O (noise) becomes a step program.

Knows the sub-flows and when the score is evaluated (naive, reduced); knows no conjugation. Source: arXiv 2310.07894,
section 3.2. A word reads left to right in order of application, and a
letter that occurs twice takes half a step each time. Sub-flows A and B are Euler steps of one block of the reverse
dynamics; O is solved exactly. All coefficients are taken at the time of the update's score evaluation.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import sympy

from integrator_analysis.algebra.special import expm1
from integrator_analysis.base_methods import forward_step
from integrator_analysis.parametrisation import parametrisation
from integrator_analysis.processes import Process
from integrator_analysis.program import Block, Combine, Evaluate, Noise, StepProgram, Term
from integrator_analysis.symbols import InputError, h, s, t

__all__ = ["LETTERS", "Splitting"]

LETTERS = "ABO"
SCORE_LETTERS = "AB"
NOISE = "O"


@dataclass(frozen=True)
class Splitting:
    """The composition of a ``word``'s sub-flows; it is stochastic (splits the reverse SDE) if the word has an O.

    ``policy`` says when the score is evaluated. Naive: afresh before every A and every B, at the step's start time t.
    Reduced: A and B share the evaluation at (z_t, t) until a letter that occurs twice comes to its closing half;
    that half, and what follows, use one evaluation at the end time s = t - h.
    """

    word: str
    policy: Literal["naive", "reduced"] = "naive"

    def __post_init__(self) -> None:
        counts = Counter(self.word)
        unknown = [letter for letter in self.word if letter not in LETTERS]
        missing = [letter for letter in SCORE_LETTERS if letter not in counts]
        if unknown or missing or max(counts.values()) > 2:
            raise InputError(
                f"splitting word {self.word!r}: a word is made of A (position), B (momentum) and O (noise), "
                "has A and B once or twice each, and O at most twice"
            )
        if any(a == b for a, b in zip(self.word, self.word[1:], strict=False)):
            raise InputError(f"splitting word {self.word!r} repeats a letter; write the letter once instead")
        if self.policy not in ("naive", "reduced"):
            raise InputError(f"score policy {self.policy!r} is unknown; accepted: naive, reduced")

    @property
    def stochastic(self) -> bool:
        return NOISE in self.word

    def lower(self, process: Process) -> StepProgram:
        """The step program on a phase-space process. Raises InputError on a process without momentum."""
        if len(process.blocks) != len(SCORE_LETTERS):
            raise InputError(
                f"splitting {self.word} needs a phase-space process (position and momentum); "
                f"{process.name} has the block(s) {', '.join(process.blocks)}"
            )
        stationary = process.stationary_covariance
        if stationary is None:
            raise InputError(f"splitting {self.word} needs a stationary distribution; {process.name} has none")
        counts, seen = Counter(self.word), Counter[str]()
        # The reverse SDE's linear part is split as -F + S (for A and B) and -S (for O), S = (1/2) G G^T Sigma_inf^{-1}.
        relaxation = process.diffusion * stationary**-1 / 2
        linear = -process.drift + (relaxation if self.stochastic else sympy.zeros(*relaxation.shape))
        score_factor = sympy.S.One if self.stochastic else sympy.Rational(1, 2)
        statements: list[Evaluate | Combine] = []
        current: Evaluate | None = None
        for letter in self.word:
            fraction = sympy.Rational(1, counts[letter])
            seen[letter] += 1
            size = fraction * h
            label = letter if fraction == 1 else f"{letter}, half step"
            if letter == NOISE:
                statements.append(Combine(self._noise(process, stationary, relaxation, size, seen[letter]), label))
                continue
            time = s if self.policy == "reduced" and self._closing(counts[letter], seen[letter], current) else t
            if current is None or self.policy == "naive" or time != current.time:
                current = Evaluate(f"eps_{sum(isinstance(st, Evaluate) for st in statements)}", time)
                statements.append(current)
            row = SCORE_LETTERS.index(letter)
            statements.append(Combine((forward_step(process, row, linear, score_factor, size, current),), label))
        return StepProgram(
            process=process,
            parametrisation=parametrisation("score", process).noisy(sympy.Integer(self.stochastic)),
            statements=tuple(statements),
            definitions=process.definitions,
            parameters=process.parameters,
            derivation=self._derivation(),
        )

    @staticmethod
    def _closing(count: int, seen: int, current: Evaluate | None) -> bool:
        """Whether this occurrence is a closing half step, or follows one."""
        return (count == 2 and seen == 2) or (current is not None and current.time == s)

    def _noise(
        self, process: Process, stationary: sympy.Matrix, relaxation: sympy.Matrix, size: sympy.Expr, occurrence: int
    ) -> tuple:
        """O: dz = -S z dt + G dw in reverse time, solved exactly with beta at the step's start."""
        updates = []
        for i, block in enumerate(process.blocks):
            if relaxation[i, i] == 0:
                continue
            exponent = size * relaxation[i, i]
            variance = -stationary[i, i] * expm1(-2 * exponent)
            terms = (
                Term(sympy.exp(-exponent), Block(block)),
                Term(sympy.sqrt(variance), Noise(f"xi_{block}_{occurrence}")),
            )
            updates.append((block, terms))
        return tuple(updates)

    def _derivation(self) -> tuple[str, ...]:
        kind = "reverse SDE" if self.stochastic else "probability-flow ODE"
        return (
            f"Splits the {kind} in reverse time by the word {self.word}, applied left to right; "
            "a letter that occurs twice takes half a step each time.",
            "A: Euler step of the position row; B: Euler step of the momentum row"
            + ("; O: exact Ornstein-Uhlenbeck step with S = (1/2) G G^T Sigma_inf^{-1}." if self.stochastic else "."),
            "Score evaluations: before every A and B, at the start time."
            if self.policy == "naive"
            else "Score evaluations: one shared by A and B at the start time; a closing half step uses the end time.",
        )
