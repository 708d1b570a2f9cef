"""Modified equations by measurement, and the equation for B on Gaussian data: against paths, moments and formulas.

A scheme is closer to its modified equation than to the equation it was made for, by one power of h. References are
scipy's DOP853 on right-hand sides written from the process on paper; steps are taken by the coefficients alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

import integrator_analysis as ia
from integrator_analysis.analysis.accuracy.modified import ModifiedODE, ModifiedSDE
from integrator_analysis.analysis.accuracy.order_conditions import (
    gaussian_error_matrix,
    gaussian_slope_of_b,
)
from integrator_analysis.program.step_program import StepProgram

Field = Callable[[Sequence, float], list]


def waves(count: int, seed: int) -> Field:
    """``count`` outputs sin(w . z + a t + b): smooth, for floats and mpmath numbers alike."""
    numbers = np.random.default_rng(seed).normal(size=(count, count + 2)) * 0.8

    def field(z: Sequence, t: float) -> list:
        sine = mpmath.sin if isinstance(z[0], mpmath.mpf) else np.sin
        return [sine(sum(w * v for w, v in zip(row, [*z, t, 1], strict=True))) for row in numbers.tolist()]

    return field


def solved(slope: Callable, z: np.ndarray, start: float, end: float) -> np.ndarray:
    found = solve_ivp(slope, (start, end), z, method="DOP853", rtol=1e-11, atol=1e-13)
    assert found.success
    return found.y[:, -1]


def slope_of(errors: Sequence[float]) -> float:
    """The order seen between the two finest grids, each twice as fine as the one before."""
    return float(np.log2(errors[-2] / errors[-1]))


def rvv(field: Field, z: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Reduced velocity Verlet on PSLD as the paper writes it, on blocks of two numbers; ``field`` is the score."""
    gamma, nu, mass, beta = 0.01, 4.01, 0.25, 8.0
    x, m = z[:2], z[2:]
    for t, s in pairwise(times):
        h = t - s
        s_x, s_m = np.array(field([*x, *m], t)).reshape(2, 2)
        m = m + h / 2 * beta / 2 * (x + nu * m + mass * nu * s_m)
        x = x + h * beta / 2 * (gamma * x - m / mass + gamma * s_x)
        s_m = np.array(field([*x, *m], s))[2:]
        m = m + h / 2 * beta / 2 * (x + nu * m + mass * nu * s_m)
    return np.array([*x, *m])


def psld_flow(field: Field) -> Callable:
    gamma, nu, mass, beta = 0.01, 4.01, 0.25, 8.0

    def slope(t: float, z: np.ndarray) -> np.ndarray:
        s_x, s_m = np.array(field(list(z), t)).reshape(2, 2)
        x, m = z.reshape(2, 2)
        return -beta / 2 * np.array([*(gamma * (x + s_x) - m / mass), *(x + nu * m + mass * nu * s_m)])

    return slope


def heun(field: Field, z: np.ndarray, times: np.ndarray) -> np.ndarray:
    for t, s in pairwise(times):
        first = np.array(field(list(z), t))
        z = z - (t - s) / 2 * (first + np.array(field(list(z - (t - s) * first), s)))
    return z


@pytest.mark.parametrize(
    ("spec", "steps", "original", "power", "counts"),
    [
        ("psld/RVV", rvv, psld_flow, 1, (64, 128)),
        (
            "flow/conjugate(base=Heun, predict=velocity)",
            heun,
            lambda f: lambda t, z: np.array(f(list(z), t)),
            2,
            (8, 16),
        ),
    ],
    ids=["RVV", "Heun"],
)
def test_a_scheme_follows_its_modified_equation_one_order_longer(
    spec: str, steps: Callable, original: Callable, power: int, counts: Sequence[int]
) -> None:
    equation = ia.derive(spec).modified_equation
    assert isinstance(equation, ModifiedODE)
    assert equation.power == power
    size = 4 if "psld" in spec else 2
    field, z, (start, end) = waves(size, 3), np.array([0.4, -0.3, 0.7, 0.2])[:size], (0.5, 0.3)
    exact = solved(original(field), z, start, end)
    plain, modified = [], []
    for n in counts:
        found = steps(field, z, np.linspace(start, end, n + 1))
        right = equation.right_hand_side(field, (start - end) / n, digits=20)
        plain.append(np.linalg.norm(found - exact))
        modified.append(np.linalg.norm(found - coarse(right, z, start, end)))
    assert slope_of(plain) == pytest.approx(power, abs=0.15)
    assert slope_of(modified) == pytest.approx(power + 1, abs=0.15)
    assert modified[-1] < plain[-1] / 4
    np.testing.assert_allclose(equation.right_hand_side(field, 0.0)(start, z), original(field)(start, z), rtol=1e-12)


def coarse(right: Callable, z: np.ndarray, start: float, end: float) -> np.ndarray:
    """A right-hand side that is dear: 1e-8 is a thousandth of the differences it is asked about."""
    found = solve_ivp(right, (start, end), z, method="DOP853", rtol=1e-8, atol=1e-9)
    assert found.success
    return found.y[:, -1]


def test_the_wrong_sign_is_seen() -> None:
    """The correction with the other sign is no better than none: the check above can fail."""
    equation = ia.derive("flow/conjugate(base=Heun, predict=velocity)").modified_equation
    field, z, n = waves(2, 3), np.array([0.4, -0.3]), 16
    found = heun(field, z, np.linspace(0.5, 0.3, n + 1))
    right, plain = (equation.right_hand_side(field, h, digits=20) for h in (0.2 / n, 0.0))
    wrong = coarse(lambda t, y: 2 * plain(t, y) - right(t, y), z, 0.5, 0.3)
    exact = coarse(plain, z, 0.5, 0.3)
    assert np.linalg.norm(found - wrong) > 1.5 * np.linalg.norm(found - exact)


# SDEs
def test_euler_maruyama_has_the_moments_of_its_modified_sde() -> None:
    """VP with the score -k (x - 1): mean and variance of all steps against those of the modified reverse SDE."""
    equation = ia.derive("vp/EM").modified_equation
    assert isinstance(equation, ModifiedSDE)
    assert equation.exists
    rate, start, end = 0.7, 0.5, 0.3
    field = lambda z, t: [-rate * (z[0] - 1)]  # noqa: E731

    def beta(t: float) -> float:
        return 0.1 + 19.9 * t

    def moments(h: float) -> np.ndarray:
        """Of dx = (a + h c) dT + noise of variance (beta + h d) dT, a and c affine in x, d constant in x."""

        def slope(reverse: float, y: np.ndarray) -> np.ndarray:
            t = start - reverse
            drift = lambda x: beta(t) * (x / 2 - rate * (x - 1))  # noqa: E731
            (c_0, second), (c_1, _) = (equation.evaluate([x], t, field, 20) for x in (0.0, 1.0))
            inner = drift(1.0) - drift(0.0) + h * float(c_1[0] - c_0[0])
            outer = drift(0.0) + h * float(c_0[0])
            return np.array([inner * y[0] + outer, 2 * inner * y[1] + beta(t) + h * float(second[0, 0])])

        return solve_ivp(slope, (0, start - end), [0.4, 0.2], method="DOP853", rtol=1e-9, atol=1e-11).y[:, -1]

    plain, modified = [], []
    exact = moments(0.0)
    for n in (64, 128):
        mean, variance = 0.4, 0.2
        for t in np.linspace(start, end, n + 1)[:-1]:
            h = (start - end) / n
            mean = mean + h * beta(t) * (mean / 2 - rate * (mean - 1))
            variance = (1 + h * beta(t) * (0.5 - rate)) ** 2 * variance + h * beta(t)
        found = np.array([mean, variance])
        plain.append(np.abs(found - exact))
        modified.append(np.abs(found - moments((start - end) / n)))
    for n in range(2):
        assert slope_of([e[n] for e in plain]) == pytest.approx(1, abs=0.15)
        assert slope_of([e[n] for e in modified]) == pytest.approx(2, abs=0.15)


def test_the_modified_sde_of_euler_maruyama_by_hand() -> None:
    """E f is off by h**2/2 (M - L**2 - L'), L = a d_x + (beta/2) d_xx, M its square with a, beta frozen, ' = -d_t."""
    equation = ia.derive("vp/EM").modified_equation
    assert isinstance(equation, ModifiedSDE)
    names = ("beta", "d_t beta", "x", "s_x", "d_x s_x", "d_xx s_x", "d_t s_x")
    beta, slope, x, s, s_x, s_xx, s_t = map(sympy.Symbol, names)
    a, a_x = beta * (x / 2 + s), beta * (sympy.Rational(1, 2) + s_x)
    a_t = slope * (x / 2 + s) + beta * s_t
    assert sympy.expand(equation.drift["x"] + (a * a_x + beta**2 / 2 * s_xx - a_t) / 2) == 0
    assert sympy.expand(equation.diffusion[0, 0] + beta * a_x - slope / 2) == 0


def test_a_modified_equation_in_latex() -> None:
    equation = ia.derive("flow/conjugate(predict=velocity)").modified_equation
    assert equation.latex()["x"].replace(" ", "").startswith(r"\mathrm{velocity}_{x}+h\left(\frac{1}{2}")
    assert equation.latex()["x"].endswith(r"\right)")


def test_a_second_order_splitting_with_noise_has_no_modified_sde() -> None:
    """On CLD the position has no noise, so d_xx f has no place in a generator of first order in h; nor has d_mmm f."""
    equation = ia.derive("cld/O A@0 B B@1/2[2,-1] A[2,-1] O(exact)").modified_equation
    assert isinstance(equation, ModifiedSDE)
    assert (equation.power, equation.exists) == (2, False)
    assert {str(d) for d in equation.forbidding} == {"d_mmm f", "d_xx f"}
    assert "d_mmm f" in equation.text()["none"]
    with pytest.raises(ArithmeticError, match="d_xx f"):
        equation.evaluate([0.1, 0.2], 0.3, waves(2, 0))
    euler = ia.derive("cld/EM").modified_equation
    assert isinstance(euler, ModifiedSDE)
    assert euler.exists  # d_xm f beside the noise of m is a covariance
    assert euler.diffusion[0, 1] != 0


def test_a_stochastic_multistep_scheme_is_refused() -> None:
    with pytest.raises(ia.InputError, match="earlier steps"):
        _ = ia.derive("vp/SDE-DPM-Solver++2M").modified_equation


# B on Gaussian data
def euler_with_unknown_b(process: ia.Process) -> StepProgram:
    """Conjugate Euler with a matrix of different functions of t, of which an error holds the names."""
    k = len(process.blocks)
    return ia.Conjugate(sympy.Matrix(k, k, lambda i, j: ia.t ** (1 + k * i + j)).as_immutable()).lower(process)


def test_a_program_without_an_unknown_b_is_refused() -> None:
    with pytest.raises(ia.InputError, match="no B"):
        gaussian_slope_of_b(ia.derive("ve/DDIM").program)


@pytest.mark.parametrize("name", ["vp", "psld"])
def test_the_equation_for_b_is_the_matrix_riccati_equation(name: str) -> None:
    """B' = -[(B - L) B + B (L + J) + eta K' + J (L + J)], J = eta K."""
    process = ia.process(name)
    blocks, k = process.blocks, len(process.blocks)

    def matrix(letter: str, lower: bool = True) -> sympy.Matrix:
        return sympy.Matrix(
            k, k, lambda i, j: sympy.Symbol(f"{letter}_{blocks[i]}{blocks[j]}") if lower or i <= j else 0
        )

    b, slope, unknown, eta = matrix("b"), matrix("d_t K"), matrix("K"), matrix("eta", lower=False)
    beta = sympy.Symbol("beta")
    (big_gamma, nu, mass) = (next((p for p in process.parameters if p.name == n), None) for n in ("Gamma", "nu", "M"))
    drift = -beta / 2 * sympy.eye(1) if k == 1 else beta / 2 * sympy.Matrix([[-big_gamma, 1 / mass], [-1, -nu]])
    j = eta * unknown
    riccati = -((b - drift) * b + b * (drift + j) + eta * slope + j * (drift + j))
    assert (gaussian_slope_of_b(euler_with_unknown_b(process)) - riccati).applyfunc(sympy.expand) == sympy.zeros(k, k)
    with pytest.raises(ia.InputError, match="deterministic"):
        gaussian_error_matrix(ia.derive("vp/EM").local_error)


def test_b_from_the_equation_makes_conjugate_euler_one_order_better_on_gaussian_data(on_paper: Callable) -> None:
    """One step on PSLD, z' = (L + eta K) z, B integrated from the derived equation; with a constant B it is not so."""
    process, paper, start = ia.process("psld"), on_paper("psld"), 0.4
    expression = gaussian_slope_of_b(euler_with_unknown_b(process))
    blocks = process.blocks
    letters = [f"{a}{b}" for a in blocks for b in blocks]
    names = [*(f"b_{p}" for p in letters), *(f"K_{p}" for p in letters), *(f"d_t K_{p}" for p in letters)]
    names += ["eta_xx", "eta_xm", "eta_mm", "beta"]
    given = {p: sympy.Rational(v) for p, v in process.parameters.items()}
    rhs = sympy.lambdify([sympy.Symbol(n) for n in names], expression.subs(given), "numpy")

    def array(m: mpmath.matrix) -> np.ndarray:
        return np.array(m.tolist(), dtype=float)

    def parts(t: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """L, eta and K of eps = K z for data of variance 0.3."""
        with mpmath.workdps(30):
            moment = mpmath.mpf(t)
            return array(paper.drift(moment)), array(paper.eta(moment)), array_k(t)

    def slope_of_k(t: float, e: float = 1e-4) -> np.ndarray:
        far = [array_k(t + n * e) for n in (-2, -1, 1, 2)]
        return (far[0] - 8 * far[1] + 8 * far[2] - far[3]) / (12 * e)

    def array_k(t: float) -> np.ndarray:
        with mpmath.workdps(30):
            moment = mpmath.mpf(t)
            psi = paper.exponential(paper.clock(moment))[:, 0]
            law = paper.covariance(moment) + mpmath.mpf("0.3") * psi * psi.T
            return array(-(paper.c_out(moment) ** -1 * law**-1))

    def slope_of_b(t: float, b: np.ndarray) -> np.ndarray:
        _, eta, _ = parts(t)
        values = [*b, *array_k(t).ravel(), *slope_of_k(t).ravel(), eta[0, 0], eta[0, 1], eta[1, 1], 8.0]
        return np.array(rhs(*values), dtype=float).ravel()

    first = np.array([0.5, -0.2, 0.3, 0.1])
    assert np.abs(parts(start)[1][1, 0]) < 1e-14  # eta_mx
    reached = solve_ivp(slope_of_b, (start, start - 0.02), first, method="DOP853", rtol=1e-10, dense_output=True).sol

    def error(h: float, matched: bool) -> float:
        """The norm of numerical - exact as a matrix: E (1 - h B) + psi_0 K - exact, E' = (L - B) E backwards."""
        k = array_k(start)

        def slope(t: float, y: np.ndarray) -> np.ndarray:
            drift, eta, own = parts(t)
            b = (reached(t) if matched else first).reshape(2, 2)
            exact, carried, psi = y.reshape(3, 2, 2)
            out = [(drift + eta @ own) @ exact, (drift - b) @ carried, (drift - b) @ psi + eta]
            return np.array(out).ravel()

        begin = np.array([np.eye(2), np.eye(2), np.zeros((2, 2))]).ravel()
        y = solve_ivp(slope, (start, start - h), begin, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
        exact, carried, psi = y.reshape(3, 2, 2)
        return float(np.abs(carried @ (np.eye(2) - h * first.reshape(2, 2)) + psi @ k - exact).max())

    matched = [error(h, True) for h in (0.01, 0.005)]
    constant = [error(h, False) for h in (0.01, 0.005)]
    assert slope_of(constant) == pytest.approx(2, abs=0.1)
    assert slope_of(matched) == pytest.approx(3, abs=0.1)
