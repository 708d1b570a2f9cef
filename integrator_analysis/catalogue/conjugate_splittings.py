"""Conjugate splitting integrators: the words of splitting.py, conjugated with B = lambda ones, in both meanings.

"-each" conjugates every sub-flow, "-whole" splits the transformed ODE. All are reduced. lambda is to be tuned; 0.5 is
only an example.
"""

from __future__ import annotations

from collections.abc import Iterator

from integrator_analysis.catalogue.scheme import Scheme
from integrator_analysis.methods.conjugate_splitting import MEANINGS, ConjugateSplitting
from integrator_analysis.methods.splitting.splitting import Splitting

PAPER = "arXiv 2310.07894, section 3.3"
TEXT = {
    "each": "conjugated sub-flow by sub-flow with B = lambda ones.",
    "whole": "of the ODE transformed with B = lambda ones, anchored at every step's start.",
}


def _conjugated(word: str, meaning: str) -> ConjugateSplitting:
    return ConjugateSplitting(Splitting(word, "reduced", flow="exact"), "lambda*ones", 0.5, meaning)


def _both(name: str, word: str, what: str) -> Iterator[Scheme]:
    for meaning in MEANINGS:
        yield Scheme(f"{name}-{meaning}", _conjugated(word, meaning), ("psld",), f"{what} {TEXT[meaning]}", PAPER)


SCHEMES = (
    *_both("CSE", "BA", "Symplectic Euler"),
    *_both("CVV", "BAB", "Velocity Verlet"),
    *_both("COBA", "OBA", "Stochastic splitting OBA"),
    *_both("CBAO", "BAO", "Stochastic splitting BAO"),
    *_both("COBAB", "OBAB", "Stochastic velocity Verlet OBAB"),
    Scheme(
        "CSPS-D",
        _conjugated("BAB", "whole"),
        (),
        "Conjugate splitting sampler, deterministic: CVV-whole by the name that the paper gives its best sampler. The "
        "paper's text leaves the meaning of its conjugation open; this is our reading.",
        PAPER,
    ),
)
