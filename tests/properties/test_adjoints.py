"""Steps backwards: with exact sub-flows, the word reversed and walked from s to t undoes the word from t to s.

It does so where no factor changes what its score depends on: noise in the momentum alone (Gamma = 0, or CLD), and a
momentum score of position and time. Each factor is then undone by itself backwards, given the evaluation that it had:
at one less its share of the way. A palindrome placed in that way is its own adjoint, which makes its order even.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

import integrator_analysis as ia
from torch_backend.measuring.one_step import take_step

UNSHRUNK = (Phase.explicit, Phase.generate)
"""An example derives two schemes, up to a second; shrinking one would take minutes."""

pytestmark = pytest.mark.usefixtures("own_process")

PROCESSES: dict[str, tuple[list[list[float]], Callable[[float], float], float]] = {
    "psld(Gamma=0.0, nu=2.0, M=0.5)": ([[0, 1.0], [-0.5, -1.0]], lambda t: 8 * t, 0.5),
    "cld": ([[0, 4.0], [-1.0, -4.0]], lambda t: 4 * t, 0.25),
    "own": ([[0, 1.0], [-1.0, -2.0]], lambda t: 3 * t + 1.5 * t**2, 1.0),
}
"""F / beta, the integral of beta, and M, from the papers' definitions and from conftest.py."""

MOVING, FROZEN = 1.0, 0.0


def network(process: str, pace: float) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """eps = -L^T s for a score whose momentum part is a nonlinear function of x and of ``pace`` times t."""
    drift, clock, mass = PROCESSES[process]
    prior, start = np.diag([1, mass]), np.diag([0, 0.04 * mass])

    def eps(z: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        e = expm(np.array(drift) * clock(float(times[0])))
        factor = torch.from_numpy(np.linalg.cholesky(prior + e @ (start - prior) @ e.T))
        x = z[:, :1]
        momentum = torch.sin(3 * x) - 2 * x + torch.cos(5 * pace * times[0])
        return -torch.cat([torch.exp(x), momentum], dim=1) @ factor

    return eps


@cache
def module(spec: str) -> ModuleType:
    return ia.derive(spec).to_torch().module


def distance(process: str, there: str, back: str, pace: float) -> float:
    """How far points are from where they began, after a step ``there`` from 0.6 to 0.45 and one ``back``."""
    z, eps = torch.from_numpy(np.random.default_rng(5).normal(size=(6, 2))), network(process, pace)
    away = take_step(module(f"{process}/{there}"), eps, z, 0.6, 0.45)
    assert float((away - z).abs().max()) > 0.05
    return float((take_step(module(f"{process}/{back}"), eps, away, 0.45, 0.6) - z).abs().max())


def random_pair(r: Random) -> tuple[str, str]:
    """A word of up to seven factors, A, B and S each with an evaluation of its own, and the same backwards."""
    letters = r.choice(["AB", "SL"])
    first = r.randint(0, 1)
    order = [letters[(first + n) % 2] for n in range(r.randint(2, 7))]
    parts = {c: [r.randint(-4, 9) for _ in range(order.count(c) - 1)] for c in letters}
    ninths = {c: iter([*found, 9 - sum(found)]) for c, found in parts.items()}
    factors = [(c, next(ninths[c]), r.randint(0, 4)) for c in order]

    def text(factors: list[tuple[str, int, int]]) -> str:
        spelled = [f"{c}({n}/9)" + (f"@{q}/4" if c != "L" else "") for c, n, q in factors]
        return " ".join(spelled) + "(exact)"

    return text(factors), text([(c, n, 4 - q) for c, n, q in factors[::-1]])


@settings(max_examples=8, phases=UNSHRUNK)
@given(st.sampled_from(sorted(PROCESSES)), st.randoms(use_true_random=True).map(random_pair))
def test_a_reversed_word_undoes_the_word(process: str, words: tuple[str, str]) -> None:
    assert distance(process, *words, MOVING) < 1e-12


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_palindromes_are_symmetric_where_their_evaluations_are(process: str) -> None:
    """With the score frozen in time, naive palindromes; with a moving one, those with an evaluation at either end."""
    for word in ("BAB(exact)", "ABA(exact)", "SLS(exact)"):
        assert distance(process, word, word, FROZEN) < 1e-12
        assert distance(process, word, word, MOVING) > 0.05
    for word in ("BAB(reduced, exact)", "B(1/6)@0 A B(2/3)@1/2 A B(1/6)@1(exact)"):
        assert distance(process, word, word, MOVING) < 1e-12


OTHERS = ["BA(exact)", "SL(exact)", "BAB", "ABA(reduced, exact)", "BABAB(reduced, exact)", "B(1/3) A B(2/3)(exact)"]


@pytest.mark.parametrize("word", OTHERS)
def test_other_words_and_euler_flows_are_not(word: str) -> None:
    """No palindrome, or Euler's method on m' = nu m / 2, or a score as old as the step's start."""
    assert distance("psld(Gamma=0.0, nu=2.0, M=0.5)", word, word, FROZEN) > 0.05
