"""Splitting integrators on phase space: words over A (position), B (momentum) and O (noise).

N is naive (the score is evaluated afresh before every A and B), R is reduced (evaluations are shared).
"""

from __future__ import annotations

from integrator_analysis.catalogue.entry import Scheme
from integrator_analysis.splitting import Splitting

PAPER = "arXiv 2310.07894, section 3.2"

SCHEMES = (
    Scheme("NSE", Splitting("BA", "naive"), ("psld",), "Naive symplectic Euler: B, then A.", PAPER),
    Scheme(
        "NVV",
        Splitting("BAB", "naive"),
        ("psld",),
        "Naive velocity Verlet: half B, A, half B, all evaluations at the start time. The palindrome does not make it "
        "second order, because time does not advance inside the step.",
        PAPER,
    ),
    Scheme(
        "RSE", Splitting("BA", "reduced"), ("psld",), "Reduced symplectic Euler: B and A share one evaluation.", PAPER
    ),
    Scheme(
        "RVV",
        Splitting("BAB", "reduced"),
        ("psld",),
        "Reduced velocity Verlet: half B and A share one evaluation, the closing half B evaluates at the end time. "
        "Not first-same-as-last: that evaluation precedes the last update, so the next step cannot reuse it.",
        PAPER,
    ),
    Scheme(
        "NOBA",
        Splitting("OBA", "naive"),
        ("psld",),
        "Naive stochastic splitting: exact Ornstein-Uhlenbeck step, B, A.",
        PAPER,
    ),
    Scheme(
        "ROBA",
        Splitting("OBA", "reduced"),
        ("psld",),
        "Reduced stochastic splitting: O, then B and A share one evaluation. The noise matches the reverse SDE "
        "(lambda_s at its consistent value).",
        PAPER,
    ),
)
