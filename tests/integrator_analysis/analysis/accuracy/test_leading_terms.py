"""Leading error terms for polynomial scores, by exact arithmetic on the sub-steps as they are written in the paper.

The score is an explicit polynomial in (x, m, t) with every mixed derivative; one step is a polynomial in h with
rational coefficients, multiplied out and cut by the few lines below; nothing of the package's series, jets or
programs is used. The exact flow enters through its Taylor coefficients, the exact expectation through the backward
Kolmogorov equation. Derived and counted constants must agree as rational numbers, without tolerance.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from fractions import Fraction

import pytest
import sympy

import integrator_analysis as ia

# truncated polynomials: {(power of h, power of xi_1, ...): coefficient}, cut at weight 4 in units of h^(1/2)
Terms = dict[tuple[int, ...], Fraction]
NOISES = 4
"""Two increments, for x and m, of each of at most two O."""


class Cut:
    """A polynomial in h and the noise increments w_i of variance O(h), without the terms beyond h^2."""

    def __init__(self, terms: Mapping[tuple[int, ...], Fraction]) -> None:
        self.terms: Terms = {k: c for k, c in terms.items() if c and 2 * k[0] + sum(k[1:]) <= 4}

    @classmethod
    def of(cls, value: Fraction | int) -> Cut:
        return cls({(0,) * (1 + NOISES): Fraction(value)})

    def __add__(self, other: Cut) -> Cut:
        out = dict(self.terms)
        for k, c in other.terms.items():
            out[k] = out.get(k, Fraction(0)) + c
        return Cut(out)

    def __mul__(self, other: Cut) -> Cut:
        out: Terms = {}
        for (k, c), (j, d) in itertools.product(self.terms.items(), other.terms.items()):
            key = tuple(p + q for p, q in zip(k, j, strict=True))
            out[key] = out.get(key, Fraction(0)) + c * d
        return Cut(out)

    def times(self, factor: Fraction | int) -> Cut:
        return self * Cut.of(factor)

    def coefficient(self, power: int) -> Fraction:
        """Of h**power, without noise."""
        return self.terms.get((power,) + (0,) * NOISES, Fraction(0))


def variable(n: int) -> Cut:
    """h for 0, the noise increment w_n for n > 0."""
    return Cut({tuple(int(i == n) for i in range(1 + NOISES)): Fraction(1)})


H = variable(0)


def exponential(rate: Fraction) -> Cut:
    """exp(rate h)."""
    return Cut({(n, *(0,) * NOISES): rate**n / math.factorial(n) for n in range(3)})


def substitute(polynomial: sympy.Poly, values: Sequence[Cut]) -> Cut:
    out = Cut({})
    for powers, coefficient in polynomial.terms():
        term = Cut.of(Fraction(int(coefficient.p), int(coefficient.q)))
        for value, power in zip(values, powers, strict=True):
            for _ in range(power):
                term = term * value
        out = out + term
    return out


# the problem
X, M, T = sympy.symbols("x m t")
BIG_GAMMA, NU, BETA = Fraction(1, 50), Fraction(201, 50), Fraction(8)
MASS = 4 / (BIG_GAMMA - NU) ** 2
POINT = {X: Fraction(2, 5), M: Fraction(-3, 10), T: Fraction(1, 3)}


def random_polynomial(variables: Sequence[sympy.Symbol], degree: int, seed: int) -> sympy.Poly:
    """Every monomial to ``degree``, with a coefficient that is a non-zero rational of one digit."""
    generator = random.Random(seed)
    total = sympy.S.Zero
    for powers in itertools.product(range(degree + 1), repeat=len(variables)):
        if sum(powers) <= degree:
            number = sympy.Rational(generator.choice([-1, 1]) * generator.randint(1, 9), generator.randint(1, 9))
            total += number * sympy.Mul(*[v**p for v, p in zip(variables, powers, strict=True)])
    return sympy.Poly(total, *variables)


def rational(value: Fraction) -> sympy.Rational:
    return sympy.Rational(value.numerator, value.denominator)


def at_point(expression: sympy.Expr) -> Fraction:
    value = expression.subs({v: rational(c) for v, c in POINT.items()})
    return Fraction(int(value.p), int(value.q))


# one step as written in the paper
def splitting_step(word: str, policy: str, score: Mapping[str, sympy.Poly]) -> dict[str, Cut]:
    """A, B, O of arXiv 2310.07894 with score evaluations naive, or shared until a closing half moves to t - h."""
    state = {"x": Cut.of(POINT[X]), "m": Cut.of(POINT[M])}
    double = 2 if "O" in word else 1
    start, end = Cut.of(POINT[T]), Cut.of(POINT[T]) + H.times(-1)
    shared: tuple[str, dict[str, Cut]] | None = None
    seen: dict[str, int] = {}
    for letter in word:
        seen[letter] = seen.get(letter, 0) + 1
        size = H.times(Fraction(1, word.count(letter)))
        if letter == "O":
            for n, (block, rate) in enumerate((("x", BIG_GAMMA), ("m", NU)), start=2 * seen["O"] - 1):
                decay = exponential(-BETA * rate / 2 / word.count("O"))
                state[block] = decay * state[block] + variable(n)
            continue
        closing = policy == "reduced" and word.count(letter) == 2 and seen[letter] == 2
        at_end = closing or (policy == "reduced" and shared is not None and shared[0] == "end")
        when = "end" if at_end else "start"
        if policy == "naive" or shared is None or shared[0] != when:
            arguments = [state["x"], state["m"], end if at_end else start]
            shared = (when, {b: substitute(score[b], arguments) for b in "xm"})
        half_beta, s = size.times(BETA / 2), shared[1]
        if letter == "A":
            slope = state["x"].times(double * BIG_GAMMA) + state["m"].times(-1 / MASS)
            state["x"] = state["x"] + half_beta * (slope + s["x"].times(double * BIG_GAMMA))
        else:
            slope = state["x"] + state["m"].times(double * NU) + s["m"].times(double * MASS * NU)
            state["m"] = state["m"] + half_beta * slope
    return state


def rows(score: Mapping[str, sympy.Poly], factor: int) -> dict[str, sympy.Expr]:
    """Reverse-time right-hand sides -F z + (factor/2) G G^T s; factor 1: probability flow, 2: reverse SDE."""
    g, nu, mass, beta = map(rational, (BIG_GAMMA, NU, MASS, BETA))
    s_x, s_m = score["x"].as_expr(), score["m"].as_expr()
    return {
        "x": beta / 2 * (g * X - M / mass + factor * g * s_x),
        "m": beta / 2 * (X + nu * M + factor * mass * nu * s_m),
    }


# reading the derived constants
def derived_value(
    expression: sympy.Expr, functions: Mapping[str, sympy.Expr], numbers: Mapping[str, Fraction]
) -> Fraction:
    """The value of a derived constant: the symbol "d_xm s_x" is the derivative by x and m of functions["s_x"]."""
    letters = {"x": X, "m": M, "t": T}
    values = {}
    for symbol in expression.free_symbols:
        derivative, _, base = symbol.name.rpartition(" ")
        if base in numbers and not derivative:
            values[symbol] = rational(numbers[base])
            continue
        value = functions[base]
        for letter in derivative.removeprefix("d_"):
            value = sympy.diff(value, letters[letter])
        values[symbol] = rational(at_point(value))
    result = expression.xreplace(values)
    return Fraction(int(result.p), int(result.q))


PHASE_NUMBERS = {
    "Gamma": BIG_GAMMA, "nu": NU, "M": MASS, "beta": BETA, "x": POINT[X], "m": POINT[M],
}  # fmt: skip


@pytest.fixture(scope="module")
def score() -> dict[str, sympy.Poly]:
    return {"x": random_polynomial((X, M, T), 3, seed=5), "m": random_polynomial((X, M, T), 3, seed=6)}


WORDS = ["AB", "BA", "ABA", "BAB", "ABAB", "BABA"]


@pytest.mark.parametrize("policy", ["naive", "reduced"])
@pytest.mark.parametrize("word", WORDS)
def test_deterministic_words(score: dict[str, sympy.Poly], word: str, policy: str) -> None:
    i = ia.derive(f"psld(Gamma=0.02, nu=4.02)/{word}({policy})")
    step, f = splitting_step(word, policy, score), rows(score, 1)
    functions = {f"s_{b}": score[b].as_expr() for b in "xm"}
    for block, z in (("x", X), ("m", M)):
        second = sympy.diff(f[block], X) * f["x"] + sympy.diff(f[block], M) * f["m"] - sympy.diff(f[block], T)
        assert step[block].coefficient(0) == POINT[z]
        assert step[block].coefficient(1) == at_point(f[block])  # consistent: no error of first order
        expected = step[block].coefficient(2) - at_point(second) / 2
        assert i.local_error.exponents[block] == 2
        assert derived_value(i.local_error.leading[block], functions, PHASE_NUMBERS) == expected
        assert expected != 0


def test_euler_with_a_schedule_that_depends_on_time() -> None:
    """VP: the time derivative of beta is part of the constant."""
    low, high = Fraction(1, 10), Fraction(20)
    polynomial = random_polynomial((X, T), 3, seed=7)
    beta = rational(low) + rational(high - low) * T
    f = beta / 2 * (X + polynomial.as_expr())
    second = sympy.diff(f, X) * f - sympy.diff(f, T)
    leading = ia.derive("vp/Euler").local_error.leading["x"]
    value = derived_value(leading, {"s_x": polynomial.as_expr(), "beta": beta}, {"x": POINT[X]})
    assert value == -at_point(second) / 2


# weak errors
def expectation(polynomial: Cut, variances: Sequence[Cut]) -> Cut:
    """E over independent Gaussian increments: w^2 -> v, w^4 -> 3 v^2, odd powers vanish."""
    out = Cut({})
    for (h, *powers), coefficient in polynomial.terms.items():
        if any(p % 2 for p in powers):
            continue
        term = Cut({(h, *(0,) * NOISES): coefficient})
        for power, variance in zip(powers, variances, strict=True):
            term = term.times(math.prod(range(1, power, 2)))
            for _ in range(power // 2):
                term = term * variance
        out = out + term
    return out


def backward_kolmogorov(
    drift: Mapping[sympy.Symbol, sympy.Expr], variance: Mapping[sympy.Symbol, sympy.Expr], f: sympy.Expr
) -> tuple[Fraction, Fraction]:
    """Coefficients of h and h^2 of E f(z_{t-h}): L f, (L L f - (dL/dt) f)/2, L = drift . grad + variance : hess / 2."""

    def generator(g: sympy.Expr) -> sympy.Expr:
        return sympy.Add(*[drift[v] * sympy.diff(g, v) + variance[v] * sympy.diff(g, v, 2) / 2 for v in drift])

    in_time = sympy.Add(
        *[
            sympy.diff(drift[v], T) * sympy.diff(f, v) + sympy.diff(variance[v], T) * sympy.diff(f, v, 2) / 2
            for v in drift
        ]
    )
    first = generator(f)
    return at_point(first), at_point(generator(first) - in_time) / 2


@pytest.mark.parametrize(
    ("spec", "word", "policy"),
    [
        ("NOBA", "OBA", "naive"),
        ("ROBA", "OBA", "reduced"),
        ("BAO(naive)", "BAO", "naive"),
        ("BAO(reduced)", "BAO", "reduced"),
        ("BOA(reduced)", "BOA", "reduced"),
        ("OBAB(reduced)", "OBAB", "reduced"),
        ("BAOAB(reduced)", "BAOAB", "reduced"),
        ("ABOBA(naive)", "ABOBA", "naive"),
        ("BOBA(reduced)", "BOBA", "reduced"),
        ("OBABO(reduced)", "OBABO", "reduced"),
    ],
)
def test_stochastic_words(score: dict[str, sympy.Poly], spec: str, word: str, policy: str) -> None:
    i = ia.derive(f"psld(Gamma=0.02, nu=4.02)/{spec}")
    f = random_polynomial((X, M), 4, seed=8)
    step = splitting_step(word, policy, score)
    stationary = {"x": Fraction(1), "m": MASS}
    rates = {"x": BIG_GAMMA, "m": NU}
    share = max(1, word.count("O"))
    one = [(Cut.of(1) + exponential(-BETA * rates[b] / share).times(-1)).times(stationary[b]) for b in "xm"]
    variances = one * (NOISES // len(one))
    numerical = expectation(substitute(f, [step["x"], step["m"]]), variances)
    drift = dict(zip((X, M), rows(score, 2).values(), strict=True))
    noise = {X: rational(BETA * BIG_GAMMA), M: rational(BETA * MASS * NU)}
    first, second = backward_kolmogorov(drift, noise, f.as_expr())
    assert numerical.coefficient(1) == first
    functions = {f"s_{b}": score[b].as_expr() for b in "xm"} | {"f": f.as_expr()}
    assert i.local_error.exponents == {"f": 2}
    assert derived_value(i.local_error.leading["f"], functions, PHASE_NUMBERS) == numerical.coefficient(2) - second


def test_euler_maruyama_in_phase_space(score: dict[str, sympy.Poly]) -> None:
    f = random_polynomial((X, M), 4, seed=9)
    drift = rows(score, 2)
    noise = {"x": BETA * BIG_GAMMA, "m": BETA * MASS * NU}
    step = [
        Cut.of(POINT[z]) + H.times(at_point(drift[b])) + variable(n)
        for n, (b, z) in enumerate((("x", X), ("m", M)), start=1)
    ]
    numerical = expectation(substitute(f, step), [H.times(noise[b]) for b in "xmxm"])
    generator_noise = {X: rational(noise["x"]), M: rational(noise["m"])}
    first, second = backward_kolmogorov({X: drift["x"], M: drift["m"]}, generator_noise, f.as_expr())
    assert numerical.coefficient(1) == first
    functions = {f"s_{b}": score[b].as_expr() for b in "xm"} | {"f": f.as_expr()}
    leading = ia.derive("psld(Gamma=0.02, nu=4.02)/EM").local_error.leading["f"]
    assert derived_value(leading, functions, PHASE_NUMBERS) == numerical.coefficient(2) - second


def test_the_named_schemes_are_these_words() -> None:
    for name, word, policy in [
        ("NSE", "BA", "naive"),
        ("RSE", "BA", "reduced"),
        ("NVV", "BAB", "naive"),
        ("RVV", "BAB", "reduced"),
    ]:
        named, spelled = ia.derive(f"psld/{name}"), ia.derive(f"psld/{word}({policy})")
        assert named.program.statements == spelled.program.statements


@pytest.mark.parametrize("spec", ["vp/DDIM", "vp/DPM-Solver-3", "psld/RVV", "psld/DPM-Solver++2M", "psld/EM"])
def test_a_coefficient_is_given_whole_where_its_text_is_short(spec: str) -> None:
    """The judgement by the number of terms, which spares the text of a long sum, is that by the text."""
    error = ia.derive(spec).local_error
    for block, expression in error.coefficients.items():
        length = len(str(expression))
        assert error.coefficient_within(block, length) == expression
        assert [error.coefficient_within(block, n) for n in (length - 1, length // 2, 0)] == [None] * 3
        assert error.first_terms(block, 2) == error.terms[block][:2]
