"""A splitting in sentences, for the derivation that a person reads."""

from __future__ import annotations

from collections.abc import Sequence

from integrator_analysis.methods.splitting.words import Factor

LETTER_TEXT = {
    (True, "euler"): "A: Euler step of the position row; B: Euler step of the momentum row",
    (True, "exact"): "A: exact flow of the position row with the score and the momentum frozen; B: of the momentum row",
    (False, "euler"): "S: Euler step of the score's part of all rows",
    (False, "exact"): "S: exact flow of the score's part of all rows with the score frozen",
    (True, "residual"): "A: exact flow of the position row with the residual s + Sigma_inf^(-1) z and the momentum "
    "frozen; B: of the momentum row",
    (False, "residual"): "S: exact flow of the score's part of all rows with the residual s + Sigma_inf^(-1) z frozen",
}

NOISE_TEXT = {
    True: "O: exact Ornstein-Uhlenbeck step with S = (1/2) G G^T Sigma_inf^{-1}",
    False: "O: exact flow of the linear part with the noise, which leaves the stationary distribution alone",
}


def word_text(factors: Sequence[Factor]) -> str:
    return "".join(f.letter for f in factors)


def placement_text(factors: Sequence[Factor]) -> str:
    """Which factor uses which evaluation at which time."""
    parts = []
    for f in factors:
        if not f.scored:
            continue
        where = (
            "the newest"
            if f.share is None
            else "a new one at " + {0: "t", 1: "s"}.get(f.share, f"{f.share} of the way")
        )
        if f.mix != (1,):
            where += " in the combination " + ", ".join(map(str, f.mix)) + " (newest first)"
        parts.append(f"{f.letter} uses {where}")
    return "; ".join(parts)
