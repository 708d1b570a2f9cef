"""Named base methods that several families share: Runge-Kutta tableaux and exponential Adams methods.

Data only: numbers, and the variable in which polynomials are polynomials.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from integrator_analysis.methods.base_methods import EULER, Interpolatory, RungeKutta, Stage

__all__ = [
    "BASES",
    "HALF",
    "HEUN",
    "MIDPOINT",
    "MIDPOINT_STEP",
    "RK4",
    "THIRD",
    "THIRD_ORDER_STEP",
    "TWO_THIRDS",
    "adams",
]

HALF, THIRD, TWO_THIRDS = Fraction(1, 2), Fraction(1, 3), Fraction(2, 3)

MIDPOINT_STEP = Interpolatory((Stage(HALF), Stage(through=(0, 1), rule="middle")), "log-SNR")

THIRD_ORDER_STEP = Interpolatory((Stage(THIRD), Stage(TWO_THIRDS, (0, 1)), Stage(through=(0, 2))), "log-SNR")

HEUN = RungeKutta(((), (Fraction(1),)), (HALF, HALF))

MIDPOINT = RungeKutta(((), (HALF,)), (Fraction(0), Fraction(1)))

RK4 = RungeKutta(
    ((), (HALF,), (Fraction(0), HALF), (Fraction(0), Fraction(0), Fraction(1))),
    (Fraction(1, 6), THIRD, THIRD, Fraction(1, 6)),
)


def adams(count: int, variable: str, rule: str = "integral", mend: tuple[int, ...] = ()) -> Interpolatory:
    """Exponential Adams-Bashforth through ``count`` evaluations, the newest first."""
    return Interpolatory((Stage(through=tuple(range(0, -count, -1)), rule=rule),), variable, mend)


BASES: Mapping[str, Interpolatory | RungeKutta] = {
    "Euler": EULER,
    "AB2": adams(2, "t"),
    "AB3": adams(3, "t"),
    "AB4": adams(4, "t"),
    "Heun": HEUN,
    "midpoint": MIDPOINT,
    "Ralston": RungeKutta(((), (TWO_THIRDS,)), (Fraction(1, 4), Fraction(3, 4))),
    "RK3": RungeKutta(((), (HALF,), (Fraction(-1), Fraction(2))), (Fraction(1, 6), TWO_THIRDS, Fraction(1, 6))),
    "RK4": RK4,
    "ERK2": Interpolatory((Stage(HALF), Stage(through=(0, 1))), "log-SNR"),
    "ERK2-middle": MIDPOINT_STEP,
    "ERK3": THIRD_ORDER_STEP,
    "AB2-middle": adams(2, "log-SNR", "middle"),
}
"""Each in the variable that it is measured in unless a spec says otherwise.

AB: exponential Adams-Bashforth. ERK: exponential Runge-Kutta (ERK2-middle is the step of DPM-Solver-2, ERK3 that of
DPM-Solver-3, AB2-middle that of DPM-Solver++2M). The others are tableaux on the transformed ODE, RK3 Kutta's.
"""
