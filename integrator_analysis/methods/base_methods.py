"""Base methods as data: how a step uses network evaluations, by polynomials through them or by a Runge-Kutta tableau.

Checks that a method makes sense; conjugation/ derives its step. Knows no process and no equation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational

import sympy

from integrator_analysis.algebra.symbols import PAST, t
from integrator_analysis.inputs import InputError, did_you_mean
from integrator_analysis.parametrisation.signal_to_noise import log_snr, ratio

__all__ = ["EULER", "VARIABLES", "Interpolatory", "RungeKutta", "Stage"]

VARIABLES: Mapping[str, sympy.Expr | None] = {"t": None, "rho": ratio(t), "log-SNR": log_snr(t)}
"""What the shares of a step are measured in, and polynomials are polynomials of."""


@dataclass(frozen=True)
class Stage:
    """The state at ``share`` of the way from t to s, with the network replaced by a polynomial.

    ``through`` names the evaluations that the polynomial passes: 0 is the one at t, 1, 2, ... those at the earlier
    stages of this step, -1, -2, ... those of earlier steps, in this order. ``rule`` "integral" integrates the
    polynomial exactly against the propagator. The two others simplify the polynomial through two evaluations, and no
    other: "middle" takes its value in the middle of the interval for all of it, "end" integrates its slope against
    the propagator's value at the end.
    """

    share: Fraction = Fraction(1)
    through: tuple[int, ...] = (0,)
    rule: str = "integral"


RULES = ("integral", "middle", "end")


@dataclass(frozen=True)
class Interpolatory:
    """Stages one after the other, the last one at the step's end; polynomials in ``variable``.

    Exponential Euler, Adams and Runge-Kutta methods are of this form, so are DPM-Solver, DEIS and UniPC.
    ``mend`` makes it a predictor-corrector: a step first replaces the polynomial of the step before, whose end it
    starts from, by the one through these evaluations, counted from this step's start: 0, -1, -2, ... It costs no
    evaluation of its own (predict, evaluate, correct). Before the first steps are made, polynomials have fewer nodes.

    Raises InputError for stages that are not in order, or evaluations that are not made yet or lie at one time.
    """

    stages: tuple[Stage, ...] = (Stage(),)
    variable: str = "t"
    mend: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.variable not in VARIABLES:
            raise did_you_mean(self.variable, VARIABLES, "variable")
        if not self.stages:
            raise InputError("a method of no stages makes no step; at least one stage is needed")
        _check_fractions("the shares of the stages", [stage.share for stage in self.stages])
        for n, stage in enumerate(self.stages):
            if stage.rule not in RULES:
                raise did_you_mean(stage.rule, RULES, "rule")
            _check_evaluations(stage.through, n, f"stage {n + 1}")
            shares = [0, *(earlier.share for earlier in self.stages[:n])]
            if len({shares[number] for number in stage.through if number >= 0}) < sum(m >= 0 for m in stage.through):
                raise InputError(
                    f"stage {n + 1} interpolates the evaluations {stage.through}, of which two lie at one time; "
                    "a polynomial needs distinct ones"
                )
            last = n == len(self.stages) - 1
            if not 0 < stage.share <= 1 or (stage.share == 1) != last:
                raise InputError(
                    f"stage {n + 1} of {len(self.stages)} lies at {stage.share}; stages before the last lie between "
                    "0 and 1, the last one at 1"
                )
        if self.mend:
            _check_evaluations(self.mend, 0, "mend")
            if len(self.stages) > 1:
                raise InputError(f"a predictor-corrector has one stage, not {len(self.stages)}")
        if -self.depth > len(PAST) - 1:
            raise InputError(f"{-self.depth} earlier steps are read; at most {len(PAST) - 1} are kept")

    @property
    def depth(self) -> int:
        """The oldest evaluation that a step reads: 0 for a one-step method, negative otherwise."""
        oldest = [n for stage in self.stages for n in stage.through] + list(self.mend)
        predictor = [n - 1 for n in self.stages[-1].through] if self.mend else []
        return min([0, *oldest, *predictor])


def _check_fractions(what: str, values: Iterable[object]) -> None:
    """Raise InputError where ``values`` hold a float: coefficients of methods are exact."""
    for value in values:
        if not isinstance(value, Rational):
            raise InputError(f"{what} hold {value!r}; accepted: integers and fractions, such as Fraction(1, 2)")


def _check_evaluations(numbers: tuple[int, ...], newest: int, where: str) -> None:
    """Raise InputError unless ``numbers`` are distinct evaluations of this step, then -1, -2, ... without a gap."""
    past = [n for n in numbers if n < 0]
    here = [n for n in numbers if n >= 0]
    in_order = list(numbers) == here + [-j - 1 for j in range(len(past))]
    if not here or not in_order or len(set(here)) < len(here) or max(here) > newest:
        raise InputError(
            f"{where} interpolates the evaluations {numbers}; accepted: distinct numbers from 0 to {newest}, "
            "then -1, -2, ... without a gap"
        )


EULER = Interpolatory()
"""The exponential Euler method: one evaluation, held constant over the step."""


@dataclass(frozen=True)
class RungeKutta:
    """An explicit tableau on the transformed ODE, in ``variable``: row i of ``a`` has i entries; c are the row sums.

    Raises InputError for a tableau that is not explicit (a row too long), not consistent (b does not sum to one) or not
    of fractions.
    """

    a: tuple[tuple[Fraction, ...], ...]
    b: tuple[Fraction, ...]
    variable: str = "t"

    def __post_init__(self) -> None:
        if self.variable not in VARIABLES:
            raise did_you_mean(self.variable, VARIABLES, "variable")
        _check_fractions("the tableau's a and b", [*(entry for row in self.a for entry in row), *self.b])
        for i, row in enumerate(self.a):
            if len(row) != i:
                raise InputError(
                    f"row {i + 1} of the tableau has {len(row)} entries; an explicit tableau has {i} there"
                )
        if len(self.b) != len(self.a):
            raise InputError(f"the tableau has {len(self.a)} stages and {len(self.b)} weights b; as many are needed")
        if sum(self.b) != 1:
            raise InputError(f"the weights b sum to {sum(self.b)}; a consistent tableau has the sum 1")
        if any(not 0 <= c <= 1 for c in self.c):
            raise InputError(f"the tableau has nodes c = {', '.join(map(str, self.c))}; accepted: from 0 to 1")

    @property
    def c(self) -> tuple[Fraction, ...]:
        """The nodes: row sums of a."""
        return tuple(sum(row, Fraction(0)) for row in self.a)
