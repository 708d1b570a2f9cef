"""Splitting words: text such as "BAB", "B(1/4) A(1/2) B(1/2) A(1/2) B(1/4)" or "B@0 A B@1", read into factors.

Knows the letters, their weights and where the score is evaluated; does not know what a letter does.

    word    := factor { factor }
    factor  := letter [ "(" weight ")" ] [ "@" share ] [ "[" number { "," number } "]" ]

A word reads left to right in order of application. Weights are shares of the whole step; the weights of a letter sum to
one, and are equal where none is given. "@share" takes a new evaluation of the score just before the factor, at that
share of the way from t to s; a factor without one uses the newest evaluation there is. "[2, -1]" uses twice the newest
less the one before; the numbers sum to one. A word whose first score factor takes no evaluation uses the last one of
the step before (first same as last).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import sympy

from integrator_analysis.inputs import InputError

__all__ = [
    "LETTERS",
    "NOISE",
    "SCORE",
    "WORD",
    "Factor",
    "canonical",
    "check_evaluations",
    "place",
    "placed",
    "read_word",
]

SCORE = "ABS"
"""Letters that use the score: A the position row, B the momentum row, S the score's part of all rows."""
NOISE = "O"
"""The Ornstein-Uhlenbeck flow, noise included."""
LETTERS = SCORE + NOISE + "L"
"""L is the linear drift of all rows, without noise."""

MAX_FACTORS = 24
RATIONAL = r"[+-]?\d{1,9}(?:\.\d{1,9}|/[1-9]\d{0,8})?"
TOKEN = re.compile(
    rf"\s*(?:(?P<letter>[A-Za-z])|\(\s*(?P<weight>{RATIONAL})\s*\)|@\s*(?P<share>{RATIONAL})"
    rf"|\[\s*(?P<mix>{RATIONAL}(?:\s*,\s*{RATIONAL})*)\s*\])"
)
WORD = re.compile(
    rf"\s*(?P<word>(?:[{LETTERS}](?:\s*\(\s*{RATIONAL}\s*\))?(?:\s*@\s*{RATIONAL})?(?:\s*\[[-+\d./,\s]*\])?\s*)+)"
    r"(?=\(|$)"
)
"""Text that is to be read as a word: it ends the text, or a parenthesis follows that is no weight."""
ORDER = {"letter": 0, "weight": 1, "share": 2, "mix": 3}


@dataclass(frozen=True)
class Factor:
    """One sub-flow: its letter, its ``weight`` in steps, and the evaluation it uses.

    ``share`` is where on the way from t to s an evaluation is taken just before; None for none. ``mix`` are the weights
    of the evaluations it uses, newest first. Numbers may be symbols, for order conditions.
    """

    letter: str
    weight: sympy.Expr
    share: sympy.Expr | None = None
    mix: tuple[sympy.Expr, ...] = (sympy.S.One,)

    @property
    def scored(self) -> bool:
        """Whether it uses the score."""
        return self.letter in SCORE


def read_word(text: str) -> tuple[Factor, ...]:
    """The factors of a word. Raises InputError for text outside the grammar or weights that do not sum to one.

    >>> [(f.letter, f.weight, f.share) for f in read_word("B@0 A B@1")]
    [('B', 1/2, 0), ('A', 1, None), ('B', 1/2, 1)]
    """
    raw: list[dict[str, str]] = []
    position, level = 0, 4
    while position < len(text.rstrip()):
        match = TOKEN.match(text, position)
        kind = match.lastgroup if match else None
        if match is None or kind is None or (kind != "letter" and (not raw or ORDER[kind] <= level)):
            raise _error(text, f"at character {position + 1} expected a letter, (weight), @share or [numbers]")
        if kind == "letter":
            raw.append({})
        raw[-1][kind] = match[kind]
        level, position = ORDER[kind], match.end()
    unknown = sorted({r["letter"] for r in raw} - set(LETTERS))
    if unknown or not raw or len(raw) > MAX_FACTORS:
        raise _error(
            text,
            f"a word is made of 1 to {MAX_FACTORS} of the letters A (position), B (momentum), O (noise), L (linear "
            "drift) and S (score)",
        )
    counts = Counter(r["letter"] for r in raw)
    weighted = Counter(r["letter"] for r in raw if "weight" in r)
    factors = []
    for r in raw:
        letter = r["letter"]
        if weighted[letter] not in (0, counts[letter]):
            raise _error(
                text, f"{weighted[letter]} of {counts[letter]} letters {letter} have a weight; give all or none"
            )
        if letter not in SCORE and ("share" in r or "mix" in r):
            raise _error(text, f"{letter} uses no score; only {', '.join(SCORE)} take @share or [numbers]")
        factors.append(
            Factor(
                letter,
                sympy.Rational(r["weight"]) if "weight" in r else sympy.Rational(1, counts[letter]),
                sympy.Rational(r["share"]) if "share" in r else None,
                tuple(sympy.Rational(n.strip()) for n in r["mix"].split(",")) if "mix" in r else (sympy.S.One,),
            )
        )
    _check(text, factors)
    return tuple(factors)


def placed(text: str) -> bool:
    """Whether the word itself says when the score is evaluated."""
    return "@" in text


def canonical(text: str) -> str:
    """The word in one spelling: letters alone without spaces, else one space between factors.

    >>> canonical("B  A B"), canonical("B @ 0 A B@1[ 2,-1 ]")
    ('BAB', 'B@0 A B@1[2,-1]')
    """
    factors = re.sub(r"(?<!^)(?=[A-Z])", " ", re.sub(r"\s+", "", text))
    return factors if re.search(r"[^A-Z ]", factors) else factors.replace(" ", "")


def _error(text: str, why: str) -> InputError:
    return InputError(f"splitting word {text[:80]!r}: {why}")


def _check(text: str, factors: Sequence[Factor]) -> None:
    letters = {f.letter for f in factors}
    needed = {"A", "B"} if letters & set("AB") else {"S"}
    if letters not in ({"A", "B"}, {"A", "B", "O"}, {"S"}, {"S", "L"}, {"S", "O"}):
        missing = ", ".join(sorted(needed - letters)) or "one family of letters"
        raise _error(text, f"lacks {missing}; accepted: A and B, with or without O; or S, with L or with O")
    for letter in sorted(letters):
        total = sum(f.weight for f in factors if f.letter == letter)
        if total != 1:
            raise _error(text, f"the weights of {letter} sum to {total}; they must sum to 1")
    for f in factors:
        if f.letter == NOISE and f.weight <= 0:
            raise _error(text, f"O over {f.weight} of the step; noise takes a positive time")
        if f.share is not None and not 0 <= f.share <= 1:
            raise _error(text, f"an evaluation at {f.share} of the step; accepted: from 0 to 1")
        if sum(f.mix) != 1:
            raise _error(text, f"the numbers of {f.letter}{list(f.mix)} sum to {sum(f.mix)}; they must sum to 1")
    for a, b in pairwise(factors):
        if a.letter == b.letter and (not b.scored or (b.share is None and a.mix == b.mix)):
            raise _error(text, f"repeats the letter {a.letter}; write it once instead")
    if any(f.share is not None for f in factors):
        check_evaluations(text, factors)


def check_evaluations(text: str, factors: Sequence[Factor]) -> None:
    """Raise InputError where a factor combines more evaluations than there are, the step before's last included."""
    scored = [f for f in factors if f.scored]
    known = int(scored[0].share is None)
    for f in scored:
        known += f.share is not None
        if len(f.mix) > known:
            raise _error(text, f"{f.letter}{list(f.mix)} uses {len(f.mix)} evaluations; there are {known}")


def place(factors: Sequence[Factor], policy: str) -> tuple[Factor, ...]:
    """The factors with the evaluations that a policy takes; as they are where the word itself says.

    Naive: a new one before every A, B and S, at the step's start. Reduced: factors share the evaluation at the start
    until a letter that occurs several times comes to its last occurrence; that, and what follows, use one evaluation
    at the end (arXiv 2310.07894, section 3.2).
    """
    if any(f.share is not None for f in factors):
        return tuple(factors)
    counts, seen, current = Counter(f.letter for f in factors), Counter[str](), None
    out = []
    for f in factors:
        seen[f.letter] += 1
        if not f.scored:
            out.append(f)
            continue
        closing = current == 1 or counts[f.letter] == seen[f.letter] > 1
        share = sympy.Integer(policy == "reduced" and closing)
        out.append(f if policy == "reduced" and share == current else replace(f, share=share))
        current = share
    return tuple(out)
