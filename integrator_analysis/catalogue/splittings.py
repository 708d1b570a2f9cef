"""Splitting integrators: words over A (position), B (momentum) and O (noise), or S (score) and O.

N is naive (the score is evaluated afresh before every A and B), R is reduced (evaluations are shared).
"""

from __future__ import annotations

from integrator_analysis.catalogue.scheme import Scheme
from integrator_analysis.methods.splitting.splitting import Splitting

PAPER = "arXiv 2310.07894, section 3.2"
OWN = "the order conditions of the word, from the local error that this toolkit derives"


def _pair(name: str, word: str, naive: str, reduced: str, source: str = PAPER) -> tuple[Scheme, Scheme]:
    """The naive and the reduced scheme of one word."""
    return (
        Scheme(f"N{name}", Splitting(word, "naive"), ("psld",), naive, source),
        Scheme(f"R{name}", Splitting(word, "reduced"), ("psld",), reduced, source),
    )


SCHEMES = (
    *_pair(
        "SE",
        "BA",
        "Naive symplectic Euler: B, then A, an evaluation each.",
        "Reduced symplectic Euler: B and A share one evaluation.",
    ),
    *_pair(
        "VV",
        "BAB",
        "Naive velocity Verlet: half B, A, half B, all evaluations at the start time. The palindrome does not make it "
        "second order, because time does not advance inside the step.",
        "Reduced velocity Verlet: half B and A share one evaluation, the closing half B evaluates at the end time. "
        "Not first-same-as-last: that evaluation precedes the last update, so the next step cannot reuse it.",
    ),
    Scheme(
        "RSE-exact",
        Splitting("BA", "reduced", flow="exact"),
        ("psld",),
        "Reduced symplectic Euler, its sub-flows solved exactly with the score frozen. It is the best reduced word of "
        "up to five factors with such sub-flows, and not as good as RSE: at large t the score cancels the growth of "
        "the drift, which a frozen score does not, so that 1 + M d_m s_m in the momentum constant becomes M d_m s_m. "
        "With the residual s + Sigma_inf^(-1) z frozen instead, the exact sub-flows of this word are RSE's on PSLD.",
        "enumeration of all reduced words, reports/words.md",
    ),
    *_pair(
        "OBA",
        "OBA",
        "Naive stochastic splitting: exact Ornstein-Uhlenbeck step, B, A.",
        "Reduced stochastic splitting: O, then B and A share one evaluation. With lambda_s = 1 the noise is that of "
        "the reverse SDE.",
    ),
    Scheme(
        "SPS-S",
        Splitting("OBA", "reduced"),
        (),
        "Splitting sampler, stochastic: ROBA by the name that the paper gives its best sampler, meant for a tuned "
        "lambda_s. No value of lambda_s but 1 is consistent with a reverse process of these marginals.",
        "arXiv 2310.07894, section 4; arXiv 2402.07211",
    ),
    *_pair(
        "BAO",
        "BAO",
        "Naive stochastic splitting with the Ornstein-Uhlenbeck step last.",
        "Reduced stochastic splitting with the Ornstein-Uhlenbeck step last; B and A share one evaluation.",
    ),
    *_pair(
        "OBAB",
        "OBAB",
        "Naive stochastic velocity Verlet: O, half B, A, half B.",
        "Reduced stochastic velocity Verlet: O, half B and A share one evaluation, the closing half B evaluates at the "
        "end time.",
    ),
    *_pair(
        "ABOBA",
        "ABOBA",
        "Naive palindrome with the noise in the middle: four evaluations.",
        "Reduced palindrome with the noise in the middle; the closing half B and half A share one at the end time.",
        "Leimkuhler and Matthews 2013 (ABOBA for Langevin dynamics), doi 10.1093/amrx/abs010; score as in " + PAPER,
    ),
    *_pair(
        "BAOAB",
        "BAOAB",
        "Naive palindrome with the noise in the middle of A: four evaluations.",
        "Reduced palindrome with the noise in the middle of A; from the second half A on, one evaluation at the end "
        "time. Its high order for averages of Langevin dynamics needs a force that does not depend on time.",
        "Leimkuhler and Matthews 2013 (BAOAB for Langevin dynamics), doi 10.1093/amrx/abs010; score as in " + PAPER,
    ),
    Scheme(
        "SSCS",
        Splitting("OSO", "reduced"),
        ("psld", "cld", "vp"),
        "Symmetric splitting: half a step of the linear part with the noise, exact; an Euler step of the score's part; "
        "the other half. A palindrome with one evaluation at the step's start, so of weak order 1.",
        "arXiv 2112.07068, section 4 (CLD's sampler)",
    ),
    Scheme(
        "SPS-2S",
        Splitting("A@0 B B@1/2[2,-1] A[2,-1]", flow="residual"),
        ("psld", "cld"),
        "Second order for any score, two evaluations a step. Half A and half B use the residual r = s + "
        "Sigma_inf^(-1) z at the start; half B and half A then use 2 r(middle) - r(start), which is r(end) to second "
        "order. So the second half is the adjoint of the first.",
        OWN,
    ),
    Scheme(
        "SPS-2M",
        Splitting("A B B@1/2[2,-1] A[2,-1]", flow="residual"),
        ("psld", "cld"),
        "SPS-2S with one evaluation a step: that in the middle of the step before stands for the one at the start. "
        "Second order. Before the first step, one evaluation more is made.",
        OWN,
    ),
)
