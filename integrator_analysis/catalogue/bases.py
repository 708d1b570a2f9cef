"""Base methods by the name they have in a spec: conjugate(base=Heun). Data; a new one is one line here."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from integrator_analysis.base_methods import EULER, Interpolatory, RungeKutta, Stage
from integrator_analysis.catalogue.exponential import (
    HALF,
    HEUN,
    MIDPOINT,
    MIDPOINT_STEP,
    RK4,
    THIRD_ORDER_STEP,
    TWO_THIRDS,
    adams,
)

__all__ = ["BASES"]

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
