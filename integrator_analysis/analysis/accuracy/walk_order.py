"""The order of a whole walk beside that of its steps: what the first steps of a multistep scheme leave of it.

Knows step programs and local errors; takes no step. A step of a walk adds its local error once. All n steps of order p
together leave h**p, h = 1/n; a single first step of local error h**e leaves h**e, which is more where e < p.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from integrator_analysis.analysis.accuracy.cost import BUDGET
from integrator_analysis.analysis.accuracy.global_error import startup_program
from integrator_analysis.analysis.accuracy.local_error import derive_local_error
from integrator_analysis.program.step_program import StepProgram

__all__ = ["WalkOrder", "derive_first_steps"]


@dataclass(frozen=True)
class WalkOrder:
    """Orders of walks with n steps from a first time to a last one above 0, on a grid whose steps shrink as 1/n.

    ``step`` is the order of a step with its whole past; ``first_steps`` those of the first steps, which have less of
    it. A predictor-corrector (``mends``) corrects the end of each step but the last.
    """

    step: int
    first_steps: tuple[int, ...] = ()
    mends: bool = False

    @property
    def plain(self) -> int:
        """The order with a plain start: a first step of order q adds h**(q + 1), once.

        >>> WalkOrder(4, (1, 2, 3)).plain, WalkOrder(2, (1,)).plain
        (2, 2)
        """
        return min(self.step, *(order + 1 for order in self.first_steps)) if self.first_steps else self.step

    @property
    def graded(self) -> int | None:
        """The order with a graded start, whose j-th step has the length h**(p/(j + 1)); None where there is none.

        >>> WalkOrder(4, (1, 2, 3)).graded, WalkOrder(2, (1,)).graded
        (4, None)
        """
        if not self.first_steps or self.step < 3:
            return None
        powers = [max(Fraction(self.step, j + 1), Fraction(1)) for j in range(1, len(self.first_steps) + 1)]
        added = [power * (order + 1) for power, order in zip(powers, self.first_steps, strict=True)]
        return int(min(Fraction(self.step), *added))

    @property
    def lowered(self) -> int:
        """The order of a plain walk that ends with steps of lower order, the last of order one: two at most."""
        return min(self.plain, 2)

    def in_words(self) -> str:
        """One sentence or two: the order of a walk with each start, and why it is not that of a step."""
        if not self.first_steps:
            return f"A walk has the order of its steps, {self.step}."
        first = ", ".join(map(str, self.first_steps))
        many = len(self.first_steps) > 1
        which = f"steps have orders {first}, and each adds" if many else f"step has order {first} and adds"
        text = f"The first {which}"
        text += " its error once: "
        text += f"a walk from a plain start has order {self.plain}"
        text += f", from a graded start {self.graded}." if self.graded is not None else "."
        if self.mends:
            text += (
                " By default a predictor-corrector's final orders are lowered, to one in the last step, so that its "
                f"walks have order {self.lowered}; with lower_order_final=False {self.plain}."
            )
        return text


def derive_first_steps(program: StepProgram, budget: float = BUDGET) -> tuple[int, ...]:
    """Derive the orders of the first steps of a multistep scheme, of which the j-th reads j - 1 earlier outputs.

    Empty for a scheme that reads none. The steps of a predictor-corrector are derived as they are predicted; their
    correction, by a polynomial through one evaluation more, adds one to the order. Raises InputError before an
    expansion that is expected to take more than ``budget`` seconds.
    """
    predicted = _without_mending(program)
    count = 0 if program.primed else program.history - bool(program.cycle)
    errors = [derive_local_error(startup_program(predicted, past), budget=budget) for past in range(count)]
    return tuple(min(error.exponents.values()) - 1 + bool(program.cycle) for error in errors)


def _without_mending(program: StepProgram) -> StepProgram:
    """The step of a predictor-corrector as it is predicted, from an end of the step before that is correct."""
    if not program.cycle:
        return program
    first = program.evaluations[0]
    statements = (first, *program.statements[program.cycle :])
    return replace(program, statements=statements, cycle=0)
