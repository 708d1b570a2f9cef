"""Random B(t), processes and predictions: the ODE transformed by A' = A (B - L) is the probability-flow ODE.

zhat' = A B A^{-1} zhat + A eta n is integrated together with A by scipy, mapped back by A^{-1} and compared with
dz/dt = F z - G G^T s / 2, whose F, G G^T and Sigma are typed in here. L, eta, n and the propagator E(s, t), which a
step uses in place of A, are the package's; E must be A_s^{-1} A_t.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import sympy
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad_vec, solve_ivp
from scipy.linalg import expm

import integrator_analysis as ia
from integrator_analysis.algebra.numeric import function
from integrator_analysis.algebra.symbols import s, t
from integrator_analysis.catalogue import Scheme
from integrator_analysis.language.spec import Spec
from integrator_analysis.methods.conjugation.conjugate import Conjugate
from integrator_analysis.parametrisation.prediction_conversion import conversion
from integrator_analysis.parametrisation.registry import parametrisation

UNSHRUNK = (Phase.explicit, Phase.generate)
"""An example integrates or derives for a tenth of a second or more; shrinking one would take minutes."""
TOLERANCE = 1e-10
Array = np.ndarray


# the processes on paper
@dataclass(frozen=True)
class Paper:
    """F(t), G G^T(t) and Sigma(t); ``span``: the times that examples lie between."""

    drift: Callable[[float], Array]
    diffusion: Callable[[float], Array]
    covariance: Callable[[float], Array]
    span: tuple[float, float] = (0.05, 1.0)

    def slope(self, time: float, z: Array, eps: Array) -> Array:
        """F z - G G^T s / 2 with the score s = -Lchol^{-T} eps."""
        score = -np.linalg.solve(np.linalg.cholesky(self.covariance(time)).T, eps)
        return self.drift(time) @ z - self.diffusion(time) @ score / 2


ONE = np.eye(1)


def beta(time: float) -> float:
    return 0.1 + 19.9 * time


def clock(time: float) -> float:
    return 0.1 * time + 19.9 * time**2 / 2


def langevin(drift: Array, diffusion: Array, limit: Array) -> Paper:
    """Constant F and G G^T; Sigma in the stationary form, from the momentum variance 0.04 M."""

    def covariance(time: float) -> Array:
        e = expm(drift * time)
        return limit + e @ (np.diag([0, 0.04 * limit[1, 1]]) - limit) @ e.T

    return Paper(lambda _: drift, lambda _: diffusion, covariance)


PAPERS = {
    "vp": Paper(lambda u: -beta(u) / 2 * ONE, lambda u: beta(u) * ONE, lambda u: -np.expm1(-clock(u)) * ONE),
    "subvp": Paper(
        lambda u: -beta(u) / 2 * ONE,
        lambda u: -beta(u) * np.expm1(-2 * clock(u)) * ONE,
        lambda u: np.expm1(-clock(u)) ** 2 * ONE,
    ),
    "ve": Paper(
        lambda _: 0 * ONE,
        lambda u: 2 * np.log(5000) * (0.01 * 5000**u) ** 2 * ONE,
        lambda u: (0.01 * 5000**u) ** 2 * ONE,
        (0.2, 0.9),
    ),
    "edm": Paper(lambda _: 0 * ONE, lambda u: 2 * u * ONE, lambda u: u**2 * ONE, (0.1, 4.0)),
    "psld": langevin(4 * np.array([[-0.01, 4], [-1, -4.01]]), 8 * np.diag([0.01, 4.01 / 4]), np.diag([1, 0.25])),
    "cld": langevin(4 * np.array([[0.0, 4], [-1, -4]]), np.diag([0, 8.0]), np.diag([1, 0.25])),
}
PREDICTIONS = {
    **dict.fromkeys(("vp", "subvp", "ve", "edm"), ("eps", "x0", "v", "score", "velocity", "edm", "mixed", "anchor")),
    **dict.fromkeys(("psld", "cld"), ("eps", "x0", "velocity", "mixed")),
}
"""score and the rotating frames of phase space are examples of their own: they are slow, or G G^T is singular."""


@cache
def readings(name: str, prediction: str) -> Callable[[float], tuple[Array, Array, Array, Array]]:
    """time -> L, eta and (skip, scale) of n = skip z + scale eps, as the package has them."""
    process = ia.process(name)
    given, wanted = parametrisation("eps", process), parametrisation(prediction, process)
    k = len(process.blocks)
    matrices = [wanted.drift, wanted.eta, *conversion(wanted, given)]
    table = process.definitions.with_(given.definitions).with_(wanted.definitions)
    parameters = {**process.parameters, **wanted.parameters}
    values = function([e for m in matrices for e in m], (t,), table, parameters)
    return lambda time: tuple(np.array(values(time), dtype=float).reshape(4, k, k))  # type: ignore[return-value]


# random problems
@dataclass(frozen=True)
class Problem:
    """B, an eps and an interval, for a process and a prediction."""

    process: str
    prediction: str
    B: sympy.ImmutableMatrix
    seed: int
    times: tuple[float, float]

    @property
    def k(self) -> int:
        return self.B.rows

    def b(self) -> Callable[[float], Array]:
        values = sympy.lambdify(t, list(self.B))
        return lambda time: np.array(values(time), dtype=float).reshape(self.k, self.k)

    def eps(self) -> Callable[[float, Array], Array]:
        """A sum of three tanh of affine functions of z and t."""
        generator = np.random.default_rng(self.seed)
        heights, weights = generator.normal(size=(self.k, 3)) / 2, generator.normal(size=(3, self.k))
        rates, offsets = generator.normal(size=(2, 3))
        return lambda time, z: heights @ np.tanh(weights @ z + rates * time + offsets)

    def start(self) -> Array:
        return np.random.default_rng(self.seed + 1).normal(size=self.k)


def number(draw: st.DrawFn, size: float) -> sympy.Rational:
    return sympy.Rational(str(round(draw(st.floats(-size, size)), 3)))


def entry(draw: st.DrawFn, size: float) -> sympy.Expr:
    """A constant, a polynomial or a sine in t."""
    kind = draw(st.sampled_from(["zero", "constant", "polynomial", "sine"]))
    if kind == "zero":
        return sympy.S.Zero
    value = number(draw, size)
    if kind == "polynomial":
        value += number(draw, size) * t + number(draw, size) * t**2
    return value + number(draw, size) * sympy.sin(3 * t + number(draw, 2)) if kind == "sine" else value


@st.composite
def problems(draw: st.DrawFn, processes: tuple[str, ...] = tuple(PAPERS)) -> Problem:
    name = draw(st.sampled_from(processes))
    low, high = PAPERS[name].span
    first = draw(st.floats(0.3, 1.0)) * high
    last = low + draw(st.floats(0.1, 0.8)) * (first - low)
    k = 2 if name in ("psld", "cld") else 1
    size = 2 / high**3
    matrix = sympy.ImmutableMatrix(k, k, [entry(draw, size) for _ in range(k * k)])
    return Problem(name, draw(st.sampled_from(PREDICTIONS[name])), matrix, draw(st.integers(0, 999)), (first, last))


TURNING = sympy.ImmutableMatrix([[1, 3 * t], [-2, sympy.sin(5 * t)]])
"""Does not commute with its integral."""


def solve(slope: Callable[[float, Array], Array], times: tuple[float, float], start: Array) -> Array:
    return solve_ivp(slope, times, start, method="DOP853", rtol=1e-13, atol=1e-15 * np.abs(start).max()).y[:, -1]


def transformed(problem: Problem) -> tuple[Array, Array]:
    """(z, A) at the end, from A = I at the start."""
    k, b, eps = problem.k, problem.b(), problem.eps()
    at = readings(problem.process, problem.prediction)

    def slope(time: float, flat: Array) -> Array:
        zhat, a = flat[:k], flat[k:].reshape(k, k)
        linear, eta, skip, scale = at(time)
        z = np.linalg.solve(a, zhat)
        n = skip @ z + scale @ eps(time, z)
        return np.concatenate([a @ (b(time) @ z + eta @ n), (a @ (b(time) - linear)).ravel()])

    end = solve(slope, problem.times, np.concatenate([problem.start(), np.eye(k).ravel()]))
    a = end[k:].reshape(k, k)
    return np.linalg.solve(a, end[:k]), a


@settings(max_examples=40, phases=UNSHRUNK)
@given(problems())
@example(Problem("psld", "eps-rotated", TURNING, 3, (0.6, 0.4)))
@example(Problem("cld", "anchor", TURNING, 4, (0.5, 0.35)))
@example(Problem("psld", "score", TURNING, 5, (0.9, 0.3)))
def test_the_transformed_ode_mapped_back_is_the_probability_flow(problem: Problem) -> None:
    paper, eps = PAPERS[problem.process], problem.eps()
    z, _ = transformed(problem)
    exact = solve(lambda time, y: paper.slope(time, y, eps(time, y)), problem.times, problem.start())
    np.testing.assert_allclose(z, exact, rtol=0, atol=TOLERANCE * max(1.0, np.abs(exact).max()))


# the propagator
def method(problem: Problem) -> Conjugate:
    return Conjugate(B=problem.B, parametrisation=problem.prediction)


def between(problem: Problem) -> Array:
    """A_s^{-1} A_t, A = I at t, from the package's L."""
    k, b, at = problem.k, problem.b(), readings(problem.process, problem.prediction)
    flat = solve(lambda time, a: (a.reshape(k, k) @ (b(time) - at(time)[0])).ravel(), problem.times, np.eye(k).ravel())
    return np.linalg.inv(flat.reshape(k, k))


@settings(max_examples=25, phases=UNSHRUNK)
@given(problems())
@example(Problem("psld", "x0", TURNING, 3, (0.9, 0.2)))
@example(Problem("cld", "mixed", TURNING, 4, (0.9, 0.2)))
def test_the_propagator_is_the_quotient_of_the_solutions(problem: Problem) -> None:
    program = method(problem).lower(ia.process(problem.process))
    entries = [entry.func(t, s) for entry in program.flows[0].entries]
    defined = [e if e.func in program.definitions else sympy.S.Zero for e in entries]
    found = np.array(function(defined, (t, s), program.definitions, program.parameters)(*problem.times), dtype=float)
    expected = between(problem)
    np.testing.assert_allclose(
        found.reshape(problem.k, problem.k), expected, rtol=0, atol=TOLERANCE * np.abs(expected).max()
    )


def integrator(problem: Problem) -> ia.Integrator:
    scheme = Scheme("own", method(problem), (), "Conjugate Euler with a B of its own.", "this test")
    return ia.Integrator(Spec(f"{problem.process}/own", ia.process(problem.process), scheme))


def generated(problem: Problem) -> Array:
    """E(s, t) as generated source computes it: the linear part of the step is E (I - h B_t)."""
    module = integrator(problem).to_torch().module
    values = dict(zip(module.COEFFICIENTS, module.coefficients(*problem.times).tolist(), strict=True))
    names, h = "xm"[: problem.k], problem.times[0] - problem.times[1]
    linear = [
        [values.get(f"decay_{a}", 1.0) if a == b else values.get(f"coupling_{a}{b}", 0.0) for b in names] for a in names
    ]  # 1 and 0 are not tabulated
    return np.array(linear) @ np.linalg.inv(np.eye(problem.k) - h * problem.b()(problem.times[0]))


def assert_generated(problem: Problem) -> None:
    euler = np.eye(problem.k) - (problem.times[0] - problem.times[1]) * problem.b()(problem.times[0])
    expected = between(problem)
    atol = TOLERANCE * np.abs(expected).max() * max(1.0, np.linalg.cond(euler) / 100)  # the test divides by I - h B
    np.testing.assert_allclose(generated(problem), expected, rtol=0, atol=atol)


@settings(max_examples=10, phases=UNSHRUNK)
@given(problems(("vp", "subvp", "ve", "edm")))
def test_generated_source_computes_the_propagator_on_one_block(problem: Problem) -> None:
    assert_generated(problem)


@pytest.mark.parametrize(
    "problem",
    [
        Problem("psld", "x0", TURNING, 3, (0.9, 0.2)),
        Problem("psld", "eps", sympy.ImmutableMatrix([[0, t**2], [-t, 2]]), 4, (1.0, 0.1)),
        Problem("cld", "mixed", sympy.ImmutableMatrix([[sympy.cos(4 * t), 1], [1, -1]]), 5, (0.6, 0.3)),
        Problem("cld", "velocity", TURNING, 6, (0.8, 0.7)),
    ],
    ids=lambda problem: f"{problem.process}-{problem.prediction}",
)
def test_generated_source_computes_the_propagator_on_phase_space(problem: Problem) -> None:
    assert_generated(problem)


@pytest.mark.parametrize("rate", [3, 10, 100])
@pytest.mark.parametrize("height", [0.1, 1.0])
def test_a_generator_that_varies_faster_than_its_size_says(rate: int, height: float) -> None:
    """Sub-steps chosen by the size of B alone left 2e-4 for B = sin(30 t)/10."""
    matrix = sympy.ImmutableMatrix([[sympy.Rational(str(height)) * sympy.sin(rate * t)]])
    problem = Problem("vp", "velocity", matrix, 0, (0.9, 0.2))
    exact = np.exp(height * (np.cos(rate * 0.2) - np.cos(rate * 0.9)) / rate)
    module = integrator(problem).to_torch().module
    values = dict(zip(module.COEFFICIENTS, module.coefficients(0.9, 0.2).tolist(), strict=True))
    assert values["decay_x"] / (1 - 0.7 * height * np.sin(rate * 0.9)) == pytest.approx(exact, rel=1e-12)


def test_a_step_down_to_small_times_takes_few_sub_steps() -> None:
    """L of x_0 grows like 1/t: sub-steps of equal ratio follow it, and the propagator keeps its digits."""
    problem = Problem("vp", "x0", sympy.ImmutableMatrix([[t]]), 0, (0.5, 1e-4))
    module = integrator(problem).to_torch().module
    calls, count = 0, module._generator

    def counted(times: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += times.numel()
        return count(times)

    module._generator = counted
    found = float(module._ordered_exponential(*torch.tensor([1e-4, 0.5 - 1e-4], dtype=torch.float64))[0])
    ratio = np.sqrt(np.expm1(-clock(1e-4)) / np.expm1(-clock(0.5)))  # sigma_s / sigma_t
    assert found == pytest.approx(ratio * np.exp((0.5**2 - 1e-4**2) / 2), rel=1e-12)
    assert calls < 10_000  # of equal length there were 180 000


def test_the_exponential_of_the_integral_is_not_the_propagator() -> None:
    """arXiv 2310.07894 writes A = exp(int (B - L)); where B does not commute with its integral that is another map."""
    problem = Problem("psld", "eps", TURNING, 0, (0.9, 0.2))
    at, b = readings("psld", "eps"), problem.b()
    integral, _ = quad_vec(lambda time: b(time) - at(time)[0], 0.2, 0.9, epsrel=1e-12)
    expected = between(problem)
    assert np.abs(expm(integral) - expected).max() > 1e-2 * np.abs(expected).max()
