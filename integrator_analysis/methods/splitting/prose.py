"""A splitting in sentences, for the derivation that a person reads."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from integrator_analysis.methods.splitting.words import NOISE, Factor

__all__ = ["NOISE_TEXT", "describe", "describe_letters"]

LETTER_TEXT = {
    (True, "euler"): "A is an Euler step of the position row, B one of the momentum row",
    (True, "exact"): "A solves the position row exactly with the score and the momentum frozen, and B the momentum "
    "row with the score and the position frozen",
    (True, "residual"): "A solves the position row exactly with the residual s + Sigma_inf^(-1) z and the momentum "
    "frozen, and B the momentum row with the residual and the position frozen",
    (False, "euler"): "S is an Euler step of all rows with the score's part of the equation",
    (False, "exact"): "S solves the score's part of all rows exactly with the score frozen",
    (False, "residual"): "S solves the score's part of all rows exactly with the residual s + Sigma_inf^(-1) z frozen",
}
"""What the letters do, by whether they are rows and by the flow."""

NOISE_TEXT = {
    True: "O solves dz = -kappa^2 R z dh + kappa G dw with R = (1/2) G G^T Sigma_inf^(-1) exactly (Ornstein-Uhlenbeck)",
    False: "O solves the rest, linear terms and noise, exactly, and leaves the stationary distribution as it is",
}

LINEAR_TEXT = "L solves dz = -F z dh exactly"

ORDINALS = ("", "second ", "third ", "fourth ", "fifth ", "sixth ")


def describe(
    factors: Sequence[Factor], kappa: sympy.Expr, letters: str, prediction: str, reading: str
) -> tuple[str, ...]:
    """The account of a splitting's step, sentence by sentence.

    ``letters`` says what they do, ``prediction`` is what evaluations are read as, ``reading`` how lambda_s is read
    where it is not 1.
    """
    kind = "probability-flow ODE"
    if any(f.letter == NOISE for f in factors):
        kind = "reverse SDE" if kappa == 1 else f"SDE of strength kappa = {kappa} with the same marginals"
    lines = [
        f"Splits the {kind}, in reverse time, by the word {''.join(f.letter for f in factors)}. Its letters are "
        f"applied from left to right, {_shares(factors)}.",
        letters,
        f"Score evaluations: {_placement(factors)}.",
    ]
    if next(f for f in factors if f.scored).share is None:
        lines.append(
            f"A step begins with the last evaluation of the step before, read as {prediction}. Before the first step, "
            "one evaluation is made at its start."
        )
    if reading:
        lines.append(
            f"lambda_s scales the position noise of O (reading: {reading}). Only with lambda_s = 1 is this the noise "
            "of a reverse process with these marginals."
        )
    return tuple(lines)


def describe_letters(factors: Sequence[Factor], flow: str) -> str:
    """What the letters of a word do."""
    letters = {f.letter for f in factors}
    rows = "A" in letters
    parts = [LETTER_TEXT[rows, flow]]
    parts += [NOISE_TEXT[rows]] if NOISE in letters else []
    parts += [LINEAR_TEXT] if "L" in letters else []
    return "; ".join(parts) + "."


def _shares(factors: Sequence[Factor]) -> str:
    """Over which shares of the step the letters are applied."""
    if all(f.weight == 1 for f in factors):
        return "each over the whole step"
    return f"over {', '.join(str(f.weight) for f in factors)} of the step"


def _placement(factors: Sequence[Factor]) -> str:
    """Which factor uses which evaluation at which time."""
    parts = []
    for f in factors:
        if not f.scored:
            continue
        places = {0: "t", 1: "s"}
        takes = "" if f.share is None else f"takes a new one at {places.get(f.share, f'{f.share} of the way')}"
        uses = f"uses {_combination(f.mix)}" if not takes or f.mix != (1,) else ""
        parts.append(f"{f.letter} {' and '.join(part for part in (takes, uses) if part)}")
    return "; ".join(parts)


def _combination(mix: Sequence[sympy.Expr]) -> str:
    """A linear combination of evaluations in words, newest first."""
    if tuple(mix) == (1,):
        return "the newest"
    text = ""
    for number, factor in enumerate(mix):
        negative = bool(text) and factor.could_extract_minus_sign()
        size = -factor if negative else factor
        ordinal = ORDINALS[number] if number < len(ORDINALS) else f"{number + 1}th "
        text += f"{' less ' if negative else ' plus ' if text else ''}{'' if size == 1 else f'{size} times '}"
        text += f"the {ordinal}newest"
    return text
