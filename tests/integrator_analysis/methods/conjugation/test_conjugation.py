"""Conjugate integrators: DDIM's closed update, propagators from their differential equation, weights from mpmath."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import sympy
import torch
from scipy.integrate import solve_ivp

import integrator_analysis as ia
from integrator_analysis.inputs import InputError
from torch_backend import load

STEPS = [(1.0, 0.9), (0.5, 0.2), (0.3, 0.3 - 1e-6), (0.01, 0.001), (0.001 + 1e-6, 0.001)]


def vp_alpha_sigma(time: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    t = mpmath.mpf(time)
    b = mpmath.mpf("0.1") * t + mpmath.mpf("19.9") * t**2 / 2
    return mpmath.exp(-b / 2), mpmath.sqrt(1 - mpmath.exp(-b))


@pytest.mark.parametrize(("t", "s"), STEPS)
def test_vp_with_b_zero_is_the_closed_ddim_update(t: float, s: float) -> None:
    """x_s = (alpha_s/alpha_t) x_t + (sigma_s - alpha_s sigma_t/alpha_t) eps, arXiv 2010.02502, equation 12."""
    with mpmath.workdps(40):
        (alpha_t, sigma_t), (alpha_s, sigma_s) = vp_alpha_sigma(t), vp_alpha_sigma(s)
        expected = float(alpha_s / alpha_t), float(sigma_s - alpha_s * sigma_t / alpha_t)
    measured = load("vp/DDIM").module.coefficients(t, s).tolist()
    assert measured == pytest.approx(expected, rel=1e-13)


def test_ddim_sampler_equals_the_closed_update_along_a_trajectory() -> None:
    times = np.linspace(1.0, 1e-3, 21).tolist()
    z = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def network(y: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.tanh(y * (1 + t[:, None, None, None]))

    expected = z
    for t, s in pairwise(times):
        (a_t, s_t), (a_s, s_s) = ([float(v) for v in vp_alpha_sigma(time)] for time in (t, s))
        eps = network(expected, torch.full((4,), t, dtype=torch.float64))
        expected = a_s * (expected - s_t * eps) / a_t + s_s * eps
    measured = load("vp/DDIM").sample(network, z, times=times)
    assert torch.allclose(measured, expected, rtol=1e-12, atol=1e-12)


def psld_lower_factor(time: mpmath.mpf) -> mpmath.matrix:
    """Cholesky factor of Sigma_inf + E (Sigma_0 - Sigma_inf) E^T with E = e^{-(Gamma+nu) b/4} (I + b N), in mpmath."""
    g, nu, mass, b = mpmath.mpf("0.01"), mpmath.mpf("4.01"), mpmath.mpf("0.25"), 8 * time
    d = (nu - g) / 4
    e = mpmath.exp(-(g + nu) * b / 4) * mpmath.matrix([[1 + b * d, b / (2 * mass)], [-b / 2, 1 - b * d]])
    stationary = mpmath.diag([1, mass])
    sigma = stationary + e * (mpmath.diag([0, mpmath.mpf("0.04") * mass]) - stationary) * e.T
    l_xx = mpmath.sqrt(sigma[0, 0])
    l_mx = sigma[1, 0] / l_xx
    return mpmath.matrix([[l_xx, 0], [l_mx, mpmath.sqrt(sigma[1, 1] - l_mx**2)]])


def psld_step(kind: str, strength: mpmath.mpf, t: mpmath.mpf, s: mpmath.mpf) -> tuple[mpmath.matrix, mpmath.matrix]:
    """E(s, t) (I - h B) and psi(s, t) = -int_s^t E(s, u) eta(u) du with E = expm, in mpmath."""
    g, nu, mass = mpmath.mpf("0.01"), mpmath.mpf("4.01"), mpmath.mpf("0.25")
    drift = 4 * mpmath.matrix([[-g, 1 / mass], [-1, -nu]])
    noise = 8 * mpmath.diag([g, mass * nu])
    b = strength * {"0": mpmath.zeros(2), "I": mpmath.eye(2), "ones": mpmath.ones(2)}[kind]

    @cache  # the four entries are integrated over the same nodes
    def integrand(root: mpmath.mpf, precision: int) -> mpmath.matrix:
        u = root**2
        eta = noise * (psld_lower_factor(u).T) ** -1 / 2
        return 2 * root * (mpmath.expm((u - s) * (b - drift)) * eta)

    ends = [mpmath.sqrt(s), mpmath.sqrt(t)]
    weight = mpmath.matrix(2, 2)
    for i, j in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        weight[i, j] = -mpmath.quad(lambda r, i=i, j=j: integrand(r, mpmath.mp.prec)[i, j], ends)
    return mpmath.expm((t - s) * (b - drift)) * (mpmath.eye(2) - (t - s) * b), weight


@pytest.mark.parametrize(
    ("spec", "kind", "strength"),
    [("psld/DDIM", "0", "0"), ("psld/lambda-DDIM-I", "I", "0.5"), ("psld/lambda-DDIM-II", "ones", "0.5")],
)
@pytest.mark.parametrize(("t", "s"), [(0.6, 0.5), (0.3, 0.3 - 1e-6), (0.01, 0.001)])
def test_psld_propagator_and_weights_in_forty_digits(spec: str, kind: str, strength: str, t: float, s: float) -> None:
    with mpmath.workdps(40):
        linear, weight = psld_step(kind, mpmath.mpf(strength), mpmath.mpf(t), mpmath.mpf(s))
        expected = {
            "decay_x": linear[0, 0], "coupling_xm": linear[0, 1], "coupling_mx": linear[1, 0], "decay_m": linear[1, 1],
            "weight_xx": weight[0, 0], "weight_xm": weight[0, 1], "weight_mx": weight[1, 0], "weight_mm": weight[1, 1],
        }  # fmt: skip
    module = load(spec).module
    measured = dict(zip(module.COEFFICIENTS, module.coefficients(t, s).tolist(), strict=True))
    for name, value in measured.items():
        assert value == pytest.approx(float(expected[name]), rel=2e-12), name


@pytest.mark.parametrize("spec", ["vp/lambda-DDIM-I", "psld/lambda-DDIM-II", "psld/DDIM"])
def test_the_propagator_solves_its_differential_equation(spec: str) -> None:
    """E(s, t) from dE/dt = E (B - L): the conjugate Euler step is E (I - h B) z + psi eps, integrated by scipy."""
    i = ia.derive(spec, **({"lambda_": 0.7} if "lambda" in spec else {}))
    k, t, s = len(i.program.blocks), 0.5, 0.35
    parameters = dict(i.program.parameters)
    schedule = sympy.lambdify(sympy.Symbol("t", positive=True), i.process.schedule.subs(parameters))
    drift = np.array(i.process.drift_per_unit.subs(parameters)).astype(float)
    b = {"vp/lambda-DDIM-I": 0.7 * np.eye(k), "psld/lambda-DDIM-II": 0.7 * np.ones((k, k))}.get(spec, np.zeros((k, k)))

    def slope(time: float, flat: np.ndarray) -> np.ndarray:
        return (flat.reshape(k, k) @ (b - schedule(time) * drift)).ravel()

    e = solve_ivp(slope, (s, t), np.eye(k).ravel(), method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1].reshape(k, k)
    expected = e @ (np.eye(k) - (t - s) * b)
    measured = dict(zip(i.table.names, i.table(t, s), strict=True))
    linear = [["decay_x", "coupling_xm"], ["coupling_mx", "decay_m"]]
    assert np.array([[measured[linear[r][c]] for c in range(k)] for r in range(k)]) == pytest.approx(
        expected, rel=1e-10
    )


def assert_step(spec: str, t: float, s: float, linear: np.ndarray, weight: np.ndarray) -> None:
    """The generated step is z <- linear z + weight eps."""
    sampler = ia.derive(spec).to_torch(dtype=torch.float64)
    k = len(linear)
    z, eps = (torch.randn(6, k, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n in (0, 1))
    found = sampler.sample(lambda y, time: eps, z, times=[t, s])
    expected = z.numpy() @ linear.T + eps.numpy() @ weight.T
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(("t", "s"), [(1.0, 0.9), (0.5, 0.2), (0.01, 0.001)])
@pytest.mark.parametrize(("a", "b"), [("1", "2"), ("-1.5", "0.25"), ("1", "0"), ("3", "3")])
def test_conjugate_euler_with_a_diagonal_b_in_mpmath(a: str, b: str, t: float, s: float) -> None:
    """E (I - h B) z + psi eps with B = 0.7 diag(a, b), E = exp(h (B - F)), psi the integral of E(s, u) times -eta."""
    with mpmath.workdps(30):
        matrix = mpmath.mpf("0.7") * mpmath.diag([mpmath.mpf(a), mpmath.mpf(b)])
        g, nu = mpmath.mpf("0.01"), mpmath.mpf("4.01")
        drift, diffusion = 4 * mpmath.matrix([[-g, 4], [-1, -nu]]), 8 * mpmath.diag([g, nu / 4])
        h = mpmath.mpf(t) - mpmath.mpf(s)
        propagator = mpmath.expm(h * (matrix - drift))
        linear = propagator * (mpmath.eye(2) - h * matrix)

        @cache  # the four entries are integrated over the same nodes
        def integrand(root: mpmath.mpf, precision: int) -> mpmath.matrix:
            u = root**2  # eta grows like a power of u at u = 0
            eta = diffusion * mpmath.inverse(psld_lower_factor(u)).T / 2
            return -2 * root * (mpmath.expm((u - s) * (matrix - drift)) * eta)

        def entry(i: int, j: int) -> mpmath.mpf:
            ends = [mpmath.sqrt(s), mpmath.sqrt(t)]
            return mpmath.quad(lambda root: integrand(root, mpmath.mp.prec)[i, j], ends)

        weight = np.array([[float(entry(i, j)) for j in range(2)] for i in range(2)])
        values = np.array(linear.tolist()).astype(float)
    assert_step(f"psld/conjugate(B=0.7*diag({a}, {b}))", t, s, values, weight)


def test_conjugate_euler_with_a_diagonal_b_on_one_block() -> None:
    """alpha_s/alpha_t e^{lambda h} (1 - lambda h) and -alpha_s int e^{lambda (u - s)} beta / (2 alpha sigma) du."""
    t, s = 0.5, 0.2
    with mpmath.workdps(30):
        rate, (alpha_t, _), (alpha_s, _) = mpmath.mpf("1.2"), vp_alpha_sigma(t), vp_alpha_sigma(s)

        def integrand(u: mpmath.mpf) -> mpmath.mpf:
            alpha, sigma = vp_alpha_sigma(u)
            beta = mpmath.mpf("0.1") + mpmath.mpf("19.9") * u
            return -alpha_s / alpha * mpmath.exp(rate * (u - s)) * beta / (2 * sigma)

        linear = float(alpha_s / alpha_t * mpmath.exp(rate * (t - s)) * (1 - rate * (t - s)))
        weight = float(mpmath.quad(integrand, [s, t]))
    assert_step("vp/conjugate(B=0.4*diag(3))", t, s, np.array([[linear]]), np.array([[weight]]))


@pytest.mark.parametrize("options", ["B=0.7*diag(1, -2)", "B=lambda*diag(0.5, 1), lambda=1.5, base=Heun"])
def test_schemes_with_a_diagonal_b_are_verified(options: str) -> None:
    certificate = ia.verify(f"psld/conjugate({options})")
    assert certificate.passed
    assert certificate.claim("order[x]").derived == (2 if "Heun" in options else 1)


def test_conjugate_euler_local_error_is_the_formula() -> None:
    """-(1/2) [((B - L) B + B') z + B z' + eta eps'] with eps' the total derivative along z' = L z + eta eps."""
    lam, beta, eta, x, e, e_t, e_x = sympy.symbols("lambda beta eta_xx x eps_x e_t e_x")
    drift = -beta / 2
    flow = drift * x + eta * e
    formula = -(((lam - drift) * lam) * x + lam * flow + eta * (e_t + e_x * flow)) / 2
    derived = ia.derive("vp/lambda-DDIM-I").local_error.leading["x"]
    names = {s.name: s for s in derived.free_symbols}
    back = {names["d_x eps_x"]: e_x, names["d_t eps_x"]: e_t, names["lambda"]: lam}
    assert sympy.expand(derived.subs(back) - formula) == 0


def test_conjugate_euler_local_error_on_phase_space_with_all_ones() -> None:
    i = ia.derive("psld/lambda-DDIM-II")
    derived = i.local_error.leading
    names = {s.name: s for e in derived.values() for s in e.free_symbols}
    z = sympy.Matrix([names["x"], names["m"]])
    eps = sympy.Matrix([names["eps_x"], names["eps_m"]])
    eta = sympy.Matrix([[names["eta_xx"], names["eta_xm"]], [0, names["eta_mm"]]])
    g, nu, mass, beta, lam = (names[n] for n in ("Gamma", "nu", "M", "beta", "lambda"))
    drift = beta / 2 * sympy.Matrix([[-g, 1 / mass], [-1, -nu]])
    b = lam * sympy.ones(2, 2)
    flow = drift * z + eta * eps
    partial = lambda v, c: names.get(f"d_{v} eps_{c}", sympy.Symbol("absent"))  # noqa: E731
    rate = sympy.Matrix([partial("t", c) + partial("x", c) * flow[0] + partial("m", c) * flow[1] for c in "xm"])
    formula = -((b - drift) * b * z + b * flow + eta * rate) / 2
    for block, expected in zip("xm", formula, strict=True):
        assert sympy.expand(derived[block] - expected) == 0


@pytest.mark.parametrize("text", ["lambda*two", "", "0 ", "B", "lambda*diag(1, x)", "lambda*diag()"])
def test_unknown_family_is_refused(text: str) -> None:
    from integrator_analysis.methods.conjugation.conjugate import Conjugate

    with pytest.raises(InputError, match="accepted: 0"):
        Conjugate(text)  # type: ignore[arg-type]
