"""Random splitting words, placements, flows, strengths and processes: a step of the generated source, redone by hand.

The oracle is written from docs/splittings.md: the matrices of each process as its paper has them, beta integrated by
scipy's quad, sub-flows and their noise by scipy's matrix exponential, the linear score of Gaussian data. It reads no
word, program, table or symbol of the package.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import Phase, assume, example, given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

import integrator_analysis as ia
from tests.properties.on_paper import Paper, eps_of, measured_exponent, probability_flow, spread
from tests.properties.random_processes import RandomProcess, random_process, registered
from torch_backend.measuring.maps import affine_map
from torch_backend.measuring.one_step import Past, take_step

pytestmark = pytest.mark.usefixtures("own_process")

UNSHRUNK = (Phase.explicit, Phase.generate)
"""An example derives a process, up to a second; shrinking one would take minutes."""

TOLERANCE = 1e-10


# processes on paper
def phase_space(spec: str, drift: list, noise: list, mass: float, **changes: object) -> Paper:
    fields = {"beta": lambda _: 8.0, "start": np.diag([0, 0.04 * mass]), "prior": np.diag([1, mass])}
    d = np.diag(noise).astype(float)
    return Paper(spec, np.array(drift, dtype=float), lambda _: d, **(fields | changes))  # type: ignore[arg-type]


def psld(big_gamma: float, nu: float, mass: float | None) -> Paper:
    options = f"Gamma={big_gamma}, nu={nu}" + (f", M={mass}" if mass else "")
    mass = mass or 4 / (big_gamma - nu) ** 2
    drift = [[-big_gamma / 2, 1 / mass / 2], [-1 / 2, -nu / 2]]
    return phase_space(f"psld({options})", drift, [big_gamma, mass * nu], mass)


def cld(friction: float, mass: float | None) -> Paper:
    options = f"Gamma={friction}" + (f", M={mass}" if mass else "")
    mass = mass or friction**2 / 4
    drift = [[0, 1 / mass], [-1, -friction / mass]]
    return phase_space(f"cld({options})", drift, [0, 2 * friction], mass, beta=lambda _: 4.0)


def own() -> Paper:
    """Langevin diffusion of unit mass whose beta = 3 (1 + t) moves: see conftest.py."""
    return phase_space("own", [[0, 1], [-1, -2]], [0, 4], 1.0, beta=lambda t: 3 * (1 + t))


def one_block(spec: str, drift: float, noise: float, beta: Callable[[float], float], **changes: object) -> Paper:
    fields = {"start": np.zeros((1, 1)), "prior": np.eye(1) if drift else None}
    return Paper(
        spec,
        np.array([[drift]]),
        lambda _: np.array([[noise]]),
        beta,
        **(fields | changes),  # type: ignore[arg-type]
    )


def vp(low: float, width: float) -> Paper:
    high = round(low + width, 4)
    return one_block(f"vp(beta_min={low}, beta_max={high})", -0.5, 1.0, lambda t: low + (high - low) * t)


def ve(low: float, high: float) -> Paper:
    """The noise level is low (high / low)**t, and it is there already at t = 0."""
    rate = np.log(high / low)
    beta = lambda t: 2 * rate * low**2 * np.exp(2 * rate * t)  # noqa: E731
    return one_block(f"ve(sigma_min={low}, sigma_max={high})", 0.0, 1.0, beta, start=np.array([[low**2]]))


def edm() -> Paper:
    return one_block("edm", 0.0, 1.0, lambda t: 2 * t, times=(0.05, 80.0))


def flow() -> Paper:
    """x_t = (1 - t) x_0 + t e."""
    changes = {"covariance": lambda t: np.array([[t**2]]), "times": (0.08, 0.95), "velocity": True}
    paper = one_block("flow", -1.0, 0.0, lambda t: 1 / (1 - t), **changes)
    return Paper(**(vars(paper) | {"noise": lambda t: np.array([[2 * t]])}))


def subvp() -> Paper:
    """VP's drift, with less noise: the covariance is VP's, squared."""
    total = lambda t: 0.1 * t + 9.95 * t**2  # noqa: E731
    changes = {"covariance": lambda t: np.array([[np.expm1(-total(t)) ** 2]])}
    paper = one_block("subvp", -0.5, 0.0, lambda t: 0.1 + 19.9 * t, **changes)
    return Paper(**(vars(paper) | {"noise": lambda t: np.array([[-np.expm1(-2 * total(t))]])}))


# words on paper
@dataclass(frozen=True)
class Factor:
    """A letter over ``weight`` of the step, after an evaluation at ``share`` of it; ``mix`` newest first."""

    letter: str
    weight: Fraction
    share: Fraction | None = None
    mix: tuple[Fraction, ...] = (Fraction(1),)


@dataclass(frozen=True)
class Word:
    text: str
    factors: tuple[Factor, ...]
    kappa: float
    exact: bool

    @property
    def continued(self) -> bool:
        return next(f for f in self.factors if f.letter in "ABS").share is None


def placed(factors: Sequence[Factor], policy: str) -> list[Factor]:
    """Naive: an evaluation at the start's time before every A, B and S. Reduced: all share the one at the start until a
    letter that occurs several times comes to its last occurrence; from there on, all share one at the end."""
    out: list[Factor] = []
    scored = [n for n, f in enumerate(factors) if f.letter in "ABS"]
    letters = [factors[n].letter for n in scored]
    last = {c: len(letters) - 1 - letters[::-1].index(c) for c in letters if letters.count(c) > 1}
    closing = min(last.values(), default=len(letters))
    for n, f in enumerate(factors):
        place = scored.index(n) if n in scored else -1
        share = None
        if place >= 0 and policy == "naive":
            share = Fraction(0)
        elif place == closing:
            share = Fraction(1)
        elif place == 0:
            share = Fraction(0)
        out.append(Factor(f.letter, f.weight, share, f.mix))
    return out


def by_hand(paper: Paper, word: Word, law: tuple[float, float], t: float, s: float) -> np.ndarray:
    """The rows of a step: z, then the eps that is kept if the word reads it, as affine functions of

    z, the eps kept by the step before (if the word reads it), 1, and one noise per block and O.
    A step is not considered where sums cancel so far that rounding alone is near the tolerance.
    """
    k, h, kappa = len(paper.drift), t - s, word.kappa
    rowwise = any(f.letter == "A" for f in word.factors)
    stochastic = any(f.letter == "O" for f in word.factors)
    strength = kappa**2 if stochastic else 0.0
    one = k * (1 + word.continued)
    rows = np.eye(k, one + 1 + k * sum(f.letter == "O" for f in word.factors))
    relaxation = np.zeros((k, k))
    if stochastic and paper.prior is not None:
        relaxation = paper.noise(t) @ np.linalg.inv(paper.prior) / 2

    def score(at: np.ndarray, time: float) -> np.ndarray:
        psi, sigma = paper.kernel(time)
        pull = np.linalg.inv(sigma + law[1] * np.outer(psi, psi))
        out = -pull @ at
        out[:, one] += pull @ psi * law[0]
        return out

    def eps(of: np.ndarray, time: float) -> np.ndarray:
        return -np.linalg.cholesky(paper.kernel(time)[1]).T @ of

    held: list[tuple[np.ndarray, float]] = []
    if word.continued:
        past = np.eye(k, rows.shape[1], k)
        held = [(-np.linalg.inv(np.linalg.cholesky(paper.kernel(t)[1]).T) @ past, t)]
    begun, largest = dict.fromkeys("ABSOL", 0.0), 1.0
    noise = one + 1
    for f in word.factors:
        begin = begun[f.letter]
        begun[f.letter] = end = begin + float(f.weight)
        euler = not word.exact and (
            f.letter in "ABS" or rowwise
        )  # the O of rows has beta at the start, as in the paper
        clock = 0.0 if euler else paper.clock(t - end * h, t - begin * h)
        if f.share is not None:
            time = t - float(f.share) * h
            held.insert(0, (score(rows, time), time))
        if f.letter in "ABS":
            newest = held[0][1]
            mixed = sum(float(w) * u for w, (u, _) in zip(f.mix, held, strict=False))
            linear = strength * relaxation - paper.drift if rowwise else (1 + strength) * relaxation
            generator = np.zeros((2 * k, 2 * k))  # of z and of the frozen score
            generator[:k] = np.hstack([linear, (1 + strength) / 2 * paper.noise(newest)])
            if rowwise:
                generator[1 - "AB".index(f.letter)] = 0.0
            if euler:
                move = np.eye(2 * k) + float(f.weight) * h * paper.beta(newest) * generator
            else:
                move = expm(clock * generator)
            stack = np.vstack([rows, mixed])
            rows = (move @ stack)[:k]
            largest = max(largest, (np.abs(move) @ np.abs(stack))[:k].max())
            continue
        n = -paper.drift - (1 + strength) * relaxation
        if rowwise:
            n = -strength * relaxation
            clock = float(f.weight) * h * paper.beta(t) if euler else clock
        rows = expm(clock * n) @ rows
        if f.letter == "O":
            values, vectors = np.linalg.eigh(spread(n, kappa**2 * paper.noise(t), clock))
            rows[:, noise : noise + k] += vectors * np.sqrt(np.maximum(values, 0))
            noise += k
    parts = [rows[:, :one], *([rows[:, one + 1 :]] if stochastic else [])]
    lost = 2e2 if stochastic else 1e4  # of a covariance, the square
    assume(largest < lost * min(np.abs(part).max() for part in parts))
    return np.vstack([rows, eps(*held[0])]) if word.continued else rows


# random cases
def number(r: Random, low: float, high: float) -> float:
    return round(r.uniform(low, high), 4)


def random_psld(r: Random) -> Paper:
    big_gamma, nu = r.choice([0.0, number(r, 0, 3)]), number(r, 0.2, 6)
    critical = abs(big_gamma - nu) > 0.3 and r.random() < 0.5
    return psld(big_gamma, nu, None if critical else number(r, 0.1, 2))


PAPERS: dict[str, Callable[[Random], Paper]] = {
    "psld": random_psld,
    "cld": lambda r: cld(number(r, 0.3, 3), r.choice([None, number(r, 0.1, 2)])),
    "own": lambda _: own(),
    "vp": lambda r: vp(number(r, 0.05, 2), number(r, 0, 20)),
    "ve": lambda r: ve(number(r, 0.01, 0.1), number(r, 5, 50)),
    "edm": lambda _: edm(),
    "subvp": lambda _: subvp(),
    "flow": lambda _: flow(),
}
ALPHABETS = {"psld": ["AB", "ABO", "SO", "SL"], "vp": ["SO", "SL"], "subvp": ["SL"]}
ALPHABETS |= {"cld": ALPHABETS["psld"], "own": ALPHABETS["psld"], "ve": ALPHABETS["vp"], "edm": ALPHABETS["vp"]}
ALPHABETS["flow"] = ALPHABETS["subvp"]


def shares(r: Random, count: int, positive: bool) -> list[Fraction]:
    """Weights that sum to one; of noise and of linear parts positive ones, so that times stay in the step."""
    while True:
        parts = [r.randint(1 if positive else -3, 5) for _ in range(count)]
        if sum(parts) and max(abs(Fraction(part, sum(parts))) for part in parts) <= 3:
            return [Fraction(part, sum(parts)) for part in parts]


def random_word(r: Random, letters: str, may_be_exact: bool, may_continue: bool) -> Word:
    """A word over all of ``letters`` with its flags, and what it means."""
    explicit, stochastic = r.random() < 0.6, "O" in letters
    drawn = [*letters, *r.choices(letters, k=r.randint(1, 6))]
    r.shuffle(drawn)
    order = drawn[:1]
    for a, b in itertools.pairwise(drawn):
        order += [b] if a != b or (explicit and b in "ABS") else []
    weights = {c: iter(shares(r, order.count(c), c in "OL")) if r.random() < 0.7 else None for c in letters}
    where = [n for n, c in enumerate(order) if c in "ABS"]
    factors, text, known, taken = [], [], 0, 0
    for n, c in enumerate(order):
        own_weights, share, mix = weights[c], None, (Fraction(1),)
        weight = Fraction(1, order.count(c)) if own_weights is None else next(own_weights)
        spelled = c if own_weights is None else f"{c}({weight})"
        if explicit and n in where:
            opening = n == where[0] and not (may_continue and not stochastic)
            again = n > 0 and order[n - 1] == c
            if opening or again or (n == where[-1] and not taken) or r.random() < 0.5:
                share = r.choice([Fraction(0), Fraction(1, 3), Fraction(1, 2), Fraction(1)])
                spelled, taken = f"{spelled}@{share}", taken + 1
            known += share is not None or n == where[0]
            if others := [Fraction(r.randint(-4, 4), 2) for _ in range(r.randint(0, min(known, 3) - 1))]:
                mix = (1 - sum(others), *others)
                spelled += f"[{','.join(map(str, mix))}]"
        factors.append(Factor(c, weight, share, mix))
        text.append(spelled)
    exact, policy = may_be_exact and r.random() < 0.5, r.choice(["naive", "reduced"])
    kappa = number(r, 0.1, 1.8) if stochastic and r.random() < 0.6 else 1.0
    flags = ["exact"] * exact + [policy] * (not explicit) + [f"noise={kappa}"] * (kappa != 1)
    meant = factors if explicit else placed(factors, policy)
    return Word(" ".join(text) + (f"({', '.join(flags)})" if flags else ""), tuple(meant), kappa, exact)


@dataclass(frozen=True)
class Case:
    """A word on a process, with Gaussian data (mean and variance) and decreasing times."""

    paper: Paper
    word: Word
    law: tuple[float, float]
    grid: tuple[float, ...]
    drawn: RandomProcess | None = None

    def known(self) -> AbstractContextManager[None]:
        """Specs can name the process inside the block."""
        return nullcontext() if self.drawn is None else registered(self.drawn)


def random_case(r: Random) -> Case:
    """On a process of the catalogue; every fourth time on one that is drawn itself."""
    if r.random() < 0.25:
        drawn = random_process(r, network="eps")
        letters = ["SL", *(["AB"] if len(drawn.drift) == 2 else []), *(["SO"] if drawn.stationary else [])]
        letters += ["ABO"] if drawn.stationary and len(drawn.drift) == 2 else []
        paper = drawn.paper()
        word = random_word(r, r.choice(letters), drawn.fade is None, True)
        return Case(paper, word, *_law_and_grid(r, paper), drawn)
    family = r.choice([name for name, alphabets in ALPHABETS.items() for _ in alphabets])
    paper = PAPERS[family](r)
    moving = family in ("subvp", "flow")  # D depends on time: no exact flow of S
    word = random_word(r, r.choice(ALPHABETS[family]), not moving, family != "flow")
    return Case(paper, word, *_law_and_grid(r, paper))


def _law_and_grid(r: Random, paper: Paper) -> tuple[tuple[float, float], tuple[float, ...]]:
    start = r.uniform(*paper.times)
    grid = start * np.cumprod([1, *(r.uniform(0.4, 0.98) for _ in range(3))])
    return (r.uniform(-2, 2), r.uniform(0.01, 4)), tuple(map(float, grid))


CASES = st.randoms(use_true_random=True).map(random_case)  # one seed an example: words of independent letters


def close(found: np.ndarray, expected: np.ndarray, scale: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * scale)


HALF, START, END = Fraction(1, 2), Fraction(0), Fraction(1)
NOTHING = (Factor("S", Fraction(1), START), Factor("O", Fraction(1)), Factor("S", Fraction(0), START))
"""Over no time, the covariance of O's noise is zero: nothing may be divided by it."""
CLOSING = (Factor("B", HALF, START), Factor("O", Fraction(1)), Factor("B", HALF, END), Factor("A", Fraction(1)))
"""An A after the last B uses its evaluation at the end; O has beta at the start, beta moves on this process."""


@settings(max_examples=50, phases=UNSHRUNK)
@given(CASES)
@example(Case(psld(0.1, 2.0, None), Word("S(1) O S(0)(exact)", NOTHING, 1.0, True), (0.5, 0.3), (0.5, 0.4)))
@example(Case(own(), Word("B O B A(reduced)", CLOSING, 1.0, False), (0.5, 0.3), (0.5, 0.4)))
def test_one_step_of_a_random_word_is_the_map_by_hand(case: Case) -> None:
    paper, word, law = case.paper, case.word, case.law

    def network(y: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        t, z = float(times[0]), y.numpy()
        psi, sigma = paper.kernel(t)
        score = -(z - psi * law[0]) @ np.linalg.inv(sigma + law[1] * np.outer(psi, psi))
        if paper.velocity:
            return torch.from_numpy(paper.beta(t) * (z @ paper.drift.T - score @ paper.noise(t) / 2))
        return torch.from_numpy(-score @ np.linalg.cholesky(sigma))

    with case.known():
        module = ia.derive(f"{paper.spec}/{word.text}").to_torch(dtype=torch.float64).module
    matrix, offset, noise = affine_map(module, network, *case.grid[:2])
    expected = by_hand(paper, word, law, *case.grid[:2])
    size = len(expected)
    scale = np.abs(expected[:, : size + 1]).max()
    close(matrix, expected[:, :size], scale)
    close(offset, expected[:, size], scale)
    covariance = expected[:, size + 1 :] @ expected[:, size + 1 :].T
    close(noise @ noise.T, covariance, np.abs(covariance).max(initial=0))
    assert (module.NOISES > 0) == ("O" in word.text)


@settings(max_examples=16, phases=UNSHRUNK)
@given(CASES)
def test_composed_steps_by_hand_are_the_moments_of_the_gaussian_error(case: Case) -> None:
    paper, word, law = case.paper, case.word, case.law

    def marginal(t: float) -> tuple[np.ndarray, np.ndarray]:
        psi, sigma = paper.kernel(t)
        return psi * law[0], sigma + law[1] * np.outer(psi, psi)

    k = len(paper.drift)
    mean, covariance = marginal(case.grid[0])
    if word.continued:  # eps at the start of the walk stands for the last evaluation of the step before
        pull = np.linalg.cholesky(paper.kernel(case.grid[0])[1]).T @ np.linalg.inv(covariance)
        both = np.vstack([np.eye(k), pull])
        mean, covariance = np.concatenate([mean, np.zeros(k)]), both @ covariance @ both.T
    for t, s in itertools.pairwise(case.grid):
        rows = by_hand(paper, word, law, t, s)
        size = len(rows)
        mean = rows[:, :size] @ mean + rows[:, size]
        covariance = rows[:, :size] @ covariance @ rows[:, :size].T + rows[:, size + 1 :] @ rows[:, size + 1 :].T
    with case.known():
        error = ia.derive(f"{paper.spec}/{word.text}").gaussian_error(case.grid, *law)
    exact = marginal(case.grid[-1])
    scale = max(np.abs(covariance[:k, :k]).max(), np.abs(exact[1]).max())
    close(error.mean[0], mean[:k] - exact[0], max(np.abs(mean[:k]).max(), np.sqrt(scale)))
    close(error.covariance[0], covariance[:k, :k] - exact[1], scale)


def random_ode_case(r: Random) -> Case:
    """A word without noise on a drawn process: the probability flow is its limit."""
    drawn = random_process(r, network="eps")
    letters = "AB" if len(drawn.drift) == 2 and r.random() < 0.6 else "SL"
    paper = drawn.paper()
    return Case(paper, random_word(r, letters, drawn.fade is None, True), *_law_and_grid(r, paper), drawn)


@settings(max_examples=8, phases=UNSHRUNK)
@given(st.randoms(use_true_random=True).map(random_ode_case), st.integers(0, 999))
def test_the_order_of_a_random_word_is_the_measured_one(case: Case, seed: int) -> None:
    """Of the step's error against scipy on the probability flow, for a nonlinear score and an exact past."""
    paper, start, k = case.paper, case.grid[0] / 2, len(case.paper.drift)
    eps, z = eps_of(seed, k), np.random.default_rng(seed).normal(size=(k, 4))
    with case.known():
        i = ia.derive(f"{paper.spec}/{case.word.text}")
        order, module = i.order, i.to_torch(dtype=torch.float64).module

    def network(y: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(eps(float(times[0]), y.numpy().T).T)

    def error(h: float) -> float:
        past = None
        if case.word.continued:
            past = Past([start + h], [torch.from_numpy(probability_flow(paper, eps, start, start + h, z).T)])
        found = take_step(module, network, torch.from_numpy(z.T), start, start - h, None, past).numpy().T
        return float(np.abs(found - probability_flow(paper, eps, start, start - h, z)).max())

    assert order >= 1
    assert abs(measured_exponent(error, 0.1 * start, 1e-12) - (order + 1)) < 0.3


@given(st.sampled_from(["A", "B", "O", "S", "L"]), st.fractions(-2, 2, max_denominator=7).filter(bool))
def test_words_whose_weights_do_not_sum_to_one_are_refused(letter: str, excess: Fraction) -> None:
    """What would be of order 0 is no word: the letter's flow would be taken over 1 + excess steps."""
    other = {"A": "B", "B": "A", "O": "AB", "S": "L", "L": "S"}[letter]
    with pytest.raises(ia.InputError, match=f"the weights of {letter} sum to {1 + excess}"):
        ia.derive(f"psld/{letter}({1 + excess}) {' '.join(other)}")
